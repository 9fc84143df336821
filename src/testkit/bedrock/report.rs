//! What a fake saw: sessions and violations.

use std::time::Duration;

use super::fault::{Exception, INVALID_INPUT};

/// A rule of the protocol. Numbers in the descriptions are those of the Nova Sonic conformance
/// checklist in the protocol reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// 1: method, path, content type.
    Request,
    /// 2: the request's signature.
    Authorization,
    /// 3: checksums, `:date`, the chain of signatures, one empty frame at the end.
    Frame,
    /// 4: one JSON object with one event.
    Payload,
    /// 8: `sessionStart`, then `promptStart`, once each.
    Opening,
    /// 9: turn detection nested on Nova 2, absent on v1.
    TurnDetection,
    /// 10: the seven fields of the output format.
    AudioOutput,
    /// 11: tools and their schemas.
    Tools,
    /// 12: one SYSTEM block, first.
    System,
    /// 13: blocks of start, payload and end under one fresh name.
    Block,
    /// 14: history.
    History,
    /// 15: one audio container with whole samples.
    AudioContainer,
    /// 16: no audio inside another block.
    AudioInBlock,
    /// 17: no gap of a second.
    AudioGap,
    /// 18: real time, but for declared bursts.
    AudioRate,
    /// 19: interactive text after 100 ms of audio, and only where the model takes it.
    InteractiveText,
    /// 30: one JSON object as result of each tool call.
    ToolResult,
    /// 45: the closing order.
    Close,
    /// 47: no end of content that never had data.
    EmptyContent,
    /// The input was silent for the idle limit.
    Idle,
    /// The client does not read what is sent to it.
    NotDrained,
}

/// A breach of the protocol by the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The session, counted from 0 in the order of requests; none when it never became one.
    pub session: Option<usize>,
    /// The rule that was broken.
    pub rule: Rule,
    /// What happened.
    pub detail: String,
}

/// A breach on its way to being recorded and, where the service would, answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) rule: Rule,
    pub(super) detail: String,
    /// The text of the `ValidationException`; none where the service lets it pass.
    pub(super) answer: Option<String>,
}

impl Breach {
    pub(super) fn fatal(rule: Rule, detail: impl Into<String>, answer: impl Into<String>) -> Self {
        Self {
            rule,
            detail: detail.into(),
            answer: Some(answer.into()),
        }
    }

    pub(super) fn invalid(rule: Rule, detail: impl Into<String>) -> Self {
        Self::fatal(rule, detail, INVALID_INPUT)
    }

    pub(super) fn noted(rule: Rule, detail: impl Into<String>) -> Self {
        Self {
            rule,
            detail: detail.into(),
            answer: None,
        }
    }
}

/// One request to open a session, and what became of it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SessionReport {
    /// Counted from 0 in the order of requests.
    pub index: usize,
    /// The connection that carried it, counted from 0.
    pub connection: usize,
    /// The id of the model, decoded.
    pub model: String,
    /// When it was requested, since the fake started.
    pub opened: Duration,
    /// How long it lived; so far, while it lives.
    pub duration: Duration,
    /// The status, when it was refused.
    pub refused: Option<u16>,
    /// Whether response headers went out.
    pub answered: bool,
    /// Input events.
    pub inputs: u64,
    /// Output events.
    pub outputs: u64,
    /// `audioInput` events.
    pub audio_events: u64,
    /// Bytes of caller audio, decoded.
    pub audio_bytes: u64,
    /// Replies whose audio began.
    pub replies: usize,
    /// Barge-ins that were announced.
    pub interruptions: usize,
    /// The closing steps that were seen.
    pub closing: Closing,
    /// How it ended; `None` while it lives.
    pub end: Option<End>,
}

impl SessionReport {
    /// Whether the client closed as it should: audio ended, prompt ended, session ended, the
    /// empty signed frame, the end of the stream, in this order and with nothing else wrong.
    #[must_use]
    pub fn closed_by_the_book(&self) -> bool {
        self.closing == Closing::COMPLETE && self.end == Some(End::Closed)
    }

    /// Whether the client reset the stream or let the connection go.
    #[must_use]
    pub fn reset_by_client(&self) -> bool {
        self.end == Some(End::ResetByClient)
    }

    /// Whether the session is still there, on either half.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.end.is_none()
    }
}

/// The steps of a close. The rules refuse them in any other order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    clippy::struct_excessive_bools,
    reason = "the five steps of the protocol"
)]
pub struct Closing {
    /// `contentEnd` of the audio container.
    pub audio_ended: bool,
    /// `promptEnd`.
    pub prompt_ended: bool,
    /// `sessionEnd`.
    pub session_ended: bool,
    /// The signed frame without payload.
    pub empty_frame: bool,
    /// END_STREAM.
    pub end_stream: bool,
}

impl Closing {
    /// All steps.
    pub const COMPLETE: Self = Self {
        audio_ended: true,
        prompt_ended: true,
        session_ended: true,
        empty_frame: true,
        end_stream: true,
    };
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The client closed it and the service answered the close.
    Closed,
    /// The client reset the stream or let the connection go.
    ResetByClient,
    /// It was refused with an HTTP status.
    Refused,
    /// The service ended it with this exception, asked for or not.
    Exception(Exception),
    /// A fault that was asked for.
    Fault,
    /// The fake was dropped.
    Stopped,
}
