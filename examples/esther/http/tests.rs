//! The routes as a client sees them.

mod access;
mod calls;
mod campaigns;
mod configure;
mod dial;
mod leads;
mod prompts;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Request, StatusCode, header, request::Builder},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use novavoice::{
    agent::VoiceAgent,
    call::{CallId, CallStatus, Outcome},
    conversation::AgentState,
    lead::{Lead, MemoryLeads, PhoneNumber},
    model::scripted::{Script, Scripted},
    outbound::{Campaigns, Decisions, Gatekeeper, Plan},
    record::MemoryCalls,
    state::{MemoryState, StateStore},
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
use crate::calls::tests::{NOW, info, line, summary};

const TOKEN: &str = "a-token-for-tests";

/// Guarded paths with the methods they take, as the documents name them.
const GUARDED: [(&str, &str); 34] = [
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
    ("GET", "/leads"),
    ("GET", "/leads/2125550101"),
    ("PATCH", "/leads/2125550101"),
    ("POST", "/calls/a-call/transfer"),
    ("POST", "/call/simple"),
    ("POST", "/call/ai"),
    ("GET", "/campaigns"),
    ("POST", "/campaigns"),
    ("GET", "/campaigns/a-campaign"),
    ("POST", "/campaigns/a-campaign/preview"),
    ("POST", "/campaigns/a-campaign/start"),
    ("POST", "/campaigns/a-campaign/pause"),
    ("POST", "/campaigns/a-campaign/resume"),
    ("GET", "/prompts"),
    ("POST", "/prompts"),
    ("GET", "/prompts/active"),
    ("GET", "/prompts/0"),
    ("POST", "/prompts/0/activate"),
    ("POST", "/prompts/preview"),
    ("POST", "/prompts/rollback"),
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
    let leads: Arc<dyn LeadStore> = Arc::new(MemoryLeads::new());
    App {
        access: Arc::new(Access::new(token, "https://esther.example.org")),
        agent: idle_agent(),
        calls: Calls::default(),
        store: Arc::new(MemoryCalls::new()),
        outbound: outbound(&leads),
        leads,
        recording: None,
        max_calls: 2,
        speech: Announcement {
            name: "scripted",
            real: false,
            notice: "A script with tones.".to_owned(),
        },
        sockets: Sockets::new(tokens, SocketConfig::default()),
        browser: Browser::new(BrowserConfig::default()),
        stand_in: None,
        circuit: None,
        vonage: Vonage::new(VonageConfig::default()).expect("a right configuration"),
        account: Arc::new(Mutex::new(crate::config::tests::defaults().vonage)),
        permission: Permission::always(),
        prompts: crate::prompts::open(&(Arc::new(MemoryState::new()) as Arc<dyn StateStore>)),
        metrics: Arc::default(),
        readiness: Readiness::default(),
    }
}

/// Campaigns that nobody carries out.
fn outbound(leads: &Arc<dyn LeadStore>) -> Outbound {
    let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let folder = tempfile::tempdir().expect("a folder");
    let log = Decisions::open(folder.path().join("decisions.jsonl")).expect("a log");
    let gate = Gatekeeper::new(Arc::clone(&state), Arc::clone(leads), log);
    Outbound::idle(Campaigns::new(state), gate)
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
        ("GET", "/calls?status=odd", StatusCode::BAD_REQUEST),
        ("GET", "/calls?phone=nobody", StatusCode::BAD_REQUEST),
        ("GET", "/calls?from=yesterday", StatusCode::BAD_REQUEST),
        ("GET", "/leads/nobody", StatusCode::BAD_REQUEST),
        ("GET", "/leads/2125550199", StatusCode::NOT_FOUND),
        ("GET", "/leads?limit=many", StatusCode::BAD_REQUEST),
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
    assert!(!loaded.is_empty());
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
    let lead = PhoneNumber::parse("2125550101").expect("a number");
    app.leads.upsert(Lead::new(lead)).await.expect("kept");
    let paths = document["paths"].as_object().expect("paths");
    let mut documented = Vec::new();
    for (path, operations) in paths {
        let operations = operations.as_object().expect("operations");
        for method in operations.keys().filter(|key| *key != "parameters") {
            let method = method.to_ascii_uppercase();
            documented.push((
                method.clone(),
                path.replace("{uuid}", "a-call")
                    .replace("{phone}", "2125550101")
                    .replace("{id}", "a-campaign")
                    .replace("{version}", "0"),
            ));
        }
    }
    for (method, path) in &documented {
        let status = ask(&router, empty(request(method, path))).await.status;
        // A call that is over cannot be hung up, a body is missing: both routes exist.
        let absent = path.ends_with("/hangup") || path.starts_with("/campaigns/");
        let exists = status != StatusCode::NOT_FOUND || absent;
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
