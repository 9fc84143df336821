//! What goes wrong with a journal.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    error::{ProviderError, ProviderErrorKind},
    transcript::file::error::advice,
};

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot {doing} {}; {}", .path.display(), advice(.source).1)]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{mebibytes} MiB wait in {}, which is as much as may: find out why the sink behind it \
         takes nothing", .dir.display()
    )]
    Full { dir: PathBuf, mebibytes: u64 },
    #[error("no whole entry stands where one was written in {}", .0.display())]
    Damaged(PathBuf),
    #[error("an entry cannot be written down")]
    Unwritable(#[from] serde_json::Error),
    #[error("line {given} came where line {due} is due")]
    Gap { due: u64, given: u64 },
    #[error("this call was not started here")]
    NotStarted,
    #[error("the write was not carried out")]
    Dropped,
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

    /// The same failure for one more that shared the write.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Io {
                doing,
                path,
                source,
            } => Self::Io {
                doing,
                path: path.clone(),
                source: source
                    .raw_os_error()
                    .map_or_else(|| source.kind().into(), io::Error::from_raw_os_error),
            },
            Self::Full { dir, mebibytes } => Self::Full {
                dir: dir.clone(),
                mebibytes: *mebibytes,
            },
            _ => Self::Dropped,
        }
    }
}

impl From<crate::transcript::file::error::Error> for Error {
    fn from(error: crate::transcript::file::error::Error) -> Self {
        use crate::transcript::file::error::Error as Disk;
        match error {
            Disk::Io {
                doing,
                path,
                source,
            } => Self::Io {
                doing,
                path,
                source,
            },
            _ => Self::Dropped,
        }
    }
}

impl From<Error> for ProviderError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io { source, .. } => advice(source).0,
            Error::Full { .. } | Error::Dropped => ProviderErrorKind::Unavailable,
            Error::Damaged(_) | Error::Unwritable(_) => ProviderErrorKind::Invalid,
            Error::Gap { .. } | Error::NotStarted => ProviderErrorKind::Protocol,
        };
        let told = Self::new(PROVIDER, kind).with_detail(error.to_string());
        match error {
            Error::Io { source, .. } => told.with_source(source),
            Error::Unwritable(source) => told.with_source(source),
            _ => told,
        }
    }
}

pub(super) const PROVIDER: &str = "spool";
