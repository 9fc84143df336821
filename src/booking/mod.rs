//! Meetings: which times are free, and who has one.
//!
//! [`Hours`] say when the host takes meetings, a [`Calendar`] what is taken already, and who gives
//! a time away once: the [`EmbeddedCalendar`] among the other records of the service, or, with the
//! feature `caldav`, one that the host sees in a calendar of their own. An [`Invitation`] tells the
//! guest's own calendar; with the feature `mail` an outbox sends it.

mod embedded;
mod invitation;
mod meeting;
mod queue;
mod slots;

#[cfg(feature = "caldav")]
mod caldav;
#[cfg(feature = "caldav")]
pub use caldav::{CalDavCalendar, CalDavConfig};

#[cfg(feature = "mail")]
mod mail;
#[cfg(feature = "mail")]
pub use mail::{MailConfig, Outbox};

pub use embedded::EmbeddedCalendar;
pub use invitation::{Invitation, Method};
pub use meeting::{Calendar, Meeting};
pub use slots::{Busy, Hours, spoken};
