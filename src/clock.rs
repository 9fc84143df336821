//! The only places where the shell reads a clock. The core never does: time is its argument.

use std::time::Instant;

use jiff::Timestamp;
use uuid::Uuid;

/// Now, on the clock that tokio can pause in tests.
#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the monotonic clock"
)]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Now, as the calendar shows it: in whole milliseconds, so that a time is the same in a file, which
/// has no finer ones, as anywhere else.
#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the wall clock"
)]
pub(crate) fn wall() -> Timestamp {
    whole_millis(Timestamp::now())
}

/// Evenly spread over 0 to 1: what keeps those who failed together from coming back together.
pub(crate) fn chance() -> f64 {
    let (random, ..) = Uuid::new_v4().as_fields();
    f64::from(random) / f64::from(u32::MAX)
}

/// `time` without what is finer than a millisecond.
pub(crate) fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
