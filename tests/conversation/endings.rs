//! How calls end.

use std::time::Duration;

use novavoice::{
    ProviderErrorKind,
    conversation::{Command, Config, EndReason, Input, SessionId},
    model::ModelEvent,
    telephony::CallEvent,
    testkit::sim::Sim,
};

const SECOND: Duration = Duration::from_secs(1);
const SESSION: SessionId = SessionId(1);

#[test]
fn a_caller_who_hangs_up_cuts_the_reply_and_the_session_closes_by_the_book() {
    let mut sim = Sim::opened(Config::default());
    sim.says("one two three four", 4 * SECOND);
    sim.run_for(2 * SECOND);
    sim.input(Input::Call(CallEvent::HungUp));
    assert_eq!(sim.sessions().1, [SESSION]);
    assert_eq!(sim.ended(), None, "the model may still have text for us");
    sim.model(ModelEvent::AgentSaid("one two three four".to_owned()));
    sim.input(Input::ModelEnded(SESSION, None));
    assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
    assert_eq!(sim.transcript(), ["Assistant: one two [cut]"]);
}

#[test]
fn the_agent_hangs_up_only_after_its_last_words_were_heard() {
    let mut sim = Sim::opened(Config::default());
    sim.says("Goodbye, and thank you.", 3 * SECOND);
    sim.model(ModelEvent::AgentSaid("Goodbye, and thank you.".to_owned()));
    sim.run_for(SECOND);
    sim.input(Input::Command(Command::HangUp));
    sim.run_for(SECOND);
    assert!(!sim.hung_up());
    sim.run_for(2 * SECOND);
    assert!(sim.hung_up());
    assert_eq!(sim.heard(), 3 * SECOND);
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(SESSION, None));
    assert_eq!(sim.ended(), Some(&EndReason::AgentHungUp));
    assert_eq!(sim.transcript(), ["Assistant: Goodbye, and thank you."]);
}

#[test]
fn a_silent_agent_hangs_up_at_once() {
    let mut sim = Sim::opened(Config::default());
    sim.input(Input::Command(Command::HangUp));
    assert!(sim.hung_up() && !sim.apologised());
}

#[test]
fn a_session_that_does_not_close_is_given_up() {
    let mut sim = Sim::opened(Config::default());
    sim.input(Input::Call(CallEvent::HungUp));
    sim.run_for(7 * SECOND);
    assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
}

#[test]
fn a_leg_that_does_not_hang_up_is_given_up() {
    let mut sim = Sim::opened(Config::default());
    sim.input(Input::Command(Command::Abort));
    sim.run_for(4 * SECOND);
    assert_eq!(sim.sessions().1, [SESSION]);
    sim.input(Input::ModelEnded(SESSION, None));
    assert_eq!(sim.ended(), Some(&EndReason::Aborted));
}

#[test]
fn a_lost_model_ends_the_call_with_its_reason() {
    let mut sim = Sim::opened(Config::default());
    sim.says("Hello there.", 4 * SECOND);
    sim.run_for(SECOND);
    sim.input(Input::ModelEnded(
        SESSION,
        Some(ProviderErrorKind::Unauthorized),
    ));
    assert!(sim.hung_up() && sim.apologised());
    sim.input(Input::Call(CallEvent::HungUp));
    assert_eq!(
        sim.ended(),
        Some(&EndReason::ModelFailed(ProviderErrorKind::Unauthorized))
    );
    assert!(
        sim.sessions().1.is_empty(),
        "a session that is gone is not closed again"
    );
}

#[test]
fn hanging_up_while_the_model_opens_stops_the_opening() {
    let mut sim = Sim::new(Config::default());
    sim.run_for(SECOND);
    sim.input(Input::Call(CallEvent::HungUp));
    assert_eq!(sim.sessions().1, [SESSION]);
    sim.input(Input::ModelEnded(
        SESSION,
        Some(ProviderErrorKind::Unavailable),
    ));
    assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
}

#[test]
fn a_leg_without_any_traffic_is_given_up_after_five_minutes() {
    let mut sim = Sim::opened(Config::default());
    sim.run_for(100 * SECOND);
    sim.caller(false, SECOND);
    sim.run_for(299 * SECOND);
    assert!(!sim.hung_up());
    sim.run_for(2 * SECOND);
    assert!(sim.hung_up() && !sim.apologised());
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(SESSION, None));
    assert_eq!(sim.ended(), Some(&EndReason::NoTraffic));
}
