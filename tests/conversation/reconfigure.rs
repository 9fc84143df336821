//! Another prompt, voice or set of tools in the middle of a call.

use novavoice::{
    ProviderErrorKind,
    conversation::{Command, Config, Input, Notice, Reconfigure, SessionId},
    model::ModelEvent,
    testkit::sim::Sim,
    tool::ToolOutput,
};

use super::tools::{FIRST, SECOND, call, run, setup, uses};

const SECOND_SESSION: SessionId = SessionId(2);

fn voice(name: &str) -> Reconfigure {
    let mut change = Reconfigure::default();
    change.voice = Some(name.to_owned());
    change
}

fn only(name: &str) -> Reconfigure {
    let mut change = Reconfigure::default();
    change.tools = Some(vec![name.to_owned()]);
    change
}

fn asks(sim: &mut Sim, change: Reconfigure) {
    sim.input(Input::Command(Command::Reconfigure(change)));
}

/// A call whose model has no limit, so that nothing but the change moves it.
fn endless() -> Sim {
    let mut setup = setup();
    setup.session_limit = None;
    let mut config = Config::default();
    config.no_traffic = 86_400 * SECOND;
    let mut sim = Sim::with(config, setup);
    sim.input(Input::ModelOpened(FIRST));
    sim.run_for(SECOND);
    sim
}

#[test]
fn a_change_is_taken_over_by_a_fresh_session_at_the_next_quiet_point() {
    let mut sim = endless();
    sim.begins("Let me put my colleague on the line.", 3 * SECOND);
    asks(&mut sim, voice("amy"));
    assert_eq!(sim.configured(), [Some(voice("amy"))]);
    assert_eq!(sim.sessions().0, [FIRST, SECOND_SESSION]);
    sim.input(Input::ModelOpened(SECOND_SESSION));
    sim.run_for(SECOND);
    assert_eq!(sim.sessions().1, [], "the agent speaks");
    sim.model(ModelEvent::ReplyEnded(novavoice::model::ReplyId(1)));
    sim.run_for(4 * SECOND);
    assert_eq!(sim.sessions().1, [FIRST]);
    assert_eq!(sim.talking(), SECOND_SESSION);
    assert_eq!(sim.briefed().len(), 1, "it knows what was said");
    sim.run_for(3_600 * SECOND);
    assert_eq!(sim.sessions().0.len(), 2, "and that was all");
}

#[test]
fn an_agent_that_never_stops_is_moved_all_the_same() {
    let mut sim = endless();
    sim.begins("A story without an end.", 120 * SECOND);
    asks(&mut sim, voice("amy"));
    sim.input(Input::ModelOpened(SECOND_SESSION));
    sim.run_for(19 * SECOND);
    assert_eq!(sim.sessions().1, []);
    sim.run_for(2 * SECOND);
    assert_eq!(sim.sessions().1, [FIRST]);
}

#[test]
fn tools_change_with_the_session_that_is_offered_them() {
    let mut sim = endless();
    asks(&mut sim, only("look_up"));
    sim.model(uses("a", "book"));
    assert_eq!(sim.running().len(), 1, "the old session still has it");
    sim.input(Input::ModelOpened(SECOND_SESSION));
    sim.run_for(5 * SECOND);
    assert_eq!(sim.talking(), FIRST, "the tool runs");
    sim.tool_done(run(1), ToolOutput::new("ok"));
    sim.says("It is booked.", SECOND);
    sim.run_for(3 * SECOND);
    assert_eq!(sim.talking(), SECOND_SESSION);
    sim.model(uses("b", "book"));
    assert!(sim.running().is_empty());
    sim.model(uses("c", "look_up"));
    assert_eq!(sim.running().len(), 1);
}

#[test]
fn a_session_that_was_warmed_up_without_the_change_is_replaced() {
    let mut sim = call();
    sim.run_for(358 * SECOND);
    sim.begins("Still talking.", 60 * SECOND);
    sim.run_for(5 * SECOND);
    sim.input(Input::ModelOpened(SECOND_SESSION));
    asks(&mut sim, voice("amy"));
    assert_eq!(sim.sessions().1, [SECOND_SESSION]);
    assert_eq!(sim.sessions().0.len(), 2, "never three at once");
    sim.input(Input::ModelEnded(SECOND_SESSION, None));
    sim.run_for(SECOND);
    assert_eq!(sim.sessions().0.len(), 3);
    sim.input(Input::ModelOpened(SessionId(3)));
    sim.run_for(21 * SECOND);
    assert_eq!(sim.talking(), SessionId(3));
}

#[test]
fn two_changes_in_a_row_are_one_move() {
    let mut sim = endless();
    sim.begins("Talking.", 5 * SECOND);
    asks(&mut sim, voice("amy"));
    asks(&mut sim, only("book"));
    assert_eq!(sim.sessions().1, [SECOND_SESSION]);
    sim.input(Input::ModelEnded(SECOND_SESSION, None));
    sim.run_for(SECOND);
    assert_eq!(sim.configured().len(), 2);
    sim.input(Input::ModelOpened(SessionId(3)));
    sim.model(ModelEvent::ReplyEnded(novavoice::model::ReplyId(1)));
    sim.run_for(10 * SECOND);
    assert_eq!(sim.talking(), SessionId(3));
    sim.model(uses("a", "look_up"));
    assert!(sim.running().is_empty());
}

/// An unknown voice must not cost the call at the next rollover.
#[test]
fn a_change_that_the_model_refuses_is_taken_back() {
    let mut sim = endless();
    asks(&mut sim, voice("nobody"));
    asks(&mut sim, only("book"));
    sim.input(Input::ModelEnded(SECOND_SESSION, None));
    sim.run_for(SECOND);
    let kind = ProviderErrorKind::Invalid;
    sim.input(Input::ModelEnded(SessionId(3), Some(kind.clone())));
    assert_eq!(sim.configured()[2..], [None, None]);
    assert!(sim.notices().contains(&Notice::Trouble(kind)));
    sim.run_for(3_600 * SECOND);
    assert_eq!(sim.talking(), FIRST);
    assert_eq!(sim.sessions().0.len(), 3);
    sim.model(uses("a", "look_up"));
    assert_eq!(sim.running().len(), 1);
}

#[test]
fn a_model_that_cannot_be_reached_is_asked_a_few_times() {
    let mut sim = endless();
    asks(&mut sim, voice("amy"));
    for session in 2..=5 {
        assert_eq!(sim.sessions().0.last(), Some(&SessionId(session)));
        let kind = ProviderErrorKind::Unavailable;
        sim.input(Input::ModelEnded(SessionId(session), Some(kind)));
        sim.run_for(3 * SECOND);
    }
    assert_eq!(sim.configured(), [Some(voice("amy")), None]);
    assert_eq!(sim.sessions().0.len(), 5);
}

#[test]
fn a_session_that_is_lost_meanwhile_is_followed_by_one_with_the_change() {
    let mut sim = endless();
    asks(&mut sim, only("book"));
    let kind = ProviderErrorKind::Unavailable;
    sim.input(Input::ModelEnded(FIRST, Some(kind)));
    sim.input(Input::ModelOpened(SECOND_SESSION));
    sim.run_for(10 * SECOND);
    assert_eq!(sim.sessions().0.len(), 2, "nothing more to move for");
    sim.model(uses("a", "look_up"));
    assert!(sim.running().is_empty());
}

#[test]
fn a_change_before_the_first_session_is_open_is_taken_over_after_it() {
    let mut setup = setup();
    setup.session_limit = None;
    let mut sim = Sim::with(Config::default(), setup);
    asks(&mut sim, voice("amy"));
    assert_eq!(sim.sessions().0.len(), 1);
    sim.input(Input::ModelOpened(FIRST));
    sim.run_for(SECOND);
    assert_eq!(sim.sessions().0.len(), 2);
    sim.input(Input::ModelOpened(SECOND_SESSION));
    sim.run_for(SECOND);
    assert_eq!(sim.talking(), SECOND_SESSION);
}

#[test]
fn a_change_of_nothing_is_no_reason_to_move() {
    let mut sim = endless();
    asks(&mut sim, Reconfigure::default());
    assert_eq!(sim.configured(), []);
    assert_eq!(sim.sessions().0.len(), 1);
}
