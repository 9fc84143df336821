//! How fast calls are placed, over all nodes together.
//!
//! A pace is one record: when the next call may be placed. Whoever wants to place one moves it
//! on by the interval, and waits until the time that stood there.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

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
    let key = key(name);
    let mut failed = None;
    for _ in 0..TRIES {
        let record = store.get(&key, now).await?;
        let place = next_free(record.as_ref(), now);
        let following = place.checked_add(interval).unwrap_or(Timestamp::MAX);
        let write = Write::to(key.clone()).set(json!({ "next": following }));
        let write = match &record {
            Some(record) => write.if_version(record.version),
            None => write.if_absent(),
        };
        match store.apply(vec![write], now).await {
            Ok(()) => return Ok(place),
            Err(error) if *error.kind() == ProviderErrorKind::Conflict => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(|| ProviderError::new("outbound", ProviderErrorKind::Unavailable)))
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
