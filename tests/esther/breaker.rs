//! A model that is out of order: who has begun is waited for, who comes is told at once.

use std::time::Duration;

use novavoice::testkit::{
    bedrock::{Dialogue, FakeBedrock, Options, Refusal, Reply, SessionScript},
    vonage::CallEnd,
};

use crate::{
    nova::{Nova, carrier},
    service::{inbound, soon, until},
};

/// A service that is out of order for the first so many openings.
async fn nova(failures: usize) -> Nova {
    let hello = Dialogue::answering([Reply::of([("Good morning.", 1_000)])]);
    let script = move |index| match index {
        index if index < failures => SessionScript::refuse(Refusal::unavailable()),
        _ => SessionScript::converse(hello.clone()),
    };
    let options = Options::default().on_session(script);
    Nova::with(FakeBedrock::start(options).await.expect("a port"))
}

#[tokio::test(flavor = "multi_thread")]
async fn new_calls_are_refused_politely_while_the_model_is_out_of_order() {
    // Four of the first call, the fifth of the second one, and one that tries.
    let nova = nova(6).await;
    let esther = nova
        .launch()
        .set("SPEECH_MODEL", "nova-sonic")
        .start()
        .await;
    let carrier = carrier(&esther);
    let first = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert_eq!(soon(first.ended()).await, CallEnd::Finished);
    assert_eq!(first.spoken().len(), 1, "an apology: {:?}", first.spoken());
    let second = carrier.place_inbound(inbound()).await.expect("an NCCO");
    until("the open circuit", async || {
        (esther.metric("esther_model_circuit_open").await == 1.0).then_some(())
    })
    .await;
    let third = carrier.place_inbound(inbound()).await.expect("an NCCO");
    let flow = third.ncco();
    assert_eq!(flow[0]["action"], "talk", "{flow}");
    let sentence = flow[0]["text"].as_str().unwrap_or_default();
    assert!(sentence.contains("busy"), "{sentence}");
    soon(third.ended()).await;
    assert_eq!(third.connections(), 0);

    // The call that goes on is the one that finds out.
    let heard = second.wait_heard(Duration::from_millis(1_000));
    assert!(soon(heard).await);
    assert_eq!(esther.metric("esther_model_circuit_open").await, 0.0);
    let fourth = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(soon(fourth.wait_heard(Duration::from_millis(1_000))).await);
    second.hang_up();
    fourth.hang_up();
    soon(second.ended()).await;
    soon(fourth.ended()).await;
    assert_eq!(carrier.violations(), []);
    esther.idle().await;
    // The apology is complained of, and rightly.
    assert_eq!(esther.stop().await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_auto_the_local_model_takes_new_calls_and_nobody_is_asked_in_vain() {
    let nova = nova(usize::MAX).await;
    let esther = nova.launch().start().await;
    let carrier = carrier(&esther);
    for taken in 1..=7_u32 {
        let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
        assert!(soon(call.wait_heard(Duration::from_millis(200))).await);
        call.hang_up();
        soon(call.ended()).await;
        let counted = esther.metric("esther_stand_in_calls_total").await;
        assert_eq!(counted, f64::from(taken));
        if taken == 5 {
            assert_eq!(esther.metric("esther_model_circuit_open").await, 1.0);
        }
    }
    let asked = nova.bedrock.sessions().len();
    assert!(
        asked < 7,
        "{asked} of 7 calls asked a model that is out of order"
    );
    assert!(esther.log().contains("stand-in"), "{}", esther.log());
    esther.idle().await;
    esther.stop().await.went_well();
}
