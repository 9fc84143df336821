//! Silence and length: what the agent does when nobody speaks, and when a call has lasted long
//! enough.

use std::time::Instant;

use super::{
    Conversation,
    answering::Answer,
    ending::{Parting, Phase},
    timer::Timer,
};

/// How long the caller has been silent, and what was done about it.
#[derive(Debug)]
pub(super) struct Idle {
    /// Since when the caller has said nothing though it was their turn.
    since: Instant,
    /// Since when nobody has said anything.
    quiet: Instant,
    nudges: u8,
    /// The call is on hold or muted: silence means nothing.
    muted: bool,
    wrapping_up: bool,
}

impl Idle {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            quiet: now,
            nudges: 0,
            muted: false,
            wrapping_up: false,
        }
    }
}

impl Conversation {
    /// The caller does something: the ladder begins again.
    pub(super) fn caller_active(&mut self) {
        self.idle.since = self.now;
        self.idle.quiet = self.now;
        self.idle.nudges = 0;
    }

    pub(super) fn on_muted(&mut self, muted: bool) {
        self.idle.muted = muted;
        self.caller_active();
        self.schedule_idle();
    }

    /// Looks at the ladder: nudge, nudge, goodbye.
    pub(super) fn on_idle_time(&mut self) {
        let now = self.now;
        if self.hears_voice() {
            self.caller_active();
        } else if self.awaits_reply
            || self.tools.is_running()
            || self.playout.is_audible(now)
            || self.links.open().is_none()
        {
            // The agent has the word. Its questions deserve the whole time for an answer, but what
            // it says to a silent caller does not keep that caller on the line.
            self.idle.quiet = now;
            if self.idle.nudges == 0 {
                self.idle.since = now;
            }
        }
        let idle = &self.config.idle;
        let (goodbye, nudge) = (
            idle.hang_up.map(|after| self.idle.since + after),
            idle.nudge.map(|after| self.idle.quiet + after),
        );
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.silence_is_meant() {
            self.caller_active();
        } else if self.phase == Phase::Live && !self.idle.muted {
            if due(goodbye) {
                let words = idle.goodbye_text.clone();
                self.say_goodbye(words);
            } else if self.setup.text_input && due(nudge) && self.idle.nudges < NUDGES {
                self.idle.nudges += 1;
                self.idle.quiet = now;
                let words = idle.nudge_text.clone();
                self.tell(words);
            }
        }
        self.schedule_idle();
    }

    /// Whether nobody expects the other side to speak.
    fn silence_is_meant(&self) -> bool {
        self.hold.is_on(self.now) || self.answer.as_ref().is_some_and(Answer::is_waiting)
    }

    pub(super) fn schedule_idle(&mut self) {
        let idle = &self.config.idle;
        if self.phase != Phase::Live
            || self.introducing
            || self.idle.muted
            || (idle.nudge.is_none() && idle.hang_up.is_none())
        {
            return self.timers.stop(Timer::Idle);
        }
        let nudge = idle
            .nudge
            .filter(|_| self.idle.nudges < NUDGES)
            .map(|after| self.idle.quiet + after);
        let goodbye = idle.hang_up.map(|after| self.idle.since + after);
        let next = nudge.into_iter().chain(goodbye).min();
        // The agent's own speech is seen when the ladder is looked at, so look often enough.
        let soon = self.now + LOOK;
        match next {
            Some(at) => self.timers.set(
                Timer::Idle,
                at.min(soon)
                    .max(self.now + std::time::Duration::from_millis(1)),
            ),
            None => self.timers.set(Timer::Idle, soon),
        }
    }

    /// The call has lasted long.
    pub(super) fn on_length_time(&mut self) {
        let Some(longest) = self.config.max_call else {
            return;
        };
        if self.phase != Phase::Live {
            return;
        }
        if self.idle.wrapping_up || !self.setup.text_input {
            return self.last_words(Parting::HangUp);
        }
        self.idle.wrapping_up = true;
        self.timers
            .set(Timer::Length, (self.epoch + longest).max(self.now));
        let words = self.config.wrap_up_text.clone();
        self.tell(words);
    }

    /// The agent says goodbye, and hangs up once that was heard; without a word where the model
    /// takes none.
    fn say_goodbye(&mut self, words: String) {
        if self.setup.text_input {
            self.tell(words);
        }
        self.last_words(Parting::HangUp);
    }
}

/// How often a silent caller is spoken to.
const NUDGES: u8 = 2;

/// How often the ladder is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);
