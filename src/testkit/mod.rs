//! Fakes, simulations and conformance suites: test your own agent offline with what tests this
//! crate. Outside semver.

pub mod sim;
