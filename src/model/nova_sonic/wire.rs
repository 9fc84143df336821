//! Every event that goes to Nova Sonic, as bytes. Pure: no clock, no stream.
//!
//! Names and shapes follow the Nova Sonic user guide, input events. Each event is a JSON object
//! with the single key `event`, whose value has a single key, the event's name.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::{
    audio::SampleRate,
    model::{Said, SessionSeed},
    tool::{ToolResult as Answer, ToolSpec},
    transcript::Speaker,
};

use super::{NovaSonicConfig, Sensitivity, capabilities::Features, history};

/// Writes the events of one session. It holds the two names that every event repeats: the
/// prompt's and the audio container's, of which a session has one each.
#[derive(Debug)]
pub(super) struct Encoder {
    prompt: String,
    audio: String,
    audio_prefix: String,
}

impl Encoder {
    /// An encoder with fresh names.
    pub(super) fn new() -> Self {
        let (prompt, audio) = (name(), name());
        // Every 40 ms of a call; names of hexadecimal digits need no escaping.
        let audio_prefix = format!(
            r#"{{"event":{{"audioInput":{{"promptName":"{prompt}","contentName":"{audio}","content":""#
        );
        Self {
            prompt,
            audio,
            audio_prefix,
        }
    }

    /// Everything that comes before the first audio: session, prompt, system prompt, history.
    pub(super) fn opening(
        &self,
        config: &NovaSonicConfig,
        features: Features,
        seed: &SessionSeed,
    ) -> Vec<Vec<u8>> {
        let voice = seed.voice.as_ref().unwrap_or(&config.voice);
        let voice = voice.trim().to_lowercase();
        let mut events = vec![
            encode(&Event::SessionStart {
                inference_configuration: Inference {
                    max_tokens: config.max_tokens,
                    top_p: config.top_p,
                    temperature: config.temperature,
                },
                turn_detection_configuration: config
                    .endpointing
                    .filter(|_| features.turn_detection)
                    .map(|sensitivity| TurnDetection {
                        endpointing_sensitivity: match sensitivity {
                            Sensitivity::High => "HIGH",
                            Sensitivity::Medium => "MEDIUM",
                            Sensitivity::Low => "LOW",
                        },
                    }),
            }),
            encode(&Event::PromptStart {
                prompt_name: &self.prompt,
                text_output_configuration: PLAIN,
                audio_output_configuration: AudioOutput {
                    format: Format::of(seed.output_rate),
                    voice_id: &voice,
                },
                tools: ToolSetup::of(&seed.tools),
            }),
        ];
        let instructions = match seed.instructions.trim() {
            "" => FALLBACK_INSTRUCTIONS,
            instructions => instructions,
        };
        events.extend(self.text(Role::System, false, instructions));
        events.extend(self.history(features, &seed.history));
        events
    }

    /// What was said before, in whole blocks: only before the first audio.
    pub(super) fn history(&self, features: Features, said: &[Said]) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        for message in history::shape(said, features.history) {
            let role = match message.speaker {
                Speaker::Caller => Role::User,
                Speaker::Agent => Role::Assistant,
            };
            events.extend(self.text(role, false, &message.text));
        }
        events
    }

    /// Text that the model answers as if the caller had said it: one whole block.
    pub(super) fn interactive_text(&self, text: &str) -> Vec<Vec<u8>> {
        self.text(Role::User, true, text)
    }

    /// Opens the one audio container of the session.
    pub(super) fn audio_start(&self, rate: SampleRate) -> Vec<u8> {
        encode(&Event::ContentStart(ContentStart {
            prompt_name: &self.prompt,
            content_name: &self.audio,
            kind: "AUDIO",
            interactive: true,
            role: Role::User,
            text_input_configuration: None,
            audio_input_configuration: Some(Format::of(rate)),
            tool_result_input_configuration: None,
        }))
    }

    /// One piece of the caller's audio, whole samples.
    pub(super) fn audio(&self, pcm: &[u8]) -> Vec<u8> {
        const SUFFIX: &str = r#""}}}"#;
        let size = self.audio_prefix.len() + pcm.len().div_ceil(3) * 4 + SUFFIX.len();
        let mut event = String::with_capacity(size);
        event.push_str(&self.audio_prefix);
        STANDARD.encode_string(pcm, &mut event);
        event.push_str(SUFFIX);
        event.into_bytes()
    }

    /// What came of a use of a tool: one whole block. Its content is a string whose text is a
    /// JSON object; anything else ends the stream.
    pub(super) fn tool_result(&self, result: &Answer) -> [Vec<u8>; 3] {
        let content_name = name();
        let content = result.output.to_json();
        [
            encode(&Event::ContentStart(ContentStart {
                prompt_name: &self.prompt,
                content_name: &content_name,
                kind: "TOOL",
                interactive: false,
                role: Role::Tool,
                text_input_configuration: None,
                audio_input_configuration: None,
                tool_result_input_configuration: Some(ToolResult {
                    tool_use_id: result.id.as_str(),
                    kind: "TEXT",
                    text_input_configuration: PLAIN,
                }),
            })),
            encode(&Event::ToolResult(self.payload(&content_name, &content))),
            encode(&self.content_end(&content_name)),
        ]
    }

    /// The three events that close a session, in order.
    pub(super) fn closing(&self) -> [Vec<u8>; 3] {
        [
            encode(&self.content_end(&self.audio)),
            encode(&Event::PromptEnd {
                prompt_name: &self.prompt,
            }),
            encode(&Event::SessionEnd {}),
        ]
    }

    fn text(&self, role: Role, interactive: bool, text: &str) -> Vec<Vec<u8>> {
        let content_name = name();
        let mut events = vec![encode(&Event::ContentStart(ContentStart {
            prompt_name: &self.prompt,
            content_name: &content_name,
            kind: "TEXT",
            interactive,
            role,
            text_input_configuration: Some(PLAIN),
            audio_input_configuration: None,
            tool_result_input_configuration: None,
        }))];
        for piece in pieces(text, TEXT_PIECE) {
            events.push(encode(&Event::TextInput(
                self.payload(&content_name, piece),
            )));
        }
        events.push(encode(&self.content_end(&content_name)));
        events
    }

    fn payload<'a>(&'a self, content_name: &'a str, content: &'a str) -> Payload<'a> {
        Payload {
            prompt_name: &self.prompt,
            content_name,
            content,
        }
    }

    fn content_end<'a>(&'a self, content_name: &'a str) -> Event<'a> {
        Event::ContentEnd {
            prompt_name: &self.prompt,
            content_name,
        }
    }
}

/// A name that was never used before, as the protocol wants for prompts and contents.
fn name() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `text` in pieces of at most `size` bytes, cut between characters.
fn pieces(mut text: &str, size: usize) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let (piece, rest) = text.split_at(text.floor_char_boundary(size));
        text = rest;
        Some(piece)
    })
}

fn encode(event: &Event<'_>) -> Vec<u8> {
    serde_json::to_vec(&Envelope { event })
        .expect("strings, numbers and booleans under string keys always serialise")
}

#[derive(Serialize)]
struct Envelope<'a> {
    event: &'a Event<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Event<'a> {
    SessionStart {
        inference_configuration: Inference,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn_detection_configuration: Option<TurnDetection>,
    },
    PromptStart {
        prompt_name: &'a str,
        text_output_configuration: Media,
        audio_output_configuration: AudioOutput<'a>,
        #[serde(flatten)]
        tools: Option<ToolSetup<'a>>,
    },
    ContentStart(ContentStart<'a>),
    TextInput(Payload<'a>),
    ToolResult(Payload<'a>),
    ContentEnd {
        prompt_name: &'a str,
        content_name: &'a str,
    },
    PromptEnd {
        prompt_name: &'a str,
    },
    SessionEnd {},
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inference {
    max_tokens: u32,
    top_p: f32,
    temperature: f32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TurnDetection {
    endpointing_sensitivity: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContentStart<'a> {
    prompt_name: &'a str,
    content_name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    interactive: bool,
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    text_input_configuration: Option<Media>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_input_configuration: Option<Format>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_result_input_configuration: Option<ToolResult<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    prompt_name: &'a str,
    content_name: &'a str,
    content: &'a str,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Role {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Media {
    media_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AudioOutput<'a> {
    #[serde(flatten)]
    format: Format,
    voice_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Format {
    media_type: &'static str,
    sample_rate_hertz: u32,
    sample_size_bits: u8,
    channel_count: u8,
    encoding: &'static str,
    audio_type: &'static str,
}

impl Format {
    /// Of the six fields the protocol leaves only the rate open.
    const fn of(rate: SampleRate) -> Self {
        Self {
            media_type: "audio/lpcm",
            sample_rate_hertz: rate.hertz(),
            sample_size_bits: 16,
            channel_count: 1,
            encoding: "base64",
            audio_type: "SPEECH",
        }
    }
}

/// What a prompt says of tools: all of it, or, where there are none, nothing at all.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolSetup<'a> {
    tool_use_output_configuration: Media,
    tool_configuration: ToolConfiguration<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfiguration<'a> {
    tools: Vec<OfferedTool<'a>>,
    tool_choice: ToolChoice,
}

/// The model decides. Any other choice would hold for the whole session, so that every turn
/// would have to use a tool.
#[derive(Serialize)]
struct ToolChoice {
    auto: Empty,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfferedTool<'a> {
    tool_spec: OfferedSpec<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfferedSpec<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: InputSchema,
}

/// A JSON Schema as the text of a string, not as an object.
#[derive(Serialize)]
struct InputSchema {
    json: String,
}

impl<'a> ToolSetup<'a> {
    fn of(tools: &'a [ToolSpec]) -> Option<Self> {
        let offered = |tool: &'a ToolSpec| OfferedTool {
            tool_spec: OfferedSpec {
                name: &tool.name,
                // An empty one is refused.
                description: match tool.description.as_str() {
                    "" => &tool.name,
                    description => description,
                },
                input_schema: InputSchema {
                    json: serde_json::Value::Object(tool.parameters.clone()).to_string(),
                },
            },
        };
        (!tools.is_empty()).then(|| Self {
            tool_use_output_configuration: Media {
                media_type: "application/json",
            },
            tool_configuration: ToolConfiguration {
                tools: tools.iter().map(offered).collect(),
                tool_choice: ToolChoice { auto: Empty {} },
            },
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'a> {
    tool_use_id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    text_input_configuration: Media,
}

const PLAIN: Media = Media {
    media_type: "text/plain",
};

/// A single event of 32 KB was refused in the field; blocks may have any number of events.
const TEXT_PIECE: usize = 4_000;

/// The system prompt of a seed without instructions: the protocol wants one, and not an empty one.
const FALLBACK_INSTRUCTIONS: &str = "You are talking with a caller on the phone. Answer briefly.";

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
