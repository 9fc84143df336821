//! Whether there is room for another call.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use novavoice::{agent::AgentHandle, model::breaker::Circuit, telephony::admission::Admission};

use crate::{clock::wall, http::Readiness};

/// Lets calls in. Made before the agent whose calls it counts; clones share everything.
///
/// A call that was let in counts from that moment on, although it begins only when its socket
/// opens: of many callers at once no more are let in than there are lines.
#[derive(Clone)]
pub(crate) struct Gate {
    agent: Arc<OnceLock<AgentHandle>>,
    promised: Arc<Mutex<Promised>>,
    max_calls: usize,
    readiness: Readiness,
    /// How the model stands, where no other one takes its place.
    circuit: Option<Circuit>,
}

impl Gate {
    /// Room for so many calls while the process takes any.
    pub(crate) fn new(max_calls: usize, readiness: &Readiness) -> Self {
        Self {
            agent: Arc::default(),
            promised: Arc::default(),
            max_calls,
            readiness: readiness.clone(),
            circuit: None,
        }
    }

    /// Lets nobody in while the model is known to be out of order.
    pub(crate) fn guarded_by(mut self, circuit: Option<Circuit>) -> Self {
        self.circuit = circuit;
        self
    }

    /// What carriers ask.
    pub(crate) fn admission(&self) -> Admission {
        let gate = self.clone();
        Admission::new(move || gate.let_in())
    }

    /// Counts the calls of this agent from now on.
    pub(crate) fn open(&self, agent: AgentHandle) {
        // Called once; a second handle would be of the same agent.
        self.agent.set(agent).ok();
    }

    /// A call has begun: the agent counts it now.
    pub(crate) fn begun(&self) {
        self.promised().0.pop_front();
    }

    fn let_in(&self) -> bool {
        if self.circuit.as_ref().is_some_and(Circuit::is_open) {
            return false;
        }
        let mut promised = self.promised();
        let calls = self.agent.get().map_or(0, |agent| agent.counts().calls);
        !self.readiness.is_draining() && promised.one_more(calls, self.max_calls, wall())
    }

    fn promised(&self) -> MutexGuard<'_, Promised> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the calls were let in that have not begun yet, oldest first.
#[derive(Debug, Default)]
struct Promised(VecDeque<Timestamp>);

impl Promised {
    /// Promises a line where one is free beside `calls` and what was promised before.
    fn one_more(&mut self, calls: usize, max_calls: usize, now: Timestamp) -> bool {
        let is_kept = |since: &Timestamp| now.duration_since(*since) < PROMISE;
        self.0.retain(is_kept);
        let free = calls + self.0.len() < max_calls;
        if free {
            self.0.push_back(now);
        }
        free
    }
}

/// Longer than a carrier takes to open a socket. The caller has hung up before it was there.
const PROMISE: SignedDuration = SignedDuration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promised_line_is_taken_until_its_call_begins_or_never_comes() {
        let (mut promised, now) = (Promised::default(), Timestamp::UNIX_EPOCH);
        assert!(promised.one_more(1, 3, now) && promised.one_more(1, 3, now));
        assert!(
            !promised.one_more(1, 3, now),
            "one goes on, two are awaited"
        );
        promised.0.pop_front();
        assert!(!promised.one_more(2, 3, now), "one has begun");
        assert!(promised.one_more(1, 3, now), "another one has ended");
        assert!(!promised.one_more(1, 3, now + PROMISE / 2));
        assert!(promised.one_more(1, 3, now + PROMISE), "they never came");
    }
}
