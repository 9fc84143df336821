//! Types of arguments as the schemas that models read.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

/// The description of the tool that takes `A`, and the schema of `A`: in one piece, since models
/// follow no references, and as plain as can be.
pub(super) fn described<A: JsonSchema>() -> (String, Map<String, Value>) {
    let settings = SchemaSettings::draft2020_12()
        .for_deserialize()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
    let mut root = settings.into_generator().into_root_schema_for::<A>();
    let mut schema = std::mem::take(root.ensure_object());
    schema.remove("title");
    let description = match schema.remove("description") {
        Some(Value::String(text)) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        _ => String::new(),
    };
    if !CHOICES.iter().any(|key| schema.contains_key(*key)) {
        schema.insert("type".to_owned(), "object".into());
        schema
            .entry("properties")
            .or_insert_with(|| Map::new().into());
    }
    schema.values_mut().for_each(leave_out_null);
    (description, schema)
}

/// That something may be `null` is said twice where it need not be there at all; models then
/// write `null` as a word.
fn leave_out_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(leave_out_null),
        Value::Object(fields) => {
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_mut_slice() {
                    let only = only.take();
                    fields.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(values)) = fields.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            for key in CHOICES {
                let Some(Value::Array(choices)) = fields.get_mut(key) else {
                    continue;
                };
                choices.retain(|choice| choice["type"] != "null");
                if let [Value::Object(only)] = choices.as_mut_slice() {
                    let only = std::mem::take(only);
                    fields.remove(key);
                    for (name, value) in only {
                        fields.entry(name).or_insert(value);
                    }
                }
            }
            fields.values_mut().for_each(leave_out_null);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

const CHOICES: [&str; 3] = ["oneOf", "anyOf", "allOf"];

/// A tool's name as models take it.
pub(super) fn name(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => c,
            _ => '_',
        })
        .take(MAX_NAME)
        .collect()
}

const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    /// Finds the opening hours
    /// of a day.
    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct OpeningHours {
        /// The day of the week.
        day: Day,
        /// The day after which to look.
        after: Option<Day>,
        /// Whether holidays count.
        holidays: Option<bool>,
        /// Places and their rooms.
        #[serde(default)]
        places: Vec<Option<Place>>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Day {
        Monday,
        Sunday,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Place {
        room: Option<u8>,
    }

    #[test]
    fn a_schema_is_in_one_piece_and_plain() {
        let (description, schema) = described::<OpeningHours>();
        assert_eq!(description, "Finds the opening hours of a day.");
        let schema = Value::Object(schema);
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["required"], json!(["day"]));
        let of = |name: &str| schema["properties"][name].clone();
        assert_eq!(of("day")["description"], "The day of the week.");
        assert_eq!(of("day")["enum"], json!(["monday", "sunday"]));
        assert_eq!(of("after")["enum"], json!(["monday", "sunday"]));
        assert_eq!(of("after")["description"], "The day after which to look.");
        assert_eq!(of("holidays")["type"], "boolean");
        let text = schema.to_string();
        assert!(!text.contains("$ref") && !text.contains("null"), "{text}");
    }

    #[test]
    fn names_are_made_to_fit() {
        assert_eq!(name("look up"), "look_up");
        assert_eq!(name("größe-1"), "gr__e-1");
        assert_eq!(name(&"a".repeat(100)).len(), 64);
    }
}
