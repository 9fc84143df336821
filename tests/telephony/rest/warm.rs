//! Callers who are handed over to somebody who is called first and may say no.

use std::time::Duration;

use novavoice::{
    ProviderErrorKind,
    call::Party,
    private::Private,
    telephony::{CallCommand, CallEvent, Leg, NotTaken},
    testkit::vonage::{Call, CallEnd, Callee, Duplicates, Fault, InboundCall, Options, Reaction},
};
use serde_json::{Value, json};

use super::{Bench, soon};
use crate::line::event;

const DESK: &str = "12125550177";
const BRIEFING: &str = "Pat Doe of <b>Chapel</b> Hill asks for a date.";

/// A carrier whose voice takes its time, in a hurry.
fn hasty(options: &mut Options) {
    options.time_scale = 10.0;
    options.talk = Duration::from_secs(10);
}

async fn inbound(bench: &Bench) -> (Call, Leg) {
    let call = InboundCall::new("12125550142", "442079460000");
    let call = bench.carrier.place_inbound(call).await.expect("an NCCO");
    let leg = bench.leg().await;
    assert!(call.connected().await);
    (call, leg)
}

/// The agent asks for it, and somebody is called, unless nobody can be.
async fn introduce(leg: &Leg) {
    let command = CallCommand::WarmTransfer {
        to: Party::new("+1 (212) 555-0177"),
        briefing: Private::new(BRIEFING.to_owned()),
    };
    leg.duplex.commands.send(command).await.expect("it listens");
}

/// The next event that is no audio.
async fn news(leg: &mut Leg) -> CallEvent {
    loop {
        match soon(event(leg)).await.expect("news") {
            CallEvent::Audio(_) => {}
            other => return other,
        }
    }
}

async fn together(call: &Call, person: &Call) {
    let meets = |call: &Call| call.talks_with() == [person.uuid()];
    assert!(soon(call.until(meets)).await, "{:?}", call.ncco());
    assert_eq!(person.talks_with(), [call.uuid()]);
}

/// Everything that is asked of the carrier, and who hears what.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_hears_who_waits_and_takes_the_call() {
    let bench = Bench::with(hasty, |_| {}).await;
    let (call, mut leg) = inbound(&bench).await;
    introduce(&leg).await;
    let person = bench.call().await;
    assert!(soon(person.until(|person| !person.spoken().is_empty())).await);
    let said = person.spoken();
    assert!(
        said[0].starts_with("Pat Doe of b Chapel /b Hill asks for a date. To take"),
        "{said:?}"
    );
    let order = bench.rest.requests()[0].body.clone();
    assert_eq!(order["to"], json!([{"type": "phone", "number": DESK}]));
    assert_eq!(order["from"]["number"], "442079460000");
    assert_eq!(order["advanced_machine_detection"]["mode"], "default");
    assert!(order["ringing_timer"].as_u64().is_some_and(|it| it <= 60));
    let url = order["event_url"][0].as_str().expect("an address");
    assert!(
        url.starts_with(&bench.url("/outbound/webhooks/introduction?")),
        "{url}"
    );
    assert_eq!(order["ncco"][1]["eventUrl"], json!([url]));
    assert_eq!(call.room(), None, "the caller stays with the agent");
    person.dtmf('1');
    assert_eq!(news(&mut leg).await, CallEvent::Taken);
    together(&call, &person).await;
    assert_eq!(news(&mut leg).await, CallEvent::HungUp);
    assert!(!call.statuses(true).contains(&"disconnected".to_owned()));
    person.hang_up();
    assert_eq!(
        soon(call.ended()).await,
        CallEnd::Finished,
        "it is over for both"
    );
    let asked = bench.asked();
    let expected = [
        "POST /v1/calls".to_owned(),
        format!("PUT /v1/calls/{}", call.uuid()),
    ];
    assert_eq!(asked, expected);
    assert_eq!(bench.carrier.violations(), []);
}

/// Whoever does nothing takes the call, and webhooks that come twice change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_stays_on_the_line_takes_the_call() {
    let twice = |options: &mut Options| {
        hasty(options);
        options.duplicates = Duplicates::FreshToken;
    };
    let bench = Bench::with(twice, |_| {}).await;
    let (call, mut leg) = inbound(&bench).await;
    introduce(&leg).await;
    let person = bench.call().await;
    assert_eq!(news(&mut leg).await, CallEvent::Taken);
    together(&call, &person).await;
    call.hang_up();
    assert_eq!(soon(person.ended()).await, CallEnd::Finished);
    assert_eq!(bench.carrier.violations(), []);
}

/// However it comes that nobody takes the call: the agent keeps it and is told why, nobody is left
/// on a line, and it can be tried again.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_take_the_call_leaves_it_with_the_agent() {
    let bench = Bench::with(hasty, |_| {}).await;
    let (call, mut leg) = inbound(&bench).await;
    let person = Callee::person();
    let declines = Some('2');
    for (callee, key, why) in [
        (Callee::that(Reaction::Busy), None, NotTaken::Busy),
        (Callee::that(Reaction::Ignores), None, NotTaken::NoAnswer),
        (
            Callee::that(Reaction::Rejects("declined")),
            None,
            NotTaken::Declined,
        ),
        (
            Callee::that(Reaction::Fails("cannot_route")),
            None,
            NotTaken::Unreachable,
        ),
        (Callee::that(Reaction::Records), None, NotTaken::Machine),
        (
            person.clone().for_only(Duration::from_secs(2)),
            None,
            NotTaken::Declined,
        ),
        (person.clone(), declines, NotTaken::Declined),
    ] {
        bench.rest.reach(DESK, callee);
        introduce(&leg).await;
        let person = bench.call().await;
        if let Some(key) = key {
            assert!(soon(person.until(|person| person.status() == "answered")).await);
            person.dtmf(key);
        }
        assert_eq!(news(&mut leg).await, CallEvent::NotTaken(why));
        soon(person.ended()).await;
        assert_eq!(person.talks_with(), [""; 0]);
    }
    assert!(!call.is_over());
    call.drop_socket();
    assert!(
        soon(call.until(|call| call.connections() == 2)).await,
        "an accident is still mended"
    );
    bench.rest.reach(DESK, person);
    introduce(&leg).await;
    let person = bench.call().await;
    assert!(soon(person.until(|person| person.status() == "answered")).await);
    person.dtmf('1');
    assert_eq!(news(&mut leg).await, CallEvent::Taken);
    together(&call, &person).await;
    assert_eq!(bench.carrier.violations(), []);
}

/// A caller who leaves is waited for by nobody: not while it rings, and not while somebody listens.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_ends_the_call_to_the_person() {
    for (does, status) in [
        (Reaction::Ignores, "ringing"),
        (Reaction::Answers, "answered"),
    ] {
        let slow = |options: &mut Options| options.talk = Duration::from_secs(3_600);
        let bench = Bench::with(slow, |_| {}).await;
        let (call, leg) = inbound(&bench).await;
        let callee = Callee {
            rings: Duration::ZERO,
            ..Callee::that(does)
        };
        bench.rest.reach(DESK, callee);
        introduce(&leg).await;
        let person = bench.call().await;
        assert!(soon(person.until(|person| person.status() == status)).await);
        call.hang_up();
        soon(call.ended()).await;
        soon(person.ended()).await;
        let moved = format!("PUT /v1/calls/{}", call.uuid());
        assert!(!bench.asked().contains(&moved), "{:?}", bench.asked());
        drop(leg);
        assert_eq!(bench.carrier.violations(), []);
    }
}

/// The agent that hangs up takes its wish back, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_up_ends_the_call_to_the_person() {
    let bench = Bench::new().await;
    let (call, leg) = inbound(&bench).await;
    bench.rest.reach(DESK, Callee::that(Reaction::Ignores));
    introduce(&leg).await;
    let person = bench.call().await;
    assert!(soon(person.until(|person| person.status() == "ringing")).await);
    drop(leg);
    soon(call.ended()).await;
    assert_eq!(soon(person.ended()).await, CallEnd::Unanswered);
    assert_eq!(person.status(), "cancelled");
    assert_eq!(bench.carrier.violations(), []);
}

/// The carrier fails, at the one request or at the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_fails_leaves_the_call_with_the_agent() {
    let bench = Bench::with(hasty, |_| {}).await;
    let (call, mut leg) = inbound(&bench).await;
    bench.rest.fail(Fault::answer(401, "{}").on("POST"));
    introduce(&leg).await;
    let failed = CallEvent::TransferFailed(ProviderErrorKind::Unauthorized);
    assert_eq!(news(&mut leg).await, failed);
    assert_eq!(bench.rest.placed(), 0);

    introduce(&leg).await;
    let person = bench.call().await;
    assert!(soon(person.until(|person| person.status() == "answered")).await);
    bench.rest.fail(Fault::answer(403, "").on("PUT"));
    person.dtmf('1');
    assert_eq!(news(&mut leg).await, CallEvent::Taken);
    assert_eq!(news(&mut leg).await, failed, "taken back");
    assert_eq!(
        soon(person.ended()).await,
        CallEnd::Released,
        "nobody waits alone"
    );
    assert!(!call.is_over() && call.room().is_none());
    call.drop_socket();
    assert!(
        soon(call.until(|call| call.connections() == 2)).await,
        "it is live"
    );
    drop(leg);
    soon(call.ended()).await;
    assert_eq!(bench.carrier.violations(), []);
}

/// A move whose answer was lost is asked for again: nobody is moved twice by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_without_an_answer_is_repeated() {
    let bench = Bench::with(hasty, |_| {}).await;
    let (call, mut leg) = inbound(&bench).await;
    introduce(&leg).await;
    let person = bench.call().await;
    assert!(soon(person.until(|person| person.status() == "answered")).await);
    bench.rest.fail(Fault::answer(502, "").on("PUT"));
    person.dtmf('1');
    assert_eq!(news(&mut leg).await, CallEvent::Taken);
    together(&call, &person).await;
    assert_eq!(news(&mut leg).await, CallEvent::HungUp);
    assert_eq!(bench.carrier.violations(), []);
}

/// Any node takes the choice, whoever waits for it; and nobody else makes one.
#[tokio::test(flavor = "multi_thread")]
async fn the_choice_may_be_told_to_any_node() {
    let bench = Bench::new().await;
    let (call, leg) = inbound(&bench).await;
    let path = format!(
        "/outbound/webhooks/introduction?caller={}&introduction=elsewhere",
        call.uuid()
    );
    let chose = |digits: &str| json!({"dtmf": {"digits": digits, "timed_out": digits.is_empty()}, "uuid": "person"});
    let tell = async |path: &str, body: &Value| {
        let body = body.to_string();
        let token = bench
            .carrier
            .signer()
            .expect("it signs")
            .sign(body.as_bytes());
        let reply = bench.carrier.deliver(path, body, Some(&token)).await;
        reply.expect("an answer")
    };
    let declined = tell(&path, &chose("2")).await;
    let flow: Value = serde_json::from_slice(&declined.body).expect("an NCCO");
    assert_eq!((declined.status, &flow[0]["action"]), (200, &json!("talk")));
    let unsigned = bench
        .carrier
        .deliver(&path, chose("1").to_string(), None)
        .await;
    assert_eq!(unsigned.expect("an answer").status, 401);
    for wrong in ["", "?caller=a", "?introduction=a", "?caller=&introduction="] {
        let wrong = format!("/outbound/webhooks/introduction{wrong}");
        assert_eq!(tell(&wrong, &chose("1")).await.status, 400, "{wrong}");
    }
    assert_eq!(call.room(), None);

    let taken = tell(&path, &chose("1")).await;
    let flow: Value = serde_json::from_slice(&taken.body).expect("an NCCO");
    let room = json!([{"action": "conversation", "name": "elsewhere", "endOnExit": true}]);
    assert_eq!(flow, room);
    assert!(soon(call.until(|call| call.room().as_deref() == Some("elsewhere"))).await);
    drop(leg);
    assert_eq!(bench.carrier.violations(), []);
}
