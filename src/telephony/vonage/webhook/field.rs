//! Reading fields that may be missing, null, or of another type than documented.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Map, Value};

use crate::{
    call::{CallId, Party},
    private::Private,
};

/// A text that is not empty; a number counts as its digits.
pub(in crate::telephony::vonage) fn text(fields: &Map<String, Value>, key: &str) -> Option<String> {
    match fields.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A finite number, or a text that spells one.
pub(in crate::telephony::vonage) fn number(fields: &Map<String, Value>, key: &str) -> Option<f64> {
    let number = match fields.get(key)? {
        Value::String(text) => text.trim().parse().ok()?,
        number => number.as_f64()?,
    };
    Some(number).filter(|number: &f64| number.is_finite())
}

/// A whole number, or a text that spells one.
pub(in crate::telephony::vonage) fn whole(fields: &Map<String, Value>, key: &str) -> Option<u64> {
    match fields.get(key)? {
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_u64(),
    }
}

pub(in crate::telephony::vonage) fn seconds(
    fields: &Map<String, Value>,
    key: &str,
) -> Option<Duration> {
    Duration::try_from_secs_f64(number(fields, key)?).ok()
}

/// True, or a text that says so.
pub(in crate::telephony::vonage) fn flag(fields: &Map<String, Value>, key: &str) -> bool {
    match fields.get(key) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

/// ISO 8601; without an offset it means UTC (Vonage "Webhook reference").
pub(in crate::telephony::vonage) fn time(
    fields: &Map<String, Value>,
    key: &str,
) -> Option<Timestamp> {
    let text = fields.get(key)?.as_str()?.trim();
    text.parse().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

pub(in crate::telephony::vonage) fn party(fields: &Map<String, Value>, key: &str) -> Option<Party> {
    text(fields, key).map(Party::new)
}

pub(in crate::telephony::vonage) fn id(fields: &Map<String, Value>, key: &str) -> Option<CallId> {
    text(fields, key).map(CallId::new)
}

pub(in crate::telephony::vonage) fn private(
    fields: &Map<String, Value>,
    key: &str,
) -> Option<Private<String>> {
    text(fields, key).map(Private::new)
}

/// An object; empty when missing.
pub(in crate::telephony::vonage) fn object(
    fields: &Map<String, Value>,
    key: &str,
) -> Map<String, Value> {
    match fields.get(key) {
        Some(Value::Object(object)) => object.clone(),
        _ => Map::new(),
    }
}
