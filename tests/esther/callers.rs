//! Calls that go another way than the usual one.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use novavoice::testkit::{
    bedrock::{Dialogue, Headers, Mark, Reply, SessionScript},
    vonage::{CallEnd, InboundCall},
};
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    follower::Follower,
    nova::{Nova, carrier},
    service::{CALLED, Launch, inbound, soon, until},
    softphone::{Channel, Got, Softphone, connect, reply_end, text},
};

/// Connected again twice, each time with a fresh token; then a spoken apology.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_socket_is_lost_goes_on_and_a_third_loss_is_apologised_for() {
    let esther = Launch::local().start().await;
    let call = esther
        .carrier()
        .place_inbound(inbound())
        .await
        .expect("an NCCO");
    let mut flows = vec![call.ncco()];
    assert!(call.wait_heard(Duration::from_millis(300)).await);
    let follower = Follower::of(&esther, call.uuid(), None).await;
    for connections in [2, 3] {
        call.drop_socket();
        assert!(soon(call.until(|call| call.connections() == connections)).await);
        flows.push(call.ncco());
        let heard = call.heard_for() + Duration::from_millis(300);
        assert!(call.wait_heard(heard).await, "the call goes on");
    }
    assert!(flows[0] != flows[1] && flows[1] != flows[2], "fresh tokens");
    call.drop_socket();
    soon(call.ended()).await;
    assert_eq!((call.connections(), call.spoken().len()), (3, 1));
    assert!(call.spoken()[0].contains("sorry"), "{:?}", call.spoken());
    follower.over().await;
    assert_eq!(call.violations(), []);
    let transcript = esther.transcript(call.uuid());
    assert!(
        transcript.record.is_some(),
        "one call, one file: {transcript:?}"
    );
    assert_eq!(
        esther.json("/calls").await["calls"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    esther.idle().await;
    let ended = esther.stop().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        ended.stderr.contains("too many sockets were lost") && !ended.stderr.contains("panicked")
    );
}

/// Ids and numbers come from outside: no path, no call flow and no log is at their mercy.
#[tokio::test(flavor = "multi_thread")]
async fn callers_with_strange_names_are_taken_like_any_other() {
    let esther = Launch::local().start().await;
    let carrier = esther.carrier();
    let long = format!("sip:{}@example.com", "x".repeat(600));
    let strange = [
        ("anonymous", "../../outside"),
        (
            "sip:\"Bob\" <bob@example.com>;tag=\u{fc}",
            "a/b\\c d?e=f&g=%2e%00#h",
        ),
        (long.as_str(), "\u{1f600}-\u{fc}"),
        ("Unknown \n- Outcome: completed", "CON"),
    ];
    for (from, uuid) in strange {
        let placed = InboundCall {
            uuid: uuid.to_owned(),
            ..InboundCall::new(from, CALLED)
        };
        let call = carrier.place_inbound(placed).await.expect("an NCCO");
        let headers = &call.ncco()[0]["endpoint"][0]["headers"];
        assert_eq!(headers["uuid"], uuid);
        assert!(
            call.wait_heard(Duration::from_millis(200)).await,
            "{uuid:?}"
        );
        let path = format!("/calls/{}", escaped(uuid));
        assert_eq!(esther.json(&path).await["call_uuid"], uuid);
        Follower::of(&esther, &escaped(uuid), None).await;
        call.hang_up();
        soon(call.ended()).await;
        assert_eq!(call.violations(), [], "{uuid:?}");
    }
    esther.idle().await;
    let listed = esther.json("/calls").await;
    let mut ids: Vec<_> = strange.iter().map(|(_, uuid)| json!(uuid)).collect();
    ids.reverse();
    let calls = listed["calls"].as_array().expect("calls");
    assert_eq!(
        calls
            .iter()
            .map(|call| call["call_uuid"].clone())
            .collect::<Vec<_>>(),
        ids
    );
    let folder = esther.home.path().join("transcripts");
    let files: Vec<_> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|file| file.expect("a file").file_name())
        .collect();
    assert_eq!(files.len(), 2 * strange.len(), "{files:?}");
    for file in files {
        let name = file.to_str().expect("plain");
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!(
            name.starts_with("call-") && name.chars().all(plain),
            "{name}"
        );
        let text = std::fs::read_to_string(folder.join(name)).expect("readable");
        if name.ends_with(".md") {
            let lines = text
                .lines()
                .filter(|line| line.starts_with("- Outcome: "))
                .count();
            assert_eq!(
                lines, 1,
                "nothing from outside makes a line of its own: {text}"
            );
        }
    }
    let mut inside: Vec<_> = std::fs::read_dir(esther.home.path())
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    inside.sort();
    assert_eq!(
        inside,
        ["data", "transcripts"],
        "nothing outside the folders"
    );
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&["bob@example.com", "sip:", CALLED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_talks_with_nova_sonic_under_instructions_of_its_own() {
    let long = Reply::of([("one two three four five six seven eight nine ten", 10_000)]);
    let mut dialogue = Dialogue::answering([long, Reply::of([("Yes, I hear you.", 1_000)])]);
    dialogue.caller = vec!["Wait a moment.".to_owned()];
    let nova = Nova::start(SessionScript::converse(dialogue)).await;
    let esther = nova.launch().set("RUST_LOG", "debug").start().await;
    let wish = "You are a parrot of the black box.";
    let phone = Softphone::call_with(&esther, "&audio=binary", 640, Some(wish)).await;
    let next = phone
        .until("the agent", 0, text("ASSISTANT", "one two"))
        .await;
    let next = phone.hears(Duration::from_secs(2), next).await;
    phone.say(Duration::from_secs(1)).await;
    let next = phone
        .until("the interruption", next, reply_end("INTERRUPTED"))
        .await;
    let next = phone
        .until("the answer", next, text("ASSISTANT", "Yes, I hear"))
        .await;
    assert!(
        phone.got().iter().any(text("USER", "Wait a moment.")),
        "{:#?}",
        phone.events()
    );
    let next = phone.until("its end", next, reply_end("END_TURN")).await;
    let hangup = format!("/calls/{}/hangup", phone.id);
    assert_eq!(esther.post(&hangup).await.status, 202);
    phone
        .until("the close", next, |got| *got == Got::Closed(1000))
        .await;
    nova.closed_by_the_book(1).await;
    let events = soon(nova.bedrock.session(0)).await.events();
    let told: Vec<String> = events.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|event| event.contains(wish)), "{told:#?}");
    esther.idle().await;
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&["parrot", "one two", "wait a moment", "i hear you"]);
}

/// Where leg and model share a rate, audio passes as it is: each leg gets frames of its own rate,
/// and the model is asked for that one.
#[tokio::test(flavor = "multi_thread")]
async fn legs_of_every_rate_are_served_at_their_own() {
    let hello = Dialogue::answering([Reply::of([("Good morning.", 1_500)])]);
    let nova = Nova::start(SessionScript::converse(hello)).await;
    let esther = nova.launch().start().await;
    for (session, rate) in [8_000_usize, 24_000].into_iter().enumerate() {
        let channel = Channel::create(&esther).await;
        let mut socket = connect(&channel.url).await.expect("a good token");
        let hello = json!({
            "event": "websocket:connected",
            "content-type": format!("audio/l16;rate={rate}"),
        });
        socket
            .send(Message::text(hello.to_string()))
            .await
            .expect("open");
        let frame = rate / 50 * 2;
        let mut audio = Vec::new();
        let second = 50 * frame;
        let listen = async {
            let mut beat = tokio::time::interval(Duration::from_millis(20));
            while audio.len() < second {
                tokio::select! {
                    _ = beat.tick() => {
                        let silence = Message::binary(vec![0; frame]);
                        socket.send(silence).await.expect("open");
                    }
                    message = socket.next() => match message.expect("open").expect("readable") {
                        Message::Binary(pcm) => {
                            assert_eq!(pcm.len(), frame, "{rate}");
                            audio.extend_from_slice(&pcm);
                        }
                        Message::Text(text) => assert!(text.contains("notify"), "{text}"),
                        _ => {}
                    },
                }
            }
        };
        soon(listen).await;
        let marks = Mark::find_all(&audio);
        let mut expected = (0..).step_by(5);
        let off = marks
            .iter()
            .find(|mark| Some(mark.position) != expected.next());
        assert!(
            off.is_none() && marks.len() * 5 >= rate,
            "{rate}: {off:?} of {}",
            marks.len()
        );
        socket.close(None).await.expect("open");
        let session = soon(nova.bedrock.session(session)).await;
        let events = session.events();
        let output = &events[1]["event"]["promptStart"]["audioOutputConfiguration"];
        assert_eq!(output["sampleRateHertz"], rate, "{events:#?}");
    }
    nova.closed_by_the_book(2).await;
    esther.idle().await;
    esther.stop().await.went_well();
}

/// A service that takes the stream and says nothing: neither a caller who leaves nor the end of
/// the process waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_never_answers_holds_nothing_up() {
    let silent = SessionScript::default().headers(Headers::Never);
    let nova = Nova::start(silent).await;
    let esther = nova.launch().set("DRAIN_SECONDS", "0").start().await;
    let carrier = carrier(&esther);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    soon(nova.bedrock.session(0)).await;
    let began = Instant::now();
    call.hang_up();
    soon(call.ended()).await;
    esther.idle().await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );

    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    soon(nova.bedrock.session(1)).await;
    let began = Instant::now();
    let ended = esther.stop().await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    soon(call.ended()).await;
    for session in nova.bedrock.sessions() {
        assert!(session.end.is_some(), "{session:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_before_the_first_word_is_one_after_it() {
    let esther = Launch::local().start().await;
    let call = esther
        .carrier()
        .place_inbound(inbound())
        .await
        .expect("an NCCO");
    let hangup = format!("/calls/{}/hangup", call.uuid());
    let began = Instant::now();
    until("the call", async || {
        (esther.post(&hangup).await.status == 202).then_some(())
    })
    .await;
    for _ in 0..3 {
        let again = esther.post(&hangup).await.status;
        assert!(matches!(again, 202 | 404), "{again}");
    }
    assert_eq!(soon(call.ended()).await, CallEnd::Finished);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert_eq!((call.connections(), call.closes()), (1, vec![Some(1000)]));
    assert_eq!(call.violations(), []);
    esther.idle().await;
    esther.stop().await.went_well();
}

/// `text` as one segment of a path.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
