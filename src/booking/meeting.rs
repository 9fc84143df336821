//! A meeting, and where meetings are kept.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Busy;
use crate::{error::ProviderError, lead::PhoneNumber};

/// Somebody's time with the host. `Debug` shows when, not with whom.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the schema of a meeting")]
pub struct Meeting {
    /// Names it for good, however often it is moved (RFC 5545, section 3.8.4.7).
    pub uid: String,
    /// How often it was changed (RFC 5545, section 3.8.7.4).
    pub sequence: u32,
    /// From here.
    pub start: Timestamp,
    /// Until here.
    pub end: Timestamp,
    /// Their number.
    pub phone: PhoneNumber,
    /// Their name.
    pub name: Option<String>,
    /// Their church.
    pub church: Option<String>,
    /// Where the invitation goes.
    pub email: Option<String>,
    /// The IANA name of the time zone in which they were told the time.
    pub zone: String,
}

impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meeting")
            .field("uid", &self.uid)
            .field("sequence", &self.sequence)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// The host's calendar.
///
/// # Contract
///
/// A time is given away once: of two who book or move to it at the same moment, from whichever
/// node, one gets [`Conflict`](crate::ProviderErrorKind::Conflict). Starts stand on the grid of
/// [`Hours`](super::Hours), on which different starts never meet.
#[async_trait]
pub trait Calendar: fmt::Debug + Send + Sync + 'static {
    /// What is taken between two times, in any order.
    async fn busy(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Busy>, ProviderError>;

    /// Enters a new meeting. Safe to repeat.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ProviderErrorKind::Conflict) when its time is taken, or its `uid`.
    async fn book(&self, meeting: &Meeting) -> Result<(), ProviderError>;

    /// Gives the meeting of this `uid` another start; answers with it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ProviderErrorKind::NotFound) when there is none,
    /// [`Conflict`](crate::ProviderErrorKind::Conflict) when the time is taken; then it stays
    /// where it was.
    async fn reschedule(&self, uid: &str, start: Timestamp) -> Result<Meeting, ProviderError>;

    /// Takes the meeting out; answers with it, as it was last. None when there is none.
    async fn cancel(&self, uid: &str) -> Result<Option<Meeting>, ProviderError>;

    /// The meetings of this number that are not over at `now`, earliest first.
    async fn of(&self, phone: &PhoneNumber, now: Timestamp) -> Result<Vec<Meeting>, ProviderError>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<C: Calendar + ?Sized> Calendar for Arc<C> {
    async fn busy(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Busy>, ProviderError> {
        (**self).busy(from, until).await
    }

    async fn book(&self, meeting: &Meeting) -> Result<(), ProviderError> {
        (**self).book(meeting).await
    }

    async fn reschedule(&self, uid: &str, start: Timestamp) -> Result<Meeting, ProviderError> {
        (**self).reschedule(uid, start).await
    }

    async fn cancel(&self, uid: &str) -> Result<Option<Meeting>, ProviderError> {
        (**self).cancel(uid).await
    }

    async fn of(&self, phone: &PhoneNumber, now: Timestamp) -> Result<Vec<Meeting>, ProviderError> {
        (**self).of(phone, now).await
    }
}
