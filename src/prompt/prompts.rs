//! The versions in a store of shared state: saved, made active, taken back, read for a call.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::warn;

use super::version::{Draft, PromptVersion};
use crate::{
    error::{ProviderError, ProviderErrorKind},
    state::{IdRange, Key, Record, StateStore, Write},
};

/// The versions of a service. Cheap to clone; clones share what they have read.
#[derive(Clone, Debug)]
pub struct Prompts {
    store: Arc<dyn StateStore>,
    shipped: Arc<PromptVersion>,
    read: Arc<Mutex<Read>>,
}

/// What was read before. Versions never change, so it is as good as the store.
#[derive(Debug, Default)]
struct Read {
    versions: BTreeMap<u32, Arc<PromptVersion>>,
    /// The one that was active last, as far as this node knows.
    active: Option<u32>,
}

/// Which version calls speak by that ask for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Active {
    /// The version; 0 until another was made active.
    pub version: u32,
    /// Since when.
    pub since: Option<Timestamp>,
    /// By whom, as far as they said.
    pub by: Option<String>,
    /// Those before, the last one last: where going back leads.
    pub before: Vec<u32>,
    /// How often the active version has changed.
    pub changes: u32,
}

/// One change of the active version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Activation {
    /// The version that became active.
    pub version: u32,
    /// The one in whose place.
    pub replaced: u32,
    /// When.
    pub at: Timestamp,
    /// By whom, as far as they said.
    pub by: Option<String>,
    /// Whether that was a way back.
    pub rolled_back: bool,
}

impl Prompts {
    /// The versions that `store` keeps, with `shipped` as version 0.
    pub fn new(store: Arc<dyn StateStore>, shipped: Draft) -> Self {
        Self {
            store,
            shipped: Arc::new(shipped.as_version(SHIPPED, None)),
            read: Arc::default(),
        }
    }

    /// Version 0.
    #[must_use]
    pub const fn shipped(&self) -> &Arc<PromptVersion> {
        &self.shipped
    }

    /// Keeps a draft under the next number. Of several who save at once each gets a number of their
    /// own. With a `once` that was given before, to the same draft, the answer is what it was then:
    /// for a day, so that a request whose answer was lost can be repeated.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ProviderErrorKind::Invalid) when `once` was given to another draft;
    /// [`Conflict`](ProviderErrorKind::Conflict) when too many save at once.
    pub async fn save(
        &self,
        draft: &Draft,
        once: Option<&str>,
        now: Timestamp,
    ) -> Result<Arc<PromptVersion>, ProviderError> {
        let value = PromptVersion::to_value(draft, now)?;
        for attempt in 0..TRIES {
            if let Some(once) = once
                && let Some(known) = self.store.get(&once_key(once), now).await?
            {
                return self.saved_before(draft, &known, now).await;
            }
            let last = self.store.get(&last_key(), now).await?;
            let number = match &last {
                None => 1,
                Some(record) => number_in(record)?.checked_add(1).ok_or_else(full)?,
            };
            let count = Write::to(last_key()).set(json!(number));
            let mut writes = vec![
                unchanged(count, last.as_ref()),
                Write::to(version_key(number))
                    .if_absent()
                    .set(value.clone()),
            ];
            if let Some(once) = once {
                let until = now.checked_add(REPEATED).unwrap_or(Timestamp::MAX);
                let known = Write::to(once_key(once)).if_absent().set(json!(number));
                writes.push(known.expires(until));
            }
            match self.store.apply(writes, now).await {
                Ok(()) => {
                    let version = draft.clone().as_version(number, Some(now));
                    return Ok(self.remember(version));
                }
                Err(error) if *error.kind() == ProviderErrorKind::Conflict => {
                    give_way(attempt).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(crowded())
    }

    async fn saved_before(
        &self,
        draft: &Draft,
        known: &Record,
        now: Timestamp,
    ) -> Result<Arc<PromptVersion>, ProviderError> {
        let saved = self.get(number_in(known)?, now).await?;
        let same = |saved: &Arc<PromptVersion>| {
            let first = draft.clone().as_version(saved.number, saved.created);
            first == **saved
        };
        saved.filter(same).ok_or_else(|| {
            ProviderError::new(PROVIDER, ProviderErrorKind::Invalid)
                .with_detail("another prompt was saved under this key")
        })
    }

    /// One version.
    ///
    /// # Errors
    ///
    /// [`Protocol`](ProviderErrorKind::Protocol) when it cannot be read, for example because a newer
    /// program wrote it.
    pub async fn get(
        &self,
        number: u32,
        now: Timestamp,
    ) -> Result<Option<Arc<PromptVersion>>, ProviderError> {
        if let Some(known) = self.known(number) {
            return Ok(Some(known));
        }
        let Some(record) = self.store.get(&version_key(number), now).await? else {
            return Ok(None);
        };
        let version = PromptVersion::read(number, record.value)?;
        Ok(Some(self.remember(version)))
    }

    /// All versions, newest first, the shipped one last. Those that cannot be read are left out.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn list(&self, now: Timestamp) -> Result<Vec<Arc<PromptVersion>>, ProviderError> {
        let mut versions = vec![Arc::clone(&self.shipped)];
        let mut range = IdRange::all();
        loop {
            let page = self.store.list(VERSIONS, &range, PAGE, now).await?;
            let Some(last) = page.last() else { break };
            range = IdRange::after(&last.key.id);
            let is_last = page.len() < PAGE;
            for record in page {
                let Ok(number) = record.key.id.parse() else {
                    warn!(id = record.key.id, "a prompt without a number is left out");
                    continue;
                };
                match PromptVersion::read(number, record.value) {
                    Ok(version) => versions.push(Arc::new(version)),
                    Err(failed) => warn!(
                        error = &failed as &dyn std::error::Error,
                        "a prompt is left out"
                    ),
                }
            }
            if is_last {
                break;
            }
        }
        versions.reverse();
        Ok(versions)
    }

    /// Which version is active.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn active(&self, now: Timestamp) -> Result<Active, ProviderError> {
        Ok(self.active_record(now).await?.0)
    }

    /// Makes a version the active one, on every node from the moment when this returns. The one
    /// that is active already stays so, and nothing else happens.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound) when there is no such version.
    pub async fn activate(
        &self,
        number: u32,
        by: Option<&str>,
        now: Timestamp,
    ) -> Result<Active, ProviderError> {
        if self.get(number, now).await?.is_none() {
            return Err(ProviderError::new(PROVIDER, ProviderErrorKind::NotFound)
                .with_detail(format!("there is no prompt version {number}")));
        }
        for attempt in 0..TRIES {
            let (active, record) = self.active_record(now).await?;
            if active.version == number {
                return Ok(active);
            }
            let mut before = active.before.clone();
            before.push(active.version);
            if before.len() > WAY_BACK {
                before.remove(0);
            }
            let next = active.followed_by(number, before, by, now);
            if self
                .change(&active, &next, record.as_ref(), false, now)
                .await?
            {
                return Ok(next);
            }
            give_way(attempt).await;
        }
        Err(crowded())
    }

    /// Goes back to the version that was active before, and with the next step to the one before
    /// that. Where `from` is given and another version is active, nothing happens: somebody went
    /// back already.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ProviderErrorKind::Conflict) when somebody else changed the active version at
    /// the same moment, [`Invalid`](ProviderErrorKind::Invalid) when there was none before.
    pub async fn roll_back(
        &self,
        from: Option<u32>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Result<Active, ProviderError> {
        let (active, record) = self.active_record(now).await?;
        if from.is_some_and(|from| from != active.version) {
            return Ok(active);
        }
        let mut before = active.before.clone();
        let Some(number) = before.pop() else {
            return Err(ProviderError::new(PROVIDER, ProviderErrorKind::Invalid)
                .with_detail("no other version was active before this one"));
        };
        let next = active.followed_by(number, before, by, now);
        match self
            .change(&active, &next, record.as_ref(), true, now)
            .await?
        {
            true => Ok(next),
            false => Err(ProviderError::new(PROVIDER, ProviderErrorKind::Conflict)
                .with_detail("the active version has changed meanwhile: look at it again")),
        }
    }

    /// The changes of the active version, newest first, `limit` at the most.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn history(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Activation>, ProviderError> {
        let all = IdRange::all();
        let records = self.store.list(ACTIVATIONS, &all, limit, now).await?;
        let read = |record: Record| {
            serde_json::from_value(record.value).map_err(|failed| damaged().with_source(failed))
        };
        records.into_iter().map(read).collect()
    }

    /// The version that a call speaks by that begins now: the one that it asks for, or the active
    /// one. A store that fails or does not answer in half a second costs no call: what was active
    /// last, as far as this node knows, is taken then, or what the program ships with. See
    /// [`read_ahead`](Self::read_ahead).
    pub async fn for_call(&self, wanted: Option<u32>, now: Timestamp) -> Arc<PromptVersion> {
        if let Some(number) = wanted {
            match self.in_time(self.get(number, now)).await {
                Some(Some(version)) => return version,
                Some(None) => warn!(
                    prompt_version = number,
                    "a call asks for a prompt version that is not there: it gets the active one"
                ),
                None => return self.last_known(),
            }
        }
        let active = self.in_time(async {
            let number = self.active(now).await?.version;
            self.get(number, now).await
        });
        if let Some(Some(version)) = active.await {
            self.lock().active = Some(version.number);
            return version;
        }
        self.last_known()
    }

    fn last_known(&self) -> Arc<PromptVersion> {
        let last = self.lock().active;
        let version = last.and_then(|number| self.known(number));
        let version = version.unwrap_or_else(|| Arc::clone(&self.shipped));
        warn!(
            prompt_version = version.number,
            "the prompt of a call cannot be read: it gets the last one that was active"
        );
        version
    }

    /// Reads the active version ahead of the calls, so that the first one finds it, and so does one
    /// that comes while the store does not answer.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn read_ahead(&self, now: Timestamp) -> Result<(), ProviderError> {
        let number = self.active(now).await?.version;
        if self.get(number, now).await?.is_some() {
            self.lock().active = Some(number);
        }
        Ok(())
    }

    async fn in_time<T>(
        &self,
        reading: impl Future<Output = Result<T, ProviderError>> + Send,
    ) -> Option<T> {
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(read)) => Some(read),
            Ok(Err(failed)) => {
                warn!(
                    error = &failed as &dyn std::error::Error,
                    "a prompt cannot be read"
                );
                None
            }
            Err(_) => {
                warn!("reading a prompt takes too long");
                None
            }
        }
    }

    async fn active_record(
        &self,
        now: Timestamp,
    ) -> Result<(Active, Option<Record>), ProviderError> {
        let record = self.store.get(&active_key(), now).await?;
        let active = match &record {
            None => Active::default(),
            Some(record) => Active::deserialize(&record.value)
                .map_err(|failed| damaged().with_source(failed))?,
        };
        Ok((active, record))
    }

    /// Lets `next` follow on `active`, if that is still so.
    async fn change(
        &self,
        active: &Active,
        next: &Active,
        record: Option<&Record>,
        rolled_back: bool,
        now: Timestamp,
    ) -> Result<bool, ProviderError> {
        let activation = Activation {
            version: next.version,
            replaced: active.version,
            at: now,
            by: next.by.clone(),
            rolled_back,
        };
        let log = Write::to(activation_key(next.changes)).if_absent();
        let writes = vec![
            unchanged(Write::to(active_key()).set(json!(next)), record),
            log.set(json!(activation)),
        ];
        match self.store.apply(writes, now).await {
            Ok(()) => {
                self.lock().active = Some(next.version);
                Ok(true)
            }
            Err(error) if *error.kind() == ProviderErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn known(&self, number: u32) -> Option<Arc<PromptVersion>> {
        match number {
            SHIPPED => Some(Arc::clone(&self.shipped)),
            _ => self.lock().versions.get(&number).cloned(),
        }
    }

    fn remember(&self, version: PromptVersion) -> Arc<PromptVersion> {
        let version = Arc::new(version);
        let mut read = self.lock();
        // Old ones are asked for rarely, by campaigns that began with them.
        if read.versions.len() >= REMEMBERED {
            let active = read.active;
            let oldest = read.versions.keys().find(|number| Some(**number) != active);
            if let Some(oldest) = oldest.copied() {
                read.versions.remove(&oldest);
            }
        }
        read.versions.insert(version.number, Arc::clone(&version));
        version
    }

    /// Nothing is half done while the lock is held.
    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    fn followed_by(
        &self,
        version: u32,
        before: Vec<u32>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Self {
        Self {
            version,
            since: Some(now),
            by: by.map(str::to_owned),
            before,
            changes: self.changes.saturating_add(1),
        }
    }
}

/// A write that holds only if the record is as it was read.
fn unchanged(write: Write, record: Option<&Record>) -> Write {
    match record {
        Some(record) => write.if_version(record.version),
        None => write.if_absent(),
    }
}

/// Lets others be faster for a moment, longer each time.
async fn give_way(attempt: u32) {
    tokio::time::sleep(PAUSE * (attempt + 1)).await;
}

fn number_in(record: &Record) -> Result<u32, ProviderError> {
    let number = record.value.as_u64();
    number
        .and_then(|number| number.try_into().ok())
        .ok_or_else(damaged)
}

fn damaged() -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
        .with_detail("a record about the prompts cannot be read")
}

fn crowded() -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Conflict)
        .with_detail("too many change the prompts at once")
}

fn full() -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Invalid).with_detail("no number is left")
}

/// As many digits for each, so that the order of ids is the order of numbers.
fn version_key(number: u32) -> Key {
    Key::new(VERSIONS, format!("{number:010}"))
}

/// The newest has the smallest id.
fn activation_key(change: u32) -> Key {
    Key::new(ACTIVATIONS, format!("{:010}", u32::MAX - change))
}

fn last_key() -> Key {
    Key::new("prompt", "last")
}

fn active_key() -> Key {
    Key::new("prompt", "active")
}

fn once_key(once: &str) -> Key {
    Key::new("prompt_saves", once)
}

const PROVIDER: &str = "prompts";
const VERSIONS: &str = "prompts";
const ACTIVATIONS: &str = "prompt_activations";
const SHIPPED: u32 = 0;
const PAGE: usize = 25;

/// Others who save or activate at the same moment: people, and their scripts.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(3);

/// How long a save may be repeated.
const REPEATED: SignedDuration = SignedDuration::from_hours(24);

/// Versions that one may go back through.
const WAY_BACK: usize = 100;
/// Versions that a node keeps in memory.
const REMEMBERED: usize = 64;

/// How long a call waits: longer would be heard as silence.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::{super::texts::tests::texts, *};
    use crate::state::MemoryState;

    fn draft(words: &str) -> Draft {
        Draft::new(texts(words)).unwrap()
    }

    fn now() -> Timestamp {
        "2026-06-22T20:35:32Z".parse().unwrap()
    }

    /// A store whose reads fail, or never end, once it is told so.
    #[derive(Debug, Default)]
    struct Moody {
        store: MemoryState,
        mood: Mutex<Mood>,
    }

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    enum Mood {
        #[default]
        Good,
        Fails,
        Hangs,
    }

    #[async_trait]
    impl StateStore for Moody {
        async fn get(&self, key: &Key, now: Timestamp) -> Result<Option<Record>, ProviderError> {
            let mood = *self.mood.lock().unwrap();
            match mood {
                Mood::Good => self.store.get(key, now).await,
                Mood::Fails => Err(ProviderError::new("moody", ProviderErrorKind::Unavailable)),
                Mood::Hangs => std::future::pending().await,
            }
        }

        async fn list(
            &self,
            collection: &str,
            range: &IdRange,
            limit: usize,
            now: Timestamp,
        ) -> Result<Vec<Record>, ProviderError> {
            self.store.list(collection, range, limit, now).await
        }

        async fn apply(&self, writes: Vec<Write>, now: Timestamp) -> Result<(), ProviderError> {
            self.store.apply(writes, now).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_costs_no_call() {
        let store = Arc::new(Moody::default());
        let set = |mood| *store.mood.lock().unwrap() = mood;
        let state: Arc<dyn StateStore> = Arc::clone(&store) as _;
        let node = || Prompts::new(Arc::clone(&state), draft("shipped"));
        let (here, there, fresh) = (node(), node(), node());
        for words in ["one", "two"] {
            here.save(&draft(words), None, now()).await.unwrap();
        }
        here.activate(1, None, now()).await.unwrap();
        assert_eq!(here.for_call(None, now()).await.number, 1);
        there.activate(2, None, now()).await.unwrap();
        for mood in [Mood::Fails, Mood::Hangs] {
            set(mood);
            assert_eq!(here.for_call(None, now()).await.number, 1, "the last known");
            assert_eq!(
                there.for_call(None, now()).await.number,
                2,
                "made active here"
            );
            assert_eq!(here.for_call(Some(2), now()).await.number, 2, "read before");
            assert_eq!(fresh.for_call(Some(2), now()).await.number, 0, "shipped");
        }
        set(Mood::Good);
        assert_eq!(here.for_call(None, now()).await.number, 2);
        fresh.read_ahead(now()).await.unwrap();
        set(Mood::Fails);
        assert_eq!(fresh.for_call(None, now()).await.number, 2, "read ahead");
        set(Mood::Good);
        assert_eq!(
            here.for_call(Some(7), now()).await.number,
            2,
            "no such version"
        );
        assert_eq!(fresh.for_call(Some(1), now()).await.number, 1);
    }

    /// A record that only a newer program can read.
    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_costs_no_call() {
        let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let prompts = Prompts::new(Arc::clone(&store), draft("shipped"));
        prompts.save(&draft("one"), None, now()).await.unwrap();
        prompts.activate(1, None, now()).await.unwrap();
        let odd = Write::to(version_key(1)).set(json!({"texts": {"song": "La"}}));
        store.apply(vec![odd], now()).await.unwrap();
        let other = Prompts::new(Arc::clone(&store), draft("shipped"));
        assert_eq!(other.for_call(None, now()).await.number, 0);
        let failed = other.get(1, now()).await.unwrap_err();
        assert_eq!(failed.kind(), &ProviderErrorKind::Protocol);
        assert_eq!(other.list(now()).await.unwrap().len(), 1, "it is left out");
    }

    #[tokio::test]
    async fn memory_stays_bounded_and_holds_the_active_one() {
        let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let prompts = Prompts::new(store, draft("shipped"));
        prompts.save(&draft("0"), None, now()).await.unwrap();
        prompts.activate(1, None, now()).await.unwrap();
        assert_eq!(prompts.for_call(None, now()).await.number, 1);
        for words in 1..100 {
            let words = words.to_string();
            prompts.save(&draft(&words), None, now()).await.unwrap();
        }
        let read = prompts.lock();
        assert_eq!(read.versions.len(), REMEMBERED);
        assert!(read.versions.contains_key(&1) && read.versions.contains_key(&100));
    }
}
