//! What the agent does to the call itself: keys that it presses, and handing the caller over.

use std::time::Duration;

use super::{
    Action, Conversation, EndReason, Notice,
    ending::{Parting, Phase},
    timer::Timer,
};
use crate::{call::Party, error::ProviderErrorKind, telephony::Keys};

impl Conversation {
    /// Hands the caller over once the agent's last words were heard.
    pub(super) fn transfer(&mut self, to: Party) {
        if !self.setup.leg.transfer {
            return self.trouble(ProviderErrorKind::Invalid);
        }
        if self.phase == Phase::Live {
            self.last_words(Parting::Transfer(to));
        }
    }

    /// The last words were heard. The agent stays until the carrier has done it: a caller whom
    /// nobody takes over must not be left alone.
    pub(super) fn hand_over(&mut self, to: Party) {
        self.phase = Phase::Transferring;
        self.timers.set(Timer::Ending, self.now + HAND_OVER);
        self.actions.push_back(Action::Transfer(to));
    }

    pub(super) fn on_transfer_failed(&mut self, kind: ProviderErrorKind) {
        if self.phase != Phase::Transferring {
            return;
        }
        self.phase = Phase::Live;
        self.timers.stop(Timer::Ending);
        self.schedule_idle();
        self.trouble(kind);
        self.tell(NOT_TRANSFERRED.to_owned());
    }

    pub(super) fn press(&mut self, keys: Keys) {
        if !self.is_going_on() {
            return;
        }
        if self.setup.leg.dtmf {
            self.actions.push_back(Action::SendDtmf(keys));
        } else {
            self.trouble(ProviderErrorKind::Invalid);
        }
    }

    pub(super) fn on_dtmf_failed(&mut self, kind: ProviderErrorKind) {
        if self.is_going_on() {
            self.trouble(kind);
            self.tell(NOT_PRESSED.to_owned());
        }
    }

    pub(super) fn trouble(&mut self, kind: ProviderErrorKind) {
        self.actions
            .push_back(Action::Publish(Notice::Trouble(kind)));
    }

    /// The reason for the end of a leg that the agent may have caused.
    pub(super) fn reason_for_the_end(&self) -> Option<EndReason> {
        match &self.phase {
            Phase::HangingUp(reason) => Some(reason.clone()),
            // One who hangs up while the agent is about to connect them has hung up.
            Phase::Live | Phase::LastWords(Parting::Transfer(_)) => Some(EndReason::CallerHungUp),
            Phase::LastWords(Parting::HangUp) => Some(EndReason::AgentHungUp),
            Phase::Transferring => Some(EndReason::Transferred),
            Phase::Closing(_) | Phase::Over => None,
        }
    }
}

/// How long a carrier may take to hand a caller over, ringing included.
const HAND_OVER: Duration = Duration::from_secs(60);

const NOT_TRANSFERRED: &str =
    "(The caller could not be connected and is still on the line. Say so and go on with the call.)";
const NOT_PRESSED: &str = "(The keys could not be pressed.)";
