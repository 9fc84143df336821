//! Whether there is room for another call.

use std::{fmt, sync::Arc};

/// Asked before a call is taken. Answers at once: it runs while a carrier waits.
#[derive(Clone)]
pub struct Admission(Arc<dyn Fn() -> bool + Send + Sync>);

impl Admission {
    /// Takes a call when `has_room` says so.
    pub fn new(has_room: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(has_room))
    }

    /// Whether there is room now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        (self.0)()
    }
}

impl Default for Admission {
    /// Takes every call.
    fn default() -> Self {
        Self::new(|| true)
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
