//! The sessions of many calls: whose turn it is, what they are told, and what they cost.

use std::time::Duration;

use novavoice::{
    agent::{AgentConfig, EventKind},
    call::CallId,
    lead::MemoryLeads,
    model::{
        ModelEvent, SpeechModel, Usage,
        memory::{OpenedSession, Puppet},
    },
    telephony::CallEvent,
    tool::Tools,
    transcript::MemorySink,
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{SECOND, Stage};

const LIMIT: Duration = Duration::from_secs(60);

/// A stage whose model ends sessions after [`LIMIT`].
fn limited(config: AgentConfig) -> Stage {
    let limit = |puppet: Puppet| {
        let mut capabilities = puppet.capabilities();
        capabilities.max_session = Some(LIMIT);
        puppet.with_capabilities(capabilities)
    };
    let (sink, leads) = (MemorySink::new(), MemoryLeads::new());
    Stage::with_tools(sink, leads, config, Tools::default(), limit)
}

/// Takes commands until the end, as a model does.
fn play(mut session: OpenedSession) -> JoinHandle<usize> {
    tokio::spawn(async move { crate::finish(&mut session).await })
}

/// A rollover waits for nobody: new calls leave room for it, however many wait.
#[tokio::test(start_paused = true)]
async fn a_call_rolls_over_while_new_calls_wait_for_a_session() {
    let mut config = AgentConfig::default();
    config.max_sessions = Some(3);
    let mut stage = limited(config);
    let (first, session) = stage.call("first").await;
    let playing = play(session);
    let mut waiting = Vec::new();
    for id in ["second", "third", "fourth"] {
        waiting.push(stage.callers.call(crate::info(id)).await);
    }
    let next = timeout(40 * SECOND, stage.sessions.recv()).await;
    let next = next.map(|next| next.map(|next| next.seed.call));
    assert!(next.is_err(), "no session for the others yet: {next:?}");
    let next = timeout(10 * SECOND, stage.sessions.recv()).await;
    let next = next.expect("in time").expect("a session opens");
    assert_eq!(next.seed.call, CallId::new("first"));
    // The greeting was never answered, so there is no quiet point before the hard deadline.
    timeout(20 * SECOND, playing)
        .await
        .expect("the old session is told to finish")
        .expect("no panic");
    let playing = play(next);
    let ended = first.port.events.send(Ok(CallEvent::HungUp)).await;
    ended.expect("the leg is read");
    playing.await.expect("no panic");
    let next = timeout(SECOND, stage.sessions.recv()).await;
    let next = next.expect("in time").expect("a session opens");
    assert_eq!(next.seed.call, CallId::new("second"), "who came first");
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn what_a_call_costs_is_told_at_its_end() {
    let mut config = AgentConfig::default();
    config.prices = "2020-01-01 1 2 3 4".parse().ok();
    assert!(config.prices.is_some());
    let mut stage = Stage::set(MemorySink::new(), config);
    let (caller, session) = stage.call("one").await;
    let usage = Usage {
        input_speech_tokens: 1_000_000,
        output_speech_tokens: 1_000_000,
        input_text_tokens: 1_000_000,
        output_text_tokens: 1_000_000,
    };
    let told = session.port.events.send(Ok(ModelEvent::Usage(usage))).await;
    told.expect("the session is read");
    sleep(SECOND).await;
    let ended = caller.port.events.send(Ok(CallEvent::HungUp)).await;
    ended.expect("the leg is read");
    play(session).await.expect("no panic");
    let (_, summary) = stage.ended().await;
    assert_eq!(summary.usage, usage);
    assert_eq!(summary.cost_usd, Some(10.0));
}

#[tokio::test(start_paused = true)]
async fn a_restart_outside_any_turn_is_told_by_itself() {
    let mut stage = Stage::set(MemorySink::new(), AgentConfig::default());
    let (_caller, session) = stage.call("one").await;
    drop(session);
    // The model broke without a word: the call opens another session at once.
    let next = stage.sessions.recv().await.expect("another one opens");
    let playing = play(next);
    let work = loop {
        let event = stage.events.recv().await.expect("the agent lives");
        if let EventKind::Work(work) = event.kind {
            break work;
        }
    };
    assert_eq!(work.kind.name(), "restart");
    assert!(!work.failed);
    playing.abort();
}
