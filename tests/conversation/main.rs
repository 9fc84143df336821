//! The conversation core in simulated time.

mod answering;
mod barge_in;
mod endings;
mod invariants;
mod leaving;
mod reconfigure;
mod recovery;
mod replay;
mod rollover;
mod schedules;
mod silence;
mod tool_invariants;
mod tools;
mod tools_move;
mod transcripts;
mod turns;
