//! What Nova Sonic says, as [`ModelEvent`]s. Pure: bytes in, events out.
//!
//! Shapes follow the Nova Sonic user guide, output events. Unknown events and fields are
//! skipped; blocks are known by their `contentId`, never by "the last one that started".
//!
//! - A reply begins with its first planned sentence or its first audio, whichever comes first,
//!   and ends with the audio that ends the turn or with an interruption. Completion events say
//!   nothing about turns. Text that counts as said (FINAL) comes seconds late and begins nothing.
//! - Text is passed on as it comes, one event for each `textOutput`; nothing is held back and
//!   nothing repeated.
//! - Nova Sonic has no event for the start of speech, so there is no `SpeechStarted`.

use std::collections::VecDeque;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde::Deserialize;
use tracing::{debug, warn};

use crate::{
    audio::{AudioFrame, SampleRate},
    model::{ModelEvent, ReplyId, Usage},
    tool::{ToolCall, ToolCallId},
};

use super::{shapes, turn::Turns};

/// Understands the output of one session. It knows what was said, so it has no `Debug`.
pub(super) struct Decoder {
    /// The rate that the session asked for, where a block does not say its own.
    rate: SampleRate,
    turns: Turns,
    /// Blocks that have started and not ended, oldest first.
    blocks: Vec<Block>,
    /// Everything counted so far, for servers that report totals alone.
    used: Usage,
    /// Text that may come back as the caller's, oldest first.
    asked: VecDeque<String>,
    malformed: u64,
}

struct Block {
    id: String,
    content: Content,
}

enum Content {
    Text {
        /// Unknown where the server left it out.
        role: Option<Role>,
        stage: Option<Stage>,
        /// The reply that it belongs to, as far as is known when it starts.
        reply: ReplyId,
    },
    Audio {
        reply: ReplyId,
        rate: SampleRate,
        /// Half a sample that waits for its other half.
        carry: Option<u8>,
        /// Nobody may hear what is still to come.
        cut: bool,
    },
    Other,
}

impl Decoder {
    /// A decoder for a session that asked for audio at `rate`.
    pub(super) fn new(rate: SampleRate) -> Self {
        Self {
            rate,
            turns: Turns::default(),
            blocks: Vec::new(),
            used: Usage::default(),
            asked: VecDeque::new(),
            malformed: 0,
        }
    }

    /// Reads one JSON document and calls `emit` for everything that it means.
    pub(super) fn decode(&mut self, json: &[u8], emit: &mut impl FnMut(ModelEvent)) {
        let event = match serde_json::from_slice::<shapes::Envelope<'_>>(json) {
            Ok(envelope) => envelope.event,
            Err(error) => {
                // The text of the error may quote the document; its place does not.
                debug!(
                    line = error.line(),
                    column = error.column(),
                    "unreadable event skipped"
                );
                self.malformed += 1;
                return;
            }
        };
        if let Some(audio) = event.audio_output {
            self.on_audio(&audio, emit);
        } else if let Some(text) = event.text_output {
            self.on_text(&text, emit);
        } else if let Some(start) = event.content_start {
            self.on_start(&start);
        } else if let Some(end) = event.content_end {
            self.on_end(&end, emit);
        } else if let Some(usage) = event.usage_event {
            self.on_usage(&usage, emit);
        } else if let Some(tool) = event.tool_use {
            self.on_tool_use(tool, emit);
        }
    }

    /// Takes note of text that the model was sent as if the caller had said it: if the service
    /// reports it as the caller's words, they are not.
    pub(super) fn asked(&mut self, text: String) {
        if self.asked.len() >= MAX_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(text);
    }

    /// How many documents were unreadable.
    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }

    fn on_start(&mut self, start: &shapes::ContentStart<'_>) {
        let role = Role::parse(&start.role);
        let content = match start.kind.as_ref() {
            "TEXT" => {
                let stage = start.stage();
                // A planned sentence begins a reply; anything else belongs to one that exists.
                let reply = if is_plan(role, stage) {
                    self.turns.begin()
                } else {
                    self.turns.current()
                };
                Content::Text { role, stage, reply }
            }
            "AUDIO" => match self.rate_of(start) {
                Some(rate) => Content::Audio {
                    reply: self.turns.sound(),
                    rate,
                    carry: None,
                    cut: false,
                },
                None => Content::Other,
            },
            _ => Content::Other,
        };
        self.blocks.retain(|block| block.id != start.content_id);
        if self.blocks.len() >= MAX_BLOCKS {
            self.blocks.remove(0);
        }
        self.blocks.push(Block {
            id: start.content_id.as_ref().to_owned(),
            content,
        });
    }

    fn rate_of(&self, start: &shapes::ContentStart<'_>) -> Option<SampleRate> {
        let Some(hertz) = start
            .audio_output_configuration
            .as_ref()
            .and_then(|format| format.sample_rate_hertz)
        else {
            return Some(self.rate);
        };
        let rate = SampleRate::from_hertz(hertz);
        if rate.is_none() {
            warn!(hertz, "audio at a rate that nobody asked for is not played");
        }
        rate
    }

    fn on_text(&mut self, text: &shapes::TextOutput<'_>, emit: &mut impl FnMut(ModelEvent)) {
        let current = self.turns.current();
        let block = self
            .blocks
            .iter_mut()
            .find(|block| block.id == text.content_id);
        let (role, stage, mut reply) = match block.as_ref().map(|block| &block.content) {
            Some(&Content::Text { role, stage, reply }) => (role, stage, reply),
            _ => (None, None, current),
        };
        let role = role.or_else(|| Role::parse(&text.role));
        if role != Some(Role::User) && is_interruption_marker(&text.content) {
            self.interrupt(reply, emit);
            return;
        }
        let words = text.content.trim();
        if words.is_empty() {
            return;
        }
        let speaker = match (role, stage) {
            // What the assistant counts as said, it has planned; the rest is the caller's.
            (None, Some(Stage::Final)) if self.turns.knows(words) => Some(Role::Assistant),
            (None, Some(Stage::Final)) => Some(Role::User),
            (None, Some(Stage::Speculative)) => Some(Role::Assistant),
            (role, _) => role,
        };
        match (speaker, stage) {
            (Some(Role::User), _) => {
                if let Some(at) = self.asked.iter().position(|asked| asked == words) {
                    self.asked.remove(at);
                    debug!("text that was put in the caller's mouth came back");
                    return;
                }
                emit(ModelEvent::CallerSaid(words.to_owned()));
            }
            (Some(Role::Assistant), Some(Stage::Final)) => {
                let Some(of) = self.turns.said(words) else {
                    debug!("a sentence that was already counted as said came again");
                    return;
                };
                reply = of;
                if let Some(Block {
                    content: Content::Text { reply, .. },
                    ..
                }) = block
                {
                    *reply = of;
                }
                debug!(reply = reply.0, "said");
                emit(ModelEvent::AgentSaid(words.to_owned()));
            }
            (Some(Role::Assistant), _) => {
                // Where the start of the block did not tell that it is a plan.
                if block.is_none() {
                    reply = self.turns.begin();
                }
                if self.turns.plan(reply, words) {
                    emit(ModelEvent::Caption(reply, words.to_owned()));
                }
            }
            // Words that may be either side's are better lost than put in the wrong mouth.
            (None, _) => debug!("text of an unknown role skipped"),
        }
    }

    fn on_audio(&mut self, audio: &shapes::AudioOutput<'_>, emit: &mut impl FnMut(ModelEvent)) {
        let block = self.blocks.iter_mut().rev().find(|block| {
            // A server that leaves the id out can only mean the audio block that is open.
            block.id == audio.content_id
                || (audio.content_id.is_empty() && matches!(block.content, Content::Audio { .. }))
        });
        let Some(Block {
            content:
                Content::Audio {
                    reply,
                    rate,
                    carry,
                    cut: false,
                },
            ..
        }) = block
        else {
            return;
        };
        let mut pcm = Vec::with_capacity(audio.content.len() / 4 * 3 + 1);
        pcm.extend(carry.take());
        if BASE64
            .decode_vec(audio.content.as_bytes(), &mut pcm)
            .is_err()
        {
            debug!("unreadable audio skipped");
            self.malformed += 1;
            return;
        }
        if pcm.len() % 2 == 1 {
            *carry = pcm.pop();
        }
        if !pcm.is_empty() {
            let frame = AudioFrame::new(Bytes::from(pcm), *rate);
            emit(ModelEvent::Audio(*reply, frame));
        }
    }

    fn on_end(&mut self, end: &shapes::ContentEnd<'_>, emit: &mut impl FnMut(ModelEvent)) {
        let block = self
            .blocks
            .iter()
            .position(|block| block.id == end.content_id)
            .map(|at| self.blocks.remove(at));
        let interrupted = end.stop_reason == "INTERRUPTED";
        match block.map(|block| block.content) {
            Some(Content::Text { role, reply, .. }) => {
                if interrupted && role != Some(Role::User) {
                    self.interrupt(reply, emit);
                }
            }
            Some(Content::Audio { reply, .. }) => {
                if interrupted {
                    self.interrupt(reply, emit);
                } else if end.stop_reason == "END_TURN" && self.turns.end(reply) {
                    emit(ModelEvent::ReplyEnded(reply));
                }
            }
            Some(Content::Other) => {}
            // Its start was lost; what it says about the turn still holds.
            None => {
                let reply = self.turns.current();
                if interrupted {
                    self.interrupt(reply, emit);
                } else if end.kind == "AUDIO"
                    && end.stop_reason == "END_TURN"
                    && self.turns.end(reply)
                {
                    emit(ModelEvent::ReplyEnded(reply));
                }
            }
        }
    }

    /// The service says it up to three times and in three ways; the first one counts.
    fn interrupt(&mut self, reply: ReplyId, emit: &mut impl FnMut(ModelEvent)) {
        if self.turns.interrupt(reply) {
            for block in &mut self.blocks {
                if let Content::Audio { cut, .. } = &mut block.content {
                    *cut = true;
                }
            }
            emit(ModelEvent::Interrupted);
        }
    }

    /// The arguments go on as they are: what is wrong with them is the model's to hear.
    fn on_tool_use(&mut self, tool: shapes::ToolUse<'_>, emit: &mut impl FnMut(ModelEvent)) {
        if tool.tool_use_id.is_empty() {
            debug!("a use of a tool without an id, which cannot be answered, is skipped");
            self.malformed += 1;
            return;
        }
        emit(ModelEvent::ToolCall(ToolCall {
            id: ToolCallId::new(tool.tool_use_id.as_ref()),
            name: tool.tool_name.into_owned(),
            arguments: tool.content.into_owned(),
        }));
    }

    fn on_usage(&mut self, event: &shapes::UsageEvent, emit: &mut impl FnMut(ModelEvent)) {
        let used = event.since(self.used);
        self.used += used;
        if used != Usage::default() {
            emit(ModelEvent::Usage(used));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    User,
    Assistant,
}

impl Role {
    fn parse(role: &str) -> Option<Self> {
        match role {
            "USER" => Some(Self::User),
            "ASSISTANT" => Some(Self::Assistant),
            _ => None,
        }
    }
}

/// Whether text is a plan or what counts as said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Speculative,
    Final,
}

/// Text of the assistant is a plan unless it says that it is final.
fn is_plan(role: Option<Role>, stage: Option<Stage>) -> bool {
    match role {
        Some(Role::User) => false,
        Some(Role::Assistant) => stage != Some(Stage::Final),
        None => stage == Some(Stage::Speculative),
    }
}

/// Whether `text` is the note, a JSON object with `interrupted` true, by which Nova Sonic says
/// that the caller spoke over it. Ordinary text that mentions the word is not.
pub(super) fn is_interruption_marker(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Marker {
        interrupted: bool,
    }
    let text = text.trim();
    text.starts_with('{')
        && serde_json::from_str::<Marker>(text).is_ok_and(|marker| marker.interrupted)
}

/// Amazon pads; whoever does not is understood too.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Older text will not come back.
const MAX_ASKED: usize = 4;

/// A turn has a handful of open blocks; a server that never ends any must not fill the memory.
const MAX_BLOCKS: usize = 64;

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
