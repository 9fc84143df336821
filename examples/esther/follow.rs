//! Keeps the record of calls and the counters up to date with what the agent reports.

use std::sync::Arc;

use novavoice::{
    agent::{AgentEvent, AgentHandle, EventKind},
    telephony::{CallProgress, Progress},
};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{calls::Calls, clock::wall, gate::Gate, metrics::Metrics, speech::StandIn};

/// Where the agent's reports go.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) calls: Calls,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) gate: Gate,
    pub(crate) stand_in: Option<Arc<StandIn>>,
}

impl Follower {
    /// Follows the agent for as long as it exists.
    pub(crate) async fn follow(self, agent: AgentHandle, mut events: Receiver<AgentEvent>) {
        loop {
            match events.recv().await {
                Ok(event) => self.take(&event),
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(missed)) => {
                    tracing::error!(missed, "the record of calls fell behind and has gaps");
                    let live: Vec<_> = agent.calls().into_iter().map(|call| call.info.id).collect();
                    self.calls.keep_live(&live, wall());
                }
            }
        }
    }

    /// Follows the calls that are placed, from the request on: some never reach the agent.
    pub(crate) async fn follow_placed(self, mut steps: Receiver<CallProgress>) {
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
            // Whatever the step, it is a call that the carrier has placed.
            self.calls.placed(&step.call, remote, local, step.at);
            if let Progress::Ended(end) = &step.step {
                self.calls.placed_ended(&step.call, end, step.at);
            }
        }
    }

    fn take(&self, event: &AgentEvent) {
        let call = &event.call;
        match &event.kind {
            EventKind::Started(info) => {
                self.calls.started(info);
                self.metrics.started();
                self.gate.begun();
            }
            EventKind::State { old, new } => self.calls.state(call, *old, *new),
            EventKind::Caption { speaker, text } => self.calls.caption(call, *speaker, text),
            EventKind::Utterance(line) => self.calls.line(call, line),
            EventKind::Trouble(_) => self.metrics.trouble(),
            EventKind::Ended { summary, stats, .. } => {
                self.calls.ended(call, summary);
                self.metrics.ended(summary, stats);
                if let Some(stand_in) = &self.stand_in {
                    stand_in.forget(call);
                }
            }
            // The enum may grow; what is new concerns neither the record nor the counters.
            _ => {}
        }
    }
}
