//! Callers over real sockets, in memory and on a paused clock; and a few over a real network.
#![expect(
    clippy::disallowed_methods,
    reason = "a test is the shell: it hands the time out"
)]

mod browser;
mod carrier;
mod flood;
mod leg;
mod line;
mod network;
mod reconnect;
mod rest;
mod sockets;
mod webhooks;
