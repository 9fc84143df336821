//! Calls that outlive the model's session limit: make before break.
//!
//! From a soft age on the next session is warmed up with prompt and tools. The call moves to it at
//! a quiet point, with its history and whatever of the caller the old session has not answered. When
//! no quiet point comes, less and less quiet will do, and at last a deadline that waits for nobody.
//! No frame of the caller goes to two live sessions: both would answer.

use std::time::{Duration, Instant};

use super::{
    Action, Conversation, SessionId, WorkKind,
    ledger::Stage,
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
        let Some(plan) = self.plan() else { return };
        if !self.is_going_on() {
            return;
        }
        let wished = self.wish.as_ref().map(|wish| wish.needed(self.now));
        let is_due = wished.is_some() || plan.is_due(self.now);
        match self.links.standby {
            Standby::None if is_due && self.may_warm_up(&plan) <= self.now => {
                self.warm_up();
            }
            Standby::Ready { since, .. }
                if plan.is_stale(since, self.now) && self.is_time_for_another(&plan) =>
            {
                // It has heard nothing for so long that its own idle limit comes near.
                self.dismiss_standby();
            }
            Standby::Ready { .. } => {
                let needed = wished.max(plan.needed(self.now));
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
        let Some(plan) = self.plan() else {
            return self.timers.stop(Timer::Rollover);
        };
        let at = match self.links.standby {
            Standby::None => {
                let wished = self.wish.as_ref().map(|_| self.now);
                let Some(due) = wished.or(plan.soft) else {
                    return self.timers.stop(Timer::Rollover);
                };
                let failed = self.standby_failed.then_some(self.now + plan.retry);
                due.max(self.may_warm_up(&plan)).max(failed.unwrap_or(due))
            }
            // Its opening, or the failure of it, is an event.
            Standby::Opening { .. } => return self.timers.stop(Timer::Rollover),
            Standby::Ready { .. } => {
                let hard = plan.steps.map(|steps| steps.hard);
                let look = self.now + LOOK;
                hard.filter(|hard| *hard > self.now)
                    .map_or(look, |hard| hard.min(look))
            }
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

    /// The session that stands by will not be needed.
    pub(super) fn dismiss_standby(&mut self) {
        if let Some(id) = self.links.dismiss_standby(self.now) {
            self.actions.push_back(Action::CloseModel(id));
        }
    }

    /// A call has two sessions at most, one that closes included; but one that does not come to
    /// its end holds nobody up for ever, nor when the limit is near.
    fn may_warm_up(&self, plan: &Plan) -> Instant {
        let closing = self.links.closing_since();
        let closed = closing.map_or(self.now, |since| since + self.config.close);
        plan.steps.map_or(closed, |steps| closed.min(steps.relaxed))
    }

    /// Whether a session that stands by could be closed and another one be ready in its place
    /// before the call must move.
    fn is_time_for_another(&self, plan: &Plan) -> bool {
        let ready = self.now + self.config.close + OPENS;
        plan.steps.is_none_or(|steps| ready < steps.hard)
    }

    fn plan(&self) -> Option<Plan> {
        let born = self.links.born()?;
        let limit = self.setup.session_limit;
        Some(Plan::new(born, limit, self.setup.jitter))
    }

    fn warm_up(&mut self) {
        self.turn.begin(WorkKind::Rollover, self.now);
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
        let Standby::Ready { id, born, since } = self.links.standby else {
            return false;
        };
        let in_the_middle = self.replies.is_coming();
        let history = self.history();
        self.links.standby = Standby::None;
        if let Active::Open { id: old, .. } | Active::Opening { id: old, .. } = self.links.active {
            self.move_tools(Some(old));
            self.links.closing.push((old, self.now));
            self.actions.push_back(Action::CloseModel(old));
        }
        self.links.open_active(id, born, since, self.now);
        self.adopt(id);
        self.attempts.heard = false;
        self.session_is_there();
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
        self.end_work(&WorkKind::Rollover, false);
        self.schedule_rollover();
        true
    }

    /// Gives a session that begins to talk what the one before it left open.
    pub(super) fn take_over(&mut self, in_the_middle: bool) {
        let Some(id) = self.links.open() else { return };
        let behind = self.feed.is_behind();
        let replayed = self.feed.open(self.now);
        let words = self.feed.unanswered_text();
        let unheard = std::mem::take(&mut self.attempts.unheard);
        if behind && !self.hears_voice() {
            self.turn.reach(Stage::LastFrame, self.now);
        }
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
        } else if unheard && self.setup.text_input && !self.hears_voice() {
            self.tell(with_pending(SAY_AGAIN.to_owned()));
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
        let mut said: Vec<_> = self.past.lines().cloned().collect();
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

/// When a rollover takes its steps.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The next session is warmed up from now on, and the call moves at a quiet point.
    soft: Option<Instant>,
    steps: Option<Steps>,
    /// A session that stands by is replaced after this long.
    standby: Duration,
    /// A failed warm-up is tried again after this long.
    retry: Duration,
}

/// From when on less and less quiet will do.
#[derive(Clone, Copy, Debug)]
struct Steps {
    /// It is enough that the model rests.
    relaxed: Instant,
    /// It is enough that nobody is in the middle of a word.
    forced: Instant,
    /// The call moves whatever happens.
    hard: Instant,
}

impl Plan {
    /// The plan of a session that was `born` under a `limit`. Without one it never comes to pass,
    /// but a session that stands by is not kept for ever.
    fn new(born: Instant, limit: Option<Duration>, jitter: f32) -> Self {
        // Written for 480 s; every other limit scales it.
        let scale = limit.unwrap_or(USUAL_LIMIT).div_duration_f32(USUAL_LIMIT);
        let span = |seconds: f32| Duration::from_secs_f32(seconds.max(0.0) * scale);
        Self {
            soft: limit.map(|_| born + span(360.0 + 20.0 * jitter.clamp(-1.0, 1.0))),
            steps: limit.map(|_| Steps {
                relaxed: born + span(420.0),
                forced: born + span(440.0),
                hard: born + span(465.0),
            }),
            standby: span(30.0),
            retry: span(2.0).max(Duration::from_millis(50)),
        }
    }

    /// Whether a session has stood by for too long. The last one before the call must move is kept:
    /// another one might not be there in time.
    fn is_stale(&self, since: Instant, now: Instant) -> bool {
        let last = since + self.standby.mul_f32(LAST_STANDBY);
        now >= since + self.standby && self.steps.is_none_or(|steps| steps.hard > last)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.soft.is_some_and(|soft| soft <= now)
    }

    /// How quiet it must be by now; `None`: it is not time to move.
    fn needed(&self, now: Instant) -> Option<Quiet> {
        let steps = self.steps.filter(|_| self.is_due(now))?;
        Some(steps.needed(now))
    }
}

impl Steps {
    fn needed(&self, now: Instant) -> Quiet {
        if now >= self.hard {
            Quiet::Never
        } else if now >= self.forced {
            Quiet::Any
        } else if now >= self.relaxed {
            Quiet::Model
        } else {
            Quiet::Full
        }
    }
}

/// Nova Sonic ends a session that has heard nothing for 55 s; this many times 30 s is less.
const LAST_STANDBY: f32 = 5.0 / 3.0;

/// Sessions that open at all seldom take longer.
const OPENS: Duration = Duration::from_secs(5);

/// The limit that the steps are written for.
const USUAL_LIMIT: Duration = Duration::from_secs(480);

/// How often the quiet is looked for while a session stands by.
const LOOK: Duration = Duration::from_millis(100);

/// A caller who has been silent for this long is not in the middle of a sentence.
const REST: Duration = Duration::from_millis(300);

/// What a model is told that takes over in the middle of a sentence.
const GO_ON: &str = "(The connection was interrupted for a moment. Go on from where you stopped.)";

/// What a model is told that takes over from one that gave no sign of having heard the caller.
const SAY_AGAIN: &str =
    "(The line was bad for a moment, and what the caller said was lost. Ask them to say it again.)";
