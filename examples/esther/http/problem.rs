//! Errors as `application/problem+json` (RFC 9457), wherever they come from.

use axum::{
    Json,
    body::to_bytes,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use novavoice::{ProviderError, ProviderErrorKind};
use serde_json::{Value, json};

/// What went wrong with a request.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    retry_after: Option<u32>,
    /// Members beside those of every problem.
    more: Vec<(&'static str, Value)>,
}

impl Problem {
    /// A problem, with a sentence fit for whoever sent the request.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after: None,
            more: Vec::new(),
        }
    }

    /// With a member of its own kind.
    pub(crate) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.more.push((name, value));
        self
    }

    /// What was asked for is not there.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// A store did not do what it was asked.
    pub(crate) fn of_store(error: &ProviderError) -> Self {
        tracing::warn!(error = error as &dyn std::error::Error, "a store failed");
        match error.kind() {
            kind if kind.is_retryable() => Self::busy("The store does not answer.", STORE_PAUSE),
            ProviderErrorKind::NotFound | ProviderErrorKind::Unauthorized => Self::busy(
                "The store is not set up: `esther check` says what is missing.",
                STORE_PAUSE,
            ),
            ProviderErrorKind::Protocol => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                error
                    .detail()
                    .unwrap_or("The record cannot be read.")
                    .to_owned(),
            ),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The store failed."),
        }
    }

    /// Not now; to be tried again after `seconds`.
    pub(crate) fn busy(detail: impl Into<String>, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        for (name, value) in self.more {
            body[name] = value;
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Gives errors that others made, the router and the carrier's routes, the same form.
pub(crate) async fn uniform(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).cloned();
    if !(status.is_client_error() || status.is_server_error()) || kind == Some(PROBLEM_JSON) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let said = match to_bytes(body, LONGEST_DETAIL).await {
        Ok(said) if text && !said.is_empty() => String::from_utf8(said.into()).ok(),
        _ => None,
    };
    let detail = said.unwrap_or_else(|| usual_detail(status).to_owned());
    let mut problem = Problem::new(status, detail).into_response();
    for (name, value) in &parts.headers {
        if !matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH) {
            problem.headers_mut().append(name, value.clone());
        }
    }
    problem
}

/// A JSON body. Problems with it never repeat any of it: it may hold secrets.
pub(crate) struct Body(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = Json::<Value>::from_request(request, state);
        let read = tokio::time::timeout(PATIENCE, read).await.map_err(|_| {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "The body did not come in time.",
            )
        })?;
        read.map(|Json(value)| Self(value)).map_err(|rejection| {
            let status = rejection.status();
            let detail = match rejection {
                JsonRejection::MissingJsonContentType(_) => {
                    "Send JSON, with the header `Content-Type: application/json`."
                }
                JsonRejection::JsonSyntaxError(_) | JsonRejection::JsonDataError(_) => {
                    "The body is not valid JSON."
                }
                _ => usual_detail(status),
            };
            Problem::new(status, detail)
        })
    }
}

fn usual_detail(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is nothing at this address.",
        StatusCode::METHOD_NOT_ALLOWED => "This address does not take this method.",
        StatusCode::PAYLOAD_TOO_LARGE => "The body is too large.",
        StatusCode::BAD_REQUEST => "The request cannot be understood.",
        _ => "The request failed.",
    }
}

/// Seconds after which a store may be back.
const STORE_PAUSE: u32 = 5;
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// A sentence; longer texts are no details.
const LONGEST_DETAIL: usize = 500;
/// A body is small and comes at once, or its sender keeps a connection busy for nothing.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
