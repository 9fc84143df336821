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
    time::{Duration, Instant},
};

use crate::{
    answer::Evidence,
    audio::{Framer, Resampler},
    error::ProviderErrorKind,
    telephony::{CallEvent, NotTaken},
};

mod answering;
pub use answering::{Answering, OnMachine};

mod config;
pub use config::{BargeIn, Config, Idle as IdleConfig};

mod histogram;
pub use histogram::Histogram;

mod ledger;
pub use ledger::{StageLatencies, Turn, TurnLatency, Work, WorkKind};

mod stats;
pub use stats::CallStats;

mod vocabulary;
pub use vocabulary::{
    Action, AgentState, Command, EndReason, Input, Notice, Reconfigure, SessionId, Setup, Step,
    TransferStep,
};

mod caller;
mod ending;
mod feed;
mod from_model;
mod hold;
mod idle;
mod lines;
mod link;
pub(crate) use link::OPENING;
mod owed;
mod past;
mod playout;
mod reconfigure;
mod recovery;
mod reply;
mod rollover;
mod speaking;
mod timer;
mod tools;
mod transfer;
mod wording;

use answering::Answer;
use caller::CallerWords;
use ending::{Parting, Phase};
use feed::Feed;
use hold::Hold;
use idle::Idle;
use ledger::{Stage, TurnClock};
use link::Links;
use owed::Owed;
use past::Past;
use playout::Playout;
use reconfigure::Wish;
use recovery::Attempts;
use reply::{Replies, ReplyKey};
use timer::{Timer, Timers};
use tools::Tools;

/// One call: what was said, what is being said, and what to do next.
#[derive(Debug)]
pub struct Conversation {
    config: Config,
    setup: Setup,
    epoch: Instant,
    now: Instant,
    phase: Phase,
    links: Links,
    /// Somebody who may take the call over is called and told who waits.
    introducing: bool,
    /// Whether any session was ever open.
    has_opened: bool,
    attempts: Attempts,
    standby_failed: bool,
    wish: Option<Wish>,
    tools: Tools,
    owed: Owed,
    state: AgentState,
    awaits_reply: bool,
    /// Since when the caller's voice is heard.
    voice: Option<Instant>,
    /// When the caller's voice came or went last.
    voice_changed: Instant,
    /// How often in a row the local detector was wrong about an interruption.
    mistrust: u32,
    /// The lines so far, for a session that was not there.
    past: Past,
    idle: Idle,
    hold: Hold,
    /// Who answered; of calls that we placed.
    answer: Option<Answer>,
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

impl Conversation {
    /// A call that begins `now`.
    #[must_use]
    pub fn new(config: Config, mut setup: Setup, now: Instant) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Traffic, now + config.no_traffic);
        if let Some(longest) = config.max_call {
            timers.set(Timer::Length, now + longest.saturating_sub(config.wrap_up));
        }
        let links = Links::new(now);
        let mut playout = Playout::new(config.lead, setup.leg.marks);
        let answering = setup.answering.take();
        let answer = answering.map(|policy| Answer::new(policy, setup.greeting.take(), now));
        if answer.is_some() {
            playout.hold();
        }
        let first = Action::OpenModel(SessionId(1));
        let mut call = Self {
            epoch: now,
            now,
            phase: Phase::Live,
            links,
            introducing: false,
            has_opened: false,
            attempts: Attempts::default(),
            standby_failed: false,
            wish: None,
            tools: Tools::offering(setup.offered.clone()),
            owed: Owed::default(),
            voice_changed: now,
            past: Past::default(),
            idle: Idle::new(now),
            hold: Hold::default(),
            answer,
            state: AgentState::Initializing,
            awaits_reply: false,
            voice: None,
            mistrust: 0,
            last_traffic: now,
            keys: String::new(),
            seq: 0,
            feed: Feed::new(setup.rate, now),
            framer: None,
            resampler: None,
            playout,
            replies: Replies::default(),
            caller: CallerWords::default(),
            turn: TurnClock::default(),
            timers,
            actions: VecDeque::from([first]),
            stats: CallStats::default(),
            config,
            setup,
        };
        call.schedule_idle();
        call.miss_session();
        call.on_answer_time();
        call
    }

    /// Takes note of what happened. Time that runs backwards is ignored.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if self.phase == Phase::Over {
            return;
        }
        self.now = self.now.max(now);
        match input {
            Input::Call(event) => self.on_call(event),
            Input::Voice(voice) => self.on_voice(voice),
            Input::Sound(sound) => self.on_evidence(sound.into()),
            Input::ModelOpened(session) => self.on_model_opened(session),
            Input::Model(session, event) if self.links.is_active(session) => {
                self.on_model(session, event)
            }
            Input::Model(session, event) => self.on_old_model(session, event),
            Input::ModelEnded(session, error) => self.on_model_ended(session, error),
            Input::ToolDone(run, output) => self.on_tool_done(run, output),
            Input::ToolProgress(run, text) => self.on_tool_progress(run, &text),
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

    /// Whether the caller speaks, as the detector and the flow of audio say. A detector hears
    /// nothing where no audio comes, so this ends by itself when the audio pauses.
    #[must_use]
    pub fn hears_voice(&self) -> bool {
        self.voice.is_some()
    }

    /// The figures so far.
    #[must_use]
    pub fn stats(&self) -> CallStats {
        let feed = self.feed.stats;
        CallStats {
            frames_received: feed.received,
            // What was handed out and came back was neither fed nor played.
            frames_fed: feed.fed.saturating_sub(self.stats.frames_dropped),
            frames_filled: feed.filled,
            frames_trimmed: feed.trimmed,
            frames_replayed: feed.replayed,
            frames_dropped: self.stats.frames_dropped + feed.dropped,
            frames_played: self
                .playout
                .frames
                .saturating_sub(self.stats.frames_unplayed),
            underruns: self.playout.underruns,
            ..self.stats.clone()
        }
    }

    fn on_call(&mut self, event: CallEvent) {
        self.last_traffic = self.now;
        match event {
            CallEvent::Audio(_) if !self.is_going_on() => self.feed.refuse(),
            CallEvent::Audio(frame) => {
                let voice = self.hears_voice();
                if let Some(frame) = self.feed.take(self.now, frame, voice, &self.config) {
                    self.turn.reach(Stage::LastFrame, self.now);
                    self.actions.extend(
                        self.links
                            .open()
                            .map(|session| Action::Feed(session, frame)),
                    );
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
            CallEvent::Muted(muted) => self.on_muted(muted),
            CallEvent::AnsweredBy(verdict) => self.on_evidence(Evidence::Carrier(verdict)),
            CallEvent::Taken => self.on_taken(),
            CallEvent::NotTaken(why) => self.on_not_taken(why),
            CallEvent::TransferFailed(kind) => self.on_transfer_failed(kind),
            CallEvent::DtmfFailed(kind) => self.on_dtmf_failed(kind),
            CallEvent::HungUp => self.on_hung_up(),
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::HangUp if self.phase == Phase::Live => self.last_words(Parting::HangUp),
            Command::Abort if self.is_going_on() => {
                self.hang_up(EndReason::Aborted);
            }
            Command::Tell(text) => self.tell(text),
            Command::Transfer { to } => self.transfer(to),
            Command::WarmTransfer { to, briefing } => self.warm_transfer(to, briefing),
            Command::SendDtmf(keys) => self.press(keys),
            Command::Reconfigure(change) => self.reconfigure(change),
            Command::HangUp | Command::Abort => {}
        }
    }

    fn on_key(&mut self, key: char) {
        if !self.is_going_on() {
            return;
        }
        self.caller_active();
        self.off_hold();
        if self.keys.len() < MAX_KEYS {
            self.keys.push(key);
        }
        self.timers
            .set(Timer::Keys, self.now + self.config.keys_wait);
    }

    fn on_time(&mut self) {
        let now = self.now;
        if self.timers.take_due(Timer::Fill, now) {
            while let Some(silence) = self.feed.fill(now, &self.config) {
                self.turn.reach(Stage::LastFrame, now);
                self.actions.extend(
                    self.links
                        .open()
                        .map(|session| Action::Feed(session, silence)),
                );
                self.on_voice(false);
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
        if self.timers.take_due(Timer::BargeIn, now)
            && self.hears_voice()
            && self.playout.is_audible(now)
        {
            self.pause();
        }
        if self.timers.take_due(Timer::Resume, now) && self.playout.is_paused() {
            self.stats.false_interruptions += 1;
            self.mistrust = self.mistrust.saturating_add(1);
            self.playout.resume();
            self.pump();
        }
        if self.timers.take_due(Timer::FinalText, now) {
            self.commit(false);
        }
        if self.timers.take_due(Timer::CallerText, now) {
            if self.hears_voice() && self.caller.may_go_on(now) {
                let again = now + self.config.caller_text_wait;
                self.timers.set(Timer::CallerText, again);
            } else {
                self.commit_caller();
            }
        }
        if self.timers.take_due(Timer::Keys, now) {
            let keys: Vec<String> = self.keys.drain(..).map(String::from).collect();
            self.tell(format!("The caller pressed {}.", keys.join(" ")));
        }
        if self.timers.take_due(Timer::Traffic, now) {
            let due = self.last_traffic + self.config.no_traffic;
            if due > now {
                self.timers.set(Timer::Traffic, due);
            } else if self.is_going_on() {
                self.hang_up(EndReason::NoTraffic);
            }
        }
        if self.timers.take_due(Timer::Rollover, now) {
            self.on_rollover_time();
        }
        if self.timers.take_due(Timer::Tools, now) {
            self.on_tools_time();
        }
        if self.timers.take_due(Timer::Reopen, now) {
            self.reopen();
        }
        if self.timers.take_due(Timer::Filler, now) {
            self.on_filler_time();
        }
        if self.timers.take_due(Timer::Sign, now) {
            self.on_no_sign();
        }
        if self.timers.take_due(Timer::Answer, now) {
            self.on_answer_time();
        }
        if self.timers.take_due(Timer::Idle, now) {
            self.on_idle_time();
        }
        if self.timers.take_due(Timer::Length, now) {
            self.on_length_time();
        }
        if self.timers.take_due(Timer::LastChance, now) {
            self.end_after_last_words();
        }
        if self.timers.take_due(Timer::Ending, now) {
            match self.phase.clone() {
                Phase::LastWords(_) => self.leave(),
                Phase::Transferring => self.on_transfer_failed(ProviderErrorKind::TimedOut),
                Phase::HangingUp(reason) => self.close(reason),
                Phase::Closing(reason) => self.finish(reason),
                Phase::Live => self.on_not_taken(NotTaken::NoAnswer),
                Phase::Over => {}
            }
        }
    }

    fn schedule_fill(&mut self) {
        match self.feed.fill_at(&self.config) {
            Some(at) if self.links.open().is_some() => self.timers.set(Timer::Fill, at),
            Some(_) | None => self.timers.stop(Timer::Fill),
        }
    }

    fn tell(&mut self, text: String) {
        if !self.is_going_on() {
            return;
        }
        if !self.setup.text_input {
            self.actions
                .push_back(Action::Publish(Notice::Trouble(ProviderErrorKind::Invalid)));
        } else if let Some(session) = self.links.open() {
            self.awaits_reply = true;
            self.owe_answer();
            self.actions.push_back(Action::Tell(session, text));
            self.refresh();
        } else {
            self.tell_later(&text);
        }
    }

    /// The session is not open yet. All that waits for it is one text, the greeting first: a
    /// second text would interrupt the answer to the first.
    fn tell_later(&mut self, text: &str) {
        match &mut self.setup.greeting {
            None => self.setup.greeting = Some(text.to_owned()),
            Some(waiting) if waiting.len() + text.len() < MAX_WAITING => {
                waiting.push('\n');
                waiting.push_str(text);
            }
            Some(_) => self
                .actions
                .push_back(Action::Publish(Notice::Trouble(ProviderErrorKind::Invalid))),
        }
    }

    /// Derives the state, and tells observers when it changed.
    fn refresh(&mut self) {
        let new = if !self.has_opened {
            AgentState::Initializing
        } else if self.playout.is_audible(self.now) {
            AgentState::Speaking
        } else if self.introducing || self.phase == Phase::Transferring {
            AgentState::Transferring
        } else if self.awaits_reply || self.tools.is_awaited() {
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
}

/// Text in bytes that may wait for a session: far more than anybody says in the seconds that it
/// takes, far less than a model refuses.
const MAX_WAITING: usize = 16 * 1024;

/// More keys at once are noise.
const MAX_KEYS: usize = 32;
