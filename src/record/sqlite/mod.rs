//! Call records in a SQLite file: the store of a single node, with full-text search.

mod read;
mod row;
mod schema;

use std::{collections::BTreeSet, path::Path};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;

use self::schema::SCHEMA;
use super::{
    CallNote, CallPage, CallQuery, CallRecord, CallStore, GroupBy, Span, TotalsPage,
    words::{beginnings, words},
};
use crate::{
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction},
    clock,
    error::{ProviderError, ProviderErrorKind},
    lead::PhoneNumber,
    sqlite::{Database, Failure},
    transcript::{TranscriptSink, Utterance},
};

/// Keeps call records in one file, as a sink and as a store. Clones share it, and other processes
/// may open the same file.
///
/// An acknowledged line is on the disk. Whoever looks into the file finds the records in the view
/// `call_records`, under the names that all stores share.
#[derive(Clone, Debug)]
pub struct SqliteCalls {
    /// Lines wait for nobody who reads.
    writes: Database,
    reads: Database,
}

impl SqliteCalls {
    /// Opens the file at `path`, which is made when missing and shared with other stores.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or written, is no database, or is of a newer release.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, ProviderError> {
        let path = path.as_ref();
        let writes = Database::open(PROVIDER, path, SCHEMA).await?;
        writes.first(PhoneNumber::read_tables);
        let reads = Database::open(PROVIDER, path, SCHEMA).await?;
        Ok(Self { writes, reads })
    }

    /// Takes over records and their lines from elsewhere, all of them or none. A call that is
    /// here already is replaced.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub async fn import(
        &self,
        calls: Vec<(CallRecord, Vec<Utterance>)>,
    ) -> Result<(), ProviderError> {
        self.writes
            .transaction(move |file| {
                for (mut record, lines) in calls {
                    file.prepare_cached(
                        "DELETE FROM transcripts WHERE rowid = \
                         (SELECT id FROM calls WHERE call_uuid = ?1)",
                    )?
                    .execute([record.id.as_str()])?;
                    file.prepare_cached("DELETE FROM calls WHERE call_uuid = ?1")?
                        .execute([record.id.as_str()])?;
                    record.started = clock::whole_millis(record.started);
                    let id = schema::free_number(file, &record.id, record.started)?;
                    row::save(file, id, &record)?;
                    for line in &lines {
                        row::save_line(file, id, line)?;
                    }
                    let last = lines.iter().map(|line| line.seq).max();
                    file.prepare_cached("UPDATE calls SET lines = ?2 WHERE id = ?1")?
                        .execute((id, last.unwrap_or(0)))?;
                    index(file, id)?;
                }
                Ok(())
            })
            .await
    }

    /// Keeps what `note` names, where the record as it is lets it.
    async fn noted(
        &self,
        call: &CallId,
        note: &CallNote,
        lets: fn(&CallRecord) -> bool,
    ) -> Result<bool, ProviderError> {
        let (call, note) = (call.clone(), note.clone());
        self.writes
            .transaction(move |file| {
                let now = clock::wall();
                let (id, mut record) = found_or_new(file, &call, || {
                    let direction = note.direction.unwrap_or(Direction::Outbound);
                    CallRecord::new(call.clone(), direction, note.started.unwrap_or(now))
                })?;
                let may = lets(&record);
                if may {
                    record.apply(&note);
                    record.updated = Some(now);
                    row::save(file, id, &record)?;
                }
                Ok(may)
            })
            .await
    }

    /// Changes the record of a call, in one transaction.
    async fn change<T: Send + 'static>(
        &self,
        call: &CallId,
        change: impl FnOnce(&Connection, i64, &mut CallRecord) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let call = call.clone();
        self.writes
            .transaction(move |file| {
                let id = schema::number_of(file, &call)?.ok_or_else(not_started)?;
                let mut record = row::load(file, id)?.ok_or_else(not_started)?;
                let changed = change(file, id, &mut record)?;
                record.updated = Some(clock::wall());
                row::save(file, id, &record)?;
                Ok(changed)
            })
            .await
    }
}

#[async_trait]
impl TranscriptSink for SqliteCalls {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        let call = call.clone();
        self.writes
            .transaction(move |file| {
                let now = clock::wall();
                let (id, mut record) = found_or_new(file, &call.id, || {
                    CallRecord::new(call.id.clone(), call.direction, call.started)
                })?;
                record.start(&call, now);
                record.updated = Some(now);
                row::save(file, id, &record)?;
                last_line(file, id)
            })
            .await
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        self.record_all(call, std::slice::from_ref(line)).await
    }

    async fn record_all(&self, call: &CallId, lines: &[Utterance]) -> Result<(), ProviderError> {
        let (call, lines) = (call.clone(), lines.to_vec());
        self.writes
            .transaction(move |file| {
                let id = schema::number_of(file, &call)?.ok_or_else(not_started)?;
                let mut last = last_line(file, id)?;
                for line in &lines {
                    match line.seq {
                        1.. if line.seq <= last => continue,
                        1.. if line.seq == last + 1 => {}
                        seq => {
                            let due = last + 1;
                            let gap = format!("line {seq} came where line {due} is due");
                            return Err(protocol(gap));
                        }
                    }
                    row::save_line(file, id, line)?;
                    last = line.seq;
                }
                let now = super::entry::stamp(clock::wall());
                let mut count = file.prepare_cached(
                    "UPDATE calls SET lines = ?2, alive_at = ?3, updated_at = ?3 WHERE id = ?1",
                )?;
                count.execute((id, last, now))?;
                Ok(())
            })
            .await
    }

    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        self.lines(call, after).await.map(Some)
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        let summary = summary.clone();
        self.change(call, move |file, id, record| {
            record.end(&summary);
            index(file, id)
        })
        .await
    }
}

#[async_trait]
impl CallStore for SqliteCalls {
    async fn get(&self, call: &CallId) -> Result<Option<CallRecord>, ProviderError> {
        let call = call.clone();
        let read = move |file: &mut Connection| match schema::number_of(file, &call)? {
            Some(id) => row::load(file, id),
            None => Ok(None),
        };
        self.reads.call(read).await
    }

    async fn lines(&self, call: &CallId, after: u64) -> Result<Vec<Utterance>, ProviderError> {
        let call = call.clone();
        let read = move |file: &mut Connection| match schema::number_of(file, &call)? {
            Some(id) => row::lines(file, id, after),
            None => Ok(Vec::new()),
        };
        self.reads.call(read).await
    }

    async fn list(&self, query: &CallQuery) -> Result<CallPage, ProviderError> {
        if query.text.is_some() {
            self.writes.call(index_all).await?;
        }
        let query = query.clone();
        self.reads.call(move |file| read::list(file, &query)).await
    }

    async fn totals(&self, span: Span, by: GroupBy) -> Result<TotalsPage, ProviderError> {
        self.reads
            .call(move |file| read::totals(file, span, by))
            .await
    }

    async fn note(&self, call: &CallId, note: &CallNote) -> Result<(), ProviderError> {
        self.noted(call, note, |_| true).await.map(drop)
    }

    async fn close(&self, call: &CallId, note: &CallNote) -> Result<bool, ProviderError> {
        self.noted(call, note, CallRecord::is_open).await
    }

    async fn expire(&self, silent: Timestamp) -> Result<Vec<CallRecord>, ProviderError> {
        let silent = super::entry::stamp(silent);
        self.writes
            .transaction(move |file| {
                let mut closed = Vec::new();
                for id in silent_calls(file, &silent)? {
                    let Some(mut record) = row::load(file, id)? else {
                        continue;
                    };
                    let lines = row::lines(file, id, 0)?;
                    record.abandon(lines.iter().map(|line| line.at).max());
                    record.updated = Some(clock::wall());
                    row::save(file, id, &record)?;
                    index(file, id)?;
                    closed.push(record);
                }
                Ok(closed)
            })
            .await
    }
}

fn found_or_new(
    file: &Connection,
    call: &CallId,
    new: impl FnOnce() -> CallRecord,
) -> Result<(i64, CallRecord), Failure> {
    if let Some(id) = schema::number_of(file, call)?
        && let Some(record) = row::load(file, id)?
    {
        return Ok((id, record));
    }
    let mut record = new();
    record.started = clock::whole_millis(record.started);
    record.created = Some(clock::wall());
    Ok((schema::free_number(file, call, record.started)?, record))
}

fn last_line(file: &Connection, id: i64) -> Result<u64, Failure> {
    let mut last = file.prepare_cached("SELECT lines FROM calls WHERE id = ?1")?;
    Ok(last.query_row([id], |row| row.get(0))?)
}

fn silent_calls(file: &Connection, silent: &str) -> Result<Vec<i64>, Failure> {
    let mut find =
        file.prepare_cached("SELECT id FROM calls WHERE status = ?1 AND alive_at < ?2")?;
    let found = find.query_map((CallStatus::InProgress.as_str(), silent), |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Makes the words of a call findable.
fn index(file: &Connection, id: i64) -> Result<(), Failure> {
    let lines = row::lines(file, id, 0)?;
    let said: BTreeSet<_> = lines.iter().flat_map(|line| words(&line.text)).collect();
    let found_by: BTreeSet<_> = said.iter().flat_map(|word| beginnings(word)).collect();
    let text = found_by.into_iter().collect::<Vec<_>>().join(" ");
    file.prepare_cached("DELETE FROM transcripts WHERE rowid = ?1")?
        .execute([id])?;
    file.prepare_cached("INSERT INTO transcripts (rowid, words) VALUES (?1, ?2)")?
        .execute((id, text))?;
    file.prepare_cached("UPDATE calls SET indexed = lines WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

/// Indexes what was said since the last time; nothing but the calls that go on, as a rule.
fn index_all(file: &mut Connection) -> Result<(), Failure> {
    let due = {
        let mut find = file.prepare_cached("SELECT id FROM calls WHERE indexed < lines")?;
        let due = find.query_map([], |row| row.get(0))?;
        due.collect::<Result<Vec<i64>, _>>()?
    };
    for id in due {
        // One by one: lines that come meanwhile wait for one call's words, not for all.
        let transaction = file.transaction()?;
        index(&transaction, id)?;
        transaction.commit()?;
    }
    Ok(())
}

fn not_started() -> Failure {
    protocol("this call was not started here".to_owned())
}

fn protocol(detail: String) -> Failure {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
        .with_detail(detail)
        .into()
}

const PROVIDER: &str = "sqlite calls";
