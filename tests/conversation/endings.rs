//! How calls end.

use std::time::Duration;

use novavoice::{
    ProviderErrorKind,
    audio::{AudioFrame, SampleRate},
    call::LegCapabilities,
    conversation::{AgentState, Command, Config, EndReason, Input, Notice, SessionId, Setup},
    model::ModelEvent,
    telephony::CallEvent,
    testkit::sim::Sim,
};

const SECOND: Duration = Duration::from_secs(1);
const SESSION: SessionId = SessionId(1);

/// A call at 16 kHz without a greeting.
fn setup(marks: bool) -> Setup {
    Setup {
        leg: LegCapabilities {
            marks,
            text: true,
            ..LegCapabilities::default()
        },
        ..Sim::setup()
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

#[test]
fn nothing_is_played_once_the_leg_was_told_to_hang_up() {
    let mut sim = Sim::opened(Config::default());
    sim.says("one two three four five six seven eight", 8 * SECOND);
    sim.run_for(2 * SECOND);
    sim.input(Input::Command(Command::Abort));
    let played = sim.stats().frames_played;
    sim.run_for(2 * SECOND);
    assert_eq!(sim.stats().frames_played, played);
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(SESSION, None));
    assert_eq!(sim.transcript(), ["Assistant: one two [cut]"]);
}

#[test]
fn a_session_that_was_told_to_close_is_given_nothing_more() {
    let mut sim = Sim::opened(Config::default());
    sim.input(Input::Command(Command::Abort));
    sim.run_for(4 * SECOND);
    assert_eq!(sim.sessions().1, [SESSION]);
    let fed = sim.fed(SESSION).count();
    // The leg does not hang up: it goes on as if nothing had happened.
    sim.caller(true, SECOND);
    sim.input(Input::Call(CallEvent::Dtmf('5')));
    sim.input(Input::Command(Command::Tell("More.".to_owned())));
    sim.run_for(SECOND);
    assert_eq!(sim.fed(SESSION).count(), fed);
    assert!(sim.told().is_empty(), "{:?}", sim.told());
    let stats = sim.stats();
    assert_eq!((stats.frames_received, stats.frames_dropped), (50, 50));
}

#[test]
fn a_call_that_ends_returns_to_no_earlier_state() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A reply.", 4 * SECOND);
    sim.run_for(SECOND);
    let before = sim.notices().len();
    sim.input(Input::ModelEnded(
        SESSION,
        Some(ProviderErrorKind::TimedOut),
    ));
    sim.run_for(SECOND);
    sim.input(Input::Call(CallEvent::HungUp));
    let after = |sim: &Sim| {
        let states = sim.notices()[before..].iter();
        states
            .filter_map(|notice| match notice {
                Notice::State { new, .. } => Some(*new),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(after(&sim), [AgentState::Listening]);

    let mut sim = Sim::opened(Config::default());
    let before = sim.notices().len();
    sim.input(Input::Call(CallEvent::HungUp));
    sim.model(ModelEvent::CallerSaid("Bye.".to_owned()));
    let thinks = |notice: &Notice| matches!(notice, Notice::State { .. });
    assert!(!sim.notices()[before..].iter().any(thinks));
    sim.input(Input::ModelEnded(SESSION, None));
    assert_eq!(sim.transcript(), ["Human: Bye."]);
    let notices = sim.notices().len();
    sim.model(ModelEvent::CallerSaid("After the end.".to_owned()));
    sim.caller(true, SECOND);
    assert_eq!(sim.notices().len(), notices);
}

#[test]
fn frames_that_waited_for_a_model_that_never_came_are_counted_as_dropped() {
    let mut sim = Sim::new(Config::default());
    sim.caller(true, SECOND);
    sim.input(Input::ModelEnded(
        SESSION,
        Some(ProviderErrorKind::TimedOut),
    ));
    sim.input(Input::Call(CallEvent::HungUp));
    let stats = sim.stats();
    assert_eq!((stats.frames_received, stats.frames_dropped), (50, 50));
    let initializing = |notice: &Notice| matches!(notice, Notice::State { .. });
    assert!(!sim.notices().iter().any(initializing));
}
