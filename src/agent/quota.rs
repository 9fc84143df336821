//! The sessions that an account may have open, shared out among the calls.
//!
//! Calls that go on come first, in the order in which they asked: one that has lost its session, and
//! one that must move before its session's limit. A new call takes what they leave over, and always
//! leaves enough for one call to roll over; so no rollover ever waits for another call to end.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A call that goes on.
    Going,
    /// A call that has just begun.
    New,
}

/// So many sessions, and who waits for one.
#[derive(Debug)]
pub(super) struct Quota {
    spare: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    going: VecDeque<oneshot::Sender<Permit>>,
    new: VecDeque<oneshot::Sender<Permit>>,
}

/// The right to one session; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit(Option<Arc<Quota>>);

impl Quota {
    /// `limit` sessions; without a limit nobody ever waits.
    pub(super) fn new(limit: Option<usize>) -> Arc<Self> {
        let free = limit.unwrap_or(usize::MAX).max(1);
        Arc::new(Self {
            spare: SPARE.min(free - 1),
            state: Mutex::new(State {
                free,
                going: VecDeque::new(),
                new: VecDeque::new(),
            }),
        })
    }

    /// Waits for the right to open a session. Cancel safe.
    pub(super) async fn acquire(self: &Arc<Self>, turn: Turn) -> Permit {
        let waiting = {
            let mut state = self.state();
            let floor = self.floor(turn);
            let first = state.going.is_empty() && (turn == Turn::Going || state.new.is_empty());
            if first && state.free > floor {
                state.free -= 1;
                return Permit(Some(Arc::clone(self)));
            }
            let (sender, waiting) = oneshot::channel();
            match turn {
                Turn::Going => state.going.push_back(sender),
                Turn::New => state.new.push_back(sender),
            }
            waiting
        };
        // The sender lives in the queue until it has sent.
        waiting.await.unwrap_or(Permit(None))
    }

    fn floor(&self, turn: Turn) -> usize {
        match turn {
            Turn::Going => 0,
            Turn::New => self.spare,
        }
    }

    /// One session more is free: whoever is next has it.
    fn release(self: &Arc<Self>) {
        self.state().free += 1;
        loop {
            let next = {
                let mut state = self.state();
                let next = if state.free == 0 {
                    None
                } else if let Some(next) = state.going.pop_front() {
                    Some(next)
                } else if state.free > self.spare {
                    state.new.pop_front()
                } else {
                    None
                };
                let Some(next) = next else { return };
                state.free -= 1;
                next
            };
            match next.send(Permit(Some(Arc::clone(self)))) {
                Ok(()) => {}
                Err(mut unwanted) => {
                    unwanted.0 = None;
                    self.state().free += 1;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(quota) = self.0.take() {
            quota.release();
        }
    }
}

/// What one rollover takes, and one that comes at the same time.
const SPARE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is given without waiting.
    fn now(quota: &Arc<Quota>, turn: Turn) -> Option<Permit> {
        tokio_test_poll(quota.acquire(turn))
    }

    fn tokio_test_poll<F: Future>(future: F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn new_calls_leave_two_sessions_for_those_that_go_on() {
        let quota = Quota::new(Some(5));
        let calls: Vec<_> = (0..4).filter_map(|_| now(&quota, Turn::New)).collect();
        assert_eq!(calls.len(), 3);
        let going: Vec<_> = (0..4).filter_map(|_| now(&quota, Turn::Going)).collect();
        assert_eq!(going.len(), 2);
        drop(going);
        assert!(now(&quota, Turn::New).is_none());
        drop(calls);
        assert!(now(&quota, Turn::New).is_some());
    }

    #[tokio::test]
    async fn calls_that_go_on_are_served_first_and_in_order() {
        let quota = Quota::new(Some(3));
        let held = now(&quota, Turn::New).expect("free");
        let spare = [now(&quota, Turn::Going), now(&quota, Turn::Going)];
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (name, turn) in [
            ("new", Turn::New),
            ("one", Turn::Going),
            ("two", Turn::Going),
        ] {
            let (quota, order) = (Arc::clone(&quota), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let permit = quota.acquire(turn).await;
                order.lock().expect("no panic").push(name);
                permit
            }));
            tokio::task::yield_now().await;
        }
        drop(held);
        drop(spare);
        for task in tasks.drain(1..) {
            drop(task.await.expect("no panic"));
        }
        drop(tasks.remove(0).await.expect("no panic"));
        assert_eq!(*order.lock().expect("no panic"), ["one", "two", "new"]);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_takes_nothing_along() {
        let quota = Quota::new(Some(1));
        let held = now(&quota, Turn::New).expect("free");
        assert!(now(&quota, Turn::Going).is_none(), "asked, and gave up");
        drop(held);
        assert!(now(&quota, Turn::Going).is_some());
        assert_eq!(quota.state().free, 1);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let quota = Quota::new(None);
        assert!((0..1_000).all(|_| now(&quota, Turn::New).is_some()));
    }
}
