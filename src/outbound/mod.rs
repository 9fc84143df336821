//! Calls that the agent places: to whom, when, how fast and how often.
//!
//! Everything here is decided without IO and with time as an argument. Before every call a
//! [`Rules`] is asked, which names every reason against it; what it said goes to the
//! [`Decisions`] log before the carrier is asked.

mod campaign;
mod decisions;
mod gate;
mod holidays;
mod retry;
mod window;

pub use campaign::{AttemptLimits, BadPlan, Budget, Filter, Pacing, Plan, Voicemail};
pub use decisions::{BrokenLog, Decision, Decisions};
pub use gate::{Attempts, Facts, Refusal, Rules};
pub use holidays::federal_holiday;
pub use retry::{Retries, Retry};
pub use window::{Day, Minute, NeverOpen, NotATime, Window};
