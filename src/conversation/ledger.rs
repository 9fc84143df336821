//! The turn ledger: how long each stage of an answer took, and what was done meanwhile.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Action, Conversation, Histogram, Notice};
use crate::tool::ToolRunId;

/// How long after the caller stopped speaking each stage of the answer came. `None`: it never did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TurnLatency {
    /// The frame in which the caller's silence began went to the model: it has the whole turn.
    pub last_frame: Option<Duration>,
    /// The model's text of what the caller said.
    pub caller_text: Option<Duration>,
    /// The caption of the first sentence.
    pub first_text: Option<Duration>,
    /// The first audio from the model.
    pub first_audio: Option<Duration>,
    /// The first frame to the leg.
    pub first_frame: Option<Duration>,
    /// The carrier's word that all of it was played.
    pub played: Option<Duration>,
}

impl TurnLatency {
    /// The stages in their order, by name.
    #[must_use]
    pub fn stages(&self) -> [(&'static str, Option<Duration>); 6] {
        [
            ("last_frame", self.last_frame),
            ("caller_text", self.caller_text),
            ("first_text", self.first_text),
            ("first_audio", self.first_audio),
            ("first_frame", self.first_frame),
            ("played", self.played),
        ]
    }
}

/// The latencies of many turns, stage by stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StageLatencies {
    /// See [`TurnLatency::last_frame`].
    pub last_frame: Histogram,
    /// See [`TurnLatency::caller_text`].
    pub caller_text: Histogram,
    /// See [`TurnLatency::first_text`].
    pub first_text: Histogram,
    /// See [`TurnLatency::first_audio`].
    pub first_audio: Histogram,
    /// See [`TurnLatency::first_frame`].
    pub first_frame: Histogram,
    /// See [`TurnLatency::played`].
    pub played: Histogram,
}

impl StageLatencies {
    /// Counts one more turn.
    pub fn record(&mut self, turn: &TurnLatency) {
        let lengths = turn.stages().map(|(_, length)| length);
        for (stage, length) in self.all().into_iter().zip(lengths) {
            if let Some(length) = length {
                stage.record(length);
            }
        }
    }

    /// Adds the turns of another call.
    pub fn merge(&mut self, other: &Self) {
        let theirs = other.stages().map(|(_, stage)| stage);
        for (mine, theirs) in self.all().into_iter().zip(theirs) {
            mine.merge(theirs);
        }
    }

    /// The stages in their order, by name.
    #[must_use]
    pub fn stages(&self) -> [(&'static str, &Histogram); 6] {
        [
            ("last_frame", &self.last_frame),
            ("caller_text", &self.caller_text),
            ("first_text", &self.first_text),
            ("first_audio", &self.first_audio),
            ("first_frame", &self.first_frame),
            ("played", &self.played),
        ]
    }

    fn all(&mut self) -> [&mut Histogram; 6] {
        [
            &mut self.last_frame,
            &mut self.caller_text,
            &mut self.first_text,
            &mut self.first_audio,
            &mut self.first_frame,
            &mut self.played,
        ]
    }
}

/// One answer: from the moment at which the caller stopped speaking to the one at which the last
/// of the reply was heard, or cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Turn {
    /// When the caller stopped speaking.
    pub started: Timestamp,
    /// From then to the end of the reply.
    pub length: Duration,
    /// When its stages came.
    pub latency: TurnLatency,
    /// Whether the caller cut the reply short.
    pub cut: bool,
    /// What was done meanwhile, in the order in which it ended.
    pub work: Vec<Work>,
}

/// Something that takes time beside the talk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Work {
    /// What.
    pub kind: WorkKind,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub length: Duration,
    /// Whether it came to nothing.
    pub failed: bool,
}

/// What takes time beside the talk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WorkKind {
    /// The call moves to a fresh session, from the warming up to the switch.
    Rollover,
    /// A lost session is opened again, from the loss to the first frame.
    Restart,
    /// A tool runs for the model.
    Tool {
        /// Its name.
        name: String,
        /// Names this use within the call.
        run: ToolRunId,
    },
}

impl WorkKind {
    pub(super) fn tool(run: ToolRunId, name: &str) -> Self {
        let name = name.to_owned();
        Self::Tool { name, run }
    }

    /// A short name for spans and logs; never arguments.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Rollover => "rollover",
            Self::Restart => "restart",
            Self::Tool { name, .. } => name,
        }
    }
}

/// A stage of [`TurnLatency`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    LastFrame,
    CallerText,
    FirstText,
    FirstAudio,
    FirstFrame,
    Played,
}

/// Measures the turn that is going on.
#[derive(Debug, Default)]
pub(super) struct TurnClock {
    stopped: Option<Instant>,
    turn: TurnLatency,
    running: Vec<(WorkKind, Instant)>,
    done: Vec<Work>,
}

impl TurnClock {
    /// A stage is reached; only the first time counts.
    pub(super) fn reach(&mut self, stage: Stage, now: Instant) {
        let Some(stopped) = self.stopped else { return };
        let turn = &mut self.turn;
        // What sounds before the model has said anything is a filler, or the end of the last turn.
        let is_answer = turn.first_audio.is_some();
        let slot = match stage {
            Stage::LastFrame => &mut turn.last_frame,
            Stage::CallerText => &mut turn.caller_text,
            Stage::FirstText => &mut turn.first_text,
            Stage::FirstAudio => &mut turn.first_audio,
            Stage::FirstFrame if is_answer => &mut turn.first_frame,
            Stage::Played if is_answer => &mut turn.played,
            Stage::FirstFrame | Stage::Played => return,
        };
        slot.get_or_insert(now.saturating_duration_since(stopped));
    }

    /// Something begins that takes time.
    pub(super) fn begin(&mut self, kind: WorkKind, now: Instant) {
        if self.running.len() < WORKS && self.running.iter().all(|(running, _)| *running != kind) {
            self.running.push((kind, now));
        }
    }

    /// It was given up, or was nothing.
    pub(super) fn forget(&mut self, kind: &WorkKind) {
        self.running.retain(|(running, _)| running != kind);
    }

    fn take(&mut self, kind: &WorkKind) -> Option<(WorkKind, Instant)> {
        let at = self
            .running
            .iter()
            .position(|(running, _)| running == kind)?;
        Some(self.running.swap_remove(at))
    }
}

impl Conversation {
    /// The caller stopped speaking. A turn that got no answer is forgotten: it was a pause.
    pub(super) fn open_turn(&mut self) {
        self.close_turn(false);
        self.turn.stopped = Some(self.now);
    }

    /// Puts an answered turn among the others.
    pub(super) fn close_turn(&mut self, cut: bool) {
        let latency = std::mem::take(&mut self.turn.turn);
        let work = std::mem::take(&mut self.turn.done);
        let answered = self
            .turn
            .stopped
            .take()
            .filter(|_| latency.first_audio.is_some());
        let Some(stopped) = answered else {
            let alone = work
                .into_iter()
                .map(|work| Action::Publish(Notice::Work(work)));
            return self.actions.extend(alone);
        };
        self.stats.latency.record(&latency);
        if self.stats.turns.len() < TURNS {
            self.stats.turns.push(latency);
        }
        let turn = Turn {
            started: self.wall(stopped),
            length: self.now.saturating_duration_since(stopped),
            latency,
            cut,
            work,
        };
        self.actions.push_back(Action::Publish(Notice::Turn(turn)));
    }

    /// Something that took time is over. It belongs to the turn that goes on, if one does.
    pub(super) fn end_work(&mut self, kind: &WorkKind, failed: bool) {
        let Some((kind, began)) = self.turn.take(kind) else {
            return;
        };
        let work = Work {
            kind,
            started: self.wall(began),
            length: self.now.saturating_duration_since(began),
            failed,
        };
        if self.turn.stopped.is_some() && self.turn.done.len() < WORKS {
            self.turn.done.push(work);
        } else {
            self.actions.push_back(Action::Publish(Notice::Work(work)));
        }
    }
}

/// Enough for any call; a bound all the same.
const TURNS: usize = 1_000;

/// More at once, or in one turn, are told on their own.
const WORKS: usize = 64;
