//! Settings by name, for people who ask what if.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::conversation::Config;

/// A setting that cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongKnob {
    /// No setting has this name.
    #[error("there is no setting {name}; there are {}", known.join(", "))]
    Unknown {
        /// The name that was given.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// The setting does not take this value.
    #[error("{name} does not take the value {value:?}: {problem}")]
    Value {
        /// The setting.
        name: String,
        /// The value that was given.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Sets one setting by its dotted name: a time in milliseconds as `barge_in.min_ms`, `200` or
/// `0.5`; `none` where a setting may be off; anything else as it is.
///
/// # Errors
///
/// For a name that does not exist, with all that do, and for a value of the wrong kind.
pub fn set_knob(config: &mut Config, name: &str, value: &str) -> Result<(), WrongKnob> {
    let wrong = |problem: String| WrongKnob::Value {
        name: name.to_owned(),
        value: value.to_owned(),
        problem,
    };
    let mut tree = serde_json::to_value(&*config).map_err(|failed| wrong(failed.to_string()))?;
    let mut knobs = Vec::new();
    collect(&tree, "", &mut knobs);
    let Some(knob) = knobs.iter().find(|knob| knob.name == name) else {
        return Err(WrongKnob::Unknown {
            name: name.to_owned(),
            known: knobs.into_iter().map(|knob| knob.name).collect(),
        });
    };
    let new = knob.kind.read(value).map_err(wrong)?;
    if let Some(place) = tree.pointer_mut(&knob.path) {
        *place = new;
    }
    *config = serde_json::from_value(tree).map_err(|failed| wrong(failed.to_string()))?;
    Ok(())
}

/// A setting: its name for people, its place in the configuration, and what it takes.
struct Knob {
    name: String,
    path: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Time,
    Switch,
    Text,
    Number,
}

impl Kind {
    fn read(self, value: &str) -> Result<Value, String> {
        if value == "none" && matches!(self, Self::Time) {
            return Ok(Value::Null);
        }
        match self {
            Self::Time => {
                let millis: f64 = value.parse().map_err(|_| "not a number of ms".to_owned())?;
                let time = Duration::try_from_secs_f64(millis / 1_000.0)
                    .map_err(|_| "not a time".to_owned())?;
                // What is finer than a nanosecond is an error of the calculation.
                serde_json::to_value(time).map_err(|failed| failed.to_string())
            }
            Self::Switch => value
                .parse::<bool>()
                .map(Value::Bool)
                .map_err(|_| "neither true nor false".to_owned()),
            Self::Text => Ok(Value::String(value.to_owned())),
            Self::Number => serde_json::from_str::<serde_json::Number>(value)
                .map(Value::Number)
                .map_err(|_| "not a number".to_owned()),
        }
    }
}

fn collect(value: &Value, path: &str, knobs: &mut Vec<Knob>) {
    let kind = match value {
        Value::Object(fields) if !is_time(fields) => {
            for (field, value) in fields {
                collect(value, &format!("{path}/{field}"), knobs);
            }
            return;
        }
        // What may be off is a time; another kind is refused when the configuration is read.
        Value::Object(_) | Value::Null => Kind::Time,
        Value::Bool(_) => Kind::Switch,
        Value::Number(_) => Kind::Number,
        Value::String(_) => Kind::Text,
        // A list has no name for its parts.
        Value::Array(_) => return,
    };
    let unit = if matches!(kind, Kind::Time) {
        "_ms"
    } else {
        ""
    };
    knobs.push(Knob {
        name: path.trim_start_matches('/').replace('/', ".") + unit,
        path: path.to_owned(),
        kind,
    });
}

/// A time, as serde writes one.
fn is_time(fields: &Map<String, Value>) -> bool {
    fields.len() == 2 && fields.contains_key("secs") && fields.contains_key("nanos")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<Config, WrongKnob> {
        let mut config = Config::default();
        set_knob(&mut config, name, value).map(|()| config)
    }

    #[test]
    fn settings_have_dotted_names_and_times_are_in_milliseconds() {
        let config = set("barge_in.min_ms", "200").unwrap();
        assert_eq!(config.barge_in.min, Duration::from_millis(200));
        let config = set("lead_ms", "0.5").unwrap();
        assert_eq!(config.lead, Duration::from_micros(500));
        assert!(!set("barge_in.local", "false").unwrap().barge_in.local);
        assert_eq!(
            set("idle.nudge_text", "Hello?").unwrap().idle.nudge_text,
            "Hello?"
        );
    }

    #[test]
    fn what_may_be_off_is_turned_on_and_off() {
        let mut config = set("idle.nudge_ms", "20000").unwrap();
        assert_eq!(config.idle.nudge, Some(Duration::from_secs(20)));
        set_knob(&mut config, "idle.nudge_ms", "none").unwrap();
        assert_eq!(config.idle.nudge, None);
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_ones_and_a_wrong_value_with_the_reason() {
        let WrongKnob::Unknown { known, .. } = set("barge_in.min", "200").unwrap_err() else {
            panic!("the unit is part of the name");
        };
        assert!(known.contains(&"barge_in.min_ms".to_owned()));
        for (name, value) in [
            ("lead_ms", "soon"),
            ("lead_ms", "-1"),
            ("lead_ms", "NaN"),
            ("lead_ms", "none"),
            ("barge_in.local", "yes"),
        ] {
            assert!(
                matches!(set(name, value), Err(WrongKnob::Value { .. })),
                "{name}={value}"
            );
        }
    }
}
