//! Whether there is room for another call.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use novavoice::{
    agent::{AgentHandle, Tally},
    model::breaker::Circuit,
    telephony::admission::Admission,
};

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

    fn let_in(&self) -> bool {
        if self.circuit.as_ref().is_some_and(Circuit::is_open) {
            return false;
        }
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        // With the lock held, so that later figures come later.
        let tally = self.agent.get().map(AgentHandle::tally).unwrap_or_default();
        !self.readiness.is_draining() && promised.one_more(tally, self.max_calls, wall())
    }
}

/// The calls that were let in and have not begun yet.
#[derive(Debug, Default)]
struct Promised {
    /// When each was let in, oldest first.
    since: VecDeque<Timestamp>,
    /// Inbound calls that had begun when we looked last.
    begun: u64,
}

impl Promised {
    /// Promises a line where one is free beside the calls that go on and what was promised before.
    fn one_more(&mut self, tally: Tally, max_calls: usize, now: Timestamp) -> bool {
        // Each that has begun is a call now.
        let begun = tally.inbound.saturating_sub(self.begun);
        let begun = usize::try_from(begun).unwrap_or(usize::MAX);
        self.since.drain(..begun.min(self.since.len()));
        self.begun = tally.inbound;
        self.since
            .retain(|since| now.duration_since(*since) < PROMISE);
        let free = tally.calls + self.since.len() < max_calls;
        if free {
            self.since.push_back(now);
        }
        free
    }
}

/// Longer than a carrier takes to open a socket. The caller has hung up before it was there.
const PROMISE: SignedDuration = SignedDuration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(calls: usize, inbound: u64) -> Tally {
        let mut tally = Tally::default();
        (tally.calls, tally.inbound) = (calls, inbound);
        tally
    }

    #[test]
    fn a_promised_line_is_taken_until_its_call_begins_or_never_comes() {
        let (mut promised, now) = (Promised::default(), Timestamp::UNIX_EPOCH);
        assert!(promised.one_more(tally(1, 1), 3, now));
        assert!(promised.one_more(tally(1, 1), 3, now));
        let more = promised.one_more(tally(1, 1), 3, now);
        assert!(!more, "one goes on, two are awaited");
        assert!(!promised.one_more(tally(2, 2), 3, now), "one has begun");
        let more = promised.one_more(tally(1, 2), 3, now);
        assert!(more, "another one has ended");
        assert!(!promised.one_more(tally(1, 2), 3, now + PROMISE / 2));
        let more = promised.one_more(tally(1, 2), 3, now + PROMISE);
        assert!(more, "they never came");
    }

    /// A call that begins is at no moment counted twice: the last line is never refused.
    #[test]
    fn every_line_is_given_away_however_many_have_begun_meanwhile() {
        let (mut promised, now) = (Promised::default(), Timestamp::UNIX_EPOCH);
        for let_in in 0..200 {
            let begun = let_in / 3;
            let calls = usize::try_from(begun).unwrap();
            assert!(promised.one_more(tally(calls, begun), 200, now));
        }
        assert!(!promised.one_more(tally(66, 66), 200, now));
        assert!(!promised.one_more(tally(200, 200), 200, now));
        assert!(promised.one_more(tally(199, 200), 200, now));
    }

    /// Calls that we place were promised no line.
    #[test]
    fn a_placed_call_takes_no_promise_with_it() {
        let (mut promised, now) = (Promised::default(), Timestamp::UNIX_EPOCH);
        assert!(promised.one_more(tally(0, 0), 2, now));
        assert!(!promised.one_more(tally(1, 0), 2, now));
    }
}
