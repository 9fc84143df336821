//! The conversation core in simulated time.

mod barge_in;
mod endings;
mod invariants;
mod recovery;
mod rollover;
mod silence;
mod turns;
