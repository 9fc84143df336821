//! How a call ends: last words, the leg, the session, and the last lines.

use std::time::Duration;

use super::{Action, Conversation, EndReason, timer::Timer};

/// How far the call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
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
    /// The leg is gone. What it had not played was not heard.
    pub(super) fn on_hung_up(&mut self) {
        let reason = match &self.phase {
            Phase::HangingUp(reason) => reason.clone(),
            Phase::Live => EndReason::CallerHungUp,
            Phase::LastWords => EndReason::AgentHungUp,
            Phase::Closing(_) | Phase::Over => return,
        };
        self.close(reason);
    }

    /// Hangs up once what the agent has to say was heard.
    pub(super) fn last_words(&mut self) {
        self.phase = Phase::LastWords;
        self.timers
            .set(Timer::Ending, self.now + self.config.last_words);
        self.on_heard();
    }

    /// Hangs up if the agent was asked to and has nothing left to say.
    pub(super) fn end_after_last_words(&mut self) {
        let speaks = !self.playout.is_empty()
            || self.playout.is_paused()
            || self.playout.is_audible(self.now)
            || self.replies.unfinished();
        let waits = self.awaits_reply || self.timers.is_set(Timer::LastChance);
        if self.phase == Phase::LastWords && !speaks && !waits {
            self.hang_up(EndReason::AgentHungUp);
        }
    }

    /// Whether caller, agent and model still talk with each other.
    pub(super) fn is_going_on(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::LastWords)
    }

    /// Ends the leg, and then everything.
    pub(super) fn hang_up(&mut self, reason: EndReason) {
        let apologise = matches!(reason, EndReason::ModelFailed(_));
        self.phase = Phase::HangingUp(reason);
        self.timers.set(Timer::Ending, self.now + LEG_CLOSE);
        self.fall_silent();
        self.actions.push_back(Action::HangUp { apologise });
    }

    /// The leg is gone; the model may still have text for us.
    pub(super) fn close(&mut self, reason: EndReason) {
        self.fall_silent();
        self.feed.close();
        for timer in [
            Timer::Fill,
            Timer::Keys,
            Timer::Traffic,
            Timer::Rollover,
            Timer::Reopen,
            Timer::Filler,
            Timer::Sign,
            Timer::Idle,
            Timer::Length,
        ] {
            self.timers.stop(timer);
        }
        self.commit_caller();
        for session in self.links.leave(self.now) {
            self.actions.push_back(Action::CloseModel(session));
        }
        if self.links.is_empty() {
            return self.finish(reason);
        }
        self.timers.set(Timer::Ending, self.now + self.config.close);
        self.phase = Phase::Closing(reason);
    }

    /// Nothing more is played. What was not heard by now never will be.
    fn fall_silent(&mut self) {
        self.playout.settle(self.now);
        let heard = self.playout.heard();
        let empty = self.playout.is_empty() && !self.playout.is_paused();
        self.replies.heard(self.now, heard, empty);
        self.playout.cut(self.now);
        self.framer = None;
        self.replies.cut(self.now);
        self.awaits_reply = false;
        for timer in [
            Timer::Playout,
            Timer::BargeIn,
            Timer::Resume,
            Timer::LastChance,
        ] {
            self.timers.stop(timer);
        }
        self.schedule_heard();
        self.commit(false);
        self.refresh();
    }

    pub(super) fn finish(&mut self, reason: EndReason) {
        self.commit_caller();
        self.commit(true);
        self.close_turn(false);
        self.phase = Phase::Over;
        self.actions.push_back(Action::End(reason));
    }
}

/// How long a leg may take to hang up.
const LEG_CLOSE: Duration = Duration::from_secs(3);
