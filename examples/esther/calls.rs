//! The calls of this process as they happen, with what no store keeps: captions, the state of the
//! agent, and who follows. Kept in memory, and so forgotten with the process; the store of calls
//! is what lasts.

mod elsewhere;

mod events;
mod packed;
mod record;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::Stream;
use jiff::Timestamp;
use novavoice::{
    audio::SampleRate,
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome, Party},
    conversation::{AgentState, TurnLatency},
    telephony::PlacedEnd,
    transcript::{Speaker, Utterance},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub(crate) use elsewhere::follow_elsewhere;
pub(crate) use events::Event;
use events::Subscription;
use record::Record;
pub(crate) use record::seconds;

/// The record. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    records: HashMap<Digest, Record>,
    oldest_first: VecDeque<Digest>,
    /// The texts of calls that are over.
    packed: packed::Store,
}

/// Of the id of a call. Lies in its table, while ids, each by itself, would hold on to more memory
/// than they take.
type Digest = [u8; 32];

fn digest(call: &CallId) -> Digest {
    Sha256::digest(call.as_str()).into()
}

impl Calls {
    /// A call began, or goes on after its socket was lost.
    pub(crate) fn started(&self, info: &CallInfo) {
        let mut inner = self.lock();
        if let Some(record) = inner.get_mut(&info.id) {
            return record.resume(info);
        }
        inner.insert(&info.id, Record::new(info));
    }

    /// The carrier has placed a call; nobody has answered yet.
    pub(crate) fn placed(
        &self,
        call: &CallId,
        remote: Option<&Party>,
        local: Option<&Party>,
        at: Timestamp,
    ) {
        let mut inner = self.lock();
        if inner.get(call).is_some() {
            return;
        }
        let mut info = CallInfo::new(call.clone(), Direction::Outbound, at, SampleRate::Hz16000);
        (info.remote, info.local) = (remote.cloned(), local.cloned());
        inner.insert(call, Record::placed(&info));
    }

    /// The carrier says that a call that was placed is over. Where the agent talked, its own word
    /// counts.
    pub(crate) fn placed_ended(&self, call: &CallId, end: &PlacedEnd, at: Timestamp) {
        self.finish(call, |record, packed| {
            record.end_unanswered(end, at, packed)
        });
    }

    /// Whether a call was placed and has not reached the agent yet.
    pub(crate) fn is_waiting(&self, call: &CallId) -> bool {
        self.lock().get(call).is_some_and(Record::is_waiting)
    }

    /// How many calls were placed and have not reached the agent yet.
    pub(crate) fn waiting(&self) -> usize {
        let inner = self.lock();
        let records = inner.records.values();
        records.filter(|record| record.is_waiting()).count()
    }

    /// Whether a call is known to be over.
    pub(crate) fn is_over(&self, call: &CallId) -> bool {
        let inner = self.lock();
        inner.get(call).is_some_and(|record| !record.is_live())
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
        self.finish(call, |record, packed| record.end(summary.clone(), packed));
    }

    /// Ends every call that is not among `live`: its end was missed.
    pub(crate) fn keep_live(&self, live: &[CallId], now: Timestamp) {
        let mut inner = self.lock();
        let Inner {
            records, packed, ..
        } = &mut *inner;
        let missed = |record: &&mut Record| {
            record.is_live() && !record.is_waiting() && !record.is_among(live)
        };
        for record in records.values_mut().filter(missed) {
            let length = record.duration(now);
            let summary = CallSummary::new(CallStatus::Completed, Outcome::Completed, now, length);
            record.end(summary, packed);
        }
    }

    /// Calls that are going on, newest first.
    pub(crate) fn active(&self, now: Timestamp) -> Vec<Value> {
        let inner = self.lock();
        let newest_first = inner.oldest_first.iter().rev();
        let records = newest_first.filter_map(|call| inner.records.get(call));
        let live = records.filter(|record| record.is_live());
        live.map(|record| record.as_active(now)).collect()
    }

    /// Whether a call was carried here, and when not so long ago that it is forgotten.
    pub(crate) fn knows(&self, call: &CallId) -> bool {
        self.lock().get(call).is_some()
    }

    /// One call as it is at this moment, without its lines: ahead of any store.
    pub(crate) fn get(&self, call: &CallId, now: Timestamp) -> Option<Value> {
        Some(self.lock().get(call)?.to_json(now))
    }

    /// How fast the agent answered in one call, stage by stage; no store has that.
    pub(crate) fn latency_ms(&self, call: &CallId) -> Option<Value> {
        Some(self.lock().get(call)?.latency_ms())
    }

    /// The lines of one call; of a very long one, the last ones.
    pub(crate) fn lines(&self, call: &CallId) -> Vec<Utterance> {
        let inner = self.lock();
        let lines = inner.get(call).map(|record| record.lines(0));
        lines.unwrap_or_default()
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
        inner.get(call).map(|record| record.subscribe(after))
    }

    fn with(&self, call: &CallId, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.lock().get_mut(call) {
            change(record);
        }
    }

    fn finish(&self, call: &CallId, end: impl FnOnce(&mut Record, &mut packed::Store)) {
        let mut inner = self.lock();
        let Inner {
            records, packed, ..
        } = &mut *inner;
        if let Some(record) = records.get_mut(&digest(call)) {
            end(record, packed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn get(&self, call: &CallId) -> Option<&Record> {
        self.records.get(&digest(call))
    }

    fn get_mut(&mut self, call: &CallId) -> Option<&mut Record> {
        self.records.get_mut(&digest(call))
    }

    fn insert(&mut self, call: &CallId, record: Record) {
        self.oldest_first.push_back(digest(call));
        self.records.insert(digest(call), record);
        if self.records.len() > CALLS_KEPT {
            self.forget_oldest();
        }
    }

    /// Live calls are never forgotten: their number is limited elsewhere.
    fn forget_oldest(&mut self) {
        let records = &self.records;
        let is_over = |call: &Digest| records.get(call).is_some_and(|record| !record.is_live());
        let oldest = self.oldest_first.iter().position(is_over);
        if let Some(call) = oldest.and_then(|at| self.oldest_first.remove(at)) {
            self.records.remove(&call);
        }
    }
}

/// Enough to look back on a day; a few megabytes.
const CALLS_KEPT: usize = 1_000;
