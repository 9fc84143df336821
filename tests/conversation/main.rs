//! The conversation core in simulated time.

mod barge_in;
mod endings;
mod invariants;
mod leaving;
mod reconfigure;
mod recovery;
mod rollover;
mod silence;
mod tool_invariants;
mod tools;
mod tools_move;
mod turns;
