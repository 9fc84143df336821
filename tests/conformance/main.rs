//! Every provider runs the suite of its trait.
#![allow(
    clippy::disallowed_methods,
    reason = "a test is the shell: it hands the time out"
)]

mod lead;
mod model;
mod telephony;
mod transcript;

#[path = "../telephony/line.rs"]
#[expect(dead_code, reason = "what other tests need of it")]
mod line;
