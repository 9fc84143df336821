//! Fakes, simulations and conformance suites for your own tests. Outside semver.

pub mod conformance;
