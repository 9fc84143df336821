//! Callers: where legs come from, and the vocabulary that they speak.

pub mod memory;

mod dial;
#[cfg(feature = "browser")]
pub(crate) use dial::cannot_dial;
pub use dial::{CallProgress, DialOptions, Dialled, PlacedEnd, Progress};

mod both;
pub use both::Both;

mod keys;
pub use keys::{InvalidKeys, Keys};

#[cfg(feature = "browser")]
pub mod admission;
#[cfg(feature = "browser")]
mod arrivals;
#[cfg(feature = "browser")]
mod problem;

#[cfg(feature = "browser")]
pub mod channel;

#[cfg(feature = "browser")]
pub mod socket;

#[cfg(feature = "browser")]
pub mod browser;

#[cfg(feature = "vonage")]
pub mod vonage;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    answer::CarrierVerdict,
    audio::AudioFrame,
    call::{CallInfo, Party},
    duplex::Duplex,
    error::{ProviderError, ProviderErrorKind},
    lead::PhoneNumber,
    private::Private,
    transcript::Speaker,
};

/// Brings callers, and calls people where the carrier can.
///
/// # Contract
///
/// Implementers deliver caller audio in order, in full 20 ms frames of the rate that
/// [`CallInfo::rate`] names, keep both channels of a leg moving until one side closes, obey
/// [`CallCommand`]s in the order in which they come, and end the event stream after the last
/// event. A leg whose [`Duplex`] is dropped hangs up.
///
/// A call that was placed arrives as a leg when it is answered, with the id that [`Dialled`] named,
/// [`Direction::Outbound`](crate::call::Direction::Outbound), and the instructions and the greeting
/// that it was placed with.
#[async_trait]
pub trait Telephony: fmt::Debug + Send + Sync + 'static {
    /// Waits for the next call and takes it. Cancel safe: dropping the future loses no call.
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::ProviderErrorKind::Closed) when no more calls will ever come.
    async fn answer(&self) -> Result<Leg, ProviderError>;

    /// Whether it places calls at all.
    fn can_dial(&self) -> bool;

    /// Places a call. Cancel safe: once asked for, a call is placed and reported even when the
    /// future is dropped.
    ///
    /// # Errors
    ///
    /// Nothing was placed when the kind is [`Throttled`](crate::ProviderErrorKind::Throttled),
    /// [`Unauthorized`](crate::ProviderErrorKind::Unauthorized),
    /// [`NotFound`](crate::ProviderErrorKind::NotFound) or
    /// [`Invalid`](crate::ProviderErrorKind::Invalid), which a telephony that cannot dial says too.
    /// After any other the call may have been placed all the same: look it up before you try again.
    async fn dial(&self, to: &PhoneNumber, options: DialOptions) -> Result<Dialled, ProviderError>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Telephony + ?Sized> Telephony for Arc<T> {
    async fn answer(&self) -> Result<Leg, ProviderError> {
        (**self).answer().await
    }

    fn can_dial(&self) -> bool {
        (**self).can_dial()
    }

    async fn dial(&self, to: &PhoneNumber, options: DialOptions) -> Result<Dialled, ProviderError> {
        (**self).dial(to, options).await
    }
}

/// One party's media: who calls whom, and the live connection.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a value that every provider builds"
)]
pub struct Leg {
    /// What is known about the call.
    pub info: CallInfo,
    /// The live connection.
    pub duplex: Duplex<CallCommand, CallEvent>,
}

/// What a leg reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallEvent {
    /// A full frame of the caller's voice.
    #[serde(skip)]
    Audio(AudioFrame),
    /// The caller pressed a key: one of `0-9`, `*`, `#`.
    Dtmf(char),
    /// Everything before this mark was played to the caller.
    Played(MarkId),
    /// The carrier stopped (`true`) or resumed (`false`) sending the caller's voice.
    Muted(bool),
    /// The carrier's machine detection says who or what answered a call that was placed. It may
    /// come several times.
    AnsweredBy(CarrierVerdict),
    /// The person who was called first takes the call over: the caller is being connected with
    /// them. The events then end with [`CallEvent::HungUp`], or [`CallEvent::TransferFailed`]
    /// takes it back.
    Taken,
    /// The person who was called first does not take the call over. It goes on as it was.
    NotTaken(NotTaken),
    /// The call could not be transferred, and goes on as it was.
    TransferFailed(ProviderErrorKind),
    /// Keys that were to be pressed were not.
    DtmfFailed(ProviderErrorKind),
    /// The caller hung up, or was transferred. The last event.
    HungUp,
}

/// What a leg is told to do. Exhaustive on purpose: a provider that ignores one must not compile.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a provider that ignores a command must not compile"
)]
pub enum CallCommand {
    /// Play this full frame after all earlier ones.
    Play(AudioFrame),
    /// Report [`CallEvent::Played`] when everything before this point was played. Sent only to
    /// legs with [`LegCapabilities::marks`](crate::call::LegCapabilities::marks).
    Mark(MarkId),
    /// Forget all audio that was not played yet, here and at the carrier, and every mark with it.
    Clear,
    /// Show text. Sent only to legs with [`LegCapabilities::text`](crate::call::LegCapabilities::text).
    Show(Show),
    /// Connect the caller with somebody else, whom the carrier calls from our own number, and
    /// leave the call: the leg then ends its events with [`CallEvent::HungUp`], or it reports
    /// [`CallEvent::TransferFailed`] and goes on. Audio that was sent before is heard first as far
    /// as the carrier can. Sent only to legs with
    /// [`LegCapabilities::transfer`](crate::call::LegCapabilities::transfer).
    Transfer {
        /// Whom: a number or an address as the carrier takes it.
        to: Party,
    },
    /// Call somebody else first, from our own number, and tell them this. The caller stays with
    /// the agent meanwhile. Whether the person takes the call over is reported by
    /// [`CallEvent::Taken`], [`CallEvent::NotTaken`] or [`CallEvent::TransferFailed`], and nobody
    /// is called any longer once the caller has left. Sent only to legs with
    /// [`LegCapabilities::transfer`](crate::call::LegCapabilities::transfer), and not while
    /// another one runs.
    WarmTransfer {
        /// Whom: a number or an address as the carrier takes it.
        to: Party,
        /// What they hear before they decide.
        briefing: Private<String>,
    },
    /// Press these keys for the other side to hear, or report [`CallEvent::DtmfFailed`]. Sent only
    /// to legs with [`LegCapabilities::dtmf`](crate::call::LegCapabilities::dtmf).
    SendDtmf(Keys),
    /// End the call. The leg ends its events with [`CallEvent::HungUp`].
    HangUp {
        /// The agent hangs up because it has failed: a carrier that can speak for itself tells
        /// the caller so, instead of leaving them with silence.
        apologise: bool,
    },
}

/// Why a person did not take a call over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotTaken {
    /// Nobody answered, or nobody decided.
    NoAnswer,
    /// The line was busy.
    Busy,
    /// They declined.
    Declined,
    /// A machine answered.
    Machine,
    /// They could not be reached at all.
    Unreachable,
}

/// Names a point in the audio sent to a leg; grows within a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a number")]
pub struct MarkId(pub u64);

/// What a leg with a screen shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a provider that ignores one must not compile"
)]
pub enum Show {
    /// Words of one side. The agent's are a caption: what it is about to say.
    Text {
        /// Whose words.
        speaker: Speaker,
        /// The words.
        text: String,
    },
    /// The agent begins to speak.
    ReplyStarted,
    /// The agent has spoken, or was cut off.
    ReplyEnded {
        /// Cut off by the caller.
        interrupted: bool,
    },
    /// Something broke; a sentence fit for the person who looks at it.
    Error(String),
}
