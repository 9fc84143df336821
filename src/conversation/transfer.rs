//! What the agent does to the call itself: keys that it presses, and handing the caller over.

use std::time::Duration;

use super::{
    Action, Conversation, EndReason, Notice, TransferStep,
    ending::{Parting, Phase},
    timer::Timer,
};
use crate::{
    call::Party,
    error::ProviderErrorKind,
    private::Private,
    telephony::{Keys, NotTaken},
};

impl Conversation {
    /// Hands the caller over once the agent's last words were heard.
    pub(super) fn transfer(&mut self, to: Party) {
        if self.may_transfer() {
            self.transfer_comes_to(TransferStep::Begun { briefed: false });
            self.last_words(Parting::Transfer(to));
        }
    }

    /// Lets somebody be called who may take the call over. The caller stays here and may speak;
    /// silence means nothing meanwhile.
    pub(super) fn warm_transfer(&mut self, to: Party, briefing: Private<String>) {
        if self.may_transfer() {
            self.introducing = true;
            self.timers.stop(Timer::Idle);
            self.timers.set(Timer::Ending, self.now + INTRODUCTION);
            self.transfer_comes_to(TransferStep::Begun { briefed: true });
            let call = Action::WarmTransfer { to, briefing };
            self.actions.push_back(call);
            self.refresh();
        }
    }

    /// Whoever asked is told either that it begins or that it does not.
    fn may_transfer(&mut self) -> bool {
        let able = self.setup.leg.transfer;
        if !able {
            self.trouble(ProviderErrorKind::Invalid);
        }
        if self.is_transferring() {
            return false;
        }
        let may = able && self.phase == Phase::Live;
        if !may && self.phase != Phase::Over {
            self.transfer_comes_to(match able {
                true => TransferStep::Abandoned,
                false => TransferStep::Failed(ProviderErrorKind::Invalid),
            });
        }
        may
    }

    fn is_transferring(&self) -> bool {
        self.introducing
            || self.phase == Phase::Transferring
            || matches!(&self.phase, Phase::LastWords(Parting::Transfer(_)))
    }

    fn transfer_comes_to(&mut self, step: TransferStep) {
        self.stats.transfer = step.outcome().or(self.stats.transfer);
        self.actions
            .push_back(Action::Publish(Notice::Transfer(step)));
    }

    /// The last words were heard. The agent stays until the carrier has done it: a caller whom
    /// nobody takes over must not be left alone.
    pub(super) fn hand_over(&mut self, to: Party) {
        self.await_hand_over();
        self.actions.push_back(Action::Transfer(to));
        self.refresh();
    }

    fn await_hand_over(&mut self) {
        self.phase = Phase::Transferring;
        self.timers.set(Timer::Ending, self.now + HAND_OVER);
    }

    /// Somebody takes the call over, and the carrier is about to connect the caller with them.
    pub(super) fn on_taken(&mut self) {
        if std::mem::take(&mut self.introducing) {
            self.timers.stop(Timer::LastChance);
            self.await_hand_over();
            self.refresh();
        }
    }

    pub(super) fn on_not_taken(&mut self, why: NotTaken) {
        if self.introducing {
            self.stays(TransferStep::NotTaken(why), not_taken(why));
        }
    }

    pub(super) fn on_transfer_failed(&mut self, kind: ProviderErrorKind) {
        if self.introducing || self.phase == Phase::Transferring {
            self.trouble(kind.clone());
            self.stays(TransferStep::Failed(kind), NOT_TRANSFERRED);
        }
    }

    /// The caller stays with the agent, who is told why, unless it is about to leave anyway.
    fn stays(&mut self, step: TransferStep, told: &str) {
        self.introducing = false;
        self.transfer_comes_to(step);
        if self.phase == Phase::Transferring {
            self.phase = Phase::Live;
        }
        if self.phase == Phase::Live {
            self.timers.stop(Timer::Ending);
            self.caller_active();
            self.schedule_idle();
            self.tell(told.to_owned());
        }
        self.refresh();
    }

    /// The leg is gone, and with it the way to anybody else.
    pub(super) fn settle_transfer(&mut self, reason: &EndReason) {
        if *reason == EndReason::Transferred {
            self.transfer_comes_to(TransferStep::Connected);
        } else if self.is_transferring() {
            self.transfer_comes_to(TransferStep::Abandoned);
        }
        self.introducing = false;
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
/// How long it may take until somebody who is called first has answered, listened and decided.
/// Carriers say so sooner; this is for those that forget to.
const INTRODUCTION: Duration = Duration::from_secs(300);

const fn not_taken(why: NotTaken) -> &'static str {
    match why {
        NotTaken::NoAnswer => {
            "(Nobody answered who could take the call over. The caller is still on the line. Say \
             so and go on with the call.)"
        }
        NotTaken::Busy => {
            "(The line of the person who could take the call over is busy. The caller is still on \
             the line. Say so and go on with the call.)"
        }
        NotTaken::Declined => {
            "(The person who could take the call over cannot do so now. The caller is still on \
             the line. Say so and go on with the call.)"
        }
        NotTaken::Machine => {
            "(Only a machine answered instead of the person who could take the call over. The \
             caller is still on the line. Say so and go on with the call.)"
        }
        NotTaken::Unreachable => NOT_TRANSFERRED,
    }
}

const NOT_TRANSFERRED: &str =
    "(The caller could not be connected and is still on the line. Say so and go on with the call.)";
const NOT_PRESSED: &str = "(The keys could not be pressed.)";
