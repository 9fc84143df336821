//! Calls that were placed: their records, from the carrier's first word on. Some never reach the
//! agent.

use std::sync::Arc;

use novavoice::{
    audio::SampleRate,
    call::{CallInfo, CallStatus, CallSummary, Direction},
    record::{CallNote, CallStore},
    telephony::{CallProgress, PlacedEnd, Progress},
};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    calls::Calls,
    stores::{Results, Write},
};

/// Keeps a record of every call that the carrier has placed. Where the agent talks, its own word
/// on how the call ended counts.
pub(crate) async fn follow(
    calls: Calls,
    store: Arc<dyn CallStore>,
    results: Results,
    mut steps: Receiver<CallProgress>,
) {
    loop {
        let step = match steps.recv().await {
            Ok(step) => step,
            Err(RecvError::Closed) => return,
            Err(RecvError::Lagged(missed)) => {
                tracing::error!(missed, "what became of placed calls has gaps");
                continue;
            }
        };
        let (remote, local) = (step.remote.as_ref(), step.local.as_ref());
        calls.placed(&step.call, remote, local, step.at);
        let note = match &step.step {
            Progress::Placed => begun(&step),
            Progress::Ended(end) if calls.is_waiting(&step.call) => {
                calls.placed_ended(&step.call, end, step.at);
                results.submit(unreached(&step, end));
                ended(&step, end)
            }
            _ => continue,
        };
        if let Err(error) = store.note(&step.call, &note).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                call = %step.call,
                "the record of a placed call is not complete"
            );
        }
    }
}

fn begun(step: &CallProgress) -> CallNote {
    let mut note = CallNote::default();
    note.remote.clone_from(&step.remote);
    note.direction = Some(Direction::Outbound);
    note.started = Some(step.at);
    note
}

/// What is written to the lead, if there is one.
fn unreached(step: &CallProgress, end: &PlacedEnd) -> Write {
    let rate = SampleRate::Hz16000;
    let mut info = CallInfo::new(step.call.clone(), Direction::Outbound, step.at, rate);
    info.remote.clone_from(&step.remote);
    let length = end.duration.unwrap_or_default();
    Write {
        info,
        summary: CallSummary::new(end.status, end.outcome, step.at, length),
        latency: None,
        call_again: None,
        unreached: Some(end.bad_number),
    }
}

fn ended(step: &CallProgress, end: &PlacedEnd) -> CallNote {
    let mut note = begun(step);
    note.started = None;
    note.status = Some(end.status);
    note.outcome = Some(end.outcome);
    note.ended = Some(step.at);
    // Until somebody answers, a call has no length.
    let answered = end.status == CallStatus::Completed;
    note.duration = end
        .duration
        .filter(|_| answered)
        .or(Some(std::time::Duration::ZERO));
    note
}
