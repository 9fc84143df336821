//! The whole service, with callers from the simulated carrier and from a browser.

mod chromium;
mod page;

use std::fs;

use novavoice::testkit::vonage::{Call, FakeVonage, InboundCall, Options};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::config;

struct Running {
    address: String,
    token: Option<String>,
    stop: watch::Sender<Stop>,
    task: JoinHandle<anyhow::Result<()>>,
    transcripts: TempDir,
    _data: TempDir,
}

impl Running {
    /// A service with the scripted model on a free port.
    async fn start(environment: &[(&str, &str)]) -> Self {
        let transcripts = TempDir::new().expect("a temporary folder");
        let folder = transcripts.path().to_str().expect("a plain path");
        let data = TempDir::new().expect("a temporary folder");
        let data_dir = data.path().to_str().expect("a plain path");
        let usual = [
            ("PORT", "0"),
            ("SPEECH_MODEL", "local"),
            ("TRANSCRIPTS_DIR", folder),
            ("DATA_DIR", data_dir),
            ("CALL_STORE", "sqlite"),
            ("LEAD_STORE", "sqlite"),
        ];
        let config = config::tests::with(&[&usual, environment].concat());
        let service = Service::start(config).await.expect("it starts");
        let (stop, stopping) = watch::channel(Stop::Never);
        Self {
            address: service.address.clone(),
            token: service
                .made_token
                .as_ref()
                .map(|token| token.reveal().clone()),
            stop,
            task: tokio::spawn(service.run(stopping)),
            transcripts,
            _data: data,
        }
    }

    fn carrier(&self) -> FakeVonage {
        FakeVonage::new(Options::new(&self.address))
    }

    /// A caller who hears the agent's first words.
    async fn call(&self) -> Call {
        let caller = InboundCall::new("12125550142", "442079460000");
        let call = self.carrier().place_inbound(caller).await.expect("an NCCO");
        assert!(call.wait_heard(Duration::from_secs(1)).await);
        call
    }

    fn get(&self, path: &str) -> RequestBuilder {
        Client::new().get(format!("{}{path}", self.address))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        Client::new().post(format!("{}{path}", self.address))
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.get(path).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.expect("a whole answer")
    }

    /// The transcript of the only call.
    fn transcript(&self) -> String {
        let files = fs::read_dir(self.transcripts.path()).expect("a folder");
        let paths = files.map(|file| file.expect("a file").path());
        let mut paths = paths.filter(|path| path.extension().is_some_and(|end| end == "md"));
        let path = paths.next().expect("a transcript");
        assert_eq!(paths.next(), None);
        fs::read_to_string(path).expect("readable")
    }

    /// Waits until the service has ended.
    async fn ended(&mut self) {
        let ended = (&mut self.task).await.expect("no panic");
        ended.expect("an end without error");
    }
}

#[tokio::test]
async fn a_phone_call_is_answered_followed_and_kept() {
    let service = Running::start(&[]).await;
    let call = service.call().await;
    let active: Value = serde_json::from_str(&service.text("/calls/active").await).expect("JSON");
    assert_eq!(active["activeCalls"][0]["id"], call.uuid());
    assert_eq!(active["activeCalls"][0]["phone"], "12125550142");

    let events = format!("/calls/{}/events", call.uuid());
    let (events, ()) = tokio::join!(service.text(&events), async {
        call.hang_up();
        call.ended().await;
    });
    assert_eq!(call.violations(), []);
    assert!(events.contains("event: utterance\n"), "{events}");
    assert!(events.trim_end().contains("event: ended\n"), "{events}");

    let transcript = service.transcript();
    assert!(transcript.contains("Assistant: Hello"), "{transcript}");
    assert!(transcript.contains("Outcome: completed"), "{transcript}");
    let metrics = service.text("/metrics").await;
    assert!(
        metrics.contains("\nesther_calls_total{status=\"completed\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("\nesther_sessions_active 0\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn with_a_secret_only_signed_webhooks_are_believed() {
    let service = Running::start(&[
        ("VONAGE_API_KEY", "a1b2c3d4"),
        (
            "VONAGE_SIGNATURE_SECRET",
            "a-secret-that-signs-webhooks-well",
        ),
    ])
    .await;
    let caller = || InboundCall::new("12125550142", "442079460000");
    let unsigned = service.carrier();
    assert!(unsigned.place_inbound(caller()).await.is_err());
    let metrics = service.text("/metrics").await;
    assert!(
        !metrics.contains("\nesther_webhooks_refused_total 0\n"),
        "{metrics}"
    );

    let secret = "a-secret-that-signs-webhooks-well".to_owned();
    let signed = FakeVonage::new(Options {
        signature_secret: Some(secret.into()),
        ..Options::new(&service.address)
    });
    let call = signed.place_inbound(caller()).await.expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(200)).await);
    call.hang_up();
    call.ended().await;
    assert_eq!(call.violations(), []);
}

#[tokio::test]
async fn past_the_limit_callers_hear_a_polite_sentence() {
    let service = Running::start(&[("MAX_CALLS", "1")]).await;
    let first = service.call().await;
    let caller = InboundCall::new("12125550143", "442079460000");
    let second = service
        .carrier()
        .place_inbound(caller)
        .await
        .expect("an NCCO");
    assert!(second.ncco().to_string().contains("lines are busy"));
    let channel = service.post("/channels").send().await.expect("an answer");
    assert_eq!(channel.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(channel.headers().contains_key("retry-after"));
    first.hang_up();
    first.ended().await;
}

#[tokio::test]
async fn a_service_that_is_asked_to_stop_lets_its_calls_finish() {
    let mut service = Running::start(&[]).await;
    let call = service.call().await;
    service.stop.send_replace(Stop::Drain);
    let heard = call.heard_for() + Duration::from_millis(500);
    assert!(call.wait_heard(heard).await, "the call goes on");
    for (path, status) in [("/ready", 503), ("/up", 200), ("/health", 200)] {
        let answer = service.get(path).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
    let caller = InboundCall::new("12125550143", "442079460000");
    let late = service
        .carrier()
        .place_inbound(caller)
        .await
        .expect("an NCCO");
    assert!(late.ncco().to_string().contains("busy"));
    assert!(!service.task.is_finished());
    call.hang_up();
    service.ended().await;
    assert!(service.transcript().contains("Outcome: completed"));
}

#[tokio::test]
async fn a_service_that_is_asked_twice_closes_its_calls() {
    let mut service = Running::start(&[]).await;
    let call = service.call().await;
    service.stop.send_replace(Stop::Drain);
    service.stop.send_replace(Stop::Now);
    service.ended().await;
    call.hang_up();
    call.ended().await;
    assert!(service.transcript().contains("Assistant: Hello"));
    assert!(service.transcript().contains("Ended:"));
}

#[tokio::test]
async fn a_service_that_others_can_reach_makes_itself_a_token() {
    let service = Running::start(&[("HOST", "0.0.0.0")]).await;
    let token = service.token.clone().expect("a token");
    assert!(token.len() >= 32);
    let without = service.get("/calls").send().await.expect("an answer");
    assert_eq!(without.status(), StatusCode::UNAUTHORIZED);
    let with = service.get("/calls").bearer_auth(token);
    let with = with.send().await.expect("an answer");
    assert_eq!(with.status(), StatusCode::OK);

    // Nor does it believe just anybody who says to be the carrier.
    let caller = InboundCall::new("12125550142", "442079460000");
    assert!(service.carrier().place_inbound(caller).await.is_err());
}

#[tokio::test]
async fn a_port_in_use_is_said_so() {
    let service = Running::start(&[]).await;
    let port = service.address.rsplit(':').next().expect("a port");
    let config = config::tests::with(&[("PORT", port), ("SPEECH_MODEL", "local")]);
    let error = Service::start(config)
        .await
        .err()
        .expect("the port is taken");
    let text = format!("{error:#}");
    assert!(
        text.contains("cannot listen") && text.contains(port),
        "{text}"
    );
}
