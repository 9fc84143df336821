//! A live call: the part of its transcript that is written, and how lines are added to it.

use std::time::Instant;

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, Put, TransactWriteItem, Update},
};

use super::{
    Inner, PROVIDER,
    item::{self, Item, time},
    same,
};
use crate::{
    call::CallId,
    clock,
    dynamodb::failure,
    error::{ProviderError, ProviderErrorKind},
    transcript::Utterance,
};

/// The last item of a call's transcript.
#[derive(Debug)]
pub(super) struct Live {
    /// 1 for the first item, which is the call's own.
    part: u64,
    lines: Vec<Utterance>,
    size: usize,
    last: u64,
    /// When the first item was told that the call lives.
    pub(super) told: Instant,
}

impl Live {
    pub(super) fn of(item: &Item, part: u64) -> Self {
        let lines = item.lines();
        Self {
            part,
            size: lines.iter().map(item::size).sum(),
            // An item whose number is missing or too small has the lines all the same.
            last: lines
                .iter()
                .map(|line| line.seq)
                .fold(item.last(), u64::max),
            lines,
            told: clock::now(),
        }
    }

    /// The number of the last line.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The number of the first line that is in this item, or would be.
    pub(super) fn first(&self) -> u64 {
        self.lines.first().map_or(self.last + 1, |line| line.seq)
    }

    pub(super) fn holds(&self, line: &Utterance) -> bool {
        self.lines.iter().any(|kept| same(kept, line))
    }

    /// How many of `lines` still go into this item.
    fn room(&self, lines: &[Utterance]) -> usize {
        let mut size = self.size;
        let fits = lines.iter().take_while(|line| {
            size += item::size(line);
            size <= PART
        });
        fits.count()
    }
}

impl Inner {
    /// Adds `lines`, which are numbered on from what `live` holds.
    pub(super) async fn add(
        &self,
        call: &CallId,
        live: &mut Live,
        mut lines: Vec<Utterance>,
    ) -> Result<(), ProviderError> {
        if let Some(line) = lines.iter().find(|line| item::size(line) > LONGEST) {
            return Err(
                ProviderError::new(PROVIDER, ProviderErrorKind::Invalid).with_detail(format!(
                    "line {} is longer than an item of DynamoDB may be",
                    line.seq
                )),
            );
        }
        while !lines.is_empty() {
            let room = live.room(&lines);
            if room > 0 {
                let rest = lines.split_off(room);
                self.append(call, live, lines).await?;
                lines = rest;
            } else if live.lines.is_empty() {
                // A single line of that size has an item to itself.
                let rest = lines.split_off(1);
                self.append(call, live, lines).await?;
                lines = rest;
            } else {
                self.next_part(call, live).await?;
            }
        }
        Ok(())
    }

    async fn append(
        &self,
        call: &CallId,
        live: &mut Live,
        mut lines: Vec<Utterance>,
    ) -> Result<(), ProviderError> {
        let key = match live.part {
            1 => item::key(call),
            part => item::part_key(call, part),
        };
        let last = live.last + lines.len() as u64;
        let before = live.lines.len();
        live.lines.append(&mut lines);
        let update = "SET utterances = list_append(utterances, :lines), transcript = :text, \
                      last_seq = :last, updated_at = :now";
        let mut asked = self
            .dynamo
            .client()
            .update_item()
            .table_name(&self.table)
            .key(item::KEY, AttributeValue::S(key))
            .condition_expression("last_seq = :before")
            .expression_attribute_values(
                ":lines",
                AttributeValue::L(live.lines[before..].iter().map(item::utterance).collect()),
            )
            .expression_attribute_values(":text", AttributeValue::S(item::transcript(&live.lines)))
            .expression_attribute_values(":last", number(last))
            .expression_attribute_values(":before", number(live.last))
            .expression_attribute_values(":now", AttributeValue::S(time(clock::wall())));
        asked = if live.part == 1 {
            asked.update_expression(format!("{update}, alive_at = :now"))
        } else {
            asked.update_expression(update)
        };
        let answer = asked.send().await;
        if let Err(error) = answer {
            live.lines.truncate(before);
            return Err(failure(PROVIDER, error));
        }
        live.size += live.lines[before..].iter().map(item::size).sum::<usize>();
        live.last = last;
        if live.part == 1 {
            live.told = clock::now();
        }
        Ok(())
    }

    /// Begins the next continuation.
    async fn next_part(&self, call: &CallId, live: &mut Live) -> Result<(), ProviderError> {
        let part = live.part + 1;
        let now = AttributeValue::S(time(clock::wall()));
        let put = Put::builder()
            .table_name(&self.table)
            .item(item::KEY, AttributeValue::S(item::part_key(call, part)))
            .item("part_of", AttributeValue::S(item::key(call)))
            .item("last_seq", number(live.last))
            .item("utterances", AttributeValue::L(Vec::new()))
            .item("transcript", AttributeValue::S(String::new()))
            .item("created_at", now.clone())
            .item("updated_at", now.clone())
            .condition_expression("attribute_not_exists(call_uuid)")
            .build()
            .map_err(unbuilt)?;
        let update = Update::builder()
            .table_name(&self.table)
            .key(item::KEY, AttributeValue::S(item::key(call)))
            .update_expression("SET parts = :part, updated_at = :now, alive_at = :now")
            .condition_expression("parts = :before")
            .expression_attribute_values(":part", number(part))
            .expression_attribute_values(":before", number(live.part))
            .expression_attribute_values(":now", now)
            .build()
            .map_err(unbuilt)?;
        let asked = self
            .dynamo
            .client()
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(put).build())
            .transact_items(TransactWriteItem::builder().update(update).build());
        let answer = asked.send().await;
        answer.map_err(|error| failure(PROVIDER, error))?;
        live.part = part;
        live.lines.clear();
        live.size = 0;
        live.told = clock::now();
        Ok(())
    }
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A request that the SDK refuses to build: a bug of ours.
fn unbuilt(error: BuildError) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
        .with_detail("a request could not be built")
        .with_source(error)
}

/// How much of lines an item gets before the next one is begun.
const PART: usize = 64 << 10;

/// An item may have 400 KB (DynamoDB developer guide, "Quotas").
const LONGEST: usize = 380 << 10;
