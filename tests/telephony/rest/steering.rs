//! What an agent, or an operator, does to a live call by request.

use novavoice::{
    ProviderErrorKind,
    call::Party,
    telephony::{CallCommand, CallEvent, DialOptions, Telephony},
    testkit::vonage::{Call, CallEnd, Callee, Fault, InboundCall, Reaction},
};
use serde_json::json;

use super::{Bench, CALLEE, callee, soon};
use crate::line::event;

const DESK: &str = "+1 (212) 555-0177";

async fn inbound(bench: &Bench) -> (Call, novavoice::telephony::Leg) {
    let call = InboundCall::new("12125550142", "442079460000");
    let call = bench.carrier.place_inbound(call).await.expect("an NCCO");
    let leg = bench.leg().await;
    assert!(call.connected().await);
    (call, leg)
}

/// Vonage checklist 69: the agent of an inbound call hangs up by request.
#[tokio::test(flavor = "multi_thread")]
async fn an_inbound_call_is_ended_by_request_too() {
    let bench = Bench::new().await;
    let (call, leg) = inbound(&bench).await;
    drop(leg);
    assert_eq!(soon(call.ended()).await, CallEnd::Released);
    assert_eq!(bench.asked(), [format!("PUT /v1/calls/{}", call.uuid())]);
    assert_eq!(bench.carrier.violations(), []);
}

/// Where the request fails, the closed socket ends the call as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_request_fails_is_ended_by_its_socket() {
    let bench = Bench::new().await;
    let (call, leg) = inbound(&bench).await;
    bench.rest.fail(Fault::answer(403, "").on("PUT"));
    drop(leg);
    assert_eq!(soon(call.ended()).await, CallEnd::Finished);
    assert!(call.statuses(true).contains(&"disconnected".to_owned()));
    assert_eq!(
        call.spoken(),
        [""; 0],
        "nobody apologises for a call that was over"
    );
    assert_eq!(bench.carrier.violations(), []);
}

/// Vonage checklist 70: the caller is connected with a person, and the agent's leg ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_passes_its_call_on() {
    let bench = Bench::new().await;
    let (call, mut leg) = inbound(&bench).await;
    let to = Party::new(DESK);
    let transfer = CallCommand::Transfer { to };
    leg.duplex
        .commands
        .send(transfer)
        .await
        .expect("it listens");
    while soon(event(&mut leg)).await.expect("an end") != CallEvent::HungUp {}
    assert!(
        call.until(|call| call.ncco()[0]["endpoint"][0]["type"] == "phone")
            .await
    );
    let flow = call.ncco();
    assert_eq!(
        flow[0]["endpoint"],
        json!([{"type": "phone", "number": "12125550177"}])
    );
    assert_eq!(flow[0]["from"], "442079460000");
    assert!(!call.is_over(), "the caller talks on");
    assert!(!call.statuses(true).contains(&"disconnected".to_owned()));
    call.hang_up();
    soon(call.ended()).await;
    assert_eq!(
        bench.asked().len(),
        1,
        "nobody hangs up a call that was passed on"
    );
    assert_eq!(bench.carrier.violations(), []);
}

/// A transfer that fails leaves the agent where it was, and a lost socket is mended as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_fails_leaves_the_agent_on_the_call() {
    let bench = Bench::new().await;
    let (call, mut leg) = inbound(&bench).await;
    for (to, kind) in [
        (DESK, ProviderErrorKind::Unauthorized),
        ("nobody", ProviderErrorKind::Invalid),
    ] {
        bench.rest.fail(Fault::answer(403, "").on("PUT"));
        let to = Party::new(to);
        let transfer = CallCommand::Transfer { to };
        leg.duplex
            .commands
            .send(transfer)
            .await
            .expect("it listens");
        let failed = loop {
            if let CallEvent::TransferFailed(kind) = soon(event(&mut leg)).await.expect("news") {
                break kind;
            }
        };
        assert_eq!(failed, kind);
    }
    call.drop_socket();
    assert!(
        call.until(|call| call.connections() == 2).await,
        "it was an accident"
    );
    drop(leg);
    soon(call.ended()).await;
    assert_eq!(bench.carrier.violations(), []);
}

/// Vonage checklist 76: keys go out in their order, and a failure is told.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_presses_keys() {
    let bench = Bench::new().await;
    let (call, mut leg) = inbound(&bench).await;
    for keys in ["1,2", "#", "99*"] {
        let keys = keys.parse().expect("keys");
        let press = CallCommand::SendDtmf(keys);
        leg.duplex.commands.send(press).await.expect("it listens");
    }
    assert!(call.until(|call| call.keys() == "1p2#99*").await);
    bench.rest.fail(Fault::answer(500, "").on("PUT"));
    let press = CallCommand::SendDtmf("5".parse().expect("keys"));
    leg.duplex.commands.send(press).await.expect("it listens");
    loop {
        if let CallEvent::DtmfFailed(kind) = soon(event(&mut leg)).await.expect("news") {
            assert_eq!(kind, ProviderErrorKind::Unavailable);
            break;
        }
    }
    assert_eq!(call.keys(), "1p2#99*", "a key is never pressed twice");
    assert_eq!(bench.carrier.violations(), []);
}

/// Calls without an agent can be ended too: while they ring, and while the carrier speaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_rings_is_ended_by_request() {
    let mut bench = Bench::new().await;
    bench.rest.reach(CALLEE, Callee::that(Reaction::Ignores));
    let dialled = bench.vonage.dial(&callee(), DialOptions::default()).await;
    let id = dialled.expect("it rings").id;
    let call = bench.call().await;
    assert!(call.until(|call| call.status() == "ringing").await);
    assert_eq!(bench.vonage.hang_up(&id).await.ok(), Some(true));
    soon(call.ended()).await;
    assert_eq!(call.status(), "cancelled");
    bench.steps().await;
    let before = bench.asked().len();
    assert_eq!(bench.vonage.hang_up(&id).await.ok(), Some(false));
    let over = bench.vonage.transfer(&id, &Party::new(DESK)).await;
    assert_eq!(over.ok(), Some(false));
    assert_eq!(bench.asked().len(), before, "what is over needs no request");
    assert_eq!(bench.carrier.violations(), []);
}

/// Vonage checklist 71: a call is steered in the region that its webhook names, where that is
/// Vonage's own, and nowhere that anybody else names.
#[tokio::test(flavor = "multi_thread")]
async fn requests_go_to_the_region_of_their_call() {
    for (named, asked) in [
        (
            "https://api-us-3.vonage.com",
            Some("https://api-us-3.vonage.com"),
        ),
        ("https://vonage.com.evil.tld", None),
        ("http://api-us-3.vonage.com", None),
        ("https://evilvonage.com", None),
    ] {
        let region = |options: &mut novavoice::testkit::vonage::Options| {
            options.region_url = Some(named.to_owned());
        };
        let bench = Bench::with(region, |_| {}).await;
        let (call, leg) = inbound(&bench).await;
        let rest = bench.vonage.rest(Some(&leg.info.id)).expect("an account");
        let base = asked.unwrap_or_else(|| bench.rest.base_url());
        assert!(format!("{rest:?}").contains(base), "{named}: {rest:?}");
        // Not by request: no test calls a real host.
        bench.vonage.set_account(Default::default());
        drop(leg);
        soon(call.ended()).await;
    }
}
