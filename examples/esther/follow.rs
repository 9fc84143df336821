//! Keeps the record of calls and the counters up to date with what the agent reports.

use std::{collections::HashMap, sync::Arc};

use novavoice::{
    agent::{AgentEvent, AgentHandle, EventKind},
    call::{CallId, CallInfo},
    record::Latency,
};
use tokio::sync::{
    broadcast::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
    oneshot,
};

use crate::{
    calls::Calls,
    clock::wall,
    metrics::Metrics,
    speech::StandIn,
    stores::{Results, Write},
    tools::Notes,
    traces::Traces,
};

/// Where the agent's reports go.
pub(crate) struct Follower {
    pub(crate) calls: Calls,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stand_in: Option<Arc<StandIn>>,
    pub(crate) traces: Option<Arc<Traces>>,
    pub(crate) results: Results,
    /// What the tools noted of the calls that go on.
    pub(crate) notes: Notes,
    /// The calls that go on.
    pub(crate) live: HashMap<CallId, CallInfo>,
}

impl Follower {
    /// Follows the agent until `over` is told, and takes what has been reported by then.
    pub(crate) async fn follow(
        mut self,
        agent: AgentHandle,
        mut events: Receiver<AgentEvent>,
        mut over: oneshot::Receiver<()>,
    ) {
        loop {
            let event = tokio::select! {
                biased;
                event = events.recv() => event,
                // An error says that nobody can tell any more, which comes to the same.
                _ = &mut over => break,
            };
            match event {
                Ok(event) => self.take(&event),
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(missed)) => self.fell_behind(&agent, missed),
            }
        }
        loop {
            match events.try_recv() {
                Ok(event) => self.take(&event),
                Err(TryRecvError::Lagged(missed)) => self.fell_behind(&agent, missed),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn fell_behind(&mut self, agent: &AgentHandle, missed: u64) {
        tracing::error!(missed, "the record of calls fell behind and has gaps");
        let live: Vec<_> = agent.calls().into_iter().map(|call| call.info.id).collect();
        self.calls.keep_live(&live, wall());
        if let Some(traces) = &self.traces {
            traces.keep_live(&live);
        }
        self.live.retain(|call, _| live.contains(call));
    }

    fn take(&mut self, event: &AgentEvent) {
        let call = &event.call;
        if let Some(traces) = &self.traces {
            traces.take(event);
        }
        match &event.kind {
            EventKind::Started(info) => {
                self.calls.started(info);
                self.live.insert(call.clone(), info.clone());
                self.metrics.started();
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
                let summary = self.notes.judge(call, summary.clone());
                self.calls.ended(call, &summary);
                self.metrics.ended(&summary, stats);
                if let Some(info) = self.live.remove(call) {
                    let turns = stats.turns.iter().filter_map(|turn| turn.first_frame);
                    self.results.submit(Write {
                        info,
                        summary,
                        latency: Latency::of(turns),
                        call_again: self.notes.call_again(call),
                        unreached: None,
                    });
                }
                self.notes.forget(call);
                if let Some(stand_in) = &self.stand_in {
                    stand_in.forget(call);
                }
            }
            // The enum may grow; what is new concerns neither the record nor the counters.
            _ => {}
        }
    }
}
