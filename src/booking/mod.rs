//! Meetings: which times are free, and who has one.

mod slots;
pub use slots::{Busy, Hours, spoken};
