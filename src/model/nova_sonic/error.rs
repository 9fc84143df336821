//! What the SDK and the service report, as kinds that say what can be done.
//!
//! Bedrock answers most failures inside a stream with `ValidationException`, so the text decides.
//! It comes behind a request id in more than one layout; it is searched for fragments, in lower
//! case, never compared.

use std::{error::Error as StdError, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_bedrockruntime::{
    config::http::HttpResponse,
    error::SdkError,
    operation::{
        RequestId, invoke_model_with_bidirectional_stream::InvokeModelWithBidirectionalStreamError,
    },
    types::error::InvokeModelWithBidirectionalStreamOutputError,
};

use crate::error::{ProviderError, ProviderErrorKind};

/// The name under which this provider reports.
pub(super) const PROVIDER: &str = "nova-sonic";

/// An error of `kind` with a sentence about it.
pub(super) fn failure(kind: ProviderErrorKind, detail: impl Into<String>) -> ProviderError {
    ProviderError::new(PROVIDER, kind).with_detail(detail)
}

/// A session that did not open.
pub(super) fn at_open(
    error: SdkError<InvokeModelWithBidirectionalStreamError, HttpResponse>,
) -> ProviderError {
    let request_id = error.request_id().map(str::to_owned);
    let (kind, what) = match &error {
        SdkError::ServiceError(context) => {
            let response = context.raw();
            let meta = context.err().meta();
            let said = Said {
                code: meta.code().unwrap_or_default(),
                message: meta.message().unwrap_or_default(),
                status: response.status().as_u16(),
            };
            let retry_after = response
                .headers()
                .get("retry-after")
                .and_then(|seconds| seconds.trim().parse().ok())
                .map(Duration::from_secs);
            (said.at_open(retry_after), said.describe())
        }
        SdkError::TimeoutError(_) => (ProviderErrorKind::TimedOut, "no answer".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (ProviderErrorKind::TimedOut, "no connection".to_owned())
        }
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_)
            if caused_by_credentials(&error) =>
        {
            (
                ProviderErrorKind::Unauthorized,
                "no AWS credentials could be loaded".to_owned(),
            )
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => (
            ProviderErrorKind::Unavailable,
            "the connection failed".to_owned(),
        ),
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) => (
            ProviderErrorKind::Invalid,
            "the request could not be made; check the region and the endpoint".to_owned(),
        ),
        _ => (
            ProviderErrorKind::Unavailable,
            "the answer was unreadable".to_owned(),
        ),
    };
    finish(kind, what, request_id.as_deref(), error)
}

/// A session that was open and broke. `request_id` is the one that its opening was given.
pub(super) fn in_stream<R: std::fmt::Debug + Send + Sync + 'static>(
    error: SdkError<InvokeModelWithBidirectionalStreamOutputError, R>,
    request_id: Option<&str>,
) -> ProviderError {
    use InvokeModelWithBidirectionalStreamOutputError as Output;

    let (kind, what) = match &error {
        SdkError::ServiceError(context) => {
            let error = context.err();
            let mut message = error.meta().message().unwrap_or_default().to_owned();
            let code = match error {
                Output::InternalServerException(_) => "InternalServerException",
                Output::ModelStreamErrorException(inner) => {
                    if let Some(original) = inner.original_message() {
                        message.push_str("; originally: ");
                        message.push_str(original);
                    }
                    "ModelStreamErrorException"
                }
                Output::ValidationException(_) => "ValidationException",
                Output::ThrottlingException(_) => "ThrottlingException",
                Output::ModelTimeoutException(_) => "ModelTimeoutException",
                Output::ServiceUnavailableException(_) => "ServiceUnavailableException",
                other => other.meta().code().unwrap_or("an unknown exception"),
            };
            let said = Said {
                code,
                message: &message,
                status: 0,
            };
            (said.in_stream(), said.describe())
        }
        SdkError::DispatchFailure(_) => (
            ProviderErrorKind::Closed,
            "the connection was lost".to_owned(),
        ),
        _ => (
            ProviderErrorKind::Closed,
            "the stream became unreadable".to_owned(),
        ),
    };
    finish(kind, what, request_id, error)
}

/// Whether the connection itself is to blame, so that the next session should use another.
pub(super) fn blames_connection<E, R>(error: &SdkError<E, R>) -> bool {
    !matches!(
        error,
        SdkError::ServiceError(_) | SdkError::ConstructionFailure(_)
    )
}

/// Puts the parts together. The cause is kept without the raw response: that may hold speech.
fn finish<E, R>(
    kind: ProviderErrorKind,
    mut detail: String,
    request_id: Option<&str>,
    error: SdkError<E, R>,
) -> ProviderError
where
    E: StdError + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    if let Some(id) = request_id.filter(|id| !detail.contains(id)) {
        detail.push_str(" (request id ");
        detail.push_str(id);
        detail.push(')');
    }
    let failure = failure(kind, detail);
    match error.into_source() {
        Ok(source) => failure.with_source(source),
        Err(_) => failure,
    }
}

fn caused_by_credentials(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<CredentialsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What the service said about a failure.
#[derive(Clone, Copy)]
struct Said<'a> {
    /// The name of the exception.
    code: &'a str,
    message: &'a str,
    /// Of the HTTP response; 0 inside a stream.
    status: u16,
}

impl Said<'_> {
    fn describe(&self) -> String {
        let code = if self.code.is_empty() {
            "an unnamed error"
        } else {
            self.code
        };
        let message = self.message.trim();
        if message.is_empty() {
            return format!("{code}, HTTP status {}", self.status);
        }
        let end = message.floor_char_boundary(MAX_MESSAGE);
        format!("{code}: {}", &message[..end])
    }

    fn at_open(&self, retry_after: Option<Duration>) -> ProviderErrorKind {
        use ProviderErrorKind as Kind;
        match self.code {
            "ThrottlingException" => Kind::Throttled { retry_after },
            "AccessDeniedException" => Kind::Unauthorized,
            "ResourceNotFoundException" => Kind::NotFound,
            "ServiceQuotaExceededException" => Kind::Invalid,
            // At the opening it is not the session's age that ran out.
            "ModelTimeoutException" => Kind::TimedOut,
            "ValidationException" => match self.by_message() {
                Some(kind) => kind,
                None => Kind::Invalid,
            },
            "ServiceUnavailableException"
            | "ModelNotReadyException"
            | "ModelErrorException"
            | "ModelStreamErrorException"
            | "InternalServerException" => Kind::Unavailable,
            _ => match self.status {
                _ if CREDENTIALS.iter().any(|code| self.code.starts_with(code)) => {
                    Kind::Unauthorized
                }
                401 | 403 => Kind::Unauthorized,
                404 => Kind::NotFound,
                408 => Kind::TimedOut,
                429 => Kind::Throttled { retry_after },
                424 | 500.. => Kind::Unavailable,
                _ => Kind::Invalid,
            },
        }
    }

    fn in_stream(&self) -> ProviderErrorKind {
        use ProviderErrorKind as Kind;
        match self.code {
            "ModelTimeoutException" => Kind::Expired,
            "ThrottlingException" => Kind::Throttled { retry_after: None },
            // What no row names is a protocol error: the same again would fail the same way.
            "ValidationException" => self.by_message().unwrap_or(Kind::Protocol),
            "InternalServerException"
            | "ModelStreamErrorException"
            | "ServiceUnavailableException" => self.by_message().unwrap_or(Kind::Unavailable),
            _ => self.by_message().unwrap_or(Kind::Unexpected),
        }
    }

    /// The kind that a fragment of the message gives away.
    fn by_message(&self) -> Option<ProviderErrorKind> {
        let message = self.message.to_lowercase();
        MESSAGES
            .iter()
            .find(|(fragments, _)| fragments.iter().all(|f| message.contains(f)))
            .map(|(_, kind)| kind.clone())
    }
}

/// Fragments, all of which must be there, and what they mean; the first row that fits counts.
const MESSAGES: &[(&[&str], ProviderErrorKind)] = {
    use ProviderErrorKind as Kind;
    &[
        (&["timed out in processing the request"], Kind::Expired),
        (&["timed out waiting for audio bytes"], Kind::TimedOut),
        (&["timed out waiting for input events"], Kind::TimedOut),
        (&["internalerrorcode=531"], Kind::Unavailable),
        (&["rst_stream closed stream"], Kind::Unavailable),
        (&["system instability detected"], Kind::Unavailable),
        (&["unexpected error during processing"], Kind::Unavailable),
        // The payload is gone with the session; a new one does not repeat it.
        (&["tool response parsing error"], Kind::Unexpected),
        (&["blocked by our content filters"], Kind::Policy),
        // Not a policy, but the same remedy: once more, with less history.
        (&["chat history is over max limit"], Kind::Policy),
        (&["invalid input request"], Kind::Protocol),
        (&["first content must have", "system"], Kind::Protocol),
        (&["duplicate system content"], Kind::Protocol),
        (&["first message in chat history"], Kind::Protocol),
        (&["chat history should be sent completely"], Kind::Protocol),
        (&["contents must be closed"], Kind::Protocol),
        (&["cannot end content"], Kind::Protocol),
    ]
};

/// Codes that stand for wrong or stale keys; Bedrock models none of them.
const CREDENTIALS: [&str; 6] = [
    "UnrecognizedClient",
    "InvalidSignature",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "IncompleteSignature",
    "MissingAuthenticationToken",
];

/// Enough for every sentence of Amazon's, too little for a log to drown in.
const MAX_MESSAGE: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use ProviderErrorKind as Kind;

    fn in_stream(code: &str, message: &str) -> Kind {
        Said {
            code,
            message,
            status: 0,
        }
        .in_stream()
    }

    /// Nova Sonic checklist 40: each row of the table of messages, in both layouts.
    #[test]
    fn messages_are_understood_wherever_they_stand_and_however_they_are_written() {
        for (message, kind) in [
            (
                "Model has timed out in processing the request. Try again.",
                Kind::Expired,
            ),
            (
                "Timed out waiting for audio bytes or interactive content (55 seconds)",
                Kind::TimedOut,
            ),
            ("Timed out waiting for input events", Kind::TimedOut),
            (
                "InternalErrorCode=531::RST_STREAM closed stream. HTTP/2 error code: NO_ERROR",
                Kind::Unavailable,
            ),
            ("System instability detected. Retry.", Kind::Unavailable),
            ("Tool Response parsing error", Kind::Unexpected),
            (
                "The request was blocked by our content filters.",
                Kind::Policy,
            ),
            ("Chat history is over max limit", Kind::Policy),
            ("Invalid input request, please fix it", Kind::Protocol),
            ("First content must have SYSTEM role", Kind::Protocol),
            ("Duplicate SYSTEM content", Kind::Protocol),
            ("All contents must be closed", Kind::Protocol),
            ("Something that nobody has seen before", Kind::Protocol),
        ] {
            for text in [
                format!("RequestId=7f0c-1 : {message}"),
                format!("7f0c-1: The following errors: 1. {message}"),
                message.to_uppercase(),
                message.to_lowercase(),
            ] {
                assert_eq!(in_stream("ValidationException", &text), kind, "{text}");
            }
        }
    }

    /// Nova Sonic checklist 40: the exceptions whose text does not matter.
    #[test]
    fn exceptions_inside_a_stream_say_whether_to_open_again() {
        assert_eq!(in_stream("ModelTimeoutException", ""), Kind::Expired);
        assert_eq!(
            in_stream("ThrottlingException", "slow down"),
            Kind::Throttled { retry_after: None }
        );
        for code in [
            "ModelStreamErrorException",
            "InternalServerException",
            "ServiceUnavailableException",
        ] {
            assert!(in_stream(code, "").is_retryable(), "{code}");
        }
        assert_eq!(in_stream("SomethingNewException", ""), Kind::Unexpected);
        assert_eq!(
            in_stream(
                "ModelStreamErrorException",
                "Model has timed out in processing the request"
            ),
            Kind::Expired
        );
    }

    fn at_open(code: &str, status: u16) -> Kind {
        Said {
            code,
            message: "",
            status,
        }
        .at_open(Some(Duration::from_secs(3)))
    }

    /// Nova Sonic checklist 43: configuration is not worth a second try.
    #[test]
    fn refusals_at_the_opening_tell_configuration_from_load() {
        let throttled = Kind::Throttled {
            retry_after: Some(Duration::from_secs(3)),
        };
        for (code, status, kind) in [
            ("AccessDeniedException", 403, Kind::Unauthorized),
            ("UnrecognizedClientException", 403, Kind::Unauthorized),
            ("ExpiredTokenException", 400, Kind::Unauthorized),
            ("", 403, Kind::Unauthorized),
            ("ResourceNotFoundException", 404, Kind::NotFound),
            ("", 404, Kind::NotFound),
            ("ValidationException", 400, Kind::Invalid),
            ("ServiceQuotaExceededException", 400, Kind::Invalid),
            ("ThrottlingException", 429, throttled.clone()),
            ("", 429, throttled),
            ("ModelNotReadyException", 429, Kind::Unavailable),
            ("ServiceUnavailableException", 503, Kind::Unavailable),
            ("ModelTimeoutException", 408, Kind::TimedOut),
            ("", 502, Kind::Unavailable),
            ("ModelErrorException", 424, Kind::Unavailable),
            ("", 418, Kind::Invalid),
        ] {
            assert_eq!(at_open(code, status), kind, "{code} {status}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let message = "é".repeat(1_000);
        let said = Said {
            code: "ValidationException",
            message: &message,
            status: 400,
        };
        assert!(said.describe().len() < 400);
    }
}
