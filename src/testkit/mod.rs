//! Fakes, simulations and conformance suites for your own tests; outside semver.
//!
//! The fakes speak the real wire protocols over loopback, enforce them strictly and say what was
//! violated; they never forgive.

pub mod sim;

pub mod conformance;

pub mod bedrock;

pub mod vonage;
