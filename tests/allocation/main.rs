//! What must not allocate, does not.

mod conversation;
mod framing;

mod sound;
