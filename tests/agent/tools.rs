//! Tools beside a call that runs.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use novavoice::{
    agent::{AgentConfig, Counts, EventKind},
    call::{CallId, CallInfo, Party},
    conversation::{Command, EndReason, Reconfigure},
    lead::{Lead, LeadStore, MemoryLeads, PhoneNumber},
    model::{Capabilities, ModelCommand, ModelEvent, memory::OpenedSession},
    telephony::{CallCommand, CallEvent, memory::RemoteEnd},
    tool::{NoArguments, Tool, ToolCall, ToolCallId, ToolContext, ToolError, Tools, builtin},
    transcript::MemorySink,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::sleep;

use super::{SECOND, Stage, finish, info};

/// Looks up who is calling.
#[derive(Deserialize, JsonSchema)]
struct WhoCalls {
    /// How to greet them.
    greeting: String,
}

async fn who_calls(context: ToolContext, asked: WhoCalls) -> Result<String, ToolError> {
    sleep(3 * SECOND).await;
    let lead = context.lead().and_then(|lead| lead.text("name"));
    let name = lead.ok_or_else(|| ToolError::new("Nobody knows."))?;
    Ok(format!("{} {name}", asked.greeting))
}

/// A tool that never ends, and whether it was let go.
fn stuck() -> (Tool, Arc<AtomicBool>) {
    struct LetGo(Arc<AtomicBool>);
    impl Drop for LetGo {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let gone = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&gone);
    let tool = Tool::new("stuck", move |_, NoArguments {}| {
        let guard = LetGo(Arc::clone(&flag));
        async move {
            let _guard = guard;
            pending::<Result<(), ToolError>>().await
        }
    });
    (tool.deadline(5 * SECOND), gone)
}

fn stage(tools: impl IntoIterator<Item = Tool>) -> Stage {
    Stage::with_tools(
        MemorySink::new(),
        MemoryLeads::new(),
        AgentConfig::default(),
        Tools::new(tools),
        |puppet| puppet,
    )
}

/// The model uses a tool.
async fn uses(session: &OpenedSession, id: &str, name: &str, arguments: &str) {
    let call = ToolCall {
        id: ToolCallId::new(id),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let sent = session.port.events.send(Ok(ModelEvent::ToolCall(call)));
    sent.await.expect("the session is read");
}

/// What comes of the next use that is answered, as `id json`; and how much audio came before it.
async fn result(session: &mut OpenedSession) -> (String, usize) {
    let mut frames = 0;
    loop {
        match session.port.commands.recv().await.expect("the call lives") {
            ModelCommand::ToolResult(result) => {
                let text = format!("{} {}", result.id.as_str(), result.output.to_json());
                return (text, frames);
            }
            ModelCommand::Audio(_) => frames += 1,
            _ => {}
        }
    }
}

async fn hangs_up(caller: &RemoteEnd) {
    let hung_up = caller.port.events.send(Ok(CallEvent::HungUp));
    hung_up.await.expect("the leg is read");
}

/// The caller hangs up, and the session closes by the book.
async fn over(stage: &mut Stage, caller: &RemoteEnd, mut session: OpenedSession) -> EndReason {
    hangs_up(caller).await;
    finish(&mut session).await;
    drop(session);
    let (reason, _) = stage.ended().await;
    reason
}

/// Nova Sonic checklist 32: the audio goes on.
#[tokio::test(start_paused = true)]
async fn a_tool_runs_beside_the_call_and_knows_it() {
    let leads = MemoryLeads::new();
    let phone = PhoneNumber::parse("+12125550142").expect("a number");
    let lead = Lead::new(phone).with("name", "Pat Example");
    leads.upsert(lead).await.expect("stored");
    let mut stage = Stage::with_tools(
        MemorySink::new(),
        leads,
        AgentConfig::default(),
        Tools::new([Tool::new("who_calls", who_calls)]),
        |puppet| puppet,
    );
    let (caller, mut session) = stage.call("one").await;
    assert_eq!(session.seed.tools.len(), 1);
    assert_eq!(session.seed.tools[0].name, "who_calls");
    let arguments = r#""{\"greeting\":\"Good day,\"}""#;
    uses(&session, "a", "who_calls", arguments).await;
    let (answer, frames) = result(&mut session).await;
    assert_eq!(answer, r#"a {"result":"Good day, Pat Example"}"#);
    assert!((140..160).contains(&frames), "{frames} frames in 3 s");
    over(&mut stage, &caller, session).await;
}

/// Nova Sonic checklist 30 and 31: whatever goes wrong is an answer for the model.
#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_is_answered_and_the_call_goes_on() {
    let (stuck, gone) = stuck();
    let panics = Tool::new("panics", async |_, NoArguments {}| -> Result<(), _> {
        panic!("a bug in a tool")
    });
    let mut stage = stage([Tool::new("who_calls", who_calls), stuck, panics]);
    let (caller, mut session) = stage.call("one").await;
    for (name, arguments, expected) in [
        ("who_calls", "", "missing field `greeting`"),
        ("who_calls", "{", "no JSON object"),
        ("who_calls", r#"{"greeting":"Hi"}"#, "Nobody knows."),
        ("panics", "{}", "failed"),
        ("stuck", "{}", "too long"),
        ("unheard_of", "{}", "no tool of this name"),
    ] {
        uses(&session, expected, name, arguments).await;
        let (answer, _) = result(&mut session).await;
        assert!(
            answer.starts_with(&format!("{expected} {{\"error\":")),
            "{answer}"
        );
        assert!(answer[expected.len()..].contains(expected), "{answer}");
    }
    sleep(SECOND).await;
    assert!(
        gone.load(Ordering::Relaxed),
        "what took too long is stopped"
    );
    let reason = over(&mut stage, &caller, session).await;
    assert_eq!(reason, EndReason::CallerHungUp);
}

#[tokio::test(start_paused = true)]
async fn end_call_is_answered_before_the_agent_hangs_up() {
    let mut stage = stage([builtin::end_call()]);
    let (mut caller, mut session) = stage.call("one").await;
    uses(&session, "a", "end_call", "").await;
    let (answer, _) = result(&mut session).await;
    assert!(answer.contains("ending"), "{answer}");
    while !matches!(
        caller.port.commands.recv().await,
        Some(CallCommand::HangUp { apologise: false })
    ) {}
    let reason = over(&mut stage, &caller, session).await;
    assert_eq!(reason, EndReason::AgentHungUp);
}

#[tokio::test(start_paused = true)]
async fn a_leg_that_can_is_told_to_transfer_and_to_press_keys() {
    let reception = ("reception".to_owned(), Party::new("12125550101"));
    let mut stage = stage([builtin::transfer_call([reception]), builtin::send_dtmf()]);
    let mut able: CallInfo = info("one");
    able.leg.transfer = true;
    able.leg.dtmf = true;
    let phone = stage.callers.call(able).await.into_phone();
    let mut session = stage.sessions.recv().await.expect("a session opens");
    uses(&session, "a", "send_dtmf", r#"{"keys":"7#"}"#).await;
    let (answer, _) = result(&mut session).await;
    assert!(answer.contains("pressed"), "{answer}");
    sleep(SECOND).await;
    assert_eq!(phone.keys_heard(), "7#");
    let reception = r#"{"destination":"reception"}"#;
    uses(&session, "b", "transfer_call", reception).await;
    let (answer, _) = result(&mut session).await;
    assert!(answer.contains("connecting"), "{answer}");
    phone.ended().await;
    finish(&mut session).await;
    drop(session);
    let (reason, _) = stage.ended().await;
    assert_eq!(reason, EndReason::Transferred);
}

#[tokio::test(start_paused = true)]
async fn a_leg_that_cannot_transfer_is_not_asked_to() {
    let reception = ("reception".to_owned(), Party::new("12125550101"));
    let mut stage = stage([builtin::transfer_call([reception])]);
    let (mut caller, mut session) = stage.call("one").await;
    let reception = r#"{"destination":"reception"}"#;
    uses(&session, "a", "transfer_call", reception).await;
    let (answer, _) = result(&mut session).await;
    assert!(answer.contains("cannot be transferred"), "{answer}");
    over(&mut stage, &caller, session).await;
    while let Some(command) = caller.port.commands.recv().await {
        assert!(!matches!(command, CallCommand::Transfer { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_uses_no_tools_is_offered_none() {
    let mut stage = Stage::with_tools(
        MemorySink::new(),
        MemoryLeads::new(),
        AgentConfig::default(),
        Tools::new([builtin::end_call()]),
        |puppet| {
            puppet.with_capabilities(Capabilities {
                name: "plain",
                text_input: true,
                tools: false,
                max_session: None,
            })
        },
    );
    let (_caller, session) = stage.call("one").await;
    assert!(session.seed.tools.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_is_reconfigured_by_a_session_that_knows_the_change() {
    let mut stage = stage([builtin::end_call(), builtin::send_dtmf()]);
    let (_caller, first) = stage.call("one").await;
    assert_eq!(first.seed.tools.len(), 2);
    let mut change = Reconfigure::default();
    change.instructions = Some("You are Mike now.".to_owned());
    change.voice = Some("matthew".to_owned());
    change.tools = Some(vec!["end_call".to_owned()]);
    let id = CallId::new("one");
    assert!(stage.handle.command(&id, Command::Reconfigure(change)));
    let second = stage.sessions.recv().await.expect("another session opens");
    assert_eq!(second.seed.instructions, "You are Mike now.");
    assert_eq!(second.seed.voice.as_deref(), Some("matthew"));
    assert_eq!(second.seed.tools.len(), 1);
}

/// Nova Sonic checklist 46: hanging up during a pending tool leaves nothing open.
#[tokio::test(start_paused = true)]
async fn hanging_up_while_a_tool_runs_leaves_nothing_behind() {
    let (stuck, gone) = stuck();
    let mut stage = stage([stuck]);
    let (caller, mut session) = stage.call("one").await;
    uses(&session, "a", "stuck", "{}").await;
    sleep(SECOND).await;
    hangs_up(&caller).await;
    let (answer, _) = result(&mut session).await;
    assert!(answer.contains("error"), "{answer}");
    finish(&mut session).await;
    drop(session);
    stage.ended().await;
    sleep(SECOND).await;
    assert!(gone.load(Ordering::Relaxed));
    assert_eq!(stage.handle.counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn what_must_not_stop_half_way_finishes_after_the_caller_has_gone() {
    let booked = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&booked);
    let book = Tool::new("book", move |_, NoArguments {}| {
        let done = Arc::clone(&done);
        async move {
            sleep(3 * SECOND).await;
            done.store(true, Ordering::Relaxed);
            Ok(())
        }
    });
    let mut stage = stage([book]);
    let (caller, session) = stage.call("one").await;
    uses(&session, "a", "book", "{}").await;
    sleep(SECOND).await;
    over(&mut stage, &caller, session).await;
    assert!(booked.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn observers_are_told_of_tools_by_name() {
    let mut stage = stage([builtin::end_call()]);
    let (_caller, session) = stage.call("one").await;
    uses(&session, "a", "end_call", "{}").await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match stage.events.recv().await.expect("the agent lives").kind {
            EventKind::ToolCalled { run, name } => seen.push(format!("{} {name}", run.0)),
            EventKind::ToolAnswered { run, failed } => seen.push(format!("{} {failed}", run.0)),
            _ => {}
        }
    }
    assert_eq!(seen, ["1 end_call", "1 false"]);
}
