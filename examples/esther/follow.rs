//! Keeps the record of calls and the counters up to date with what the agent reports.

use std::{future::ready, pin::pin, sync::Arc};

use novavoice::agent::{AgentEvent, AgentHandle, EventKind};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    calls::Calls, clock::wall, gate::Gate, metrics::Metrics, speech::StandIn, traces::Traces,
};

/// Where the agent's reports go.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) calls: Calls,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) gate: Gate,
    pub(crate) stand_in: Option<Arc<StandIn>>,
    pub(crate) traces: Option<Arc<Traces>>,
}

impl Follower {
    /// Follows the agent until `stop` resolves, and then to its last word.
    pub(crate) async fn follow(
        self,
        agent: AgentHandle,
        mut events: Receiver<AgentEvent>,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = pin!(stop);
        let mut stopping = false;
        loop {
            let received = tokio::select! {
                biased;
                received = events.recv() => received,
                () = &mut stop, if !stopping => {
                    stopping = true;
                    continue;
                }
                // What had been said by then has been taken.
                () = ready(()), if stopping => return,
            };
            match received {
                Ok(event) => self.take(&event),
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(missed)) => {
                    tracing::error!(missed, "the record of calls fell behind and has gaps");
                    let live: Vec<_> = agent.calls().into_iter().map(|call| call.info.id).collect();
                    self.calls.keep_live(&live, wall());
                    if let Some(traces) = &self.traces {
                        traces.keep_live(&live);
                    }
                }
            }
        }
    }

    fn take(&self, event: &AgentEvent) {
        let call = &event.call;
        if let Some(traces) = &self.traces {
            traces.take(event);
        }
        match &event.kind {
            EventKind::Started(info) => {
                self.calls.started(info);
                self.metrics.started();
                self.gate.begun();
            }
            EventKind::State { old, new } => self.calls.state(call, *old, *new),
            EventKind::Caption { speaker, text } => self.calls.caption(call, *speaker, text),
            EventKind::Utterance(line) => self.calls.line(call, line),
            EventKind::Turn(turn) => {
                self.calls.turn(call, &turn.latency);
                self.metrics.turn(&turn.latency);
            }
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
