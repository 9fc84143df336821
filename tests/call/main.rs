//! Whole calls: a strict carrier on one side, a strict Bedrock on the other, the library between.
#![allow(clippy::disallowed_methods, reason = "real sockets run in real time")]

mod faults;
mod longevity;
mod node;

use std::time::Duration;

use node::{Node, caller_speech, dialogue};
use novavoice::{
    agent::Counts,
    audio::SampleRate,
    call::CallId,
    model::nova_sonic::NovaSonicConfig,
    telephony::vonage::VonageConfig,
    testkit::{
        bedrock::{
            Dialogue, FakeBedrock, Fault, Options, Refusal, Reply, Script, SessionScript, When,
        },
        vonage::{CallEnd, InboundCall, Silence, speech},
    },
};

const SECOND: Duration = Duration::from_secs(1);

fn inbound() -> InboundCall {
    InboundCall::new("12125550142", "12125550100")
}

/// Vonage checklist 1, 29 and 80; Nova Sonic checklist 1-5, 8-10, 12, 13, 15, 16, 19, 22 and 45.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_from_the_signed_webhook_to_the_transcript() {
    let node = Node::start(dialogue()).await;
    let carrier = node.carrier(|options| options);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.connected().await);
    assert!(
        call.wait_heard(Duration::from_millis(1_500)).await,
        "the greeting"
    );
    tokio::time::sleep(SECOND).await;
    let words = caller_speech();
    call.say(words.clone());
    assert!(
        call.wait_heard(Duration::from_millis(2_500)).await,
        "the answer"
    );
    tokio::time::sleep(2 * SECOND).await;
    call.hang_up();
    assert_eq!(call.ended().await, CallEnd::HungUp);
    node.over(1).await;

    assert_eq!(call.violations(), []);
    assert_eq!(call.underruns(), 0);
    assert_eq!(node.bedrock.violations(), []);
    let session = &node.bedrock.sessions()[0];
    assert!(session.closed_by_the_book(), "{session:?}");
    let pcm = node.bedrock.session(0).await.pcm();
    assert!(
        pcm.windows(words.len()).any(|window| window == words),
        "the caller's words reach the model bit for bit"
    );
    let transcript = node.transcript(call.uuid());
    let said: Vec<&str> = transcript
        .lines()
        .filter_map(|line| line.split_once("] ").map(|(_, said)| said))
        .collect();
    assert_eq!(
        said,
        [
            "Assistant: Good morning, this is Esther.",
            "Human: Hello there.",
            "Assistant: May I book a meeting?"
        ]
    );
    assert!(transcript.contains("completed"), "{transcript}");
    assert_eq!(node.handle.counts(), Counts::default());
    assert_eq!(node.model.open_sessions(), 0);
}

/// Vonage checklist 25 and 26, Nova Sonic checklist 25, 26 and 28.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_speaks_up_stops_the_agent_within_moments() {
    let long = Reply::of([("one two three four five six seven eight nine ten", 10_000)]);
    let node = Node::start(Dialogue::answering([long, Reply::of([("Yes?", 500)])])).await;
    let carrier = node.carrier(|options| options);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(2 * SECOND).await);
    call.say(caller_speech());
    assert!(call.until(|call| call.cleared_count() > 0).await);
    let heard = call.heard_for();
    assert!(heard < Duration::from_millis(3_200), "{heard:?}");
    tokio::time::sleep(4 * SECOND).await;
    call.hang_up();
    call.ended().await;
    node.over(1).await;
    assert_eq!(call.violations(), []);
    assert_eq!(node.bedrock.violations(), []);
    assert_eq!(node.bedrock.sessions()[0].interruptions, 1);
    let transcript = node.transcript(call.uuid());
    assert!(transcript.contains("Assistant: one two"), "{transcript}");
    assert!(transcript.contains(" [cut]"), "{transcript}");
    assert!(
        !transcript.contains("seven"),
        "more than was heard: {transcript}"
    );
    assert!(transcript.contains("Assistant: Yes?"), "{transcript}");
}

/// Vonage checklist 53.
#[tokio::test(flavor = "multi_thread")]
async fn the_agent_hangs_up_after_its_last_words_and_the_carrier_is_told_nothing_more() {
    let node = Node::start(dialogue()).await;
    let carrier = node.carrier(|options| options);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(300)).await);
    assert!(node.handle.hang_up(&CallId::new(call.uuid())));
    let end = call.ended().await;
    assert_eq!(
        end,
        CallEnd::Finished,
        "an empty answer to `disconnected` completes the call"
    );
    node.over(1).await;
    assert!(call.spoken().is_empty(), "{:?}", call.spoken());
    assert!(
        call.heard_for() >= Duration::from_millis(1_500),
        "{:?}",
        call.heard_for()
    );
    assert_eq!(call.connections(), 1);
    assert_eq!(call.violations(), []);
    assert_eq!(node.bedrock.violations(), []);
    assert!(node.bedrock.sessions()[0].closed_by_the_book());
    assert!(
        node.transcript(call.uuid())
            .contains("Assistant: Good morning, this is Esther.\n")
    );
}

/// Vonage checklist 53, Nova Sonic checklist 43.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_agent_cannot_reach_its_model_hears_an_apology() {
    let options = Options {
        script: Some(Script::new(|_| {
            SessionScript::refuse(Refusal::access_denied())
        })),
        ..Options::default()
    };
    let bedrock = FakeBedrock::start(options).await.expect("a port");
    let node = Node::with(bedrock, NovaSonicConfig::default()).await;
    let carrier = node.carrier(|options| options);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert_eq!(call.ended().await, CallEnd::Finished);
    let sorry = VonageConfig::default().apology;
    assert_eq!(call.spoken(), [sorry]);
    assert_eq!(call.connections(), 1, "nobody connects it again");
    assert_eq!(call.violations(), []);
    node.idle().await;
    let transcript = node.transcript(call.uuid());
    assert!(transcript.contains("failed"), "{transcript}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_socket_is_replaced_and_the_call_goes_on_in_the_same_session_and_file() {
    let node = Node::start(dialogue()).await;
    let carrier = node.carrier(|options| options);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(1_500)).await);
    call.drop_socket();
    assert!(call.until(|call| call.connections() == 2).await);
    tokio::time::sleep(SECOND).await;
    call.say(caller_speech());
    assert!(call.wait_heard(Duration::from_millis(2_600)).await);
    tokio::time::sleep(SECOND).await;
    call.hang_up();
    call.ended().await;
    node.over(1).await;
    assert_eq!(call.violations(), []);
    assert_eq!(node.bedrock.violations(), []);
    assert_eq!(node.bedrock.sessions().len(), 1);
    assert!(
        node.transcript(call.uuid())
            .contains("May I book a meeting?")
    );
}

/// Vonage checklist 32, Nova Sonic checklist 17 and 18.
#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_suppresses_silence_still_gives_the_model_a_continuous_stream() {
    let node = Node::start(dialogue()).await;
    let carrier = node.carrier(|options| novavoice::testkit::vonage::Options {
        silence: Silence::Suppressed,
        ..options
    });
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(1_500)).await);
    tokio::time::sleep(SECOND).await;
    call.say(caller_speech());
    assert!(
        call.wait_heard(Duration::from_millis(2_500)).await,
        "the end of the turn was heard in the silence"
    );
    call.dtmf('4');
    call.dtmf('2');
    tokio::time::sleep(3 * SECOND).await;
    call.hang_up();
    call.ended().await;
    node.over(1).await;
    assert_eq!(node.bedrock.violations(), []);
    let told: Vec<String> = node
        .bedrock
        .session(0)
        .await
        .events()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        told.iter()
            .any(|event| event.contains("The caller pressed 4 2.")),
        "{told:#?}"
    );
}

/// Nova Sonic checklist 7: one stream a connection is enough for two calls.
#[tokio::test(flavor = "multi_thread")]
async fn calls_run_side_by_side_though_a_connection_takes_one_stream() {
    let mut options = Options {
        max_concurrent_streams: 1,
        ..Options::default()
    };
    options.script = Some(Script::new(|_| SessionScript::converse(dialogue())));
    let node = Node::with(
        FakeBedrock::start(options).await.expect("a port"),
        NovaSonicConfig::default(),
    )
    .await;
    let carrier = node.carrier(|options| options);
    let (one, two) = tokio::join!(
        carrier.place_inbound(inbound()),
        carrier.place_inbound(inbound().without_hyphens())
    );
    let (one, two) = (one.expect("an NCCO"), two.expect("an NCCO"));
    assert!(one.wait_heard(SECOND).await && two.wait_heard(SECOND).await);
    assert_eq!(node.handle.counts().sessions, 2);
    one.hang_up();
    two.hang_up();
    one.ended().await;
    two.ended().await;
    node.over(2).await;
    assert_eq!(node.bedrock.violations(), []);
    assert_eq!(carrier.violations(), []);
}

/// Nova Sonic checklist 33-35 and 39: the service cuts streams at its limit, and nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_the_limit_of_its_sessions() {
    let limit = Duration::from_secs(10);
    let mut options = Options {
        session_limit: limit,
        ..Options::default()
    };
    options.script = Some(Script::new(|_| SessionScript::converse(dialogue())));
    let mut config = NovaSonicConfig::default();
    config.session_limit = Some(limit);
    let node = Node::with(FakeBedrock::start(options).await.expect("a port"), config).await;
    let carrier = node.carrier(|options| options);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(1_500)).await);
    for _ in 0..5 {
        tokio::time::sleep(2 * SECOND).await;
        call.say(caller_speech());
        assert!(call.said().await);
        tokio::time::sleep(2 * SECOND).await;
    }
    call.hang_up();
    call.ended().await;
    let sessions = node.bedrock.sessions().len();
    assert!(sessions >= 3, "{sessions} sessions in 26 s");
    node.over(sessions).await;
    assert_eq!(call.violations(), []);
    assert_eq!(node.bedrock.violations(), []);
    for session in node.bedrock.sessions() {
        assert!(session.closed_by_the_book(), "{session:?}");
    }
    let transcript = node.transcript(call.uuid());
    assert_eq!(transcript.matches("Human: ").count(), 5, "{transcript}");
    assert_eq!(transcript.matches("Assistant: ").count(), 6, "{transcript}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_the_loss_of_its_stream() {
    let options = Options {
        script: Some(Script::new(|opening| match opening.index {
            0 => SessionScript::converse(dialogue())
                .fault(When::Audio(4 * SECOND), Fault::ResetStream),
            _ => SessionScript::converse(dialogue()),
        })),
        ..Options::default()
    };
    let node = Node::with(
        FakeBedrock::start(options).await.expect("a port"),
        NovaSonicConfig::default(),
    )
    .await;
    let carrier = node.carrier(|options| options);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(1_500)).await);
    tokio::time::sleep(3 * SECOND).await;
    call.say(caller_speech());
    assert!(
        call.wait_heard(Duration::from_millis(2_500)).await,
        "the next session answers"
    );
    tokio::time::sleep(SECOND).await;
    call.hang_up();
    call.ended().await;
    node.over(2).await;
    assert_eq!(call.violations(), []);
    assert_eq!(node.bedrock.violations(), []);
    assert!(node.bedrock.sessions()[1].closed_by_the_book());
}

/// Item 2 of the close: the process stops while people talk.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_closes_its_sessions_by_the_book() {
    let node = Node::start(dialogue()).await;
    let carrier = node.carrier(|options| options);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(SECOND).await);
    node.stop();
    node.over(1).await;
    assert!(node.bedrock.sessions()[0].closed_by_the_book());
    assert_eq!(node.bedrock.violations(), []);
    assert_eq!(call.violations(), []);
    assert!(
        node.transcript(call.uuid())
            .contains("Assistant: Good morning")
    );
}

#[test]
fn the_caller_s_speech_is_whole_frames() {
    assert_eq!(speech(SECOND, SampleRate::Hz16000).len() % 640, 0);
}
