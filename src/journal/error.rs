//! What can be wrong with a journal.

use std::io;

/// A journal that cannot be read. None of these repeats what the journal holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file cannot be read.
    #[error("the journal cannot be read")]
    Unreadable(#[source] io::Error),
    /// The file is something else.
    #[error("this is no journal of a call")]
    NoJournal,
    /// It was written in a format that this build does not know.
    #[error("the journal has format version {0}, and this build reads version {VERSION}")]
    Version(u16),
    /// It is sealed, and no key was given.
    #[error("the journal is encrypted: a key is needed")]
    Sealed,
    /// A block does not open with this key: it is another one's, or the block was changed.
    #[error(
        "block {block} of the journal does not open: the key is another one, or it was changed"
    )]
    NotOurs {
        /// The block, counted from 0.
        block: u64,
    },
    /// The file ends before it says anything.
    #[error("the journal is cut off before its header")]
    Empty,
    /// The header makes no sense to this build.
    #[error("the header of the journal cannot be understood")]
    Header(#[source] serde_json::Error),
    /// The bytes were changed after they were written.
    #[error("the journal is damaged in block {block}, before its end")]
    Damaged {
        /// The block, counted from 0.
        block: u64,
    },
    /// A record makes no sense to this build.
    #[error(
        "a record in block {block} of the journal cannot be understood: {what}; it may be of a \
         newer version"
    )]
    Record {
        /// The block, counted from 0.
        block: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// The format that this build writes and reads.
pub(super) const VERSION: u16 = 1;
