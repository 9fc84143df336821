//! Meetings: which times are free, and who has one.
//!
//! [`Hours`] say when the host takes meetings, a [`Calendar`] what is taken already, and who gives
//! a time away once.

mod embedded;
mod meeting;
mod slots;

pub use embedded::EmbeddedCalendar;
pub use meeting::{Calendar, Meeting};
pub use slots::{Busy, Hours, spoken};
