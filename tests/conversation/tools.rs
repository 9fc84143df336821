//! Tools: each use is started once and answered once.

use std::{sync::Arc, time::Duration};

use novavoice::{
    ProviderErrorKind,
    call::LegCapabilities,
    conversation::{AgentState, Config, EndReason, Input, Notice, SessionId, Setup},
    model::ModelEvent,
    telephony::CallEvent,
    testkit::sim::Sim,
    tool::{ToolCall, ToolCallId, ToolOutput, ToolRunId, ToolSpec},
    transcript::Speaker,
};
use serde_json::Map;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const FIRST: SessionId = SessionId(1);
const SECOND_SESSION: SessionId = SessionId(2);

/// `book` must not stop half way; `look_up` may, and has something to say when it is slow.
pub(crate) fn tools() -> Arc<[ToolSpec]> {
    let mut book = ToolSpec::new("book", "Books a meeting.", Map::new());
    book.deadline = 30 * SECOND;
    let mut look_up = ToolSpec::new("look_up", "Looks something up.", Map::new());
    look_up.interruptible = true;
    look_up.filler = Some("One moment, please.".to_owned());
    [book, look_up].into()
}

pub(crate) fn setup() -> Setup {
    Setup {
        leg: LegCapabilities {
            marks: true,
            transfer: true,
            dtmf: true,
            ..LegCapabilities::default()
        },
        tools: tools(),
        session_limit: Some(480 * SECOND),
        ..Sim::setup()
    }
}

/// A call whose first session is open.
pub(crate) fn call() -> Sim {
    call_with(Config::default(), setup())
}

fn call_with(mut config: Config, setup: Setup) -> Sim {
    config.no_traffic = 86_400 * SECOND;
    let mut sim = Sim::with(config, setup);
    sim.input(Input::ModelOpened(FIRST));
    sim.run_for(SECOND);
    sim
}

pub(crate) fn uses(id: &str, name: &str) -> ModelEvent {
    ModelEvent::ToolCall(ToolCall {
        id: ToolCallId::new(id),
        name: name.to_owned(),
        arguments: r#"{"day":"monday"}"#.to_owned(),
    })
}

pub(crate) fn run(number: u32) -> ToolRunId {
    ToolRunId(number)
}

/// What sessions were told, as `session id json`.
pub(crate) fn answers(sim: &Sim) -> Vec<String> {
    let told = sim.answers().iter();
    told.map(|(SessionId(session), result)| {
        format!(
            "{session} {} {}",
            result.id.as_str(),
            result.output.to_json()
        )
    })
    .collect()
}

fn failed(sim: &Sim, at: usize) -> bool {
    sim.answers()[at].1.output.is_error()
}

#[test]
fn a_use_is_started_once_and_answered_once_however_often_it_comes() {
    let mut sim = call();
    sim.model(uses("a", "book"));
    sim.model(uses("a", "book"));
    assert_eq!(sim.running().len(), 1);
    assert_eq!(sim.running()[&run(1)].arguments, r#"{"day":"monday"}"#);
    sim.tool_done(run(1), ToolOutput::new("ok"));
    sim.tool_done(run(1), ToolOutput::new("again"));
    sim.model(uses("a", "book"));
    assert_eq!(answers(&sim), [r#"1 a {"result":"ok"}"#]);
    assert!(sim.running().is_empty());
    assert_eq!(sim.stats().tools_called, 1);
    assert_eq!(sim.stats().tools_failed, 0);
}

/// Nova Sonic checklist 32.
#[test]
fn several_run_at_once_and_end_in_any_order_while_the_caller_is_heard() {
    let mut sim = call();
    sim.model(uses("a", "book"));
    sim.model(uses("b", "look_up"));
    let fed = sim.fed(FIRST).count();
    sim.caller(false, SECOND);
    assert_eq!(sim.fed(FIRST).count(), fed + 50);
    sim.tool_done(run(2), ToolOutput::new(2));
    sim.tool_done(run(1), ToolOutput::new(1));
    assert_eq!(
        answers(&sim),
        [r#"1 b {"result":2}"#, r#"1 a {"result":1}"#]
    );
}

/// Nova Sonic checklist 30.
#[test]
fn a_tool_that_does_not_exist_or_was_not_offered_is_refused_at_once() {
    let mut limited = setup();
    limited.offered = Some(vec!["look_up".to_owned()]);
    let mut sim = call_with(Config::default(), limited);
    for (at, name) in ["fly", "", "book"].into_iter().enumerate() {
        sim.model(uses(&at.to_string(), name));
        assert_eq!(sim.answers().len(), at + 1);
        assert!(failed(&sim, at), "{name}");
    }
    assert!(sim.running().is_empty());
    assert_eq!(sim.stats().tools_refused, 3);
    assert_eq!(sim.stats().tools_called, 0);
}

#[test]
fn a_model_that_runs_wild_is_refused() {
    let mut sim = call();
    for at in 0..100 {
        sim.model(uses(&at.to_string(), "book"));
    }
    assert_eq!(sim.running().len(), 8);
    assert_eq!(sim.answers().len(), 92);
}

/// Nova Sonic checklist 30.
#[test]
fn a_tool_that_takes_too_long_is_stopped_and_answered_with_an_error() {
    let mut sim = call();
    sim.model(uses("a", "look_up"));
    sim.run_for(9 * SECOND);
    assert!(sim.answers().is_empty());
    sim.run_for(2 * SECOND);
    assert_eq!(sim.cancelled(), [run(1)]);
    assert!(failed(&sim, 0));
    sim.tool_done(run(1), ToolOutput::new("late"));
    assert_eq!(sim.answers().len(), 1);
    assert_eq!(sim.stats().tools_timed_out, 1);
}

/// Nova Sonic checklist 30: also when the caller interrupts the turn.
#[test]
fn an_interruption_stops_only_what_may_be_stopped_and_everything_is_answered() {
    let mut sim = call();
    sim.begins("Let me look and book that for you.", 4 * SECOND);
    sim.model(uses("a", "look_up"));
    sim.model(uses("b", "book"));
    sim.run_for(SECOND);
    sim.model(ModelEvent::Interrupted);
    assert_eq!(sim.cancelled(), [run(1)]);
    assert_eq!(answers(&sim).len(), 1);
    assert!(failed(&sim, 0));
    sim.run_for(SECOND);
    sim.tool_done(run(2), ToolOutput::new("ok"));
    assert_eq!(answers(&sim)[1], r#"1 b {"result":"ok"}"#);
}

#[test]
fn observers_see_what_is_used_and_that_the_agent_thinks_meanwhile() {
    let mut sim = call();
    sim.model(uses("a", "book"));
    assert_eq!(sim.conversation().state(), AgentState::Thinking);
    sim.run_for(5 * SECOND);
    assert_eq!(sim.conversation().state(), AgentState::Thinking);
    sim.tool_done(run(1), ToolOutput::error("no"));
    sim.says("That did not work.", SECOND);
    sim.run_for(3 * SECOND);
    assert_eq!(sim.conversation().state(), AgentState::Listening);
    let of_tools: Vec<_> = sim
        .notices()
        .iter()
        .filter(|notice| {
            matches!(
                notice,
                Notice::ToolCalled { .. } | Notice::ToolAnswered { .. }
            )
        })
        .cloned()
        .collect();
    assert_eq!(
        of_tools,
        [
            Notice::ToolCalled {
                run: run(1),
                name: "book".to_owned()
            },
            Notice::ToolAnswered {
                run: run(1),
                failed: true
            }
        ]
    );
}

#[test]
fn a_model_that_has_nothing_to_say_about_a_result_is_not_waited_for_for_ever() {
    let mut sim = call();
    sim.model(uses("a", "book"));
    sim.tool_done(run(1), ToolOutput::new("ok"));
    assert_eq!(sim.conversation().state(), AgentState::Thinking);
    sim.run_for(9 * SECOND);
    assert_eq!(sim.conversation().state(), AgentState::Listening);
}

#[test]
fn a_slow_tool_is_spoken_of_once_as_soon_as_the_line_is_silent() {
    let mut sim = call();
    sim.model(uses("a", "look_up"));
    sim.begins("Let me see.", 4 * SECOND);
    sim.run_for(3 * SECOND);
    assert!(sim.told().is_empty(), "the agent still speaks");
    sim.run_for(2 * SECOND);
    assert_eq!(sim.told().len(), 1);
    assert!(sim.told()[0].contains("One moment, please."));
    sim.run_for(2 * SECOND);
    assert_eq!(sim.told().len(), 1);
}

#[test]
fn a_quick_tool_and_one_without_a_filler_are_not_spoken_of() {
    let mut sim = call();
    sim.model(uses("a", "look_up"));
    sim.run_for(SECOND);
    sim.tool_done(run(1), ToolOutput::new("ok"));
    sim.model(uses("b", "book"));
    sim.run_for(20 * SECOND);
    assert!(sim.told().is_empty());
}

#[test]
fn progress_is_spoken_of_as_soon_as_nobody_speaks_and_the_newest_counts() {
    let mut sim = call();
    sim.model(uses("a", "book"));
    sim.caller(true, SECOND / 2);
    sim.input(Input::Voice(true));
    let progress = |text: &str| Input::ToolProgress(run(1), text.to_owned());
    sim.input(progress("The first calendar is read."));
    sim.input(progress("Two calendars are read."));
    sim.run_for(SECOND / 10);
    assert!(sim.told().is_empty(), "the caller speaks");
    sim.input(Input::Voice(false));
    sim.run_for(SECOND);
    assert_eq!(sim.told().len(), 1);
    assert!(sim.told()[0].contains("Two calendars are read."));
    sim.tool_done(run(1), ToolOutput::new("ok"));
    sim.input(progress("Too late."));
    sim.run_for(SECOND);
    assert_eq!(sim.told().len(), 1);
}

#[test]
fn a_silent_caller_is_not_nudged_while_a_tool_runs() {
    let mut config = Config::default();
    config.idle.nudge = Some(5 * SECOND);
    let mut sim = call_with(config, setup());
    sim.model(uses("a", "book"));
    sim.run_for(20 * SECOND);
    assert!(sim.told().is_empty());
    sim.tool_done(run(1), ToolOutput::new("ok"));
    sim.says("It is booked.", SECOND);
    sim.run_for(8 * SECOND);
    assert_eq!(sim.told().len(), 1);
}

/// What a session does about the caller's words, another one must not do again.
#[test]
fn words_that_a_tool_answers_are_not_said_again_to_the_next_session() {
    let mut sim = call();
    sim.caller(true, SECOND);
    sim.model(ModelEvent::CallerSaid("Book Monday.".to_owned()));
    sim.model(uses("a", "book"));
    sim.caller(false, SECOND);
    let kind = ProviderErrorKind::Unavailable;
    sim.input(Input::ModelEnded(FIRST, Some(kind)));
    sim.run_for(SECOND);
    sim.input(Input::ModelOpened(SECOND_SESSION));
    let history = &sim.briefed()[0].1;
    assert_eq!(history[0].speaker, Speaker::Caller);
    assert_eq!(history[0].text, "Book Monday.");
    assert_eq!(
        sim.fed(SECOND_SESSION).count(),
        15,
        "nothing is replayed but the last moment"
    );
    assert_eq!(sim.told().len(), 1);
    assert!(sim.told()[0].contains("do not call it again"));
}

/// Nova Sonic checklist 30 and 46: nothing is left unanswered or running.
#[test]
fn hanging_up_stops_what_may_be_stopped_and_waits_for_the_rest() {
    let mut sim = call();
    sim.model(uses("a", "look_up"));
    sim.model(uses("b", "book"));
    sim.input(Input::Call(CallEvent::HungUp));
    assert_eq!(sim.answers().len(), 2);
    assert!(failed(&sim, 0) && failed(&sim, 1));
    assert_eq!(sim.cancelled(), [run(1)]);
    assert_eq!(sim.sessions().1, [FIRST]);
    sim.input(Input::ModelEnded(FIRST, None));
    assert_eq!(sim.ended(), None, "the booking is under way");
    sim.tool_done(run(2), ToolOutput::new("ok"));
    assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
    assert_eq!(sim.answers().len(), 2);
    assert!(sim.told().is_empty());
}

#[test]
fn a_tool_does_not_hold_up_the_end_of_a_call_for_long() {
    let mut sim = call();
    sim.model(uses("a", "book"));
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(FIRST, None));
    sim.run_for(7 * SECOND);
    assert_eq!(sim.cancelled(), [run(1)]);
    assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
}
