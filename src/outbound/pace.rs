//! How fast calls are placed, over all nodes together.
//!
//! A pace is one record: when the next call may be placed. Whoever wants to place one moves it
//! on by the interval, and waits until the time that stood there.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::Mutex;

use super::Pacing;
use crate::{
    error::{ProviderError, ProviderErrorKind},
    state::{Key, Record, StateStore, Write},
};

/// Takes the next place in the queue called `name`, in which places are `interval` apart. Answers
/// with the time of the place, which is not before `now`.
///
/// # Errors
///
/// When the store cannot be used, or everybody wants a place at this very moment.
pub async fn take_place(
    store: &dyn StateStore,
    name: &str,
    interval: Duration,
    now: Timestamp,
) -> Result<Timestamp, ProviderError> {
    take_places(store, &[(name, interval)], now).await
}

/// The same, unless the place is later than `latest`: then it is left to others, and the answer is
/// `None`.
///
/// # Errors
///
/// As [`take_place`].
pub async fn take_place_by(
    store: &dyn StateStore,
    name: &str,
    interval: Duration,
    now: Timestamp,
    latest: Timestamp,
) -> Result<Option<Timestamp>, ProviderError> {
    let place = take_places_by(store, &[(name, interval)], now, latest).await?;
    Ok(place.taken())
}

/// Takes the same place in several queues at once: the first that is free in all of them. A place
/// in one that had to wait for another queue would bring those behind it closer together.
///
/// # Errors
///
/// As [`take_place`].
pub async fn take_places(
    store: &dyn StateStore,
    queues: &[(&str, Duration)],
    now: Timestamp,
) -> Result<Timestamp, ProviderError> {
    let place = take_places_by(store, queues, now, Timestamp::MAX).await?;
    Ok(place.at)
}

/// The next place in some queues.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Timestamp,
    is_taken: bool,
}

impl Place {
    fn taken(self) -> Option<Timestamp> {
        self.is_taken.then_some(self.at)
    }
}

async fn take_places_by(
    store: &dyn StateStore,
    queues: &[(&str, Duration)],
    now: Timestamp,
    latest: Timestamp,
) -> Result<Place, ProviderError> {
    let mut failed = None;
    for _ in 0..TRIES {
        let mut place = now;
        let mut records = Vec::with_capacity(queues.len());
        for (name, interval) in queues {
            let key = key(name);
            let record = store.get(&key, now).await?;
            place = place.max(next_free(record.as_ref(), now));
            records.push((key, record, *interval));
        }
        if place > latest {
            return Ok(Place {
                at: place,
                is_taken: false,
            });
        }
        let writes = records.into_iter().map(|(key, record, interval)| {
            let following = place.checked_add(interval).unwrap_or(Timestamp::MAX);
            let write = Write::to(key).set(json!({ "next": following }));
            match &record {
                Some(record) => write.if_version(record.version),
                None => write.if_absent(),
            }
        });
        match store.apply(writes.collect(), now).await {
            Ok(()) => {
                return Ok(Place {
                    at: place,
                    is_taken: true,
                });
            }
            Err(error) if *error.kind() == ProviderErrorKind::Conflict => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(|| ProviderError::new("outbound", ProviderErrorKind::Unavailable)))
}

/// The turns of a carrier's account, over all nodes: who places calls, by hand or in a campaign,
/// waits for one before each of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Turns {
    store: Arc<dyn StateStore>,
    interval: Duration,
    /// Those of this node ask one after another: only nodes race for a place.
    asking: Arc<Mutex<()>>,
}

impl Turns {
    /// The turns of an account that may place `rate` calls in any one second, shared by whoever
    /// shares `store`.
    pub fn new(store: Arc<dyn StateStore>, rate: f64) -> Self {
        let second = SLACK.as_secs_f64() + 1.0;
        Self {
            store,
            interval: Duration::from_secs_f64(second / rate.max(0.001)),
            asking: Arc::default(),
        }
    }

    /// Waits until it is the account's turn, by the time that `clock` tells. Whoever was kept
    /// from going on at that time waits for another turn: late calls would come in a crowd.
    ///
    /// # Errors
    ///
    /// When the store cannot be used. [`Throttled`](ProviderErrorKind::Throttled) where there is
    /// no turn within `patience`; no turn is used up then.
    pub async fn wait(
        &self,
        patience: Duration,
        clock: fn() -> Timestamp,
    ) -> Result<(), ProviderError> {
        let until = clock().checked_add(patience).unwrap_or(Timestamp::MAX);
        loop {
            let place = {
                let _asking = self.asking.lock().await;
                let queue = [(ACCOUNT, self.interval)];
                take_places_by(&*self.store, &queue, clock(), until).await?
            };
            if !place.is_taken {
                let retry_after = Duration::try_from(place.at.duration_since(clock())).ok();
                let kind = ProviderErrorKind::Throttled { retry_after };
                return Err(ProviderError::new("outbound", kind)
                    .with_detail("the account's calls are spoken for"));
            }
            if arrive(place.at, clock).await {
                return Ok(());
            }
        }
    }

    /// Takes the next place of the account that is one of the queue `name` too. `None`: it is later
    /// than `latest`.
    pub(super) async fn place(
        &self,
        name: &str,
        interval: Duration,
        clock: fn() -> Timestamp,
        latest: Timestamp,
    ) -> Result<Option<Timestamp>, ProviderError> {
        let _asking = self.asking.lock().await;
        let queues = [(name, interval), (ACCOUNT, self.interval)];
        let place = take_places_by(&*self.store, &queues, clock(), latest).await?;
        Ok(place.taken())
    }
}

/// Waits for the time of a place. `false`: it has gone by.
pub(crate) async fn arrive(place: Timestamp, clock: fn() -> Timestamp) -> bool {
    let wait = Duration::try_from(place.duration_since(clock())).unwrap_or_default();
    tokio::time::sleep(wait).await;
    clock().duration_since(place) <= LATE
}

/// When the next place is free; nothing is taken.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn next_place(
    store: &dyn StateStore,
    name: &str,
    now: Timestamp,
) -> Result<Timestamp, ProviderError> {
    let record = store.get(&key(name), now).await?;
    Ok(next_free(record.as_ref(), now))
}

fn key(name: &str) -> Key {
    Key::new("pace", name)
}

fn next_free(record: Option<&Record>, now: Timestamp) -> Timestamp {
    let next = record.and_then(|record| record.value["next"].as_str()?.parse().ok());
    next.map_or(now, |next: Timestamp| next.max(now))
}

impl Pacing {
    /// The time between two calls, so long after the campaign was started.
    #[must_use]
    pub fn interval(&self, running: SignedDuration) -> Duration {
        let rate = self.calls_per_second * self.share(running);
        Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX)
    }

    /// How many calls may go on at once, so long after the campaign was started; at least one.
    #[must_use]
    pub fn concurrent(&self, running: SignedDuration) -> u32 {
        let most = f64::from(self.max_concurrent.get()) * self.share(running);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and a u32"
        )]
        let most = most.max(1.0) as u32;
        most
    }

    /// How much of the full pace the ramp allows: from a tenth to all of it.
    fn share(&self, running: SignedDuration) -> f64 {
        if self.ramp_seconds == 0 {
            return 1.0;
        }
        let done = running.as_secs_f64() / f64::from(self.ramp_seconds);
        (0.1 + 0.9 * done).clamp(0.1, 1.0)
    }
}

/// The queue of the carrier's account.
const ACCOUNT: &str = "account";

/// How much later than its successor a request may reach the carrier.
const SLACK: Duration = Duration::from_millis(200);

/// Whoever is later than this has missed the place.
const LATE: SignedDuration = SignedDuration::from_millis(200);

/// Others who want a place at the same moment.
const TRIES: u32 = 50;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;
    use crate::state::MemoryState;

    #[test]
    fn a_ramp_grows_from_a_tenth_to_all() {
        let pacing = Pacing {
            calls_per_second: 2.0,
            max_concurrent: NonZeroU32::new(20).unwrap(),
            ramp_seconds: 100,
        };
        let at = |seconds| {
            let running = SignedDuration::from_secs(seconds);
            (pacing.interval(running), pacing.concurrent(running))
        };
        assert_eq!(at(0), (Duration::from_secs(5), 2));
        assert_eq!(at(100), (Duration::from_millis(500), 20));
        assert_eq!(at(100_000), at(100));
        assert_eq!(at(-5), at(0), "a clock that runs behind");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// A campaign that shares an account with others keeps its own distance in spite of them.
        #[test]
        fn places_in_two_queues_keep_the_distance_of_both(
            asks in prop::collection::vec((0_i64..30_000, 0_usize..3), 1..60),
            millis in 100_u64..2_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let store = MemoryState::new();
            let account = Duration::from_millis(millis);
            let mut asks = asks;
            asks.sort_unstable();
            let mut places: [Vec<Timestamp>; 3] = Default::default();
            for (at, who) in asks {
                let now = Timestamp::from_millisecond(1_000_000 + at).unwrap();
                let own = Duration::from_millis(500 * (who as u64 + 1));
                let queues = [(["a", "b", "c"][who], own), (ACCOUNT, account)];
                let place = runtime.block_on(take_places(&store, &queues, now)).unwrap();
                prop_assert!(place >= now);
                places[who].push(place);
            }
            for (who, places) in places.iter().enumerate() {
                let own = Duration::from_millis(500 * (who as u64 + 1));
                for pair in places.windows(2) {
                    prop_assert!(pair[0] + own <= pair[1]);
                }
            }
            let mut all = places.concat();
            all.sort_unstable();
            for pair in all.windows(2) {
                prop_assert!(pair[0] + account <= pair[1]);
            }
        }

        /// Whoever asks whenever, clocks that disagree included.
        #[test]
        fn places_are_never_closer_than_the_interval(
            asks in prop::collection::vec((0_i64..60_000, -2_000_i64..2_000), 1..40),
            millis in 1_u64..3_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let store = MemoryState::new();
            let interval = Duration::from_millis(millis);
            let mut asks = asks;
            asks.sort_unstable();
            let mut places = Vec::new();
            for (at, skew) in asks {
                let now = Timestamp::from_millisecond(1_000_000 + at + skew).unwrap();
                let place = runtime.block_on(take_place(&store, "campaign", interval, now)).unwrap();
                prop_assert!(place >= now);
                places.push(place);
            }
            for pair in places.windows(2) {
                prop_assert!(pair[0] + interval <= pair[1]);
            }
        }
    }
}
