//! The text messages of the media socket, both ways. Audio is not here: it travels in binary
//! messages, and the opcode alone tells the two apart.
//!
//! Source: Vonage "WebSockets" guide of the Voice API. Older and neighbouring products send a few
//! of these messages in other shapes; those are read too.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::{audio::SampleRate, telephony::MarkId};

/// Tells Vonage to forget all audio that it has not played yet. Answered with
/// [`Message::Cleared`].
pub const CLEAR: &str = r#"{"action":"clear"}"#;

/// Asks Vonage to answer with [`Message::Notify`] once all audio sent before was played.
#[must_use]
pub fn notify(mark: MarkId) -> String {
    // As text: a number could lose digits on its way through systems that know only doubles.
    json!({"action": "notify", "payload": {MARK: mark.0.to_string()}}).to_string()
}

/// The mark that [`notify`] put into a payload; `None` for a payload that is not ours.
#[must_use]
pub fn mark_of(payload: &Map<String, Value>) -> Option<MarkId> {
    match payload.get(MARK)? {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    }
    .map(MarkId)
}

/// The format of a socket at `rate`, as Vonage spells it: `audio/l16;rate=16000`. The samples are
/// little-endian in spite of the name.
#[must_use]
pub const fn content_type(rate: SampleRate) -> &'static str {
    match rate {
        SampleRate::Hz8000 => "audio/l16;rate=8000",
        SampleRate::Hz16000 => "audio/l16;rate=16000",
        SampleRate::Hz24000 => "audio/l16;rate=24000",
    }
}

/// The rate that a format names; `None` for anything but mono L16 at a rate that Vonage offers.
#[must_use]
pub fn rate_of(content_type: &str) -> Option<SampleRate> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("audio/l16") {
        return None;
    }
    let mut rate = None;
    for part in parts.filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        let value = value.trim();
        if name.trim().eq_ignore_ascii_case("rate") {
            rate = SampleRate::from_hertz(value.parse().ok()?);
        } else if name.trim().eq_ignore_ascii_case("channels") && value != "1" {
            return None;
        }
    }
    rate
}

/// A text message from Vonage.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Message {
    /// The first message: what flows, and the metadata from the NCCO.
    Connected(Connected),
    /// The caller pressed a key.
    Dtmf {
        /// One of `0-9`, `*`, `#`.
        digit: char,
        /// For how many milliseconds, where Vonage said it.
        duration_ms: Option<u32>,
    },
    /// A [`CLEAR`] was obeyed.
    Cleared,
    /// Everything sent before a [`notify`] was played; carries its payload back. See [`mark_of`].
    Notify(Map<String, Value>),
    /// The caller's audio flows (`true`) or is held back by a mute (`false`).
    MediaUpdate {
        /// Whether audio flows.
        active: bool,
    },
    /// Vonage is about to close the socket. The close itself is the end.
    Disconnected,
    /// A message of this name (shortened) that means nothing here: ignore it.
    Unknown(String),
}

/// The contents of the first message.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Connected {
    /// The rate of the audio, both ways. It counts, whatever the NCCO asked for.
    pub rate: SampleRate,
    /// What the NCCO put into `headers`, values unchanged.
    pub custom: Map<String, Value>,
}

/// A text message that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Not JSON. Ignore it and go on.
    #[error("text message is not JSON")]
    NotJson,
    /// JSON, but no object. Ignore it and go on.
    #[error("text message is JSON, but not an object")]
    NotAnObject,
    /// The first message lacks `content-type`. Close the socket.
    #[error("the first message does not say in which format the audio comes")]
    MissingFormat,
    /// The audio comes in this format (shortened). Close the socket.
    #[error("the audio comes as {0:?}; ask for mono audio/l16 at 8000, 16000 or 24000 Hz")]
    UnsupportedFormat(String),
}

/// Reads one text message.
///
/// # Errors
///
/// When it is no JSON object, or a first message whose audio cannot be understood.
pub fn decode(text: &str) -> Result<Message, WireError> {
    let value = serde_json::from_str(text).map_err(|_| WireError::NotJson)?;
    let Value::Object(mut fields) = value else {
        return Err(WireError::NotAnObject);
    };
    let event = match fields.remove("event") {
        Some(Value::String(event)) => event,
        Some(_) => return Ok(Message::Unknown("(event is no text)".to_owned())),
        // The bridge that Vonage published years ago named neither of these two.
        None if fields.contains_key(CONTENT_TYPE) => CONNECTED.to_owned(),
        None if fields.contains_key("digit") || fields.contains_key("dtmf") => DTMF.to_owned(),
        None => return Ok(Message::Unknown("(no event)".to_owned())),
    };
    let message = match event.as_str() {
        CONNECTED => return connected(fields).map(Message::Connected),
        DTMF => dtmf(&fields),
        "websocket:cleared" => Some(Message::Cleared),
        "websocket:notify" => match fields.remove("payload") {
            Some(Value::Object(payload)) => Some(Message::Notify(payload)),
            _ => None,
        },
        "websocket:media:update" => fields
            .get("active")
            .and_then(Value::as_bool)
            .map(|active| Message::MediaUpdate { active }),
        "websocket:disconnected" => Some(Message::Disconnected),
        _ => None,
    };
    Ok(message.unwrap_or_else(|| Message::Unknown(shortened(&event))))
}

fn connected(mut fields: Map<String, Value>) -> Result<Connected, WireError> {
    let format = match fields.remove(CONTENT_TYPE) {
        Some(Value::String(format)) => format,
        Some(other) => return Err(WireError::UnsupportedFormat(shortened(&other.to_string()))),
        None => return Err(WireError::MissingFormat),
    };
    let rate = rate_of(&format).ok_or_else(|| WireError::UnsupportedFormat(shortened(&format)))?;
    Ok(Connected {
        rate,
        custom: fields,
    })
}

/// Reads `{"digit":"5","duration":260}`, `{"dtmf":{"digit":"5"}}` and `{"dtmf":"5"}`.
fn dtmf(fields: &Map<String, Value>) -> Option<Message> {
    let (digit, duration) = match fields.get("dtmf") {
        Some(Value::Object(inner)) => (inner.get("digit"), inner.get("duration")),
        Some(digit) => (Some(digit), fields.get("duration")),
        None => (fields.get("digit"), fields.get("duration")),
    };
    let digit = match digit? {
        Value::String(text) => text.clone(),
        number => number.as_u64()?.to_string(),
    };
    let mut chars = digit.chars();
    let (Some(digit @ ('0'..='9' | '*' | '#')), None) = (chars.next(), chars.next()) else {
        return None;
    };
    let duration_ms = duration.and_then(|duration| match duration {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64().and_then(|ms| ms.try_into().ok()),
    });
    Some(Message::Dtmf { digit, duration_ms })
}

/// Enough to recognise a text from outside in a log, and no more.
fn shortened(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Keys may spell a PIN and metadata holds phone numbers: neither is printed.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(connected) => connected.fmt(f),
            Self::Dtmf { duration_ms, .. } => f
                .debug_struct("Dtmf")
                .field("duration_ms", duration_ms)
                .finish_non_exhaustive(),
            Self::Cleared => f.write_str("Cleared"),
            Self::Notify(payload) => f.debug_tuple("Notify").field(&mark_of(payload)).finish(),
            Self::MediaUpdate { active } => f
                .debug_struct("MediaUpdate")
                .field("active", active)
                .finish(),
            Self::Disconnected => f.write_str("Disconnected"),
            Self::Unknown(name) => f.debug_tuple("Unknown").field(name).finish(),
        }
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected")
            .field("rate", &self.rate)
            .field("custom", &self.custom.keys().collect::<Vec<_>>())
            .finish()
    }
}

const CONNECTED: &str = "websocket:connected";
const DTMF: &str = "websocket:dtmf";
const CONTENT_TYPE: &str = "content-type";
const MARK: &str = "mark";
const SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_mono_l16_at_a_known_rate() {
        for rate in SampleRate::ALL {
            assert_eq!(rate_of(content_type(rate)), Some(rate));
        }
        assert_eq!(
            rate_of("Audio/L16; Rate=8000 ;channels=1;"),
            Some(SampleRate::Hz8000)
        );
        for other in [
            "",
            "audio/l16",
            "audio/l16;rate=44100",
            "audio/l16;rate=-1",
            "audio/l16;rate=16000;channels=2",
            "audio/pcmu;rate=8000",
        ] {
            assert_eq!(rate_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_mark_comes_back_as_text_or_number_and_nothing_else_is_a_mark() {
        let payload = |value: Value| match value {
            Value::Object(payload) => payload,
            _ => unreachable!("the test passes objects"),
        };
        assert_eq!(
            mark_of(&payload(json!({"mark": u64::MAX.to_string()}))),
            Some(MarkId(u64::MAX))
        );
        assert_eq!(mark_of(&payload(json!({"mark": 7}))), Some(MarkId(7)));
        for other in [json!({}), json!({"mark": "x"}), json!({"mark": [1]})] {
            assert_eq!(mark_of(&payload(other)), None);
        }
    }

    #[test]
    fn neither_keys_nor_metadata_are_printed() {
        let text = r#"{"event":"websocket:connected","content-type":"audio/l16;rate=8000","from":"447700900000"}"#;
        for text in [text, r#"{"event":"websocket:dtmf","digit":"7"}"#] {
            let printed = format!("{:?}", decode(text));
            assert!(!printed.contains("447700900000"), "{printed}");
            assert!(!printed.contains('7'), "{printed}");
        }
    }
}
