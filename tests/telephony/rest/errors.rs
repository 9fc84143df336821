//! Refusals, silence and broken connections: what is sent again, and what is not.

use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use novavoice::{
    ProviderError, ProviderErrorKind,
    call::CallId,
    lead::PhoneNumber,
    telephony::{
        DialOptions, Progress, Telephony,
        vonage::{
            ncco::{Method, Ncco, PhoneEndpoint, Talk},
            rest::{CallFlow, CallerId, CreateCall, ListCalls, RestError},
        },
    },
    testkit::vonage::{Callee, Failing, Fault, Reaction},
};

use super::{Bench, CALLEE, callee, soon};

fn call() -> CreateCall {
    let flow = Ncco::builder().then(Talk::new("Hello.")).build();
    let flow = CallFlow::Ncco(flow.expect("a flow"));
    CreateCall::new(PhoneEndpoint::new(CALLEE), CallerId::Random, flow)
}

/// Vonage checklist 72: each refusal has its meaning, and is sent once.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_told_by_its_meaning() {
    use ProviderErrorKind as Kind;
    let bench = Bench::new().await;
    let rest = bench.client_with(|config| config.limits.calls = 100);
    for (status, body, kind, said) in [
        (
            400,
            r#"{"type":400,"title":"Bad Request","invalid_parameters":[{"reason":"must be digits","name":"number"}]}"#,
            Kind::Invalid,
            "number: must be digits",
        ),
        (
            401,
            r#"{"type":"UNAUTHORIZED","error_title":"Unauthorized"}"#,
            Kind::Unauthorized,
            "Unauthorized",
        ),
        (
            403,
            r#"{"type":"https://x.example","title":"Forbidden","detail":"12125550101 is barred"}"#,
            Kind::Unauthorized,
            "… is barred",
        ),
        (404, "", Kind::NotFound, "404"),
        (
            422,
            r#"{"title":"Unprocessable"}"#,
            Kind::Invalid,
            "Unprocessable",
        ),
        (500, "<html>oops</html>", Kind::Unavailable, "500"),
        (502, "", Kind::Unavailable, "502"),
        (302, "", Kind::Protocol, "302"),
    ] {
        let before = bench.asked().len();
        bench.rest.fail(Fault::answer(status, body));
        let error = rest.create(&call()).await.expect_err("refused");
        assert_eq!(error.may_have_happened(), status >= 500, "{status}");
        assert_eq!(
            bench.asked().len(),
            before + 1,
            "{status} is not sent again"
        );
        let problem = error.problem().expect("an answer").clone();
        assert!(
            problem
                .trace
                .is_some_and(|trace| trace.starts_with("trace-"))
        );
        let error = ProviderError::from(error);
        assert_eq!(*error.kind(), kind, "{status}");
        let said_so = error.to_string();
        assert!(
            said_so.contains(said) && !said_so.contains("5550101"),
            "{said_so}"
        );
    }
    assert_eq!(bench.rest.placed(), 0);
}

/// Vonage checklist 73: what is safe is sent again, five times at most.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_repeated_is_repeated() {
    let bench = Bench::new().await;
    let rest = bench.client();
    let list = ListCalls::default();
    for fault in [
        Fault::answer(503, "<html>"),
        Fault::answer(502, ""),
        Fault::throttle(None),
        Fault::throttle(Some("0")),
        Fault::new(Failing::Silent { carried_out: true }),
        Fault::new(Failing::Broken { carried_out: false }),
    ] {
        let before = bench.asked().len();
        bench.rest.fail(fault.clone());
        rest.list(&list).await.expect("the second try");
        assert_eq!(bench.asked().len(), before + 2, "{fault:?}");
    }
    bench.rest.fail(Fault::answer(504, "").times(5));
    let before = bench.asked().len();
    let error = rest.list(&list).await.expect_err("no more hope");
    assert!(error.may_have_happened());
    assert_eq!(bench.asked().len(), before + 5);

    // Hanging up twice is hanging up once; a key pressed twice is another key.
    let id = CallId::new("u");
    for (request, attempts) in [("hangup", 2), ("dtmf", 1)] {
        let before = bench.asked().len();
        bench.rest.fail(Fault::answer(503, ""));
        match request {
            "hangup" => assert!(rest.hang_up(&id).await.is_ok()),
            _ => assert!(rest.send_dtmf(&id, "1").await.is_err()),
        }
        assert_eq!(bench.asked().len(), before + attempts, "{request}");
    }
}

/// Vonage checklist 73: a wait that is asked for is kept, in seconds or as a date, and one that
/// nobody would wait for is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_call_is_placed_later() {
    let bench = Bench::new().await;
    let rest = bench.client();
    bench.rest.fail(Fault::throttle(Some("1")));
    rest.create(&call()).await.expect("the second try");
    let requests = bench.rest.requests();
    let waited = requests[1].at.duration_since(requests[0].at);
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    let past = "Thu, 01 Jan 2026 11:00:05 GMT";
    bench.rest.fail(Fault::throttle(Some(past)));
    rest.create(&call()).await.expect("the second try");
    assert_eq!(bench.rest.placed(), 2);

    bench.rest.fail(Fault::throttle(Some("3600")));
    let error = rest
        .create(&call())
        .await
        .expect_err("nobody waits an hour");
    assert!(!error.may_have_happened(), "so another call may be placed");
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(error.retry_after(), hour);
    let kind = ProviderErrorKind::Throttled { retry_after: hour };
    assert_eq!(*ProviderError::from(error).kind(), kind);
    assert_eq!(bench.asked().len(), 5);
}

/// Vonage checklist 73: nobody is called twice because an answer was lost; the call can be found.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_answer_is_lost_is_looked_up_and_not_placed_again() {
    let mut bench = Bench::new().await;
    let rest = bench.client();
    for (what, placed) in [
        (Failing::Silent { carried_out: true }, 1),
        (Failing::Broken { carried_out: true }, 2),
        (Failing::Silent { carried_out: false }, 2),
        (Failing::Broken { carried_out: false }, 2),
    ] {
        let before = bench.asked().len();
        bench.rest.fail(Fault::new(what).on("POST /v1/calls"));
        let events = bench.url("/outbound/webhooks/events");
        let call = call().events(events, Method::Post);
        let error = rest.create(&call).await.expect_err("no answer");
        assert!(error.may_have_happened(), "{error}");
        assert_eq!(bench.asked().len(), before + 1, "it is not sent again");
        assert_eq!(bench.rest.placed(), placed);
    }
    let since = Timestamp::now() - SignedDuration::from_mins(1);
    let found = bench
        .vonage
        .look_up(&callee(), since)
        .await
        .expect("a list");
    assert_eq!(found.len(), 2);
    let other = PhoneNumber::parse("+12125550199").expect("a number");
    assert_eq!(
        bench.vonage.look_up(&other, since).await.expect("a list"),
        []
    );
    let later = Timestamp::now() + SignedDuration::from_mins(1);
    let later = bench.vonage.look_up(&callee(), later).await;
    assert_eq!(later.expect("a list"), [], "before that time");
    // Both are known by their events alone; they came at the same time.
    let mut steps = bench.steps().await;
    steps.extend(bench.steps().await);
    let begun = steps.iter().filter(|step| **step == Progress::Placed);
    assert_eq!(begun.count(), 2);
    // What is found may be told again, and is not news.
    found.iter().for_each(|call| bench.vonage.settle(call));
    assert!(bench.progress.try_recv().is_err());
    assert_eq!(bench.carrier.violations(), []);
}

/// The carrier lists calls, and finds none by its number. Those who look together share a listing,
/// and the oldest of many calls is found as well.
#[tokio::test(flavor = "multi_thread")]
async fn many_look_ups_are_one_listing_which_misses_no_call() {
    let bench = Bench::with(
        |_| {},
        |options| {
            (options.calls_per_second, options.requests_per_second) = (10_000, 10_000);
            options.callee = Callee::that(Reaction::Busy);
        },
    )
    .await;
    let rest = bench.client_with(|config| {
        config.limits.calls = 10_000;
        config.timeout = Duration::from_secs(20);
    });
    let number = |nth: usize| format!("1212555{nth:04}");
    let placed = futures::stream::iter(0..CALLS).map(|nth| {
        let flow = Ncco::builder().then(Talk::new("Hello.")).build();
        let flow = CallFlow::Ncco(flow.expect("a flow"));
        let call = CreateCall::new(PhoneEndpoint::new(&number(nth)), CallerId::Random, flow);
        let rest = rest.clone();
        async move { rest.create(&call).await.expect("it is placed") }
    });
    placed.buffered(8).collect::<Vec<_>>().await;
    let before = bench.asked().len();
    let since = Timestamp::now() - SignedDuration::from_mins(1);
    let looking = (0..50).map(|nth| {
        let nth = nth * CALLS / 50;
        let to = PhoneNumber::parse(&format!("+{}", number(nth))).expect("a number");
        let vonage = bench.vonage.clone();
        async move { (nth, vonage.look_up(&to, since).await.expect("a list")) }
    });
    for (nth, found) in futures::future::join_all(looking).await {
        assert_eq!(found.len(), 1, "call {nth}");
    }
    // The one of who came first, and the one of all others, who asked while it was made.
    let pages = CALLS.div_ceil(100);
    assert_eq!(bench.asked().len() - before, 2 * pages);
    assert_eq!(bench.carrier.violations(), []);
}

/// Of more calls than can be looked through nobody can say that one is not among them.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_calls_are_listed_up_to_a_time_or_not_at_all() {
    let bench = Bench::new().await;
    let many = r#"{"count":20000,"page_size":100,"record_index":0,"_embedded":{"calls":[]}}"#;
    let many = || Fault::answer(200, many).on("GET /v1/calls");
    bench.rest.fail(many());
    let long_ago = Timestamp::now() - SignedDuration::from_hours(2);
    let found = bench.vonage.look_up(&callee(), long_ago).await;
    assert_eq!(found.expect("a list"), []);
    let asked = bench.asked();
    let [first, second] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert!(!first.contains("date_end"), "{first}");
    assert!(second.contains("date_end"), "{second}");

    bench.rest.fail(many());
    let error = bench.vonage.look_up(&callee(), Timestamp::now()).await;
    let error = error.expect_err("nobody can say");
    assert_eq!(*error.kind(), ProviderErrorKind::Unavailable);
    assert!(error.to_string().contains("20000 calls"), "{error}");
    assert_eq!(bench.carrier.violations(), []);
}

/// Nothing is sent to a carrier that cannot be reached, and the call may be tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_is_gone_has_placed_nothing() {
    let bench = Bench::new().await;
    let rest = bench.client_with(|config| config.base_url = "http://127.0.0.1:9".to_owned());
    let error = rest.create(&call()).await.expect_err("nobody is there");
    assert!(matches!(error, RestError::Unreachable(_)), "{error:?}");
    assert!(!error.may_have_happened());
    let error = ProviderError::from(error);
    assert_eq!(*error.kind(), ProviderErrorKind::Unreachable);
    assert!(error.kind().did_nothing());
}

/// An answer that says yes and makes no sense is no failure that could be repeated.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_sense_may_have_been_a_yes() {
    let bench = Bench::new().await;
    let rest = bench.client_with(|config| config.limits.calls = 100);
    for body in ["", "<html>", "{}", "[]"] {
        bench.rest.fail(Fault::answer(201, body));
        let error = rest.create(&call()).await.expect_err("no id");
        assert!(matches!(error, RestError::Answer(_)) && error.may_have_happened());
    }
    assert_eq!(bench.asked().len(), 4);
}

/// An account that is not complete takes calls, and says what it needs to place some.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_set_while_the_service_runs() {
    let bench = Bench::new().await;
    let complete = super::account(&bench.rest);
    bench.vonage.set_account(Default::default());
    let error = bench.vonage.dial(&callee(), DialOptions::default()).await;
    let error = error.expect_err("nothing is configured");
    assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
    assert!(error.to_string().contains("private key"), "{error}");
    assert_eq!(bench.asked(), [""; 0]);
    bench.vonage.set_account(complete);
    let dialled = bench.vonage.dial(&callee(), DialOptions::default()).await;
    let call = bench.call().await;
    assert_eq!(call.uuid(), dialled.expect("it rings").id.as_str());
    drop(soon(bench.vonage.answer()).await);
}

/// More than a thousand.
const CALLS: usize = 1_050;
