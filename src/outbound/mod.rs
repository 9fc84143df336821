//! Calls that the agent places: to whom, when, how fast and how often.
//!
//! Before every call a [`Gatekeeper`] asks the [`Rules`], which name every reason against it, and
//! writes what they said to the [`Decisions`] log. A [`Plan`] makes a [`Campaign`] of many such
//! calls, and [`Worker`]s on any number of nodes carry it out.
//!
//! All of it is an engineering control that keeps an operator's rules. It is no legal advice.

mod attempt;
mod campaign;
mod decisions;
mod gate;
mod gatekeeper;
mod holidays;
mod line;
pub mod pace;
mod plan;
mod retry;
mod tries;
mod window;
mod worker;

pub use campaign::{Campaign, CampaignState, Campaigns, Counts};
pub use decisions::{BrokenLog, Decision, Decisions};
pub use gate::{Attempts, ConsentRule, Facts, Refusal, Rules};
pub use gatekeeper::Gatekeeper;
pub use holidays::federal_holiday;
pub use line::{Line, Order, Placed, PlacedEnd};
pub use plan::{AttemptLimits, BadPlan, Budget, Pacing, Plan, Voicemail};
pub use retry::{Retries, Retry};
pub use tries::Tries;
pub use window::{Day, Minute, NeverOpen, NotATime, Window};
pub use worker::{Desk, Worker, WorkerConfig};
