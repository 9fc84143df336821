//! What a tool or an application does to the call itself: ending it, handing it over, pressing keys.

use novavoice::{
    ProviderErrorKind,
    call::Party,
    conversation::{Command, Config, EndReason, Input, Notice},
    telephony::CallEvent,
    testkit::sim::Sim,
    tool::ToolOutput,
};

use super::tools::{FIRST, SECOND, answers, call, run, setup, uses};

fn reception() -> Command {
    Command::Transfer {
        to: Party::new("12125550101"),
    }
}

fn asks(sim: &mut Sim, command: Command) {
    sim.input(Input::Command(command));
}

#[test]
fn a_tool_that_ends_the_call_lets_the_last_words_be_heard() {
    let mut sim = call();
    sim.model(uses("a", "book"));
    asks(&mut sim, Command::HangUp);
    sim.run_for(SECOND);
    assert!(!sim.hung_up(), "the tool has not answered yet");
    sim.tool_done(run(1), ToolOutput::new("ending"));
    assert_eq!(answers(&sim).len(), 1);
    sim.run_for(SECOND);
    assert!(!sim.hung_up(), "the model may want to say goodbye");
    sim.says("Goodbye, and thank you.", 2 * SECOND);
    sim.run_for(SECOND);
    assert!(!sim.hung_up());
    sim.run_for(2 * SECOND);
    assert!(sim.hung_up());
    assert_eq!(sim.heard(), 2 * SECOND);
    assert_eq!(sim.stats().tools_failed, 0);
}

#[test]
fn a_model_that_has_said_goodbye_already_is_not_waited_for_for_long() {
    let mut sim = call();
    sim.says("Goodbye.", SECOND);
    sim.model(uses("a", "book"));
    asks(&mut sim, Command::HangUp);
    sim.tool_done(run(1), ToolOutput::new("ending"));
    sim.run_for(4 * SECOND);
    assert!(sim.hung_up());
}

#[test]
fn a_caller_is_handed_over_once_the_last_words_were_heard() {
    let mut sim = call();
    sim.says("I connect you with the reception.", 2 * SECOND);
    asks(&mut sim, reception());
    sim.run_for(SECOND);
    assert_eq!(sim.transferred(), None);
    sim.run_for(2 * SECOND);
    assert_eq!(sim.transferred(), Some(&Party::new("12125550101")));
    assert!(!sim.hung_up(), "the carrier takes the leg away");
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(FIRST, None));
    assert_eq!(sim.ended(), Some(&EndReason::Transferred));
}

#[test]
fn a_caller_whom_nobody_takes_over_stays_with_the_agent() {
    for answered in [true, false] {
        let mut sim = call();
        asks(&mut sim, reception());
        sim.run_for(SECOND);
        assert!(sim.transferred().is_some());
        if answered {
            let kind = ProviderErrorKind::NotFound;
            sim.input(Input::Call(CallEvent::TransferFailed(kind)));
        } else {
            sim.run_for(60 * SECOND);
        }
        assert_eq!(sim.told().len(), 1, "the model is told");
        let fed = sim.fed(FIRST).count();
        sim.caller(true, SECOND);
        assert_eq!(sim.fed(FIRST).count(), fed + 50);
        sim.input(Input::Call(CallEvent::HungUp));
        sim.input(Input::ModelEnded(FIRST, None));
        assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
    }
}

#[test]
fn a_failure_that_comes_after_the_agent_has_gone_on_changes_nothing() {
    let mut sim = call();
    let late = || Input::Call(CallEvent::TransferFailed(ProviderErrorKind::TimedOut));
    sim.input(late());
    assert!(sim.told().is_empty());
    asks(&mut sim, Command::HangUp);
    sim.input(late());
    sim.run_for(SECOND);
    assert!(sim.hung_up() && sim.told().is_empty());
}

#[test]
fn one_who_hangs_up_before_being_connected_has_hung_up() {
    let mut sim = call();
    sim.says("I connect you.", 2 * SECOND);
    asks(&mut sim, reception());
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(FIRST, None));
    assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
    assert_eq!(sim.transferred(), None);
}

#[test]
fn keys_are_pressed_and_a_failure_is_told() {
    let mut sim = call();
    asks(&mut sim, Command::SendDtmf("12#".parse().unwrap()));
    assert_eq!(sim.pressed(), "12#");
    let kind = ProviderErrorKind::Unavailable;
    sim.input(Input::Call(CallEvent::DtmfFailed(kind)));
    assert_eq!(sim.told().len(), 1);
}

#[test]
fn a_carrier_that_can_do_neither_is_not_asked() {
    let mut plain = setup();
    plain.leg.transfer = false;
    plain.leg.dtmf = false;
    let mut sim = Sim::with(Config::default(), plain);
    sim.input(Input::ModelOpened(FIRST));
    asks(&mut sim, reception());
    asks(&mut sim, Command::SendDtmf("1".parse().unwrap()));
    sim.run_for(5 * SECOND);
    assert_eq!(sim.transferred(), None);
    assert_eq!(sim.pressed(), "");
    let trouble = Notice::Trouble(ProviderErrorKind::Invalid);
    let troubles = sim.notices().iter().filter(|notice| **notice == trouble);
    assert_eq!(troubles.count(), 2);
    assert!(!sim.hung_up());
}
