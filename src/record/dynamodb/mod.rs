//! Call records in DynamoDB: the store of several nodes.
//!
//! # Indexes, and what reading costs
//!
//! Lists walk `status-index` (or `phone_number-index`, for one person) from new to old. An index
//! that was made by this crate holds the fields of a record and no words, so a page of 50 costs
//! about 20 read units; of an index that holds less, the items themselves are read. `day-index`
//! is there for other programs. Without indexes [`get`](CallStore::get) and
//! [`lines`](CallStore::lines) work, and lists fail with
//! [`NotFound`](ProviderErrorKind::NotFound).
//!
//! DynamoDB has no full-text search: a search reads the transcripts of the calls that the other
//! conditions leave, from new to old, half a read unit for each 4 KB. It looks at 500 calls for
//! one page at most (some 1,500 read units for calls of five minutes: less than a tenth of a
//! cent) and answers with what it found and a cursor to go on. Give it a time or a person.
//!
//! Sums read the records of their time, about a read unit for each 20 calls.

mod item;
mod walk;
mod write;

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use jiff::Timestamp;
use tracing::warn;

use self::{
    item::{FIELDS, Item},
    walk::{Found, Place, Walk},
};
use super::{
    CallNote, CallPage, CallQuery, CallRecord, CallStore, GroupBy, Span, TotalsPage, Unreadable,
    totals::Adder, words::Wanted,
};
use crate::{
    call::{CallId, CallStatus},
    dynamodb::{Dynamo, failure},
    error::{ProviderError, ProviderErrorKind},
    transcript::Utterance,
};

/// Reads the table that [`DynamoSink`](crate::transcript::DynamoSink) writes. Clones share the
/// client.
#[derive(Clone, Debug)]
pub struct DynamoCalls {
    dynamo: Dynamo,
    table: String,
}

impl DynamoCalls {
    /// The records in `table`.
    #[must_use]
    pub fn new(dynamo: Dynamo, table: impl Into<String>) -> Self {
        Self {
            dynamo,
            table: table.into(),
        }
    }

    /// The item of a call and those that continue it, as they are at this moment.
    async fn whole(&self, call: &CallId) -> Result<Vec<Item>, ProviderError> {
        let mut items = Vec::new();
        let mut key = item::key(call);
        while let Some(item) = self.item(&key, None).await? {
            items.push(item);
            let read = items.len() as u64;
            if item::parts(&items[0]) == Some(read) {
                break;
            }
            key = item::part_key(call, read + 1);
        }
        Ok(items)
    }

    async fn item(
        &self,
        key: &str,
        fields: Option<&[&str]>,
    ) -> Result<Option<Item>, ProviderError> {
        let mut get = self
            .dynamo
            .client()
            .get_item()
            .table_name(&self.table)
            .key("call_uuid", AttributeValue::S(key.to_owned()))
            .consistent_read(true);
        if let Some(fields) = fields {
            let (expression, names) = projection(fields);
            get = get
                .projection_expression(expression)
                .set_expression_attribute_names(Some(names));
        }
        let answer = get.send().await.map_err(|e| failure(PROVIDER, e))?;
        Ok(answer.item)
    }

    /// The items with these keys, in no order; those that are gone are left out.
    async fn items(
        &self,
        mut keys: Vec<String>,
        fields: Option<&[&str]>,
    ) -> Result<Vec<Item>, ProviderError> {
        let mut items = Vec::new();
        let mut pause = FIRST_PAUSE;
        while !keys.is_empty() {
            let now: Vec<_> = keys.split_off(keys.len().saturating_sub(BATCH));
            let mut wanted = KeysAndAttributes::builder();
            for key in now {
                wanted = wanted.keys(HashMap::from([(
                    "call_uuid".to_owned(),
                    AttributeValue::S(key),
                )]));
            }
            if let Some(fields) = fields {
                let (expression, names) = projection(fields);
                wanted = wanted
                    .projection_expression(expression)
                    .set_expression_attribute_names(Some(names));
            }
            let wanted = wanted.build().map_err(unbuilt)?;
            let get = self.dynamo.client().batch_get_item();
            let answer = get.request_items(&self.table, wanted).send().await;
            let answer = answer.map_err(|e| failure(PROVIDER, e))?;
            let found = answer.responses.unwrap_or_default();
            items.extend(found.into_values().flatten());
            // What is too much for one answer, or for the table's throughput, comes later.
            let left = answer.unprocessed_keys.unwrap_or_default();
            let left: Vec<_> = left
                .into_values()
                .flat_map(|left| left.keys)
                .filter_map(|key| item::text(&key, "call_uuid").map(str::to_owned))
                .collect();
            if !left.is_empty() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            keys.extend(left);
        }
        Ok(items)
    }

    /// Lets items of the index that hold no whole record be whole.
    async fn complete(&self, found: &mut [Found]) -> Result<(), ProviderError> {
        let short = |found: &&Found| !found.item.contains_key("direction");
        let keys: Vec<_> = found.iter().filter(short).map(key_of).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let whole = self.items(keys, Some(&FIELDS)).await?;
        let mut whole = by_key(whole);
        for found in found {
            if let Some(item) = whole.remove(&found.place.call) {
                found.item = item;
            }
        }
        Ok(())
    }

    /// Which of these calls have the words.
    async fn with_words(
        &self,
        calls: Vec<String>,
        wanted: &Wanted,
    ) -> Result<Vec<String>, ProviderError> {
        let fields = ["call_uuid", "transcript", "utterances", "parts"];
        let firsts = by_key(self.items(calls, Some(&fields)).await?);
        let mut matching = Vec::new();
        for (call, first) in firsts {
            let alone = item::parts(&first) == Some(1);
            let mut items = vec![first];
            if !alone && !item::has_words(&items, wanted) {
                items = self.whole(&item::call_of(&call)).await?;
            }
            if item::has_words(&items, wanted) {
                matching.push(call);
            }
        }
        Ok(matching)
    }
}

#[async_trait]
impl CallStore for DynamoCalls {
    async fn get(&self, call: &CallId) -> Result<Option<CallRecord>, ProviderError> {
        let Some(item) = self.item(&item::key(call), Some(&FIELDS)).await? else {
            return Ok(None);
        };
        item::read(&item).map(Some).map_err(|unreadable| {
            let detail = format!("the record {}: {}", unreadable.key, unreadable.problem);
            ProviderError::new(PROVIDER, ProviderErrorKind::Protocol).with_detail(detail)
        })
    }

    async fn lines(&self, call: &CallId, after: u64) -> Result<Vec<Utterance>, ProviderError> {
        let items = self.whole(call).await?;
        let mut lines: Vec<_> = items.iter().flat_map(item::lines).collect();
        lines.retain(|line| line.seq > after);
        // Writers that retry may leave a line twice.
        lines.sort_by_key(|line| line.seq);
        lines.dedup_by_key(|line| line.seq);
        Ok(lines)
    }

    async fn list(&self, query: &CallQuery) -> Result<CallPage, ProviderError> {
        let wanted = query.text.as_ref().map(|text| Wanted::new(text.reveal()));
        let mut walk = Walk::new(&self.table, query)?;
        if wanted.as_ref().is_some_and(Wanted::is_empty) {
            return Ok(CallPage::default());
        }
        let most = if wanted.is_some() {
            SEARCHED
        } else {
            LOOKED_AT
        };
        let (mut page, mut looked_at) = (CallPage::default(), 0);
        while page.calls.len() < query.limit && looked_at < most {
            let room = query.limit - page.calls.len();
            let found = walk.some(&self.dynamo, room.clamp(LEAST, BATCH)).await?;
            if found.is_empty() {
                page.next = None;
                return Ok(page);
            }
            looked_at += found.len();
            page.next = found.last().map(|last| last.place.cursor());
            let (mut records, unreadable) = self.records(found, query).await?;
            page.unreadable.extend(unreadable);
            if let Some(wanted) = &wanted {
                let keys = records.iter().map(|(place, _)| place.call.clone());
                let matching = self.with_words(keys.collect(), wanted).await?;
                records.retain(|(place, _)| matching.contains(&place.call));
            }
            if records.len() > room {
                records.truncate(room);
                page.next = records.last().map(|(place, _)| place.cursor());
                page.calls
                    .extend(records.into_iter().map(|(_, record)| record));
                return Ok(page);
            }
            page.calls
                .extend(records.into_iter().map(|(_, record)| record));
        }
        if walk.next(&self.dynamo).await?.is_none() {
            page.next = None;
        }
        Ok(page)
    }

    async fn totals(&self, span: Span, by: GroupBy) -> Result<TotalsPage, ProviderError> {
        let query = CallQuery {
            from: Some(span.from),
            to: Some(span.to),
            limit: usize::MAX,
            ..CallQuery::default()
        };
        let mut walk = Walk::new(&self.table, &query)?;
        let (mut adder, mut page) = (Adder::new(by), TotalsPage::default());
        loop {
            let found = walk.some(&self.dynamo, BATCH).await?;
            if found.is_empty() {
                break;
            }
            let (records, unreadable) = self.records(found, &query).await?;
            page.unreadable.extend(unreadable);
            for (_, record) in &records {
                adder.add(record);
            }
        }
        page.groups = adder.finish();
        Ok(page)
    }

    async fn note(&self, call: &CallId, note: &CallNote) -> Result<(), ProviderError> {
        write::note(&self.dynamo, &self.table, call, note).await
    }

    async fn close(&self, call: &CallId, note: &CallNote) -> Result<bool, ProviderError> {
        write::close(&self.dynamo, &self.table, call, note).await
    }

    async fn expire(&self, silent: Timestamp) -> Result<Vec<CallRecord>, ProviderError> {
        let query = CallQuery {
            limit: usize::MAX,
            ..CallQuery::live()
        };
        let mut walk = Walk::new(&self.table, &query)?;
        let mut live = Vec::new();
        while let Some(found) = walk.next(&self.dynamo).await? {
            live.push(found.place.call);
        }
        // Signs of life are not in the index: it would be written with each of them.
        let items = self.items(live, Some(&FIELDS)).await?;
        let mut closed = Vec::new();
        for mut record in items.iter().filter_map(|item| item::read(item).ok()) {
            let Some(alive) = record.alive.filter(|alive| *alive < silent) else {
                continue;
            };
            if record.status != CallStatus::InProgress {
                continue;
            }
            let lines = self.lines(&record.id, 0).await?;
            record.abandon(lines.iter().map(|line| line.at).max());
            if write::abandon(&self.dynamo, &self.table, &record, alive).await? {
                closed.push(record);
            }
        }
        Ok(closed)
    }
}

impl DynamoCalls {
    /// What can be read and is wanted, in the same order, and what cannot be read.
    async fn records(
        &self,
        mut found: Vec<Found>,
        query: &CallQuery,
    ) -> Result<(Vec<(Place, CallRecord)>, Vec<Unreadable>), ProviderError> {
        self.complete(&mut found).await?;
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for Found { place, item } in found {
            match item::read(&item) {
                Ok(record) if query.wants(&record) => records.push((place, record)),
                Ok(_) => {}
                Err(bad) => {
                    warn!(
                        key = bad.key,
                        problem = bad.problem,
                        "a call record is left out"
                    );
                    unreadable.push(bad);
                }
            }
        }
        Ok((records, unreadable))
    }
}

fn key_of(found: &Found) -> String {
    found.place.call.clone()
}

fn by_key(items: Vec<Item>) -> HashMap<String, Item> {
    let keyed = items.into_iter().filter_map(|item| {
        let key = item::text(&item, "call_uuid")?.to_owned();
        Some((key, item))
    });
    keyed.collect()
}

/// An expression that names these attributes; some are words of the expression language.
fn projection(fields: &[&str]) -> (String, HashMap<String, String>) {
    let names: Vec<_> = (0..fields.len()).map(|n| format!("#f{n}")).collect();
    let expression = names.join(", ");
    let fields = fields.iter().map(|field| (*field).to_owned());
    (expression, names.into_iter().zip(fields).collect())
}

/// A request that the SDK refuses to build: a bug of ours.
fn unbuilt(error: aws_sdk_dynamodb::error::BuildError) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
        .with_detail("a request could not be built")
        .with_source(error)
}

const PROVIDER: &str = "dynamodb calls";
/// BatchGetItem reads so many items at most (API reference).
const BATCH: usize = 100;
/// Few round trips, also for short pages of a picky search.
const LEAST: usize = 25;
/// Calls whose words are read for one page at most.
const SEARCHED: usize = 500;
/// Records that are looked at for one page at most.
const LOOKED_AT: usize = 5_000;
const FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
const LONGEST_PAUSE: std::time::Duration = std::time::Duration::from_secs(2);
