//! Webhooks that are not what they say: forged, replayed, stale, unsigned, or no sense at all.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use novavoice::testkit::vonage::{FakeVonage, Reply, Token};
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    answer::Answer,
    nova::{APPLICATION, SECRET, carrier},
    service::{CALLED, CALLER, Esther, Launch},
};

const ANSWER: &str = "/webhooks/answer";

async fn service() -> Esther {
    let signed = [
        ("VONAGE_SIGNATURE_SECRET", SECRET),
        ("VONAGE_API_KEY", "a1b2c3d4"),
        ("VONAGE_APPLICATION_ID", APPLICATION),
    ];
    let set = |launch: Launch, (name, value): (&str, &str)| launch.set(name, value);
    let launch = signed.into_iter().fold(Launch::local(), set);
    launch.set("RUST_LOG", "debug").start().await
}

/// What is asked about a call.
fn question(uuid: &str) -> Bytes {
    let body = json!({
        "uuid": uuid,
        "conversation_uuid": format!("CON-{uuid}"),
        "from": CALLER,
        "to": CALLED,
        "endpoint_type": "phone",
    });
    Bytes::from(body.to_string())
}

fn fresh() -> Bytes {
    question(&Uuid::new_v4().to_string())
}

fn sign(carrier: &FakeVonage, body: &[u8]) -> Token {
    carrier.signer().expect("it signs").token(body)
}

async fn deliver(carrier: &FakeVonage, body: &Bytes, token: &Token) -> Reply {
    let token = token.build();
    let reply = carrier.deliver(ANSWER, body.clone(), Some(&token)).await;
    reply.expect("an answer")
}

#[track_caller]
fn refused(reply: &Reply, why: &str) {
    assert_eq!(reply.status, 401, "{why}: {reply:?}");
    assert_eq!(
        reply.content_type.as_deref(),
        Some("application/problem+json"),
        "{why}"
    );
    let problem: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(problem["status"], 401, "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_unsigned_webhooks_are_refused() {
    let esther = service().await;
    let carrier = carrier(&esther);
    let good = deliver(&carrier, &fresh(), &sign(&carrier, b"")).await;
    refused(&good, "the hash of another body");

    let body = fresh();
    let token = || sign(&carrier, &body);
    let forgeries = [
        ("another secret", token().secret("not-the-secret")),
        ("an empty secret", token().secret("")),
        ("a changed signature", token().corrupt()),
        ("no algorithm", token().algorithm("none")),
        ("HS384", token().algorithm("HS384")),
        ("HS512", token().algorithm("HS512")),
        ("RS256 by name", token().algorithm("RS256")),
        ("no hash", token().payload_hash(None)),
        ("a false hash", token().payload_hash(Some("00"))),
        ("no jti", token().id(None)),
        ("an empty jti", token().id(Some(""))),
        ("another issuer", token().issuer("Nexmo")),
        ("another account", token().api_key("deadbeef")),
        (
            "another application",
            token().application(Some("11111111-bbbb-cccc-dddd-0123456789ab")),
        ),
    ];
    for path in [
        ANSWER,
        "/webhooks/events",
        "/outbound/webhooks/answer",
        "/outbound/webhooks/events",
    ] {
        let unsigned = carrier.deliver(path, body.clone(), None).await;
        refused(&unsigned.expect("an answer"), path);
        let nonsense = carrier.deliver(path, body.clone(), Some("a.b.c")).await;
        refused(&nonsense.expect("an answer"), path);
        for (why, token) in &forgeries {
            let forged = carrier
                .deliver(path, body.clone(), Some(&token.build()))
                .await;
            refused(&forged.expect("an answer"), &format!("{path}: {why}"));
        }
    }
    let query = format!("{ANSWER}?uuid=u-1&from={CALLER}&to={CALLED}");
    esther.get(&query).await.is_problem(401);
    let basic = esther
        .request("GET", &query)
        .header(AUTHORIZATION, format!("Basic {SECRET}"));
    Answer::to(basic).await.is_problem(401);

    // None of that has made a call, or kept the right one out.
    assert_eq!(esther.json("/calls").await["calls"], json!([]));
    assert!(esther.metric("esther_webhooks_refused_total").await >= 60.0);
    let right = deliver(&carrier, &body, &token()).await;
    assert_eq!(right.status, 200, "{right:?}");
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&[CALLER, CALLED, SECRET, "a1b2c3d4"]);
}

/// A verdict about a token issued `ahead` seconds from now, given within that same second.
async fn issued(carrier: &FakeVonage, ahead: i64) -> u16 {
    for _ in 0..50 {
        let body = fresh();
        let now = Timestamp::now().as_second();
        let token = sign(carrier, &body).issued_at(now + ahead);
        let reply = deliver(carrier, &body, &token).await;
        if Timestamp::now().as_second() == now {
            return reply.status;
        }
        // A second went by: the verdict may be about another age.
    }
    panic!("the machine is too slow to ask within a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_of_another_time_are_refused() {
    let esther = service().await;
    let carrier = carrier(&esther);
    for (ahead, status) in [
        (-301, 401),
        (-300, 200),
        (0, 200),
        (30, 200),
        (31, 401),
        (86_400, 401),
    ] {
        assert_eq!(issued(&carrier, ahead).await, status, "{ahead} s");
    }
    let body = fresh();
    for odd in [i64::MIN, i64::MAX, 0, -1] {
        refused(
            &deliver(&carrier, &body, &sign(&carrier, &body).issued_at(odd)).await,
            "odd",
        );
    }
    esther.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_as_before_and_a_replay_refused() {
    let esther = service().await;
    let carrier = carrier(&esther);
    let body = fresh();
    let token = sign(&carrier, &body);
    let first = deliver(&carrier, &body, &token).await;
    assert_eq!(first.status, 200);
    let again = deliver(&carrier, &body, &token).await;
    assert_eq!(
        (again.status, again.body),
        (200, first.body.clone()),
        "the very same answer"
    );

    // The id of a token is good for one body.
    let other = fresh();
    let jti = Uuid::new_v4().to_string();
    let one = sign(&carrier, &body).id(Some(&jti));
    assert_eq!(deliver(&carrier, &body, &one).await.status, 200);
    let two = sign(&carrier, &other).id(Some(&jti));
    refused(&deliver(&carrier, &other, &two).await, "another body");
    refused(
        &deliver(&carrier, &other, &one).await,
        "a body that was not signed",
    );
    let elsewhere = carrier
        .deliver("/webhooks/events", body.clone(), Some(&one.build()))
        .await;
    refused(&elsewhere.expect("an answer"), "another address");

    // The signature of a GET does not cover its query.
    let token = sign(&carrier, b"").payload_hash(None).build();
    let ask = async |uuid: &str| {
        let path = format!("{ANSWER}?uuid={uuid}&from={CALLER}&to={CALLED}");
        let request = esther.request("GET", &path);
        Answer::to(request.bearer_auth(&token)).await
    };
    let first = ask("get-1").await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(ask("get-1").await.body, first.body);
    ask("get-2").await.is_problem(401);

    // The same event twice, with tokens of its own each time.
    let event = json!({"uuid": "get-1", "status": "ringing", "direction": "inbound"});
    let event = Bytes::from(event.to_string());
    for _ in 0..2 {
        let token = sign(&carrier, &event).build();
        let reply = carrier
            .deliver("/webhooks/events", event.clone(), Some(&token))
            .await;
        let reply = reply.expect("an answer");
        assert!(
            matches!(reply.status, 200 | 204) && reply.body.is_empty(),
            "{reply:?}"
        );
    }
    esther.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_nonsense_is_survived() {
    let esther = service().await;
    let carrier = carrier(&esther);
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{\"uuid\":17}",
        b"{\"uuid\":\"\"}",
        b"{\"status\":{},\"uuid\":[\"a\"],\"headers\":7}",
        b"{\"uuid\":\"../../etc/passwd\",\"from\":null,\"to\":{}}",
    ];
    for path in [ANSWER, "/webhooks/events", "/outbound/webhooks/answer"] {
        for body in bodies {
            let token = sign(&carrier, body).build();
            let reply = carrier
                .deliver(path, body, Some(&token))
                .await
                .expect("an answer");
            let text = String::from_utf8_lossy(body);
            assert!(
                matches!(reply.status, 200 | 204 | 400),
                "{path} {text}: {reply:?}"
            );
            if reply.status == 400 {
                assert_eq!(
                    reply.content_type.as_deref(),
                    Some("application/problem+json")
                );
            }
        }
    }
    let huge = vec![b' '; 70 * 1024];
    let token = sign(&carrier, &huge).build();
    let reply = carrier
        .deliver(ANSWER, huge, Some(&token))
        .await
        .expect("an answer");
    assert_eq!(reply.status, 413, "{reply:?}");
    let request = esther.request("PUT", ANSWER);
    Answer::to(request).await.is_problem(405);
    assert_eq!(esther.get("/health").await.status, 200);
    esther.stop().await.went_well();
}

/// Unsigned webhooks are for a service that only this machine reaches.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_webhooks_are_believed_on_loopback_alone() {
    let near = Launch::local().start().await;
    let far = Launch::local().set("PUBLIC_URL", "https://esther.example.org");
    let far = far
        .set("ESTHER_API_TOKEN", "a-token-of-the-black-box")
        .start()
        .await;
    let reply = near
        .carrier()
        .deliver(ANSWER, fresh(), None)
        .await
        .expect("an answer");
    assert_eq!(reply.status, 200);
    let reply = far
        .carrier()
        .deliver(ANSWER, fresh(), None)
        .await
        .expect("an answer");
    refused(&reply, "unsigned from anywhere");

    // A public address is what the carrier is told.
    let secret = json!({"apiKey": "a1b2c3d4", "apiSecret": "hush-hush-hush"});
    let set = far
        .request("POST", "/configure")
        .bearer_auth("a-token-of-the-black-box");
    let set = Answer::to(
        set.header("content-type", "application/json")
            .body(secret.to_string()),
    )
    .await;
    assert_eq!(set.status, 200, "{set:?}");
    let reply = far
        .carrier()
        .deliver(ANSWER, fresh(), None)
        .await
        .expect("an answer");
    refused(&reply, "an account alone verifies nothing");
    near.stop().await.went_well();
    let ended = far.stop().await;
    ended.went_well();
    ended.says_nothing_of(&["hush-hush", "a-token-of-the-black-box", CALLER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_carrier_is_told_the_public_address() {
    let launch = Launch::local().set("PUBLIC_URL", "https://esther.example.org/");
    let launch = launch.set("VONAGE_SIGNATURE_SECRET", SECRET);
    let esther = launch
        .set("ESTHER_API_TOKEN", "a-token-of-the-black-box")
        .start()
        .await;
    let carrier = carrier(&esther);
    let body = fresh();
    let reply = deliver(&carrier, &body, &sign(&carrier, &body)).await;
    assert!(reply.took < Duration::from_secs(5), "{reply:?}");
    let flow: Value = serde_json::from_slice(&reply.body).expect("JSON");
    let connect = &flow[0];
    let socket = connect["endpoint"][0]["uri"].as_str().unwrap_or_default();
    assert!(
        socket.starts_with("wss://esther.example.org/socket?channel="),
        "{flow}"
    );
    assert_eq!(
        connect["eventUrl"],
        json!(["https://esther.example.org/webhooks/events"])
    );
    esther.stop().await.went_well();
}
