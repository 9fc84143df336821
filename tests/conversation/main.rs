//! The conversation core in simulated time.

mod answering;
mod barge_in;
mod endings;
mod invariants;
mod rollover;
mod silence;
mod transcripts;
mod turns;
