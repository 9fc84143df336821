//! Speech-to-speech models: how a session opens, and the vocabulary that it speaks.

pub mod breaker;
pub mod memory;
pub mod price;

pub mod scripted;

#[cfg(feature = "nova-sonic")]
pub mod nova_sonic;

use std::{fmt, ops::AddAssign, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    audio::{AudioFrame, SampleRate},
    call::CallId,
    duplex::Duplex,
    error::ProviderError,
    tool::{ToolCall, ToolResult, ToolSpec},
    transcript::Speaker,
};

/// Opens speech-to-speech sessions.
///
/// # Contract
///
/// `open` returns once the provider has accepted the session; dropping its future abandons the
/// attempt and leaves nothing open. A session keeps reading whatever its user does, obeys
/// commands in order, gives every event of one reply the same [`ReplyId`], and numbers replies
/// upwards. After [`ModelCommand::Finish`] it closes by the provider's book, delivers what still
/// comes, and ends its events. An end that nobody asked for is an `Err`, never a silent `None`.
/// A dropped [`Duplex`] closes the session too, by force if it must.
#[async_trait]
pub trait SpeechModel: fmt::Debug + Send + Sync + 'static {
    /// What this model can do; asked once per call, before its first session.
    fn capabilities(&self) -> Capabilities;

    /// Opens one session that knows `seed`.
    ///
    /// # Errors
    ///
    /// By kind, see [`ProviderErrorKind`](crate::ProviderErrorKind): what is worth another try,
    /// and what is not.
    async fn open(&self, seed: SessionSeed) -> Result<Session, ProviderError>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: SpeechModel + ?Sized> SpeechModel for Arc<M> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    async fn open(&self, seed: SessionSeed) -> Result<Session, ProviderError> {
        (**self).open(seed).await
    }
}

/// A live session with a model.
pub type Session = Duplex<ModelCommand, ModelEvent>;

/// What a model can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built by providers; a new field must be answered by each"
)]
pub struct Capabilities {
    /// A short fixed name for logs and announcements, such as `nova-sonic`.
    pub name: &'static str,
    /// Takes [`ModelCommand::Text`] during a session, so it can be asked to speak first.
    pub text_input: bool,
    /// Uses the tools of its seed: sends [`ModelEvent::ToolCall`], takes
    /// [`ModelCommand::ToolResult`].
    pub tools: bool,
    /// The model ends a session after this long. `None`: it never does.
    pub max_session: Option<Duration>,
}

/// What a new session must know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionSeed {
    /// The call that it belongs to, for logs.
    pub call: CallId,
    /// The system prompt.
    pub instructions: String,
    /// What was said before, oldest first: final text only.
    pub history: Vec<Said>,
    /// What the model may use. Given only to models with [`Capabilities::tools`].
    pub tools: Arc<[ToolSpec]>,
    /// The voice, by the model's own name for it. `None`: the one that the model is set to.
    pub voice: Option<String>,
    /// The rate of the caller's audio.
    pub input_rate: SampleRate,
    /// The rate asked for the model's audio.
    pub output_rate: SampleRate,
}

impl SessionSeed {
    /// A first session: no history, the same rate both ways.
    #[must_use]
    pub fn new(call: CallId, instructions: impl Into<String>, rate: SampleRate) -> Self {
        Self {
            call,
            instructions: instructions.into(),
            history: Vec::new(),
            tools: Arc::default(),
            voice: None,
            input_rate: rate,
            output_rate: rate,
        }
    }
}

/// Something that one side said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct Said {
    /// Who.
    pub speaker: Speaker,
    /// The words.
    pub text: String,
}

/// What a session is told. Exhaustive on purpose: a provider that ignores one must not compile.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a provider that ignores a command must not compile"
)]
pub enum ModelCommand {
    /// What was said before, oldest first, for a session that was opened before it was needed.
    /// Sent at most once, and before any audio; it replaces [`SessionSeed::history`].
    History(Vec<Said>),
    /// The caller's next frame; continuous, silence included.
    Audio(AudioFrame),
    /// Words that the model answers as if the caller had said them. Sent only to models with
    /// [`Capabilities::text_input`].
    Text(String),
    /// What came of a use of a tool. Sent exactly once for each [`ModelEvent::ToolCall`] of this
    /// session that was read before [`Finish`](Self::Finish), in any order; never with an id of
    /// another session.
    ToolResult(ToolResult),
    /// Close by the book.
    Finish,
}

/// What a session reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelEvent {
    /// The model heard the caller begin to speak.
    SpeechStarted,
    /// Words of the caller, final; an utterance may come in several.
    CallerSaid(String),
    /// The next sentence that the model means to say in this reply: a caption, not yet the truth.
    /// The audio that follows, up to the next caption, belongs to it.
    Caption(ReplyId, String),
    /// The next audio of this reply; any length.
    #[serde(skip)]
    Audio(ReplyId, AudioFrame),
    /// A sentence that the model counts as said; may come seconds late.
    AgentSaid(String),
    /// The caller spoke over the current reply: nothing more of it may be heard.
    Interrupted,
    /// No more audio will come for this reply.
    ReplyEnded(ReplyId),
    /// The model wants a tool to be used, and may go on speaking and listening meanwhile. The
    /// same one may come twice; it is one use.
    ToolCall(ToolCall),
    /// Tokens used since the last such event.
    Usage(Usage),
}

/// Names a reply (one assistant turn) within a session; grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a number")]
pub struct ReplyId(pub u64);

/// Tokens, as the model counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the four kinds that providers bill"
)]
pub struct Usage {
    /// Speech heard.
    pub input_speech_tokens: u64,
    /// Text read.
    pub input_text_tokens: u64,
    /// Speech spoken.
    pub output_speech_tokens: u64,
    /// Text written.
    pub output_text_tokens: u64,
}

/// A count that no number holds stays at the greatest: what a model reports comes from outside.
impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.input_speech_tokens, other.input_speech_tokens);
        add(&mut self.input_text_tokens, other.input_text_tokens);
        add(&mut self.output_speech_tokens, other.output_speech_tokens);
        add(&mut self.output_text_tokens, other.output_text_tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_counts_without_bounds_breaks_nothing() {
        let much = Usage {
            input_speech_tokens: u64::MAX - 1,
            ..Usage::default()
        };
        let mut sum = much;
        sum += much;
        assert_eq!(sum.input_speech_tokens, u64::MAX);
        assert_eq!(sum.output_text_tokens, 0);
    }
}
