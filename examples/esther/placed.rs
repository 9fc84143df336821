//! Calls that were placed: their records, from the carrier's first word on. Some never reach the
//! agent; of others the carrier speaks to a node that does not carry them.

use std::sync::Arc;

use novavoice::{
    ProviderError,
    audio::SampleRate,
    call::{CallInfo, CallStatus, CallSummary, Direction},
    record::{CallNote, CallStore},
    state::StateStore,
    telephony::{CallProgress, PlacedEnd, Progress},
};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    calls::Calls,
    heard,
    stores::{Results, Write},
};

/// Keeps a record of every call that the carrier has placed. Where an agent talks, here or
/// elsewhere, its own word on how the call ended counts.
pub(crate) struct Placed {
    pub(crate) calls: Calls,
    pub(crate) store: Arc<dyn CallStore>,
    /// Where it is kept what other nodes have heard.
    pub(crate) state: Arc<dyn StateStore>,
    /// Where the leads of calls are told that never reached an agent.
    pub(crate) results: Results,
}

impl Placed {
    pub(crate) async fn follow(self, mut steps: Receiver<CallProgress>) {
        loop {
            match steps.recv().await {
                Ok(step) => self.take(&step).await,
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(missed)) => {
                    tracing::error!(missed, "what became of placed calls has gaps");
                }
            }
        }
    }

    async fn take(&self, step: &CallProgress) {
        let (remote, local) = (step.remote.as_ref(), step.local.as_ref());
        self.calls.placed(&step.call, remote, local, step.at);
        let kept = match &step.step {
            Progress::Placed => self.store.note(&step.call, &begun(step)).await,
            Progress::Ended(end) => self.ended(step, end).await,
            _ => return,
        };
        if let Err(error) = kept {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                call = %step.call,
                "what is known of a placed call is not complete"
            );
        }
    }

    async fn ended(&self, step: &CallProgress, end: &PlacedEnd) -> Result<(), ProviderError> {
        if !self.calls.is_waiting(&step.call) {
            return Ok(());
        }
        let mut end = end.clone();
        // The verdict may have gone to another node.
        if end.status == CallStatus::Completed {
            (end.status, end.outcome) = heard::completed_by(&*self.state, &step.call).await?;
        }
        let end = &end;
        self.calls.placed_ended(&step.call, end, step.at);
        if self.store.close(&step.call, &over(step, end)).await? {
            self.results.submit(unreached(step, end));
        }
        Ok(())
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

fn over(step: &CallProgress, end: &PlacedEnd) -> CallNote {
    let mut note = begun(step);
    note.started = None;
    note.status = Some(end.status);
    note.outcome = Some(end.outcome);
    note.ended = Some(step.at);
    // Until somebody answers, a call has no length.
    let answered = matches!(end.status, CallStatus::Completed | CallStatus::Voicemail);
    note.duration = end
        .duration
        .filter(|_| answered)
        .or(Some(std::time::Duration::ZERO));
    note
}
