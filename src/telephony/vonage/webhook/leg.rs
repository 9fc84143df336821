//! Where a leg stands, from events that come in any order and more than once.

use super::{Status, StatusEvent, SubState};

/// The state of one leg.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegState {
    /// How far it got. Never goes back.
    pub phase: Phase,
    /// Who answered, by the latest verdict of answering-machine detection.
    pub answerer: Option<Answerer>,
    /// What the machine that answered is doing.
    pub sub_state: Option<SubState>,
}

/// How far a leg got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the phases of any phone call; users match on all"
)]
pub enum Phase {
    /// No event has come yet.
    #[default]
    Unseen,
    /// Being placed or taken.
    Started,
    /// It rings.
    Ringing,
    /// It is up.
    Answered,
    /// It is over, by this first final status.
    Ended(Status),
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "Vonage knows these two verdicts")]
pub enum Answerer {
    /// A person.
    Human,
    /// A machine.
    Machine,
}

impl LegState {
    /// Takes an event in. Says whether it changed anything: repetitions, stragglers and whatever
    /// comes after the end do not.
    pub fn apply(&mut self, event: &StatusEvent) -> bool {
        if self.is_over() {
            return false;
        }
        let before = self.clone();
        if event.is_final() {
            self.phase = Phase::Ended(event.status.clone());
        } else {
            match event.status {
                Status::Started => self.reach(Phase::Started),
                Status::Ringing => self.reach(Phase::Ringing),
                Status::Answered => self.reach(Phase::Answered),
                Status::Human => self.heard(Answerer::Human, event),
                Status::Machine => self.heard(Answerer::Machine, event),
                // `Disconnected` of a phone leg says nothing about it; the rest is final.
                _ => {}
            }
        }
        *self != before
    }

    /// Whether a final status has come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    fn heard(&mut self, answerer: Answerer, event: &StatusEvent) {
        self.reach(Phase::Answered);
        self.answerer = Some(answerer);
        if event.sub_state.is_some() {
            self.sub_state.clone_from(&event.sub_state);
        }
    }

    fn reach(&mut self, phase: Phase) {
        if phase.rank() > self.phase.rank() {
            self.phase = phase;
        }
    }
}

impl Phase {
    const fn rank(&self) -> u8 {
        match self {
            Self::Unseen => 0,
            Self::Started => 1,
            Self::Ringing => 2,
            Self::Answered => 3,
            Self::Ended(_) => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(status: &str) -> StatusEvent {
        let body = json!({"uuid": "u", "status": status, "to": "442079460000"});
        StatusEvent::read(status, body.as_object().unwrap())
    }

    fn after(statuses: &[&str]) -> LegState {
        let mut state = LegState::default();
        for status in statuses {
            state.apply(&event(status));
        }
        state
    }

    /// Vonage checklist 51.
    #[test]
    fn stragglers_and_repetitions_change_nothing() {
        let mut state = after(&["ringing"]);
        assert!(!state.apply(&event("started")));
        assert!(!state.apply(&event("ringing")));
        assert_eq!(state.phase, Phase::Ringing);
        assert!(state.apply(&event("answered")));
        assert!(!state.apply(&event("answered")));
        assert!(!state.apply(&event("brand new")));
        assert!(state.apply(&event("completed")));
        for late in ["answered", "failed", "completed", "human", "disconnected"] {
            assert!(!state.apply(&event(late)));
        }
        assert_eq!(state, after(&["ringing", "answered", "completed"]));
    }

    /// Vonage checklist 49.
    #[test]
    fn the_latest_verdict_and_the_beep_are_kept() {
        let mut beep = event("machine");
        beep.sub_state = Some(SubState::BeepStart);
        let mut state = after(&["started", "human"]);
        assert_eq!(state.phase, Phase::Answered);
        assert_eq!(state.answerer, Some(Answerer::Human));
        assert!(state.apply(&event("machine")));
        assert!(state.apply(&beep));
        assert!(!state.apply(&beep));
        assert!(!state.apply(&event("machine")));
        assert_eq!(state.answerer, Some(Answerer::Machine));
        assert_eq!(state.sub_state, Some(SubState::BeepStart));
    }

    #[test]
    fn only_a_socket_can_end_by_disconnection() {
        assert!(!after(&["answered", "disconnected"]).is_over());
        let mut lost = event("disconnected");
        lost.about.to = Some(crate::call::Party::new("wss://example.com/socket"));
        let mut socket = after(&["answered"]);
        assert!(socket.apply(&lost));
        assert_eq!(socket.phase, Phase::Ended(Status::Disconnected));
    }

    proptest! {
        /// Vonage checklist 51.
        #[test]
        fn any_order_ends_at_the_first_final_status_and_never_goes_back(
            order in proptest::collection::vec(prop_oneof![
                Just("started"), Just("ringing"), Just("answered"), Just("human"),
                Just("machine"), Just("completed"), Just("busy"), Just("failed"), Just("x"),
            ], 0..20),
        ) {
            let mut state = LegState::default();
            let mut rank = 0;
            for status in &order {
                state.apply(&event(status));
                prop_assert!(state.phase.rank() >= rank);
                rank = state.phase.rank();
            }
            let ending = order.iter().find(|status| ["completed", "busy", "failed"].contains(status));
            match ending {
                Some(status) => prop_assert_eq!(state.phase, Phase::Ended(Status::from(*status))),
                None => prop_assert!(!state.is_over()),
            }
        }
    }
}
