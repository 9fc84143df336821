//! A carrier that did not place a call may do so a moment later. In that moment much can happen:
//! somebody asks not to be called, a campaign is paused, another call takes the turn. So whoever
//! wants the call asks the rules, and for a turn, before each further try.

use std::time::{Duration, Instant};

use crate::{clock, error::ProviderErrorKind};

/// How often, and for how long, a carrier is asked for one call.
#[derive(Clone, Debug)]
pub struct Tries {
    tries: u32,
    until: Instant,
}

impl Tries {
    /// The first try is made now.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            tries: 1,
            until: clock::now() + PATIENCE,
        }
    }

    /// How long to wait for the next try, after the last one failed. `None`: it is the last one,
    /// as the call may have been placed, or nobody can expect one soon.
    pub fn pause(&mut self, failed: &ProviderErrorKind) -> Option<Duration> {
        let wished = match failed {
            ProviderErrorKind::Throttled { retry_after } => retry_after.unwrap_or_default(),
            ProviderErrorKind::Unreachable => Duration::ZERO,
            _ => return None,
        };
        if self.tries >= TRIES {
            return None;
        }
        let doubled = PAUSE * 2_u32.pow(self.tries - 1);
        self.tries += 1;
        // Up to a quarter more, so that those who failed together do not come back together.
        let pause = wished.max(doubled.mul_f64(1.0 + clock::chance() / 4.0));
        (pause <= self.left()).then_some(pause)
    }

    /// How long a further try is worth waiting for, whatever it waits for.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(clock::now())
    }
}

/// What Vonage's guides recommend at most.
const TRIES: u32 = 5;
/// How long whoever waits for a call does so gladly.
const PATIENCE: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled(seconds: u64) -> ProviderErrorKind {
        let retry_after = Some(Duration::from_secs(seconds));
        ProviderErrorKind::Throttled { retry_after }
    }

    #[test]
    fn a_carrier_is_asked_again_when_it_says_so_and_not_for_long() {
        let mut tries = Tries::begin();
        assert_eq!(tries.pause(&throttled(2)), Some(Duration::from_secs(2)));
        assert_eq!(tries.pause(&throttled(60)), None);
        assert_eq!(Tries::begin().pause(&throttled(u64::MAX)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_carrier_that_does_not_say_when_is_asked_less_and_less_often() {
        let limited = ProviderErrorKind::Throttled { retry_after: None };
        for failed in [ProviderErrorKind::Unreachable, limited, throttled(0)] {
            let mut tries = Tries::begin();
            let mut pauses = Vec::new();
            while let Some(pause) = tries.pause(&failed) {
                pauses.push(pause.as_secs_f64());
                tokio::time::sleep(pause).await;
            }
            assert_eq!(
                pauses.len(),
                3,
                "the next would come after 15 s: {pauses:?}"
            );
            for (pause, least) in pauses.iter().zip([1.0, 2.0, 4.0]) {
                assert!((least..=least * 1.25).contains(pause), "{pauses:?}");
            }
        }
    }

    #[test]
    fn what_may_have_happened_is_not_asked_for_again() {
        for kind in [
            ProviderErrorKind::TimedOut,
            ProviderErrorKind::Unavailable,
            ProviderErrorKind::Closed,
            ProviderErrorKind::Invalid,
        ] {
            assert_eq!(Tries::begin().pause(&kind), None, "{kind:?}");
        }
    }
}
