//! Meetings: which times are free, and who has one.
//!
//! [`Hours`] say when the host takes meetings, a [`Calendar`] what is taken already, and who gives
//! a time away once. An [`Invitation`] tells the guest's own calendar.

mod embedded;
mod invitation;
mod meeting;
mod slots;

pub use embedded::EmbeddedCalendar;
pub use invitation::{Invitation, Method};
pub use meeting::{Calendar, Meeting};
pub use slots::{Busy, Hours, spoken};
