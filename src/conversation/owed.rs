//! What a caller waits for: an answer, or anybody at all. Nobody listens to dead air for long, so
//! there is a soft sign that the line is alive; and a model that gives no sign of having heard is
//! not believed for long either.

use std::time::{Duration, Instant};

use super::{Conversation, answering::Answer, link::Active, reply::ReplyKey, timer::Timer};
use crate::{
    audio::{FRAME, Framer},
    conversation::Action,
    error::ProviderErrorKind,
};

/// What the caller waits for.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// Since when there is no session.
    session: Option<Instant>,
    /// An answer is due.
    answer: bool,
    /// How often the line was shown to be alive meanwhile.
    fillers: u32,
    /// How much the caller has said since the model last gave any sign.
    speech: Duration,
    /// When a session was last given up because it gave no sign.
    doubted: Option<Instant>,
}

impl Conversation {
    /// There is no session, and the caller may notice.
    pub(super) fn miss_session(&mut self) {
        self.owed.session.get_or_insert(self.now);
        self.timers.sooner(Timer::Filler, self.now + NOBODY);
        self.timers.stop(Timer::Sign);
    }

    /// There is a session again.
    pub(super) fn session_is_there(&mut self) {
        self.owed.session = None;
        self.owed.fillers = 0;
        if !self.owed.answer {
            self.timers.stop(Timer::Filler);
        }
    }

    /// The caller speaks, and so waits for nothing just now.
    pub(super) fn caller_does_not_wait(&mut self) {
        if self.owed.session.is_none() {
            self.owed.answer = false;
            self.timers.stop(Timer::Filler);
        }
    }

    /// For how long there has been no session.
    pub(super) fn alone_for(&self) -> Duration {
        let since = self.owed.session.unwrap_or(self.now);
        self.now.saturating_duration_since(since)
    }

    /// The caller stopped speaking, and had begun at `since`.
    pub(super) fn owe_answer_to_speech(&mut self, since: Option<Instant>) {
        let length = since.map_or(Duration::ZERO, |since| {
            self.now.saturating_duration_since(since)
        });
        self.owed.speech += length;
        if self.owed.speech >= SPEECH || self.awaits_reply {
            self.owe_answer();
        }
        if self.owed.answer && self.owed.speech >= SPEECH && !self.timers.is_set(Timer::Sign) {
            self.timers.set(Timer::Sign, self.now + self.config.no_sign);
        }
    }

    /// The model is to answer.
    pub(super) fn owe_answer(&mut self) {
        if self.links.open().is_some() && self.is_going_on() {
            self.owed.answer = true;
            self.timers.sooner(Timer::Filler, self.now + NO_ANSWER);
        }
    }

    /// It does.
    pub(super) fn answer_comes(&mut self) {
        self.owed.answer = false;
        self.owed.fillers = 0;
        if self.owed.session.is_none() {
            self.timers.stop(Timer::Filler);
        }
    }

    /// The session that talks has said anything at all.
    pub(super) fn on_sign_of_life(&mut self) {
        self.attempts.heard = true;
        self.owed.speech = Duration::ZERO;
        self.timers.stop(Timer::Sign);
    }

    /// The caller has spoken, and nothing at all has come since.
    pub(super) fn on_no_sign(&mut self) {
        let Active::Open { id, .. } = self.links.active else {
            return;
        };
        if !self.is_going_on() {
            return;
        }
        if self.hold.is_on(self.now) {
            // Music is not for the model to understand.
            self.owed.speech = Duration::ZERO;
            return;
        }
        if self.hears_voice() {
            self.timers.set(Timer::Sign, self.now + self.config.no_sign);
            return;
        }
        let doubted = self.owed.doubted.replace(self.now);
        if doubted.is_some_and(|at| self.now.saturating_duration_since(at) < DOUBT) {
            self.owed.doubted = doubted;
            return;
        }
        self.links.closing.push((id, self.now));
        self.actions.push_back(Action::CloseModel(id));
        self.attempts.unheard = true;
        self.on_active_lost(Some(ProviderErrorKind::TimedOut));
    }

    /// The caller has waited for long enough to notice.
    pub(super) fn on_filler_time(&mut self) {
        let alone = self.links.open().is_none();
        if !self.is_going_on() || !(alone || self.owed.answer) {
            return;
        }
        if alone && self.alone_for() >= TOO_LONG {
            return self.give_up(ProviderErrorKind::TimedOut);
        }
        let most = if self.awaits_reply {
            MOST_FILLERS
        } else {
            FEW_FILLERS
        };
        if !alone && self.owed.fillers >= most {
            // Perhaps it was no speech after all.
            self.owed.answer = false;
            return;
        }
        self.timers.set(Timer::Filler, self.now + EVERY);
        let taken = self.playout.is_audible(self.now) || self.playout.is_paused();
        if self.hears_voice() || taken || self.waits_by_plan() {
            return;
        }
        self.owed.fillers += 1;
        self.play_filler();
    }

    /// Whether the other side is no person who could wonder: they are away, or it is not known yet
    /// who answered.
    fn waits_by_plan(&self) -> bool {
        self.hold.is_on(self.now) || self.answer.as_ref().is_some_and(Answer::is_waiting)
    }

    fn play_filler(&mut self) {
        let Some(sound) = self.setup.filler.clone() else {
            return;
        };
        let key = ReplyKey::NONE;
        let mut framer = Framer::new(self.setup.rate);
        framer.push(sound.into_pcm());
        let mut upto = Duration::ZERO;
        while let Some(frame) = framer.pop().or_else(|| framer.flush()) {
            upto += FRAME;
            self.playout.push(key, upto, frame);
        }
        self.pump();
    }
}

/// Pauses that people notice: of a line on which nobody is, of one on which somebody thinks.
const NOBODY: Duration = Duration::from_secs(2);
const NO_ANSWER: Duration = Duration::from_secs(4);
const EVERY: Duration = Duration::from_secs(4);

/// Whoever has listened to a tone for a minute deserves an apology.
const TOO_LONG: Duration = Duration::from_secs(60);

/// A model that has something to answer, and one of which only the detector thinks so.
const MOST_FILLERS: u32 = 15;
const FEW_FILLERS: u32 = 2;

/// This much speech is no cough: a model that hears it says so.
const SPEECH: Duration = Duration::from_millis(600);

/// A voice that no model understands must not cost a session each time.
const DOUBT: Duration = Duration::from_secs(60);
