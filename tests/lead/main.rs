//! Lead stores beyond their contract: sequences of everything at once, and tables that others
//! wrote to.
#![allow(
    clippy::disallowed_methods,
    reason = "a test is the shell: it hands the time out"
)]

mod foreign;
mod invariants;

#[path = "../support/dynamo.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod dynamo;
