//! How calls end.

use std::time::Duration;

use jiff::Timestamp;
use novavoice::{
    ProviderErrorKind,
    audio::{AudioFrame, SampleRate},
    call::LegCapabilities,
    conversation::{Command, Config, EndReason, Input, SessionId, Setup},
    model::ModelEvent,
    telephony::CallEvent,
    testkit::sim::Sim,
};

const SECOND: Duration = Duration::from_secs(1);
const SESSION: SessionId = SessionId(1);

/// A call at 16 kHz without a greeting.
fn setup(marks: bool) -> Setup {
    Setup {
        rate: SampleRate::Hz16000,
        leg: LegCapabilities { marks, text: true },
        text_input: true,
        greeting: None,
        started: Timestamp::UNIX_EPOCH,
    }
}

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
fn a_gap_inside_the_last_words_is_not_their_end() {
    let mut sim = Sim::opened(Config::default());
    let reply = sim.begins("Thank you.", SECOND);
    sim.input(Input::Command(Command::HangUp));
    sim.run_for(2 * SECOND);
    assert!(!sim.hung_up(), "the model has not said that it is done");
    sim.model(ModelEvent::Caption(reply, "Goodbye!".to_owned()));
    let rest = AudioFrame::new(vec![1; 32_000].into(), SampleRate::Hz16000);
    sim.model(ModelEvent::Audio(reply, rest));
    sim.model(ModelEvent::ReplyEnded(reply));
    sim.run_for(2 * SECOND);
    assert!(sim.hung_up());
    assert_eq!(sim.heard(), 2 * SECOND);
}

#[test]
fn last_words_on_a_leg_without_marks_are_heard_to_their_end() {
    let mut sim = Sim::with(Config::default(), setup(false));
    sim.input(Input::ModelOpened(SESSION));
    let reply = sim.begins("Goodbye!", SECOND);
    sim.input(Input::Command(Command::HangUp));
    sim.run_for(SECOND - Duration::from_millis(5));
    sim.model(ModelEvent::ReplyEnded(reply));
    assert!(!sim.hung_up(), "the last frame still sounds");
    sim.run_for(Duration::from_millis(5));
    assert!(sim.hung_up());
}

#[test]
fn last_words_that_were_cut_leave_the_caller_in_no_long_silence() {
    let mut sim = Sim::opened(Config::default());
    sim.says("Thank you, and goodbye!", 4 * SECOND);
    sim.input(Input::Command(Command::HangUp));
    sim.run_for(SECOND);
    sim.model(ModelEvent::Interrupted);
    sim.run_for(2 * SECOND);
    assert!(!sim.hung_up(), "the caller may have more to say");
    sim.run_for(2 * SECOND);
    assert!(sim.hung_up());
}

#[test]
fn a_caller_who_speaks_over_the_last_words_is_answered_before_the_end() {
    let mut sim = Sim::opened(Config::default());
    sim.says("Thank you, and goodbye!", 4 * SECOND);
    sim.input(Input::Command(Command::HangUp));
    sim.run_for(SECOND);
    sim.model(ModelEvent::Interrupted);
    sim.model(ModelEvent::CallerSaid("At what time?".to_owned()));
    sim.run_for(4 * SECOND);
    assert!(!sim.hung_up());
    sim.says("At ten.", SECOND);
    sim.run_for(SECOND);
    assert!(sim.hung_up());
}

#[test]
fn a_silent_agent_hangs_up_at_once() {
    let mut sim = Sim::opened(Config::default());
    sim.input(Input::Command(Command::HangUp));
    assert!(sim.hung_up());
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
    assert!(sim.hung_up());
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
    assert!(sim.hung_up());
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(SESSION, None));
    assert_eq!(sim.ended(), Some(&EndReason::NoTraffic));
}
