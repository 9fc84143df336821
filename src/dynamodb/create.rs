//! Looking at tables, and making those that are missing.

use std::time::Duration;

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{
        BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate, IndexStatus,
        KeySchemaElement, ProvisionedThroughput, TableDescription, TableStatus,
        TimeToLiveSpecification, TimeToLiveStatus,
    },
};
use tracing::info;

use super::{Dynamo, Index, PROVIDER, Table, failure};
use crate::error::{ProviderError, ProviderErrorKind};

/// What there is of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableState {
    /// No such table.
    Missing,
    /// There is one with another key, which nothing here can mend.
    WrongKey,
    /// There is one.
    There {
        /// The names of the indexes that it lacks, or that it has with another key.
        missing_indexes: Vec<&'static str>,
    },
}

/// What [`Dynamo::create_missing`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Made {
    /// A table, with its indexes.
    Table(String),
    /// An index of a table that was there.
    Index {
        /// The table.
        table: String,
        /// The index.
        index: &'static str,
    },
}

impl Dynamo {
    /// What there is of `table`.
    ///
    /// # Errors
    ///
    /// When the server cannot be asked, or does not allow `DescribeTable`.
    pub async fn check(&self, table: &Table) -> Result<TableState, ProviderError> {
        let Some(found) = self.describe(table).await? else {
            return Ok(TableState::Missing);
        };
        if !is_key(found.key_schema(), &table.key().map_err(unbuilt)?) {
            return Ok(TableState::WrongKey);
        }
        let missing_indexes = missing_indexes(table, &found)?
            .into_iter()
            .map(|index| index.name)
            .collect();
        Ok(TableState::There { missing_indexes })
    }

    /// Makes what is missing of `tables`, waits until it can be used, and says what it made.
    /// Several nodes may do it at once.
    ///
    /// # Errors
    ///
    /// When the server cannot be asked or does not allow it, when a table has another key
    /// ([`Invalid`](ProviderErrorKind::Invalid)), and when the server takes more than five
    /// minutes for one of them ([`TimedOut`](ProviderErrorKind::TimedOut)).
    pub async fn create_missing(&self, tables: &[Table]) -> Result<Vec<Made>, ProviderError> {
        let mut made = Vec::new();
        for table in tables {
            if self.describe(table).await?.is_none() && self.create(table).await? {
                info!(table = table.name, "made a table");
                made.push(Made::Table(table.name.clone()));
            }
            let mut found = self.settled(table).await?;
            if !is_key(found.key_schema(), &table.key().map_err(unbuilt)?) {
                return Err(wrong_key(table));
            }
            // One at a time: an update makes at most one index (UpdateTable, API reference).
            while let Some(index) = missing_indexes(table, &found)?.first() {
                if found_index(&found, index.name) {
                    return Err(wrong_index(table, index));
                }
                if self.add(table, index, &found).await? {
                    info!(table = table.name, index = index.name, "made an index");
                    made.push(Made::Index {
                        table: table.name.clone(),
                        index: index.name,
                    });
                }
                found = self.settled(table).await?;
            }
            self.expire(table).await?;
        }
        Ok(made)
    }

    async fn describe(&self, table: &Table) -> Result<Option<TableDescription>, ProviderError> {
        let asked = self.client.describe_table().table_name(&table.name);
        match asked.send().await {
            Ok(answer) => Ok(answer.table),
            Err(error) => match failure(PROVIDER, error) {
                error if *error.kind() == ProviderErrorKind::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    /// `false` when another node was faster.
    async fn create(&self, table: &Table) -> Result<bool, ProviderError> {
        let indexes: Result<Vec<_>, _> = table.indexes.iter().map(Index::global).collect();
        let indexes = indexes.map_err(unbuilt)?;
        let asked = self
            .client
            .create_table()
            .table_name(&table.name)
            .set_attribute_definitions(Some(table.definitions(&table.indexes).map_err(unbuilt)?))
            .set_key_schema(Some(table.key().map_err(unbuilt)?))
            .set_global_secondary_indexes((!indexes.is_empty()).then_some(indexes))
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await;
        unless_in_use(asked.map_err(|error| failure(PROVIDER, error)))
    }

    /// `false` when the table was busy with another change.
    async fn add(
        &self,
        table: &Table,
        index: &Index,
        found: &TableDescription,
    ) -> Result<bool, ProviderError> {
        let one = std::slice::from_ref(index);
        let create = CreateGlobalSecondaryIndexAction::builder()
            .index_name(index.name)
            .set_key_schema(Some(index.key().map_err(unbuilt)?))
            .projection(index.projection())
            .set_provisioned_throughput(provisioned(found)?)
            .build()
            .map_err(unbuilt)?;
        let asked = self
            .client
            .update_table()
            .table_name(&table.name)
            .set_attribute_definitions(Some(table.definitions(one).map_err(unbuilt)?))
            .global_secondary_index_updates(
                GlobalSecondaryIndexUpdate::builder().create(create).build(),
            )
            .send()
            .await;
        unless_in_use(asked.map_err(|error| failure(PROVIDER, error)))
    }

    /// The table once it and all its indexes can be used.
    async fn settled(&self, table: &Table) -> Result<TableDescription, ProviderError> {
        for pause in pauses() {
            if let Some(found) = self.describe(table).await?
                && matches!(
                    found.table_status(),
                    None | Some(TableStatus::Active | TableStatus::Updating)
                )
                && found.global_secondary_indexes().iter().all(|index| {
                    matches!(
                        index.index_status(),
                        None | Some(IndexStatus::Active | IndexStatus::Updating)
                    )
                })
            {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
        }
        Err(
            ProviderError::new(PROVIDER, ProviderErrorKind::TimedOut).with_detail(format!(
                "the table {} is still not ready; wait for it and start again",
                table.name
            )),
        )
    }

    async fn expire(&self, table: &Table) -> Result<(), ProviderError> {
        let Some(attribute) = table.expires else {
            return Ok(());
        };
        let asked = self.client.describe_time_to_live().table_name(&table.name);
        let answer = asked.send().await.map_err(|e| failure(PROVIDER, e))?;
        let found = answer.time_to_live_description;
        let status = found.and_then(|found| found.time_to_live_status);
        if matches!(
            status,
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
        ) {
            return Ok(());
        }
        let specification = TimeToLiveSpecification::builder()
            .attribute_name(attribute)
            .enabled(true)
            .build()
            .map_err(unbuilt)?;
        let asked = self
            .client
            .update_time_to_live()
            .table_name(&table.name)
            .time_to_live_specification(specification);
        match asked.send().await.map_err(|e| failure(PROVIDER, e)) {
            // Another node was faster.
            Err(error) if is_already_enabled(&error) => Ok(()),
            result => result.map(drop),
        }
    }
}

fn missing_indexes<'t>(
    table: &'t Table,
    found: &TableDescription,
) -> Result<Vec<&'t Index>, ProviderError> {
    let mut missing = Vec::new();
    for index in &table.indexes {
        let key = index.key().map_err(unbuilt)?;
        let there = found.global_secondary_indexes().iter().any(|candidate| {
            candidate.index_name() == Some(index.name) && is_key(candidate.key_schema(), &key)
        });
        if !there {
            missing.push(index);
        }
    }
    Ok(missing)
}

fn found_index(found: &TableDescription, name: &str) -> bool {
    let mut indexes = found.global_secondary_indexes().iter();
    indexes.any(|index| index.index_name() == Some(name))
}

fn is_key(found: &[KeySchemaElement], wanted: &[KeySchemaElement]) -> bool {
    found.len() == wanted.len() && wanted.iter().all(|part| found.contains(part))
}

/// An index of a table with provisioned throughput gets as much as the table has.
fn provisioned(found: &TableDescription) -> Result<Option<ProvisionedThroughput>, ProviderError> {
    let per_request = (found.billing_mode_summary())
        .and_then(|summary| summary.billing_mode())
        .is_some_and(|mode| *mode == BillingMode::PayPerRequest);
    let units = found.provisioned_throughput();
    let read = units.and_then(|units| units.read_capacity_units());
    let write = units.and_then(|units| units.write_capacity_units());
    match (read, write) {
        (Some(read @ 1..), Some(write @ 1..)) if !per_request => ProvisionedThroughput::builder()
            .read_capacity_units(read)
            .write_capacity_units(write)
            .build()
            .map(Some)
            .map_err(unbuilt),
        _ => Ok(None),
    }
}

fn unless_in_use<T>(asked: Result<T, ProviderError>) -> Result<bool, ProviderError> {
    match asked {
        Ok(_) => Ok(true),
        Err(error) if *error.kind() == ProviderErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_already_enabled(error: &ProviderError) -> bool {
    let already = error
        .detail()
        .is_some_and(|detail| detail.contains("already enabled"));
    *error.kind() == ProviderErrorKind::Invalid && already
}

fn wrong_key(table: &Table) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Invalid).with_detail(format!(
        "the table {} has another key than {}; name another table, or move this one away",
        table.name, table.hash.name
    ))
}

fn wrong_index(table: &Table, index: &Index) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Invalid).with_detail(format!(
        "the index {} of the table {} has another key than {}; delete it, then start again",
        index.name, table.name, index.hash.name
    ))
}

/// A request that the SDK refuses to build: a bug of ours.
fn unbuilt(error: BuildError) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
        .with_detail("a request could not be built")
        .with_source(error)
}

/// Short first, since servers for tests are quick; five minutes in all.
fn pauses() -> impl Iterator<Item = Duration> {
    let quick = std::iter::repeat_n(Duration::from_millis(50), 20);
    quick.chain(std::iter::repeat_n(Duration::from_secs(2), 150))
}
