//! The calls of this process, live and finished, for the API and the dashboard: kept in memory,
//! and so forgotten with the process. Transcript files are what lasts.

mod events;
mod record;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::Stream;
use jiff::Timestamp;
use novavoice::{
    call::{CallId, CallInfo, CallStatus, CallSummary, Outcome},
    conversation::{AgentState, TurnLatency},
    transcript::{Speaker, Utterance},
};
use serde_json::Value;

pub(crate) use events::Event;
use events::Subscription;
use record::Record;
pub(crate) use record::seconds;

/// The record. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    records: HashMap<CallId, Record>,
    /// Call ids by their number, so by age.
    by_age: BTreeMap<u64, CallId>,
    last_number: u64,
}

/// One page of records.
pub(crate) struct Page {
    /// Newest first.
    pub(crate) calls: Vec<Value>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<u64>,
}

impl Calls {
    /// A call began, or goes on after its socket was lost.
    pub(crate) fn started(&self, info: &CallInfo) {
        let mut inner = self.lock();
        if let Some(record) = inner.records.get_mut(&info.id) {
            return record.resume();
        }
        inner.last_number += 1;
        let number = inner.last_number;
        inner.by_age.insert(number, info.id.clone());
        let record = Record::new(number, info.clone());
        inner.records.insert(info.id.clone(), record);
        inner.forget_oldest();
    }

    /// Early words.
    pub(crate) fn caption(&self, call: &CallId, speaker: Speaker, text: &str) {
        self.with(call, |record| record.caption(speaker, text));
    }

    /// A line that is safely kept.
    pub(crate) fn line(&self, call: &CallId, line: &Utterance) {
        self.with(call, |record| record.line(line));
    }

    /// The caller was answered.
    pub(crate) fn turn(&self, call: &CallId, latency: &TurnLatency) {
        self.with(call, |record| record.turn(latency));
    }

    /// The agent's state changed.
    pub(crate) fn state(&self, call: &CallId, old: AgentState, new: AgentState) {
        self.with(call, |record| record.state(old, new));
    }

    /// A call is over.
    pub(crate) fn ended(&self, call: &CallId, summary: &CallSummary) {
        self.with(call, |record| record.end(summary.clone()));
    }

    /// Ends every call that is not among `live`: its end was missed.
    pub(crate) fn keep_live(&self, live: &[CallId], now: Timestamp) {
        let mut inner = self.lock();
        let records = inner.records.values_mut();
        for record in records.filter(|record| record.is_live() && !live.contains(record.call())) {
            let length = record.duration(now);
            let summary = CallSummary::new(CallStatus::Completed, Outcome::Completed, now, length);
            record.end(summary);
        }
    }

    /// Calls that are going on, newest first.
    pub(crate) fn active(&self, now: Timestamp) -> Vec<Value> {
        let inner = self.lock();
        let live = inner.newest_first(u64::MAX).filter(|call| call.is_live());
        live.map(|record| record.as_active(now)).collect()
    }

    /// At most `limit` records of calls that are older than the one with the number `before`.
    pub(crate) fn page(&self, before: Option<u64>, limit: usize, now: Timestamp) -> Page {
        let inner = self.lock();
        let mut older = inner.newest_first(before.unwrap_or(u64::MAX)).peekable();
        let mut calls = Vec::new();
        let mut last = None;
        while let Some(record) = older.next_if(|_| calls.len() < limit) {
            calls.push(record.to_json(now));
            last = Some(record.number());
        }
        Page {
            calls,
            next: last.filter(|_| older.peek().is_some()),
        }
    }

    /// One record with its transcript.
    pub(crate) fn get(&self, call: &CallId, now: Timestamp) -> Option<Value> {
        let inner = self.lock();
        let record = inner.records.get(call)?;
        Some(record.to_json_with_lines(now))
    }

    /// Everything that happens in a call from now on, after the lines that came behind `after`,
    /// the captions of what has no line yet, and the state of the moment. Ends with the call. A
    /// follower that is too slow misses captions, never lines.
    pub(crate) fn follow(
        &self,
        call: &CallId,
        after: u64,
    ) -> Option<impl Stream<Item = Event> + Send + use<>> {
        events::stream(self.clone(), call.clone(), after)
    }

    fn subscribe(&self, call: &CallId, after: u64) -> Option<Subscription> {
        let inner = self.lock();
        inner
            .records
            .get(call)
            .map(|record| record.subscribe(after))
    }

    fn with(&self, call: &CallId, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.lock().records.get_mut(call) {
            change(record);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn newest_first(&self, before: u64) -> impl Iterator<Item = &Record> {
        let ids = self.by_age.range(..before).rev();
        ids.filter_map(|(_, id)| self.records.get(id))
    }

    /// Live calls are never forgotten: their number is limited elsewhere.
    fn forget_oldest(&mut self) {
        if self.records.len() <= CALLS_KEPT {
            return;
        }
        let over = |id: &&CallId| self.records.get(*id).is_some_and(|call| !call.is_live());
        if let Some(id) = self.by_age.values().find(over).cloned()
            && let Some(record) = self.records.remove(&id)
        {
            self.by_age.remove(&record.number());
        }
    }
}

/// Enough to look back on a day; a few megabytes.
const CALLS_KEPT: usize = 1_000;
