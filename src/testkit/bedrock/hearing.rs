//! A fake that understands: what is answered depends on what was said, whichever session hears it.

use std::{fmt, sync::Arc};

use super::options::Reply;

/// Something that the agent is to answer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Incoming<'a> {
    /// A turn of the caller, with a little of the silence around it: little-endian 16-bit samples.
    Speech(&'a [u8]),
    /// Interactive text.
    Text(&'a str),
}

/// What an agent makes of what it hears.
#[derive(Clone)]
pub struct Hearing(Arc<Understand>);

type Understand = dyn Fn(Incoming<'_>) -> Option<(String, Reply)> + Send + Sync;

impl Hearing {
    /// Answers with the caller's words and the reply to them; `None` leaves both to the script,
    /// and a sound of no words is not reported.
    #[must_use]
    pub fn new<F>(understand: F) -> Self
    where
        F: Fn(Incoming<'_>) -> Option<(String, Reply)> + Send + Sync + 'static,
    {
        Self(Arc::new(understand))
    }

    pub(super) fn understand(&self, incoming: Incoming<'_>) -> Option<(String, Reply)> {
        (self.0)(incoming)
    }
}

impl fmt::Debug for Hearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hearing")
    }
}
