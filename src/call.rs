//! A phone call as everything around it knows it: who, which way, and how it ended.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audio::SampleRate;

/// The carrier's name for a call: opaque, preserved byte for byte, cheap to clone.
///
/// Vonage sends inbound ids with and without hyphens, so it is never parsed as a UUID
/// (`reference`: Vonage answer webhook, field `uuid`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(Arc<str>);

impl CallId {
    /// The id that the carrier gave.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// A fresh random id, for calls that no carrier named.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string().into())
    }

    /// The id as the carrier wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({})", self.0)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "a call has two directions")]
pub enum Direction {
    /// They called us.
    Inbound,
    /// We called them.
    Outbound,
}

impl Direction {
    /// `inbound` or `outbound`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// One end of a call as the carrier names it: digits, a SIP address, or a text such as
/// `anonymous`. Personal data: printed with all but a few characters hidden.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Party(Arc<str>);

impl Party {
    /// The carrier's text, kept as it is.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The carrier's text. Keep it away from logs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_redacted(f, &self.0)
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_redacted(f, &self.0)
    }
}

/// The last two characters, enough to tell two calls apart and too few to call anybody.
pub(crate) fn write_redacted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let tail = text.char_indices().rev().nth(1).map_or(0, |(at, _)| at);
    if text.chars().count() < 6 {
        f.write_str("…")
    } else {
        write!(f, "…{}", &text[tail..])
    }
}

/// The value whose serialised form is `text`.
pub(crate) fn word<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    use serde::de::IntoDeserializer;
    let text: serde::de::value::StrDeserializer<'de, serde::de::value::Error> =
        text.into_deserializer();
    T::deserialize(text).ok()
}

/// What is known about a call when its leg opens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallInfo {
    /// The carrier's id of the call.
    pub id: CallId,
    /// Who called whom.
    pub direction: Direction,
    /// The other party: the caller of an inbound call, the called one of an outbound call.
    pub remote: Option<Party>,
    /// Our own number.
    pub local: Option<Party>,
    /// When the call started, as the calendar shows it.
    pub started: Timestamp,
    /// The rate of the leg's audio, both ways.
    pub rate: SampleRate,
    /// What this leg can do.
    pub leg: LegCapabilities,
    /// Replaces the agent's instructions for this call alone.
    pub instructions: Option<String>,
    /// Replaces the agent's greeting for this call alone.
    pub greeting: Option<String>,
}

impl CallInfo {
    /// A call that has just begun, with everything else unknown.
    #[must_use]
    pub const fn new(
        id: CallId,
        direction: Direction,
        started: Timestamp,
        rate: SampleRate,
    ) -> Self {
        Self {
            id,
            direction,
            remote: None,
            local: None,
            started,
            rate,
            leg: LegCapabilities {
                marks: false,
                text: false,
                transfer: false,
                dtmf: false,
            },
            instructions: None,
            greeting: None,
        }
    }

    /// What the records of a call say in place of a version that had texts of its own.
    pub const OWN_PROMPT: &'static str = "custom";

    /// Whether this call replaces anything that the agent would be told.
    #[must_use]
    pub const fn has_own_prompt(&self) -> bool {
        self.instructions.is_some() || self.greeting.is_some()
    }
}

/// What a leg can do beyond carrying audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built by providers; a new field must be answered by each"
)]
pub struct LegCapabilities {
    /// Answers [`CallCommand::Mark`](crate::telephony::CallCommand::Mark) once everything before
    /// it was played.
    pub marks: bool,
    /// Shows text: gets [`CallCommand::Show`](crate::telephony::CallCommand::Show).
    pub text: bool,
    /// Can connect the caller with somebody else: obeys
    /// [`CallCommand::Transfer`](crate::telephony::CallCommand::Transfer).
    pub transfer: bool,
    /// Can press keys: obeys [`CallCommand::SendDtmf`](crate::telephony::CallCommand::SendDtmf).
    pub dtmf: bool,
}

/// How a call ended, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallStatus {
    /// Still going on.
    InProgress,
    /// Ended as calls do.
    Completed,
    /// Ended because something broke.
    Failed,
    /// Never answered.
    NoAnswer,
    /// The line was busy.
    Busy,
    /// A machine answered.
    Voicemail,
    /// The process that carried it died.
    Abandoned,
}

impl CallStatus {
    /// The word that files, tables and the API use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Voicemail => "voicemail",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What came of a call; the same words everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// A meeting is booked.
    Scheduled,
    /// They want to be called again.
    FollowUp,
    /// They declined.
    NotInterested,
    /// Not whom we meant to reach.
    WrongNumber,
    /// They asked not to be called again.
    DoNotCall,
    /// Talked, nothing agreed.
    Completed,
    /// A machine took the call.
    Voicemail,
    /// A call screener took the call.
    Screened,
    /// Nobody answered.
    NoAnswer,
    /// The line was busy.
    Busy,
    /// Something broke.
    Failed,
    /// The process that carried the call died.
    Abandoned,
}

impl Outcome {
    /// The word that files, tables and the API use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::FollowUp => "follow_up",
            Self::NotInterested => "not_interested",
            Self::WrongNumber => "wrong_number",
            Self::DoNotCall => "do_not_call",
            Self::Completed => "completed",
            Self::Voicemail => "voicemail",
            Self::Screened => "screened",
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What came of handing a caller over to somebody else; the same words everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TransferOutcome {
    /// The caller talks with them.
    Connected,
    /// They did not answer, or did not decide.
    NoAnswer,
    /// Their line was busy.
    Busy,
    /// They declined.
    Declined,
    /// A machine answered.
    Machine,
    /// They could not be reached, or the carrier did not do it.
    Failed,
    /// The call ended before.
    Abandoned,
}

impl TransferOutcome {
    /// The word that files, tables and the API use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Declined => "declined",
            Self::Machine => "machine",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A call that is over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallSummary {
    /// How it ended.
    pub status: CallStatus,
    /// What came of it.
    pub outcome: Outcome,
    /// When it ended.
    pub ended: Timestamp,
    /// From the opening of the leg to its end.
    pub duration: Duration,
    /// Tokens that the model counted.
    pub usage: crate::model::Usage,
    /// What they cost in US dollars, where prices are known.
    pub cost_usd: Option<f64>,
    /// The version of the prompt, where prompts have versions; `custom` where the call had its own.
    pub prompt_version: Option<String>,
    /// What came of handing the caller over, the last time that it was tried.
    pub transfer: Option<TransferOutcome>,
    /// What the model's provider said when it failed for good; no words of the call.
    pub failure: Option<String>,
}

impl CallSummary {
    /// A call that ended at `ended` after `duration`.
    #[must_use]
    pub fn new(status: CallStatus, outcome: Outcome, ended: Timestamp, duration: Duration) -> Self {
        Self {
            status,
            outcome,
            ended,
            duration,
            usage: crate::model::Usage::default(),
            cost_usd: None,
            prompt_version: None,
            transfer: None,
            failure: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_is_never_printed_whole() {
        assert_eq!(Party::new("12125550142").to_string(), "…42");
        assert_eq!(format!("{:?}", Party::new("12125550142")), "…42");
        assert_eq!(Party::new("añ").to_string(), "…");
    }
}
