//! What the carrier tells one node of a call that concerns another: kept where all nodes find it.
//! Webhooks go to any node, while a call's media, and whoever placed it, are at one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use novavoice::{
    ProviderError,
    agent::{AgentEvent, AgentHandle, EventKind},
    call::{CallId, Direction},
    state::{Key, StateStore, Write},
    telephony::vonage::Vonage,
};
use serde_json::{Value, json};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    task::{AbortHandle, JoinSet},
};

use crate::clock::wall;

/// What there is to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Machine detection says who answered.
    Answered { machine: bool },
    /// The number itself leads nowhere.
    BadNumber,
}

/// Keeps it.
///
/// # Errors
///
/// When it could not be kept.
pub(crate) async fn tell(
    state: &dyn StateStore,
    call: &CallId,
    heard: Heard,
) -> Result<(), ProviderError> {
    let (what, value) = match heard {
        Heard::Answered { machine } => (ANSWERED, json!({ "machine": machine })),
        Heard::BadNumber => (BAD_NUMBER, json!(true)),
    };
    let now = wall();
    let until = now.checked_add(KEPT).unwrap_or(now);
    let kept = Write::to(key(call, what)).set(value).expires(until);
    state.apply(vec![kept], now).await
}

/// Whether the carrier called the number of a call bad, on any node.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) async fn is_bad_number(
    state: &dyn StateStore,
    call: &CallId,
) -> Result<bool, ProviderError> {
    let found = state.get(&key(call, BAD_NUMBER), wall()).await?;
    Ok(found.is_some())
}

/// Listens for calls that we placed and that are talked on here: who answered them may have been
/// told to another node. Ends with the agent.
pub(crate) async fn listen(
    state: Arc<dyn StateStore>,
    vonage: Vonage,
    agent: AgentHandle,
    mut events: Receiver<AgentEvent>,
) {
    let mut asking = JoinSet::new();
    let mut calls: HashMap<CallId, AbortHandle> = HashMap::new();
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(_)) => {
                let live: Vec<_> = agent.calls().into_iter().map(|call| call.info.id).collect();
                calls.retain(|call, _| live.contains(call));
                continue;
            }
        };
        match event.kind {
            EventKind::Started(info) if info.direction == Direction::Outbound => {
                let asked = ask(Arc::clone(&state), vonage.clone(), info.id.clone());
                calls.insert(info.id, asking.spawn(asked));
            }
            EventKind::Ended { .. } => {
                if let Some(asked) = calls.remove(&event.call) {
                    asked.abort();
                }
            }
            _ => {}
        }
        while asking.try_join_next().is_some() {}
    }
}

async fn ask(state: Arc<dyn StateStore>, vonage: Vonage, call: CallId) {
    let key = key(&call, ANSWERED);
    for _ in 0..ASKED {
        match state.get(&key, wall()).await {
            Ok(Some(record)) => {
                let machine = record.value["machine"] == Value::Bool(true);
                return vonage.answered_by(&call, machine);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "who answered cannot be looked up"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn key(call: &CallId, what: &str) -> Key {
    Key::new(format!("heard/{}", call.as_str()), what)
}

const ANSWERED: &str = "answered";
const BAD_NUMBER: &str = "bad-number";

/// An attempt is settled long before.
const KEPT: Duration = Duration::from_secs(900);
/// Together half a minute: machine detection has made up its mind by then.
const ASKED: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);
