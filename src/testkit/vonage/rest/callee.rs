//! Those who are called.

use std::time::Duration;

/// Somebody whom the service calls, and what they do. Start from [`Callee::person`] and change
/// what matters with struct update syntax.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built with struct update syntax; the testkit is outside semver"
)]
pub struct Callee {
    /// How long it rings before anything happens.
    pub rings: Duration,
    /// What happens then.
    pub does: Reaction,
    /// When they hang up by themselves, counted from the answer. Default: never.
    pub stays: Option<Duration>,
    /// When the verdict of a detection that was asked for comes, counted from the answer.
    pub verdict: Duration,
}

/// What somebody does whose phone rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the testkit is outside semver")]
pub enum Reaction {
    /// A person answers.
    Answers,
    /// A machine answers, and beeps in the end.
    Records,
    /// The line is busy.
    Busy,
    /// Nobody answers until the ringing timer has run out.
    Ignores,
    /// Cannot be reached, for this reason.
    Unreachable(&'static str),
    /// Refuses, or is refused, for this reason.
    Rejects(&'static str),
    /// The call cannot be placed, for this reason.
    Fails(&'static str),
}

impl Callee {
    /// A person who answers at once and stays on the phone.
    #[must_use]
    pub const fn person() -> Self {
        Self::that(Reaction::Answers)
    }

    /// Somebody who does this.
    #[must_use]
    pub const fn that(does: Reaction) -> Self {
        Self {
            rings: Duration::from_millis(100),
            does,
            stays: None,
            verdict: Duration::from_millis(500),
        }
    }

    /// Hangs up so long after the answer.
    #[must_use]
    pub const fn for_only(mut self, stays: Duration) -> Self {
        self.stays = Some(stays);
        self
    }
}

impl Reaction {
    /// The final status, its detail and its SIP code, where nobody answers.
    pub(in super::super) const fn ending(self) -> Option<(&'static str, &'static str, u16)> {
        Some(match self {
            Self::Answers | Self::Records => return None,
            Self::Busy => ("busy", "", 486),
            Self::Ignores => ("unanswered", "timeout", 487),
            Self::Unreachable(why) => ("unanswered", why, 480),
            Self::Rejects(why) => ("rejected", why, 603),
            Self::Fails(why) => ("failed", why, 503),
        })
    }
}
