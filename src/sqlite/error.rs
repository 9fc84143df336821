//! SQLite's errors, as what can be done about them.

use std::{io, path::Path};

use rusqlite::ErrorCode;

use crate::error::{ProviderError, ProviderErrorKind};

/// Why work with the file failed: SQLite, or the store that asked.
#[derive(Debug)]
pub(crate) enum Failure {
    Sqlite(rusqlite::Error),
    Store(ProviderError),
    Folder(String, io::Error),
}

impl Failure {
    pub(super) fn folder(folder: &Path, failed: io::Error) -> Self {
        Self::Folder(folder.display().to_string(), failed)
    }

    /// The error that `provider` reports.
    pub(crate) fn named(self, provider: &'static str) -> ProviderError {
        match self {
            Self::Store(failed) => failed,
            Self::Folder(folder, failed) => {
                ProviderError::new(provider, ProviderErrorKind::Invalid)
                    .with_detail(format!("the folder {folder} cannot be made"))
                    .with_source(failed)
            }
            Self::Sqlite(failed) => {
                let (kind, detail) = meaning(&failed);
                ProviderError::new(provider, kind)
                    .with_detail(detail)
                    .with_source(failed)
            }
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(failed: rusqlite::Error) -> Self {
        Self::Sqlite(failed)
    }
}

impl From<ProviderError> for Failure {
    fn from(failed: ProviderError) -> Self {
        Self::Store(failed)
    }
}

/// SQLite's result codes, by what the reader can do (sqlite.org/rescode.html).
fn meaning(failed: &rusqlite::Error) -> (ProviderErrorKind, &'static str) {
    use ProviderErrorKind as Kind;
    match failed.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Kind::Unavailable, "another process holds the file")
        }
        Some(ErrorCode::DiskFull) => (Kind::Unavailable, "the disk is full"),
        Some(ErrorCode::SystemIoFailure) => (Kind::Unavailable, "the disk does not work"),
        Some(ErrorCode::ConstraintViolation) => (Kind::Conflict, "it is there already"),
        Some(ErrorCode::CannotOpen) => (Kind::Invalid, "the file cannot be opened"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (Kind::Invalid, "the file may not be written")
        }
        Some(ErrorCode::NotADatabase) => (Kind::Invalid, "the file is no SQLite database"),
        Some(ErrorCode::DatabaseCorrupt) => (
            Kind::Invalid,
            "the file is damaged: restore it from a backup",
        ),
        _ => (Kind::Protocol, "a statement failed"),
    }
}
