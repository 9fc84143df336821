//! What placing calls needs of a carrier.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use super::Voicemail;
use crate::{
    call::{CallId, CallStatus, Outcome},
    error::ProviderError,
    lead::{Lead, PhoneNumber},
};

/// A carrier, as whoever places calls sees it.
#[async_trait]
pub trait Line: fmt::Debug + Send + Sync + 'static {
    /// Places a call. Answers once the carrier has taken it, not when somebody answers.
    ///
    /// # Errors
    ///
    /// Nothing was placed when it [did nothing](crate::ProviderErrorKind::did_nothing). After any
    /// other it may have been. The carrier is asked once: see [`Tries`](super::Tries).
    async fn dial(&self, order: &Order) -> Result<CallId, ProviderError>;

    /// The calls that we placed to this number from `since` on, as far as the carrier knows them,
    /// oldest first.
    async fn find(&self, to: &PhoneNumber, since: Timestamp) -> Result<Vec<Placed>, ProviderError>;

    /// How far a call has come, if the carrier knows it.
    async fn look(&self, call: &CallId) -> Result<Option<Placed>, ProviderError>;
}

/// A call to be placed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Order {
    /// Names this attempt, and no other.
    pub attempt: String,
    /// The campaign; `None` for a call by hand.
    pub campaign: Option<String>,
    /// Whom to call.
    pub to: PhoneNumber,
    /// What is known of them.
    pub lead: Option<Lead>,
    /// What is done when a machine answers.
    pub voicemail: Voicemail,
    /// The version of the prompt; `None`: the active one.
    pub prompt_version: Option<String>,
}

/// A call as the carrier knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placed {
    /// Its id.
    pub call: CallId,
    /// How it ended; `None` while it goes on.
    pub end: Option<PlacedEnd>,
}

/// How a call ended, as far as the carrier knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlacedEnd {
    /// How it ended.
    pub status: CallStatus,
    /// What came of it, as far as that tells.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// The number itself is at fault: nobody will ever be reached there.
    pub bad_number: bool,
}

impl Placed {
    /// A call that goes on.
    #[must_use]
    pub const fn live(call: CallId) -> Self {
        Self { call, end: None }
    }

    /// A call that is over.
    #[must_use]
    pub const fn over(
        call: CallId,
        status: CallStatus,
        outcome: Outcome,
        at: Timestamp,
        bad_number: bool,
    ) -> Self {
        let end = PlacedEnd {
            status,
            outcome,
            at,
            bad_number,
        };
        Self {
            call,
            end: Some(end),
        }
    }
}
