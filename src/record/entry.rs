//! One call's record, and what is noted of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome, Party, TransferOutcome},
    model::Usage,
};

/// What is kept of one call, apart from its lines. Serialised under the names of the table, see
/// [the module](super); numbers and times that are unknown are `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CallRecord {
    /// The carrier's id.
    #[serde(rename = "call_uuid")]
    pub id: CallId,
    /// The other party, as the carrier named it.
    #[serde(rename = "phone_number")]
    pub remote: Option<Party>,
    /// Who called whom.
    pub direction: Direction,
    /// Whether it goes on, or how it ended.
    pub status: CallStatus,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// When it started.
    #[serde(rename = "start_time")]
    pub started: Timestamp,
    /// When it ended.
    #[serde(rename = "end_time")]
    pub ended: Option<Timestamp>,
    /// How long it lasted.
    #[serde(rename = "duration_seconds", serialize_with = "as_seconds")]
    pub duration: Option<Duration>,
    /// What came of handing the caller over; left out where nobody tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferOutcome>,
    /// Tokens that the model counted.
    pub usage: Usage,
    /// What the model cost, in US dollars.
    pub cost_usd: Option<f64>,
    /// Whose lead it was.
    #[serde(rename = "owner_alias")]
    pub owner: Option<String>,
    /// The campaign that dialled.
    pub campaign: Option<String>,
    /// The version of the prompt, or `custom` where the call had its own.
    pub prompt_version: Option<String>,
    /// How fast the agent answered.
    #[serde(flatten, serialize_with = "flat")]
    pub latency: Option<Latency>,
    /// The transcript file.
    #[serde(rename = "md_file_path")]
    pub file: Option<String>,
    /// When a process last said that it carries the call.
    #[serde(rename = "alive_at")]
    pub alive: Option<Timestamp>,
    /// When the record was made.
    #[serde(rename = "created_at")]
    pub created: Option<Timestamp>,
    /// When it was changed for the last time.
    #[serde(rename = "updated_at")]
    pub updated: Option<Timestamp>,
}

impl CallRecord {
    /// The record of a call that has just started.
    #[must_use]
    pub const fn new(id: CallId, direction: Direction, started: Timestamp) -> Self {
        Self {
            id,
            remote: None,
            direction,
            status: CallStatus::InProgress,
            outcome: None,
            started,
            ended: None,
            duration: None,
            transfer: None,
            usage: Usage {
                input_speech_tokens: 0,
                input_text_tokens: 0,
                output_speech_tokens: 0,
                output_text_tokens: 0,
            },
            cost_usd: None,
            owner: None,
            campaign: None,
            prompt_version: None,
            latency: None,
            file: None,
            alive: None,
            created: None,
            updated: None,
        }
    }

    /// Whether the call goes on, as far as anybody has said.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.status == CallStatus::InProgress
    }

    /// Whether anybody may say how it ended: it goes on, and nobody carries it.
    pub(crate) fn is_open(&self) -> bool {
        self.is_live() && self.alive.is_none()
    }

    /// How long it has lasted by `now`: until its end, once that is known.
    #[must_use]
    pub fn duration_at(&self, now: Timestamp) -> Duration {
        if let Some(duration) = self.duration {
            return duration;
        }
        let until = self.ended.unwrap_or(now);
        Duration::try_from(until.duration_since(self.started)).unwrap_or_default()
    }

    /// The day on which it started, in UTC: `2026-06-22`.
    #[must_use]
    pub fn day(&self) -> String {
        self.started.strftime("%Y-%m-%d").to_string()
    }

    /// The record of a call as its leg opens, or opens again.
    pub(crate) fn start(&mut self, call: &CallInfo, now: Timestamp) {
        if self.remote.is_none() {
            self.remote.clone_from(&call.remote);
        }
        self.direction = call.direction;
        self.status = CallStatus::InProgress;
        self.outcome = None;
        self.ended = None;
        self.duration = None;
        self.alive = Some(now);
    }

    pub(crate) fn end(&mut self, summary: &CallSummary) {
        self.status = summary.status;
        self.outcome = Some(summary.outcome);
        self.ended = Some(summary.ended);
        self.duration = Some(summary.duration);
        self.usage = summary.usage;
        if summary.prompt_version.is_some() {
            self.prompt_version.clone_from(&summary.prompt_version);
        }
        self.transfer = summary.transfer.or(self.transfer);
        self.cost_usd = summary.cost_usd.or(self.cost_usd);
    }

    /// Ends a call whose process died: at its last sign of life or its last line, which is
    /// whatever came later.
    pub(crate) fn abandon(&mut self, last_line: Option<Timestamp>) {
        let ended = [self.alive, last_line].into_iter().flatten().max();
        let ended = ended.unwrap_or(self.started).max(self.started);
        self.status = CallStatus::Abandoned;
        self.outcome = Some(Outcome::Abandoned);
        self.ended = Some(ended);
        self.duration = Some(self.duration_at(ended));
    }

    pub(crate) fn apply(&mut self, note: &CallNote) {
        fn set<T: Clone>(field: &mut Option<T>, noted: &Option<T>) {
            if noted.is_some() {
                field.clone_from(noted);
            }
        }
        set(&mut self.remote, &note.remote);
        set(&mut self.outcome, &note.outcome);
        set(&mut self.ended, &note.ended);
        set(&mut self.duration, &note.duration);
        set(&mut self.cost_usd, &note.cost_usd);
        set(&mut self.owner, &note.owner);
        set(&mut self.campaign, &note.campaign);
        set(&mut self.prompt_version, &note.prompt_version);
        set(&mut self.latency, &note.latency);
        set(&mut self.file, &note.file);
        set(&mut self.alive, &note.alive);
        self.direction = note.direction.unwrap_or(self.direction);
        self.status = note.status.unwrap_or(self.status);
    }
}

/// What came to be known of a call besides its words. Start from [`CallNote::default`] and
/// assign what is known; what stays `None` is left as it is.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CallNote {
    /// The other party, as the carrier named it.
    pub remote: Option<Party>,
    /// Who called whom. Of a call that is not known yet and whose note does not say: outbound,
    /// since callers are known by their leg.
    pub direction: Option<Direction>,
    /// When it started. The start of a known call stays what it was; a call that is not known
    /// yet and whose note does not say starts now.
    pub started: Option<Timestamp>,
    /// How it ended.
    pub status: Option<CallStatus>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How long it lasted.
    pub duration: Option<Duration>,
    /// What the model cost, in US dollars.
    pub cost_usd: Option<f64>,
    /// Whose lead it was.
    pub owner: Option<String>,
    /// The campaign that dialled.
    pub campaign: Option<String>,
    /// The version of the prompt.
    pub prompt_version: Option<String>,
    /// How fast the agent answered.
    pub latency: Option<Latency>,
    /// The transcript file.
    pub file: Option<String>,
    /// A process says that it carries the call: it is alive at this moment. Say it more often
    /// than the calls of a dead process may stay open.
    pub alive: Option<Timestamp>,
}

/// How fast the agent answered in one call or in several: from the end of the caller's words to
/// the first frame of the reply.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what is needed to sum averages up"
)]
pub struct Latency {
    /// How many replies were measured.
    pub replies: u64,
    /// The average.
    pub mean: Duration,
    /// The slowest.
    pub longest: Duration,
}

impl Latency {
    /// Of these replies; `None` for none.
    pub fn of(replies: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut all = Self::default();
        for latency in replies {
            all.add(Self {
                replies: 1,
                mean: latency,
                longest: latency,
            });
        }
        (all.replies > 0).then_some(all)
    }

    /// Both together.
    pub(crate) fn add(&mut self, other: Self) {
        let replies = self.replies + other.replies;
        if replies == 0 {
            return;
        }
        // Sums of nanoseconds stay far below what these hold.
        let sum = self.mean.as_secs_f64() * self.replies as f64
            + other.mean.as_secs_f64() * other.replies as f64;
        self.mean = Duration::try_from_secs_f64(sum / replies as f64).unwrap_or_default();
        self.replies = replies;
        self.longest = self.longest.max(other.longest);
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        flat(&Some(*self), serializer)
    }
}

/// Milliseconds under the names of the table.
#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn flat<S: Serializer>(latency: &Option<Latency>, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct;
    let mut fields = serializer.serialize_struct("Latency", 3)?;
    fields.serialize_field("reply_count", &latency.map_or(0, |latency| latency.replies))?;
    fields.serialize_field(
        "reply_latency_ms",
        &latency.map(|latency| millis(latency.mean)),
    )?;
    fields.serialize_field(
        "reply_latency_max_ms",
        &latency.map(|latency| millis(latency.longest)),
    )?;
    fields.end()
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn as_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(seconds).serialize(serializer)
}

/// A time as tables keep it: in milliseconds and always as long, so that texts sort like times.
#[cfg(any(feature = "sqlite", feature = "dynamodb"))]
pub(crate) fn stamp(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Milliseconds, as tables keep latencies.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Seconds with whole milliseconds, as tables and files keep durations.
pub(crate) fn seconds(duration: Duration) -> f64 {
    Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_written_under_the_names_of_the_table() {
        let start = "2026-06-22T20:35:32Z".parse().unwrap();
        let mut record = CallRecord::new(CallId::new("a"), Direction::Outbound, start);
        record.remote = Some(Party::new("12125550101"));
        record.end(&CallSummary::new(
            CallStatus::Completed,
            Outcome::Scheduled,
            "2026-06-22T20:36:33.500Z".parse().unwrap(),
            Duration::from_millis(61_500),
        ));
        record.latency = Latency::of([400, 600].map(Duration::from_millis));
        assert_eq!(
            json!(record),
            json!({
                "call_uuid": "a",
                "phone_number": "12125550101",
                "direction": "outbound",
                "status": "completed",
                "outcome": "scheduled",
                "start_time": "2026-06-22T20:35:32Z",
                "end_time": "2026-06-22T20:36:33.5Z",
                "duration_seconds": 61.5,
                "usage": {
                    "input_speech_tokens": 0,
                    "input_text_tokens": 0,
                    "output_speech_tokens": 0,
                    "output_text_tokens": 0,
                },
                "cost_usd": null,
                "owner_alias": null,
                "campaign": null,
                "prompt_version": null,
                "reply_count": 2,
                "reply_latency_ms": 500.0,
                "reply_latency_max_ms": 600.0,
                "md_file_path": null,
                "alive_at": null,
                "created_at": null,
                "updated_at": null,
            })
        );
        assert_eq!(record.day(), "2026-06-22");
    }

    #[test]
    fn an_average_of_averages_weighs_them() {
        let mut all = Latency::default();
        for replies in [&[100, 200, 300][..], &[1_000]] {
            all.add(Latency::of(replies.iter().copied().map(Duration::from_millis)).unwrap());
        }
        assert_eq!(all.replies, 4);
        assert_eq!(all.mean, Duration::from_millis(400));
        assert_eq!(all.longest, Duration::from_secs(1));
        assert_eq!(Latency::of([]), None);
    }
}
