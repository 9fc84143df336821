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
fn where_the_model_takes_no_text_a_silent_caller_is_left_without_a_word() {
    let mut setup = Sim::setup();
    setup.text_input = false;
    let mut sim = Sim::with(ladder(), setup);
    sim.input(Input::ModelOpened(SessionId(1)));
    sim.run_for(89 * SECOND);
    assert!(!sim.hung_up());
    sim.run_for(3 * SECOND);
    assert!(sim.hung_up());
    assert!(sim.told().is_empty());
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
fn hold_stops_the_ladder_and_the_model_is_told_of_the_return() {
    let mut sim = Sim::opened(ladder());
    sim.caller(true, SECOND);
    sim.model(ModelEvent::CallerSaid(
        "Please hold, I'll see if he is in.".to_owned(),
    ));
    sim.caller(false, 100 * SECOND);
    // The announcement of a queue is no return.
    sim.caller(true, 3 * SECOND);
    sim.model(ModelEvent::CallerSaid(
        "Your call is important to us. Please stay on the line.".to_owned(),
    ));
    sim.caller(false, 100 * SECOND);
    assert!(sim.told().is_empty(), "{:?}", sim.told());
    sim.caller(true, SECOND);
    sim.model(ModelEvent::CallerSaid("Pastor Lee speaking.".to_owned()));
    assert_eq!(sim.told().len(), 1);
    assert!(sim.told()[0].contains("204 seconds"), "{:?}", sim.told());
    sim.says("Good morning, Pastor Lee.", 2 * SECOND);
    sim.run_for(25 * SECOND);
    assert_eq!(sim.told()[1..], ["nudge"], "the ladder is back");
}

#[test]
fn music_without_a_word_is_hold_until_a_minute_after_it() {
    let mut sim = Sim::opened(ladder());
    sim.caller(true, 60 * SECOND);
    sim.caller(false, 59 * SECOND);
    assert!(sim.told().is_empty(), "somebody may be on their way");
    sim.caller(false, 23 * SECOND);
    assert_eq!(sim.told(), ["nudge"]);

    let mut sim = Sim::opened(ladder());
    sim.caller(true, 60 * SECOND);
    sim.caller(false, 10 * SECOND);
    sim.caller(true, SECOND);
    sim.model(ModelEvent::CallerSaid("Pastor Lee speaking.".to_owned()));
    assert!(sim.told()[0].contains("71 seconds"), "{:?}", sim.told());
}

#[test]
fn a_long_speech_is_no_hold() {
    let mut sim = Sim::opened(ladder());
    sim.caller(true, 30 * SECOND);
    sim.model(ModelEvent::CallerSaid("All about our roof.".to_owned()));
    sim.says("I see.", SECOND);
    sim.caller(false, 22 * SECOND);
    assert_eq!(sim.told(), ["nudge"]);
}

#[test]
fn a_short_wait_is_not_worth_a_word() {
    let mut sim = Sim::opened(ladder());
    sim.model(ModelEvent::CallerSaid("One moment.".to_owned()));
    sim.caller(false, 5 * SECOND);
    sim.model(ModelEvent::CallerSaid("Tuesday works.".to_owned()));
    assert!(sim.told().is_empty());
}

#[test]
fn a_hold_that_never_ends_does_not_keep_a_dead_call_alive() {
    let mut config = ladder();
    config.no_traffic = 86_400 * SECOND;
    let mut sim = Sim::opened(config);
    sim.model(ModelEvent::CallerSaid("Hold on.".to_owned()));
    sim.says("Of course.", SECOND);
    let mut known = 0;
    for _ in 0..800 {
        sim.run_for(SECOND);
        answer(&mut sim, &mut known);
    }
    assert!(sim.hung_up());
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
