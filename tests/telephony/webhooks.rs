//! What Vonage's webhooks get.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use novavoice::{
    ProviderError, ProviderErrorKind,
    call::CallId,
    telephony::{
        Progress, Telephony,
        admission::Admission,
        vonage::{
            Credentials, EventKeeper, Liveness,
            webhook::{Event, StatusEvent},
        },
    },
};
use serde_json::{Value, json};

use crate::carrier::{CALL, Carrier, caller, claims, inbound, sign, sign_with, socket_leg};

/// Vonage checklist 44: by `GET` and by `POST` the answer is the same, but for the token.
#[tokio::test(start_paused = true)]
async fn an_answer_webhook_gets_a_socket_by_get_and_by_post() {
    let carrier = Carrier::new();
    let query: String = inbound()
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| format!("{key}={}&", value.as_str().unwrap()))
        .collect();
    let posted = carrier.answer().await.endpoint();
    let got = carrier.get(&format!("/webhooks/answer?{query}")).await;
    for endpoint in [posted, got.endpoint()] {
        assert_eq!(endpoint["headers"]["uuid"], CALL);
        assert_eq!(endpoint["headers"]["from"], "447700900000");
        assert_eq!(endpoint["content-type"], "audio/l16;rate=16000");
        let uri = endpoint["uri"].as_str().unwrap();
        assert!(uri.starts_with(&format!("wss://esther.test/socket?channel={CALL}&token=")));
    }
    let region = carrier.vonage.region(&CallId::new(CALL));
    assert_eq!(region.as_deref(), Some("https://api-us-3.vonage.com"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_we_placed_gets_a_socket_even_when_nobody_knows_it() {
    let carrier = Carrier::with(|config| config.admission = Admission::new(|| false));
    let reply = carrier.post("/outbound/webhooks/answer", &inbound()).await;
    assert_eq!(reply.endpoint()["headers"]["direction"], "outbound");
    let events = &reply.json()[0]["eventUrl"];
    assert_eq!(
        *events,
        json!(["https://esther.test/outbound/webhooks/events"])
    );
}

/// Vonage checklist 62: what is not signed is refused, and the refusal shows no secret.
#[tokio::test(start_paused = true)]
async fn an_unsigned_or_wrongly_signed_webhook_is_refused() {
    let carrier = Carrier::new();
    let body = inbound().to_string();
    let mut stale = claims(body.as_bytes());
    stale["iat"] = (Timestamp::now().as_second() - 302).into();
    let mut nameless = claims(body.as_bytes());
    nameless["jti"] = Value::Null;
    for authorization in [
        None,
        Some(sign(&claims(b"another body"))),
        Some(sign_with("another secret", &claims(body.as_bytes()))),
        Some(sign(&stale)),
        Some(sign(&nameless)),
        Some("Basic eDp5".to_owned()),
    ] {
        for target in [
            "/webhooks/answer",
            "/outbound/webhooks/answer",
            "/webhooks/events",
            "/outbound/webhooks/events",
        ] {
            let authorization = authorization.as_deref();
            let reply = carrier
                .send("POST", target, authorization, body.clone())
                .await;
            assert_eq!(
                (reply.status, reply.json()["status"].as_u64()),
                (401, Some(401))
            );
            assert!(!reply.body.contains("secret-for-tests"), "{}", reply.body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_secret_webhooks_are_refused_unless_that_is_allowed() {
    for (allow_unsigned, status) in [(false, 401), (true, 200)] {
        let carrier = Carrier::with(|config| {
            config.credentials = Credentials::default();
            config.allow_unsigned = allow_unsigned;
        });
        let body = inbound().to_string();
        let reply = carrier.send("POST", "/webhooks/answer", None, body).await;
        assert_eq!(reply.status, status);
    }
    let carrier = Carrier::with(|config| config.allow_unsigned = true);
    let body = inbound().to_string();
    let reply = carrier.send("POST", "/webhooks/answer", None, body).await;
    assert_eq!(reply.status, 401, "there is a secret, so it counts");
}

/// Vonage checklist 63: while one secret replaces the other, both count.
#[tokio::test(start_paused = true)]
async fn credentials_change_while_calls_come() {
    let carrier = Carrier::new();
    let body = inbound().to_string();
    let signed = || sign_with("the next secret", &claims(body.as_bytes()));
    let send = async |authorization: String| {
        let body = body.clone();
        let target = "/webhooks/answer";
        let reply = carrier
            .send("POST", target, Some(&authorization), body)
            .await;
        reply.status
    };
    assert_eq!(send(signed()).await, 401);
    let mut credentials = carrier.vonage.credentials();
    credentials
        .signature_secrets
        .push("the next secret".to_owned().into());
    carrier.vonage.configure(credentials);
    assert_eq!(send(signed()).await, 200);
    assert_eq!(send(sign(&claims(body.as_bytes()))).await, 200);
}

/// Vonage checklist 61: a repeated request is answered as before, the token included.
#[tokio::test(start_paused = true)]
async fn a_retry_gets_the_same_answer_byte_for_byte() {
    let carrier = Carrier::new();
    let body = inbound().to_string();
    let authorization = sign(&claims(body.as_bytes()));
    let target = "/webhooks/answer";
    let send = async |body: &str| {
        let authorization = Some(authorization.as_str());
        carrier
            .send("POST", target, authorization, body.to_owned())
            .await
    };
    let first = send(&body).await;
    assert_eq!(first.status, 200);
    assert_eq!(send(&body).await, first);
    assert_eq!(send(&format!("{body} ")).await.status, 401);

    let authorization = sign(&claims(b""));
    let get = async |query: &str| {
        let target = format!("/webhooks/answer?uuid={query}");
        carrier.send("GET", &target, Some(&authorization), "").await
    };
    let first = get("a").await;
    assert_eq!(get("a").await, first);
    assert_eq!(get("b").await.status, 401);
}

/// Vonage checklist 55: a second delivery decides the same and starts no second call.
#[tokio::test(start_paused = true)]
async fn an_answer_webhook_that_comes_twice_makes_one_call() {
    let carrier = Carrier::new();
    let (first, second) = (carrier.answer().await, carrier.answer().await);
    let (first, second) = (first.endpoint(), second.endpoint());
    assert_ne!(first["uri"], second["uri"], "each has a token of its own");
    let _one = carrier.open(&first).await;
    let _leg = carrier.vonage.answer().await.unwrap();
    let _two = carrier.open(&second).await;
    let other = tokio::time::timeout(Duration::from_secs(60), carrier.vonage.answer());
    assert!(other.await.is_err(), "there is one call");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_room_hears_a_polite_sentence() {
    let carrier = Carrier::with(|config| config.admission = Admission::new(|| false));
    assert!(carrier.answer().await.talks());
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_makes_no_sense_is_refused_or_acknowledged() {
    let carrier = Carrier::new();
    let reply = carrier
        .post("/webhooks/answer", &json!({"from": "1"}))
        .await;
    assert_eq!(reply.status, 400);
    let reply = carrier.post("/webhooks/answer", &json!([1])).await;
    assert_eq!(reply.status, 400);
    let long = json!({"uuid": "x".repeat(600)});
    assert_eq!(carrier.post("/webhooks/answer", &long).await.status, 400);
    for event in [
        json!([1]),
        json!({}),
        json!({"status": "levitating", "uuid": 7}),
        json!({"reason": "Syntax error in NCCO."}),
        socket_leg(
            "disconnected",
            "ws-1",
            &json!({"uri": "wss://x", "headers": {}}),
        ),
    ] {
        assert!(carrier.event(&event).await.is_empty(), "{event}");
    }
    let huge = json!({"uuid": "x".repeat(70_000)});
    assert_eq!(carrier.event(&huge).await.status, 413);
}

/// Vonage checklist 51: events of a call may come in any order, twice, and after its end.
#[tokio::test(start_paused = true)]
async fn events_are_acknowledged_and_passed_on() {
    let carrier = Carrier::new();
    let mut events = carrier.vonage.events();
    for status in ["ringing", "started", "completed", "answered", "completed"] {
        assert!(carrier.event(&caller(status)).await.is_empty());
    }
    for status in ["ringing", "started", "completed", "answered", "completed"] {
        let event = events.recv().await.unwrap();
        let Event::Status(event) = &*event else {
            panic!("{event:?}");
        };
        assert_eq!(event.status.as_str(), status);
    }
}

/// A store that is there again after a while.
#[derive(Debug, Default)]
struct Shaky {
    kept: Mutex<Vec<String>>,
    failures: AtomicUsize,
}

#[async_trait]
impl EventKeeper for Shaky {
    async fn keep(&self, event: &StatusEvent) -> Result<(), ProviderError> {
        let left = self
            .failures
            .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        if left.is_ok() {
            return Err(ProviderError::new("store", ProviderErrorKind::Unavailable));
        }
        let status = event.status.as_str().to_owned();
        self.kept.lock().unwrap().push(status);
        Ok(())
    }
}

/// Vonage checklist 51: what is answered 503 comes once more; here it counts at once all the same.
#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_kept_counts_and_is_asked_for_once_more() {
    let keeper = Arc::new(Shaky::default());
    let carrier = Carrier::with(|config| config.keeper = Some(Arc::clone(&keeper) as _));
    let mut steps = carrier.vonage.progress();
    let placed = "/outbound/webhooks/events";
    assert!(carrier.post(placed, &caller("answered")).await.is_empty());
    keeper.failures.store(1, Relaxed);
    let verdict = carrier.post(placed, &caller("machine")).await;
    assert_eq!(verdict.status, 503, "{verdict:?}");
    assert!(carrier.post(placed, &caller("machine")).await.is_empty());
    assert_eq!(*keeper.kept.lock().unwrap(), ["answered", "machine"]);
    let mut verdicts = 0;
    while let Ok(step) = steps.try_recv() {
        verdicts += usize::from(step.step == Progress::AnsweredBy { machine: true });
    }
    assert_eq!(verdicts, 1);
    let inbound = carrier.event(&caller("completed")).await;
    assert!(inbound.is_empty());
    assert_eq!(keeper.kept.lock().unwrap().len(), 2, "of placed calls only");
}

/// Vonage checklist 53: two lost sockets are replaced, the third is apologised for.
#[tokio::test(start_paused = true)]
async fn the_loss_of_a_socket_gets_another_one_twice_and_then_an_apology() {
    for status in ["disconnected", "failed", "unanswered"] {
        let carrier = Carrier::new();
        let mut endpoint = carrier.answer().await.endpoint();
        for leg in ["ws-1", "ws-2"] {
            let lost = socket_leg(status, leg, &endpoint);
            let fresh = carrier.event(&lost).await.endpoint();
            assert_ne!(fresh["uri"], endpoint["uri"], "the token is fresh");
            let again = carrier.event(&lost).await.endpoint();
            assert_eq!(
                again["headers"], fresh["headers"],
                "told twice, counted once"
            );
            endpoint = fresh;
        }
        let reply = carrier.event(&socket_leg(status, "ws-3", &endpoint)).await;
        assert!(reply.talks(), "{reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_a_socket_is_no_accident_once_the_call_is_released_or_over() {
    let carrier = Carrier::new();
    let endpoint = carrier.answer().await.endpoint();
    carrier.vonage.release(&CallId::new(CALL));
    let lost = socket_leg("disconnected", "ws-1", &endpoint);
    assert!(carrier.event(&lost).await.is_empty());

    let carrier = Carrier::new();
    let endpoint = carrier.answer().await.endpoint();
    assert!(carrier.event(&caller("completed")).await.is_empty());
    let lost = socket_leg("disconnected", "ws-1", &endpoint);
    assert!(carrier.event(&lost).await.is_empty());
}

/// Vonage checklist 52: the legs of a conversation are told apart.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_socket_or_of_another_leg_is_not_the_end_of_the_call() {
    let carrier = Carrier::new();
    let endpoint = carrier.answer().await.endpoint();
    let mut other = caller("completed");
    other["uuid"] = "another-leg".into();
    carrier.event(&other).await;
    carrier
        .event(&socket_leg("completed", "ws-1", &endpoint))
        .await;
    let lost = socket_leg("disconnected", "ws-1", &endpoint);
    carrier.event(&lost).await.endpoint();
}

#[tokio::test(start_paused = true)]
async fn a_call_of_another_node_goes_on_here_while_it_lives() {
    let elsewhere = Carrier::new();
    let endpoint = elsewhere.answer().await.endpoint();
    let lost = socket_leg("disconnected", "ws-1", &endpoint);
    let fresh = elsewhere.event(&lost).await.endpoint();

    let here = Carrier::new();
    let lost = socket_leg("disconnected", "ws-2", &fresh);
    let again = here.event(&lost).await.endpoint();
    assert_eq!(again["headers"]["uuid"], CALL);
    assert_eq!(again["headers"]["lost"], "2");
    let lost = socket_leg("disconnected", "ws-3", &again);
    let third = Carrier::new().event(&lost).await;
    assert!(third.talks(), "all nodes together mend two losses");

    let over = Liveness::new(|_| std::future::ready(false));
    let here = Carrier::with(|config| config.liveness = over);
    let lost = socket_leg("disconnected", "ws-2", &fresh);
    assert!(here.event(&lost).await.is_empty());
}

/// Vonage checklist 54: whatever is slow, the carrier waits no second.
#[tokio::test(start_paused = true)]
async fn a_webhook_is_answered_within_a_second_whatever_is_slow() {
    let slow = Liveness::new(|_| pending());
    let carrier = Carrier::with(|config| config.liveness = slow);
    let _nobody_reads = carrier.vonage.events();
    let endpoint = json!({"uri": "wss://x", "headers": {"uuid": CALL}});
    let started = tokio::time::Instant::now();
    for n in 0..2000 {
        let leg = format!("ws-{n}");
        carrier
            .event(&socket_leg("completed", &leg, &endpoint))
            .await;
    }
    let lost = socket_leg("disconnected", "ws-1", &endpoint);
    carrier.event(&lost).await.endpoint();
    assert!(started.elapsed() < Duration::from_secs(1));
}
