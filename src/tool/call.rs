//! What a model is told of a tool, what it asks for, and what it gets back.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A tool as a model sees it, and how a conversation treats it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolSpec {
    /// The name that the model calls it by: letters, digits, `_` and `-`.
    pub name: String,
    /// What it does and when to use it, for the model.
    pub description: String,
    /// The JSON Schema of its arguments, always of an object.
    pub parameters: Map<String, Value>,
    /// How long it may take; then the model is told that it failed. Default: 10 s, since nobody
    /// waits for longer on the phone.
    pub deadline: Duration,
    /// Whether a caller who interrupts the agent cancels it. Default: no. What changes something,
    /// such as a booking, must not stop half way because of a cough.
    pub interruptible: bool,
    /// What the agent says when it takes longer than
    /// [`Config::tool_filler_after`](crate::conversation::Config::tool_filler_after). Default:
    /// nothing.
    pub filler: Option<String>,
}

impl ToolSpec {
    /// A tool with the default deadline, not interruptible, without a filler.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: Map<String, Value>,
    ) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            parameters,
            deadline: Duration::from_secs(10),
            interruptible: false,
            filler: None,
        }
    }
}

/// The model's name for one use of a tool: opaque, and known only within its session.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ToolCallId(Arc<str>);

impl ToolCallId {
    /// The id that the model gave.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id as the model wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ToolCallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolCallId({})", self.0)
    }
}

/// Names the use of a tool within a call, whichever session asked for it; grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a number")]
pub struct ToolRunId(pub u32);

/// The model wants a tool to be used. Its arguments may be personal data and are not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by every model")]
pub struct ToolCall {
    /// Names this use within the session; the result carries it back.
    pub id: ToolCallId,
    /// Names the tool, or what the model takes for one.
    pub name: String,
    /// The arguments as the model wrote them: JSON of an object if all is well.
    pub arguments: String,
}

impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCall")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What came of a use, on its way back to the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct ToolResult {
    /// Which use.
    pub id: ToolCallId,
    /// What came of it.
    pub output: ToolOutput,
}

/// What a tool gives back: always a JSON object, since models take nothing else. May be personal
/// data and is not printed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ToolOutput(Map<String, Value>);

impl ToolOutput {
    /// The most that it may take as JSON, in bytes. Models refuse long events, and a result that
    /// is read out on the phone is short.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// `value` as it is, if it serialises to an object, else as the object's `result`. What cannot
    /// be written or is too long becomes an error for the model.
    pub fn new(value: impl Serialize) -> Self {
        let object = match serde_json::to_value(value) {
            Ok(Value::Object(object)) => object,
            Ok(value) => Map::from_iter([("result".to_owned(), value)]),
            Err(_) => return Self::error("The result of this tool cannot be written as JSON."),
        };
        let output = Self(object);
        if output.to_json().len() > Self::MAX_BYTES {
            return Self::error("The result of this tool is too long to be read. Ask for less.");
        }
        output
    }

    /// A failure, in words that the model can act on.
    pub fn error(message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MAX_ERROR));
        Self(Map::from_iter([("error".to_owned(), message.into())]))
    }

    /// Whether it tells of a failure.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.0.contains_key("error")
    }

    /// The object. Keep it away from logs.
    #[must_use]
    pub const fn reveal(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The object as JSON text. Keep it away from logs.
    #[must_use]
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

impl fmt::Debug for ToolOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_error() {
            "ToolOutput(error)"
        } else {
            "ToolOutput(…)"
        })
    }
}

/// A message that says more than this, in bytes, says nothing.
const MAX_ERROR: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_is_an_object() {
        let text = |output: ToolOutput| output.to_json();
        #[derive(Serialize)]
        struct Found {
            nights: u8,
        }
        assert_eq!(
            text(ToolOutput::new(Found { nights: 2 })),
            r#"{"nights":2}"#
        );
        assert_eq!(text(ToolOutput::new("ok")), r#"{"result":"ok"}"#);
        assert_eq!(text(ToolOutput::new(())), r#"{"result":null}"#);
        assert_eq!(text(ToolOutput::new([1, 2])), r#"{"result":[1,2]}"#);
        assert_eq!(text(ToolOutput::error("no")), r#"{"error":"no"}"#);
        assert!(ToolOutput::error("no").is_error() && !ToolOutput::new("no").is_error());
    }

    #[test]
    fn what_cannot_be_sent_becomes_an_error() {
        let keys = std::collections::HashMap::from([([1_u8, 2], "a")]);
        assert!(ToolOutput::new(keys).is_error());
        assert!(ToolOutput::new("a".repeat(ToolOutput::MAX_BYTES)).is_error());
        let long = ToolOutput::error("ä".repeat(5_000)).to_json();
        assert!(long.len() < ToolOutput::MAX_BYTES);
    }

    #[test]
    fn nothing_private_is_printed() {
        let call = ToolCall {
            id: ToolCallId::new("u-1"),
            name: "look_up".to_owned(),
            arguments: r#"{"name":"Okafor"}"#.to_owned(),
        };
        let output = ToolOutput::new(serde_json::json!({"name": "Okafor"}));
        assert!(!format!("{call:?} {output:?}").contains("Okafor"));
    }
}
