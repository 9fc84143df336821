//! Leads as items: reading them, and writing what is different.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value};

use super::IndexOver;
use crate::lead::{
    Lead, LeadFilter, LeadProblem, PhoneNumber,
    fields::{self, LOOKED_UP, RESERVED},
    record::{Held, Record},
};

pub(super) type Item = HashMap<String, AttributeValue>;

/// An item, and the lead that it is.
pub(super) struct Stored {
    item: Item,
    pub(super) record: Record,
}

impl Stored {
    pub(super) fn read(item: Item) -> Result<Self, LeadProblem> {
        match record(&item) {
            Ok(record) => Ok(Self { item, record }),
            Err(reason) => Err(LeadProblem::new(key(&item), reason)),
        }
    }
}

/// The key of an item, readable or not.
pub(super) fn key(item: &Item) -> String {
    match item.get("phone") {
        Some(AttributeValue::S(key)) => key.clone(),
        _ => String::new(),
    }
}

/// Where a walk goes on behind the lead with this key.
pub(super) fn start_key(key: &str, index: Option<IndexOver>, filter: &LeadFilter) -> Item {
    let mut start = Item::from([("phone".to_owned(), AttributeValue::S(key.to_owned()))]);
    if let Some(index) = index
        && let Some((field, value)) = filter.wanted().find(|(field, _)| *field == index.field)
    {
        start.insert(field.to_owned(), AttributeValue::S(value.to_owned()));
    }
    start
}

fn record(item: &Item) -> Result<Record, String> {
    let key = text(item, "phone")?.ok_or("it has no key")?;
    let phone = PhoneNumber::parse(key).map_err(|why| format!("its key is no number: {why}"))?;
    if phone.display() != key {
        return Err("its key is not written as +1 (XXX) XXX-XXXX".to_owned());
    }
    let mut lead = Lead::new(phone);
    for (field, attribute) in item {
        if RESERVED.contains(&field.as_str()) {
            continue;
        }
        let Some(value) = value(attribute) else {
            // Bytes and other strangers: they stay in the table, and no field shows them.
            if fields::kind(field).is_some() {
                return Err(format!("{field} is of a type that it never has"));
            }
            continue;
        };
        if value.is_null() || (value == "" && LOOKED_UP.contains(&field.as_str())) {
            continue;
        }
        fields::fits(field, &value).map_err(|why| format!("{field} {why}"))?;
        lead.fields.insert(field.clone(), value);
    }
    // What somebody else wrote is a lead as it is after its first write.
    lead.version = count(item, "version")?.unwrap_or(1);
    let held = match text(item, "claim_until")? {
        None => None,
        Some(until) => Some(Held {
            owner: text(item, "claim_owner")?.unwrap_or_default().to_owned(),
            until: until.parse().map_err(|_| "claim_until is no time")?,
        }),
    };
    Ok(Record {
        lead,
        fence: count(item, "claim_fence")?.unwrap_or(0),
        held,
    })
}

fn text<'i>(item: &'i Item, name: &str) -> Result<Option<&'i str>, String> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be text")),
    }
}

fn count(item: &Item, name: &str) -> Result<Option<u64>, String> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::N(number)) => match number.parse() {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(format!("{name} must be a whole number")),
        },
        Some(_) => Err(format!("{name} must be a whole number")),
    }
}

/// What is to be written, in DynamoDB's expressions.
pub(super) struct Difference {
    pub(super) update: String,
    pub(super) condition: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl Difference {
    /// `n` as an expression names it: fields may be called as they like.
    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#n{}", self.names.len());
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }
}

/// What the write was decided on beside the version, which somebody else may not have raised.
const DECISIVE: &[&str] = &[
    "version",
    "claim_fence",
    "claim_until",
    "lead_status",
    "owner_alias",
    "call_status",
    "state_province",
    "next_attempt",
];

/// The way from `before` to `after`: attributes that differ, on condition that `before` stands.
pub(super) fn difference(before: Option<&Stored>, after: &Record) -> Difference {
    let mut difference = Difference {
        update: String::new(),
        condition: String::new(),
        names: HashMap::new(),
        values: HashMap::new(),
    };
    let mut conditions = Vec::new();
    match before {
        None => {
            let phone = difference.name("phone");
            conditions.push(format!("attribute_not_exists({phone})"));
        }
        Some(before) => {
            for field in ["phone"].iter().chain(DECISIVE) {
                let name = difference.name(field);
                conditions.push(match before.item.get(*field) {
                    Some(value) => {
                        let value = difference.value(value.clone());
                        format!("{name} = {value}")
                    }
                    None => format!("attribute_not_exists({name})"),
                });
            }
        }
    }
    difference.condition = conditions.join(" AND ");

    let (mut set, mut remove) = (Vec::new(), Vec::new());
    let mut put = |difference: &mut Difference, field: &str, value| {
        let name = difference.name(field);
        let value = difference.value(value);
        set.push(format!("{name} = {value}"));
    };
    let number = |number: u64| AttributeValue::N(number.to_string());
    let old = before.map(|before| &before.record);
    for (field, value) in &after.lead.fields {
        if old.is_none_or(|old| old.lead.fields.get(field) != Some(value)) {
            put(&mut difference, field, attribute(value));
        }
    }
    // Written at each write, so that what somebody else wrote without a version has one then.
    put(&mut difference, "version", number(after.lead.version));
    if old.map_or(0, |old| old.fence) != after.fence {
        put(&mut difference, "claim_fence", number(after.fence));
    }
    let held = old.and_then(|old| old.held.as_ref());
    if let Some(holder) = after.held.as_ref().filter(|new| held != Some(*new)) {
        let until = fields::time_text(holder.until);
        put(&mut difference, "claim_until", AttributeValue::S(until));
        let owner = holder.owner.clone();
        put(&mut difference, "claim_owner", AttributeValue::S(owner));
    }
    if let Some(old) = old {
        for field in old.lead.fields.keys() {
            if !after.lead.fields.contains_key(field) {
                remove.push(difference.name(field));
            }
        }
    }
    if held.is_some() && after.held.is_none() {
        remove.push(difference.name("claim_until"));
        remove.push(difference.name("claim_owner"));
    }
    difference.update = format!("SET {}", set.join(", "));
    if !remove.is_empty() {
        difference.update += &format!(" REMOVE {}", remove.join(", "));
    }
    difference
}

/// A field as an attribute.
fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(values) => AttributeValue::L(values.iter().map(attribute).collect()),
        Value::Object(values) => AttributeValue::M(
            values
                .iter()
                .map(|(name, value)| (name.clone(), attribute(value)))
                .collect(),
        ),
    }
}

/// An attribute as a field; None for what JSON has no words for.
fn value(attribute: &AttributeValue) -> Option<Value> {
    Some(match attribute {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::N(digits) => Value::Number(number(digits)?),
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::L(values) => Value::Array(values.iter().map(value).collect::<Option<_>>()?),
        AttributeValue::M(values) => Value::Object(
            values
                .iter()
                .map(|(name, attribute)| Some((name.clone(), value(attribute)?)))
                .collect::<Option<Map<_, _>>>()?,
        ),
        AttributeValue::Ss(texts) => texts
            .iter()
            .map(|text| Value::from(text.as_str()))
            .collect(),
        AttributeValue::Ns(numbers) => Value::Array(
            numbers
                .iter()
                .map(|digits| number(digits).map(Value::Number))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

fn number(digits: &str) -> Option<Number> {
    if let Ok(whole) = digits.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = digits.parse::<u64>() {
        return Some(whole.into());
    }
    Number::from_f64(digits.parse().ok()?)
}
