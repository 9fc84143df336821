//! What the SDK and the service report, as kinds that say what can be done.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::error::{ProviderError, ProviderErrorKind};

/// `error` as an error of `provider`.
///
/// A failed condition, a cancelled transaction and a table that is being changed are
/// [`Conflict`](ProviderErrorKind::Conflict)s, a missing table or index is
/// [`NotFound`](ProviderErrorKind::NotFound). The answer itself, which may hold an item, is not
/// kept.
pub fn failure<E>(provider: &'static str, error: SdkError<E, HttpResponse>) -> ProviderError
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    let (kind, what) = match &error {
        SdkError::ServiceError(context) => {
            let meta = context.err().meta();
            let code = meta.code().unwrap_or_default();
            let status = context.raw().status().as_u16();
            let kind = by_code(code).unwrap_or_else(|| by_status(status));
            return ProviderError::new(provider, kind).with_detail(describe(
                code,
                meta.message().unwrap_or_default(),
                status,
            ));
        }
        SdkError::TimeoutError(_) => (ProviderErrorKind::TimedOut, "no answer in time"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (ProviderErrorKind::TimedOut, "no connection in time")
        }
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_)
            if caused_by_credentials(&error) =>
        {
            (
                ProviderErrorKind::Unauthorized,
                "no AWS credentials could be loaded",
            )
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            (ProviderErrorKind::Unavailable, "the connection failed")
        }
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) => (
            ProviderErrorKind::Invalid,
            "the request could not be made; check the region and the endpoint",
        ),
        _ => (ProviderErrorKind::Unavailable, "the answer was unreadable"),
    };
    let told = ProviderError::new(provider, kind).with_detail(what);
    match error.into_source() {
        Ok(source) => told.with_source(source),
        Err(_) => told,
    }
}

/// The exceptions of the service (DynamoDB developer guide, "Error handling", and the common
/// errors of the API reference).
fn by_code(code: &str) -> Option<ProviderErrorKind> {
    use ProviderErrorKind as Kind;
    Some(match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "LimitExceededException" => Kind::Throttled { retry_after: None },
        "ConditionalCheckFailedException"
        | "TransactionCanceledException"
        | "TransactionConflictException"
        | "TransactionInProgressException"
        | "ReplicatedWriteConflictException"
        | "ResourceInUseException" => Kind::Conflict,
        "ResourceNotFoundException" | "TableNotFoundException" | "IndexNotFoundException" => {
            Kind::NotFound
        }
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId" => Kind::Unauthorized,
        "ValidationException"
        | "SerializationException"
        | "ItemCollectionSizeLimitExceededException" => Kind::Invalid,
        "InternalServerError" | "InternalFailure" | "ServiceUnavailable" => Kind::Unavailable,
        _ => return None,
    })
}

fn by_status(status: u16) -> ProviderErrorKind {
    match status {
        401 | 403 => ProviderErrorKind::Unauthorized,
        429 => ProviderErrorKind::Throttled { retry_after: None },
        408 | 500.. => ProviderErrorKind::Unavailable,
        _ => ProviderErrorKind::Protocol,
    }
}

fn describe(code: &str, message: &str, status: u16) -> String {
    let code = match code {
        "" => "an unnamed error",
        code => code,
    };
    match message.trim() {
        "" => format!("{code}, HTTP status {status}"),
        message => {
            let end = message.floor_char_boundary(MAX_MESSAGE);
            format!("{code}: {}", &message[..end])
        }
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

/// How much of the service's words is passed on.
const MAX_MESSAGE: usize = 300;
