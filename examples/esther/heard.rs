//! What the carrier tells one node of a call that concerns another: kept where all nodes find it,
//! before the carrier hears that it was taken. Webhooks go to any node, while a call's media, and
//! whoever placed it, are at one; and the node that is told may die.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use novavoice::{
    ProviderError, ProviderErrorKind,
    agent::{AgentEvent, AgentHandle, EventKind},
    call::{CallId, CallStatus, Direction, Outcome},
    state::{Key, StateStore, Write},
    telephony::vonage::{
        EventKeeper, Vonage,
        webhook::{Detail, Status, StatusEvent},
    },
};
use serde_json::{Value, json};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use crate::clock::wall;

/// Keeps who answered, and which numbers lead nowhere.
#[derive(Debug)]
pub(crate) struct Hearsay(pub(crate) Arc<dyn StateStore>);

#[async_trait]
impl EventKeeper for Hearsay {
    async fn keep(&self, event: &StatusEvent) -> Result<(), ProviderError> {
        let Some((what, value)) = heard(event) else {
            return Ok(());
        };
        let Some(call) = event.about.leg.as_ref().filter(|_| !event.is_websocket()) else {
            return Ok(());
        };
        let now = wall();
        let until = now.checked_add(KEPT).unwrap_or(now);
        let kept = Write::to(key(call, what)).set(value).expires(until);
        let kept = timeout(PATIENCE, self.0.apply(vec![kept], now)).await;
        kept.unwrap_or_else(|_| {
            let silent = ProviderErrorKind::Unavailable;
            Err(ProviderError::new("esther", silent).with_detail("the store does not answer"))
        })
    }
}

/// What there is to hear of an event.
fn heard(event: &StatusEvent) -> Option<(&'static str, Value)> {
    match event.status {
        Status::Human => Some((ANSWERED, json!({ "machine": false }))),
        Status::Machine => Some((ANSWERED, json!({ "machine": true }))),
        _ if event.detail.as_ref().is_some_and(Detail::is_bad_number) => {
            Some((BAD_NUMBER, json!(true)))
        }
        _ => None,
    }
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

/// Whether a machine answered a call, if any node was told.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) async fn is_machine(
    state: &dyn StateStore,
    call: &CallId,
) -> Result<Option<bool>, ProviderError> {
    let found = state.get(&key(call, ANSWERED), wall()).await?;
    Ok(found.map(|record| record.value["machine"] == Value::Bool(true)))
}

/// How a call ended that was completed as far as the carrier says: a machine may have answered, and
/// another node may have been told.
///
/// # Errors
///
/// When that cannot be read.
pub(crate) async fn completed_by(
    state: &dyn StateStore,
    call: &CallId,
) -> Result<(CallStatus, Outcome), ProviderError> {
    Ok(match is_machine(state, call).await? {
        Some(true) => (CallStatus::Voicemail, Outcome::Voicemail),
        Some(false) | None => (CallStatus::Completed, Outcome::Completed),
    })
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
    for asked in 0_u32.. {
        match is_machine(&*state, &call).await {
            Ok(Some(machine)) => return vonage.answered_by(&call, machine),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "who answered cannot be looked up"),
        }
        tokio::time::sleep(if asked < OFTEN { PAUSE } else { LONG_PAUSE }).await;
    }
}

fn key(call: &CallId, what: &str) -> Key {
    Key::new(format!("heard/{}", call.as_str()), what)
}

const ANSWERED: &str = "answered";
const BAD_NUMBER: &str = "bad-number";

/// An attempt is settled long before.
const KEPT: Duration = Duration::from_secs(900);
/// Half a minute long: machine detection has nearly always made up its mind by then.
const OFTEN: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);
/// Then until the call ends.
const LONG_PAUSE: Duration = Duration::from_secs(5);
/// The carrier waits a second or more for an answer to an event (Vonage: webhook timeouts).
const PATIENCE: Duration = Duration::from_millis(800);
