//! What the nodes of a service share: small records that are changed together or not at all.
//!
//! Campaigns, attempts, meetings, prompts and spent tokens are all kept so. A [`StateStore`] has
//! one way to write, a set of conditional [`Write`]s that happen as one, and it is the only lock:
//! whoever wants something to happen once writes so that a second time fails.

mod memory;
pub use memory::MemoryState;

#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteState;

#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoState;

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::error::ProviderError;

/// Keeps records by [`Key`].
///
/// # Contract
///
/// [`apply`](Self::apply) carries out all of its writes, or none; what it did is durable and seen
/// by every later call of anybody. Reads see everything that was applied before. A record whose
/// time is over is as good as absent, to reads and to conditions.
#[async_trait]
pub trait StateStore: fmt::Debug + Send + Sync + 'static {
    /// The record under `key`, as of `now`.
    async fn get(&self, key: &Key, now: Timestamp) -> Result<Option<Record>, ProviderError>;

    /// The records of a collection whose ids lie in `range`, in the order of ids (as bytes),
    /// `limit` at the most.
    async fn list(
        &self,
        collection: &str,
        range: &IdRange,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Record>, ProviderError>;

    /// Carries out `writes`, which name different keys and are [`MAX_WRITES`] at the most, as one.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ProviderErrorKind::Conflict) when a condition does not hold: read again.
    /// [`Invalid`](crate::ProviderErrorKind::Invalid) when the writes are not of this form.
    async fn apply(&self, writes: Vec<Write>, now: Timestamp) -> Result<(), ProviderError>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: StateStore + ?Sized> StateStore for Arc<S> {
    async fn get(&self, key: &Key, now: Timestamp) -> Result<Option<Record>, ProviderError> {
        (**self).get(key, now).await
    }

    async fn list(
        &self,
        collection: &str,
        range: &IdRange,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Record>, ProviderError> {
        (**self).list(collection, range, limit, now).await
    }

    async fn apply(&self, writes: Vec<Write>, now: Timestamp) -> Result<(), ProviderError> {
        (**self).apply(writes, now).await
    }
}

/// How many writes may happen as one.
pub const MAX_WRITES: usize = 25;

/// Names a record: a collection, and an id within it. Neither is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct Key {
    /// Records of one kind, or of one parent.
    pub collection: String,
    /// Which of them.
    pub id: String,
}

impl Key {
    /// The key of `id` in `collection`.
    pub fn new(collection: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            collection: collection.into(),
            id: id.into(),
        }
    }
}

/// Which ids, compared as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdRange {
    /// Those after this one.
    pub after: Option<String>,
    /// Those up to this one, itself included.
    pub until: Option<String>,
}

impl IdRange {
    /// All ids.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The ids after `id`.
    #[must_use]
    pub fn after(id: impl Into<String>) -> Self {
        Self {
            after: Some(id.into()),
            until: None,
        }
    }

    /// The same ids, but none past `id`.
    #[must_use]
    pub fn until(mut self, id: impl Into<String>) -> Self {
        self.until = Some(id.into());
        self
    }
}

/// A record as it was read. `Debug` does not show its value.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Its key.
    pub key: Key,
    /// What was set last; `null` for a record that only counts.
    pub value: Value,
    /// Grows by one each time that the value is set, from 1; 0 for a record that only counts.
    pub version: u64,
    /// What was added up.
    pub counters: BTreeMap<String, i64>,
}

impl Record {
    /// A counter; 0 when nothing was ever added.
    #[must_use]
    pub fn counter(&self, name: &str) -> i64 {
        self.counters.get(name).copied().unwrap_or(0)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("key", &self.key)
            .field("version", &self.version)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// What is to happen to one record, and what must hold for it. `Debug` does not show the value.
#[derive(Clone, PartialEq)]
#[must_use]
pub struct Write {
    key: Key,
    expect: Expect,
    change: Change,
    add: Vec<Addition>,
    expires: Option<Timestamp>,
}

/// What must hold of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Anything,
    /// No value.
    Absent,
    /// A value of this version.
    Version(u64),
}

#[derive(Clone, PartialEq)]
enum Change {
    Nothing,
    Set(Value),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Addition {
    counter: String,
    by: i64,
    at_most: Option<i64>,
}

impl Write {
    /// Nothing yet, to the record under `key`. By itself it checks what it expects.
    pub const fn to(key: Key) -> Self {
        Self {
            key,
            expect: Expect::Anything,
            change: Change::Nothing,
            add: Vec::new(),
            expires: None,
        }
    }

    /// Only where there is no value yet.
    pub const fn if_absent(mut self) -> Self {
        self.expect = Expect::Absent;
        self
    }

    /// Only where the value still has this version.
    pub const fn if_version(mut self, version: u64) -> Self {
        self.expect = Expect::Version(version);
        self
    }

    /// Sets the value. Counters stay.
    pub fn set(mut self, value: Value) -> Self {
        self.change = Change::Set(value);
        self
    }

    /// Deletes the record with its counters; one that is not there stays so.
    pub fn delete(mut self) -> Self {
        self.change = Change::Delete;
        self
    }

    /// Adds to a counter.
    pub fn add(mut self, counter: impl Into<String>, by: i64) -> Self {
        self.add.push(Addition {
            counter: counter.into(),
            by,
            at_most: None,
        });
        self
    }

    /// Adds to a counter, and only if it is then at most `most`.
    pub fn add_up_to(mut self, counter: impl Into<String>, by: i64, most: i64) -> Self {
        self.add.push(Addition {
            counter: counter.into(),
            by,
            at_most: Some(most),
        });
        self
    }

    /// The record is of no use after this time, to the second. Given with each
    /// [`set`](Self::set): without it the record stays for ever. Not for records that count.
    pub const fn expires(mut self, at: Timestamp) -> Self {
        self.expires = Some(at);
        self
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self.change {
            Change::Nothing => "nothing",
            Change::Set(_) => "set",
            Change::Delete => "delete",
        };
        f.debug_struct("Write")
            .field("key", &self.key)
            .field("expect", &self.expect)
            .field("change", &change)
            .field("add", &self.add)
            .field("expires", &self.expires)
            .finish()
    }
}

/// The rules for writes that hold in every store.
fn check(provider: &'static str, writes: &[Write]) -> Result<(), ProviderError> {
    let problem = if writes.is_empty() || writes.len() > MAX_WRITES {
        "between 1 and 25 writes can happen as one"
    } else if writes
        .iter()
        .any(|write| write.key.collection.is_empty() || write.key.id.is_empty())
    {
        "neither part of a key may be empty"
    } else if (1..writes.len()).any(|at| writes[..at].iter().any(|w| w.key == writes[at].key)) {
        "writes that happen as one must name different keys"
    } else if writes.iter().any(|write| {
        !write.add.is_empty() && (write.change == Change::Delete || write.expires.is_some())
    }) {
        "a record that counts neither expires nor is counted while it is deleted"
    } else if writes.iter().any(|write| {
        let counters = &write.add;
        (1..counters.len()).any(|at| {
            counters[..at]
                .iter()
                .any(|a| a.counter == counters[at].counter)
        })
    }) {
        "a write names each counter once"
    } else {
        return Ok(());
    };
    Err(ProviderError::new(provider, crate::ProviderErrorKind::Invalid).with_detail(problem))
}

fn conflict(provider: &'static str) -> ProviderError {
    ProviderError::new(provider, crate::ProviderErrorKind::Conflict)
        .with_detail("the record is not as it was expected: read it again")
}

/// Seconds of Unix time at which a record is over: the first whole one not before `at`.
fn expiry_second(at: Timestamp) -> i64 {
    let second = at.as_second();
    second + i64::from(at.subsec_nanosecond() > 0)
}
