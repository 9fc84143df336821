//! The fake against the real SDK.

mod conversation;
mod faults;
mod rules;
mod speaker;
mod transport;

use std::time::Duration;

use aws_sdk_bedrockruntime::{
    Client,
    error::SdkError,
    operation::invoke_model_with_bidirectional_stream::InvokeModelWithBidirectionalStreamError,
    primitives::{Blob, event_stream::EventReceiver},
    types::{
        BidirectionalInputPayloadPart, InvokeModelWithBidirectionalStreamInput as Up,
        InvokeModelWithBidirectionalStreamOutput as Down,
        error::{
            InvokeModelWithBidirectionalStreamInputError as UpError,
            InvokeModelWithBidirectionalStreamOutputError as DownError,
        },
    },
};
use aws_smithy_types::event_stream::RawMessage;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;

const NOVA_2: &str = "amazon.nova-2-sonic-v1:0";
const NOVA_1: &str = "amazon.nova-sonic-v1:0";

/// A fake whose clocks run fast and which does not mind audio that comes at once.
fn quick() -> Options {
    Options {
        time_scale: 20.0,
        audio_speed: 20.0,
        audio_burst: Duration::from_secs(3_600),
        audio_gap: Duration::from_secs(3_600),
        ..Options::default()
    }
}

async fn fake(options: Options) -> FakeBedrock {
    FakeBedrock::start(options).await.unwrap()
}

/// A fake whose sessions all follow `script`.
async fn scripted(script: SessionScript) -> FakeBedrock {
    fake(quick().on_session(move |_| script.clone())).await
}

/// A client written by hand on the raw SDK.
struct Raw {
    input: Option<mpsc::Sender<Up>>,
    output: EventReceiver<Down, DownError>,
}

type OpenError = SdkError<InvokeModelWithBidirectionalStreamError>;

impl Raw {
    /// Opens a session with these events already on their way.
    async fn open_with(
        fake: &FakeBedrock,
        model: &str,
        events: &[Value],
    ) -> Result<Self, OpenError> {
        Self::open_on(&Client::new(&fake.sdk_config().await), model, events).await
    }

    async fn open_on(client: &Client, model: &str, events: &[Value]) -> Result<Self, OpenError> {
        let (input, queue) = mpsc::channel(events.len() + 16);
        for event in events {
            input.try_send(up(event)).unwrap();
        }
        let body = stream::poll_fn({
            let mut queue = queue;
            move |cx| queue.poll_recv(cx).map(|event| event.map(Ok::<_, UpError>))
        });
        let opened = client
            .invoke_model_with_bidirectional_stream()
            .model_id(model)
            .body(body.into())
            .send()
            .await?;
        Ok(Self {
            input: Some(input),
            output: opened.body,
        })
    }

    /// Opens a conformant session, ready for audio.
    async fn open(fake: &FakeBedrock) -> Self {
        let mut events = opening();
        events.push(audio_start());
        Self::open_with(fake, NOVA_2, &events).await.unwrap()
    }

    async fn send(&self, event: Value) {
        // A session that is over takes nothing more: the test looks at what it says.
        let _ = self.input.as_ref().unwrap().send(up(&event)).await;
    }

    async fn send_all(&self, events: impl IntoIterator<Item = Value>) {
        for event in events {
            self.send(event).await;
        }
    }

    /// Sends this much audio of this level in events of 40 ms.
    async fn audio(&self, length: Duration, level: i16) {
        for _ in 0..length.as_millis() / 40 {
            self.send(audio(&level.to_le_bytes().repeat(640))).await;
        }
    }

    /// Speaks for as long, then is silent for a second.
    async fn speak(&self, length: Duration) {
        self.audio(length, 8_000).await;
        self.audio(Duration::from_secs(1), 0).await;
    }

    /// The next event, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Value>, SdkError<DownError, RawMessage>> {
        Ok(match self.output.recv().await? {
            Some(Down::Chunk(part)) => {
                Some(serde_json::from_slice(part.bytes().unwrap().as_ref()).unwrap())
            }
            Some(_) => Some(json!("unknown")),
            None => None,
        })
    }

    /// Events up to the first one that `is` wanted, which is the last of them.
    async fn until(&mut self, is: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.unwrap().expect("the output ended early");
            events.push(event);
            if is(&events[events.len() - 1]) {
                return events;
            }
        }
    }

    /// The error that ends the output.
    async fn error(&mut self) -> SdkError<DownError, RawMessage> {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the output ended without an error"),
                Err(error) => return error,
            }
        }
    }

    /// The text of the validation exception that ends the output.
    async fn validation(&mut self) -> String {
        match self.error().await.into_service_error() {
            DownError::ValidationException(error) => error.message().unwrap_or_default().to_owned(),
            other => panic!("no validation exception: {other:?}"),
        }
    }

    /// Closes by the book and gives what still came.
    async fn close(mut self) -> Vec<Value> {
        self.send_all([content_end("audio"), prompt_end(), session_end()])
            .await;
        self.input = None;
        let mut events = Vec::new();
        while let Some(event) = self.next().await.unwrap() {
            events.push(event);
        }
        events
    }
}

/// Whether a text block with this content begins with `event`.
fn says(content: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"]["textOutput"]["content"] == content
}

/// Whether `event` ends the audio of a turn.
fn ends_turn(event: &Value) -> bool {
    let end = &event["event"]["contentEnd"];
    end["type"] == "AUDIO" && end["stopReason"] == "END_TURN"
}

/// The decoded audio in `events`.
fn spoken(events: &[Value]) -> Vec<u8> {
    events
        .iter()
        .filter_map(|event| event["event"]["audioOutput"]["content"].as_str())
        .flat_map(|content| STANDARD.decode(content).unwrap())
        .collect()
}

/// A short name per event: what it is, of whom, how it stops.
fn outline(events: &[Value]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for event in events {
        let (name, body) = event["event"].as_object().unwrap().iter().next().unwrap();
        let text = |field: &str| body[field].as_str().unwrap_or_default();
        let line = match name.as_str() {
            "contentStart" if text("type") == "TEXT" => format!(
                "{} {}",
                text("role"),
                serde_json::from_str::<Value>(text("additionalModelFields")).unwrap()
                    ["generationStage"]
                    .as_str()
                    .unwrap()
            ),
            "contentStart" => format!("start {}", text("type")),
            "textOutput" => text("content").to_owned(),
            "contentEnd" => format!("end {} {}", text("type"), text("stopReason")),
            other => other.to_owned(),
        };
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines
}

fn up(event: &Value) -> Up {
    Up::Chunk(
        BidirectionalInputPayloadPart::builder()
            .bytes(Blob::new(event.to_string()))
            .build(),
    )
}

fn opening() -> Vec<Value> {
    let mut events = vec![session_start(), prompt_start()];
    events.extend(text_block(
        "system",
        "SYSTEM",
        false,
        "You answer the phone.",
    ));
    events
}

fn session_start() -> Value {
    json!({ "event": { "sessionStart": {
        "inferenceConfiguration": { "maxTokens": 1024, "topP": 0.9, "temperature": 0.7 },
        "turnDetectionConfiguration": { "endpointingSensitivity": "MEDIUM" },
    } } })
}

fn prompt_start() -> Value {
    json!({ "event": { "promptStart": {
        "promptName": "p",
        "textOutputConfiguration": { "mediaType": "text/plain" },
        "audioOutputConfiguration": {
            "mediaType": "audio/lpcm",
            "sampleRateHertz": 16000,
            "sampleSizeBits": 16,
            "channelCount": 1,
            "voiceId": "tiffany",
            "encoding": "base64",
            "audioType": "SPEECH",
        },
    } } })
}

fn text_start(name: &str, role: &str, interactive: bool) -> Value {
    json!({ "event": { "contentStart": {
        "promptName": "p",
        "contentName": name,
        "type": "TEXT",
        "interactive": interactive,
        "role": role,
        "textInputConfiguration": { "mediaType": "text/plain" },
    } } })
}

fn text_input(name: &str, text: &str) -> Value {
    json!({ "event": { "textInput": { "promptName": "p", "contentName": name, "content": text } } })
}

fn text_block(name: &str, role: &str, interactive: bool, text: &str) -> [Value; 3] {
    [
        text_start(name, role, interactive),
        text_input(name, text),
        content_end(name),
    ]
}

fn tool_block(name: &str, use_id: &str, result: &str) -> [Value; 3] {
    [
        json!({ "event": { "contentStart": {
            "promptName": "p",
            "contentName": name,
            "type": "TOOL",
            "interactive": false,
            "role": "TOOL",
            "toolResultInputConfiguration": {
                "toolUseId": use_id,
                "type": "TEXT",
                "textInputConfiguration": { "mediaType": "text/plain" },
            },
        } } }),
        json!({ "event": { "toolResult": {
            "promptName": "p", "contentName": name, "content": result,
        } } }),
        content_end(name),
    ]
}

fn audio_start() -> Value {
    json!({ "event": { "contentStart": {
        "promptName": "p",
        "contentName": "audio",
        "type": "AUDIO",
        "interactive": true,
        "role": "USER",
        "audioInputConfiguration": {
            "mediaType": "audio/lpcm",
            "sampleRateHertz": 16000,
            "sampleSizeBits": 16,
            "channelCount": 1,
            "audioType": "SPEECH",
            "encoding": "base64",
        },
    } } })
}

fn audio(pcm: &[u8]) -> Value {
    json!({ "event": { "audioInput": {
        "promptName": "p", "contentName": "audio", "content": STANDARD.encode(pcm),
    } } })
}

fn content_end(name: &str) -> Value {
    json!({ "event": { "contentEnd": { "promptName": "p", "contentName": name } } })
}

fn prompt_end() -> Value {
    json!({ "event": { "promptEnd": { "promptName": "p" } } })
}

fn session_end() -> Value {
    json!({ "event": { "sessionEnd": {} } })
}

/// Half a second, about.
const SHORT: Duration = Duration::from_millis(480);
