//! The arguments of a tool, as models really write them.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads the arguments. Models write an object as text, now and then as text within text, and
/// nothing at all for a tool that they think needs nothing (Nova Sonic user guide, tool use).
/// What is wrong is said in words that the model can act on.
pub(super) fn parse<A: DeserializeOwned>(text: &str) -> Result<A, String> {
    let mut value = read(text)?;
    for _ in 0..ENCODINGS {
        match value {
            Value::String(inner) => value = read(&inner)?,
            Value::Null => value = Value::Object(Map::new()),
            _ => break,
        }
    }
    serde_json::from_value(value).map_err(|error| {
        format!("The arguments do not fit this tool: {error}. Correct them and call it again.")
    })
}

fn read(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_str(text).map_err(|_| {
        "The arguments are no JSON object. Write them as one and call the tool again.".to_owned()
    })
}

/// How often an object may be wrapped in a string beyond the text that it comes as.
const ENCODINGS: usize = 2;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Day {
        day: Option<String>,
    }

    fn day(text: &str) -> Result<Option<String>, String> {
        parse::<Day>(text).map(|found| found.day)
    }

    /// Nova Sonic checklist 31.
    #[test]
    fn double_encoded_and_empty_arguments_are_read() {
        let monday = Ok(Some("mon".to_owned()));
        assert_eq!(day(r#"{"day":"mon"}"#), monday);
        assert_eq!(day(r#""{\"day\":\"mon\"}""#), monday);
        let twice = serde_json::to_string(r#""{\"day\":\"mon\"}""#).unwrap();
        assert_eq!(day(&twice), monday);
        for empty in ["", " ", "{}", "null", r#""""#, r#""{}""#, r#""null""#] {
            assert_eq!(day(empty), Ok(None), "{empty}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for wrong in ["{", "[1]", "7", r#"{"day":7}"#, r#""mon""#] {
            let error = day(wrong).unwrap_err();
            assert!(error.ends_with("again."), "{wrong}: {error}");
        }
        #[derive(Debug, Deserialize)]
        struct Strict {
            #[expect(dead_code, reason = "only whether it is there matters")]
            code: String,
        }
        let error = parse::<Strict>("").unwrap_err();
        assert!(error.contains("missing field `code`"), "{error}");
    }
}
