//! The fields whose meaning is known, and what a store takes.

use jiff::Timestamp;
use serde_json::{Number, Value};

use crate::{
    error::{ProviderError, ProviderErrorKind},
    lead::Fields,
};

/// What a known field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Flag,
    Count,
    Time,
}

/// Every known field. Others are kept as they are.
pub(crate) const KNOWN: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("company", Kind::Text),
    ("email", Kind::Text),
    ("website", Kind::Text),
    ("state_province", Kind::Text),
    ("lead_source", Kind::Text),
    ("lead_status", Kind::Text),
    ("created_date", Kind::Text),
    ("owner_alias", Kind::Text),
    ("unread_by_owner", Kind::Flag),
    ("call_transcript", Kind::Text),
    ("last_call_date", Kind::Text),
    ("call_status", Kind::Text),
    ("next_attempt", Kind::Time),
    ("attempts", Kind::Count),
    ("time_zone", Kind::Text),
];

/// What whoever calls must be able to rely on: taken in as this or not at all. Written by somebody
/// else as anything else, it says nothing, and spoils no lead.
const RELIED_ON: &[(&str, Kind)] = &[
    ("consent", Kind::Flag),
    ("consent_at", Kind::Time),
    ("consent_source", Kind::Text),
    ("phone_type", Kind::Text),
];

/// Fields that leads are looked up by. DynamoDB takes no empty text in the key of an index, so an
/// empty one is none.
pub(crate) const LOOKED_UP: &[&str] = &[
    "lead_status",
    "owner_alias",
    "call_status",
    "state_province",
];

/// What the store itself writes beside the fields.
pub(crate) const RESERVED: &[&str] = &[
    "phone",
    "version",
    "claim_owner",
    "claim_fence",
    "claim_until",
];

/// The kind of a known field.
pub(crate) fn kind(field: &str) -> Option<Kind> {
    let (_, kind) = KNOWN.iter().find(|(name, _)| *name == field)?;
    Some(*kind)
}

/// `fields` in the one way in which every store writes them.
pub(crate) fn checked(provider: &'static str, fields: Fields) -> Result<Fields, ProviderError> {
    let refuse = |field: &str, why: &str| {
        ProviderError::new(provider, ProviderErrorKind::Invalid)
            .with_detail(format!("the field {field:?} {why}"))
    };
    let mut checked = Fields::new();
    for (field, mut value) in fields {
        if RESERVED.contains(&field.as_str()) {
            return Err(refuse(&field, "is kept by the store and cannot be set"));
        }
        if field.is_empty() || field.len() > LONGEST_NAME {
            return Err(refuse(&field, "needs a name of 1 to 255 bytes"));
        }
        let relied = RELIED_ON.iter().find(|(name, _)| *name == field);
        let kind = relied.map(|(_, kind)| *kind).or_else(|| kind(&field));
        fits_kind(kind, &value).map_err(|why| refuse(&field, why))?;
        plain(&mut value, 0).map_err(|why| refuse(&field, why))?;
        if LOOKED_UP.contains(&field.as_str()) && value == "" {
            value = Value::Null;
        }
        if kind == Some(Kind::Time)
            && let Some(time) = value.as_str().and_then(|text| text.parse().ok())
        {
            value = time_text(time).into();
        }
        checked.insert(field, value);
    }
    Ok(checked)
}

/// Whether a value is what a known field holds; the reason when not.
#[cfg(any(feature = "sqlite", feature = "dynamodb"))]
pub(crate) fn fits(field: &str, value: &Value) -> Result<(), &'static str> {
    fits_kind(kind(field), value)
}

fn fits_kind(kind: Option<Kind>, value: &Value) -> Result<(), &'static str> {
    match (kind, value) {
        (None, _)
        | (Some(_), Value::Null)
        | (Some(Kind::Text), Value::String(_))
        | (Some(Kind::Flag), Value::Bool(_)) => Ok(()),
        (Some(Kind::Count), Value::Number(number))
            if number.as_i64().is_some_and(|count| count >= 0) =>
        {
            Ok(())
        }
        (Some(Kind::Time), Value::String(text)) if text.parse::<Timestamp>().is_ok() => Ok(()),
        (Some(Kind::Text), _) => Err("must be text"),
        (Some(Kind::Flag), _) => Err("must be true or false"),
        (Some(Kind::Count), _) => Err("must be a whole number"),
        (Some(Kind::Time), _) => Err("must be a time such as 2026-06-22T20:35:32Z"),
    }
}

/// A time as texts can be compared: UTC, whole milliseconds, always as long.
pub(crate) fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Numbers as every store keeps them (DynamoDB has no difference between `1` and `1.0`, and less
/// range than a float has), and no deeper than DynamoDB nests.
fn plain(value: &mut Value, depth: usize) -> Result<(), &'static str> {
    if depth > DEEPEST {
        return Err("is nested too deeply");
    }
    match value {
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *number = whole;
            } else if let Some(float) = number.as_f64().filter(|_| number.is_f64())
                && !(SMALLEST..LARGEST).contains(&float.abs())
            {
                return Err("holds a number out of range");
            }
            Ok(())
        }
        Value::Array(values) => values.iter_mut().try_for_each(|v| plain(v, depth + 1)),
        Value::Object(values) => values.values_mut().try_for_each(|v| plain(v, depth + 1)),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// A float without a fraction, as the whole number that it is.
#[expect(clippy::cast_possible_truncation, reason = "checked to be exact")]
fn whole(number: &Number) -> Option<Number> {
    let float = number.as_f64().filter(|_| number.is_f64())?;
    (float.fract() == 0.0 && float.abs() < EXACT).then(|| Number::from(float as i64))
}

/// Floats below it hold whole numbers exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// DynamoDB's numbers are 1E-130 to 9.99E+125 in size (developer guide, data types); floats
/// without a fraction but above [`EXACT`] stay floats.
const SMALLEST: f64 = 1e-130;
const LARGEST: f64 = 9.9e125;

/// DynamoDB nests 32 levels (developer guide, constraints); the item and the field are two.
const DEEPEST: usize = 29;

/// Bytes of a name.
const LONGEST_NAME: usize = 255;
