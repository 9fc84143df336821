//! Fakes of the outside world for your own tests: strict, local, offline.
//!
//! A fake speaks the real protocol on a loopback port and reports what was done against it; it
//! never forgives. Everything here is outside semver.

pub mod sim;

pub mod schedule;

pub mod conformance;

pub mod bedrock;

pub mod vonage;

pub mod words;
