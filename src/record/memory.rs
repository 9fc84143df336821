//! Call records in memory: the store to read first, and the one for tests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    CallNote, CallPage, CallQuery, CallRecord, CallStore, GroupBy, Span, TotalsPage, cursor,
    totals::Adder, words::Wanted,
};
use crate::{
    call::{CallId, CallInfo, CallSummary, Direction},
    clock,
    error::{ProviderError, ProviderErrorKind},
    transcript::{TranscriptSink, Utterance},
};

/// Keeps call records for as long as the process lives, written by itself as a sink. Clones share
/// them.
///
/// ```
/// use novavoice::{
///     audio::SampleRate,
///     call::{CallId, CallInfo, Direction},
///     record::{CallQuery, CallStore, MemoryCalls},
///     transcript::TranscriptSink,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let calls = MemoryCalls::new();
/// let start = "2026-06-22T20:35:32Z".parse()?;
/// let call = CallInfo::new(CallId::random(), Direction::Inbound, start, SampleRate::Hz16000);
/// calls.start(&call).await?;
///
/// let live = calls.list(&CallQuery::live()).await?;
/// assert_eq!(live.calls[0].id, call.id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryCalls {
    calls: Arc<Mutex<HashMap<CallId, Kept>>>,
}

#[derive(Debug)]
struct Kept {
    record: CallRecord,
    lines: Vec<Utterance>,
}

impl MemoryCalls {
    /// Knows no calls yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps what `note` names, where the record as it is lets it.
    fn noted(&self, call: &CallId, note: &CallNote, lets: fn(&CallRecord) -> bool) -> bool {
        let now = clock::wall();
        let mut calls = self.calls();
        let kept = calls.entry(call.clone()).or_insert_with(|| {
            let direction = note.direction.unwrap_or(Direction::Outbound);
            Kept::new(call, direction, note.started.unwrap_or(now), now)
        });
        let may = lets(&kept.record);
        if may {
            kept.record.apply(note);
            kept.record.updated = Some(now);
        }
        may
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, Kept>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TranscriptSink for MemoryCalls {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        let now = clock::wall();
        let mut calls = self.calls();
        let kept = calls
            .entry(call.id.clone())
            .or_insert_with(|| Kept::new(&call.id, call.direction, call.started, now));
        kept.record.start(call, now);
        kept.record.updated = Some(now);
        Ok(kept.lines.len() as u64)
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        let mut calls = self.calls();
        let kept = calls.get_mut(call).ok_or_else(not_started)?;
        let due = kept.lines.len() as u64 + 1;
        match line.seq {
            1.. if line.seq < due => return Ok(()),
            1.. if line.seq == due => kept.lines.push(line.clone()),
            seq => return Err(protocol(format!("line {seq} came where line {due} is due"))),
        }
        let now = clock::wall();
        kept.record.alive = Some(now);
        kept.record.updated = Some(now);
        Ok(())
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        let mut calls = self.calls();
        let kept = calls.get_mut(call).ok_or_else(not_started)?;
        kept.record.end(summary);
        kept.record.updated = Some(clock::wall());
        Ok(())
    }

    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        self.lines(call, after).await.map(Some)
    }
}

#[async_trait]
impl CallStore for MemoryCalls {
    async fn get(&self, call: &CallId) -> Result<Option<CallRecord>, ProviderError> {
        Ok(self.calls().get(call).map(|kept| kept.record.clone()))
    }

    async fn lines(&self, call: &CallId, after: u64) -> Result<Vec<Utterance>, ProviderError> {
        let calls = self.calls();
        let lines = calls.get(call).map_or(&[][..], |kept| &kept.lines);
        Ok(lines
            .iter()
            .filter(|line| line.seq > after)
            .cloned()
            .collect())
    }

    async fn list(&self, query: &CallQuery) -> Result<CallPage, ProviderError> {
        let before = query.cursor.as_ref().map(position).transpose()?;
        let text = query.text.as_ref().map(|text| Wanted::new(text.reveal()));
        let calls = self.calls();
        let is_wanted = |kept: &&Kept| {
            let record = &kept.record;
            let words = kept.lines.iter().map(|line| line.text.as_str());
            query.wants(record)
                && before.as_ref().is_none_or(|end| place(record) < *end)
                && text.as_ref().is_none_or(|text| text.are_in(words))
        };
        let mut found: Vec<_> = calls.values().filter(is_wanted).collect();
        found.sort_by_key(|kept| std::cmp::Reverse(place(&kept.record)));
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let last = found.last().filter(|_| more);
        Ok(CallPage {
            next: last.map(|kept| {
                let millis = kept.record.started.as_millisecond().to_string();
                cursor::pack(&[&millis, kept.record.id.as_str()])
            }),
            calls: found.iter().map(|kept| kept.record.clone()).collect(),
            unreadable: Vec::new(),
        })
    }

    async fn totals(&self, span: Span, by: GroupBy) -> Result<TotalsPage, ProviderError> {
        let mut adder = Adder::new(by);
        for kept in self.calls().values() {
            if span.contains(kept.record.started) {
                adder.add(&kept.record);
            }
        }
        Ok(TotalsPage {
            groups: adder.finish(),
            unreadable: Vec::new(),
        })
    }

    async fn note(&self, call: &CallId, note: &CallNote) -> Result<(), ProviderError> {
        self.noted(call, note, |_| true);
        Ok(())
    }

    async fn close(&self, call: &CallId, note: &CallNote) -> Result<bool, ProviderError> {
        Ok(self.noted(call, note, CallRecord::is_open))
    }

    async fn expire(&self, silent: Timestamp) -> Result<Vec<CallRecord>, ProviderError> {
        let mut closed = Vec::new();
        for kept in self.calls().values_mut() {
            let record = &mut kept.record;
            if record.is_live() && record.alive.is_some_and(|alive| alive < silent) {
                record.abandon(kept.lines.iter().map(|line| line.at).max());
                record.updated = Some(clock::wall());
                closed.push(record.clone());
            }
        }
        Ok(closed)
    }
}

impl Kept {
    fn new(id: &CallId, direction: Direction, started: Timestamp, now: Timestamp) -> Self {
        let mut record = CallRecord::new(id.clone(), direction, clock::whole_millis(started));
        record.created = Some(now);
        Self {
            record,
            lines: Vec::new(),
        }
    }
}

/// Where a record stands in the list.
fn place(record: &CallRecord) -> (i64, CallId) {
    (record.started.as_millisecond(), record.id.clone())
}

fn position(end: &super::Cursor) -> Result<(i64, CallId), ProviderError> {
    let [millis, call] = cursor::unpack(PROVIDER, end)?;
    let millis = millis.parse().map_err(|_| cursor::foreign(PROVIDER))?;
    Ok((millis, CallId::new(call)))
}

fn not_started() -> ProviderError {
    protocol("this call was not started here".to_owned())
}

fn protocol(detail: String) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol).with_detail(detail)
}

const PROVIDER: &str = "memory";
