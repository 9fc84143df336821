//! The fake forgives nothing: whatever is wrong is refused, and noted.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::testkit::vonage::Options;

const APPLICATION: &str = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab";

/// A carrier, its REST interface, and a client that can do wrong.
struct Wrong {
    carrier: FakeVonage,
    rest: RestServer,
    client: reqwest::Client,
}

impl Wrong {
    async fn new() -> Self {
        let carrier = FakeVonage::new(Options::new("http://127.0.0.1:9"));
        let options = RestOptions::new().unwrap();
        Self {
            rest: carrier.serve_rest(options).await.unwrap(),
            carrier,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        let key = self.rest.key().private_pem();
        let key = match header.alg {
            Algorithm::HS256 => EncodingKey::from_secret(key.as_bytes()),
            _ => EncodingKey::from_rsa_pem(key.as_bytes()).unwrap(),
        };
        jsonwebtoken::encode(header, claims, &key).unwrap()
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> u16 {
        let url = format!("{}{path}", self.rest.base_url());
        let mut request = self.client.request(method.parse().unwrap(), url);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json");
            request = request.body(body.to_string());
        }
        request.send().await.unwrap().status().as_u16()
    }
}

fn claims(jti: &str) -> Value {
    let now = clock::wall().as_second();
    json!({"application_id": APPLICATION, "jti": jti, "iat": now, "exp": now + 300})
}

/// Vonage checklist 65.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_anything_wrong_is_refused() {
    let wrong = Wrong::new().await;
    let good = Header::new(Algorithm::RS256);
    let token = wrong.sign(&good, &claims("a"));
    assert_eq!(wrong.ask("GET", "/v1/calls", &token, None).await, 200);
    assert_eq!(
        wrong.ask("GET", "/v1/calls", &token, None).await,
        200,
        "it may be used again"
    );
    assert_eq!(wrong.carrier.violations(), []);

    let now = clock::wall().as_second();
    let changes: [(&str, Value); 9] = [
        ("application_id", json!("another")),
        ("application_id", Value::Null),
        ("jti", Value::Null),
        ("jti", json!("a")),
        ("iat", Value::Null),
        ("exp", Value::Null),
        ("exp", json!(now + 10)),
        ("exp", json!(now + 86_500)),
        ("iat", json!(now + 60)),
    ];
    let mut tokens = vec![String::new(), "a.b.c".to_owned()];
    for (at, (key, value)) in changes.into_iter().enumerate() {
        let mut claims = claims(&format!("fresh-{at}"));
        // So that a repeated id is that of another token.
        claims["iat"] = json!(now - 1);
        claims[key] = value;
        tokens.push(wrong.sign(&good, &claims));
    }
    tokens.push(wrong.sign(&Header::new(Algorithm::HS256), &claims("b")));
    tokens.push(wrong.sign(&Header::new(Algorithm::RS384), &claims("c")));
    let mut untyped = good.clone();
    untyped.typ = None;
    tokens.push(wrong.sign(&untyped, &claims("d")));
    let stranger = Wrong::new().await;
    tokens.push(stranger.sign(&good, &claims("e")));
    for (nth, token) in tokens.iter().enumerate() {
        let status = wrong.ask("GET", "/v1/calls", token, None).await;
        assert_eq!(
            (status, wrong.carrier.violations().len()),
            (401, nth + 1),
            "{token}"
        );
    }
}

/// Vonage checklist 67.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_call_with_anything_wrong_is_refused() {
    let wrong = Wrong::new().await;
    let token = wrong.sign(&Header::new(Algorithm::RS256), &claims("a"));
    let right = json!({
        "to": [{"type": "phone", "number": "12125550101"}],
        "from": {"type": "phone", "number": "442079460000"},
        "answer_url": ["http://127.0.0.1:9/answer"],
    });
    let talk = json!([{"action": "talk", "text": "Hello."}]);
    let machines = |value: Value| json!({"advanced_machine_detection": value});
    for change in [
        json!({"to": []}),
        json!({"to": [{"type": "phone", "number": "+12125550101"}]}),
        json!({"to": [{"type": "phone", "number": "123456"}]}),
        json!({"to": [{"type": "phone", "number": "12125550101", "x": 1}]}),
        json!({"to": {"type": "phone", "number": "12125550101"}}),
        json!({"from": null, "random_from_number": false}),
        json!({"random_from_number": true}),
        json!({"from": {"type": "sip", "number": "442079460000"}}),
        json!({"ncco": talk}),
        json!({"answer_url": "http://127.0.0.1:9/answer"}),
        json!({"answer_url": []}),
        json!({"answer_method": "PUT"}),
        json!({"event_url": ["x"]}),
        json!({"ringing_timer": 0}),
        json!({"ringing_timer": 121}),
        json!({"length_timer": 86_401}),
        json!({"length_timer": "60"}),
        json!({"machine_detection": "detect"}),
        json!({"machineDetection": "hangup"}),
        machines(json!({"mode": "fast"})),
        machines(json!({"behavior": "stop"})),
        machines(json!({"beepTimeout": 45})),
        machines(json!({"mode": "detect_beep", "beep_timeout": 44})),
        machines(json!({"mode": "detect_beep", "beep_timeout": 121})),
    ] {
        let mut body = right.clone();
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        let order = order::read(&body);
        assert!(order.is_err(), "{change}");
    }
    assert!(order::read(&right).is_ok());
    assert!(order::read(&json!([])).is_err());

    let mut body = right.clone();
    body["ringing_timer"] = json!(121);
    assert_eq!(
        wrong.ask("POST", "/v1/calls", &token, Some(&body)).await,
        400
    );
    assert_eq!(wrong.carrier.violations().len(), 1);
    assert_eq!(wrong.rest.placed(), 0);
}

/// Vonage checklist 74.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_too_fast_is_told_so() {
    let wrong = Wrong::new().await;
    let token = wrong.sign(&Header::new(Algorithm::RS256), &claims("a"));
    // However slow the machine is, some of so many come within a second.
    let asks = (0..200).map(|_| wrong.ask("GET", "/v1/calls", &token, None));
    let statuses = futures::future::join_all(asks).await;
    assert!(statuses.contains(&200) && statuses.contains(&429));
    assert!(!wrong.carrier.violations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_not_found() {
    let wrong = Wrong::new().await;
    let token = wrong.sign(&Header::new(Algorithm::RS256), &claims("a"));
    for path in [
        "/v1/calls/nobody",
        "/v1/calls/nobody/talk",
        "/v2/calls",
        "/",
    ] {
        assert_eq!(wrong.ask("PUT", path, &token, Some(&json!({}))).await, 404);
    }
    assert_eq!(
        wrong
            .ask("GET", "/v1/calls?page_size=101", &token, None)
            .await,
        400
    );
    assert_eq!(
        wrong.ask("GET", "/v1/calls?number=1", &token, None).await,
        400
    );
    assert_eq!(wrong.carrier.violations().len(), 4);
}
