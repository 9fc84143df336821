//! The order in which input events may come. Pure: an event in, what it means or which rule it
//! breaks out.

mod content;

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    report::{Breach, Rule},
    shapes::{self, Prompt},
    wire::AudioInput,
};
use crate::audio::SampleRate;

/// What an accepted event means to the session.
#[derive(Debug, PartialEq)]
pub(super) enum Accepted {
    /// Nothing yet.
    Nothing,
    /// The prompt is open.
    Prompted(Prompt),
    /// The SYSTEM block is complete.
    SystemDone,
    /// The caller's audio will come at this rate.
    AudioOpened(SampleRate),
    /// Words to be answered.
    Interactive(String),
    /// The result of a tool call.
    ToolResult { id: String, content: String },
    /// The audio container is closed.
    AudioEnded,
    /// The conversation is over.
    PromptEnded,
    /// So is the session.
    SessionEnded,
}

/// Where a session stands.
pub(super) struct Rules {
    /// Nova 2 and later: nested turn detection, text during a session.
    nova2: bool,
    stage: Stage,
    prompt: String,
    names: HashSet<String>,
    block: Option<Block>,
    audio: Audio,
    system: bool,
    system_speech: bool,
    history: History,
    /// Tool calls by id.
    tools: HashMap<String, ToolUse>,
    noted: Vec<Breach>,
}

/// A call of a tool.
struct ToolUse {
    called: Instant,
    answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Fresh,
    Started,
    Prompted,
    PromptEnded,
    SessionEnded,
}

struct Block {
    name: String,
    kind: Kind,
    payloads: usize,
    text: String,
}

enum Kind {
    System,
    SystemSpeech,
    History {
        assistant: bool,
    },
    Interactive,
    /// Text of the assistant during the session: accepted, without effect.
    Remark,
    Tool(String),
}

enum Audio {
    None,
    Open { name: String, fed: bool },
    Ended,
}

#[derive(Default)]
struct History {
    bytes: usize,
    last_assistant: Option<bool>,
}

impl Rules {
    /// The rules for the model of this id.
    pub(super) fn new(model: &str) -> Self {
        Self {
            nova2: !model.contains("amazon.nova-sonic-v1"),
            stage: Stage::Fresh,
            prompt: String::new(),
            names: HashSet::new(),
            block: None,
            audio: Audio::None,
            system: false,
            system_speech: false,
            history: History::default(),
            tools: HashMap::new(),
            noted: Vec::new(),
        }
    }

    /// The next event that is no audio.
    pub(super) fn take(&mut self, name: &str, body: &Value) -> Result<Accepted, Breach> {
        match name {
            "sessionStart" => self.session_start(body),
            "promptStart" => self.prompt_start(body),
            "contentStart" => self.content_start(body),
            "textInput" => self.text_input(body),
            "toolResult" => self.tool_result(body),
            "contentEnd" => self.content_end(body),
            "promptEnd" => self.prompt_end(body),
            "sessionEnd" => self.session_end(body),
            // An audioInput that is well-formed never comes here.
            "audioInput" => Err(Breach::invalid(
                Rule::AudioContainer,
                format!("audioInput with wrong fields: {}", keys(body)),
            )),
            other => Err(Breach::invalid(
                Rule::Payload,
                format!("no such input event: {other}"),
            )),
        }
    }

    /// The next audio; its samples are decoded into `pcm`, which is cleared first.
    pub(super) fn take_audio(
        &mut self,
        input: &AudioInput<'_>,
        pcm: &mut Vec<u8>,
    ) -> Result<(), Breach> {
        pcm.clear();
        if let Some(block) = &self.block {
            return Err(Breach::fatal(
                Rule::AudioInBlock,
                format!("audioInput inside the block {}", block.name),
                HISTORY_FIRST,
            ));
        }
        let Audio::Open { name, fed } = &mut self.audio else {
            return Err(Breach::fatal(
                Rule::AudioContainer,
                "audioInput without an open audio container",
                HISTORY_FIRST,
            ));
        };
        if *name != *input.content_name || self.prompt != *input.prompt_name {
            return Err(Breach::invalid(
                Rule::AudioContainer,
                "audioInput names another prompt or content",
            ));
        }
        STANDARD
            .decode_vec(input.content.as_bytes(), pcm)
            .map_err(|error| {
                Breach::invalid(
                    Rule::AudioContainer,
                    format!("audio is not base64: {error}"),
                )
            })?;
        if pcm.is_empty() || !pcm.len().is_multiple_of(2) {
            return Err(Breach::invalid(
                Rule::AudioContainer,
                format!("audio of {} bytes is no number of samples", pcm.len()),
            ));
        }
        *fed = true;
        Ok(())
    }

    /// The end of the input.
    pub(super) fn end(&self) -> Result<(), Breach> {
        match self.stage {
            Stage::SessionEnded => Ok(()),
            Stage::PromptEnded => Err(Breach::noted(
                Rule::Close,
                "the input ended without sessionEnd",
            )),
            Stage::Prompted => Err(Breach::fatal(
                Rule::Close,
                "the input ended without promptEnd",
                format!("The following prompts were not closed: [{}]", self.prompt),
            )),
            Stage::Fresh | Stage::Started => Err(Breach::invalid(
                Rule::Close,
                "the input ended before promptStart",
            )),
        }
    }

    /// The service called a tool.
    pub(super) fn tool_called(&mut self, now: Instant, id: String) {
        let used = ToolUse {
            called: now,
            answered: false,
        };
        self.tools.insert(id, used);
    }

    /// The conversation ends: calls that the client has known for a while and not answered.
    pub(super) fn unanswered(&self, now: Instant) -> impl Iterator<Item = Breach> {
        self.tools
            .iter()
            .filter(move |(_, used)| {
                !used.answered && now.saturating_duration_since(used.called) > TOOL_GRACE
            })
            .map(|(id, _)| {
                Breach::noted(
                    Rule::ToolResult,
                    format!("the tool use {id} was never answered"),
                )
            })
    }

    /// Breaches that the service lets pass, since this was asked last.
    pub(super) fn noted(&mut self) -> Vec<Breach> {
        std::mem::take(&mut self.noted)
    }

    /// Whether audio is being taken.
    pub(super) fn is_listening(&self) -> bool {
        matches!(self.audio, Audio::Open { .. })
    }

    fn session_start(&mut self, body: &Value) -> Result<Accepted, Breach> {
        if self.stage != Stage::Fresh {
            return Err(Breach::invalid(
                Rule::Opening,
                "sessionStart is not the first event",
            ));
        }
        shapes::session_start(body, self.nova2)?;
        self.stage = Stage::Started;
        Ok(Accepted::Nothing)
    }

    fn prompt_start(&mut self, body: &Value) -> Result<Accepted, Breach> {
        if self.stage != Stage::Started {
            return Err(Breach::invalid(
                Rule::Opening,
                "promptStart is not the second event",
            ));
        }
        let prompt = shapes::prompt_start(body, self.nova2)?;
        self.prompt.clone_from(&prompt.name);
        self.stage = Stage::Prompted;
        Ok(Accepted::Prompted(prompt))
    }

    fn prompt_end(&mut self, body: &Value) -> Result<Accepted, Breach> {
        self.in_prompt("promptEnd", body)?;
        shapes::names(body, "promptEnd", &["promptName"])?;
        if self.block.is_some() || self.is_listening() {
            return Err(Breach::fatal(
                Rule::Close,
                "promptEnd while a content is open",
                "All contents must be closed before ending prompt",
            ));
        }
        if matches!(self.audio, Audio::None) {
            return Err(Breach::fatal(
                Rule::Close,
                "promptEnd without any audio content",
                "At least one audio content is required",
            ));
        }
        self.stage = Stage::PromptEnded;
        Ok(Accepted::PromptEnded)
    }

    fn session_end(&mut self, body: &Value) -> Result<Accepted, Breach> {
        if self.stage != Stage::PromptEnded {
            return Err(Breach::invalid(
                Rule::Close,
                "sessionEnd does not follow promptEnd",
            ));
        }
        shapes::names(body, "sessionEnd", &[])?;
        self.stage = Stage::SessionEnded;
        Ok(Accepted::SessionEnded)
    }

    fn in_prompt(&self, event: &str, body: &Value) -> Result<(), Breach> {
        let rule = if self.stage < Stage::Prompted {
            Rule::Opening
        } else {
            Rule::Close
        };
        if self.stage != Stage::Prompted {
            return Err(Breach::invalid(
                rule,
                format!("{event} outside the prompt ({:?})", self.stage),
            ));
        }
        if body.get("promptName").and_then(Value::as_str) != Some(&self.prompt) {
            return Err(Breach::invalid(
                Rule::Block,
                format!("{event} names another prompt"),
            ));
        }
        Ok(())
    }
}

fn keys(body: &Value) -> String {
    match body {
        Value::Object(fields) => fields.keys().cloned().collect::<Vec<_>>().join(", "),
        _ => "no object".into(),
    }
}

/// A call that is younger than this when the client closes may not have reached it.
const TOOL_GRACE: Duration = Duration::from_millis(500);

const HISTORY_FIRST: &str = "Chat history should be sent completely before streaming audio";
