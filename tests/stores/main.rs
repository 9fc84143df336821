//! Stores under hard conditions: killed processes, servers that are away, disks that are full.
#![allow(
    clippy::disallowed_methods,
    reason = "a test is the shell: it hands the time out"
)]

mod crash;
mod disk;
mod lossy;
mod outage;
mod records;

#[path = "../support/dynamo.rs"]
#[expect(dead_code, reason = "what other tests need of it")]
mod dynamo;
