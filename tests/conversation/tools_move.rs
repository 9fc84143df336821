//! Tools whose session is left while they run, or before it has said what came of them.

use novavoice::{
    ProviderErrorKind,
    conversation::{Config, Input, Notice, SessionId},
    model::ModelEvent,
    testkit::sim::Sim,
    tool::ToolOutput,
};

use super::tools::{FIRST, SECOND, answers, call, run, setup, uses};

const SECOND_SESSION: SessionId = SessionId(2);

/// Up to where the next session stands by.
fn warmed_up(sim: &mut Sim) {
    sim.run_for(361 * SECOND);
    sim.input(Input::ModelOpened(SECOND_SESSION));
}

fn lose_the_first(sim: &mut Sim) {
    let kind = ProviderErrorKind::Unavailable;
    sim.input(Input::ModelEnded(FIRST, Some(kind)));
    sim.run_for(SECOND);
}

/// A call whose first session was lost while its tool runs.
fn in_the_second() -> Sim {
    let mut sim = call();
    sim.model(uses("a", "book"));
    lose_the_first(&mut sim);
    sim.input(Input::ModelOpened(SECOND_SESSION));
    sim.run_for(SECOND);
    sim
}

/// Nova Sonic checklist 37: delayed.
#[test]
fn a_rollover_waits_for_a_tool_and_for_the_reply_to_its_result() {
    let mut sim = call();
    sim.run_for(358 * SECOND);
    sim.model(uses("a", "book"));
    sim.run_for(5 * SECOND);
    sim.input(Input::ModelOpened(SECOND_SESSION));
    sim.run_for(10 * SECOND);
    assert_eq!(sim.sessions().1, [], "the tool runs");
    sim.tool_done(run(1), ToolOutput::new("ok"));
    sim.run_for(SECOND);
    assert_eq!(sim.sessions().1, [], "the reply is due");
    sim.says("It is booked.", SECOND);
    sim.run_for(3 * SECOND);
    assert_eq!(sim.sessions().1, [FIRST]);
    assert_eq!(answers(&sim), [r#"1 a {"result":"ok"}"#]);
    assert!(sim.told().is_empty());
}

/// Nova Sonic checklist 37: delivered as text, and the old name never appears again.
#[test]
fn at_the_hard_deadline_the_result_follows_to_the_new_session_as_text() {
    let mut sim = call();
    sim.run_for(440 * SECOND);
    sim.model(uses("secret-name", "book"));
    sim.input(Input::ModelOpened(SECOND_SESSION));
    sim.run_for(23 * SECOND);
    assert_eq!(sim.sessions().1, [], "before the hard deadline");
    sim.run_for(3 * SECOND);
    assert_eq!(sim.sessions().1[0], FIRST);
    assert_eq!(answers(&sim).len(), 1, "the old session gets its answer");
    assert!(answers(&sim)[0].starts_with("1 secret-name {\"error\""));
    assert!(sim.told()[0].contains("book"), "the new one knows of it");
    sim.says("One moment.", SECOND);
    sim.run_for(2 * SECOND);
    sim.tool_done(run(1), ToolOutput::new("Monday it is"));
    sim.run_for(SECOND);
    assert_eq!(answers(&sim).len(), 1);
    let told = sim.told().last().unwrap();
    for part in ["book", "monday", "Monday it is", "Do not call it again"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(sim.told().iter().all(|told| !told.contains("secret-name")));
}

#[test]
fn a_late_result_waits_until_nobody_speaks() {
    let mut sim = in_the_second();
    let told = sim.told().len();
    sim.begins("A long story begins here.", 5 * SECOND);
    sim.tool_done(run(1), ToolOutput::new("ok"));
    sim.run_for(4 * SECOND);
    assert_eq!(sim.told().len(), told, "the agent speaks");
    sim.model(ModelEvent::ReplyEnded(novavoice::model::ReplyId(1)));
    sim.run_for(3 * SECOND);
    assert_eq!(sim.told().len(), told + 1);
}

#[test]
fn a_late_result_does_not_wait_for_ever() {
    let mut sim = in_the_second();
    let told = sim.told().len();
    sim.begins("A very long story.", 30 * SECOND);
    sim.tool_done(run(1), ToolOutput::new("ok"));
    sim.run_for(11 * SECOND);
    assert_eq!(sim.told().len(), told + 1);
}

#[test]
fn a_result_that_comes_while_no_session_is_open_is_told_to_the_next() {
    let mut sim = call();
    sim.model(uses("a", "book"));
    lose_the_first(&mut sim);
    sim.tool_done(run(1), ToolOutput::new("ok"));
    sim.run_for(3 * SECOND);
    assert!(sim.told().is_empty());
    sim.input(Input::ModelOpened(SECOND_SESSION));
    sim.run_for(SECOND);
    assert_eq!(sim.told().len(), 1);
    assert!(sim.told()[0].contains(r#"{"result":"ok"}"#));
    assert!(sim.answers().is_empty());
}

#[test]
fn a_result_that_the_lost_session_said_nothing_about_is_told_again() {
    for spoken in [false, true] {
        let mut sim = call();
        sim.model(uses("a", "book"));
        sim.tool_done(run(1), ToolOutput::new("ok"));
        if spoken {
            sim.says("It is booked.", SECOND);
            sim.run_for(2 * SECOND);
        }
        lose_the_first(&mut sim);
        sim.input(Input::ModelOpened(SECOND_SESSION));
        sim.run_for(SECOND);
        let told = sim.told().iter().any(|told| told.contains("Its result"));
        assert_eq!(told, !spoken);
    }
}

/// The names of one session mean nothing in another.
#[test]
fn the_same_name_in_another_session_is_another_use() {
    let mut sim = call();
    sim.model(uses("a", "book"));
    sim.tool_done(run(1), ToolOutput::new(1));
    sim.says("Done.", SECOND);
    sim.run_for(2 * SECOND);
    warmed_up(&mut sim);
    sim.run_for(SECOND);
    assert_eq!(sim.talking(), SECOND_SESSION);
    sim.model(uses("a", "book"));
    assert_eq!(sim.running().len(), 1);
    sim.tool_done(run(2), ToolOutput::new(2));
    assert_eq!(
        answers(&sim),
        [r#"1 a {"result":1}"#, r#"2 a {"result":2}"#]
    );
}

#[test]
fn a_session_that_was_left_can_use_nothing() {
    let mut sim = call();
    warmed_up(&mut sim);
    sim.run_for(SECOND);
    assert_eq!(sim.talking(), SECOND_SESSION);
    sim.input(Input::Model(FIRST, uses("a", "book")));
    assert!(sim.running().is_empty() && sim.answers().is_empty());
}

#[test]
fn without_text_a_late_result_is_reported_as_trouble() {
    let mut mute = setup();
    mute.text_input = false;
    let mut config = Config::default();
    config.no_traffic = 86_400 * SECOND;
    let mut sim = Sim::with(config, mute);
    sim.input(Input::ModelOpened(FIRST));
    sim.run_for(SECOND);
    sim.model(uses("a", "book"));
    lose_the_first(&mut sim);
    sim.input(Input::ModelOpened(SECOND_SESSION));
    let troubles = |sim: &Sim| {
        let trouble = Notice::Trouble(ProviderErrorKind::Invalid);
        sim.notices()
            .iter()
            .filter(|notice| **notice == trouble)
            .count()
    };
    assert_eq!(troubles(&sim), 0);
    sim.tool_done(run(1), ToolOutput::new("ok"));
    sim.run_for(20 * SECOND);
    assert_eq!(troubles(&sim), 1);
    assert!(sim.told().is_empty());
}
