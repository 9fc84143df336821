//! Holding a lead, so that nobody else works on it at the same time.

use std::time::Duration;

use jiff::Timestamp;

use crate::lead::Lead;

/// How long a claim holds by itself: long enough to be renewed in spite of a slow network, short
/// enough that a crash is noticed soon.
pub const LEASE: Duration = Duration::from_secs(90);

/// Who wants a lead, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claimant {
    /// The worker's name, for people who look at the table. Fences tell workers apart, not names.
    pub owner: String,
    /// The time now.
    pub now: Timestamp,
    /// How long the claim holds unless it is renewed.
    pub lease: Duration,
}

impl Claimant {
    /// `owner`, who wants a lead at `now` for a [`LEASE`].
    #[must_use]
    pub fn new(owner: impl Into<String>, now: Timestamp) -> Self {
        Self {
            owner: owner.into(),
            now,
            lease: LEASE,
        }
    }

    /// The same with another lease.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// When the lease runs out: to the millisecond, as stores keep it.
    pub(crate) fn until(&self) -> Timestamp {
        // A lease past the end of the calendar ends there.
        let until = self.now.checked_add(self.lease).unwrap_or(Timestamp::MAX);
        crate::clock::whole_millis(until)
    }
}

/// A lead that is ours until the lease runs out, or somebody else claims it after that.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claim {
    /// The lead, as it was when it was claimed.
    pub lead: Lead,
    /// Whose claim it is.
    pub owner: String,
    /// Which claim of this lead it is: each is one more than the last one before it. Whatever the
    /// holder does elsewhere on behalf of this claim can carry it, to be told from what an
    /// earlier holder does late.
    pub fence: u64,
    /// When the lease runs out.
    pub until: Timestamp,
}

/// What must still hold for a write to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// Nothing.
    Any,
    /// The lead has this version.
    Version(u64),
    /// The claim with this fence still holds.
    Claim(u64),
}
