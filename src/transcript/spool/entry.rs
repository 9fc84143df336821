//! What stands in the journal, and how: pure.
//!
//! A frame is its payload's length and a CRC-32 of length and payload, each in four bytes, little
//! endian, then the payload, which is JSON.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    audio::SampleRate,
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome, Party, TransferOutcome},
    model::Usage,
    transcript::Utterance,
};

/// One frame's payload.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    /// When it was written: the process was alive.
    pub(super) at: Timestamp,
    pub(super) what: What,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// First in a segment: which process writes it, and the calls that are open, so that no
    /// earlier segment is needed for them.
    Head {
        life: u64,
        open: Vec<Opened>,
    },
    Start(Opened),
    Line {
        call: CallId,
        line: Utterance,
    },
    End {
        call: CallId,
        summary: Closing,
    },
    /// Everything of the call so far is in the sink.
    Done {
        call: CallId,
    },
    /// Nothing happened, and the process lives.
    Alive,
}

/// A call that is open.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Opened {
    pub(super) call: CallId,
    direction: Direction,
    remote: Option<Party>,
    local: Option<Party>,
    pub(super) started: Timestamp,
    rate: u32,
    /// The last line that was known when this was written.
    pub(super) last: u64,
}

/// A call's summary.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Closing {
    status: CallStatus,
    outcome: Outcome,
    ended: Timestamp,
    duration: Duration,
    usage: Usage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prompt_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transfer: Option<TransferOutcome>,
    #[serde(default)]
    cost_usd: Option<f64>,
}

impl Opened {
    pub(super) fn of(info: &CallInfo, last: u64) -> Self {
        Self {
            call: info.id.clone(),
            direction: info.direction,
            remote: info.remote.clone(),
            local: info.local.clone(),
            started: info.started,
            rate: info.rate.hertz(),
            last,
        }
    }

    /// A call of which nothing but its id is left.
    pub(super) fn unknown(call: CallId, at: Timestamp) -> Self {
        let rate = SampleRate::Hz16000;
        Self::of(&CallInfo::new(call, Direction::Inbound, at, rate), 0)
    }

    pub(super) fn with_last(self, last: u64) -> Self {
        Self { last, ..self }
    }

    pub(super) fn info(&self) -> CallInfo {
        let rate = SampleRate::from_hertz(self.rate).unwrap_or(SampleRate::Hz16000);
        let mut info = CallInfo::new(self.call.clone(), self.direction, self.started, rate);
        info.remote.clone_from(&self.remote);
        info.local.clone_from(&self.local);
        info
    }

    /// How a call ended whose process was alive for the last time at `alive`.
    pub(super) fn abandoned(&self, alive: Timestamp) -> CallSummary {
        let ended = alive.max(self.started);
        let duration = Duration::try_from(ended.duration_since(self.started)).unwrap_or_default();
        CallSummary::new(CallStatus::Abandoned, Outcome::Abandoned, ended, duration)
    }
}

impl From<&CallSummary> for Closing {
    fn from(summary: &CallSummary) -> Self {
        Self {
            status: summary.status,
            outcome: summary.outcome,
            ended: summary.ended,
            duration: summary.duration,
            usage: summary.usage,
            prompt_version: summary.prompt_version.clone(),
            transfer: summary.transfer,
            cost_usd: summary.cost_usd,
        }
    }
}

impl From<&Closing> for CallSummary {
    fn from(closing: &Closing) -> Self {
        let mut summary = Self::new(
            closing.status,
            closing.outcome,
            closing.ended,
            closing.duration,
        );
        summary.usage = closing.usage;
        summary.prompt_version.clone_from(&closing.prompt_version);
        summary.transfer = closing.transfer;
        summary.cost_usd = closing.cost_usd;
        summary
    }
}

impl Entry {
    pub(super) fn frame(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut frame = vec![0; HEAD];
        serde_json::to_writer(&mut frame, self)?;
        let length = u32::try_from(frame.len() - HEAD).unwrap_or(u32::MAX);
        frame[..4].copy_from_slice(&length.to_le_bytes());
        let sum = checksum(&frame);
        frame[4..HEAD].copy_from_slice(&sum.to_le_bytes());
        Ok(frame)
    }

    /// The entry at the start of `bytes` and how many it takes; `None` where no whole one is.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let frame = bytes.get(..HEAD.checked_add(length)?)?;
        let sum = u32::from_le_bytes(frame[4..HEAD].try_into().ok()?);
        if length == 0 || sum != checksum(frame) {
            return None;
        }
        let entry = serde_json::from_slice(&frame[HEAD..]).ok()?;
        Some((entry, frame.len()))
    }
}

/// Of everything but the sum itself.
fn checksum(frame: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&frame[..4]);
    sum.update(&frame[HEAD..]);
    sum.finalize()
}

/// Length and sum.
const HEAD: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transcript::Speaker;

    fn line(text: &str) -> Entry {
        Entry {
            at: Timestamp::UNIX_EPOCH,
            what: What::Line {
                call: CallId::new("a"),
                line: Utterance {
                    seq: 1,
                    at: Timestamp::UNIX_EPOCH,
                    speaker: Speaker::Agent,
                    text: text.to_owned(),
                    cut: false,
                },
            },
        }
    }

    fn text(entry: &Entry) -> &str {
        match &entry.what {
            What::Line { line, .. } => &line.text,
            _ => panic!("no line"),
        }
    }

    proptest! {
        #[test]
        fn a_frame_holds_what_went_in(said in ".*") {
            let frame = line(&said).frame().unwrap();
            let (entry, length) = Entry::read(&frame).unwrap();
            prop_assert_eq!(length, frame.len());
            prop_assert_eq!(text(&entry), said);
        }

        #[test]
        fn a_torn_or_changed_frame_is_none(at: prop::sample::Index, flip in 1_u8..) {
            let mut frame = line("Good morning").frame().unwrap();
            let at = at.index(frame.len());
            prop_assert!(Entry::read(&frame[..at]).is_none());
            frame[at] ^= flip;
            prop_assert!(Entry::read(&frame).is_none());
        }
    }

    #[test]
    fn zeros_are_no_frame() {
        assert!(Entry::read(&[0; 64]).is_none());
    }
}
