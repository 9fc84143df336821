//! The shared state of any number of nodes, in a DynamoDB table.
//!
//! One item is one record: key `collection` (S) and `id` (S), `value` (S, JSON), `version` (N),
//! `expires` (N, seconds of Unix time, the table's time to live), and one attribute `n_NAME` (N)
//! for each counter. Writes are transactions, also single ones, so that a retry of one whose
//! answer was lost does not count twice; each costs two write units for each kilobyte of each
//! record.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, ConditionCheck, Delete, TransactWriteItem, Update},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Change, Expect, IdRange, Key, Record, StateStore, Write, check, conflict, expiry_second,
};
use crate::{
    dynamodb::{Column, Dynamo, Table, failure},
    error::{ProviderError, ProviderErrorKind},
};

/// Keeps records in a table, `esther-state` by its usual name.
#[derive(Clone, Debug)]
pub struct DynamoState {
    dynamo: Dynamo,
    table: String,
}

type Item = HashMap<String, AttributeValue>;

impl DynamoState {
    /// The records of the table called `table`.
    pub fn new(dynamo: Dynamo, table: impl Into<String>) -> Self {
        Self {
            dynamo,
            table: table.into(),
        }
    }

    /// What a table of this store looks like.
    pub fn table(name: impl Into<String>) -> Table {
        Table::new(name, Column::text("collection"))
            .with_range(Column::text("id"))
            .with_expiry("expires")
    }

    /// One try. `None`: somebody else writes the same record right now.
    async fn try_to_apply(
        &self,
        items: Vec<TransactWriteItem>,
        token: &str,
    ) -> Option<Result<(), ProviderError>> {
        let request = self.dynamo.client().transact_write_items();
        let request = request.set_transact_items(Some(items));
        match request.client_request_token(token).send().await {
            Ok(_) => Some(Ok(())),
            Err(failed) => match cancelled(&failed) {
                Some(Cancelled::Condition) => Some(Err(conflict(PROVIDER))),
                Some(Cancelled::Crowd) => None,
                None => Some(Err(failure(PROVIDER, failed))),
            },
        }
    }
}

#[async_trait]
impl StateStore for DynamoState {
    async fn get(&self, key: &Key, now: Timestamp) -> Result<Option<Record>, ProviderError> {
        let request = self.dynamo.client().get_item().table_name(&self.table);
        let request = request.set_key(Some(key_of(key))).consistent_read(true);
        let answer = request.send().await.map_err(|e| failure(PROVIDER, e))?;
        let item = answer.item.filter(|item| !is_over(item, now));
        item.map(record).transpose()
    }

    async fn list(
        &self,
        collection: &str,
        range: &IdRange,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Record>, ProviderError> {
        let mut found = Vec::new();
        let mut from = None;
        while found.len() < limit {
            let mut request = self
                .dynamo
                .client()
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .expression_attribute_names("#collection", "collection")
                .expression_attribute_values(":collection", text(collection))
                .limit(i32::try_from(limit - found.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(from);
            let mut condition = "#collection = :collection".to_owned();
            // A key condition may name the sort key once, and `BETWEEN` includes both ends.
            match (&range.after, &range.until) {
                (None, None) => {}
                (Some(after), None) => {
                    condition += " AND #id > :after";
                    request = request.expression_attribute_values(":after", text(after));
                }
                (after, Some(until)) => {
                    let after = after.as_deref().unwrap_or_default();
                    // The first text that is longer than `after` and begins with it.
                    let first = format!("{after}\u{0}");
                    if first > *until {
                        break;
                    }
                    condition += " AND #id BETWEEN :after AND :until";
                    request = request
                        .expression_attribute_values(":after", text(first))
                        .expression_attribute_values(":until", text(until));
                }
            }
            if range.after.is_some() || range.until.is_some() {
                request = request.expression_attribute_names("#id", "id");
            }
            let answer = request
                .key_condition_expression(condition)
                .send()
                .await
                .map_err(|e| failure(PROVIDER, e))?;
            for item in answer.items.unwrap_or_default() {
                if !is_over(&item, now) {
                    found.push(record(item)?);
                }
            }
            from = answer.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        Ok(found)
    }

    async fn apply(&self, writes: Vec<Write>, now: Timestamp) -> Result<(), ProviderError> {
        check(PROVIDER, &writes)?;
        let items = writes
            .into_iter()
            .map(|write| Expression::of(write, now).build(&self.table));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let token = Uuid::new_v4().to_string();
        let mut pause = FIRST_PAUSE;
        for _ in 0..TRIES {
            if let Some(done) = self.try_to_apply(items.clone(), &token).await {
                return done;
            }
            // Jitter keeps those who met from meeting again.
            let share = f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0;
            tokio::time::sleep(pause.mul_f64(0.5 + share)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(
            ProviderError::new(PROVIDER, ProviderErrorKind::Throttled { retry_after: None })
                .with_detail("too many write the same record"),
        )
    }
}

enum Cancelled {
    /// A condition does not hold.
    Condition,
    /// Others write the same items at this moment.
    Crowd,
}

/// Why a transaction was cancelled (DynamoDB API reference, `TransactWriteItems`).
fn cancelled<R>(failed: &SdkError<TransactWriteItemsError, R>) -> Option<Cancelled> {
    match failed.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            let codes = || {
                cancelled
                    .cancellation_reasons()
                    .iter()
                    .filter_map(|reason| reason.code())
            };
            if codes().any(|code| code == "ConditionalCheckFailed") {
                Some(Cancelled::Condition)
            } else {
                codes()
                    .any(|code| code == "TransactionConflict")
                    .then_some(Cancelled::Crowd)
            }
        }
        TransactWriteItemsError::TransactionInProgressException(_) => Some(Cancelled::Crowd),
        _ => None,
    }
}

/// A write in DynamoDB's language.
struct Expression {
    key: Key,
    delete: bool,
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Expression {
    fn of(write: Write, now: Timestamp) -> Self {
        let mut this = Self {
            key: write.key,
            delete: write.change == Change::Delete,
            set: Vec::new(),
            remove: Vec::new(),
            add: Vec::new(),
            conditions: Vec::new(),
            names: HashMap::new(),
            values: HashMap::new(),
        };
        this.expect(write.expect, now);
        if let Change::Set(value) = write.change {
            this.name("#value", "value");
            this.name("#version", "version");
            this.name("#expires", "expires");
            this.values
                .insert(":value".to_owned(), text(value.to_string()));
            this.values.insert(":zero".to_owned(), number(0));
            this.values.insert(":one".to_owned(), number(1));
            this.set.push("#value = :value".to_owned());
            this.set
                .push("#version = if_not_exists(#version, :zero) + :one".to_owned());
            match write.expires {
                Some(at) => {
                    this.values
                        .insert(":expires".to_owned(), number(expiry_second(at)));
                    this.set.push("#expires = :expires".to_owned());
                }
                None => this.remove.push("#expires".to_owned()),
            }
        }
        for (nth, add) in write.add.into_iter().enumerate() {
            let (name, by) = (format!("#n{nth}"), format!(":n{nth}"));
            this.names
                .insert(name.clone(), format!("{COUNTER}{}", add.counter));
            this.values.insert(by.clone(), number(add.by));
            this.add.push(format!("{name} {by}"));
            if let Some(most) = add.at_most {
                let limit = format!(":most{nth}");
                this.values
                    .insert(limit.clone(), number(most.saturating_sub(add.by)));
                let fits = format!("{name} <= {limit}");
                // A counter that is not there is 0.
                this.conditions.push(if add.by <= most {
                    format!("(attribute_not_exists({name}) OR {fits})")
                } else {
                    fits
                });
            }
        }
        this
    }

    /// What is over counts as absent though the table may keep it for days.
    fn expect(&mut self, expect: Expect, now: Timestamp) {
        let condition = match expect {
            Expect::Anything => return,
            Expect::Absent => "(attribute_not_exists(#version) OR #expires <= :now)",
            Expect::Version(version) => {
                self.values
                    .insert(":version".to_owned(), version_number(version));
                "(#version = :version AND (attribute_not_exists(#expires) OR #expires > :now))"
            }
        };
        self.name("#version", "version");
        self.name("#expires", "expires");
        self.values
            .insert(":now".to_owned(), number(now.as_second()));
        self.conditions.push(condition.to_owned());
    }

    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty() && self.add.is_empty()
    }

    fn name(&mut self, short: &str, name: &str) {
        self.names.insert(short.to_owned(), name.to_owned());
    }

    fn build(mut self, table: &str) -> Result<TransactWriteItem, ProviderError> {
        if !self.delete && self.conditions.is_empty() && self.is_empty() {
            // A check needs a condition; this one holds of any item, and of none.
            self.name("#version", "version");
            self.conditions
                .push("(attribute_not_exists(#version) OR attribute_exists(#version))".to_owned());
        }
        let condition = (!self.conditions.is_empty()).then(|| self.conditions.join(" AND "));
        let names = (!self.names.is_empty()).then_some(self.names);
        let values = (!self.values.is_empty()).then_some(self.values);
        let key = Some(key_of(&self.key));
        let mut update = Vec::new();
        for (word, parts) in [
            ("SET", self.set),
            ("REMOVE", self.remove),
            ("ADD", self.add),
        ] {
            if !parts.is_empty() {
                update.push(format!("{word} {}", parts.join(", ")));
            }
        }
        let item = TransactWriteItem::builder();
        let built = if self.delete {
            Delete::builder()
                .table_name(table)
                .set_key(key)
                .set_condition_expression(condition)
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .build()
                .map(|delete| item.delete(delete))
        } else if update.is_empty() {
            ConditionCheck::builder()
                .table_name(table)
                .set_key(key)
                .condition_expression(condition.unwrap_or_default())
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .build()
                .map(|check| item.condition_check(check))
        } else {
            Update::builder()
                .table_name(table)
                .set_key(key)
                .update_expression(update.join(" "))
                .set_condition_expression(condition)
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .build()
                .map(|update| item.update(update))
        };
        built.map(|item| item.build()).map_err(|failed| {
            ProviderError::new(PROVIDER, ProviderErrorKind::Invalid).with_source(failed)
        })
    }
}

fn record(mut item: Item) -> Result<Record, ProviderError> {
    let mut part = |name: &str| match item.remove(name) {
        Some(AttributeValue::S(text)) => text,
        _ => String::new(),
    };
    let key = Key::new(part("collection"), part("id"));
    let value = part("value");
    let unreadable = || {
        ProviderError::new(PROVIDER, ProviderErrorKind::Protocol).with_detail(format!(
            "the record {}/{} is not one of ours",
            key.collection, key.id
        ))
    };
    let version = match item.remove("version") {
        Some(AttributeValue::N(version)) => version.parse().map_err(|_| unreadable())?,
        Some(_) => return Err(unreadable()),
        None => 0,
    };
    let value = if version == 0 {
        serde_json::Value::Null
    } else {
        serde_json::from_str(&value).map_err(|failed| unreadable().with_source(failed))?
    };
    let counters = item
        .into_iter()
        .filter_map(|(name, value)| {
            let counter = name.strip_prefix(COUNTER)?.to_owned();
            Some((counter, value.as_n().ok()?.parse().ok()?))
        })
        .collect();
    Ok(Record {
        key,
        value,
        version,
        counters,
    })
}

fn is_over(item: &Item, now: Timestamp) -> bool {
    let expires = item.get("expires").and_then(|at| at.as_n().ok());
    let expires = expires.and_then(|at| at.parse::<i64>().ok());
    expires.is_some_and(|at| at <= now.as_second())
}

fn key_of(key: &Key) -> Item {
    HashMap::from([
        ("collection".to_owned(), text(&key.collection)),
        ("id".to_owned(), text(&key.id)),
    ])
}

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn version_number(version: u64) -> AttributeValue {
    AttributeValue::N(version.to_string())
}

const PROVIDER: &str = "dynamodb state";

/// What the attribute of a counter begins with.
const COUNTER: &str = "n_";

/// Tries while others write the same record: some seconds in all.
const TRIES: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
