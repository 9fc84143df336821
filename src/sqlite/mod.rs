//! One file for every store of a node: opened the same way, each store with its own schema.
//!
//! SQLite blocks, so each [`Database`] has a thread that owns the connection and takes its work
//! from a bounded queue: one that asks waits, the runtime does not. The journal is a write-ahead
//! log: readers do not wait for a writer, other processes may open the same file, and a process
//! that is killed at any moment leaves every committed transaction and nothing else.

mod error;
pub(crate) use error::Failure;

mod migrate;
pub(crate) use migrate::Schema;

use std::{fmt, path::Path, thread, time::Duration};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::error::{ProviderError, ProviderErrorKind};

/// A connection on a thread of its own. Clones share it; the last one closes it.
///
/// Two of them on one file read side by side and write in turn.
#[derive(Clone)]
pub(crate) struct Database {
    provider: &'static str,
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Jobs that may wait for the thread; whoever asks for one more waits for room.
const QUEUE: usize = 64;

/// How long a transaction of another connection may hold the file before it counts as out of
/// order. Ours take milliseconds; a backup or a check by hand may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pages that a connection keeps at hand, in KiB.
const PAGES_KIB: i64 = 256;

/// Statements that stay compiled: more than any store here has.
const STATEMENTS: usize = 64;

impl Database {
    /// Opens the file at `path`, made when missing together with its folder, and brings `schema`
    /// up to date. Errors carry the name of `provider`.
    pub(crate) async fn open(
        provider: &'static str,
        path: &Path,
        schema: Schema,
    ) -> Result<Self, ProviderError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let (opened, ready) = oneshot::channel();
        let path = path.to_owned();
        thread::Builder::new()
            .name(format!("{provider} file"))
            .spawn(move || {
                let mut connection = match connect(&path, schema) {
                    Ok(connection) => connection,
                    Err(failed) => {
                        // Nobody waits any more: nobody to tell.
                        let _ = opened.send(Err(failed.named(provider)));
                        return;
                    }
                };
                if opened.send(Ok(())).is_err() {
                    return;
                }
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(|failed| {
                ProviderError::new(provider, ProviderErrorKind::Unavailable)
                    .with_detail("no thread for the database file")
                    .with_source(failed)
            })?;
        ready.await.map_err(|_| stopped(provider))??;
        Ok(Self { provider, jobs })
    }

    /// The result of `work` with the connection. Work that was taken is done to its end, also
    /// when nobody waits for it any more.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let provider = self.provider;
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody waits any more: nobody to tell.
            let _ = done.send(work(connection).map_err(|failed| failed.named(provider)));
        });
        self.jobs.send(job).await.map_err(|_| stopped(provider))?;
        result.await.map_err(|_| stopped(provider))?
    }

    /// Has `work` done on the thread before the first query; nobody waits for it.
    pub(crate) fn first(&self, work: fn()) {
        // There is room in a new queue. Where there is none, queries have begun: too late for it.
        let _ = self.jobs.try_send(Box::new(move |_| work()));
    }

    /// The result of `work` in a transaction that has the right to write from its beginning, so
    /// that what it read still holds when it writes. Committed, and on the disk, when `work`
    /// succeeds; undone when it fails.
    pub(crate) async fn transaction<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ProviderError> {
        self.call(move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
        .await
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

fn connect(path: &Path, schema: Schema) -> Result<Connection, Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|failed| Failure::folder(folder, failed))?;
    }
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    write_ahead(&connection)?;
    // The system's own cache lies behind it; ours, left alone, grows to 2 MB a connection.
    connection.pragma_update(None, "cache_size", -PAGES_KIB)?;
    // Acknowledged means on the disk, also when the power fails.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    schema.bring_up_to_date(&mut connection)?;
    Ok(connection)
}

/// Turns the write-ahead log on, which stays on for ever. The one who does it must be alone: while
/// several processes open a new file at once, SQLite refuses without waiting for [`PATIENCE`].
fn write_ahead(connection: &Connection) -> Result<(), Failure> {
    for _ in 0..SWITCHES {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(failed) if failed.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                thread::sleep(SWITCH_PAUSE);
            }
            done => return Ok(done?),
        }
    }
    Ok(connection.pragma_update(None, "journal_mode", "WAL")?)
}

const SWITCHES: u32 = 100;
const SWITCH_PAUSE: Duration = Duration::from_millis(20);

fn stopped(provider: &'static str) -> ProviderError {
    ProviderError::new(provider, ProviderErrorKind::Closed)
        .with_detail("the thread of the database file has stopped")
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    const SCHEMA: Schema = Schema {
        name: "things",
        steps: &["CREATE TABLE things (n INTEGER PRIMARY KEY)"],
    };

    async fn open(path: &Path) -> Database {
        Database::open("things", path, SCHEMA).await.unwrap()
    }

    async fn count(database: &Database) -> u32 {
        database
            .call(|connection| {
                Ok(connection.query_row("SELECT count(*) FROM things", [], |row| row.get(0))?)
            })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn what_is_committed_is_there_for_others_and_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("esther.sqlite");
        let (one, two) = (open(&path).await, open(&path).await);
        one.transaction(|tx| Ok(tx.execute("INSERT INTO things VALUES (1)", [])?))
            .await
            .unwrap();
        assert_eq!(count(&two).await, 1);
        drop((one, two));
        assert_eq!(count(&open(&path).await).await, 1);
    }

    #[tokio::test]
    async fn a_transaction_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder.path().join("db")).await;
        let failed = database
            .transaction(|tx| {
                tx.execute("INSERT INTO things VALUES (1)", [])?;
                Ok(tx.execute("INSERT INTO things VALUES (1)", [])?)
            })
            .await
            .unwrap_err();
        assert_eq!(failed.kind(), &ProviderErrorKind::Conflict);
        assert!(failed.source().is_some());
        assert_eq!(count(&database).await, 0);
    }

    #[tokio::test]
    async fn what_cannot_be_opened_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(
            &file,
            "this is no database, and long enough to be read as one",
        )
        .unwrap();
        for path in [folder.path().to_owned(), file.clone(), file.join("below")] {
            let failed = Database::open("things", &path, SCHEMA).await.unwrap_err();
            assert!(!failed.kind().is_retryable(), "{failed}");
            assert!(failed.detail().is_some(), "{failed}");
        }
    }
}
