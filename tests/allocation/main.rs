//! What must not allocate, does not.

mod framing;

mod sound;
