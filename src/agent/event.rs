//! What observers see of the calls.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    answer::Verdict,
    call::{CallId, CallInfo, CallSummary},
    conversation::{AgentState, CallStats, EndReason, TransferStep, Turn, Work},
    tool::ToolRunId,
    transcript::{Speaker, Utterance},
};

/// Something happened in a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentEvent {
    /// The call.
    pub call: CallId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The call began.
    Started(CallInfo),
    /// The agent does something else now.
    State {
        /// What it did before.
        old: AgentState,
        /// What it does now.
        new: AgentState,
    },
    /// Words that are about to be said or were just heard; they may still change.
    Caption {
        /// Whose.
        speaker: Speaker,
        /// The words.
        text: String,
    },
    /// Who or what answered a call that we placed. Each verdict replaces the one before.
    AnsweredBy(Verdict),
    /// A tool was started.
    ToolCalled {
        /// Names this use within the call.
        run: ToolRunId,
        /// The tool.
        name: String,
    },
    /// A tool is done with.
    ToolAnswered {
        /// Which use.
        run: ToolRunId,
        /// Whether it failed, ran out of time or was cancelled.
        failed: bool,
    },
    /// How far the caller is on the way to somebody else.
    Transfer(TransferStep),
    /// A line of the transcript, once the sink has acknowledged it.
    Utterance(Utterance),
    /// Something went wrong; the call may go on.
    Trouble(String),
    /// The caller was answered.
    Turn(Box<Turn>),
    /// Something that took time is over, outside any turn.
    Work(Work),
    /// The call is over, and everything about it was kept.
    Ended {
        /// Why.
        reason: EndReason,
        /// How.
        summary: CallSummary,
        /// The figures.
        stats: Box<CallStats>,
    },
}

/// The words are personal data: not for logs.
impl std::fmt::Debug for EventKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Started(info) => f.debug_tuple("Started").field(info).finish(),
            Self::State { old, new } => write!(f, "State({old} to {new})"),
            Self::Caption { speaker, .. } => write!(f, "Caption({speaker:?})"),
            Self::AnsweredBy(verdict) => f.debug_tuple("AnsweredBy").field(verdict).finish(),
            Self::ToolCalled { run, name } => write!(f, "ToolCalled({}, {name})", run.0),
            Self::ToolAnswered { run, failed } => {
                write!(f, "ToolAnswered({}, failed: {failed})", run.0)
            }
            Self::Transfer(step) => f.debug_tuple("Transfer").field(step).finish(),
            Self::Utterance(line) => f.debug_tuple("Utterance").field(line).finish(),
            Self::Turn(turn) => f.debug_tuple("Turn").field(turn).finish(),
            Self::Work(work) => f.debug_tuple("Work").field(work).finish(),
            Self::Trouble(what) => f.debug_tuple("Trouble").field(what).finish(),
            Self::Ended { reason, .. } => f.debug_tuple("Ended").field(reason).finish(),
        }
    }
}

/// A call that is going on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveCall {
    /// What is known about it.
    pub info: CallInfo,
    /// What the agent does.
    pub state: AgentState,
    /// How long it has lasted.
    pub duration: Duration,
}

/// How much is open right now. Everything returns to zero when the last call has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls.
    pub calls: usize,
    /// Model sessions, those that are opening included.
    pub sessions: usize,
    /// Tasks of the agent: drivers, recorders, openings.
    pub tasks: usize,
}

/// The calls of one moment, for whoever promises a line to a caller before the call begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Calls that are going on.
    pub calls: usize,
    /// Inbound calls that have begun since the agent was made. Never less than before.
    pub inbound: u64,
}
