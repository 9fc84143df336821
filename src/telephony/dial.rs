//! Calls that we place, and what becomes of them before anybody talks.

use std::time::Duration;

use jiff::Timestamp;

use crate::call::{CallId, CallStatus, Outcome, Party};
#[cfg(feature = "browser")]
use crate::error::{ProviderError, ProviderErrorKind};

/// How a call is placed. Start from the default and assign what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DialOptions {
    /// Replaces the agent's instructions for this call alone.
    pub instructions: Option<String>,
    /// Replaces the agent's greeting for this call alone.
    pub greeting: Option<String>,
    /// Whether the carrier is asked to tell machines from people. Default: no.
    pub detect_machines: bool,
    /// How long it may ring, in whole seconds. Default: as the carrier does.
    pub ringing: Option<Duration>,
    /// How long the call may last, in whole seconds. Default: as the carrier does.
    pub longest: Option<Duration>,
    /// Whether a carrier that refuses for now, or cannot be reached, is asked no second time: for
    /// whoever has to look first whether the call may still be placed. Default: it is asked again
    /// for a while.
    pub only_once: bool,
}

/// A call that the carrier has taken on. Nobody has answered yet; where somebody does, it arrives
/// through [`Telephony::answer`](super::Telephony::answer) like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dialled {
    /// The carrier's id of the call.
    pub id: CallId,
}

impl Dialled {
    /// The call that the carrier named `id`.
    #[must_use]
    pub const fn new(id: CallId) -> Self {
        Self { id }
    }
}

/// Something became of a call that was placed. Each step is reported once, and nothing follows
/// [`Progress::Ended`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CallProgress {
    /// The call.
    pub call: CallId,
    /// Whom it is to.
    pub remote: Option<Party>,
    /// Our own number.
    pub local: Option<Party>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub step: Progress,
}

/// How far a call that was placed has come.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// The carrier has taken it on. Always the first.
    Placed,
    /// It rings.
    Ringing,
    /// Somebody, or something, has answered.
    Answered,
    /// The carrier has listened to whoever answered.
    AnsweredBy {
        /// It is a machine.
        machine: bool,
    },
    /// It is over.
    Ended(PlacedEnd),
}

/// How a call that was placed ended, as the carrier saw it. Where an agent talked, it knows better
/// what came of the call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PlacedEnd {
    /// How it ended.
    pub status: CallStatus,
    /// What came of it.
    pub outcome: Outcome,
    /// The carrier's word for it, such as `busy` or `failed`.
    pub word: String,
    /// The carrier says that the number itself is to blame: calling it again is useless.
    pub bad_number: bool,
    /// How long it was up.
    pub duration: Option<Duration>,
    /// What the carrier charges for it, in euros.
    pub price_eur: Option<f64>,
}

impl PlacedEnd {
    /// An end for which the carrier has this `word`, and no more to say.
    pub fn new(status: CallStatus, outcome: Outcome, word: impl Into<String>) -> Self {
        Self {
            status,
            outcome,
            word: word.into(),
            bad_number: false,
            duration: None,
            price_eur: None,
        }
    }
}

/// What a telephony says that can only take calls.
#[cfg(feature = "browser")]
pub(crate) fn cannot_dial(provider: &'static str) -> ProviderError {
    ProviderError::new(provider, ProviderErrorKind::Invalid)
        .with_detail("it takes calls and cannot place any")
}
