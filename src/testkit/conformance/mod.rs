//! The contracts of the traits as tests that every provider runs.
//!
//! Each module has one function per sentence of its trait's contract, and each trait one function
//! that runs them all: [`transcript_sink`], [`call_store`], [`lead_store`], [`speech_model`] and
//! [`telephony()`], with [`dialling`] for those that place calls too. A provider that calls it
//! cannot forget one. They are given a closure that makes a fresh provider, and panic with the
//! sentence that does not hold.
//!
//! ```
//! use novavoice::{
//!     lead::MemoryLeads,
//!     testkit::conformance,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! conformance::lead_store(async || MemoryLeads::new()).await;
//! # }
//! ```
//!
//! All waiting is on tokio's clock: a provider without sockets runs its suite on a paused clock.

#![expect(
    clippy::future_not_send,
    reason = "a suite runs on its test's own thread; the closures that it is given need not be Send"
)]

pub mod lead;
pub mod model;
pub mod record;
pub mod telephony;
pub mod transcript;

use std::{pin::pin, time::Duration};

pub use self::{
    lead::lead_store,
    model::speech_model,
    record::call_store,
    telephony::{dialling, telephony},
    transcript::transcript_sink,
};

/// The result of `future`, which must not take forever.
#[track_caller]
fn soon<F: Future>(what: &'static str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let done = tokio::time::timeout(PATIENCE, pin!(future)).await;
        assert!(done.is_ok(), "{what}: not within {PATIENCE:?} ({caller})");
        done.expect("checked above")
    }
}

/// How long a provider may take for anything: enough for a real one across a real network.
const PATIENCE: Duration = Duration::from_secs(20);
