//! The carrier against a small service: an NCCO and a socket that does as it is told.

use std::{collections::VecDeque, net::Ipv4Addr};

use axum::{
    Router,
    extract::{
        RawQuery, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use serde_json::json;

use super::*;
use crate::audio::SampleRate;

/// What the service's socket does, step by step; at the end it takes what comes.
#[derive(Clone, Debug)]
enum Step {
    /// Send this many frames at once.
    Frames(usize),
    /// Send one binary message of this many bytes.
    Bytes(usize),
    /// Send a text message.
    Text(String),
    /// Wait for a text message that contains this.
    Await(&'static str),
    /// Send back every frame.
    Echo,
    /// Close with this code.
    Close(u16),
}

#[derive(Default)]
struct Stub {
    /// What the answer webhook serves; `SOCKET` stands for the socket's address.
    ncco: Value,
    /// What `disconnected` and `failed` are answered with, one after another.
    replacements: Vec<Value>,
    /// One script for each socket.
    scripts: Vec<Vec<Step>>,
    refuse: bool,
}

#[derive(Default)]
struct Seen {
    /// Method, token and body of each webhook.
    webhooks: Vec<(Method, Option<String>, String)>,
    texts: Vec<Value>,
    frames: usize,
    authorization: Option<String>,
}

struct Service {
    address: String,
    stub: Mutex<Stub>,
    seen: Mutex<Seen>,
}

impl Service {
    async fn start(stub: Stub) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let service = Arc::new(Self {
            address: listener.local_addr().unwrap().to_string(),
            stub: Mutex::new(stub),
            seen: Mutex::default(),
        });
        let router = Router::new()
            .route("/webhooks/answer", any(answer))
            .route("/webhooks/events", post(event))
            .route("/socket", any(socket))
            .with_state(Arc::clone(&service));
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    fn options(&self) -> Options {
        let mut options = Options::new(format!("http://{}", self.address));
        options.signature_secret = Some(SECRET.to_owned().into());
        options.time_scale = 10.0;
        options.silence = Silence::Suppressed;
        options
    }

    fn carrier(&self) -> FakeVonage {
        FakeVonage::new(self.options())
    }

    fn note(&self, method: Method, headers: &HeaderMap, body: String) {
        let token = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .map(str::to_owned);
        self.seen
            .lock()
            .unwrap()
            .webhooks
            .push((method, token, body));
    }

    fn serve(&self, ncco: &Value) -> Response {
        let text = ncco
            .to_string()
            .replace("SOCKET", &format!("ws://{}/socket", self.address));
        ([("content-type", "application/json")], text).into_response()
    }
}

async fn answer(
    State(service): State<Arc<Service>>,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: String,
) -> Response {
    service.note(method, &headers, query.unwrap_or(body));
    let ncco = service.stub.lock().unwrap().ncco.clone();
    service.serve(&ncco)
}

async fn event(
    State(service): State<Arc<Service>>,
    method: Method,
    headers: HeaderMap,
    body: String,
) -> Response {
    let event: Value = serde_json::from_str(&body).unwrap();
    service.note(method, &headers, body);
    let lost = matches!(event["status"].as_str(), Some("disconnected" | "failed"));
    let next = {
        let mut stub = service.stub.lock().unwrap();
        (lost && !stub.replacements.is_empty()).then(|| stub.replacements.remove(0))
    };
    next.map_or_else(
        || StatusCode::OK.into_response(),
        |ncco| service.serve(&ncco),
    )
}

async fn socket(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let script = {
        let mut stub = service.stub.lock().unwrap();
        if stub.refuse {
            return StatusCode::FORBIDDEN.into_response();
        }
        if stub.scripts.is_empty() {
            Vec::new()
        } else {
            stub.scripts.remove(0)
        }
    };
    service.seen.lock().unwrap().authorization = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    upgrade.on_upgrade(move |socket| act(service, socket, script.into()))
}

async fn act(service: Arc<Service>, mut socket: WebSocket, mut script: VecDeque<Step>) {
    loop {
        let step = script.pop_front();
        let sent = match &step {
            Some(Step::Frames(count)) => {
                let mut sent = Ok(());
                for tag in 0..*count {
                    let frame = vec![u8::try_from(tag % 256).unwrap(); 640];
                    sent = socket.send(Message::Binary(frame.into())).await;
                }
                sent
            }
            Some(Step::Bytes(count)) => socket.send(Message::Binary(vec![0; *count].into())).await,
            Some(Step::Text(text)) => socket.send(Message::text(text.as_str())).await,
            Some(Step::Close(code)) => {
                let frame = CloseFrame {
                    code: *code,
                    reason: "".into(),
                };
                socket.send(Message::Close(Some(frame))).await
            }
            Some(Step::Await(_) | Step::Echo) | None => Ok(()),
        };
        if sent.is_err() {
            return;
        }
        if !matches!(step, Some(Step::Await(_) | Step::Echo) | None) {
            continue;
        }
        loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => {
                    let event = serde_json::from_str(&text).unwrap();
                    service.seen.lock().unwrap().texts.push(event);
                    if matches!(step, Some(Step::Await(word)) if text.contains(word)) {
                        break;
                    }
                }
                Some(Ok(Message::Binary(frame))) => {
                    service.seen.lock().unwrap().frames += 1;
                    if matches!(step, Some(Step::Echo)) {
                        let _ = socket.send(Message::Binary(frame)).await;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    }
}

fn agent() -> Value {
    json!([
        {"action": "talk", "text": "One moment"},
        {"action": "connect", "eventType": "synchronous",
         "endpoint": [{"type": "websocket", "uri": "SOCKET",
            "content-type": "audio/l16;rate=16000", "headers": {"uuid": "u-1"},
            "authorization": {"type": "vonage"}}]}
    ])
}

fn stub(scripts: Vec<Vec<Step>>) -> Stub {
    Stub {
        ncco: agent(),
        scripts,
        ..Stub::default()
    }
}

fn call() -> InboundCall {
    InboundCall::new("12125550142", "442079460000")
}

fn text(value: &Value) -> Step {
    Step::Text(value.to_string())
}

const SECRET: &str = "a-signature-secret-of-the-tests-0123456789";

#[tokio::test]
async fn a_caller_hears_every_sample_that_the_service_sends() {
    let service = Service::start(stub(vec![vec![Step::Echo]])).await;
    let call = service.carrier().place_inbound(call()).await.unwrap();
    let words = speech(Duration::from_millis(500), SampleRate::Hz16000);
    call.say(words.clone());
    assert!(call.wait_heard(Duration::from_millis(500)).await);
    call.hang_up();
    assert_eq!(call.ended().await, CallEnd::HungUp);
    assert_eq!(call.heard(), words);
    assert_eq!(call.spoken(), ["One moment"]);
    assert_eq!(
        call.statuses(false),
        ["started", "ringing", "answered", "completed"]
    );
    assert_eq!(call.statuses(true), ["started", "answered", "completed"]);
    assert_eq!(call.violations(), []);
    assert_eq!((call.sent().len(), call.arrivals().len()), (25, 25));
    assert_eq!(call.frames_sent(), 25);
}

#[tokio::test]
async fn the_first_message_carries_the_headers_beside_the_content_type() {
    let service = Service::start(stub(vec![vec![]])).await;
    let call = service.carrier().place_inbound(call()).await.unwrap();
    assert!(call.connected().await);
    call.say(tone(440.0, Duration::from_millis(20), SampleRate::Hz16000));
    call.said().await;
    call.dtmf('5');
    call.mute(true);
    call.hang_up();
    call.ended().await;
    let seen = service.seen.lock().unwrap();
    assert_eq!(
        seen.texts,
        [
            json!({"event": "websocket:connected", "content-type": "audio/l16;rate=16000",
                "uuid": "u-1"}),
            json!({"event": "websocket:dtmf", "digit": "5", "duration": 260}),
            json!({"event": "websocket:media:update", "method": "update", "active": false}),
        ]
    );
    assert_eq!(seen.frames, 1);
}

#[tokio::test]
async fn silence_is_sent_as_frames_unless_it_is_suppressed() {
    let service = Service::start(stub(vec![vec![Step::Echo]])).await;
    let mut options = service.options();
    options.silence = Silence::Frames;
    let call = FakeVonage::new(options)
        .place_inbound(call())
        .await
        .unwrap();
    assert!(call.wait_heard(Duration::from_secs(1)).await);
    assert_eq!(call.sent().len(), 0);
    assert!(call.heard().iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn a_message_that_is_not_one_frame_kills_the_socket() {
    let mut stub = stub(vec![vec![Step::Frames(1), Step::Bytes(320)], vec![]]);
    stub.replacements = vec![agent()];
    let service = Service::start(stub).await;
    let call = service.carrier().place_inbound(call()).await.unwrap();
    assert!(call.until(|call| call.connections() == 2).await);
    assert_eq!(
        call.violations(),
        [Violation::FrameSize {
            expected: 640,
            got: 320
        }]
    );
    call.hang_up();
    call.ended().await;
    assert_eq!(
        call.statuses(true),
        [
            "started",
            "answered",
            "disconnected",
            "started",
            "answered",
            "completed"
        ]
    );
}

#[tokio::test]
async fn more_audio_than_the_carrier_queues_is_a_violation() {
    let service = Service::start(stub(vec![vec![Step::Frames(3200)]])).await;
    let mut options = service.options();
    options.time_scale = 1.0;
    let carrier = FakeVonage::new(options);
    let call = carrier.place_inbound(call()).await.unwrap();
    assert!(call.until(|call| call.arrivals().len() == 3200).await);
    assert_eq!(call.violations(), [Violation::Overflow]);
    assert_eq!(carrier.violations(), [Violation::Overflow]);
    assert_eq!(call.max_depth(), 3072);
}

#[tokio::test]
async fn a_mark_is_answered_once_everything_before_it_was_played() {
    let service = Service::start(stub(vec![vec![
        Step::Frames(10),
        text(&json!({"action": "notify", "payload": {"id": 7}})),
        Step::Await("notify"),
        Step::Close(1000),
    ]]))
    .await;
    let call = service.carrier().place_inbound(call()).await.unwrap();
    assert_eq!(call.ended().await, CallEnd::Finished);
    let mark = &call.marks()[0];
    let played = mark.answered.unwrap() - call.arrivals()[0].at;
    assert!(played >= Duration::from_millis(20), "{played:?}");
    assert_eq!(call.heard().len(), 6400);
    let seen = service.seen.lock().unwrap();
    let answer = json!({"event": "websocket:notify", "payload": {"id": 7}});
    assert!(seen.texts.contains(&answer), "{:?}", seen.texts);
}

#[tokio::test]
async fn clear_silences_the_caller_and_takes_the_marks_with_it() {
    let service = Service::start(stub(vec![vec![
        Step::Frames(1000),
        text(&json!({"action": "notify", "payload": {}})),
        text(&json!({"action": "clear"})),
        Step::Await("cleared"),
        Step::Frames(1),
        Step::Close(1000),
    ]]))
    .await;
    let mut options = service.options();
    options.time_scale = 1.0;
    let call = FakeVonage::new(options)
        .place_inbound(call())
        .await
        .unwrap();
    call.ended().await;
    assert_eq!(call.cleared_count(), 1);
    assert!(call.heard_for() < Duration::from_secs(10));
    assert!(call.marks()[0].answered.is_none());
    let seen = service.seen.lock().unwrap();
    let texts = seen.texts.iter().map(|text| text["event"].clone());
    assert_eq!(
        texts.collect::<Vec<_>>(),
        ["websocket:connected", "websocket:cleared"]
    );
}

#[tokio::test]
async fn a_carrier_may_return_the_marks_that_a_clear_overtakes() {
    let service = Service::start(stub(vec![vec![
        Step::Frames(1000),
        text(&json!({"action": "notify", "payload": {"id": 1}})),
        text(&json!({"action": "clear"})),
        Step::Await("cleared"),
        Step::Close(1000),
    ]]))
    .await;
    let mut options = service.options();
    options.marks_on_clear = MarksOnClear::Returned;
    let call = FakeVonage::new(options)
        .place_inbound(call())
        .await
        .unwrap();
    call.ended().await;
    let seen = service.seen.lock().unwrap();
    assert_eq!(seen.texts[1]["payload"], json!({"id": 1}));
    assert_eq!(seen.texts[2]["event"], "websocket:cleared");
}

/// Vonage checklist 17.
#[tokio::test]
async fn a_command_with_anything_else_in_it_is_a_violation() {
    let commands = [
        r#"{"action":"clear","all":true}"#,
        r#"{"action":"notify","payload":"p"}"#,
        r#"{"action":"notify"}"#,
        r#"{"action":"hangup"}"#,
        "clear",
    ];
    let mut script: Vec<_> = commands.map(|c| Step::Text(c.to_owned())).into();
    script.push(Step::Close(1000));
    let service = Service::start(stub(vec![script])).await;
    let call = service.carrier().place_inbound(call()).await.unwrap();
    call.ended().await;
    let violations = commands.map(|c| Violation::Command(c.to_owned()));
    assert_eq!(call.violations(), violations);
}

#[tokio::test]
async fn a_lost_socket_is_replaced_by_the_ncco_in_the_response() {
    let apology = json!([{"action": "talk", "text": "Sorry"}]);
    let mut stub = stub(vec![vec![Step::Echo], vec![Step::Echo]]);
    stub.replacements = vec![agent(), apology];
    let service = Service::start(stub).await;
    let call = service.carrier().place_inbound(call()).await.unwrap();
    for connections in 1..=2 {
        assert!(call.until(|call| call.connections() == connections).await);
        assert!(call.connected().await);
        call.say(tone(300.0, Duration::from_millis(60), SampleRate::Hz16000));
        let heard = Duration::from_millis(60) * connections;
        assert!(call.wait_heard(heard).await);
        call.drop_socket();
    }
    assert_eq!(call.ended().await, CallEnd::Finished);
    assert_eq!(call.spoken(), ["One moment", "One moment", "Sorry"]);
    let lost = &call.events()[5].body;
    assert_eq!(lost["status"], "disconnected");
    assert_eq!(lost["to"], format!("ws://{}/socket", service.address));
    assert_eq!(lost["headers"], json!({"uuid": "u-1"}));
    assert_eq!(lost["conversation_uuid"], call.conversation());
    assert_ne!(lost["uuid"], call.uuid());
    assert_eq!(call.violations(), []);
}

#[tokio::test]
async fn a_call_whose_service_closes_and_offers_nothing_is_completed() {
    let service = Service::start(stub(vec![vec![Step::Close(1008)]])).await;
    let call = service.carrier().place_inbound(call()).await.unwrap();
    assert_eq!(call.ended().await, CallEnd::Finished);
    assert_eq!(call.closes(), [Some(1008)]);
    assert_eq!(call.statuses(true), ["started", "answered", "disconnected"]);
    assert_eq!(call.statuses(false).last().unwrap(), "completed");
}

#[tokio::test]
async fn a_refused_upgrade_is_reported_as_failed() {
    let mut stub = stub(vec![]);
    stub.refuse = true;
    stub.replacements = vec![json!([{"action": "talk", "text": "Sorry"}])];
    let service = Service::start(stub).await;
    let call = service.carrier().place_inbound(call()).await.unwrap();
    assert_eq!(call.ended().await, CallEnd::Finished);
    assert_eq!(call.refusals(), [403]);
    assert_eq!(call.statuses(true), ["started", "failed"]);
    assert_eq!(call.spoken(), ["One moment", "Sorry"]);
    assert!(!call.connected().await);
}

#[tokio::test]
async fn a_response_that_is_no_ncco_ends_the_call() {
    let service = Service::start(Stub {
        ncco: json!({"action": "talk"}),
        ..Stub::default()
    })
    .await;
    let carrier = service.carrier();
    let error = carrier.place_inbound(call()).await.unwrap_err();
    assert!(matches!(error, PlaceError::Unusable(_)), "{error}");
    assert_eq!(carrier.violations().len(), 1);
    let seen = service.seen.lock().unwrap();
    assert!(
        seen.webhooks
            .iter()
            .any(|(_, _, body)| body.contains("reason"))
    );
}

#[tokio::test]
async fn every_webhook_is_signed_over_its_raw_body() {
    let service = Service::start(stub(vec![vec![]])).await;
    let call = service.carrier().place_inbound(call()).await.unwrap();
    assert!(call.connected().await);
    call.hang_up();
    call.ended().await;
    let seen = service.seen.lock().unwrap();
    assert_eq!(seen.webhooks.len(), 8);
    let mut ids = std::collections::HashSet::new();
    for (_, token, body) in &seen.webhooks {
        let claims = verify(token.as_deref().unwrap());
        assert_eq!(claims["payload_hash"], payload_hash(body.as_bytes()));
        assert_eq!(claims["iss"], "Vonage");
        assert!(ids.insert(claims["jti"].to_string()));
    }
    let upgrade = seen.authorization.as_deref().unwrap();
    let claims = verify(upgrade.strip_prefix("Bearer ").unwrap());
    assert_eq!(claims["payload_hash"], Value::Null);
}

/// Verifies with a library that shares nothing with the signer.
fn verify(token: &str) -> Value {
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::decode(token, &key, &rules).unwrap().claims
}

#[tokio::test]
async fn an_answer_by_get_carries_the_same_fields_in_its_query() {
    let service = Service::start(stub(vec![vec![]])).await;
    let placed = call().without_hyphens().by_get();
    let uuid = placed.uuid.clone();
    assert_eq!(uuid.len(), 32);
    let call = service.carrier().place_inbound(placed).await.unwrap();
    assert!(call.connected().await);
    let seen = service.seen.lock().unwrap();
    let (_, _, query) = seen
        .webhooks
        .iter()
        .find(|(method, _, _)| method == Method::GET)
        .unwrap();
    assert!(query.contains(&format!("uuid={uuid}")), "{query}");
    assert!(query.contains("from=12125550142"), "{query}");
}

#[tokio::test]
async fn events_may_come_twice_and_in_another_order() {
    let service = Service::start(stub(vec![vec![]])).await;
    let mut options = service.options();
    options.duplicates = Duplicates::SameToken;
    options.opening = vec![Opening::Ringing, Opening::Started];
    let call = FakeVonage::new(options)
        .place_inbound(call())
        .await
        .unwrap();
    assert_eq!(call.statuses(false), ["ringing", "started"]);
    let seen = service.seen.lock().unwrap();
    assert_eq!(seen.webhooks[0], seen.webhooks[1]);
    assert_ne!(seen.webhooks[1].1, seen.webhooks[2].1);
}

#[tokio::test]
async fn a_call_that_is_dropped_hangs_up() {
    let service = Service::start(stub(vec![vec![]])).await;
    let call = service.carrier().place_inbound(call()).await.unwrap();
    assert!(call.connected().await);
    let line = Arc::clone(&call.line);
    drop(call);
    let end = line.until(|state, _| state.end.ok_or(None)).await;
    assert_eq!(end, CallEnd::HungUp);
}

#[test]
fn an_address_of_the_service_is_reached_through_the_tunnel() {
    let mut options = Options::new("http://127.0.0.1:3000/");
    options.public_url = Some("https://agent.example.com".to_owned());
    let carrier = Carrier::new(options);
    for (named, reached) in [
        (
            "wss://agent.example.com/socket?t=1",
            "ws://127.0.0.1:3000/socket?t=1",
        ),
        ("https://agent.example.com/e", "http://127.0.0.1:3000/e"),
        (
            "https://agent.example.com.evil/e",
            "https://agent.example.com.evil/e",
        ),
        ("ws://127.0.0.1:4000/e", "ws://127.0.0.1:4000/e"),
    ] {
        assert_eq!(carrier.reach(named), reached);
    }
}
