//! Calls that are placed: campaigns in simulated time, with carriers that fail and nodes that die.
#![allow(
    clippy::disallowed_methods,
    reason = "a test is the shell: it hands the time out"
)]

mod campaigns;
mod crashes;
mod line;
mod nodes;
mod office;
mod tries;
