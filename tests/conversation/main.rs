//! The conversation core in simulated time.

mod barge_in;
mod endings;
mod invariants;
mod replay;
mod rollover;
mod schedules;
mod silence;
mod turns;
