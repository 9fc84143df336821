//! The only place where Esther reads the calendar.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use jiff::{SignedDuration, Timestamp};

/// Now, by the clock that decides when people are called and which times they are offered.
pub(crate) fn wall() -> Timestamp {
    let ahead = SignedDuration::from_millis(AHEAD.load(Relaxed));
    let now = real();
    now.checked_add(ahead).unwrap_or(now)
}

/// Now, by the clock of the carrier and of what is written down.
#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the wall clock"
)]
pub(crate) fn real() -> Timestamp {
    Timestamp::now()
}

/// Lets [`wall`] run so far ahead: a demonstration has office hours at any hour. Nothing else
/// touches it.
pub(crate) fn set_ahead(by: SignedDuration) {
    let millis = i64::try_from(by.as_millis()).unwrap_or_default();
    AHEAD.store(millis, Relaxed);
}

/// Milliseconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);
