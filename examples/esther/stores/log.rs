//! The gate in front of every call, and the log of what it decides.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use novavoice::outbound::{BrokenLog, Decisions, Gatekeeper};

use super::Stores;

/// A gate over these stores. Its log is `decisions.jsonl` below `DATA_DIR`; where another process
/// writes that one, the first of `decisions-2.jsonl` and so on that nobody writes: each is a chain
/// of its own.
///
/// Nobody is called without the log. One that was changed, or cannot be read, shuts the gate, and
/// whoever calls us is answered all the same.
pub(crate) fn gatekeeper(stores: &Stores, data_dir: &Path) -> anyhow::Result<Gatekeeper> {
    let opened = open(data_dir);
    let (log, lock) = opened.with_context(|| {
        format!(
            "the log of decisions in {} (DATA_DIR says where)",
            data_dir.display()
        )
    })?;
    // Held until the process ends, however it ends.
    std::mem::forget(lock);
    let (state, leads) = (Arc::clone(&stores.state), Arc::clone(&stores.leads));
    Ok(match log {
        Ok(log) => Gatekeeper::new(state, leads, log),
        Err(broken) => {
            tracing::error!(
                error = &broken as &dyn std::error::Error,
                "nobody is called from here"
            );
            Gatekeeper::shut(state, leads, broken)
        }
    })
}

/// Checks every log of a folder; answers with their lines.
pub(crate) fn check_log(data_dir: &Path) -> Result<u64, BrokenLog> {
    let mut lines = 0;
    for nth in 1..=MOST {
        let path = data_dir.join(format!("{}.jsonl", name(nth)));
        if path.exists() {
            lines += Decisions::verify(path)?;
        }
    }
    Ok(lines)
}

type Opened = (Result<Decisions, BrokenLog>, File);

fn open(folder: &Path) -> anyhow::Result<Opened> {
    fs::create_dir_all(folder)?;
    for nth in 1..=MOST {
        let name = name(nth);
        // Beside the log: on some systems what is locked cannot be written by another handle.
        let lock = lockable(&folder.join(format!("{name}.lock")))?;
        match lock.try_lock() {
            Ok(()) => return Ok((Decisions::open(folder.join(format!("{name}.jsonl"))), lock)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    anyhow::bail!("{MOST} processes write to it already")
}

fn name(nth: u32) -> String {
    match nth {
        1 => "decisions".to_owned(),
        _ => format!("decisions-{nth}"),
    }
}

fn lockable(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// Processes that share a folder.
const MOST: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_never_write_to_one_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = open(folder.path()).expect("a log");
        let second = open(folder.path()).expect("another log");
        assert!(folder.path().join("decisions-2.jsonl").exists());
        drop(first);
        let third = open(folder.path()).expect("the first log again");
        assert!(!folder.path().join("decisions-3.jsonl").exists());
        drop((second, third));
    }
}
