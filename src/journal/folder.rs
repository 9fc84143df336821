//! Where an agent keeps the journals of its calls.

use std::path::PathBuf;

use super::JournalKey;

/// A folder that gets one journal for each call, and what is kept in it.
///
/// Journals are written beside the call: a disk that does not keep up costs the rest of a journal,
/// which then says so, and never a moment of the call. A file is named `call-{id}-{start}.nvj` and can
/// be read by its owner alone. See [the privacy of journals](crate::journal#privacy).
#[derive(Clone, Debug)]
pub struct JournalFolder {
    pub(crate) path: PathBuf,
    pub(crate) audio: bool,
    pub(crate) key: Option<JournalKey>,
}

impl JournalFolder {
    /// Journals without audio, unsealed. The folder is made when the first one is.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            audio: false,
            key: None,
        }
    }

    /// Keeps the voices, too: some 230 MB for an hour at 16 kHz instead of some 3 MB.
    #[must_use]
    pub fn with_audio(mut self) -> Self {
        self.audio = true;
        self
    }

    /// Seals every journal with this key.
    #[must_use]
    pub fn encrypted(mut self, key: JournalKey) -> Self {
        self.key = Some(key);
        self
    }
}
