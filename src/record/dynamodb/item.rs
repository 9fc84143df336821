//! Records as items of the table, and back.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{
    call::{CallId, Party, word},
    model::Usage,
    record::{CallRecord, Latency, Unreadable, words::Wanted},
};

pub(super) use crate::transcript::dynamodb::item::{key, lines, part_key};

pub(super) type Item = HashMap<String, AttributeValue>;

/// What a record is read from, besides its lines.
pub(super) const FIELDS: [&str; 22] = [
    "call_uuid",
    "phone_number",
    "direction",
    "status",
    "outcome",
    "start_time",
    "end_time",
    "duration_seconds",
    "transfer",
    "usage",
    "cost_usd",
    "owner_alias",
    "campaign",
    "prompt_version",
    "reply_count",
    "reply_latency_ms",
    "reply_latency_max_ms",
    "md_file_path",
    "alive_at",
    "created_at",
    "updated_at",
    "parts",
];

/// The call whose first item has this key. A `%` that others wrote stands for itself.
pub(super) fn call_of(key: &str) -> CallId {
    CallId::new(key.replace("%23", "#").replace("%25", "%"))
}

/// How many items hold the transcript, where the writer says so.
pub(super) fn parts(item: &Item) -> Option<u64> {
    item.get("parts")?.as_n().ok()?.parse().ok()
}

/// A text attribute.
pub(super) fn text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// A record, or what is wrong with its item.
pub(super) fn read(item: &Item) -> Result<CallRecord, Unreadable> {
    let record = || -> Result<CallRecord, &'static str> {
        let id = call_of(get_text(item, "call_uuid")?.ok_or("call_uuid")?);
        let direction = get_word(item, "direction")?.ok_or("direction")?;
        let started = get_time(item, "start_time")?.ok_or("start_time")?;
        let mut record = CallRecord::new(id, direction, started);
        record.remote = get_text(item, "phone_number")?.map(Party::new);
        record.status = get_word(item, "status")?.ok_or("status")?;
        record.outcome = get_word(item, "outcome")?;
        record.ended = get_time(item, "end_time")?;
        record.duration = get_number(item, "duration_seconds")?
            .map(|length| Duration::try_from_secs_f64(length).map_err(|_| "duration_seconds"))
            .transpose()?;
        record.transfer = get_word(item, "transfer")?;
        record.usage = usage(item)?;
        record.cost_usd = get_number(item, "cost_usd")?;
        record.owner = get_text(item, "owner_alias")?.map(str::to_owned);
        record.campaign = get_text(item, "campaign")?.map(str::to_owned);
        record.prompt_version = get_text(item, "prompt_version")?.map(str::to_owned);
        record.latency = latency(item)?;
        record.file = get_text(item, "md_file_path")?.map(str::to_owned);
        record.alive = get_time(item, "alive_at")?;
        record.created = get_time(item, "created_at")?;
        record.updated = get_time(item, "updated_at")?;
        Ok(record)
    };
    record().map_err(|attribute| {
        let key = text(item, "call_uuid").unwrap_or("an item whose key is no text");
        Unreadable::new(
            key,
            format!("{attribute} is missing or has no value of its kind"),
        )
    })
}

/// Whether these items of one call together have the words.
pub(super) fn has_words(items: &[Item], wanted: &Wanted) -> bool {
    let texts = items.iter().filter_map(|item| text(item, "transcript"));
    if wanted.are_in(texts) {
        return true;
    }
    let said: Vec<_> = items.iter().flat_map(lines).collect();
    wanted.are_in(said.iter().map(|line| line.text.as_str()))
}

fn usage(item: &Item) -> Result<Usage, &'static str> {
    let Some(value) = item.get("usage") else {
        return Ok(Usage::default());
    };
    let map = value.as_m().map_err(|_| "usage")?;
    let tokens = |name| match map.get(name) {
        None => Ok(0),
        Some(value) => {
            let tokens = value.as_n().ok().and_then(|digits| digits.parse().ok());
            tokens.ok_or("usage")
        }
    };
    Ok(Usage {
        input_speech_tokens: tokens("input_speech_tokens")?,
        input_text_tokens: tokens("input_text_tokens")?,
        output_speech_tokens: tokens("output_speech_tokens")?,
        output_text_tokens: tokens("output_text_tokens")?,
    })
}

fn latency(item: &Item) -> Result<Option<Latency>, &'static str> {
    let Some(replies) = get_number(item, "reply_count")?.filter(|replies| *replies >= 1.0) else {
        return Ok(None);
    };
    let millis = |name| -> Result<Duration, &'static str> {
        let millis = get_number(item, name)?.ok_or(name)?;
        Duration::try_from_secs_f64(millis / 1e3).map_err(|_| name)
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count, checked to be one at least; the cast saturates"
    )]
    let replies = replies as u64;
    Ok(Some(Latency {
        replies,
        mean: millis("reply_latency_ms")?,
        longest: millis("reply_latency_max_ms")?,
    }))
}

/// `NULL` is what some writers make of nothing.
fn known<'i>(item: &'i Item, name: &str) -> Option<&'i AttributeValue> {
    item.get(name).filter(|value| !value.is_null())
}

fn get_text<'i>(item: &'i Item, name: &'static str) -> Result<Option<&'i str>, &'static str> {
    let value = known(item, name).map(|value| value.as_s().map_err(|_| name));
    Ok(value.transpose()?.map(String::as_str))
}

fn get_number(item: &Item, name: &'static str) -> Result<Option<f64>, &'static str> {
    let digits = known(item, name).map(|value| value.as_n().map_err(|_| name));
    let digits = digits.transpose()?;
    digits
        .map(|digits| digits.parse().map_err(|_| name))
        .transpose()
}

fn get_word<T: DeserializeOwned>(
    item: &Item,
    name: &'static str,
) -> Result<Option<T>, &'static str> {
    get_text(item, name)?
        .map(|text| word(text).ok_or(name))
        .transpose()
}

fn get_time(item: &Item, name: &'static str) -> Result<Option<Timestamp>, &'static str> {
    get_text(item, name)?
        .map(|text| text.parse().map_err(|_| name))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_back_to_their_calls() {
        for id in ["a", "a#2", "a%232", "a%25", "a%", "%#%", "63f61863-4a51"] {
            let call = CallId::new(id);
            assert_eq!(call_of(&key(&call)), call);
            assert!(!key(&call).contains('#'));
            assert_eq!(part_key(&call, 2), format!("{}#2", key(&call)));
        }
    }

    fn item(fields: &[(&str, AttributeValue)]) -> Item {
        let fields = fields.iter();
        fields
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    fn text_of(value: &str) -> AttributeValue {
        AttributeValue::S(value.to_owned())
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_key() {
        let good = [
            ("call_uuid", text_of("a")),
            ("direction", text_of("inbound")),
            ("status", text_of("completed")),
            ("start_time", text_of("2026-06-22T20:35:32.000Z")),
            ("something foreign", AttributeValue::Bool(true)),
            ("outcome", AttributeValue::Null(true)),
        ];
        assert!(read(&item(&good)).is_ok());
        for (name, wrong) in [
            ("direction", text_of("sideways")),
            ("status", AttributeValue::N("1".to_owned())),
            ("start_time", text_of("yesterday")),
            ("outcome", text_of("who knows")),
            ("duration_seconds", text_of("long")),
            ("duration_seconds", AttributeValue::N("-1".to_owned())),
            ("usage", AttributeValue::L(Vec::new())),
            ("cost_usd", AttributeValue::Bool(true)),
        ] {
            let mut bad = item(&good);
            bad.insert(name.to_owned(), wrong);
            let unreadable = read(&bad).unwrap_err();
            assert_eq!(unreadable.key, "a");
            assert!(unreadable.problem.contains(name), "{unreadable:?}");
        }
        for name in ["direction", "status", "start_time"] {
            let mut bad = item(&good);
            bad.remove(name);
            assert!(read(&bad).is_err(), "{name}");
        }
    }
}
