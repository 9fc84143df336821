//! An SDK for phone agents that speak.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout)
)]

mod clock;

pub mod error;
pub use error::{ProviderError, ProviderErrorKind};

pub mod private;

pub mod audio;

pub mod call;

pub mod duplex;

pub mod telephony;

pub mod conversation;

pub mod model;

pub mod transcript;

pub mod lead;

pub mod agent;

#[cfg(feature = "testkit")]
pub mod testkit;
