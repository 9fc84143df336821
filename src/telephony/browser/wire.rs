//! The JSON that browsers send and get. Audio from them is not here: it comes in binary messages.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{telephony::Show, transcript::Speaker};

/// A control message: `{"type":…,"data"?:…}`.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Control {
    /// The client is there.
    PromptStart,
    /// Instructions for this call alone, where the data is any.
    SystemPrompt(Option<String>),
    /// The microphone is open: the call begins.
    AudioStart,
    /// The client hangs up.
    StopAudio,
}

impl Control {
    /// Reads a text message; `None` when it is none of these.
    pub(super) fn read(text: &str) -> Option<Self> {
        let Value::Object(mut fields) = serde_json::from_str(text).ok()? else {
            return None;
        };
        Some(match fields.get("type")?.as_str()? {
            "promptStart" => Self::PromptStart,
            "systemPrompt" => Self::SystemPrompt(match fields.remove("data") {
                Some(Value::String(text)) => Some(text),
                Some(Value::Object(mut data)) => match data.remove("text") {
                    Some(Value::String(text)) => Some(text),
                    _ => None,
                },
                _ => None,
            }),
            "audioStart" => Self::AudioStart,
            "stopAudio" => Self::StopAudio,
            _ => return None,
        })
    }
}

/// A frame for a client that takes only text.
pub(super) fn audio_output(pcm: &[u8]) -> String {
    event(
        "audioOutput",
        &json!({"content": BASE64_STANDARD.encode(pcm)}),
    )
}

/// Something went wrong, for the person who looks at it.
pub(super) fn error(message: &str) -> String {
    event("error", &json!({"message": message}))
}

/// Tells the client to forget the audio that it has not played yet. The content, spaces and all,
/// is what the clients of Nova Sonic samples look for.
pub(super) fn interrupted() -> String {
    let content = r#"{ "interrupted" : true }"#;
    event(
        "textOutput",
        &json!({"content": content, "role": "ASSISTANT"}),
    )
}

/// What a screen shows, as one or more messages in this order.
pub(super) fn shown(show: &Show) -> Vec<String> {
    match show {
        Show::Text { speaker, text } => {
            let role = match speaker {
                Speaker::Caller => "USER",
                Speaker::Agent => "ASSISTANT",
            };
            vec![
                event("contentStart", &json!({"type": "TEXT", "role": role})),
                event("textOutput", &json!({"content": text, "role": role})),
                event("contentEnd", &json!({"type": "TEXT"})),
            ]
        }
        Show::ReplyStarted => {
            let start = json!({"type": "AUDIO", "role": "ASSISTANT"});
            vec![event("contentStart", &start)]
        }
        Show::ReplyEnded { interrupted } => {
            let reason = match interrupted {
                true => "INTERRUPTED",
                false => "END_TURN",
            };
            let end = json!({"type": "AUDIO", "stopReason": reason});
            vec![event("contentEnd", &end)]
        }
        Show::Error(message) => vec![error(message)],
    }
}

fn event(name: &str, body: &Value) -> String {
    json!({"event": {name: body}}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_controls_are_read_and_nothing_else() {
        let prompt = |text: &str| Some(Control::SystemPrompt(Some(text.to_owned())));
        let is = |text: &str, control: Option<Control>| assert!(Control::read(text) == control);
        is(r#"{"type":"promptStart"}"#, Some(Control::PromptStart));
        is(r#" {"type":"audioStart","x":1}"#, Some(Control::AudioStart));
        is(
            r#"{"type":"stopAudio","data":null}"#,
            Some(Control::StopAudio),
        );
        is(r#"{"type":"systemPrompt","data":"hi"}"#, prompt("hi"));
        is(
            r#"{"type":"systemPrompt","data":{"text":"hi"}}"#,
            prompt("hi"),
        );
        let empty = Some(Control::SystemPrompt(None));
        is(r#"{"type":"systemPrompt"}"#, empty.clone());
        is(r#"{"type":"systemPrompt","data":[1]}"#, empty);
        for other in [
            "",
            "{",
            "[]",
            "null",
            r#"{"type":1}"#,
            r#"{"type":"audioInput"}"#,
            r#"{"event":"websocket:connected"}"#,
        ] {
            is(other, None);
        }
    }

    #[test]
    fn what_is_shown_has_the_shape_of_nova_sonics_own_events() {
        let text = Show::Text {
            speaker: Speaker::Caller,
            text: "a \"quote\"".to_owned(),
        };
        let messages: Vec<Value> = shown(&text)
            .iter()
            .map(|message| serde_json::from_str(message).unwrap())
            .collect();
        assert_eq!(
            messages,
            [
                json!({"event": {"contentStart": {"type": "TEXT", "role": "USER"}}}),
                json!({"event": {"textOutput": {"content": "a \"quote\"", "role": "USER"}}}),
                json!({"event": {"contentEnd": {"type": "TEXT"}}}),
            ]
        );
        assert_eq!(
            shown(&Show::ReplyEnded { interrupted: true }),
            [r#"{"event":{"contentEnd":{"stopReason":"INTERRUPTED","type":"AUDIO"}}}"#]
        );
        assert_eq!(
            audio_output(&[1, 0, 255, 127]),
            r#"{"event":{"audioOutput":{"content":"AQD/fw=="}}}"#
        );
    }
}
