//! What the REST interface refuses, in the many forms in which it says so.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::KeyError;
use crate::error::{ProviderError, ProviderErrorKind};

/// A request that came to nothing, or perhaps to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestError {
    /// The carrier answered, and refused.
    #[error(transparent)]
    Refused(Box<ApiProblem>),
    /// No connection: nothing was sent.
    #[error("the carrier cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// No answer in time: it may have happened.
    #[error("the carrier did not answer in time")]
    TimedOut,
    /// The connection broke before there was an answer: it may have happened.
    #[error("the connection to the carrier broke")]
    Broken(#[source] reqwest::Error),
    /// An answer that says yes, but cannot be read: it has probably happened.
    #[error("the carrier's answer cannot be understood: {0}")]
    Answer(&'static str),
    /// The private key cannot sign.
    #[error("the private key cannot be used: {0}")]
    Key(#[from] KeyError),
    /// The token could not be made.
    #[error("the token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// An argument that the carrier would refuse: nothing was sent.
    #[error("{0}")]
    Argument(String),
}

impl RestError {
    /// Whether the request may have been carried out all the same. A call must then be looked up
    /// before another one is placed.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.status >= 500,
            Self::TimedOut | Self::Broken(_) | Self::Answer(_) => true,
            Self::Unreachable(_) | Self::Key(_) | Self::Sign(_) | Self::Argument(_) => false,
        }
    }

    /// How long the carrier asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after,
            _ => None,
        }
    }

    /// What the carrier said, where it answered.
    #[must_use]
    pub fn problem(&self) -> Option<&ApiProblem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether it may pass by itself.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Refused(problem) => matches!(problem.status, 429 | 500 | 502..=504),
            Self::Unreachable(_) | Self::TimedOut | Self::Broken(_) => true,
            Self::Answer(_) | Self::Key(_) | Self::Sign(_) | Self::Argument(_) => false,
        }
    }

    fn kind(&self) -> ProviderErrorKind {
        match self {
            Self::Refused(problem) => problem.means(),
            Self::Unreachable(_) => ProviderErrorKind::Unreachable,
            Self::TimedOut => ProviderErrorKind::TimedOut,
            Self::Broken(_) => ProviderErrorKind::Closed,
            Self::Answer(_) => ProviderErrorKind::Protocol,
            Self::Key(_) | Self::Sign(_) | Self::Argument(_) => ProviderErrorKind::Invalid,
        }
    }
}

impl From<RestError> for ProviderError {
    fn from(error: RestError) -> Self {
        Self::new("vonage", error.kind())
            .with_detail(error.to_string())
            .with_source(error)
    }
}

/// A refusal of the carrier, as far as it explained itself. Numbers in its words are hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiProblem {
    /// The HTTP status.
    pub status: u16,
    /// The `type`: a word, an address or a number.
    pub kind: Option<String>,
    /// A short title.
    pub title: Option<String>,
    /// A sentence.
    pub detail: Option<String>,
    /// Parameters that are wrong, by their names, and why.
    pub invalid: Vec<(String, String)>,
    /// Names the request to Vonage's support.
    pub trace: Option<String>,
    /// How long to wait before another try.
    pub retry_after: Option<Duration>,
}

impl ApiProblem {
    /// Reads an answer that is no success. Whatever the body is, the status counts.
    #[must_use]
    pub fn read(status: u16, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| match body.get(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(discreet(text)),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let invalid = body.get("invalid_parameters").and_then(Value::as_array);
        let member = |value: &Value, key: &str| {
            let text = value.get(key).and_then(Value::as_str);
            text.map(discreet).unwrap_or_default()
        };
        let trace = headers.get(TRACE).and_then(|value| value.to_str().ok());
        Self {
            status,
            kind: text("type"),
            title: text("title").or_else(|| text("error_title")),
            detail: text("detail"),
            invalid: invalid
                .into_iter()
                .flatten()
                .take(MAX_INVALID)
                .map(|value| (member(value, "name"), member(value, "reason")))
                .collect(),
            trace: trace.map(shortened),
            retry_after: headers
                .get(RETRY_AFTER)
                .and_then(|value| retry_after(value.to_str().ok()?, now)),
        }
    }

    /// Whether it says that the call is not in a state for the request: over, or not answered.
    #[must_use]
    pub fn is_about_the_state(&self) -> bool {
        let texts = [&self.title, &self.detail];
        let reasons = self.invalid.iter().map(|(_, reason)| reason);
        let said = texts.into_iter().flatten().chain(reasons);
        self.status == 400
            && said.map(|text| text.to_ascii_lowercase()).any(|text| {
                let state = [
                    "state",
                    "status",
                    "completed",
                    "ended",
                    "in progress",
                    "active",
                ];
                state.iter().any(|word| text.contains(word))
            })
    }

    fn means(&self) -> ProviderErrorKind {
        match self.status {
            401 | 403 => ProviderErrorKind::Unauthorized,
            404 | 410 => ProviderErrorKind::NotFound,
            408 => ProviderErrorKind::TimedOut,
            409 => ProviderErrorKind::Conflict,
            429 => ProviderErrorKind::Throttled {
                retry_after: self.retry_after,
            },
            400..500 => ProviderErrorKind::Invalid,
            500.. => ProviderErrorKind::Unavailable,
            _ => ProviderErrorKind::Protocol,
        }
    }
}

impl fmt::Display for ApiProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the carrier answered {}", self.status)?;
        if let Some(said) = self.detail.as_ref().or(self.title.as_ref()) {
            write!(f, ", {said}")?;
        }
        for (name, reason) in &self.invalid {
            write!(f, "; {name}: {reason}")?;
        }
        match &self.trace {
            Some(trace) => write!(f, " (trace {trace})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ApiProblem {}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        // A day is as good as never, and can be added to a time.
        return Some(Duration::from_secs(seconds.min(DAY)));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(at.duration_since(now).try_into().unwrap_or_default())
}

/// Words of the carrier that may be logged: on one line, not too long, and with numbers that
/// might be somebody's hidden.
fn discreet(text: &str) -> String {
    let mut said = String::new();
    let mut digits = String::new();
    let flush = |digits: &mut String, said: &mut String| {
        said.push_str(if digits.len() < 6 { digits } else { "…" });
        digits.clear();
    };
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        flush(&mut digits, &mut said);
        said.push(if c.is_control() { ' ' } else { c });
    }
    flush(&mut digits, &mut said);
    shortened(&said)
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(MAX_TEXT).collect()
}

/// In seconds.
const DAY: u64 = 86_400;
const TRACE: &str = "x-nexmo-trace-id";
const MAX_TEXT: usize = 200;
const MAX_INVALID: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_767_268_800, 0);

    fn read(status: u16, body: &str) -> ApiProblem {
        ApiProblem::read(status, &HeaderMap::new(), body.as_bytes(), NOW)
    }

    /// Vonage checklist 72.
    #[test]
    fn every_shape_of_an_error_is_understood() {
        let validation = read(
            400,
            r#"{"type":400,"title":"Bad Request","invalid_parameters":[{"reason":"must be digits","name":"number"}]}"#,
        );
        assert_eq!(validation.kind.as_deref(), Some("400"));
        assert_eq!(
            validation.to_string(),
            "the carrier answered 400, Bad Request; number: must be digits"
        );
        let auth = read(
            401,
            r#"{"type":"UNAUTHORIZED","error_title":"Unauthorized"}"#,
        );
        assert_eq!(auth.title.as_deref(), Some("Unauthorized"));
        assert_eq!(auth.means(), ProviderErrorKind::Unauthorized);
        let rfc = read(
            403,
            r#"{"type":"https://x/y","title":"Forbidden","detail":"Not yours","instance":"i","invalid_parameters":null}"#,
        );
        assert_eq!(rfc.to_string(), "the carrier answered 403, Not yours");
        let empty = read(404, "");
        assert_eq!(empty.to_string(), "the carrier answered 404");
        assert_eq!(empty.means(), ProviderErrorKind::NotFound);
        let html = read(502, "<html><h1>Bad gateway +12125550101</h1></html>");
        assert_eq!(html.to_string(), "the carrier answered 502");
        for odd in ["[]", "null", "\"x\"", "{\"title\":{}}", "\u{0}"] {
            assert_eq!(read(500, odd).title, None);
        }
    }

    #[test]
    fn numbers_in_the_carriers_words_are_hidden() {
        let problem = read(422, r#"{"detail":"12125550101 is barred, code 1234\nbye"}"#);
        assert_eq!(
            problem.detail.as_deref(),
            Some("… is barred, code 1234 bye")
        );
        assert!(!format!("{problem:?}").contains("5550101"));
    }

    /// Vonage checklist 73: seconds and dates.
    #[test]
    fn a_wait_is_read_in_both_forms() {
        assert_eq!(retry_after(" 7 ", NOW), Some(Duration::from_secs(7)));
        let date = retry_after("Thu, 01 Jan 2026 12:00:05 GMT", NOW);
        assert_eq!(date, Some(Duration::from_secs(5)));
        let past = retry_after("Thu, 01 Jan 2026 11:00:05 GMT", NOW);
        assert_eq!(past, Some(Duration::ZERO));
        assert_eq!(retry_after("soon", NOW), None);
    }
}
