//! Events: what a body is about, told by its keys.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Fallback, StatusEvent,
    field::{flag, id, number, object, party, private, text, time, whole},
};
use crate::{
    call::{CallId, Party},
    private::Private,
};

/// What an event webhook says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The answer address failed and the fallback address is asked.
    Fallback(FallbackEvent),
    /// Something happened to a leg.
    Status(Box<StatusEvent>),
    /// A leg moved to another conversation.
    Transfer(Transfer),
    /// The caller pressed keys or spoke during an `input` action.
    Input(InputEvent),
    /// A recording can be fetched.
    Recording(Recording),
    /// A transcription of a recording can be fetched.
    Transcription(Transcription),
    /// A `notify` action was reached.
    Notify(NotifyEvent),
    /// Something in the call flow is wrong, such as an NCCO.
    Error(ErrorEvent),
    /// None of these. Acknowledge it and go on. Null when the body is no JSON.
    Unknown(Private<Value>),
}

/// Reads the body of an event webhook. Never fails: see [`Event::Unknown`].
#[must_use]
pub fn classify(body: &[u8]) -> Event {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => {
            known(&fields).unwrap_or_else(|| Event::Unknown(Private::new(Value::Object(fields))))
        }
        Ok(other) => Event::Unknown(Private::new(other)),
        Err(_) => Event::Unknown(Private::new(Value::Null)),
    }
}

/// Some bodies match several kinds; the first that matches is meant.
fn known(fields: &Map<String, Value>) -> Option<Event> {
    let has = |key: &str| fields.get(key).is_some_and(|value| !value.is_null());
    let about = About::read(fields);
    let status = text(fields, "status");
    let kind = text(fields, "type");
    if let Some(fallback) = Fallback::read(fields) {
        return Some(Event::Fallback(FallbackEvent { about, fallback }));
    }
    if let Some(status) = status {
        let transcribed =
            status == "transcribed" && (kind.is_none() || kind.as_deref() == Some("record"));
        return Some(if transcribed {
            Event::Transcription(Transcription {
                about,
                recording: text(fields, "recording_uuid"),
                url: private(fields, "transcription_url"),
            })
        } else {
            Event::Status(Box::new(StatusEvent::read(&status, fields)))
        });
    }
    if kind.as_deref() == Some("transfer") || has("conversation_uuid_from") {
        return Some(Event::Transfer(Transfer {
            about,
            from: text(fields, "conversation_uuid_from"),
            to: text(fields, "conversation_uuid_to"),
        }));
    }
    if has("dtmf") || has("speech") {
        return Some(Event::Input(InputEvent {
            about,
            dtmf: fields.get("dtmf").and_then(Digits::read),
            speech: fields.get("speech").and_then(Speech::read),
        }));
    }
    if let Some(url) = private(fields, "recording_url") {
        return Some(Event::Recording(Recording {
            about,
            url,
            id: text(fields, "recording_uuid"),
            bytes: whole(fields, "size"),
            started: time(fields, "start_time"),
            ended: time(fields, "end_time"),
        }));
    }
    if has("payload") {
        let payload = Private::new(fields.get("payload").cloned().unwrap_or_default());
        return Some(Event::Notify(NotifyEvent { about, payload }));
    }
    let reason = text(fields, "reason")?;
    Some(Event::Error(ErrorEvent { about, reason }))
}

impl Event {
    /// The leg, conversation and ends that it is about; `None` when it could not be read.
    #[must_use]
    pub fn about(&self) -> Option<&About> {
        match self {
            Self::Fallback(event) => Some(&event.about),
            Self::Status(event) => Some(&event.about),
            Self::Transfer(event) => Some(&event.about),
            Self::Input(event) => Some(&event.about),
            Self::Recording(event) => Some(&event.about),
            Self::Transcription(event) => Some(&event.about),
            Self::Notify(event) => Some(&event.about),
            Self::Error(event) => Some(&event.about),
            Self::Unknown(_) => None,
        }
    }
}

/// Whom an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct About {
    /// The leg. The legs of one call have different ones.
    pub leg: Option<CallId>,
    /// The conversation (`CON-…`) that all legs of a call share.
    pub conversation: Option<String>,
    /// Who calls: digits, a SIP address, or a text such as `anonymous`.
    pub from: Option<Party>,
    /// Who is called; the address of the socket for a socket's leg.
    pub to: Option<Party>,
    /// When it happened.
    pub at: Option<Timestamp>,
}

impl About {
    pub(super) fn read(fields: &Map<String, Value>) -> Self {
        Self {
            leg: id(fields, "uuid"),
            conversation: text(fields, "conversation_uuid"),
            from: party(fields, "from"),
            to: party(fields, "to"),
            at: time(fields, "timestamp"),
        }
    }
}

/// The answer address failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FallbackEvent {
    /// The call.
    pub about: About,
    /// What failed, and why.
    pub fallback: Fallback,
}

/// A leg moved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// The leg.
    pub about: About,
    /// The conversation that it left.
    pub from: Option<String>,
    /// The conversation that it joined.
    pub to: Option<String>,
}

/// What the caller typed or said.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InputEvent {
    /// The leg.
    pub about: About,
    /// The keys, when keys were asked for.
    pub dtmf: Option<Digits>,
    /// The words, when words were asked for.
    pub speech: Option<Speech>,
}

/// Keys that the caller pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Digits {
    /// The keys; empty when none came. They may spell a PIN.
    pub digits: Private<String>,
    /// Whether time ran out before all keys came.
    pub timed_out: bool,
}

impl Digits {
    /// Reads `{"digits":"12","timed_out":false}` and, of asynchronous input, also a bare key.
    fn read(value: &Value) -> Option<Self> {
        let fields = match value {
            Value::Object(fields) => fields.clone(),
            Value::Null => return None,
            bare => Map::from_iter([("digits".to_owned(), bare.clone())]),
        };
        let digits = text(&fields, "digits").or_else(|| text(&fields, "digit"));
        Some(Self {
            digits: Private::new(digits.unwrap_or_default()),
            timed_out: flag(&fields, "timed_out"),
        })
    }
}

/// Words that the caller spoke.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Speech {
    /// What was understood, best first.
    pub results: Vec<SpeechResult>,
    /// Why listening ended, in Vonage's words.
    pub timeout_reason: Option<String>,
    /// Where the audio can be fetched.
    pub recording_url: Option<Private<String>>,
    /// What went wrong.
    pub error: Option<String>,
}

impl Speech {
    fn read(value: &Value) -> Option<Self> {
        let fields = value.as_object()?;
        let results = match fields.get("results") {
            Some(Value::Array(results)) => results.as_slice(),
            _ => &[],
        };
        Some(Self {
            results: results.iter().filter_map(SpeechResult::read).collect(),
            timeout_reason: text(fields, "timeout_reason"),
            recording_url: private(fields, "recording_url"),
            error: text(fields, "error").or_else(|| {
                let error = object(fields, "error");
                (!error.is_empty()).then(|| Value::Object(error).to_string())
            }),
        })
    }
}

/// One way to understand what the caller said.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SpeechResult {
    /// The words.
    pub text: Private<String>,
    /// How sure Vonage is, from 0 to 1.
    pub confidence: Option<f64>,
}

impl SpeechResult {
    fn read(value: &Value) -> Option<Self> {
        let fields = value.as_object()?;
        Some(Self {
            text: private(fields, "text")?,
            confidence: number(fields, "confidence"),
        })
    }
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recording {
    /// The conversation.
    pub about: About,
    /// Where it can be fetched, with our credentials and from Vonage's hosts alone.
    pub url: Private<String>,
    /// Its id.
    pub id: Option<String>,
    /// Its size.
    pub bytes: Option<u64>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// The transcription of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transcription {
    /// The conversation.
    pub about: About,
    /// The recording's id.
    pub recording: Option<String>,
    /// Where the text can be fetched.
    pub url: Option<Private<String>>,
}

/// A `notify` action was reached.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NotifyEvent {
    /// The conversation.
    pub about: About,
    /// What the action said.
    pub payload: Private<Value>,
}

/// Something in the call flow is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorEvent {
    /// The conversation.
    pub about: About,
    /// What, in Vonage's words.
    pub reason: String,
}
