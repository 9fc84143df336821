//! Signs of life of our calls, and the closing of those whose process is gone for good.

use std::time::Duration;

use jiff::SignedDuration;
use novavoice::{
    agent::AgentHandle,
    audio::SampleRate,
    call::{CallInfo, CallSummary},
    record::{CallNote, CallRecord},
};

use super::{Place, Results, Stores, Write};
use crate::clock::wall;

/// Looks after the store of calls for as long as the process runs.
pub(crate) async fn keep(stores: Stores, agent: AgentHandle, results: Results) {
    loop {
        // The sink of DynamoDB gives its signs by itself.
        if matches!(stores.calls_in, Place::Sqlite(_)) {
            for call in agent.calls() {
                let mut note = CallNote::default();
                note.alive = Some(wall());
                if let Err(error) = stores.calls.note(&call.info.id, &note).await {
                    warn("a live call's record cannot be told that it lives", &error);
                }
            }
        }
        match stores.calls.expire(wall() - LEASE).await {
            Ok(closed) => closed.into_iter().for_each(|call| {
                tracing::warn!(call_id = %call.id, "closed a call that no process carries");
                results.submit(abandoned(call));
            }),
            Err(error) => warn("abandoned calls cannot be looked for", &error),
        }
        // Not first: where processes die soon, calls of the dead would stay live for ever.
        tokio::time::sleep(SIGN).await;
    }
}

fn abandoned(call: CallRecord) -> Write {
    let ended = call.ended.unwrap_or(call.started);
    let mut info = CallInfo::new(call.id, call.direction, call.started, SampleRate::Hz16000);
    info.remote = call.remote;
    let outcome = call.outcome.unwrap_or(novavoice::call::Outcome::Abandoned);
    let length = call.duration.unwrap_or_default();
    Write {
        summary: CallSummary::new(call.status, outcome, ended, length),
        info,
        latency: None,
        call_again: None,
        unreached: None,
    }
}

fn warn(what: &str, error: &novavoice::ProviderError) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}

/// Several signs per lease: one that is late closes no call.
const SIGN: Duration = Duration::from_secs(25);
const LEASE: SignedDuration = SignedDuration::from_secs(90);
