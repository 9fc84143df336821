//! Vonage, as far as one service sees it: signed webhooks and sockets.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use novavoice::telephony::{
    Leg, Telephony,
    vonage::{self, Credentials, Vonage, VonageConfig},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::ServiceExt;

use crate::line::{Server, Socket};

pub(crate) const SECRET: &str = "a-signature-secret-for-tests-0123456789";
pub(crate) const CALL: &str = "63f618634a516f7b86e146edebcf9356";
pub(crate) const CONVERSATION: &str = "CON-f972836a-550f-45fa-956c-12a2ab5b7d22";

pub(crate) struct Carrier {
    pub(crate) vonage: Vonage,
    pub(crate) server: Server,
    router: Router,
}

/// What a webhook got.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The websocket of the NCCO.
    pub(crate) fn endpoint(&self) -> Value {
        assert_eq!(
            (self.status, &*self.content_type),
            (200, "application/json")
        );
        let actions = self.json();
        let last = actions.as_array().unwrap().last().unwrap();
        assert_eq!(last["action"], "connect", "{actions}");
        last["endpoint"][0].clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.status == 200 && self.body.is_empty()
    }

    pub(crate) fn talks(&self) -> bool {
        let actions = self.json();
        actions.as_array().unwrap().len() == 1 && actions[0]["action"] == "talk"
    }
}

pub(crate) fn credentials() -> Credentials {
    Credentials {
        signature_secrets: vec![SECRET.to_owned().into()],
        api_key: Some("a1b2c3d4".to_owned()),
        application_ids: vec!["app-1".to_owned()],
    }
}

impl Carrier {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(set: impl FnOnce(&mut VonageConfig)) -> Self {
        let mut config = VonageConfig::new("https://esther.test");
        config.credentials = credentials();
        set(&mut config);
        let vonage = Vonage::new(config).unwrap();
        let router = vonage::router(&vonage);
        Self {
            vonage,
            server: Server::start(router.clone()),
            router,
        }
    }

    /// Sends a webhook as it is.
    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        authorization: Option<&str>,
        body: impl Into<Body>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(target);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let content_type = response.headers().get("content-type");
        let content_type = content_type
            .map_or("", |it| it.to_str().unwrap())
            .to_owned();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        if status != StatusCode::OK {
            assert_eq!(content_type, "application/problem+json");
        }
        Reply {
            status: status.as_u16(),
            content_type,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Posts a signed webhook.
    pub(crate) async fn post(&self, target: &str, body: &Value) -> Reply {
        let body = body.to_string();
        let authorization = sign(&claims(body.as_bytes()));
        self.send("POST", target, Some(&authorization), body).await
    }

    /// Gets with a signature.
    pub(crate) async fn get(&self, target: &str) -> Reply {
        let authorization = sign(&claims(b""));
        let nothing = Body::empty();
        self.send("GET", target, Some(&authorization), nothing)
            .await
    }

    /// Asks what to do with an inbound call.
    pub(crate) async fn answer(&self) -> Reply {
        self.post("/webhooks/answer", &inbound()).await
    }

    pub(crate) async fn event(&self, event: &Value) -> Reply {
        self.post("/webhooks/events", event).await
    }

    /// Opens the socket that an NCCO asks for, and introduces it.
    pub(crate) async fn open(&self, endpoint: &Value) -> Socket {
        let mut socket = self.server.connect(endpoint["uri"].as_str().unwrap()).await;
        let mut first = endpoint["headers"].clone();
        first["event"] = "websocket:connected".into();
        first["content-type"] = endpoint["content-type"].clone();
        socket.text(&first.to_string()).await;
        socket
    }

    /// An inbound call with its socket.
    pub(crate) async fn call(&self) -> (Socket, Leg) {
        let endpoint = self.answer().await.endpoint();
        let socket = self.open(&endpoint).await;
        (socket, self.vonage.answer().await.unwrap())
    }
}

pub(crate) fn inbound() -> Value {
    json!({
        "uuid": CALL,
        "conversation_uuid": CONVERSATION,
        "from": "447700900000",
        "to": "442079460000",
        "endpoint_type": "phone",
        "region_url": "https://api-us-3.vonage.com",
    })
}

/// An event of the caller's leg.
pub(crate) fn caller(status: &str) -> Value {
    json!({
        "uuid": CALL,
        "conversation_uuid": CONVERSATION,
        "from": "447700900000",
        "to": "442079460000",
        "status": status,
        "direction": "inbound",
        "timestamp": "2026-01-01T12:00:00.000Z",
        "headers": {},
    })
}

/// An event of a socket's leg, with the metadata of its endpoint.
pub(crate) fn socket_leg(status: &str, leg: &str, endpoint: &Value) -> Value {
    json!({
        "uuid": leg,
        "conversation_uuid": CONVERSATION,
        "from": "447700900000",
        "to": endpoint["uri"],
        "status": status,
        "direction": "outbound",
        "timestamp": "2026-01-01T12:00:00.000Z",
        "headers": endpoint["headers"],
    })
}

pub(crate) fn claims(body: &[u8]) -> Value {
    let mut claims = json!({
        "iat": Timestamp::now().as_second(),
        "jti": novavoice::call::CallId::random().to_string(),
        "iss": "Vonage",
        "api_key": "a1b2c3d4",
        "application_id": "app-1",
    });
    if !body.is_empty() {
        let hash: String = Sha256::digest(body)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        claims["payload_hash"] = hash.into();
    }
    claims
}

pub(crate) fn sign(claims: &Value) -> String {
    sign_with(SECRET, claims)
}

pub(crate) fn sign_with(secret: &str, claims: &Value) -> String {
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    let signed = format!("{header}.{claims}");
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    let tag = mac.chain_update(&signed).finalize().into_bytes();
    format!("Bearer {signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag))
}
