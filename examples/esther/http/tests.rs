//! The routes as a client sees them.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Request, StatusCode, header, request::Builder},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use novavoice::{
    agent::VoiceAgent,
    call::CallId,
    model::scripted::{Script, Scripted},
    telephony::{
        browser::BrowserConfig,
        channel::ChannelTokens,
        memory::Loopback,
        socket::{self, SocketConfig},
        vonage::{self, VonageConfig},
    },
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{page::FILES, status::OPENAPI, *};
use crate::calls::tests::{info, line, summary};

const TOKEN: &str = "a-token-for-tests";

/// Guarded paths with the methods they take, as the documents name them.
const GUARDED: [(&str, &str); 14] = [
    ("GET", "/"),
    ("GET", "/app.js"),
    ("GET", "/metrics"),
    ("GET", "/status"),
    ("GET", "/openapi.json"),
    ("GET", "/calls"),
    ("GET", "/calls/active"),
    ("GET", "/calls/a-call"),
    ("GET", "/calls/a-call/events"),
    ("POST", "/calls/a-call/hangup"),
    ("GET", "/channels"),
    ("POST", "/channels"),
    ("GET", "/configure"),
    ("POST", "/configure"),
];

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn header(&self, name: impl header::AsHeaderName) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.unwrap_or(Ok("")).expect("text")
    }

    /// Checks that this is a problem of RFC 9457 with `status`.
    #[track_caller]
    fn is_problem(&self, status: StatusCode) {
        assert_eq!(self.status, status);
        assert_eq!(
            self.header(header::CONTENT_TYPE),
            "application/problem+json"
        );
        let problem = self.json();
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], status.as_u16());
        assert_eq!(
            problem["title"],
            status.canonical_reason().expect("a usual one")
        );
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.len() > 10)
        );
    }
}

/// The service without a token, as on a loopback address, or with one.
fn service(token: Option<&str>) -> (App, Router) {
    let state = fixture(token);
    // As a carrier's library would: a refusal in plain text.
    let peers = Router::new().route(
        "/webhooks/events",
        post(async || (StatusCode::UNAUTHORIZED, "the signature is missing")),
    );
    (state.clone(), app(state, peers))
}

fn fixture(token: Option<&str>) -> App {
    let token = token.map(|token| token.to_owned().into());
    let tokens = ChannelTokens::random();
    App {
        access: Arc::new(Access::new(token, "https://esther.example.org")),
        agent: idle_agent(),
        calls: Calls::default(),
        max_calls: 2,
        speech: Announcement {
            name: "scripted",
            real: false,
            notice: "A script with tones.".to_owned(),
        },
        sockets: Sockets::new(tokens, SocketConfig::default()),
        browser: Browser::new(BrowserConfig::default()),
        stand_in: None,
        vonage: Vonage::new(VonageConfig::default()).expect("a right configuration"),
        account: Arc::new(Mutex::new(crate::config::tests::defaults().vonage)),
        metrics: Arc::default(),
        readiness: Readiness::default(),
    }
}

/// The handle of an agent without calls.
fn idle_agent() -> AgentHandle {
    let (telephony, _callers) = Loopback::new();
    let model = Scripted::new(Script::scheduling());
    let agent = VoiceAgent::builder().telephony(telephony).model(model);
    agent.build().handle()
}

async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await;
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.expect("a whole body"),
    }
}

fn request(method: &str, path: &str) -> Builder {
    Request::builder().method(method).uri(path)
}

fn empty(builder: Builder) -> Request<Body> {
    builder.body(Body::empty()).expect("a valid request")
}

async fn get_from(router: &Router, path: &str) -> Answer {
    ask(router, empty(request("GET", path))).await
}

async fn configure(router: &Router, kind: &str, body: impl Into<Body>) -> Answer {
    let request = request("POST", "/configure").header(header::CONTENT_TYPE, kind);
    ask(router, request.body(body.into()).expect("a valid request")).await
}

#[tokio::test]
async fn probes_are_open_to_everybody() {
    let (_, router) = service(Some(TOKEN));
    for path in ["/health", "/up", "/ready"] {
        assert_eq!(
            get_from(&router, path).await.status,
            StatusCode::OK,
            "{path}"
        );
    }
    let health = get_from(&router, "/health").await.json();
    assert_eq!(health["status"], "ok");
    let time = health["timestamp"].as_str().expect("a text");
    assert!(
        time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'),
        "{time}"
    );
}

#[tokio::test]
async fn without_the_token_nothing_else_answers_not_even_with_404() {
    let (_, router) = service(Some(TOKEN));
    let unknown = [("GET", "/nowhere"), ("PUT", "/calls"), ("POST", "/health/")];
    for (method, path) in GUARDED.into_iter().chain(unknown) {
        let answer = ask(&router, empty(request(method, path))).await;
        answer.is_problem(StatusCode::UNAUTHORIZED);
        let challenges: Vec<_> = answer
            .headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .collect();
        assert!(challenges[0].as_bytes().starts_with(b"Bearer"), "{path}");
        assert!(challenges[1].as_bytes().starts_with(b"Basic"), "{path}");
    }
}

#[tokio::test]
async fn the_token_opens_as_bearer_and_as_password() {
    let (_, router) = service(Some(TOKEN));
    let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
    let cases = [
        (format!("Bearer {TOKEN}"), true),
        (format!("bearer  {TOKEN}"), true),
        (basic(&format!("anybody:{TOKEN}")), true),
        (basic(&format!(":{TOKEN}")), true),
        (format!("Bearer {TOKEN}x"), false),
        (format!("Bearer {}", &TOKEN[1..]), false),
        ("Bearer ".to_owned(), false),
        (basic(&format!("{TOKEN}:")), false),
        (basic(TOKEN), false),
        (format!("Basic {TOKEN}"), false),
        (TOKEN.to_owned(), false),
        (format!("Digest {TOKEN}"), false),
    ];
    for (value, right) in cases {
        let request = request("GET", "/calls/active").header(header::AUTHORIZATION, &value);
        let status = ask(&router, empty(request)).await.status;
        assert_eq!(status == StatusCode::OK, right, "{value}: {status}");
    }
}

#[tokio::test]
async fn on_loopback_without_a_token_everything_is_open() {
    let (app, router) = service(None);
    app.calls.started(&info("a-call"));
    app.calls.ended(&CallId::new("a-call"), &summary());
    for (_, path) in GUARDED.into_iter().filter(|(method, _)| *method == "GET") {
        assert_eq!(
            get_from(&router, path).await.status,
            StatusCode::OK,
            "{path}"
        );
    }
    get_from(&router, "/nowhere")
        .await
        .is_problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn while_it_is_open_no_strange_name_may_point_to_it() {
    let (_, router) = service(None);
    let cases = [
        ("127.0.0.1:3000", true),
        ("localhost", true),
        ("[::1]:3000", true),
        ("esther.example.org", true),
        ("esther.example.org:443", true),
        ("rebound.example.com", false),
        ("127.0.0.1.example.com", false),
        ("10.0.0.1:3000", false),
        ("a b", false),
    ];
    for (host, right) in cases {
        let answer = ask(
            &router,
            empty(request("GET", "/calls").header(header::HOST, host)),
        )
        .await;
        assert_eq!(answer.status == StatusCode::OK, right, "{host}");
        if !right {
            answer.is_problem(StatusCode::FORBIDDEN);
        }
    }
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let (_, open) = service(None);
    let (_, guarded) = service(Some(TOKEN));
    let password = format!("Basic {}", BASE64_STANDARD.encode(format!(":{TOKEN}")));
    let post = |origin: &str| {
        request("POST", "/channels")
            .header(header::HOST, "localhost:3000")
            .header(header::ORIGIN, origin)
    };
    for (origin, right) in [
        ("http://localhost:3000", true),
        ("https://esther.example.org", true),
        ("http://localhost:8080", false),
        ("https://evil.example.com", false),
        ("null", false),
    ] {
        let without = ask(&open, empty(post(origin))).await.status;
        // A browser sends a password by itself, whichever page asks.
        let with = post(origin).header(header::AUTHORIZATION, &password);
        let with = ask(&guarded, empty(with)).await.status;
        let expected = if right {
            StatusCode::CREATED
        } else {
            StatusCode::FORBIDDEN
        };
        assert_eq!((without, with), (expected, expected), "{origin}");
    }
    let bearer = format!("Bearer {TOKEN}");
    let app = post("https://app.example.com").header(header::AUTHORIZATION, bearer);
    let status = ask(&guarded, empty(app)).await.status;
    assert_eq!(
        status,
        StatusCode::CREATED,
        "a bearer token is proof enough"
    );
}

#[tokio::test]
async fn every_refusal_is_a_problem() {
    let (app, router) = service(None);
    app.calls.started(&info("a-call"));
    let cases = [
        ("GET", "/nowhere", StatusCode::NOT_FOUND),
        ("GET", "/calls/nobody", StatusCode::NOT_FOUND),
        ("GET", "/calls/nobody/events", StatusCode::NOT_FOUND),
        ("POST", "/calls/nobody/hangup", StatusCode::NOT_FOUND),
        ("GET", "/calls/%ff", StatusCode::BAD_REQUEST),
        ("GET", "/calls?limit=0", StatusCode::BAD_REQUEST),
        ("GET", "/calls?limit=201", StatusCode::BAD_REQUEST),
        ("GET", "/calls?limit=+5", StatusCode::BAD_REQUEST),
        ("GET", "/calls?cursor=elsewhere", StatusCode::BAD_REQUEST),
        ("DELETE", "/calls", StatusCode::METHOD_NOT_ALLOWED),
        ("POST", "/health", StatusCode::METHOD_NOT_ALLOWED),
    ];
    for (method, path, status) in cases {
        ask(&router, empty(request(method, path)))
            .await
            .is_problem(status);
    }
    let refused = ask(&router, empty(request("DELETE", "/calls"))).await;
    assert_eq!(refused.header(header::ALLOW), "GET,HEAD");

    let carrier = ask(&router, empty(request("POST", "/webhooks/events"))).await;
    carrier.is_problem(StatusCode::UNAUTHORIZED);
    assert_eq!(carrier.json()["detail"], "the signature is missing");
}

#[tokio::test]
async fn bodies_that_are_no_settings_are_refused_without_repeating_them() {
    let (_, router) = service(None);
    let json = "application/json";
    let key = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----";
    let cases = [
        (
            "text/plain",
            "{}".to_owned(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            json,
            "{\"apiKey\":\"hush\",".to_owned(),
            StatusCode::BAD_REQUEST,
        ),
        (
            json,
            "[\"hush\"]".to_owned(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json,
            "{\"apiKey\":\"hush\"}".to_owned(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json,
            json!({"apiKey": "hush", "apiSecret": ["hush"]}).to_string(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json,
            json!({"apiKey": "a", "apiSecret": "b", "privateKey": key}).to_string(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json,
            json!({"apiKey": "a", "apiSecret": "b", "privateKey": "/etc/passwd"}).to_string(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json,
            " ".repeat(LARGEST_BODY + 1),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ];
    for (kind, body, status) in cases {
        let answer = configure(&router, kind, body).await;
        answer.is_problem(status);
        assert!(!String::from_utf8_lossy(&answer.body).contains("hush"));
    }
    assert_eq!(
        get_from(&router, "/configure").await.json(),
        json!({"configured": false})
    );
}

#[tokio::test]
async fn the_carriers_account_is_set_and_never_shown() {
    let (app, router) = service(None);
    let body = json!({
        "apiKey": "abcd1234",
        "apiSecret": "hush",
        "applicationId": "78d335fa-323d-0114-9c3d-d6f0d48968cf",
        "fromNumber": "12125550100",
        "privateKey": null,
    });
    let answer = configure(&router, "application/json", body.to_string()).await;
    assert_eq!(answer.json(), json!({"success": true, "configured": true}));
    assert_eq!(
        get_from(&router, "/configure").await.json(),
        json!({"configured": true})
    );
    assert_eq!(app.vonage.credentials().application_ids.len(), 1);
    let account = app.account.lock().expect("whole");
    assert_eq!(account.api_secret.as_ref().expect("set").reveal(), "hush");
    assert!(!format!("{account:?}").contains("hush"));
}

#[tokio::test]
async fn a_service_that_drains_is_not_ready_and_opens_no_channel() {
    let (app, router) = service(None);
    assert_eq!(get_from(&router, "/ready").await.status, StatusCode::OK);
    app.readiness.drain();
    for (method, path) in [("GET", "/ready"), ("POST", "/channels")] {
        let answer = ask(&router, empty(request(method, path))).await;
        answer.is_problem(StatusCode::SERVICE_UNAVAILABLE);
        assert!(!answer.header(header::RETRY_AFTER).is_empty());
    }
    assert_eq!(get_from(&router, "/up").await.status, StatusCode::OK);
    assert_eq!(get_from(&router, "/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn calls_are_listed_newest_first_and_page_by_page() {
    let (app, router) = service(None);
    for name in ["one", "two", "three"] {
        app.calls.started(&info(name));
    }
    app.calls.line(&CallId::new("two"), &line(1, "hello"));
    app.calls.ended(&CallId::new("two"), &summary());

    let ids = |page: &Value| -> Vec<String> {
        let calls = page["calls"].as_array().expect("calls").iter();
        calls
            .map(|call| call["call_uuid"].as_str().expect("an id").to_owned())
            .collect()
    };
    let first = get_from(&router, "/calls?limit=2").await.json();
    assert_eq!(ids(&first), ["three", "two"]);
    let next = first["next"].as_str().expect("a cursor");
    let second = get_from(&router, &format!("/calls?limit=2&cursor={next}"))
        .await
        .json();
    assert_eq!(
        (ids(&second), &second["next"]),
        (vec!["one".to_owned()], &Value::Null)
    );

    let active = get_from(&router, "/calls/active").await.json();
    let active = active["activeCalls"].as_array().expect("calls").iter();
    assert!(active.map(|call| &call["id"]).eq(["three", "one"]));

    let call = get_from(&router, "/calls/two").await.json();
    assert_eq!(call["status"], "completed");
    assert_eq!(call["outcome"], "scheduled");
    assert_eq!(call["duration_seconds"], 61.5);
    assert_eq!(call["utterances"][0]["speaker"], "Human");
    assert_eq!(call["utterances"][0]["text"], "hello");
}

/// One event of a stream: its name, its id and its data.
type Told = (String, Option<u64>, Value);

async fn events_of(router: &Router, call: &str, last: Option<&str>) -> Vec<Told> {
    let mut request = request("GET", &format!("/calls/{call}/events"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = ask(router, empty(request)).await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "text/event-stream");
    told(&String::from_utf8(answer.body.into()).expect("text"))
}

fn told(stream: &str) -> Vec<Told> {
    let blocks = stream.split("\n\n").filter(|block| !block.is_empty());
    blocks
        .map(|block| {
            let field = |name: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            (
                field("event").expect("a name").to_owned(),
                field("id").map(|id| id.parse().expect("a number")),
                serde_json::from_str(field("data").expect("data")).expect("JSON"),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_follower_that_comes_back_is_told_what_it_missed() {
    let (app, router) = service(None);
    let call = CallId::new("a-call");
    app.calls.started(&info("a-call"));
    for (seq, text) in [(1, "one"), (2, "two"), (3, "three")] {
        app.calls.line(&call, &line(seq, text));
    }
    app.calls.ended(&call, &summary());
    let names = |events: &[Told]| -> Vec<_> {
        events
            .iter()
            .map(|(name, id, _)| (name.clone(), *id))
            .collect()
    };
    let utterance = |id: u64| ("utterance".to_owned(), Some(id));
    let ended = ("ended".to_owned(), None);

    let all = events_of(&router, "a-call", None).await;
    assert_eq!(
        names(&all),
        [utterance(1), utterance(2), utterance(3), ended.clone()]
    );
    assert_eq!(
        all[0].2,
        json!({"seq": 1, "at": info("a-call").started, "speaker": "Human", "text": "one", "cut": false})
    );
    assert_eq!(
        all[3].2,
        json!({"status": "completed", "outcome": "scheduled", "duration": 61.5})
    );
    let rest = events_of(&router, "a-call", Some("2")).await;
    assert_eq!(names(&rest), [utterance(3), ended]);
    let confused = events_of(&router, "a-call", Some("nonsense")).await;
    assert_eq!(names(&confused), names(&all));
}

#[tokio::test]
async fn a_live_call_is_told_as_it_happens() {
    let (app, router) = service(None);
    let call = CallId::new("a-call");
    app.calls.started(&info("a-call"));
    let request = empty(request("GET", "/calls/a-call/events"));
    let response = router.oneshot(request).await.expect("infallible");
    let mut stream = response.into_body().into_data_stream();
    app.calls.state(&call, "listening", "speaking");
    app.calls
        .caption(&call, novavoice::transcript::Speaker::Agent, "two\nlines");
    app.calls.ended(&call, &summary());
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text += std::str::from_utf8(&chunk.expect("a chunk")).expect("text");
    }
    let events = told(&text);
    assert_eq!(events[0].2, json!({"old": "listening", "new": "speaking"}));
    assert_eq!(
        events[1].2,
        json!({"speaker": "Assistant", "text": "two\nlines"})
    );
    assert_eq!(events[2].0, "ended");
}

#[tokio::test]
async fn answers_are_kept_by_nobody_and_taken_for_nothing_else() {
    let (_, router) = service(None);
    for path in ["/calls", "/nowhere", "/health", "/"] {
        let answer = get_from(&router, path).await;
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store", "{path}");
        assert_eq!(
            answer.header(header::X_CONTENT_TYPE_OPTIONS),
            "nosniff",
            "{path}"
        );
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'"), "{path}");
    }
}

#[tokio::test]
async fn the_page_loads_its_own_files_and_nothing_else() {
    let (_, router) = service(None);
    for file in &FILES {
        let answer = get_from(&router, file.path).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header(header::CONTENT_TYPE), file.kind);
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"));
        let text = file.text.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http://", "https://", "//cdn", "style=", "onclick="] {
            assert!(!text.contains(foreign), "{} has {foreign}", file.path);
        }
    }
    let page = get_from(&router, "/").await;
    let page = String::from_utf8(page.body.into()).expect("text");
    let loaded: Vec<_> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|link| page.split(link).skip(1))
        .map(|rest| format!("/{}", rest.split('"').next().expect("closed")))
        .collect();
    assert_eq!(loaded.len(), 3);
    for path in loaded {
        assert!(FILES.iter().any(|file| file.path == path), "{path}");
    }
}

#[tokio::test]
async fn the_document_names_every_route_that_exists() {
    let document: Value = serde_json::from_str(OPENAPI).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    let app = fixture(None);
    let peers = vonage::webhooks(&app.vonage).merge(socket::router(app.sockets.clone()));
    let router = super::app(app.clone(), peers);
    app.calls.started(&info("a-call"));
    app.calls.ended(&CallId::new("a-call"), &summary());
    let paths = document["paths"].as_object().expect("paths");
    let mut documented = Vec::new();
    for (path, operations) in paths {
        let operations = operations.as_object().expect("operations");
        for method in operations.keys().filter(|key| *key != "parameters") {
            let method = method.to_ascii_uppercase();
            documented.push((method.clone(), path.replace("{uuid}", "a-call")));
        }
    }
    for (method, path) in &documented {
        let status = ask(&router, empty(request(method, path))).await.status;
        // A call that is over cannot be hung up, a body is missing: both routes exist.
        let exists = status != StatusCode::NOT_FOUND || path.ends_with("/hangup");
        assert!(
            exists && status != StatusCode::METHOD_NOT_ALLOWED,
            "{method} {path}"
        );
    }
    for (method, path) in GUARDED {
        let file = FILES.iter().any(|file| file.path == path && path != "/");
        let named = documented.contains(&(method.to_owned(), path.to_owned()));
        assert!(file || named, "{method} {path} is not documented");
    }
}

#[tokio::test]
async fn metrics_are_in_the_format_of_prometheus() {
    let (app, router) = service(None);
    app.metrics.started();
    let answer = get_from(&router, "/metrics").await;
    assert!(
        answer
            .header(header::CONTENT_TYPE)
            .starts_with("text/plain; version=0.0.4")
    );
    let text = String::from_utf8(answer.body.into()).expect("text");
    assert!(text.contains("\nesther_calls_started_total 1\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(
            name.starts_with("esther_") && value.parse::<f64>().is_ok(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn people_can_see_which_model_speaks() {
    let (_, router) = service(None);
    let status = get_from(&router, "/status").await.json();
    assert_eq!(status["model"]["name"], "scripted");
    assert_eq!(status["model"]["real"], false);
    assert_eq!(status["ready"], true);
}
