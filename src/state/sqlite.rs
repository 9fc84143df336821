//! The shared state of the processes of one machine, in a file.

use std::{collections::BTreeMap, path::Path};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::Value;

use super::{
    Change, Expect, IdRange, Key, Record, StateStore, Write, check, conflict, expiry_second,
};
use crate::{
    error::{ProviderError, ProviderErrorKind},
    sqlite::{Database, Failure, Schema},
};

/// Keeps records in a SQLite file, which other stores and processes may use, too.
#[derive(Clone, Debug)]
pub struct SqliteState {
    file: Database,
}

impl SqliteState {
    /// Opens the file at `path`, which is made when it is missing.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or was written by a newer release.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, ProviderError> {
        let file = Database::open(PROVIDER, path.as_ref(), SCHEMA).await?;
        Ok(Self { file })
    }
}

#[async_trait]
impl StateStore for SqliteState {
    async fn get(&self, key: &Key, now: Timestamp) -> Result<Option<Record>, ProviderError> {
        let (key, now) = (key.clone(), now.as_second());
        self.file
            .call(move |file| {
                let mut statement = file.prepare_cached(GET)?;
                let found = statement.query_row(params![key.collection, key.id, now], columns);
                found.optional()?.map(record).transpose()
            })
            .await
    }

    async fn list(
        &self,
        collection: &str,
        range: &IdRange,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Record>, ProviderError> {
        let (collection, range) = (collection.to_owned(), range.clone());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.file
            .call(move |file| {
                let mut statement = file.prepare_cached(LIST)?;
                let IdRange { after, until } = range;
                let rows = statement.query_map(
                    params![
                        collection,
                        after.unwrap_or_default(),
                        until,
                        now.as_second(),
                        limit
                    ],
                    columns,
                )?;
                rows.map(|row| record(row?)).collect()
            })
            .await
    }

    async fn apply(&self, writes: Vec<Write>, now: Timestamp) -> Result<(), ProviderError> {
        check(PROVIDER, &writes)?;
        self.file
            .transaction(move |file| {
                // Conditions see what is over as absent, because it is.
                for write in &writes {
                    file.prepare_cached(FORGET)?.execute(params![
                        write.key.collection,
                        write.key.id,
                        now.as_second()
                    ])?;
                }
                for write in &writes {
                    carry_out(file, write)?;
                }
                Ok(())
            })
            .await
    }
}

/// Checks what a write expects, and does it. A failure undoes the whole transaction; no write
/// names the key of another.
fn carry_out(file: &Transaction<'_>, write: &Write) -> Result<(), Failure> {
    let Key { collection, id } = &write.key;
    let found = file
        .prepare_cached("SELECT version FROM state WHERE collection = ?1 AND id = ?2")?
        .query_row([collection, id], |row| row.get::<_, u64>(0))
        .optional()?;
    let version = found.unwrap_or(0);
    let expected = match write.expect {
        Expect::Anything => true,
        Expect::Absent => version == 0,
        Expect::Version(expected) => expected > 0 && version == expected,
    };
    if !expected {
        return Err(conflict(PROVIDER).into());
    }
    match &write.change {
        Change::Delete => {
            file.prepare_cached("DELETE FROM state WHERE collection = ?1 AND id = ?2")?
                .execute([collection, id])?;
            return Ok(());
        }
        Change::Set(value) => {
            let expires = write.expires.map(expiry_second);
            file.prepare_cached(SET)?.execute(params![
                collection,
                id,
                value.to_string(),
                expires
            ])?;
        }
        Change::Nothing if write.add.is_empty() => return Ok(()),
        Change::Nothing => {
            file.prepare_cached("INSERT OR IGNORE INTO state (collection, id) VALUES (?1, ?2)")?
                .execute([collection, id])?;
        }
    }
    for add in &write.add {
        let sum: i64 = file
            .prepare_cached(ADD)?
            .query_row(params![collection, id, add.counter, add.by], |row| {
                row.get(0)
            })?;
        if add.at_most.is_some_and(|most| sum > most) {
            return Err(conflict(PROVIDER).into());
        }
    }
    Ok(())
}

/// Collection, id, value, version, counters.
type Columns = (String, String, String, u64, String);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
    ))
}

fn record((collection, id, value, version, counters): Columns) -> Result<Record, Failure> {
    let key = Key { collection, id };
    let unreadable = |failed: serde_json::Error| {
        ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
            .with_detail(format!(
                "the record {}/{} is damaged",
                key.collection, key.id
            ))
            .with_source(failed)
    };
    let value: Value = serde_json::from_str(&value).map_err(unreadable)?;
    let counters: BTreeMap<String, i64> = serde_json::from_str(&counters).map_err(unreadable)?;
    Ok(Record {
        key,
        value,
        version,
        counters,
    })
}

const PROVIDER: &str = "sqlite state";

const SCHEMA: Schema = Schema {
    name: "state",
    steps: &["CREATE TABLE state (
            collection TEXT NOT NULL,
            id TEXT NOT NULL,
            value TEXT NOT NULL DEFAULT 'null',
            version INTEGER NOT NULL DEFAULT 0,
            expires INTEGER,
            PRIMARY KEY (collection, id)
        ) WITHOUT ROWID;
        CREATE TABLE state_counters (
            collection TEXT NOT NULL,
            id TEXT NOT NULL,
            counter TEXT NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (collection, id, counter),
            FOREIGN KEY (collection, id) REFERENCES state (collection, id) ON DELETE CASCADE
        ) WITHOUT ROWID;"],
};

const GET: &str = "SELECT collection, id, value, version,
        (SELECT json_group_object(counter, sum) FROM state_counters AS c
         WHERE c.collection = state.collection AND c.id = state.id)
    FROM state WHERE collection = ?1 AND id = ?2 AND (expires IS NULL OR expires > ?3)";

const LIST: &str = "SELECT collection, id, value, version,
        (SELECT json_group_object(counter, sum) FROM state_counters AS c
         WHERE c.collection = state.collection AND c.id = state.id)
    FROM state WHERE collection = ?1 AND id > ?2 AND (?3 IS NULL OR id <= ?3)
        AND (expires IS NULL OR expires > ?4)
    ORDER BY id LIMIT ?5";

const FORGET: &str = "DELETE FROM state WHERE collection = ?1 AND id = ?2 AND expires <= ?3";

const SET: &str = "INSERT INTO state (collection, id, value, version, expires)
    VALUES (?1, ?2, ?3, 1, ?4)
    ON CONFLICT (collection, id) DO UPDATE
    SET value = excluded.value, version = version + 1, expires = excluded.expires";

const ADD: &str =
    "INSERT INTO state_counters (collection, id, counter, sum) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (collection, id, counter) DO UPDATE SET sum = sum + excluded.sum RETURNING sum";
