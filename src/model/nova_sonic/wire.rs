//! Every event that goes to Nova Sonic, as bytes. Pure: no clock, no stream.
//!
//! Names and shapes follow the Nova Sonic user guide, input events. Each event is a JSON object
//! with the single key `event`, whose value has a single key, the event's name.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::{audio::SampleRate, model::SessionSeed, transcript::Speaker};

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
                    voice_id: &config.voice.trim().to_lowercase(),
                },
            }),
        ];
        let instructions = match seed.instructions.trim() {
            "" => FALLBACK_INSTRUCTIONS,
            instructions => instructions,
        };
        events.extend(self.text(Role::System, false, instructions));
        for message in history::shape(&seed.history, features.history) {
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

    /// The answer to a tool call that nobody here can perform: one whole block. Without an
    /// answer the model would wait for ever.
    pub(super) fn tool_error(&self, tool_use_id: &str, error: &str) -> Vec<Vec<u8>> {
        let content_name = name();
        // A string whose text is a JSON object; anything else ends the stream.
        let content = serde_json::json!({ "error": error }).to_string();
        vec![
            encode(&Event::ContentStart(ContentStart {
                prompt_name: &self.prompt,
                content_name: &content_name,
                kind: "TOOL",
                interactive: false,
                role: Role::Tool,
                text_input_configuration: None,
                audio_input_configuration: None,
                tool_result_input_configuration: Some(ToolResult {
                    tool_use_id,
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
mod tests {
    use serde_json::{Value, json};

    use crate::{call::CallId, model::Said};

    use super::*;

    const NOVA_2: &str = "amazon.nova-2-sonic-v1:0";

    /// The one event in `bytes`: its name and its body.
    fn parse(bytes: &[u8]) -> (String, Value) {
        let document: Value = serde_json::from_slice(bytes).unwrap();
        let document = document.as_object().unwrap();
        assert_eq!(document.len(), 1, "only the key `event`");
        let event = document["event"].as_object().unwrap();
        assert_eq!(event.len(), 1, "only one event name");
        let (name, body) = event.iter().next().unwrap();
        (name.clone(), body.clone())
    }

    fn opening_of(config: &NovaSonicConfig, seed: &SessionSeed) -> Vec<(String, Value)> {
        Encoder::new()
            .opening(config, Features::of(&config.model_id), seed)
            .iter()
            .map(|bytes| parse(bytes))
            .collect()
    }

    fn seed(instructions: &str) -> SessionSeed {
        SessionSeed::new(CallId::new("call-1"), instructions, SampleRate::Hz16000)
    }

    /// Nova Sonic checklist 4, 8 and 10.
    #[test]
    fn a_session_opens_with_session_start_and_prompt_start() {
        let mut seed = seed("Sell nothing.");
        seed.output_rate = SampleRate::Hz24000;
        let config = NovaSonicConfig {
            voice: " Matthew ".to_owned(),
            ..NovaSonicConfig::default()
        };
        let events = opening_of(&config, &seed);
        assert_eq!(events[0].0, "sessionStart");
        assert_eq!(events[1].0, "promptStart");
        assert_eq!(
            events[1].1["audioOutputConfiguration"],
            json!({
                "mediaType": "audio/lpcm", "sampleRateHertz": 24000, "sampleSizeBits": 16,
                "channelCount": 1, "voiceId": "matthew", "encoding": "base64",
                "audioType": "SPEECH",
            })
        );
        assert_eq!(
            events[1].1["textOutputConfiguration"],
            json!({ "mediaType": "text/plain" })
        );
        assert_eq!(
            events
                .iter()
                .filter(|(name, _)| name == "sessionStart" || name == "promptStart")
                .count(),
            2
        );
    }

    /// Nova Sonic checklist 11: without tools, nothing about tools.
    #[test]
    fn a_prompt_without_tools_does_not_mention_them() {
        let (_, prompt) = &opening_of(&NovaSonicConfig::default(), &seed("Hi."))[1];
        assert_eq!(prompt.as_object().unwrap().len(), 3);
    }

    /// Nova Sonic checklist 9.
    #[test]
    fn sensitivity_is_nested_for_nova_2_and_absent_for_the_first_generation() {
        let session_start = |model: &str| {
            let config = NovaSonicConfig {
                model_id: model.to_owned(),
                endpointing: Some(Sensitivity::High),
                max_tokens: 2048,
                top_p: 0.9,
                temperature: 0.7,
                ..NovaSonicConfig::default()
            };
            opening_of(&config, &seed("Hi."))[0].1.clone()
        };
        let inference = json!({ "maxTokens": 2048, "topP": 0.9_f32, "temperature": 0.7_f32 });
        let nova_2 = session_start(NOVA_2);
        assert_eq!(
            nova_2["turnDetectionConfiguration"],
            json!({ "endpointingSensitivity": "HIGH" })
        );
        assert!(nova_2.get("endpointingSensitivity").is_none());
        let nova_1 = session_start("amazon.nova-sonic-v1:0");
        assert_eq!(nova_1.as_object().unwrap().len(), 1);
        assert!(nova_1["inferenceConfiguration"]["topP"].is_number());
        assert_eq!(
            nova_1["inferenceConfiguration"]["maxTokens"],
            inference["maxTokens"]
        );
    }

    #[test]
    fn fractions_are_written_as_people_write_them() {
        let start = &Encoder::new().opening(
            &NovaSonicConfig::default(),
            Features::of(NOVA_2),
            &seed("Hi."),
        )[0];
        let text = std::str::from_utf8(start).unwrap();
        assert!(text.contains(r#""topP":0.9,"temperature":0.7"#), "{text}");
    }

    /// Nova Sonic checklist 12, 13 and 14.
    #[test]
    fn one_system_block_comes_first_and_history_follows_it() {
        let mut seed = seed("You are Esther.");
        seed.history = vec![
            Said {
                speaker: Speaker::Caller,
                text: "Hello.".to_owned(),
            },
            Said {
                speaker: Speaker::Agent,
                text: "Good morning.".to_owned(),
            },
        ];
        let events = opening_of(&NovaSonicConfig::default(), &seed);
        let mut names = Vec::new();
        let blocks: Vec<_> = events[2..].chunks(3).collect();
        for block in &blocks {
            let [(start, body), (payload, _), (end, _)] = block else {
                panic!("a block of three events")
            };
            assert_eq!(
                [start.as_str(), payload, end],
                ["contentStart", "textInput", "contentEnd"]
            );
            assert_eq!(body["type"], "TEXT");
            assert_eq!(body["interactive"], false);
            assert_eq!(
                body["textInputConfiguration"],
                json!({ "mediaType": "text/plain" })
            );
            for (_, body) in *block {
                assert_eq!(body["contentName"], block[0].1["contentName"]);
                assert_eq!(body["promptName"], events[1].1["promptName"]);
            }
            names.push(block[0].1["contentName"].clone());
        }
        let roles: Vec<_> = blocks.iter().map(|b| b[0].1["role"].clone()).collect();
        assert_eq!(roles, ["SYSTEM", "USER", "ASSISTANT"]);
        assert_eq!(blocks[2][1].1["content"], "Good morning.");
        names.dedup();
        assert_eq!(names.len(), 3, "names are unique");
    }

    /// Nova Sonic checklist 12 and 14: long text is split, and never inside a character.
    #[test]
    fn a_long_prompt_is_one_block_of_several_pieces() {
        let instructions = "é€𝄞 and so on. ".repeat(1_000);
        let events = opening_of(&NovaSonicConfig::default(), &seed(&instructions));
        let texts: Vec<_> = events
            .iter()
            .filter(|(name, _)| name == "textInput")
            .map(|(_, body)| body["content"].as_str().unwrap().to_owned())
            .collect();
        assert!(texts.len() > 4);
        assert!(texts.iter().all(|text| text.len() <= TEXT_PIECE));
        assert_eq!(texts.concat(), instructions.trim());
        assert_eq!(
            events
                .iter()
                .filter(|(name, _)| name == "contentStart")
                .count(),
            1
        );
    }

    /// Nova Sonic checklist 12: the system block exists and has content, whatever the seed says.
    #[test]
    fn a_seed_without_instructions_still_has_a_system_prompt() {
        let events = opening_of(&NovaSonicConfig::default(), &seed(" \n"));
        assert_eq!(events[3].1["content"], FALLBACK_INSTRUCTIONS);
    }

    /// Nova Sonic checklist 15.
    #[test]
    fn audio_goes_into_one_interactive_container_as_base64() {
        let encoder = Encoder::new();
        let (name, start) = parse(&encoder.audio_start(SampleRate::Hz8000));
        assert_eq!(name, "contentStart");
        assert_eq!(start["type"], "AUDIO");
        assert_eq!(start["role"], "USER");
        assert_eq!(start["interactive"], true);
        assert_eq!(start["audioInputConfiguration"]["sampleRateHertz"], 8000);
        assert_eq!(
            start["audioInputConfiguration"].as_object().unwrap().len(),
            6
        );
        for length in [0, 2, 320, 640, 1280, 1920] {
            let pcm: Vec<u8> = (0..=255).cycle().take(length).collect();
            let (name, input) = parse(&encoder.audio(&pcm));
            assert_eq!(name, "audioInput");
            assert_eq!(input["contentName"], start["contentName"]);
            assert_eq!(input["promptName"], start["promptName"]);
            let content = STANDARD.decode(input["content"].as_str().unwrap());
            assert_eq!(content.unwrap(), pcm);
        }
    }

    /// Nova Sonic checklist 13: an interactive block is whole, and its name is fresh.
    #[test]
    fn text_for_the_model_to_answer_is_interactive_text_of_the_user() {
        let encoder = Encoder::new();
        let names: Vec<_> = (0..2)
            .map(|_| {
                let events = encoder.interactive_text("Say \"hello\"\nin two lines.");
                assert_eq!(events.len(), 3);
                let (_, start) = parse(&events[0]);
                assert_eq!(start["role"], "USER");
                assert_eq!(start["interactive"], true);
                let (_, text) = parse(&events[1]);
                assert_eq!(text["content"], "Say \"hello\"\nin two lines.");
                start["contentName"].clone()
            })
            .collect();
        assert_ne!(names[0], names[1]);
    }

    /// Nova Sonic checklist 30: the content is a string that parses to an object.
    #[test]
    fn a_refused_tool_call_is_answered_with_an_object_in_a_string() {
        let events = Encoder::new().tool_error("use-7", "no such \"tool\"");
        let (_, start) = parse(&events[0]);
        assert_eq!(start["type"], "TOOL");
        assert_eq!(start["role"], "TOOL");
        assert_eq!(
            start["toolResultInputConfiguration"],
            json!({
                "toolUseId": "use-7", "type": "TEXT",
                "textInputConfiguration": { "mediaType": "text/plain" },
            })
        );
        let (name, result) = parse(&events[1]);
        assert_eq!(name, "toolResult");
        let content: Value = serde_json::from_str(result["content"].as_str().unwrap()).unwrap();
        assert_eq!(content, json!({ "error": "no such \"tool\"" }));
        assert_eq!(parse(&events[2]).0, "contentEnd");
    }

    /// Nova Sonic checklist 45, the order of the events.
    #[test]
    fn a_session_closes_audio_then_prompt_then_itself() {
        let encoder = Encoder::new();
        let (_, start) = parse(&encoder.audio_start(SampleRate::Hz16000));
        let [content, prompt, session] = encoder.closing().map(|event| parse(&event));
        assert_eq!(content.0, "contentEnd");
        assert_eq!(content.1["contentName"], start["contentName"]);
        assert_eq!(
            prompt,
            (
                "promptEnd".to_owned(),
                json!({ "promptName": start["promptName"] })
            )
        );
        assert_eq!(session, ("sessionEnd".to_owned(), json!({})));
    }
}
