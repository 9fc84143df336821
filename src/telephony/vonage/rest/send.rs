//! One request on its way: in its turn, signed, and sent again where that is safe.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Method, Response, header};
use serde_json::Value;
use url::Url;

use super::{
    super::Urgency,
    ApiProblem, Rest, RestError,
    retry::{self, Repeat},
};
use crate::clock;

/// Which limit a request falls under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A call begins.
    Call,
    /// Anything else.
    Request,
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    method: Method,
    url: Url,
    body: Option<Value>,
    need: Need,
    repeat: Repeat,
}

impl Sent {
    /// A request without a body that may be repeated.
    pub(super) const fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            body: None,
            need: Need::Request,
            repeat: Repeat::Safe,
        }
    }

    pub(super) const fn of(mut self, need: Need) -> Self {
        self.need = need;
        self
    }

    pub(super) const fn repeated(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    pub(super) fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

impl Rest {
    /// Sends until there is an answer or no more hope. An empty answer is null.
    pub(super) async fn send(&self, sent: Sent) -> Result<Value, RestError> {
        let body = self.send_for(sent, MAX_ANSWER).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| RestError::Answer("it is no JSON"))
    }

    /// The same, for an answer of up to `most` bytes of any kind.
    pub(super) async fn send_for(&self, sent: Sent, most: usize) -> Result<Bytes, RestError> {
        let mut attempts = 0;
        let mut spent = Duration::ZERO;
        loop {
            match sent.need {
                Need::Call => self.inner.limiter.call().await,
                Need::Request => self.inner.limiter.request(self.urgency(&sent)).await,
            }
            let error = match self.attempt(&sent, most).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            attempts += 1;
            let patience = self.inner.patience;
            let pause = retry::pause(
                &error,
                sent.repeat,
                attempts,
                spent,
                clock::chance(),
                patience,
            );
            let Some(pause) = pause else {
                return Err(error);
            };
            tracing::debug!(%error, attempts, ?pause, "a request to the carrier is sent again");
            spent += pause;
            tokio::time::sleep(pause).await;
        }
    }

    fn urgency(&self, sent: &Sent) -> Urgency {
        match sent.method {
            Method::GET if !self.caller_waits => Urgency::Nobody,
            _ => Urgency::Caller,
        }
    }

    async fn attempt(&self, sent: &Sent, most: usize) -> Result<Bytes, RestError> {
        let token = self.inner.tokens.token(clock::wall());
        let token = token.map_err(RestError::Sign)?;
        let mut request = self
            .inner
            .http
            .request(sent.method.clone(), sent.url.clone())
            .bearer_auth(token)
            .header(header::ACCEPT, "application/json");
        if let Some(body) = &sent.body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.map_err(broken)?;
        let status = response.status();
        let headers = response.headers().clone();
        if status.is_success() {
            return match read(response, most).await? {
                Some(body) => Ok(body),
                None => Err(RestError::Answer("it is too long")),
            };
        }
        if status.as_u16() == 401 {
            self.inner.tokens.forget();
        }
        // What a refusal says is read where it can be; that it is one is known already.
        let body = read(response, MAX_ANSWER).await.ok().flatten();
        let body = body.unwrap_or_default();
        let problem = ApiProblem::read(status.as_u16(), &headers, &body, clock::wall());
        Err(RestError::Refused(Box::new(problem)))
    }
}

/// The body, or `None` when it has more than `most` bytes.
async fn read(mut response: Response, most: usize) -> Result<Option<Bytes>, RestError> {
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        if body.len() + piece.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body.freeze()))
}

fn broken(error: reqwest::Error) -> RestError {
    // The address holds the id of a call.
    let error = error.without_url();
    match () {
        () if error.is_connect() => RestError::Unreachable(error),
        () if error.is_timeout() => RestError::TimedOut,
        () => RestError::Broken(error),
    }
}

/// Far more than a hundred calls.
const MAX_ANSWER: usize = 1024 * 1024;
