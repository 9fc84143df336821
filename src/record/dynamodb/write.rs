//! Changes of single fields, which disturb nobody who writes lines meanwhile.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{PROVIDER, item};
use crate::{
    call::{CallId, CallStatus, Direction, Party},
    clock,
    dynamodb::{Dynamo, failure},
    error::{ProviderError, ProviderErrorKind},
    record::{
        CallNote, CallRecord,
        entry::{millis, seconds, stamp},
    },
};

/// Keeps what `note` names. The record of an unknown call is made; two conditions that exclude
/// each other keep that from happening twice.
pub(super) async fn note(
    dynamo: &Dynamo,
    table: &str,
    call: &CallId,
    note: &CallNote,
) -> Result<(), ProviderError> {
    let now = clock::wall();
    let (known, new) = (Changes::of(note, now), Changes::of_new(note, now));
    // Twice in a row only when the record is made and deleted again in between.
    for _ in 0..TRIES {
        if known
            .write(dynamo, table, call, "attribute_exists(call_uuid)")
            .await?
        {
            return Ok(());
        }
        if new
            .write(dynamo, table, call, "attribute_not_exists(call_uuid)")
            .await?
        {
            return Ok(());
        }
    }
    Err(ProviderError::new(PROVIDER, ProviderErrorKind::Conflict)
        .with_detail("the record comes and goes"))
}

/// Ends a call as `note` says, where it has neither ended nor given a sign of life.
pub(super) async fn close(
    dynamo: &Dynamo,
    table: &str,
    call: &CallId,
    note: &CallNote,
) -> Result<bool, ProviderError> {
    let now = clock::wall();
    let mut known = Changes::of(note, now);
    let live = CallStatus::InProgress.as_str().to_owned();
    known.extra.push((":live", AttributeValue::S(live)));
    // Another name for what the changes may name, too.
    known.names.push(("#now", "status"));
    let condition = "#now = :live AND attribute_not_exists(alive_at)";
    if known.write(dynamo, table, call, condition).await? {
        return Ok(true);
    }
    let new = Changes::of_new(note, now);
    new.write(dynamo, table, call, "attribute_not_exists(call_uuid)")
        .await
}

/// Ends a call as `record` says, unless it has ended or given a sign of life since `alive`.
pub(super) async fn abandon(
    dynamo: &Dynamo,
    table: &str,
    record: &CallRecord,
    alive: Timestamp,
) -> Result<bool, ProviderError> {
    let mut changes = Changes::default();
    changes.text("status", record.status.as_str());
    if let Some(outcome) = record.outcome {
        changes.text("outcome", outcome.as_str());
    }
    if let Some(ended) = record.ended {
        changes.text("end_time", stamp(ended));
    }
    if let Some(duration) = record.duration {
        changes.number("duration_seconds", seconds(duration));
    }
    changes.text("updated_at", stamp(clock::wall()));
    changes.extra.push((
        ":live",
        AttributeValue::S(CallStatus::InProgress.as_str().to_owned()),
    ));
    changes
        .extra
        .push((":alive", AttributeValue::S(stamp(alive))));
    let condition = "#status = :live AND alive_at = :alive";
    changes.write(dynamo, table, &record.id, condition).await
}

#[derive(Clone, Default)]
struct Changes {
    set: HashMap<&'static str, AttributeValue>,
    /// Values of the condition alone.
    extra: Vec<(&'static str, AttributeValue)>,
    /// Names of the condition alone.
    names: Vec<(&'static str, &'static str)>,
}

impl Changes {
    fn of(note: &CallNote, now: Timestamp) -> Self {
        let mut changes = Self::default();
        let texts = [
            ("phone_number", note.remote.as_ref().map(Party::reveal)),
            ("direction", note.direction.map(Direction::as_str)),
            ("status", note.status.map(CallStatus::as_str)),
            ("outcome", note.outcome.map(|outcome| outcome.as_str())),
            ("owner_alias", note.owner.as_deref()),
            ("campaign", note.campaign.as_deref()),
            ("md_file_path", note.file.as_deref()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                changes.text(name, text);
            }
        }
        for (name, time) in [("end_time", note.ended), ("alive_at", note.alive)] {
            if let Some(time) = time {
                changes.text(name, stamp(time));
            }
        }
        let numbers = [
            ("duration_seconds", note.duration.map(seconds)),
            ("cost_usd", note.cost_usd),
            (
                "reply_latency_ms",
                note.latency.map(|latency| millis(latency.mean)),
            ),
            (
                "reply_latency_max_ms",
                note.latency.map(|latency| millis(latency.longest)),
            ),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                changes.number(name, number);
            }
        }
        if let Some(latency) = note.latency {
            let replies = AttributeValue::N(latency.replies.to_string());
            changes.set.insert("reply_count", replies);
        }
        changes.text("updated_at", stamp(now));
        changes
    }

    /// For a record that is to be made.
    fn of_new(note: &CallNote, now: Timestamp) -> Self {
        let mut new = Self::of(note, now);
        let started = clock::whole_millis(note.started.unwrap_or(now));
        new.text("start_time", stamp(started));
        new.text("day", started.strftime("%Y-%m-%d").to_string());
        new.text("created_at", stamp(now));
        let direction = note.direction.unwrap_or(Direction::Outbound);
        new.text("direction", direction.as_str());
        let status = note.status.unwrap_or(CallStatus::InProgress);
        new.text("status", status.as_str());
        new
    }

    fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.set.insert(name, AttributeValue::S(value.into()));
    }

    fn number(&mut self, name: &'static str, value: f64) {
        self.set.insert(name, AttributeValue::N(value.to_string()));
    }

    /// `false` when the condition does not hold.
    async fn write(
        &self,
        dynamo: &Dynamo,
        table: &str,
        call: &CallId,
        condition: &str,
    ) -> Result<bool, ProviderError> {
        let mut update = dynamo
            .client()
            .update_item()
            .table_name(table)
            .key("call_uuid", AttributeValue::S(item::key(call)))
            .condition_expression(condition);
        let mut sets = Vec::new();
        for (name, value) in &self.set {
            sets.push(format!("#{name} = :{name}"));
            update = update
                .expression_attribute_names(format!("#{name}"), *name)
                .expression_attribute_values(format!(":{name}"), value.clone());
        }
        for (name, attribute) in &self.names {
            update = update.expression_attribute_names(*name, *attribute);
        }
        for (name, value) in &self.extra {
            update = update.expression_attribute_values(*name, value.clone());
        }
        let sets = format!("SET {}", sets.join(", "));
        match update.update_expression(sets).send().await {
            Ok(_) => Ok(true),
            Err(error) => match failure(PROVIDER, error) {
                error if *error.kind() == ProviderErrorKind::Conflict => Ok(false),
                error => Err(error),
            },
        }
    }
}

const TRIES: usize = 3;
