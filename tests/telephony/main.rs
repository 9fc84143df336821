//! Callers over real sockets, in memory and on a paused clock.

mod browser;
mod carrier;
mod leg;
mod line;
mod sockets;
mod webhooks;
