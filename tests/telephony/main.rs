//! Callers over real sockets, in memory and on a paused clock.

mod browser;
mod line;
mod sockets;
