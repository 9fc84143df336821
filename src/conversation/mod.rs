//! Every decision about a call, and nothing else.
//!
//! A [`Conversation`] is told what happened, and when ([`Conversation::handle`]), and says what to
//! do about it ([`Conversation::step`]). It owns no socket, no task and no clock, so that an hour
//! of a call can be tested in a millisecond and every rule about a call has exactly one home. The
//! agent's driver is the shell around it.
//!
//! Three ideas carry the rest:
//!
//! - *Pacing.* Reply frames go out a small lead ahead of the ear, so what the caller has heard is
//!   known at any time, and stopping is instant.
//! - *Names instead of flags.* Sessions and replies carry ids; what belongs to one that is over is
//!   recognised by comparison.
//! - *One table of timers.* The next wake-up is its minimum.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    audio::{AudioFrame, FRAME, Framer, Resampler, SampleRate},
    call::LegCapabilities,
    error::ProviderErrorKind,
    model::{ModelEvent, ReplyId},
    telephony::{CallEvent, MarkId, Show},
    transcript::{Speaker, Utterance, collapse_white_space},
};

mod config;
pub use config::{BargeIn, Config};

mod stats;
pub use stats::{CallStats, TurnLatency};

mod caller;
mod feed;
mod playout;
mod reply;
mod timer;

use caller::CallerWords;
use feed::Feed;
use playout::{Out, Playout};
use reply::{Replies, ReplyKey};
use stats::{Stage, TurnClock};
use timer::{Timer, Timers};

/// Names a model session within a call; grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_structs, reason = "a number")]
pub struct SessionId(pub u32);

/// What happened.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "what a driver can report; a new kind must be handled everywhere"
)]
pub enum Input {
    /// The leg reports. Its end is [`CallEvent::HungUp`].
    Call(CallEvent),
    /// The local voice detector hears the caller begin (`true`) or stop (`false`) to speak.
    Voice(bool),
    /// The session that was asked for is open.
    ModelOpened(SessionId),
    /// A session reports.
    Model(SessionId, ModelEvent),
    /// A session is over, or never opened: by the book (`None`), or because of this.
    ModelEnded(SessionId, Option<ProviderErrorKind>),
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Hang up once the agent's last words were heard.
    HangUp,
    /// End at once, closing everything by the book.
    Abort,
    /// Give the model these words, which it answers as if the caller had said them.
    Tell(String),
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

/// Something for the driver to do.
#[derive(Debug, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignores an action must not compile"
)]
pub enum Action {
    /// Open a session under this name.
    OpenModel(SessionId),
    /// Give the session this frame of the caller.
    Feed(SessionId, AudioFrame),
    /// Give the session these words.
    Tell(SessionId, String),
    /// Close the session by the book, or stop opening it.
    CloseModel(SessionId),
    /// Send this frame to the caller.
    Play(AudioFrame),
    /// Ask the carrier to report when everything before this was played.
    Mark(MarkId),
    /// Make the carrier forget what it has not played.
    ClearPlayback,
    /// Show this on a leg with a screen.
    Show(Show),
    /// End the leg.
    HangUp,
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
            Self::Feed(..) => "feed",
            Self::Tell(..) => "tell",
            Self::CloseModel(_) => "close model",
            Self::Play(_) => "play",
            Self::Mark(_) => "mark",
            Self::ClearPlayback => "clear playback",
            Self::Show(_) => "show",
            Self::HangUp => "hang up",
            Self::Record(_) => "record",
            Self::Publish(_) => "publish",
            Self::End(_) => "end",
        }
    }
}

/// What observers are told as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Something went wrong.
    Trouble(ProviderErrorKind),
}

/// What the agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        }
    }
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The caller hung up, or the leg was lost.
    CallerHungUp,
    /// The agent hung up.
    AgentHungUp,
    /// The application ended the call, or the service stops.
    Aborted,
    /// Nothing came from the leg for too long.
    NoTraffic,
    /// The model failed, or could not be reached.
    ModelFailed(ProviderErrorKind),
}

/// What a conversation must know of its call.
#[derive(Clone, Debug)]
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
    /// What makes the model speak first, if it should.
    pub greeting: Option<String>,
    /// What the calendar shows at the conversation's first instant.
    pub started: Timestamp,
}

/// One call: what was said, what is being said, and what to do next.
#[derive(Debug)]
pub struct Conversation {
    config: Config,
    setup: Setup,
    epoch: Instant,
    now: Instant,
    phase: Phase,
    session: SessionId,
    session_open: bool,
    /// Whether the session was asked for and has not ended.
    session_alive: bool,
    state: AgentState,
    awaits_reply: bool,
    voice: bool,
    last_traffic: Instant,
    keys: String,
    seq: u64,
    feed: Feed,
    framer: Option<(ReplyKey, Framer, Duration)>,
    resampler: Option<Resampler>,
    playout: Playout,
    replies: Replies,
    caller: CallerWords,
    turn: TurnClock,
    timers: Timers,
    actions: VecDeque<Action>,
    stats: CallStats,
}

/// How far the call is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Live,
    /// The agent hangs up once its last words were heard.
    LastWords,
    /// The leg was told to hang up and has not done so yet.
    HangingUp(EndReason),
    /// The leg is gone; the session closes by the book and may still send text.
    Closing(EndReason),
    Over,
}

impl Conversation {
    /// A call that begins `now`.
    #[must_use]
    pub fn new(config: Config, setup: Setup, now: Instant) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Traffic, now + config.no_traffic);
        let session = SessionId(1);
        Self {
            epoch: now,
            now,
            phase: Phase::Live,
            session,
            session_open: false,
            session_alive: true,
            state: AgentState::Initializing,
            awaits_reply: false,
            voice: false,
            last_traffic: now,
            keys: String::new(),
            seq: 0,
            feed: Feed::new(setup.rate, now),
            framer: None,
            resampler: None,
            playout: Playout::new(config.lead, setup.leg.marks),
            replies: Replies::default(),
            caller: CallerWords::default(),
            turn: TurnClock::default(),
            timers,
            actions: VecDeque::from([Action::OpenModel(session)]),
            stats: CallStats::default(),
            config,
            setup,
        }
    }

    /// Takes note of what happened. Time that runs backwards is ignored.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Call(event) => self.on_call(event),
            Input::Voice(voice) => self.on_voice(voice),
            Input::ModelOpened(session) if session == self.session => self.on_model_opened(),
            Input::Model(session, event) if session == self.session => self.on_model(event),
            Input::ModelEnded(session, error) if session == self.session => {
                self.on_model_ended(error)
            }
            // A session that was left may still be talking; nobody hears it.
            Input::ModelOpened(_) | Input::Model(..) | Input::ModelEnded(..) => {}
            Input::Command(command) => self.on_command(command),
            Input::NotFed => self.stats.frames_dropped += 1,
            Input::NotPlayed => self.stats.frames_unplayed += 1,
            Input::Tick => {}
        }
        self.on_time();
    }

    /// What to do next: actions first, then how long to wait.
    pub fn step(&mut self) -> Step {
        match self.actions.pop_front() {
            Some(action) => Step::Do(action),
            None if self.phase == Phase::Over => Step::Wait(None),
            None => Step::Wait(self.timers.next()),
        }
    }

    /// What the agent does right now.
    #[must_use]
    pub fn state(&self) -> AgentState {
        self.state
    }

    /// The figures so far.
    #[must_use]
    pub fn stats(&self) -> CallStats {
        let feed = self.feed.stats;
        CallStats {
            frames_received: feed.received,
            frames_fed: feed.fed,
            frames_filled: feed.filled,
            frames_trimmed: feed.trimmed,
            frames_dropped: self.stats.frames_dropped + feed.dropped,
            frames_played: self.playout.frames,
            underruns: self.playout.underruns,
            ..self.stats.clone()
        }
    }

    fn on_call(&mut self, event: CallEvent) {
        self.last_traffic = self.now;
        match event {
            CallEvent::Audio(frame) => {
                if let Some(frame) = self.feed.take(self.now, frame, self.voice, &self.config) {
                    self.actions.push_back(Action::Feed(self.session, frame));
                }
                self.schedule_fill();
            }
            CallEvent::Dtmf(key) => self.on_key(key),
            CallEvent::Played(mark) => {
                if self.playout.played(self.now, mark) {
                    self.turn.reach(Stage::Played, self.now);
                    self.on_heard();
                }
            }
            // The feed fills the gap by itself.
            CallEvent::Muted(_) => {}
            CallEvent::HungUp => self.on_hung_up(),
        }
    }

    /// The local detector may only pause: a cough must not eat a sentence.
    fn on_voice(&mut self, voice: bool) {
        if self.voice == voice {
            return;
        }
        self.voice = voice;
        if voice {
            self.caller.voice_started(self.now);
            if self.config.barge_in.local && self.playout.is_audible(self.now) {
                self.timers
                    .set(Timer::BargeIn, self.now + self.config.barge_in.min);
            }
        } else {
            self.caller.voice_stopped(self.now);
            self.turn.caller_stopped(self.now, &mut self.stats.turns);
            self.timers.stop(Timer::BargeIn);
            if self.playout.is_paused() {
                self.timers
                    .set(Timer::Resume, self.now + self.config.barge_in.confirm);
            }
        }
    }

    fn on_model_opened(&mut self) {
        if self.phase != Phase::Live || self.session_open {
            return;
        }
        self.session_open = true;
        for frame in self.feed.open(self.now) {
            self.actions.push_back(Action::Feed(self.session, frame));
        }
        self.schedule_fill();
        if let Some(greeting) = self.setup.greeting.take() {
            self.tell(greeting);
        }
        self.refresh();
    }

    fn on_model(&mut self, event: ModelEvent) {
        match event {
            ModelEvent::SpeechStarted => self.caller.voice_started(self.now),
            ModelEvent::CallerSaid(text) => self.on_caller_said(&text),
            ModelEvent::Caption(reply, text) => self.on_caption(reply, &text),
            ModelEvent::Audio(reply, audio) => self.on_reply_audio(reply, audio),
            ModelEvent::AgentSaid(text) => {
                self.replies.final_text(&text);
                self.commit(false);
            }
            ModelEvent::Interrupted => self.cut(),
            ModelEvent::ReplyEnded(reply) => self.on_reply_ended(reply),
            ModelEvent::Usage(usage) => self.stats.usage += usage,
        }
    }

    fn on_caller_said(&mut self, text: &str) {
        let text = collapse_white_space(text);
        if text.is_empty() {
            return;
        }
        // The model understood words while playout was paused for a voice: it was one.
        if self.playout.is_paused() {
            self.cut();
        }
        self.turn.reach(Stage::CallerText, self.now);
        self.caption(Speaker::Caller, text.clone());
        self.caller.said(self.now, &text);
        self.timers
            .set(Timer::CallerText, self.now + self.config.caller_text_wait);
        self.awaits_reply = true;
        self.refresh();
    }

    fn on_caption(&mut self, reply: ReplyId, text: &str) {
        let Some(key) = self.reply(reply) else { return };
        self.turn.reach(Stage::FirstText, self.now);
        self.replies.caption(key, text);
        self.caption(Speaker::Agent, collapse_white_space(text));
    }

    fn on_reply_audio(&mut self, reply: ReplyId, audio: AudioFrame) {
        let Some(key) = self.reply(reply) else { return };
        self.turn.reach(Stage::FirstAudio, self.now);
        self.awaits_reply = false;
        let audio = self.at_leg_rate(audio);
        let length = audio.duration();
        self.replies.audio(key, length);
        let rate = self.setup.rate;
        if self
            .framer
            .as_ref()
            .is_none_or(|(current, ..)| *current != key)
        {
            self.flush_framer();
            self.framer = Some((key, Framer::new(rate), Duration::ZERO));
            self.actions.extend(
                self.setup
                    .leg
                    .text
                    .then_some(Action::Show(Show::ReplyStarted)),
            );
        }
        if let Some((_, framer, upto)) = &mut self.framer {
            framer.push(audio.into_pcm());
            while let Some(frame) = framer.pop() {
                *upto += FRAME;
                self.playout.push(key, *upto, frame);
            }
        }
        self.pump();
    }

    fn on_reply_ended(&mut self, reply: ReplyId) {
        let Some(key) = self.reply(reply) else { return };
        self.awaits_reply = false;
        self.flush_framer();
        let length = self.replies.end(key);
        self.playout.push_mark(key, length);
        self.pump();
        self.on_heard();
    }

    /// Nobody will answer any more, unless it was we who left.
    fn on_model_ended(&mut self, error: Option<ProviderErrorKind>) {
        self.session_open = false;
        self.session_alive = false;
        match (&self.phase, error) {
            (Phase::Closing(reason), _) => {
                let reason = reason.clone();
                self.finish(reason);
            }
            (Phase::Live | Phase::LastWords, error) => {
                let kind = error.unwrap_or(ProviderErrorKind::Closed);
                self.actions
                    .push_back(Action::Publish(Notice::Trouble(kind.clone())));
                if self.setup.leg.text {
                    self.actions.push_back(Action::Show(Show::Error(format!(
                        "The speech model failed: {kind}."
                    ))));
                }
                self.hang_up(EndReason::ModelFailed(kind));
            }
            (Phase::HangingUp(_) | Phase::Over, _) => {}
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::HangUp if self.phase == Phase::Live => {
                self.phase = Phase::LastWords;
                self.timers
                    .set(Timer::Ending, self.now + self.config.last_words);
                self.on_heard();
            }
            Command::Abort if matches!(self.phase, Phase::Live | Phase::LastWords) => {
                self.hang_up(EndReason::Aborted);
            }
            Command::Tell(text) => self.tell(text),
            Command::HangUp | Command::Abort => {}
        }
    }

    fn on_key(&mut self, key: char) {
        if self.keys.len() < MAX_KEYS {
            self.keys.push(key);
        }
        self.timers
            .set(Timer::Keys, self.now + self.config.keys_wait);
    }

    /// The leg is gone. What it had not played was not heard.
    fn on_hung_up(&mut self) {
        let reason = match &self.phase {
            Phase::HangingUp(reason) => reason.clone(),
            Phase::Live => EndReason::CallerHungUp,
            Phase::LastWords => EndReason::AgentHungUp,
            Phase::Closing(_) | Phase::Over => return,
        };
        self.close(reason);
    }

    fn on_time(&mut self) {
        let now = self.now;
        if self.timers.take_due(Timer::Fill, now) {
            while let Some(silence) = self.feed.fill(now, &self.config) {
                self.actions.push_back(Action::Feed(self.session, silence));
            }
            self.schedule_fill();
        }
        if self.timers.take_due(Timer::Playout, now) {
            self.pump();
        }
        if self.timers.take_due(Timer::Heard, now) {
            self.on_marks_overdue();
            self.on_heard();
        }
        if self.timers.take_due(Timer::BargeIn, now) && self.voice && self.playout.is_audible(now) {
            self.pause();
        }
        if self.timers.take_due(Timer::Resume, now) && self.playout.is_paused() {
            self.stats.false_interruptions += 1;
            self.playout.resume();
            self.pump();
        }
        if self.timers.take_due(Timer::FinalText, now) {
            self.commit(false);
        }
        if self.timers.take_due(Timer::CallerText, now) {
            self.commit_caller();
        }
        if self.timers.take_due(Timer::Keys, now) {
            let keys: Vec<String> = self.keys.drain(..).map(String::from).collect();
            self.tell(format!("The caller pressed {}.", keys.join(" ")));
        }
        if self.timers.take_due(Timer::Traffic, now) {
            let due = self.last_traffic + self.config.no_traffic;
            if due > now {
                self.timers.set(Timer::Traffic, due);
            } else if matches!(self.phase, Phase::Live | Phase::LastWords) {
                self.hang_up(EndReason::NoTraffic);
            }
        }
        if self.timers.take_due(Timer::Ending, now) {
            match self.phase.clone() {
                Phase::LastWords => self.hang_up(EndReason::AgentHungUp),
                Phase::HangingUp(reason) => self.close(reason),
                Phase::Closing(reason) => self.finish(reason),
                Phase::Live | Phase::Over => {}
            }
        }
    }

    /// Sends what the lead has room for.
    fn pump(&mut self) {
        let now = self.now;
        while let Some(out) = self.playout.next(now) {
            match out {
                Out::Frame(key, frame) => {
                    self.turn.reach(Stage::FirstFrame, now);
                    self.replies.sent(key, now);
                    self.commit_caller();
                    self.actions.push_back(Action::Play(frame));
                }
                Out::Mark(mark) => self.actions.push_back(Action::Mark(mark)),
            }
        }
        match self.playout.due(now) {
            Some(due) => self.timers.set(Timer::Playout, due),
            None => self.timers.stop(Timer::Playout),
        }
        self.schedule_heard();
        self.refresh();
    }

    /// The caller has heard more: close the replies that are through.
    fn on_heard(&mut self) {
        let now = self.now;
        self.playout.settle(now);
        let empty = self.playout.is_empty() && !self.playout.is_paused();
        let closed = self.replies.heard(now, self.playout.heard(), empty);
        if closed > 0 {
            if self.setup.leg.text {
                self.actions
                    .push_back(Action::Show(Show::ReplyEnded { interrupted: false }));
            }
            self.turn.close(&mut self.stats.turns);
            self.commit(false);
        }
        self.schedule_heard();
        self.refresh();
        if self.phase == Phase::LastWords && empty && !self.awaits_reply {
            self.hang_up(EndReason::AgentHungUp);
        }
    }

    fn on_marks_overdue(&mut self) {
        let overdue = self
            .playout
            .drained_at()
            .is_some_and(|end| end + self.config.mark_overdue <= self.now);
        if overdue && self.playout.awaits_marks() {
            self.playout.give_up_marks();
        }
    }

    fn schedule_heard(&mut self) {
        let Some(end) = self
            .playout
            .drained_at()
            .filter(|_| !self.playout.is_empty())
        else {
            return self.timers.stop(Timer::Heard);
        };
        let at = if end > self.now {
            end
        } else {
            end + self.config.mark_overdue
        };
        self.timers
            .set(Timer::Heard, at.max(self.now + Duration::from_millis(1)));
    }

    fn schedule_fill(&mut self) {
        match self.feed.fill_at(&self.config) {
            Some(at) if self.session_open => self.timers.set(Timer::Fill, at),
            Some(_) | None => self.timers.stop(Timer::Fill),
        }
    }

    /// Somebody speaks over the agent, perhaps.
    fn pause(&mut self) {
        self.playout.pause(self.now);
        self.actions.push_back(Action::ClearPlayback);
        self.timers.stop(Timer::Playout);
        self.timers
            .set(Timer::Resume, self.now + self.config.barge_in.max_pause);
        self.refresh();
    }

    /// The caller speaks over the agent: stop at once, and remember only what was heard.
    fn cut(&mut self) {
        let paused = self.playout.is_paused();
        let with_carrier = self.playout.cut(self.now);
        self.timers.stop(Timer::BargeIn);
        self.timers.stop(Timer::Resume);
        self.timers.stop(Timer::Playout);
        self.framer = None;
        self.replies.heard(self.now, self.playout.heard(), false);
        let cut = self.replies.cut(self.now);
        // A pause has cleared the carrier already.
        if with_carrier && !paused {
            self.actions.push_back(Action::ClearPlayback);
        }
        if cut > 0 {
            self.stats.interruptions += cut as u64;
            if self.setup.leg.text {
                self.actions
                    .push_back(Action::Show(Show::ReplyEnded { interrupted: true }));
            }
            self.turn.close(&mut self.stats.turns);
        }
        self.schedule_heard();
        self.commit(false);
        self.refresh();
    }

    /// Ends the leg, and then everything.
    fn hang_up(&mut self, reason: EndReason) {
        self.phase = Phase::HangingUp(reason);
        self.timers.set(Timer::Ending, self.now + LEG_CLOSE);
        self.actions.push_back(Action::HangUp);
    }

    /// The leg is gone; the model may still have text for us.
    fn close(&mut self, reason: EndReason) {
        self.playout.settle(self.now);
        let heard = self.playout.heard();
        let empty = self.playout.is_empty() && !self.playout.is_paused();
        self.replies.heard(self.now, heard, empty);
        self.playout.cut(self.now);
        self.framer = None;
        self.replies.cut(self.now);
        for timer in [
            Timer::Fill,
            Timer::Playout,
            Timer::Heard,
            Timer::BargeIn,
            Timer::Resume,
            Timer::Keys,
            Timer::Traffic,
        ] {
            self.timers.stop(timer);
        }
        self.commit_caller();
        if !self.session_alive {
            return self.finish(reason);
        }
        self.actions.push_back(Action::CloseModel(self.session));
        self.timers.set(Timer::Ending, self.now + self.config.close);
        self.phase = Phase::Closing(reason);
    }

    fn finish(&mut self, reason: EndReason) {
        self.commit_caller();
        self.commit(true);
        self.turn.close(&mut self.stats.turns);
        self.phase = Phase::Over;
        self.actions.push_back(Action::End(reason));
    }

    /// Records the lines of the agent that are certain.
    fn commit(&mut self, all: bool) {
        while let Some(line) = self.replies.take_line(self.now, all, &self.config) {
            self.record(line.began, Speaker::Agent, line.text, line.cut);
        }
        match self.replies.certain_at(&self.config) {
            Some(at) => self.timers.set(Timer::FinalText, at),
            None => self.timers.stop(Timer::FinalText),
        }
    }

    fn commit_caller(&mut self) {
        self.timers.stop(Timer::CallerText);
        if let Some((began, text)) = self.caller.take() {
            self.record(began, Speaker::Caller, text, false);
        }
    }

    fn record(&mut self, began: Instant, speaker: Speaker, text: String, cut: bool) {
        self.seq += 1;
        self.stats.utterances += 1;
        let at = self.wall(began);
        self.actions.push_back(Action::Record(Utterance {
            seq: self.seq,
            at,
            speaker,
            text,
            cut,
        }));
    }

    fn tell(&mut self, text: String) {
        if !self.setup.text_input {
            self.actions
                .push_back(Action::Publish(Notice::Trouble(ProviderErrorKind::Invalid)));
        } else if self.session_open {
            self.awaits_reply = true;
            self.actions.push_back(Action::Tell(self.session, text));
            self.refresh();
        } else if self.phase == Phase::Live && self.setup.greeting.is_none() {
            self.setup.greeting = Some(text);
        }
    }

    fn caption(&mut self, speaker: Speaker, text: String) {
        if self.setup.leg.text {
            self.actions.push_back(Action::Show(Show::Text {
                speaker,
                text: text.clone(),
            }));
        }
        self.actions
            .push_back(Action::Publish(Notice::Caption { speaker, text }));
    }

    /// The reply that the model names so, unless nobody may hear it any more. A new one while
    /// playout is paused means that the model has taken the caller's turn.
    fn reply(&mut self, reply: ReplyId) -> Option<ReplyKey> {
        if !matches!(self.phase, Phase::Live | Phase::LastWords) {
            return None;
        }
        if self.playout.is_paused() && self.replies.is_new(self.session, reply) {
            self.cut();
        }
        self.replies.key(self.session, reply)
    }

    /// Pads and queues what is left of the reply whose audio came last.
    fn flush_framer(&mut self) {
        if let Some((key, mut framer, upto)) = self.framer.take()
            && let Some(frame) = framer.flush()
        {
            self.playout.push(key, upto + FRAME, frame);
        }
    }

    fn at_leg_rate(&mut self, audio: AudioFrame) -> AudioFrame {
        let rate = self.setup.rate;
        if audio.rate() == rate {
            return audio;
        }
        let from = audio.rate();
        self.resampler
            .get_or_insert_with(|| Resampler::new(from, rate))
            .resample(&audio)
    }

    /// Derives the state, and tells observers when it changed.
    fn refresh(&mut self) {
        let new = if !self.session_open {
            AgentState::Initializing
        } else if self.playout.is_audible(self.now) {
            AgentState::Speaking
        } else if self.awaits_reply {
            AgentState::Thinking
        } else {
            AgentState::Listening
        };
        let old = std::mem::replace(&mut self.state, new);
        if old != new && self.phase != Phase::Over {
            self.actions
                .push_back(Action::Publish(Notice::State { old, new }));
        }
    }

    fn wall(&self, at: Instant) -> Timestamp {
        let since = at.saturating_duration_since(self.epoch);
        self.setup
            .started
            .checked_add(since)
            .unwrap_or(self.setup.started)
    }
}

/// More keys at once are noise.
const MAX_KEYS: usize = 32;

/// How long a leg may take to hang up.
const LEG_CLOSE: Duration = Duration::from_secs(3);
