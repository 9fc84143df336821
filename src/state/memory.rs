//! The shared state of a service that is one process, and of tests.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Change, Expect, IdRange, Key, Record, StateStore, Write, check, conflict, expiry_second,
};
use crate::error::ProviderError;

/// Keeps records for as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryState {
    records: Mutex<BTreeMap<Key, Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    record: Record,
    /// In seconds of Unix time.
    expires: Option<i64>,
}

impl Kept {
    fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| at <= now.as_second())
    }
}

impl MemoryState {
    /// No record yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing is half done while the lock is held.
    fn records(&self) -> MutexGuard<'_, BTreeMap<Key, Kept>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StateStore for MemoryState {
    async fn get(&self, key: &Key, now: Timestamp) -> Result<Option<Record>, ProviderError> {
        let records = self.records();
        let kept = records.get(key).filter(|kept| !kept.is_over(now));
        Ok(kept.map(|kept| kept.record.clone()))
    }

    async fn list(
        &self,
        collection: &str,
        range: &IdRange,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Record>, ProviderError> {
        let after = range.after.clone().unwrap_or_default();
        let first = Bound::Excluded(Key::new(collection, after));
        let records = self.records();
        let found = records
            .range((first, Bound::Unbounded))
            .take_while(|(key, _)| key.collection == collection)
            .take_while(|(key, _)| range.until.as_ref().is_none_or(|until| key.id <= *until))
            .filter(|(_, kept)| !kept.is_over(now));
        Ok(found
            .take(limit)
            .map(|(_, kept)| kept.record.clone())
            .collect())
    }

    async fn apply(&self, writes: Vec<Write>, now: Timestamp) -> Result<(), ProviderError> {
        check(PROVIDER, &writes)?;
        let mut records = self.records();
        records.retain(|_, kept| !kept.is_over(now));
        let allowed = writes
            .iter()
            .all(|write| holds(write, records.get(&write.key).map(|kept| &kept.record)));
        if !allowed {
            return Err(conflict(PROVIDER));
        }
        for write in writes {
            carry_out(&mut records, write);
        }
        Ok(())
    }
}

fn holds(write: &Write, record: Option<&Record>) -> bool {
    let version = record.map_or(0, |record| record.version);
    let expected = match write.expect {
        Expect::Anything => true,
        Expect::Absent => version == 0,
        Expect::Version(expected) => expected > 0 && version == expected,
    };
    let counter = |name| record.map_or(0, |record| record.counter(name));
    expected
        && write.add.iter().all(|add| {
            let sum = counter(&add.counter).saturating_add(add.by);
            add.at_most.is_none_or(|most| sum <= most)
        })
}

fn carry_out(records: &mut BTreeMap<Key, Kept>, write: Write) {
    if write.change == Change::Delete {
        records.remove(&write.key);
        return;
    }
    if write.change == Change::Nothing && write.add.is_empty() {
        return;
    }
    let kept = records.entry(write.key.clone()).or_insert_with(|| Kept {
        record: Record {
            key: write.key,
            value: Value::Null,
            version: 0,
            counters: BTreeMap::new(),
        },
        expires: None,
    });
    if let Change::Set(value) = write.change {
        kept.record.value = value;
        kept.record.version += 1;
        kept.expires = write.expires.map(expiry_second);
    }
    for add in write.add {
        let counter = kept.record.counters.entry(add.counter).or_default();
        *counter = counter.saturating_add(add.by);
    }
}

const PROVIDER: &str = "memory state";
