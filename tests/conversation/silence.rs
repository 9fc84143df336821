//! The idle ladder, and the longest call.

use std::time::Duration;

use novavoice::{
    conversation::{Config, EndReason, Input, SessionId},
    model::ModelEvent,
    telephony::CallEvent,
    testkit::sim::Sim,
};

const SECOND: Duration = Duration::from_secs(1);

fn ladder() -> Config {
    let mut config = Config::default();
    config.idle.nudge = Some(20 * SECOND);
    config.idle.hang_up = Some(90 * SECOND);
    config.idle.nudge_text = "nudge".to_owned();
    config.idle.goodbye_text = "goodbye".to_owned();
    config.no_sign = 86_400 * SECOND;
    config
}

/// Answers whatever the model was told since.
fn answer(sim: &mut Sim, known: &mut usize) {
    if sim.told().len() > *known {
        *known = sim.told().len();
        sim.says("Some words.", 2 * SECOND);
    }
}

#[test]
fn a_silent_caller_is_nudged_twice_and_then_left_with_a_goodbye() {
    let mut sim = Sim::opened(ladder());
    let mut known = 0;
    let mut at = Vec::new();
    while !sim.hung_up() {
        sim.run_for(SECOND);
        if sim.told().len() > known {
            at.push(sim.elapsed().as_secs());
        }
        answer(&mut sim, &mut known);
        assert!(sim.elapsed() < 120 * SECOND, "{:?}", sim.told());
    }
    assert_eq!(sim.told(), ["nudge", "nudge", "goodbye"]);
    assert!(
        (20..=21).contains(&at[0]) && (40..=46).contains(&at[1]) && (90..=91).contains(&at[2]),
        "{at:?}"
    );
    assert!(
        sim.heard() >= 6 * SECOND,
        "hung up only after the last words were heard"
    );
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(SessionId(1), None));
    assert_eq!(sim.ended(), Some(&EndReason::AgentHungUp));
}

#[test]
fn a_caller_who_says_something_starts_the_ladder_again() {
    let mut sim = Sim::opened(ladder());
    for _ in 0..20 {
        sim.run_for(15 * SECOND);
        sim.caller(true, SECOND);
    }
    assert!(sim.told().is_empty());
    assert!(!sim.hung_up());
}

#[test]
fn a_long_reply_is_no_silence() {
    let mut sim = Sim::opened(ladder());
    sim.says("A very long reply.", 60 * SECOND);
    sim.run_for(75 * SECOND);
    assert!(sim.told().is_empty(), "{:?}", sim.told());
    sim.run_for(6 * SECOND);
    assert_eq!(sim.told(), ["nudge"]);
}

#[test]
fn mute_stops_the_ladder() {
    let mut sim = Sim::opened(ladder());
    sim.input(Input::Call(CallEvent::Muted(true)));
    sim.run_for(200 * SECOND);
    assert!(sim.told().is_empty());
    sim.input(Input::Call(CallEvent::Muted(false)));
    sim.run_for(21 * SECOND);
    assert_eq!(sim.told(), ["nudge"]);
}

#[test]
fn without_a_ladder_nobody_is_nudged() {
    let mut sim = Sim::opened(Config::default());
    sim.run_for(250 * SECOND);
    assert!(sim.told().is_empty());
}

#[test]
fn the_longest_call_is_wrapped_up_with_courtesy() {
    let mut config = Config::default();
    config.max_call = Some(120 * SECOND);
    config.wrap_up_text = "wrap up".to_owned();
    let mut sim = Sim::opened(config);
    sim.run_for(89 * SECOND);
    assert!(sim.told().is_empty());
    sim.run_for(2 * SECOND);
    assert_eq!(sim.told(), ["wrap up"]);
    sim.says("We must come to an end. Goodbye.", 3 * SECOND);
    sim.model(ModelEvent::AgentSaid(
        "We must come to an end. Goodbye.".to_owned(),
    ));
    sim.run_for(28 * SECOND);
    assert!(!sim.hung_up());
    sim.run_for(3 * SECOND);
    assert!(sim.hung_up());
}
