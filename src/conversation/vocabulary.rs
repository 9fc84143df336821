//! What a conversation is told, and what it answers.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Answering, Turn, Work};
use crate::{
    answer::{Sound, Verdict},
    audio::{AudioFrame, SampleRate},
    call::{LegCapabilities, Party, TransferOutcome},
    error::ProviderErrorKind,
    model::{ModelEvent, Said},
    private::Private,
    telephony::{CallEvent, Keys, MarkId, NotTaken, Show},
    tool::{ToolCall, ToolOutput, ToolResult, ToolRunId, ToolSpec},
    transcript::{Speaker, Utterance},
};

/// Names a model session within a call; grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a number")]
pub struct SessionId(pub u32);

/// What happened. Written down by a [journal](crate::journal), audio apart from the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "what a driver can report; a new kind must be handled everywhere"
)]
pub enum Input {
    /// The leg reports. Its end is [`CallEvent::HungUp`].
    Call(CallEvent),
    /// The local voice detector hears the caller begin (`true`) or stop (`false`) to speak.
    Voice(bool),
    /// A tone on the caller's line. Asked for while [`Conversation::listens_for_tones`] says so.
    ///
    /// [`Conversation::listens_for_tones`]: super::Conversation::listens_for_tones
    Sound(Sound),
    /// The session that was asked for is open.
    ModelOpened(SessionId),
    /// A session reports.
    Model(SessionId, ModelEvent),
    /// A session is over, or never opened: by the book (`None`), or because of this.
    ModelEnded(SessionId, Option<ProviderErrorKind>),
    /// A tool that [`Action::CallTool`] asked for is done, well or badly.
    ToolDone(ToolRunId, ToolOutput),
    /// A tool that still runs has something to say meanwhile, in words for the model.
    ToolProgress(ToolRunId, String),
    /// The application wants something.
    Command(Command),
    /// A frame that [`Action::Feed`] asked for could not be handed over.
    NotFed,
    /// A frame that [`Action::Play`] asked for could not be handed over.
    NotPlayed,
    /// The time that [`Step::Wait`] named has come.
    Tick,
}

/// What an application can ask of a running call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Hang up once the agent's last words were heard.
    HangUp,
    /// End at once, closing everything by the book.
    Abort,
    /// Give the model these words, which it answers as if the caller had said them.
    Tell(String),
    /// Connect the caller with somebody else once the agent's last words were heard, and leave
    /// the call. If the carrier fails to, the call goes on.
    Transfer {
        /// Whom.
        to: Party,
    },
    /// Let somebody else be called first and told this; the caller stays with the agent until
    /// they take the call over. If they do not, the model is told and the call goes on. Ignored
    /// while the caller is being handed over already.
    WarmTransfer {
        /// Whom.
        to: Party,
        /// What they hear before they decide.
        briefing: Private<String>,
    },
    /// Press these keys for the other side to hear.
    SendDtmf(Keys),
    /// Change what the agent is told, in the middle of the call: a session that knows it is
    /// warmed up, and the call moves to it at the next quiet point.
    Reconfigure(Reconfigure),
}

/// What [`Command::Reconfigure`] changes. Start from the default and assign what differs.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Reconfigure {
    /// Another system prompt.
    pub instructions: Option<String>,
    /// Another voice, by the model's name for it.
    pub voice: Option<String>,
    /// Only these of the agent's tools, by name.
    pub tools: Option<Vec<String>>,
}

/// Instructions may tell of the person on the phone: not for logs.
impl fmt::Debug for Reconfigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconfigure")
            .field("voice", &self.voice)
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}

/// What to do next.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignores a step must not compile"
)]
pub enum Step {
    /// Do this, then ask again.
    Do(Action),
    /// Nothing left. Come back with the next input, or with [`Input::Tick`] at this time.
    Wait(Option<Instant>),
}

/// Something for the driver to do. Written down by a [journal](crate::journal), audio apart from
/// the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignores an action must not compile"
)]
pub enum Action {
    /// Open a session under this name.
    OpenModel(SessionId),
    /// Tell the session, before anything else, what was said so far.
    Brief(SessionId, Vec<Said>),
    /// Give the session this frame of the caller.
    #[serde(skip)]
    Feed(SessionId, AudioFrame),
    /// Give the session these words.
    Tell(SessionId, String),
    /// Give the session the result of a use of a tool that it asked for.
    Answer(SessionId, ToolResult),
    /// Open sessions so from now on, or (`None`) as before the last such change.
    Configure(Option<Reconfigure>),
    /// Close the session by the book, or stop opening it.
    CloseModel(SessionId),
    /// Send this frame to the caller.
    #[serde(skip)]
    Play(AudioFrame),
    /// Ask the carrier to report when everything before this was played.
    Mark(MarkId),
    /// Make the carrier forget what it has not played.
    ClearPlayback,
    /// Show this on a leg with a screen.
    Show(Show),
    /// Connect the caller with somebody else.
    Transfer(Party),
    /// Call somebody else first, and tell them this.
    WarmTransfer {
        /// Whom.
        to: Party,
        /// What they hear.
        briefing: Private<String>,
    },
    /// Press these keys.
    SendDtmf(Keys),
    /// Start this tool, and report with [`Input::ToolDone`] under this name.
    CallTool(ToolRunId, ToolCall),
    /// Stop the tool; whatever it reports from now on is ignored.
    CancelTool(ToolRunId),
    /// End the leg.
    HangUp {
        /// The agent has failed and the caller was not done: let the carrier say that it is sorry.
        apologise: bool,
    },
    /// Keep this line.
    Record(Utterance),
    /// Tell observers.
    Publish(Notice),
    /// The call is over. The last action, and it comes once.
    End(EndReason),
}

impl Action {
    /// The action's kind, for logs: never its content.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OpenModel(_) => "open model",
            Self::Brief(..) => "brief",
            Self::Feed(..) => "feed",
            Self::Tell(..) => "tell",
            Self::Answer(..) => "answer",
            Self::Configure(_) => "configure",
            Self::CloseModel(_) => "close model",
            Self::Play(_) => "play",
            Self::Mark(_) => "mark",
            Self::ClearPlayback => "clear playback",
            Self::Show(_) => "show",
            Self::Transfer(_) => "transfer",
            Self::WarmTransfer { .. } => "warm transfer",
            Self::SendDtmf(_) => "send dtmf",
            Self::CallTool(..) => "call tool",
            Self::CancelTool(_) => "cancel tool",
            Self::HangUp { .. } => "hang up",
            Self::Record(_) => "record",
            Self::Publish(_) => "publish",
            Self::End(_) => "end",
        }
    }
}

/// What observers are told as it happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// The agent does something else now.
    State {
        /// What it did before.
        old: AgentState,
        /// What it does now.
        new: AgentState,
    },
    /// Words that are about to be said or were just heard; early, and not yet the transcript.
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
    /// A tool is done with, and the model was told, or will be.
    ToolAnswered {
        /// Which use.
        run: ToolRunId,
        /// Whether it failed, ran out of time or was cancelled.
        failed: bool,
    },
    /// How far the caller is on the way to somebody else.
    Transfer(TransferStep),
    /// Something went wrong.
    Trouble(ProviderErrorKind),
    /// The caller was answered.
    Turn(Turn),
    /// Something that took time is over, outside any turn.
    Work(Work),
}

/// What the agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "the states that voice frameworks share"
)]
pub enum AgentState {
    /// The model is not there yet.
    Initializing,
    /// It is the caller's turn.
    Listening,
    /// The caller has spoken; the answer is not there yet.
    Thinking,
    /// The caller hears the agent.
    Speaking,
    /// The caller is being handed over to somebody else, and nobody speaks.
    Transferring,
}

impl AgentState {
    /// The state's name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Listening => "listening",
            Self::Thinking => "thinking",
            Self::Speaking => "speaking",
            Self::Transferring => "transferring",
        }
    }
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a transfer is. Each one begins once and comes to one end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TransferStep {
    /// It begins.
    Begun {
        /// Whether the person is called first and told who waits.
        briefed: bool,
    },
    /// The caller talks with them now.
    Connected,
    /// They did not take the call over; it goes on.
    NotTaken(NotTaken),
    /// The carrier did not do it; the call goes on.
    Failed(ProviderErrorKind),
    /// The call ended before.
    Abandoned,
}

impl TransferStep {
    /// What came of it; `None` while it is under way.
    #[must_use]
    pub const fn outcome(&self) -> Option<TransferOutcome> {
        Some(match self {
            Self::Begun { .. } => return None,
            Self::Connected => TransferOutcome::Connected,
            Self::NotTaken(NotTaken::NoAnswer) => TransferOutcome::NoAnswer,
            Self::NotTaken(NotTaken::Busy) => TransferOutcome::Busy,
            Self::NotTaken(NotTaken::Declined) => TransferOutcome::Declined,
            Self::NotTaken(NotTaken::Machine) => TransferOutcome::Machine,
            Self::NotTaken(NotTaken::Unreachable) | Self::Failed(_) => TransferOutcome::Failed,
            Self::Abandoned => TransferOutcome::Abandoned,
        })
    }
}

/// Why a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// The caller hung up, or the leg was lost.
    CallerHungUp,
    /// The agent hung up.
    AgentHungUp,
    /// The caller talks with somebody else now.
    Transferred,
    /// The application ended the call, or the service stops.
    Aborted,
    /// Nothing came from the leg for too long.
    NoTraffic,
    /// The model failed, or could not be reached.
    ModelFailed(ProviderErrorKind),
}

/// What a conversation must know of its call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a new field must be answered by every driver"
)]
pub struct Setup {
    /// The rate of the leg, both ways.
    pub rate: SampleRate,
    /// What the leg can do.
    pub leg: LegCapabilities,
    /// Whether the model takes text.
    pub text_input: bool,
    /// Every tool that the agent has.
    #[serde(default)]
    pub tools: Arc<[ToolSpec]>,
    /// The names of those that the model is offered at first; `None`: all.
    #[serde(default)]
    pub offered: Option<Vec<String>>,
    /// What makes the model speak first, if it should.
    pub greeting: Option<String>,
    /// What is done about whoever answers a call that we placed. `None`: the agent speaks as soon
    /// as it can, as on calls that come in.
    #[serde(default)]
    pub answering: Option<Answering>,
    /// The model ends a session after this long; `None`: never.
    pub session_limit: Option<Duration>,
    /// Between -1 and 1, different for each call: spreads the rollovers of calls that began
    /// together.
    pub jitter: f32,
    /// What the caller hears while nobody is there to speak, at the leg's rate.
    #[serde(skip)]
    pub filler: Option<AudioFrame>,
    /// What the calendar shows at the conversation's first instant.
    pub started: Timestamp,
}
