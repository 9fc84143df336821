//! What is to be changed about a lead.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    call::Outcome,
    lead::{Fields, fields::time_text},
};

/// Fields to set and to remove. `Debug` shows their names alone.
///
/// ```
/// use novavoice::lead::Change;
///
/// let change = Change::new().set("lead_status", "open").remove("owner_alias");
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Change {
    pub(crate) fields: Fields,
}

impl Change {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same change, and `field` becomes `value`; `null` removes it.
    #[must_use]
    pub fn set(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(field.into(), value.into());
        self
    }

    /// The same change, and `field` is removed.
    #[must_use]
    pub fn remove(self, field: impl Into<String>) -> Self {
        self.set(field, Value::Null)
    }

    /// The same change, and a time field such as `next_attempt` becomes `time`.
    #[must_use]
    pub fn set_time(self, field: impl Into<String>, time: Timestamp) -> Self {
        self.set(field, time_text(time))
    }

    /// The same change, and what came of a call: `call_status` and `last_call_date` are written,
    /// `call_transcript` too where there are words, and `next_attempt` is set, or removed where
    /// no other attempt is due.
    #[must_use]
    pub fn result(self, result: &CallResult) -> Self {
        let change = self
            .set("call_status", result.status.as_str())
            .set_time("last_call_date", result.at);
        let change = match result.next_attempt {
            Some(time) => change.set_time("next_attempt", time),
            None => change.remove("next_attempt"),
        };
        match &result.transcript {
            Some(words) => change.set("call_transcript", shortened(words)),
            None => change,
        }
    }

    /// The same change, but `field` stays as it is.
    #[must_use]
    pub(crate) fn without(mut self, field: &str) -> Self {
        self.fields.remove(field);
        self
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// A JSON merge patch (RFC 7396) of the top level: members replace, `null` removes.
impl From<Fields> for Change {
    fn from(fields: Fields) -> Self {
        Self { fields }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields.keys()).finish()
    }
}

/// What came of a call with a lead.
#[derive(Clone)]
#[non_exhaustive]
pub struct CallResult {
    /// The lead's new status.
    pub status: LeadCallStatus,
    /// When the call was.
    pub at: Timestamp,
    /// What was said; kept up to 100 kB.
    pub transcript: Option<String>,
    /// When the lead is due again. None: not by itself.
    pub next_attempt: Option<Timestamp>,
}

impl CallResult {
    /// A call at `at` without words, after which the lead is not due again.
    #[must_use]
    pub fn new(status: LeadCallStatus, at: Timestamp) -> Self {
        Self {
            status,
            at,
            transcript: None,
            next_attempt: None,
        }
    }

    /// The same result, with what was said.
    #[must_use]
    pub fn with_transcript(mut self, words: impl Into<String>) -> Self {
        self.transcript = Some(words.into());
        self
    }

    /// The same result, and the lead is due again `pause` after the call.
    #[must_use]
    pub fn due_again_after(mut self, pause: Duration) -> Self {
        self.next_attempt = self.at.checked_add(pause).ok();
        self
    }
}

impl fmt::Debug for CallResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallResult")
            .field("status", &self.status)
            .field("at", &self.at)
            .field("next_attempt", &self.next_attempt)
            .finish_non_exhaustive()
    }
}

/// Where a lead stands with calls: the field `call_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeadCallStatus {
    /// Never.
    NotCalled,
    /// A call is going on, or its end is not known yet.
    InProgress,
    /// We talked.
    Called,
    /// A meeting is booked.
    Scheduled,
    /// They want to be called again.
    FollowUpNeeded,
    /// Nobody answered, or the line was busy.
    NoAnswer,
    /// A machine answered.
    Voicemail,
    /// They asked not to be called again.
    DoNotCall,
    /// The number leads nowhere.
    BadNumber,
}

impl LeadCallStatus {
    /// Every status.
    pub const ALL: [Self; 9] = [
        Self::NotCalled,
        Self::InProgress,
        Self::Called,
        Self::Scheduled,
        Self::FollowUpNeeded,
        Self::NoAnswer,
        Self::Voicemail,
        Self::DoNotCall,
        Self::BadNumber,
    ];

    /// The word that tables and the API use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotCalled => "not_called",
            Self::InProgress => "in_progress",
            Self::Called => "called",
            Self::Scheduled => "scheduled",
            Self::FollowUpNeeded => "follow_up_needed",
            Self::NoAnswer => "no_answer",
            Self::Voicemail => "voicemail",
            Self::DoNotCall => "do_not_call",
            Self::BadNumber => "bad_number",
        }
    }

    /// What a call makes of a lead that stood there `before`. What the lead has asked for, or
    /// agreed to, is undone by words alone: not by a call in which nothing was said about it.
    #[must_use]
    pub fn after(before: Option<Self>, outcome: Outcome) -> Self {
        use Outcome::{
            Abandoned, Busy, Completed, DoNotCall, Failed, NoAnswer, NotInterested, Screened,
            Voicemail, WrongNumber,
        };
        match (before, outcome) {
            (
                Some(kept @ (Self::DoNotCall | Self::Scheduled)),
                Completed | Abandoned | Voicemail | Screened | NoAnswer | Busy | Failed,
            )
            | (Some(kept @ Self::DoNotCall), NotInterested | WrongNumber | DoNotCall) => kept,
            (_, outcome) => outcome.into(),
        }
    }

    /// The status that a word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// What a call makes of a lead. A number that the carrier calls wrong is
/// [`BadNumber`](LeadCallStatus::BadNumber), which no outcome tells.
impl From<Outcome> for LeadCallStatus {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Scheduled => Self::Scheduled,
            Outcome::FollowUp => Self::FollowUpNeeded,
            Outcome::DoNotCall => Self::DoNotCall,
            // A call that was cut off by our death was answered, as far as anybody knows: not to
            // be taken for one that nobody took.
            Outcome::NotInterested
            | Outcome::WrongNumber
            | Outcome::Completed
            | Outcome::Abandoned => Self::Called,
            Outcome::Voicemail | Outcome::Screened => Self::Voicemail,
            Outcome::NoAnswer | Outcome::Busy | Outcome::Failed => Self::NoAnswer,
        }
    }
}

/// The words of a call as far as a lead keeps them: items of DynamoDB end at 400 KB, and the
/// record of the call has them all.
fn shortened(words: &str) -> String {
    if words.len() <= TRANSCRIPT {
        return words.to_owned();
    }
    let end = words.floor_char_boundary(TRANSCRIPT);
    format!("{} […]", &words[..end])
}

/// Bytes of a transcript.
const TRANSCRIPT: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_keeps_what_was_agreed_until_something_else_is_said() {
        use LeadCallStatus as Status;
        let after = |before, outcome| Status::after(Some(before), outcome);
        assert_eq!(after(Status::Called, Outcome::Completed), Status::Called);
        for nothing in [Outcome::Completed, Outcome::Abandoned, Outcome::NoAnswer] {
            assert_eq!(after(Status::DoNotCall, nothing), Status::DoNotCall);
            assert_eq!(after(Status::Scheduled, nothing), Status::Scheduled);
        }
        let declined = Outcome::NotInterested;
        assert_eq!(after(Status::DoNotCall, declined), Status::DoNotCall);
        assert_eq!(after(Status::Scheduled, declined), Status::Called);
        assert_eq!(
            after(Status::DoNotCall, Outcome::Scheduled),
            Status::Scheduled
        );
        assert_eq!(
            after(Status::Scheduled, Outcome::FollowUp),
            Status::FollowUpNeeded
        );
        assert_eq!(Status::after(None, Outcome::Completed), Status::Called);
    }
}
