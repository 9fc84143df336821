//! The end of the process: asked once, asked twice, and with nothing to do.

use std::time::Duration;

use novavoice::testkit::{
    bedrock::{Dialogue, Reply, SessionScript},
    vonage::{Call, FakeVonage, Violation},
};
use tokio::time::Instant;

use crate::{
    nova::{Nova, carrier, items},
    service::{Esther, Launch, inbound, soon, until},
    softphone::{Softphone, text},
};

const SECOND: Duration = Duration::from_secs(1);

/// An agent that talks on and on.
fn talker() -> SessionScript {
    let long = Reply::of([("one two three four five six seven eight nine ten", 30_000)]);
    SessionScript::converse(Dialogue::answering([long]))
}

async fn draining(esther: &Esther) {
    until("the drain", async || {
        let ready = esther.get("/ready").await;
        (ready.status != 200).then(|| ready.is_problem(503))
    })
    .await;
}

/// The carrier's last words may find nobody: the process has gone. Nothing else may be wrong.
fn check_carrier(carrier: &FakeVonage, call: &Call) {
    let mut violations = carrier.violations();
    let gone = Violation::Webhook("no response to event `completed`".to_owned());
    violations.retain(|violation| *violation != gone);
    assert_eq!(violations, [], "{:#?}", call.events());
    assert_eq!(
        call.closes(),
        [Some(1000)],
        "the socket is closed by the book"
    );
    assert_eq!(call.connections(), 1, "and not opened again");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sigterm_calls_go_on_for_the_drain_and_are_then_closed_by_the_book() {
    let nova = Nova::start(talker()).await;
    let esther = nova.launch().set("DRAIN_SECONDS", "3").start().await;
    let carrier = carrier(&esther);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(SECOND).await);
    let asked = Instant::now();
    esther.signal("TERM").await;
    draining(&esther).await;
    for path in ["/up", "/health"] {
        assert_eq!(esther.get(path).await.status, 200, "{path}");
    }
    esther.post("/channels").await.is_problem(503);
    let late = carrier.place_inbound(inbound()).await.expect("an NCCO");
    let flow = late.ncco();
    assert_eq!(items(&flow).len(), 1, "{flow}");
    assert_eq!(flow[0]["action"], "talk", "no new call: {flow}");
    let heard = call.heard_for() + SECOND;
    assert!(call.wait_heard(heard).await, "the live call goes on");

    let transcripts = std::sync::Arc::clone(&esther.home);
    let ended = soon(esther.ended()).await;
    let took = asked.elapsed();
    assert!(took >= 3 * SECOND, "{took:?}");
    ended.went_well();
    nova.closed_by_the_book(1).await;
    soon(call.ended()).await;
    check_carrier(&carrier, &call);
    let folder = transcripts.path().join("transcripts");
    let transcript = crate::transcript::Transcript::find(&folder, call.uuid());
    assert!(
        transcript.said()[0].starts_with("Assistant: one two"),
        "{transcript:?}"
    );
    assert!(transcript.record.is_some() && transcript.text.contains("\n- Ended: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_closes_the_calls_at_once() {
    let nova = Nova::start(talker()).await;
    let esther = nova.launch().set("DRAIN_SECONDS", "600").start().await;
    let carrier = carrier(&esther);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(SECOND).await);
    esther.signal("TERM").await;
    draining(&esther).await;
    esther.signal("INT").await;
    soon(esther.ended()).await.went_well();
    nova.closed_by_the_book(1).await;
    soon(call.ended()).await;
    check_carrier(&carrier, &call);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_with_its_last_call() {
    let idle = Launch::local().set("DRAIN_SECONDS", "600").start().await;
    let busy = Launch::local().set("DRAIN_SECONDS", "600").start().await;
    idle.stop().await.went_well();

    let call = busy
        .carrier()
        .place_inbound(inbound())
        .await
        .expect("an NCCO");
    let phone = Softphone::call(&busy, "", 640).await;
    phone
        .until("the greeting", 0, text("ASSISTANT", "Hello"))
        .await;
    assert!(call.wait_heard(SECOND / 2).await);
    busy.signal("TERM").await;
    draining(&busy).await;
    drop(phone);
    let heard = call.heard_for() + SECOND / 2;
    assert!(call.wait_heard(heard).await);
    call.hang_up();
    let home = std::sync::Arc::clone(&busy.home);
    busy.ended().await.went_well();
    let files = std::fs::read_dir(home.path().join("transcripts")).expect("a folder");
    assert_eq!(files.count(), 4, "two calls, two files each");
}
