//! The account's rate limits, kept on our side. Pure: time is an argument.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::super::{SharedLimit, Urgency};
use crate::clock;

/// What an account may do in any one second (Vonage "CPS limit" and API reference).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "settings, written with `..Default::default()`"
)]
pub struct RateLimits {
    /// Calls that begin: those that we place, and connections that a call flow makes. Default: 3;
    /// Vonage raises it on request.
    pub calls: usize,
    /// Other REST requests. Default: 15.
    pub requests: usize,
    /// Whether a call that is connected to a media socket counts as one that begins. Vonage does
    /// not say. Default: yes, since what is past the limit is a lost call.
    pub count_sockets: bool,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            calls: 3,
            requests: 15,
            count_sockets: true,
        }
    }
}

/// Tokens of which each comes back a second after it was taken: never more than so many in any
/// one second, wherever it begins.
#[derive(Debug)]
struct Bucket {
    size: usize,
    /// When the last ones were taken, oldest first; at most `size` of them.
    taken: VecDeque<Instant>,
}

impl Bucket {
    fn new(size: usize) -> Self {
        Self {
            size: size.max(1),
            taken: VecDeque::new(),
        }
    }

    /// Takes a token, and says from when on it may be used.
    fn take(&mut self, now: Instant) -> Instant {
        let free = match self.taken.len().checked_sub(self.size) {
            Some(oldest) => self.taken.get(oldest).map_or(now, |taken| *taken + WINDOW),
            None => now,
        };
        let at = free.max(now);
        self.push(at);
        at
    }

    /// A token was taken without asking.
    fn note(&mut self, now: Instant) {
        let last = self.taken.back().copied();
        self.push(last.map_or(now, |last| last.max(now)));
    }

    fn push(&mut self, at: Instant) {
        self.taken.push_back(at);
        while self.taken.len() > self.size {
            self.taken.pop_front();
        }
    }
}

/// Both limits of one account: on this node and, for requests, over all that share it.
#[derive(Debug)]
pub(in super::super) struct Limiter {
    limits: RateLimits,
    calls: Mutex<Bucket>,
    requests: Mutex<Bucket>,
    /// What look-ups may take of them: the rest is there at once for whoever steers a call.
    look_ups: Mutex<Bucket>,
    elsewhere: Option<Arc<dyn SharedLimit>>,
}

impl Limiter {
    pub(in super::super) fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            calls: Mutex::new(Bucket::new(limits.calls)),
            requests: Mutex::new(Bucket::new(limits.requests)),
            look_ups: Mutex::new(Bucket::new(limits.requests * 2 / 3)),
            elsewhere: None,
        }
    }

    /// The same, kept together with other nodes.
    pub(in super::super) fn shared(mut self, elsewhere: Option<Arc<dyn SharedLimit>>) -> Self {
        self.elsewhere = elsewhere;
        self
    }

    /// Waits until another call may begin.
    pub(super) async fn call(&self) {
        wait(&self.calls).await;
    }

    /// Waits until another request may be sent.
    pub(super) async fn request(&self, urgency: Urgency) {
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.request(urgency).await;
        }
        if urgency == Urgency::Nobody {
            wait(&self.look_ups).await;
        }
        wait(&self.requests).await;
    }

    /// A call is being connected to a media socket.
    pub(in super::super) fn socket(&self) {
        if self.limits.count_sockets {
            lock(&self.calls).note(clock::now());
        }
    }
}

async fn wait(bucket: &Mutex<Bucket>) {
    let at = lock(bucket).take(clock::now());
    tokio::time::sleep_until(at.into()).await;
}

fn lock(bucket: &Mutex<Bucket>) -> MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A second, and how much later than its successor a request may reach the carrier.
const WINDOW: Duration = Duration::from_millis(1_100);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Vonage checklist 74.
    #[test]
    fn three_go_in_a_second_and_the_fourth_waits() {
        let (mut bucket, start) = (Bucket::new(3), clock::now());
        for _ in 0..3 {
            assert_eq!(bucket.take(start), start);
        }
        assert_eq!(bucket.take(start), start + WINDOW);
        let later = start + WINDOW * 2;
        assert_eq!(bucket.take(later), later, "tokens come back");
    }

    #[test]
    fn what_was_taken_without_asking_counts() {
        let (mut bucket, start) = (Bucket::new(2), clock::now());
        bucket.note(start);
        bucket.note(start);
        bucket.note(start);
        assert_eq!(bucket.take(start), start + WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_steers_a_call_does_not_wait_for_look_ups() {
        let limiter = Arc::new(Limiter::new(RateLimits::default()));
        for _ in 0..100 {
            let limiter = Arc::clone(&limiter);
            tokio::spawn(async move { limiter.request(Urgency::Nobody).await });
        }
        tokio::time::sleep(WINDOW / 2).await;
        let began = clock::now();
        for _ in 0..5 {
            limiter.request(Urgency::Caller).await;
        }
        assert_eq!(clock::now(), began);
    }

    proptest! {
        /// Vonage checklist 74: in no rolling second there are more than allowed.
        #[test]
        fn no_rolling_second_has_more_than_the_limit(
            size in 1_usize..20,
            gaps in proptest::collection::vec(0_u64..700, 1..80),
        ) {
            let (mut bucket, start) = (Bucket::new(size), clock::now());
            let mut now = start;
            let mut granted = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                granted.push(bucket.take(now));
                prop_assert!(*granted.last().unwrap() >= now);
            }
            prop_assert!(granted.is_sorted());
            for window in granted.windows(size + 1) {
                prop_assert!(window[size] - window[0] >= Duration::from_secs(1));
            }
        }
    }
}
