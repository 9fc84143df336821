//! What a tool or an application does to the call itself: ending it, handing it over, pressing keys.

use novavoice::{
    ProviderErrorKind,
    call::{Party, TransferOutcome},
    conversation::{AgentState, Command, Config, EndReason, Input, Notice, TransferStep},
    telephony::{CallEvent, NotTaken},
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

const BRIEFING: &str = "Pat Doe asks for a date.";

fn introduction() -> Command {
    Command::WarmTransfer {
        to: Party::new("12125550101"),
        briefing: BRIEFING.to_owned().into(),
    }
}

/// A call in which silent callers are asked whether they are there.
fn patient() -> Sim {
    let mut config = Config::default();
    config.no_traffic = 86_400 * SECOND;
    config.idle.nudge = Some(20 * SECOND);
    config.idle.hang_up = Some(90 * SECOND);
    let mut sim = Sim::with(config, setup());
    sim.input(Input::ModelOpened(FIRST));
    sim.run_for(SECOND);
    sim
}

/// How far the transfers came, in order.
fn steps(sim: &Sim) -> Vec<TransferStep> {
    let steps = sim.notices().iter().filter_map(|notice| match notice {
        Notice::Transfer(step) => Some(step.clone()),
        _ => None,
    });
    steps.collect()
}

#[test]
fn a_caller_stays_with_the_agent_until_somebody_takes_the_call() {
    let mut sim = patient();
    asks(&mut sim, introduction());
    let (to, briefing) = sim.introduced().expect("somebody is called");
    assert_eq!(
        (to.reveal(), briefing.reveal().as_str()),
        ("12125550101", BRIEFING)
    );
    assert_eq!(sim.conversation().state(), AgentState::Transferring);
    // However long it rings, nobody asks the caller whether they are still there.
    let fed = sim.fed(FIRST).count();
    sim.caller(false, 100 * SECOND);
    assert_eq!(
        sim.fed(FIRST).count(),
        fed + 5_000,
        "the caller can still speak"
    );
    assert!(sim.told().is_empty() && !sim.hung_up());
    sim.says("It rings.", SECOND);
    sim.run_for(2 * SECOND);
    assert_eq!(sim.heard(), SECOND);
    sim.input(Input::Call(CallEvent::Taken));
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(FIRST, None));
    assert_eq!(sim.ended(), Some(&EndReason::Transferred));
    let briefed = TransferStep::Begun { briefed: true };
    assert_eq!(steps(&sim), [briefed, TransferStep::Connected]);
    assert_eq!(sim.stats().transfer, Some(TransferOutcome::Connected));
}

#[test]
fn a_call_that_nobody_takes_goes_on_and_the_model_is_told_why() {
    for (why, outcome, word) in [
        (
            NotTaken::NoAnswer,
            TransferOutcome::NoAnswer,
            "Nobody answered",
        ),
        (NotTaken::Busy, TransferOutcome::Busy, "busy"),
        (
            NotTaken::Declined,
            TransferOutcome::Declined,
            "cannot do so now",
        ),
        (NotTaken::Machine, TransferOutcome::Machine, "machine"),
        (
            NotTaken::Unreachable,
            TransferOutcome::Failed,
            "could not be connected",
        ),
    ] {
        let mut sim = patient();
        asks(&mut sim, introduction());
        sim.run_for(20 * SECOND);
        sim.input(Input::Call(CallEvent::NotTaken(why)));
        let told = sim.told();
        assert!(told.len() == 1 && told[0].contains(word), "{told:?}");
        assert_eq!(sim.stats().transfer, Some(outcome));
        sim.says("I am sorry.", SECOND);
        sim.run_for(2 * SECOND);
        assert_eq!(sim.conversation().state(), AgentState::Listening);
        // It may be tried again, and the idle ladder begins anew.
        asks(&mut sim, introduction());
        assert_eq!(steps(&sim).len(), 3);
        sim.input(Input::Call(CallEvent::NotTaken(why)));
        sim.says("I am sorry again.", SECOND);
        sim.caller(false, 30 * SECOND);
        assert_eq!(sim.told().len(), 3, "somebody who says nothing is asked");
    }
}

#[test]
fn one_transfer_runs_at_a_time_and_each_comes_to_one_end() {
    let mut sim = call();
    asks(&mut sim, introduction());
    asks(&mut sim, reception());
    asks(&mut sim, introduction());
    sim.run_for(SECOND);
    assert_eq!(sim.transferred(), None);
    assert_eq!(steps(&sim).len(), 1);
    sim.input(Input::Call(CallEvent::Taken));
    let kind = ProviderErrorKind::Unavailable;
    sim.input(Input::Call(CallEvent::TransferFailed(kind.clone())));
    sim.input(Input::Call(CallEvent::NotTaken(NotTaken::Busy)));
    sim.input(Input::Call(CallEvent::Taken));
    assert_eq!(steps(&sim)[1..], [TransferStep::Failed(kind)]);
    assert_eq!(sim.told().len(), 1);
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(FIRST, None));
    assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
    assert_eq!(steps(&sim).len(), 2);
}

#[test]
fn whoever_leaves_meanwhile_ends_the_transfer_with_the_call() {
    let mut sim = call();
    asks(&mut sim, introduction());
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(FIRST, None));
    assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
    assert_eq!(sim.stats().transfer, Some(TransferOutcome::Abandoned));

    let mut sim = call();
    asks(&mut sim, introduction());
    asks(&mut sim, Command::HangUp);
    sim.run_for(4 * SECOND);
    assert!(sim.hung_up(), "the agent may change its mind");
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(FIRST, None));
    assert_eq!(sim.ended(), Some(&EndReason::AgentHungUp));
    assert_eq!(steps(&sim).len(), 2);
}

#[test]
fn a_carrier_that_says_nothing_is_not_waited_for_for_ever() {
    let mut sim = call();
    asks(&mut sim, introduction());
    sim.caller(false, 310 * SECOND);
    assert_eq!(sim.stats().transfer, Some(TransferOutcome::NoAnswer));
    assert!(sim.told()[0].contains("Nobody answered"));
}
