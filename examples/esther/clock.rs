//! The only place where Esther reads the calendar.

use jiff::Timestamp;

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the wall clock"
)]
pub(crate) fn wall() -> Timestamp {
    Timestamp::now()
}
