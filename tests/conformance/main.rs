//! Every provider runs the suite of its trait.
#![allow(
    clippy::disallowed_methods,
    reason = "a test is the shell: it hands the time out"
)]
#![expect(
    clippy::future_not_send,
    reason = "a suite runs on its test's own thread"
)]

mod calendar;
mod lead;
mod model;
mod prompts;
mod record;
mod state;
mod telephony;
mod transcript;

#[path = "../telephony/line.rs"]
#[expect(dead_code, reason = "what other tests need of it")]
mod line;

#[path = "../support/dynamo.rs"]
#[expect(dead_code, reason = "what other tests need of it")]
mod dynamo;

#[path = "../support/python.rs"]
mod python;

#[path = "../support/radicale.rs"]
#[expect(dead_code, reason = "what other tests need of it")]
mod radicale;
