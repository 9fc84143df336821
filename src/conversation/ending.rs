//! How a call ends: last words, the leg, the session, and the last lines.

use std::time::Duration;

use super::{Action, Conversation, EndReason, timer::Timer};
use crate::call::Party;

/// How far the call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Live,
    /// The agent leaves once its last words were heard.
    LastWords(Parting),
    /// The carrier was told to connect the caller with somebody else and has not done so yet.
    Transferring,
    /// The leg was told to hang up and has not done so yet.
    HangingUp(EndReason),
    /// The leg is gone; the session closes by the book and may still send text.
    Closing(EndReason),
    Over,
}

/// How the agent leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    HangUp,
    Transfer(Party),
}

impl Conversation {
    /// The leg is gone. What it had not played was not heard.
    pub(super) fn on_hung_up(&mut self) {
        if let Some(reason) = self.reason_for_the_end() {
            self.close(reason);
        }
    }

    /// Leaves once what the agent has to say was heard.
    pub(super) fn last_words(&mut self, parting: Parting) {
        self.phase = Phase::LastWords(parting);
        self.timers
            .set(Timer::Ending, self.now + self.config.last_words);
        self.on_heard();
    }

    /// The model may still say something before the agent leaves, and need not.
    pub(super) fn allow_last_words(&mut self) {
        self.timers.set(Timer::LastChance, self.now + LAST_CHANCE);
    }

    /// Leaves if the agent was asked to and has nothing left to say or to do.
    pub(super) fn end_after_last_words(&mut self) {
        let speaks = !self.playout.is_empty()
            || self.playout.is_paused()
            || self.playout.is_audible(self.now)
            || self.replies.unfinished();
        let waits =
            self.awaits_reply || self.timers.is_set(Timer::LastChance) || self.tools.is_awaited();
        if !speaks && !waits {
            self.leave();
        }
    }

    /// Leaves, if the agent was asked to.
    pub(super) fn leave(&mut self) {
        match &self.phase {
            Phase::LastWords(Parting::HangUp) => self.hang_up(EndReason::AgentHungUp),
            Phase::LastWords(Parting::Transfer(to)) => {
                let to = to.clone();
                self.hand_over(to);
            }
            _ => {}
        }
    }

    /// Whether caller, agent and model still talk with each other.
    pub(super) fn is_going_on(&self) -> bool {
        matches!(
            self.phase,
            Phase::Live | Phase::LastWords(_) | Phase::Transferring
        )
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
        self.settle_transfer(&reason);
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
            Timer::Answer,
            Timer::Idle,
            Timer::Length,
        ] {
            self.timers.stop(timer);
        }
        self.commit_caller();
        self.close_tools();
        for session in self.links.leave(self.now) {
            self.actions.push_back(Action::CloseModel(session));
        }
        self.timers.set(Timer::Ending, self.now + self.config.close);
        self.phase = Phase::Closing(reason);
        self.finish_when_closed();
    }

    /// Ends the call once no session is left and no tool runs.
    pub(super) fn finish_when_closed(&mut self) {
        if let Phase::Closing(reason) = &self.phase
            && self.links.is_empty()
            && !self.tools.is_running()
        {
            let reason = reason.clone();
            self.finish(reason);
        }
    }

    /// Nothing more is played. What was not heard by now never will be.
    fn fall_silent(&mut self) {
        self.playout.settle(self.now);
        let heard = self.playout.heard();
        let all = self.all_is_heard();
        self.replies.heard(self.now, heard, all);
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
        self.cancel_tools();
        self.commit_caller();
        self.commit(true);
        self.close_turn(false);
        self.phase = Phase::Over;
        self.actions.push_back(Action::End(reason));
    }
}

/// How long a caller who spoke over the last words has for a sentence that the model understands,
/// and a model that was told of a tool has for something to say.
const LAST_CHANCE: Duration = Duration::from_secs(3);

/// How long a leg may take to hang up.
const LEG_CLOSE: Duration = Duration::from_secs(3);
