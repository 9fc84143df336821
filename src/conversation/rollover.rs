//! Calls that outlive the model's session limit: make before break.
//!
//! From a soft age on the next session is warmed up with prompt and tools. The call moves to it at
//! a quiet point, with its history and whatever of the caller the old session has not answered. When
//! no quiet point comes, less and less quiet will do, and at last a deadline that waits for nobody.
//! No frame of the caller goes to two live sessions: both would answer.

use std::time::Duration;

use super::{
    Action, Conversation, SessionId,
    link::{Active, Standby},
    timer::Timer,
};
use crate::{error::ProviderErrorKind, model::Said, transcript::Speaker};

/// How quiet it must be for the call to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Quiet {
    /// Nobody speaks, nobody is waited for, and everything was heard.
    Full,
    /// The model has nothing more to say for now, though the caller may still be listening to it.
    Model,
    /// The caller is between words.
    Any,
    /// Now.
    Never,
}

impl Conversation {
    /// The limit of the session that talks has come nearer, or another one is wished for.
    pub(super) fn on_rollover_time(&mut self) {
        let Some(born) = self.links.born() else {
            return;
        };
        if !self.is_going_on() {
            return;
        }
        let plan = Plan::new(self.setup.session_limit, self.setup.jitter);
        let age = self.now.saturating_duration_since(born);
        let wished = self.wish.as_ref().map(|wish| wish.needed(self.now));
        match self.links.standby {
            Standby::None if age >= plan.soft || wished.is_some() => self.warm_up(),
            Standby::Ready { since, id, .. }
                if self.now.saturating_duration_since(since) >= plan.standby
                    && age < plan.renewal =>
            {
                // It has heard nothing for so long that its own idle limit comes near.
                self.links.standby = Standby::None;
                self.links.closing.push(id);
                self.actions.push_back(Action::CloseModel(id));
                self.warm_up();
            }
            Standby::Ready { .. } => {
                let needed = wished.max(plan.needed(age));
                if needed.is_some_and(|needed| self.quiet() <= needed) {
                    self.switch();
                }
            }
            Standby::None | Standby::Opening { .. } => {}
        }
        self.schedule_rollover();
    }

    /// When to look at the session's age again.
    pub(super) fn schedule_rollover(&mut self) {
        let Some(born) = self.links.born() else {
            return self.timers.stop(Timer::Rollover);
        };
        let plan = Plan::new(self.setup.session_limit, self.setup.jitter);
        let at = match self.links.standby {
            Standby::None => {
                let wished = self.wish.as_ref().map(|_| self.now);
                let Some(at) = wished.or_else(|| born.checked_add(plan.soft)) else {
                    return self.timers.stop(Timer::Rollover);
                };
                if self.standby_failed {
                    at.max(self.now + plan.retry)
                } else {
                    at
                }
            }
            // Its opening, or the failure of it, is an event.
            Standby::Opening { .. } => return self.timers.stop(Timer::Rollover),
            Standby::Ready { .. } => self.now + LOOK,
        };
        self.timers
            .set(Timer::Rollover, at.max(self.now + Duration::from_millis(1)));
    }

    /// The session that stands by is ready.
    pub(super) fn on_standby_opened(&mut self) {
        if let Standby::Opening { id, born } = self.links.standby {
            self.standby_failed = false;
            self.links.standby = Standby::Ready {
                id,
                born,
                since: self.now,
            };
            self.on_rollover_time();
        }
    }

    /// The session that was to follow is gone. There is time for another one.
    pub(super) fn on_standby_ended(
        &mut self,
        session: SessionId,
        error: Option<&ProviderErrorKind>,
    ) {
        self.links.standby = Standby::None;
        self.standby_failed = !self.wish_failed(Some(session), error);
        self.schedule_rollover();
    }

    fn warm_up(&mut self) {
        let id = self.links.name();
        self.links.standby = Standby::Opening { id, born: self.now };
        self.actions.push_back(Action::OpenModel(id));
    }

    /// How quiet it is right now.
    fn quiet(&self) -> Quiet {
        if self.tools.is_awaited() {
            return Quiet::Never;
        }
        let caller_rests =
            !self.hears_voice() && self.now.saturating_duration_since(self.voice_changed) >= REST;
        let model_rests = !self.awaits_reply && !self.replies.is_coming();
        let answered = !self.feed.is_unanswered();
        if caller_rests && model_rests && answered && self.playout.is_empty() {
            Quiet::Full
        } else if caller_rests && model_rests && answered {
            Quiet::Model
        } else if !self.hears_voice() && model_rests {
            Quiet::Any
        } else {
            Quiet::Never
        }
    }

    /// Moves the call to the session that stands by, if it is ready. What the old one was saying
    /// ends with what of it is here.
    pub(super) fn switch(&mut self) -> bool {
        let Standby::Ready { id, born, .. } = self.links.standby else {
            return false;
        };
        let in_the_middle = self.replies.is_coming();
        let history = self.history();
        self.links.standby = Standby::None;
        if let Active::Open { id: old, .. } | Active::Opening { id: old, .. } = self.links.active {
            self.move_tools(Some(old));
            self.links.closing.push(old);
            self.actions.push_back(Action::CloseModel(old));
        }
        self.links.active = Active::Open { id, born };
        self.adopt(id);
        self.stats.rollovers += 1;
        self.end_what_was_coming();
        if !self.is_going_on() {
            // Those were the last words: the new session has nothing to hear.
            self.feed.pause();
            self.timers.stop(Timer::Fill);
            return true;
        }
        if !history.is_empty() {
            self.actions.push_back(Action::Brief(id, history));
        }
        self.take_over(in_the_middle);
        self.schedule_rollover();
        true
    }

    /// Gives a session that begins to talk what the one before it left open.
    pub(super) fn take_over(&mut self, in_the_middle: bool) {
        let Some(id) = self.links.open() else { return };
        let replayed = self.feed.open(self.now);
        let words = self.feed.unanswered_text();
        self.actions
            .extend(replayed.into_iter().map(|frame| Action::Feed(id, frame)));
        let pending = self.tools.pending_note();
        let with_pending = |words: String| match &pending {
            Some(note) => format!("{words}\n{note}"),
            None => words,
        };
        if let Some(words) = words.filter(|_| !self.hears_voice()) {
            // Its audio is gone, its words are not: the model answers them all the same.
            self.tell(with_pending(words));
        } else if in_the_middle && self.setup.text_input {
            self.tell(with_pending(GO_ON.to_owned()));
        } else if let Some(note) = pending
            && self.setup.text_input
            && !self.feed.is_unanswered()
        {
            self.tell(note);
        }
        self.schedule_fill();
    }

    /// The sentences that were still to come of the old session never will.
    pub(super) fn end_what_was_coming(&mut self) {
        self.flush_framer();
        let ended = self.replies.break_off();
        for (key, length) in ended {
            self.playout.push_mark(key, length);
        }
        self.pump();
        self.on_heard();
    }

    /// Everything that was said, oldest first, for a session that was not there. The caller's
    /// words that nobody answered are left out: they are said again.
    pub(super) fn history(&self) -> Vec<Said> {
        let mut said = self.said.clone();
        said.extend(self.replies.unrecorded(self.now));
        said.sort_by_key(|(at, _)| *at);
        let mut history: Vec<Said> = said.into_iter().map(|(_, said)| said).collect();
        let unanswered = self.feed.unanswered_text();
        if unanswered.is_some() {
            while history
                .last()
                .is_some_and(|said| said.speaker == Speaker::Caller)
            {
                history.pop();
            }
        }
        history
    }
}

/// The ages at which a rollover takes its steps.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The next session is warmed up, and the call moves at a quiet point.
    soft: Duration,
    /// It is enough that the model rests.
    relaxed: Duration,
    /// It is enough that nobody is in the middle of a word.
    forced: Duration,
    /// The call moves whatever happens.
    hard: Duration,
    /// A session that stands by is replaced after this long.
    standby: Duration,
    /// But not at an age from this one on: another one might not be ready in time, and until the
    /// hard age this one is good.
    renewal: Duration,
    /// A failed warm-up is tried again after this long.
    retry: Duration,
}

impl Plan {
    /// The steps for a session limit; written for 480 s, every other limit scales them. Without
    /// a limit none of them ever comes, but a session that stands by is not kept for ever.
    fn new(limit: Option<Duration>, jitter: f32) -> Self {
        let Some(limit) = limit else {
            return Self {
                soft: Duration::MAX,
                relaxed: Duration::MAX,
                forced: Duration::MAX,
                hard: Duration::MAX,
                standby: Duration::from_secs(30),
                renewal: Duration::MAX,
                retry: Duration::from_secs(2),
            };
        };
        let at = |seconds: f32| limit.mul_f32((seconds / 480.0).clamp(0.0, 1.0));
        Self {
            soft: at(360.0 + 20.0 * jitter.clamp(-1.0, 1.0)),
            relaxed: at(420.0),
            forced: at(440.0),
            hard: at(465.0),
            standby: at(30.0),
            renewal: at(445.0),
            retry: at(2.0).max(Duration::from_millis(50)),
        }
    }

    /// How quiet it must be at this age; `None`: it is not time to move.
    fn needed(&self, age: Duration) -> Option<Quiet> {
        match age {
            age if age >= self.hard => Some(Quiet::Never),
            age if age >= self.forced => Some(Quiet::Any),
            age if age >= self.relaxed => Some(Quiet::Model),
            age if age >= self.soft => Some(Quiet::Full),
            _ => None,
        }
    }
}

/// How often the quiet is looked for while a session stands by.
const LOOK: Duration = Duration::from_millis(100);

/// A caller who has been silent for this long is not in the middle of a sentence.
const REST: Duration = Duration::from_millis(300);

/// What a model is told that takes over in the middle of a sentence.
const GO_ON: &str = "(The connection was interrupted for a moment. Go on from where you stopped.)";
