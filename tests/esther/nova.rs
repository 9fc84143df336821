//! Calls on the phone, by a strict carrier on one side and a strict Bedrock on the other.

use std::time::Duration;

use bytes::Bytes;
use novavoice::{
    audio::SampleRate,
    private::Private,
    testkit::{
        bedrock::{Dialogue, FakeBedrock, Mark, Options, Reply, SessionScript},
        vonage::{Call, CallEnd, FakeVonage, Options as CarrierOptions, speech},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    follower::Follower,
    service::{CALLED, CALLER, Ended, Esther, Launch, inbound, soon},
};

pub(crate) const SECRET: &str = "novavoice-signature-secret-of-the-black-box";
pub(crate) const APPLICATION: &str = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab";
const SECOND: Duration = Duration::from_secs(1);

/// A Bedrock, and the environment in which the service finds it.
pub(crate) struct Nova {
    pub(crate) bedrock: FakeBedrock,
    folder: TempDir,
}

impl Nova {
    pub(crate) async fn start(script: SessionScript) -> Self {
        let options = Options::default().on_session(move |_| script.clone());
        Self::with(FakeBedrock::start(options).await.expect("a free port"))
    }

    /// The same with a Bedrock of its own making.
    pub(crate) fn with(bedrock: FakeBedrock) -> Self {
        Self {
            bedrock,
            folder: TempDir::new().expect("a temporary folder"),
        }
    }

    /// The standard variables of AWS, and the carrier's account.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let ca = self.bedrock.write_ca(self.folder.path()).expect("a file");
        let (key, secret) = self.bedrock.credentials();
        vec![
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", self.bedrock.endpoint()),
            (
                "SSL_CERT_FILE",
                ca.to_str().expect("a plain path").to_owned(),
            ),
            ("AWS_ACCESS_KEY_ID", key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
            ("CALL_STORE", "sqlite".to_owned()),
            ("LEAD_STORE", "sqlite".to_owned()),
            ("VONAGE_API_KEY", "a1b2c3d4".to_owned()),
            ("VONAGE_APPLICATION_ID", APPLICATION.to_owned()),
            ("VONAGE_SIGNATURE_SECRET", SECRET.to_owned()),
        ]
    }

    /// A process that finds this Bedrock by its environment.
    pub(crate) fn launch(&self) -> Launch {
        let set = |launch: Launch, (name, value): (&str, String)| launch.set(name, value);
        self.environment().into_iter().fold(Launch::bare(), set)
    }

    /// Waits until all of so many sessions are over, and checks that each was closed by the book
    /// and nothing else was wrong.
    pub(crate) async fn closed_by_the_book(&self, sessions: usize) {
        let reports = soon(self.bedrock.finished(sessions)).await;
        assert_eq!(reports.len(), sessions);
        for report in reports {
            assert!(report.closed_by_the_book(), "{report:?}");
        }
        assert_eq!(self.bedrock.violations(), []);
    }
}

/// A carrier that signs.
pub(crate) fn carrier(esther: &Esther) -> FakeVonage {
    FakeVonage::new(CarrierOptions {
        signature_secret: Some(Private::new(SECRET.to_owned())),
        ..CarrierOptions::new(&esther.address)
    })
}

/// A greeting of a second and a half, and a question.
fn dialogue() -> SessionScript {
    let mut dialogue = Dialogue::answering([
        Reply::of([("Good morning, this is Esther.", 1_500)]),
        Reply::of([("May I book a meeting?", 1_200)]),
    ]);
    dialogue.caller = vec!["Hello there.".to_owned()];
    SessionScript::converse(dialogue)
}

/// Everything in a call that is nobody's business.
fn private(call: &Call) -> Vec<String> {
    let (_, token) = socket(call);
    let fixed = [
        CALLER,
        CALLED,
        SECRET,
        "fake-bedrock-secret",
        "good morning",
        "hello there",
        "book a meeting",
        "mike lawrence",
    ];
    fixed
        .into_iter()
        .map(str::to_owned)
        .chain([token])
        .collect()
}

fn says_nothing_of(ended: &Ended, calls: &[&Call]) {
    let private: Vec<String> = calls.iter().flat_map(|call| private(call)).collect();
    ended.says_nothing_of(&private.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The address of a call's socket without its token, and the token.
pub(crate) fn socket(call: &Call) -> (String, String) {
    let ncco = call.ncco();
    let uri = ncco[0]["endpoint"][0]["uri"].as_str().expect("an address");
    let (address, token) = uri.split_once("&token=").expect("a token");
    (address.to_owned(), token.to_owned())
}

/// Checks the whole NCCO of an agent's call, and that it says nothing else.
fn check_ncco(esther: &Esther, call: &Call) {
    let (address, token) = socket(call);
    let host = esther.address.trim_start_matches("http");
    assert_eq!(address, format!("ws{host}/socket?channel={}", call.uuid()));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    assert!(token.len() >= 32 && token.chars().all(plain), "{token}");
    let headers = json!({
        "uuid": call.uuid(),
        "direction": "inbound",
        "from": CALLER,
        "to": CALLED,
    });
    assert!(headers.to_string().len() <= 512);
    let expected = json!([{
        "action": "connect",
        "eventType": "synchronous",
        "eventUrl": [esther.url("/webhooks/events")],
        "eventMethod": "POST",
        "endpoint": [{
            "type": "websocket",
            "uri": format!("{address}&token={token}"),
            "content-type": "audio/l16;rate=16000",
            "headers": headers,
            "authorization": {"type": "vonage"},
        }],
    }]);
    assert_eq!(call.ncco(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn inbound_calls_go_from_the_signed_webhook_to_the_transcript() {
    let nova = Nova::start(dialogue()).await;
    let esther = nova.launch().set("RUST_LOG", "debug").start().await;
    assert_eq!(esther.json("/status").await["model"]["real"], true);
    let carrier = carrier(&esther);
    let by_post = carrier.place_inbound(inbound()).await.expect("an NCCO");
    let by_get = inbound().without_hyphens().by_get();
    let by_get = carrier.place_inbound(by_get).await.expect("an NCCO");
    let words = speech(SECOND, SampleRate::Hz16000);
    tokio::join!(
        whole_call(&esther, &by_post, &words),
        whole_call(&esther, &by_get, &words),
    );
    nova.closed_by_the_book(2).await;
    assert_eq!(carrier.violations(), []);
    for session in 0..2 {
        let pcm = nova.bedrock.session(session).await.pcm();
        let whole = pcm.windows(words.len()).any(|window| window == words);
        assert!(whole, "the caller's words reach the model bit for bit");
    }
    esther.idle().await;
    assert_eq!(
        esther
            .metric("esther_calls_total{status=\"completed\"}")
            .await,
        2.0
    );
    let ended = esther.stop().await;
    ended.went_well();
    says_nothing_of(&ended, &[&by_post, &by_get]);
}

/// Greeting, question, answer; then the caller hangs up.
async fn whole_call(esther: &Esther, call: &Call, words: &Bytes) {
    check_ncco(esther, call);
    assert!(
        call.wait_heard(Duration::from_millis(1_500)).await,
        "the greeting"
    );
    let follower = Follower::of(esther, call.uuid(), None).await;
    follower.lines(1).await;
    call.say(words.clone());
    assert!(
        call.wait_heard(Duration::from_millis(2_700)).await,
        "the question"
    );
    follower.lines(3).await;
    call.hang_up();
    assert_eq!(soon(call.ended()).await, CallEnd::HungUp);
    follower.over().await;

    assert_eq!(call.violations(), []);
    assert_eq!(call.connections(), 1);
    let marks = Mark::find_all(&call.heard());
    for reply in 0..2 {
        let own: Vec<_> = marks.iter().filter(|mark| mark.reply == reply).collect();
        let whole = own
            .iter()
            .zip((0..).step_by(5))
            .all(|(mark, at)| mark.position == at);
        assert!(
            whole && own.len() > 3_000,
            "reply {reply} is heard bit for bit"
        );
    }
    let transcript = esther.transcript(call.uuid());
    let said = transcript.said();
    let expected = [
        "Assistant: Good morning, this is Esther.",
        "Human: Hello there.",
        "Assistant: May I book a meeting?",
    ];
    assert_eq!(said, expected);
    let record = transcript.record.as_ref().expect("the call is over");
    assert_eq!(record["phone_number"], CALLER);
    assert_eq!(record["status"], "completed");
}

/// Everything may stand in `.env` or be a flag, also what the AWS and TLS libraries read by
/// themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_breaks_in_stops_the_agent_of_a_service_set_up_by_file_and_flags() {
    let long = Reply::of([("one two three four five six seven eight nine ten", 10_000)]);
    let script = Dialogue::answering([long, Reply::of([("Yes?", 700)])]);
    let nova = Nova::start(SessionScript::converse(script)).await;
    let (mut file, mut launch) = (String::new(), Launch::bare());
    for (at, (name, value)) in nova.environment().into_iter().enumerate() {
        match at {
            0 | 1 => {
                let flag = name.to_ascii_lowercase().replace('_', "-");
                launch = launch.arg(format!("--{flag}")).arg(value);
            }
            _ => file.push_str(&format!("{name}={value}\n")),
        }
    }
    let esther = launch.file(".env", &file).start().await;
    let carrier = carrier(&esther);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(2 * SECOND).await);
    call.say(speech(SECOND, SampleRate::Hz16000));
    assert!(soon(call.until(|call| call.cleared_count() > 0)).await);
    let heard = call.heard_for();
    assert!(heard < Duration::from_millis(4_500), "{heard:?}");
    let follower = Follower::of(&esther, call.uuid(), None).await;
    let said = |stream: &crate::follower::Stream| {
        let mut lines = stream.named("utterance").into_iter();
        lines.any(|line| line["text"] == "Yes?")
    };
    follower.until("the next reply", said).await;
    call.hang_up();
    soon(call.ended()).await;
    nova.closed_by_the_book(1).await;
    assert_eq!(nova.bedrock.sessions()[0].interruptions, 1);
    assert_eq!(carrier.violations(), []);
    follower.over().await;
    let transcript = esther.transcript(call.uuid());
    let said = transcript.said();
    assert!(
        said[0].starts_with("Assistant: one two") && said[0].ends_with(" [cut]"),
        "{said:?}"
    );
    assert!(!said[0].contains("eight"), "more than was heard: {said:?}");
    esther.idle().await;
    esther.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_hangs_up_after_its_last_words_and_nothing_is_connected_again() {
    let nova = Nova::start(dialogue()).await;
    let esther = nova.launch().start().await;
    let carrier = carrier(&esther);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(300)).await);
    let hangup = format!("/calls/{}/hangup", call.uuid());
    assert_eq!(esther.post(&hangup).await.status, 202);
    let end = soon(call.ended()).await;
    assert_eq!(
        end,
        CallEnd::Finished,
        "an empty answer to `disconnected` ends the call"
    );

    assert!(
        call.heard_for() >= Duration::from_millis(1_500),
        "{:?}",
        call.heard_for()
    );
    let marks = call.marks();
    assert!(
        !marks.is_empty() && marks.iter().all(|mark| mark.answered.is_some()),
        "{marks:?}"
    );
    assert_eq!(call.closes(), [Some(1000)]);
    assert_eq!((call.connections(), call.cleared_count()), (1, 0));
    let answered = |status: &str| {
        let events = call.events();
        let those = events
            .iter()
            .filter(|posted| posted.body["status"] == status);
        those.map(|posted| posted.status).collect::<Vec<_>>()
    };
    assert_eq!(answered("disconnected"), [Some(200)]);
    assert_eq!(carrier.violations(), []);
    nova.closed_by_the_book(1).await;
    esther.idle().await;
    esther.post(&hangup).await.is_problem(404);
    let said = ["Assistant: Good morning, this is Esther."];
    assert_eq!(esther.transcript(call.uuid()).said(), said);

    // The carrier's last word may come late or twice, and changes nothing.
    let late = json!({
        "uuid": call.uuid(),
        "conversation_uuid": call.conversation(),
        "status": "disconnected",
        "direction": "outbound",
        "from": CALLER,
        "to": socket(&call).0,
        "headers": {"uuid": call.uuid()},
    });
    for _ in 0..2 {
        let body = Bytes::from(late.to_string());
        let token = carrier.signer().expect("it signs").sign(&body);
        let reply = carrier
            .deliver("/webhooks/events", body, Some(&token))
            .await;
        let reply = reply.expect("an answer");
        assert_eq!((reply.status, reply.body.len()), (200, 0));
    }
    esther.stop().await.went_well();
}

/// The values of a JSON array.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
