//! What can go wrong, said so that the caller knows what to do about it.

use std::{error::Error as StdError, time::Duration};

use serde::{Deserialize, Serialize};

type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// A provider (carrier, model, sink, store) failed.
///
/// `Display` prints this level only; the cause is in [`source`](StdError::source). Branch on
/// [`kind`](Self::kind), which says what can be done.
#[derive(Debug, thiserror::Error)]
#[error("{provider}: {kind}{}", detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct ProviderError {
    provider: &'static str,
    kind: ProviderErrorKind,
    detail: Option<String>,
    #[source]
    source: Option<BoxError>,
}

impl ProviderError {
    /// An error of `kind` that `provider` (a short fixed name such as `nova-sonic`) ran into.
    #[must_use]
    pub fn new(provider: &'static str, kind: ProviderErrorKind) -> Self {
        Self {
            provider,
            kind,
            detail: None,
            source: None,
        }
    }

    /// Adds a sentence that says what happened and, where possible, what to do. It is printed
    /// and logged: no secrets, no personal data.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the underlying cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> &ProviderErrorKind {
        &self.kind
    }

    /// The short name of the provider that failed.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.provider
    }

    /// What happened, where the provider said more than the kind.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

/// What a failure means to whoever has to react to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProviderErrorKind {
    /// The peer closed without being asked. Open again.
    #[error("closed by the peer")]
    Closed,
    /// The session reached its provider's age limit. Roll over with history.
    #[error("session expired")]
    Expired,
    /// Nothing came in where something was due. Open again.
    #[error("timed out")]
    TimedOut,
    /// One side broke the protocol: a bug, ours or theirs. Not retryable.
    #[error("protocol violation")]
    Protocol,
    /// The provider refused the content. At most one more try, with less history.
    #[error("refused by a content policy")]
    Policy,
    /// Too much load. Wait, then open again.
    #[error("throttled")]
    Throttled {
        /// How long the provider asked to wait.
        retry_after: Option<Duration>,
    },
    /// Credentials or permissions are missing. Stop and tell the operator.
    #[error("unauthorized")]
    Unauthorized,
    /// What was asked for does not exist. Stop and tell the operator.
    #[error("not found")]
    NotFound,
    /// A setting or an argument is wrong. Stop and tell the operator.
    #[error("invalid configuration")]
    Invalid,
    /// A stored record changed in the meantime. Read it again.
    #[error("conflict")]
    Conflict,
    /// Out of order for now. Try again.
    #[error("unavailable")]
    Unavailable,
    /// No connection could be made: nothing was asked for. Try again.
    #[error("unreachable")]
    Unreachable,
    /// Something that has no name here. At most one more try.
    #[error("unexpected failure")]
    Unexpected,
}

impl ProviderErrorKind {
    /// Whether another try, perhaps later, can succeed without anybody mending anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Closed
                | Self::Expired
                | Self::TimedOut
                | Self::Throttled { .. }
                | Self::Unavailable
                | Self::Unreachable
        )
    }

    /// Whether the provider has certainly not done what it was asked for. After any other failure
    /// it may have.
    #[must_use]
    pub const fn did_nothing(&self) -> bool {
        matches!(
            self,
            Self::Throttled { .. }
                | Self::Unauthorized
                | Self::NotFound
                | Self::Invalid
                | Self::Unreachable
        )
    }
}
