//! DynamoDB as the crate's providers share it, against real servers.
#![allow(
    clippy::disallowed_methods,
    reason = "a test is the shell: it hands the time out"
)]

mod calls;
mod errors;
mod tables;

#[path = "../support/dynamo.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod dynamo;
