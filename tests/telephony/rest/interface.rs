//! Every operation, every form of the key, and the account's limits.

use std::{fs, time::Duration};

use futures::future::join_all;
use novavoice::{
    ProviderErrorKind,
    call::CallId,
    telephony::vonage::{
        ncco::{
            AdvancedMachineDetection, DetectionMode, Endpoint, Method, Ncco, OnMachine,
            PhoneEndpoint, SipEndpoint, Talk, Wait,
        },
        rest::{
            CallFlow, CallerId, CreateCall, Hearing, HungUp, ListCalls, MachineDetection,
            PrivateKey, RestError, Speech,
        },
        webhook::Status,
    },
    testkit::vonage::{Callee, Fault},
};
use serde_json::json;

use super::{APPLICATION, Bench, CALLEE, soon};

fn from() -> CallerId {
    CallerId::Number("+44 20 7946 0000".to_owned().into())
}

/// A call that goes on until somebody ends it.
fn waiting() -> CallFlow {
    let wait = Wait::new(Duration::from_secs(600));
    CallFlow::Ncco(Ncco::builder().then(wait).build().expect("a flow"))
}

fn create(flow: CallFlow) -> CreateCall {
    CreateCall::new(PhoneEndpoint::new(CALLEE), from(), flow)
}

/// Vonage checklist 68, 69, 70, 76: everything that can be asked, against a carrier that forgives
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_asked_for_as_the_carrier_wants_it() {
    let bench = Bench::new().await;
    let rest = bench.client_with(|config| config.limits.requests = 14);
    let created = rest
        .create(&create(waiting()))
        .await
        .expect("it is taken on");
    assert_eq!(created.status, Status::Started, "and not answered");
    let (id, call) = (created.id, bench.call().await);
    assert_eq!(call.uuid(), id.as_str());
    assert_eq!(created.conversation.as_deref(), Some(call.conversation()));

    assert!(call.until(|call| call.status() == "answered").await);
    let details = rest.get(&id).await.expect("it is known");
    assert_eq!(details.status, Status::Answered);
    assert_eq!(details.to.expect("a callee").reveal(), CALLEE);

    for hearing in [
        Hearing::Mute,
        Hearing::Unmute,
        Hearing::Earmuff,
        Hearing::Unearmuff,
    ] {
        rest.hearing(&id, hearing).await.expect("it is done");
    }
    let speech = Speech::new("Hello.").language("en-GB").style(1).premium();
    let speech = speech.repeated(2).level(0.5);
    rest.talk(&id, &speech).await.expect("it is said");
    rest.stop_talking(&id).await.expect("it is stopped");
    rest.stream(&id, "https://sounds.example.com/a.mp3", 0)
        .await
        .expect("it is played");
    rest.stop_streaming(&id).await.expect("it is stopped");
    rest.send_dtmf(&id, "12p#*")
        .await
        .expect("they are pressed");
    let url = "https://agent.example.com/keys";
    rest.report_keys(&id, Some(url))
        .await
        .expect("they are reported");
    rest.report_keys(&id, None).await.expect("they are not");
    assert_eq!(call.keys(), "12p#*");
    assert_eq!(call.spoken(), ["Hello."]);
    let steered = [
        "mute",
        "unmute",
        "earmuff",
        "unearmuff",
        "PUT talk",
        "DELETE talk",
        "PUT stream",
        "DELETE stream",
        "PUT dtmf",
        "PUT input/dtmf",
        "DELETE input/dtmf",
    ];
    let mut asked = call.steered();
    asked.retain(|it| steered.contains(&it.as_str()));
    assert_eq!(asked, steered);

    let flow = Ncco::builder()
        .then(Talk::new("Goodbye."))
        .then(Wait::new(Duration::from_secs(60)));
    rest.transfer(&id, &flow.build().expect("a flow"))
        .await
        .expect("it moves");
    assert!(call.until(|call| call.spoken().len() == 2).await);
    let sent = bench.rest.requests().pop().expect("a request").body;
    assert_eq!(
        sent,
        json!({"action": "transfer", "destination": {"type": "ncco", "ncco": [
            {"action": "talk", "text": "Goodbye."}, {"action": "wait", "timeout": 60},
        ]}})
    );

    assert_eq!(rest.hang_up(&id).await.expect("it ends"), HungUp::Ended);
    soon(call.ended()).await;
    assert_eq!(
        rest.hang_up(&id).await.expect("it has ended"),
        HungUp::AlreadyEnded
    );
    let unknown = CallId::new("../../v2/applications");
    assert_eq!(
        rest.hang_up(&unknown).await.expect("nothing"),
        HungUp::AlreadyEnded
    );
    assert_eq!(bench.carrier.violations(), []);
    assert_eq!(bench.rest.tokens(), 1, "one token served all requests");
}

/// Vonage checklist 70, 75, 76: what is wrong is refused before anything is sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_carrier_would_refuse_is_not_sent() {
    let bench = Bench::new().await;
    let (rest, id) = (bench.client(), CallId::new("u"));
    let mut refused = Vec::new();
    for keys in ["", "12a", "1,2", "+1", "１", "1\n"] {
        refused.push(rest.send_dtmf(&id, keys).await.err());
    }
    for url in [
        "https://evilvonage.com/r",
        "https://vonage.com.evil.tld/r",
        "http://api.nexmo.com/r",
        "https://127.0.0.1/r",
        "/r",
    ] {
        refused.push(rest.recording(url).await.err());
    }
    refused.push(rest.talk(&id, &Speech::new("")).await.err());
    refused.push(rest.talk(&id, &Speech::new("x".repeat(1501))).await.err());
    refused.push(rest.stream(&id, "ftp://x", 1).await.err());
    refused.push(rest.transfer_to_url(&id, "x").await.err());
    refused.push(rest.get(&CallId::new("..")).await.err());
    refused.push(rest.get(&CallId::new("")).await.err());
    let short = |seconds| Duration::from_millis(seconds);
    for call in [
        create(CallFlow::ask("agent.example.com")),
        create(waiting()).ringing(Duration::from_secs(121)),
        create(waiting()).ringing(short(1_500)),
        create(waiting()).longest(Duration::from_secs(86_401)),
        create(waiting()).longest(Duration::ZERO),
        create(waiting()).events("x", Method::Post),
        CreateCall::new(PhoneEndpoint::new("911"), from(), waiting()),
        CreateCall::new(
            PhoneEndpoint::new(CALLEE),
            CallerId::Number("x".to_owned().into()),
            waiting(),
        ),
        CreateCall::new(
            PhoneEndpoint::new(CALLEE).on_answer("https://x.example"),
            from(),
            waiting(),
        ),
    ] {
        refused.push(rest.create(&call).await.err());
    }
    for error in &refused {
        assert!(matches!(error, Some(RestError::Argument(_))), "{error:?}");
    }
    assert_eq!(bench.asked(), [""; 0]);
}

/// Vonage checklist 67.
#[test]
fn a_request_for_a_call_has_one_flow_and_one_caller() {
    let body = |call: CreateCall| call.to_json().expect("a body");
    let machines = AdvancedMachineDetection::new(DetectionMode::DetectBeep, OnMachine::Hangup);
    let call = create(CallFlow::ask("https://a.example/answer"))
        .events("https://a.example/events", Method::Get)
        .machine_detection(MachineDetection::Advanced(
            machines.beep_timeout(Duration::from_secs(10)),
        ))
        .ringing(Duration::from_secs(120))
        .longest(Duration::from_secs(86_400));
    assert_eq!(
        body(call),
        json!({
            "to": [{"type": "phone", "number": "12125550101"}],
            "from": {"type": "phone", "number": "442079460000"},
            "answer_url": ["https://a.example/answer"], "answer_method": "POST",
            "event_url": ["https://a.example/events"], "event_method": "GET",
            "advanced_machine_detection": {
                "behavior": "hangup", "mode": "detect_beep", "beep_timeout": 45,
            },
            "ringing_timer": 120, "length_timer": 86_400,
        })
    );
    let sip = SipEndpoint::uri("sip:desk@sip.example.com").user_to_user("x");
    let call = CreateCall::new(sip, CallerId::Random, waiting());
    let call = call.machine_detection(MachineDetection::Basic(OnMachine::Continue));
    assert_eq!(
        body(call),
        json!({
            "to": [{"type": "sip", "uri": "sip:desk@sip.example.com",
                "standard_headers": {"User-to-User": "x"}}],
            "random_from_number": true,
            "ncco": [{"action": "wait", "timeout": 600}],
            "machine_detection": "continue",
        })
    );
    let user = body(CreateCall::new(Endpoint::app("alice"), from(), waiting()));
    assert_eq!(user["to"], json!([{"type": "app", "user": "alice"}]));
}

/// Vonage checklist 66: every form of a key makes tokens that the carrier takes.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_taken_in_every_form() {
    let bench = Bench::new().await;
    let pkcs8 = bench.rest.key().private_pem().to_owned();
    let pkcs1 = bench.rest.key().private_pem_pkcs1().expect("our own key");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("private.key");
    fs::write(&path, pkcs1.replace('\n', "\r\n")).expect("a file");
    for text in [
        pkcs8.clone(),
        pkcs1.clone(),
        pkcs8.replace('\n', "\\n"),
        pkcs1.replace('\n', "\\r\\n"),
        pkcs8.replace('\n', "\r\n"),
        format!("\"{}\"", pkcs8.replace('\n', "\\n")),
        path.to_str().expect("a plain path").to_owned(),
    ] {
        let key = PrivateKey::load(&text).expect("a key");
        assert!(!format!("{key:?}").contains("MII"));
        let rest = bench.client_with(|config| config.private_key = key);
        let page = rest.list(&ListCalls::default()).await.expect("an answer");
        assert_eq!(page.count, 0);
    }
    assert_eq!(
        bench.rest.tokens(),
        7,
        "each client made a token of its own"
    );
    assert_eq!(bench.carrier.violations(), []);
    for part in [&pkcs8[..pkcs8.len() / 2], &pkcs1[40..]] {
        let error = PrivateKey::load(part).expect_err("half a key");
        assert!(!error.to_string().contains("MII"), "{error}");
    }
}

/// Vonage checklist 65: a token that the carrier does not take is not used again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_replaced() {
    let bench = Bench::new().await;
    let rest = bench.client();
    bench.rest.fail(Fault::answer(401, "{}"));
    let error = rest.list(&ListCalls::default()).await.expect_err("refused");
    assert_eq!(error.problem().map(|problem| problem.status), Some(401));
    rest.list(&ListCalls::default()).await.expect("an answer");
    assert_eq!(
        bench.asked().len(),
        2,
        "a refusal of the token is not repeated"
    );
}

/// Vonage checklist 74: whatever is asked at once, the carrier never has to say that it is too
/// much.
#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_limits_are_kept() {
    let bench = Bench::new().await;
    let rest = bench.client_with(|config| config.timeout = Duration::from_secs(10));
    let calls = (0..7).map(|_| async { rest.create(&create(waiting())).await });
    let list = ListCalls::default();
    let lists = (0..24).map(|_| async { rest.list(&list).await });
    let (calls, lists) = tokio::join!(join_all(calls), join_all(lists));
    assert!(calls.iter().all(Result::is_ok) && lists.iter().all(Result::is_ok));
    assert_eq!(bench.rest.placed(), 7);
    assert_eq!(bench.carrier.violations(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_listed_page_by_page_and_by_what_is_asked() {
    let bench = Bench::with(|_| {}, |rest| rest.calls_per_second = 100).await;
    let rest = bench.client_with(|config| config.limits.calls = 100);
    bench.rest.reach(
        "12125550103",
        Callee::that(novavoice::testkit::vonage::Reaction::Busy),
    );
    let mut ids = Vec::new();
    for number in ["12125550101", "12125550102", "12125550103", "12125550101"] {
        let call = CreateCall::new(PhoneEndpoint::new(number), from(), waiting());
        ids.push(rest.create(&call).await.expect("a call").id);
    }
    let calls = join_all(ids.iter().map(|_| bench.call())).await;
    soon(calls[2].ended()).await;
    let mut which = ListCalls {
        page_size: Some(3),
        ..ListCalls::default()
    };
    let first = rest.list(&which).await.expect("a page");
    assert_eq!((first.count, first.calls.len()), (4, 3));
    which.index = 3;
    let last = rest.list(&which).await.expect("a page");
    assert_eq!((last.index, last.calls.len()), (3, 1));
    which = ListCalls {
        status: Some(Status::Busy),
        since: Some("2020-01-01T00:00:00Z".parse().expect("a time")),
        newest_first: true,
        ..ListCalls::default()
    };
    let busy = rest.list(&which).await.expect("a page");
    assert_eq!(
        busy.calls.iter().map(|call| &call.id).collect::<Vec<_>>(),
        [&ids[2]]
    );
    which.until = which.since.take();
    assert_eq!(rest.list(&which).await.expect("a page").count, 0);
    assert_eq!(bench.carrier.violations(), []);
}

/// Vonage checklist 71: a token goes nowhere but to the carrier.
#[tokio::test]
async fn a_base_in_the_clear_is_refused() {
    let bench = Bench::new().await;
    let key = PrivateKey::load(bench.rest.key().private_pem()).expect("a key");
    let mut config = novavoice::telephony::vonage::rest::RestConfig::new(APPLICATION, key);
    config.base_url = "http://api.nexmo.com".to_owned();
    let error = novavoice::telephony::vonage::rest::Rest::new(config).expect_err("refused");
    assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
    // A region that is not Vonage's own is as if none was named.
    let elsewhere = bench
        .client()
        .in_region(Some("https://vonage.com.evil.tld"));
    elsewhere
        .list(&ListCalls::default())
        .await
        .expect("it asks its base");
}
