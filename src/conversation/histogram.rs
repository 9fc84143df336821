//! Durations, counted in few bytes.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// How often durations of each length came: of any number of them in two kilobytes at most and of
/// a few in a few bytes, mergeable, each known to a sixteenth of itself.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Histogram {
    /// The buckets that are not empty, each with its count, shortest durations first.
    buckets: Vec<(u16, u32)>,
    #[serde(skip_serializing)]
    count: u64,
    sum: Duration,
    longest: Duration,
}

/// What was written of one, by whomever.
#[derive(Deserialize)]
struct Written {
    buckets: Vec<(u16, u32)>,
    sum: Duration,
    longest: Duration,
}

impl From<Written> for Histogram {
    fn from(written: Written) -> Self {
        let mut histogram = Self {
            sum: written.sum,
            longest: written.longest,
            ..Self::default()
        };
        for (bucket, count) in written.buckets {
            histogram.add(bucket.min(bucket_of(Duration::MAX)), count);
            histogram.count += u64::from(count);
        }
        histogram
    }
}

impl Histogram {
    /// Counts one more. What is longer than two minutes counts as two minutes in the quantiles.
    pub fn record(&mut self, length: Duration) {
        self.add(bucket_of(length), 1);
        self.count += 1;
        self.sum = self.sum.saturating_add(length);
        self.longest = self.longest.max(length);
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add(*bucket, *count);
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.longest = self.longest.max(other.longest);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The length that a share of them (0 to 1) does not exceed, to a sixteenth; `None` while
    /// nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count is a count"
        )]
        let rank = ((self.count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut below = 0;
        let (at, _) = self.buckets.iter().find(|(_, count)| {
            below += u64::from(*count);
            below >= rank
        })?;
        Some(upper_end(*at).min(self.longest))
    }

    /// The median.
    #[must_use]
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// What one of ten exceeds.
    #[must_use]
    pub fn p90(&self) -> Option<Duration> {
        self.quantile(0.9)
    }

    /// What one of a hundred exceeds.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }

    fn add(&mut self, bucket: u16, count: u32) {
        match self.buckets.binary_search_by_key(&bucket, |(at, _)| *at) {
            Ok(place) => {
                let (_, counted) = &mut self.buckets[place];
                *counted = counted.saturating_add(count);
            }
            Err(place) => self.buckets.insert(place, (bucket, count)),
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("p50", &self.p50())
            .field("p90", &self.p90())
            .field("p99", &self.p99())
            .finish_non_exhaustive()
    }
}

/// One bucket a millisecond up to 32 ms; from there on sixteen for each doubling.
#[expect(clippy::cast_possible_truncation, reason = "there are 224 buckets")]
fn bucket_of(length: Duration) -> u16 {
    let ms = u32::try_from(length.as_millis())
        .unwrap_or(LONGEST)
        .min(LONGEST);
    if ms < LINEAR {
        return ms as u16;
    }
    let doubling = ms.ilog2();
    let step = (ms >> (doubling - 4)) - 16;
    (LINEAR + (doubling - 5) * 16 + step) as u16
}

/// The longest duration in whole milliseconds that falls into this bucket.
fn upper_end(bucket: u16) -> Duration {
    let bucket = u32::from(bucket);
    if bucket < LINEAR {
        return Duration::from_millis(u64::from(bucket));
    }
    let (doubling, step) = ((bucket - LINEAR) / 16, (bucket - LINEAR) % 16);
    let next = (u64::from(step) + 17) << (doubling + 1);
    Duration::from_millis(next - 1)
}

const LINEAR: u32 = 32;
/// Milliseconds.
const LONGEST: u32 = (1 << 17) - 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(lengths: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for ms in lengths {
            histogram.record(Duration::from_millis(*ms));
        }
        histogram
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Histogram::default().p50(), None);
    }

    #[test]
    fn the_quantiles_of_a_hundred_steps() {
        let histogram = of(&(1..=100).map(|n| n * 10).collect::<Vec<_>>());
        let within = |value: Option<Duration>, ms: u128| {
            let value = value.map_or(0, |value| value.as_millis());
            value >= ms && value <= ms + ms / 16
        };
        assert!(within(histogram.p50(), 500), "{histogram:?}");
        assert!(within(histogram.p90(), 900), "{histogram:?}");
        assert!(within(histogram.p99(), 990), "{histogram:?}");
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_somebody_else_wrote_is_put_in_order() {
        let written = json!({
            "buckets": [[65_535, 1], [7, 2], [3, 4], [7, 1]],
            "sum": { "secs": 1, "nanos": 0 },
            "longest": { "secs": 500, "nanos": 0 },
        });
        let read: Histogram = serde_json::from_value(written).unwrap();
        assert_eq!(read.count(), 8);
        assert_eq!(read.p50(), Some(Duration::from_millis(3)));
        assert_eq!(read.quantile(0.8), Some(Duration::from_millis(7)));
        assert_eq!(read.quantile(1.0), Some(Duration::from_millis(131_071)));
    }

    proptest! {
        #[test]
        fn every_length_lies_within_a_sixteenth_of_its_bucket(ms in 0_u64..131_072) {
            let end = upper_end(bucket_of(Duration::from_millis(ms))).as_millis();
            prop_assert!(end >= u128::from(ms));
            prop_assert!(end <= u128::from(ms + ms / 16));
        }

        #[test]
        fn what_is_written_is_read_back(lengths in prop::collection::vec(0_u64..200_000, 0..50)) {
            let written = serde_json::to_string(&of(&lengths)).unwrap();
            let read: Histogram = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read, of(&lengths));
        }

        #[test]
        fn to_merge_is_to_count_together(
            one in prop::collection::vec(0_u64..200_000, 0..50),
            two in prop::collection::vec(0_u64..200_000, 0..50),
        ) {
            let mut merged = of(&one);
            merged.merge(&of(&two));
            let together = of(&[one, two].concat());
            prop_assert_eq!(merged, together);
        }
    }
}
