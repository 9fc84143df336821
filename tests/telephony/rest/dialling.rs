//! Calls that we place, from the request to the end.

use std::time::Duration;

use novavoice::{
    call::{CallStatus, Direction, Outcome},
    telephony::{
        CallCommand, CallEvent, DialOptions, Progress, Telephony,
        vonage::{
            ncco::{Method, PhoneEndpoint},
            rest::{CallFlow, CallerId, CreateCall},
        },
    },
    testkit::vonage::{CallEnd, Callee, Duplicates, Opening, Reaction},
};
use serde_json::json;

use super::{Bench, CALLEE, callee, soon};
use crate::line::event;

fn given() -> DialOptions {
    let mut options = DialOptions::default();
    options.instructions = Some("Book a meeting.".to_owned());
    options.greeting = Some("Say hello.".to_owned());
    options.detect_machines = true;
    options
}

/// The whole life of a call on which the agent talks.
#[tokio::test(flavor = "multi_thread")]
async fn an_answered_call_is_a_leg_and_is_ended_by_request() {
    let mut bench = Bench::new().await;
    let dialled = bench
        .vonage
        .dial(&callee(), given())
        .await
        .expect("it rings");
    let call = bench.call().await;
    let body = bench.rest.requests()[0].body.clone();
    assert_eq!(body["to"], json!([{"type": "phone", "number": CALLEE}]));
    assert_eq!(
        body["advanced_machine_detection"],
        json!({"behavior": "continue", "mode": "default"})
    );
    assert!(
        body.get("ncco").is_none(),
        "a token in it would die while it rings"
    );

    let mut leg = bench.leg().await;
    assert_eq!(leg.info.id, dialled.id);
    assert_eq!(leg.info.direction, Direction::Outbound);
    assert_eq!(leg.info.remote.as_ref().expect("a callee").reveal(), CALLEE);
    assert_eq!(
        leg.info.local.as_ref().expect("a caller").reveal(),
        "442079460000"
    );
    assert_eq!(leg.info.instructions.as_deref(), Some("Book a meeting."));
    assert_eq!(leg.info.greeting.as_deref(), Some("Say hello."));
    assert!(leg.info.leg.transfer && leg.info.leg.dtmf);

    assert!(
        call.until(|call| call.statuses(false).contains(&"human".to_owned()))
            .await
    );
    let hang_up = CallCommand::HangUp { apologise: false };
    leg.duplex.commands.send(hang_up).await.expect("it listens");
    while soon(event(&mut leg)).await.expect("an end") != CallEvent::HungUp {}
    assert_eq!(soon(call.ended()).await, CallEnd::Released, "by request");
    let last = bench.asked().pop();
    assert_eq!(last, Some(format!("PUT /v1/calls/{}", dialled.id)));
    assert!(!call.statuses(true).contains(&"disconnected".to_owned()));

    let steps = bench.steps().await;
    let human = Progress::AnsweredBy { machine: false };
    assert_eq!(
        steps[..4],
        [
            Progress::Placed,
            Progress::Ringing,
            Progress::Answered,
            human
        ]
    );
    let Some(Progress::Ended(end)) = steps.last() else {
        unreachable!("it has ended");
    };
    assert_eq!(
        (end.status, end.outcome),
        (CallStatus::Completed, Outcome::Completed)
    );
    assert_eq!(end.word, "completed");
    assert!(end.price_eur.is_some() && end.duration.is_some());
    assert_eq!(bench.carrier.violations(), []);
}

/// Vonage checklist 51: the same whatever the order and however often events come.
#[tokio::test(flavor = "multi_thread")]
async fn events_out_of_order_and_twice_tell_the_same_story() {
    let orders = [
        vec![
            Opening::Ringing,
            Opening::Started,
            Opening::Answer,
            Opening::Answered,
        ],
        vec![
            Opening::Answer,
            Opening::Answered,
            Opening::Ringing,
            Opening::Started,
        ],
        vec![Opening::Answer],
    ];
    for opening in orders {
        for duplicates in [Duplicates::SameToken, Duplicates::FreshToken] {
            let rings = opening[0] == Opening::Ringing;
            let mut bench = Bench::with(
                |carrier| carrier.duplicates = duplicates,
                |rest| rest.opening.clone_from(&opening),
            )
            .await;
            let dialled = bench
                .vonage
                .dial(&callee(), given())
                .await
                .expect("it rings");
            let call = bench.call().await;
            let leg = bench.leg().await;
            assert_eq!(leg.info.id, dialled.id);
            assert_eq!(leg.info.greeting.as_deref(), Some("Say hello."));
            call.hang_up();
            let steps = bench.steps().await;
            assert_eq!(steps[0], Progress::Placed);
            assert_eq!(steps.contains(&Progress::Ringing), rings, "{opening:?}");
            let once = |step: &Progress| steps.iter().filter(|it| *it == step).count() <= 1;
            assert!(
                once(&Progress::Placed) && once(&Progress::Answered),
                "{steps:?}"
            );
            soon(call.ended()).await;
            assert!(
                bench.progress.try_recv().is_err(),
                "nothing follows the end"
            );
            assert_eq!(bench.carrier.violations(), []);
        }
    }
}

/// Everybody who does not answer, and what that means.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_nobody_answers_end_by_their_reason() {
    use CallStatus as S;
    use Outcome as O;
    let mut bench = Bench::with(|_| {}, |rest| rest.calls_per_second = 50).await;
    for (does, status, outcome, bad) in [
        (Reaction::Busy, S::Busy, O::Busy, false),
        (Reaction::Ignores, S::NoAnswer, O::NoAnswer, false),
        (
            Reaction::Unreachable("unavailable"),
            S::NoAnswer,
            O::NoAnswer,
            false,
        ),
        (
            Reaction::Rejects("declined"),
            S::NoAnswer,
            O::NoAnswer,
            false,
        ),
        (
            Reaction::Rejects("invalid_number"),
            S::NoAnswer,
            O::NoAnswer,
            true,
        ),
        (Reaction::Fails("cannot_route"), S::Failed, O::Failed, false),
        (
            Reaction::Fails("number_out_of_service"),
            S::Failed,
            O::Failed,
            true,
        ),
    ] {
        bench.rest.reach(CALLEE, Callee::that(does));
        let mut options = DialOptions::default();
        options.ringing = Some(Duration::from_secs(1));
        let dialled = bench
            .vonage
            .dial(&callee(), options)
            .await
            .expect("it rings");
        let call = bench.call().await;
        assert_eq!(soon(call.ended()).await, CallEnd::Unanswered);
        let steps = bench.steps().await;
        let Some(Progress::Ended(end)) = steps.last() else {
            unreachable!("it has ended");
        };
        assert_eq!(
            (end.status, end.outcome, end.bad_number),
            (status, outcome, bad),
            "{does:?}"
        );
        assert!(!steps.contains(&Progress::Answered));
        assert_eq!(bench.vonage.hang_up(&dialled.id).await.ok(), Some(false));
    }
    assert_eq!(bench.carrier.violations(), []);
}

/// A machine answers a call on which nobody but the carrier speaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_simple_call_is_spoken_by_the_carrier_and_ends_with_its_words() {
    let mut bench = Bench::with(|carrier| carrier.talk = Duration::from_secs(1), |_| {}).await;
    let simple = async |bench: &Bench, options| {
        let message = "The meeting is at noon.";
        let dialled = bench.vonage.announce(&callee(), message, options).await;
        (dialled.expect("it rings"), bench.call().await)
    };
    let (dialled, call) = simple(&bench, DialOptions::default()).await;
    assert_eq!(soon(call.ended()).await, CallEnd::Finished);
    assert_eq!(call.spoken(), ["The meeting is at noon."]);
    assert_eq!(call.connections(), 0, "no socket");
    let steps = bench.steps().await;
    assert_eq!(steps.len(), 4, "{steps:?}");
    assert_eq!(bench.vonage.hang_up(&dialled.id).await.ok(), Some(false));

    bench.rest.reach(CALLEE, Callee::that(Reaction::Records));
    let mut options = DialOptions::default();
    options.detect_machines = true;
    let (_, call) = simple(&bench, options).await;
    soon(call.ended()).await;
    let steps = bench.steps().await;
    let Some(Progress::Ended(end)) = steps.last() else {
        unreachable!("it has ended");
    };
    assert_eq!(
        (end.status, end.outcome),
        (CallStatus::Voicemail, Outcome::Voicemail)
    );

    for wrong in ["", "x".repeat(1501).as_str()] {
        let refused = bench
            .vonage
            .announce(&callee(), wrong, DialOptions::default())
            .await;
        assert!(refused.is_err());
    }
    assert_eq!(bench.rest.placed(), 2);
    assert_eq!(bench.carrier.violations(), []);
}

/// A call that another node placed is answered here: it gets its flow, and is told of.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_this_node_does_not_know_is_connected_all_the_same() {
    let mut bench = Bench::new().await;
    let other = PhoneEndpoint::new(CALLEE);
    let url = bench.url("/outbound/webhooks/answer");
    let events = bench.url("/outbound/webhooks/events");
    let request = CreateCall::new(other, CallerId::Random, CallFlow::ask(url));
    let request = request.events(events, Method::Post);
    let created = bench.client().create(&request).await.expect("it rings");
    let call = bench.call().await;
    let leg = bench.leg().await;
    assert_eq!(leg.info.id, created.id);
    assert_eq!(leg.info.direction, Direction::Outbound);
    assert_eq!((leg.info.instructions, leg.info.greeting), (None, None));
    call.hang_up();
    let steps = bench.steps().await;
    assert_eq!(steps[..2], [Progress::Placed, Progress::Ringing]);
    assert_eq!(bench.carrier.violations(), []);
}
