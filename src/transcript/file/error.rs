//! What goes wrong with files, and what the reader of the message can do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::wire::Unreadable;
use crate::error::{ProviderError, ProviderErrorKind};

#[derive(Debug, thiserror::Error)]
pub(in crate::transcript) enum Error {
    #[error("cannot {doing} {}; {}", .path.display(), advice(.source).1)]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} is left alone, since {why}; move it away if it is not needed", .path.display())]
    Unreadable { path: PathBuf, why: Unreadable },
    #[error("another process is recording this call, in {}", .0.display())]
    Busy(PathBuf),
    #[error("line {given} came where line {due} is due")]
    Gap { due: u64, given: u64 },
    #[error("this call was not started here")]
    NotStarted,
}

impl Error {
    /// For `map_err`: `doing` to `path` failed.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn unreadable(path: &Path) -> impl FnOnce(Unreadable) -> Self {
        move |why| Self::Unreadable {
            path: path.to_owned(),
            why,
        }
    }
}

impl From<Error> for ProviderError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io { source, .. } => advice(source).0,
            Error::Unreadable { .. } => ProviderErrorKind::Invalid,
            Error::Busy(_) => ProviderErrorKind::Conflict,
            Error::Gap { .. } | Error::NotStarted => ProviderErrorKind::Protocol,
        };
        let told = Self::new(PROVIDER, kind).with_detail(error.to_string());
        match error {
            Error::Io { source, .. } => told.with_source(source),
            Error::Unreadable { why, .. } => told.with_source(why),
            Error::Busy(_) | Error::Gap { .. } | Error::NotStarted => told,
        }
    }
}

/// What kind of failure an error of the disk is, and what to do about it.
pub(in crate::transcript) fn advice(error: &io::Error) -> (ProviderErrorKind, &'static str) {
    use ProviderErrorKind::{Invalid, Unauthorized, Unavailable};
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (Unavailable, "the disk is full: free some space")
        }
        io::ErrorKind::ReadOnlyFilesystem => (
            Unauthorized,
            "the file system is read-only: make it writable or choose another directory",
        ),
        io::ErrorKind::PermissionDenied => (
            Unauthorized,
            "permission is missing: let this user write there or choose another directory",
        ),
        io::ErrorKind::NotADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::InvalidFilename => (
            Invalid,
            "no directory can be there: choose another directory",
        ),
        io::ErrorKind::NotFound => (
            Unavailable,
            "it is gone: has something removed the directory?",
        ),
        _ => (
            Unavailable,
            "see the cause; the same may succeed when it is tried again",
        ),
    }
}

pub(super) const PROVIDER: &str = "file";
