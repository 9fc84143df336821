//! Webhooks on their way to the service: signed, timed, and tried a second time.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{RequestBuilder, header};
use serde_json::Value;

use super::{Carrier, Duplicates, PlaceError, Signer};
use crate::clock;

/// A response to a webhook.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
    /// How long it took to come.
    pub took: Duration,
}

/// An event webhook that was posted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Posted {
    /// What was posted.
    pub body: Value,
    /// The HTTP status of the last response; `None` when none came.
    pub status: Option<u16>,
    /// How long the last response took.
    pub took: Duration,
}

/// Times of the reference: connecting 1 s, events 10 s, the answer 5 s.
pub(super) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        // Everything is plain HTTP here, also where the machine has no certificates.
        .tls_certs_only([])
        .connect_timeout(Duration::from_secs(1))
        .timeout(Duration::from_secs(10))
        .build()
        // Without roots of trust there is nothing in a client that can fail to build.
        .unwrap_or_default()
}

impl Carrier {
    /// Posts `body` once with the given bearer token.
    pub(super) async fn post(
        &self,
        url: &str,
        body: Bytes,
        token: Option<String>,
    ) -> Result<Reply, PlaceError> {
        let request = self
            .client
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        send(request, token.as_deref())
            .await
            .map_err(PlaceError::Unreachable)
    }

    /// Fetches the answer: by GET with `fields` as the query, or by POST with them as JSON.
    pub(super) async fn answer(
        &self,
        url: &str,
        fields: &Value,
        get: bool,
    ) -> Result<Reply, PlaceError> {
        let body = Bytes::from(fields.to_string());
        let (request, token) = if get {
            let hash = self.options.hash_get;
            let token = self.signer.as_ref().map(|s| bodiless(s, hash));
            let query: Vec<(&str, &str)> = fields
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
                .collect();
            (self.client.get(url).query(&query), token)
        } else {
            let token = self.signer.as_ref().map(|s| s.sign(&body));
            let request = self
                .client
                .post(url)
                .header(header::CONTENT_TYPE, "application/json")
                .body(body);
            (request, token)
        };
        let request = request.timeout(Duration::from_secs(5));
        let reply = twice(request, token.as_deref(), &[429, 503, 504]).await?;
        if (200..300).contains(&reply.status) {
            Ok(reply)
        } else {
            Err(PlaceError::Refused {
                status: reply.status,
                body: String::from_utf8_lossy(&reply.body).into_owned(),
            })
        }
    }

    /// Posts an event, as often as the options say, each with a second try after a failure.
    /// Returns the response to the first delivery.
    pub(super) async fn event(&self, url: &str, body: &Value) -> Result<Reply, PlaceError> {
        let bytes = Bytes::from(body.to_string());
        let sign = || self.signer.as_ref().map(|s| s.sign(&bytes));
        let deliver = |token: Option<String>| {
            let request = self
                .client
                .post(url)
                .header(header::CONTENT_TYPE, "application/json")
                .body(bytes.clone());
            async move { twice(request, token.as_deref(), &[429, 502, 503, 504]).await }
        };
        let token = sign();
        let reply = deliver(token.clone()).await;
        match self.options.duplicates {
            Duplicates::None => reply,
            Duplicates::SameToken => deliver(token).await.and(reply),
            Duplicates::FreshToken => deliver(sign()).await.and(reply),
        }
    }

    /// The token of a request without a body.
    pub(super) fn upgrade_token(&self) -> Option<String> {
        self.signer.as_ref().map(|signer| bodiless(signer, false))
    }
}

fn bodiless(signer: &Signer, hash: bool) -> String {
    let token = signer.token(b"");
    if hash {
        token.build()
    } else {
        token.payload_hash(None).build()
    }
}

/// A lost response and a status of `again` are worth the one further attempt that Vonage makes.
async fn twice(
    request: RequestBuilder,
    token: Option<&str>,
    again: &[u16],
) -> Result<Reply, PlaceError> {
    let second = request.try_clone();
    let first = send(request, token).await;
    let failed = match &first {
        Ok(reply) => again.contains(&reply.status),
        Err(_) => true,
    };
    match second {
        Some(second) if failed => send(second, token).await,
        _ => first,
    }
    .map_err(PlaceError::Unreachable)
}

async fn send(request: RequestBuilder, token: Option<&str>) -> Result<Reply, reqwest::Error> {
    let asked = clock::now();
    let request = match token {
        Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    };
    let response = request.send().await?;
    let status = response.status().as_u16();
    let content_type = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let body = response.bytes().await?;
    Ok(Reply {
        status,
        content_type,
        body,
        took: clock::now().saturating_duration_since(asked),
    })
}
