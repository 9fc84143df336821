//! The order in which input events may come. Pure: an event in, what it means or which rule it
//! breaks out.

use std::collections::{HashMap, HashSet};

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
    /// Tool calls by id, and whether they were answered.
    tools: HashMap<String, bool>,
    noted: Vec<Breach>,
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
    pub(super) fn tool_called(&mut self, id: String) {
        self.tools.insert(id, false);
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

    fn content_start(&mut self, body: &Value) -> Result<Accepted, Breach> {
        self.in_prompt("contentStart", body)?;
        let start = shapes::content_start(body)?;
        if let Some(open) = &self.block {
            return Err(Breach::invalid(
                Rule::Block,
                format!("contentStart while the block {} is open", open.name),
            ));
        }
        if !self.names.insert(start.name.clone()) {
            return Err(Breach::invalid(
                Rule::Block,
                format!("contentName {} is used twice", start.name),
            ));
        }
        if !self.system && start.role != "SYSTEM" {
            return Err(Breach::fatal(
                Rule::System,
                format!("the first content has the role {}", start.role),
                "First content must have SYSTEM role",
            ));
        }
        let kind = match (start.kind, start.role) {
            ("AUDIO", "USER") => return self.open_audio(start),
            ("TEXT", "SYSTEM") if self.system => {
                return Err(Breach::fatal(
                    Rule::System,
                    "a second SYSTEM block",
                    "Duplicate SYSTEM content. SYSTEM content is allowed only once per prompt",
                ));
            }
            ("TEXT", "SYSTEM") if !start.interactive => Kind::System,
            ("TEXT", "SYSTEM_SPEECH") if !start.interactive => self.system_speech()?,
            ("TEXT", "USER") if start.interactive => self.interactive()?,
            ("TEXT", "USER") => self.history_block(false)?,
            ("TEXT", "ASSISTANT") if !start.interactive && self.is_listening() => Kind::Remark,
            ("TEXT", "ASSISTANT") if !start.interactive => self.history_block(true)?,
            ("TOOL", "TOOL") if !start.interactive => self.tool_block(start.tool_use)?,
            (kind, role) => {
                return Err(Breach::invalid(
                    Rule::Block,
                    format!(
                        "no such content: {kind} of {role}, interactive {}",
                        start.interactive
                    ),
                ));
            }
        };
        self.system = true;
        self.block = Some(Block {
            name: start.name,
            kind,
            payloads: 0,
            text: String::new(),
        });
        Ok(Accepted::Nothing)
    }

    fn open_audio(&mut self, start: shapes::ContentStart<'_>) -> Result<Accepted, Breach> {
        if !start.interactive {
            return Err(Breach::invalid(
                Rule::AudioContainer,
                "the audio container is not interactive",
            ));
        }
        if !matches!(self.audio, Audio::None) {
            return Err(Breach::invalid(
                Rule::AudioContainer,
                "a second audio container",
            ));
        }
        let Some(rate) = start.rate else {
            return Err(Breach::invalid(
                Rule::AudioContainer,
                "no audioInputConfiguration",
            ));
        };
        self.audio = Audio::Open {
            name: start.name,
            fed: false,
        };
        Ok(Accepted::AudioOpened(rate))
    }

    fn system_speech(&mut self) -> Result<Kind, Breach> {
        let early = self.history.last_assistant.is_none() && matches!(self.audio, Audio::None);
        if !self.nova2 || self.system_speech || !early {
            return Err(Breach::invalid(
                Rule::System,
                "SYSTEM_SPEECH stands once, right after SYSTEM, from Nova 2 on",
            ));
        }
        self.system_speech = true;
        Ok(Kind::SystemSpeech)
    }

    fn interactive(&mut self) -> Result<Kind, Breach> {
        if !self.is_listening() {
            return Err(Breach::invalid(
                Rule::History,
                "interactive text outside the audio container",
            ));
        }
        if !self.nova2 {
            self.noted.push(Breach::noted(
                Rule::InteractiveText,
                "interactive text to a model that does not answer it",
            ));
            return Ok(Kind::Remark);
        }
        Ok(Kind::Interactive)
    }

    fn history_block(&mut self, assistant: bool) -> Result<Kind, Breach> {
        if !matches!(self.audio, Audio::None) {
            return Err(Breach::fatal(
                Rule::History,
                "history after the audio container was opened",
                HISTORY_FIRST,
            ));
        }
        match self.history.last_assistant {
            None if assistant => {
                return Err(Breach::fatal(
                    Rule::History,
                    "the history begins with the assistant",
                    "First message in chat history should not be Assistant",
                ));
            }
            Some(last) if last == assistant => self.noted.push(Breach::noted(
                Rule::History,
                "two messages of one role in a row",
            )),
            _ => {}
        }
        self.history.last_assistant = Some(assistant);
        Ok(Kind::History { assistant })
    }

    fn tool_block(&mut self, id: Option<&str>) -> Result<Kind, Breach> {
        let Some(id) = id else {
            return Err(Breach::invalid(
                Rule::ToolResult,
                "no toolResultInputConfiguration",
            ));
        };
        match self.tools.get_mut(id) {
            Some(answered) if !*answered => {
                *answered = true;
                Ok(Kind::Tool(id.to_owned()))
            }
            Some(_) => Err(Breach::invalid(
                Rule::ToolResult,
                format!("a second result for the tool use {id}"),
            )),
            None => Err(Breach::fatal(
                Rule::ToolResult,
                format!("a result for the unknown tool use {id}"),
                format!("No tool use with the id {id} is pending"),
            )),
        }
    }

    fn text_input(&mut self, body: &Value) -> Result<Accepted, Breach> {
        let content = self.payload("textInput", body)?;
        let Some(block) = self
            .block
            .as_mut()
            .filter(|block| !matches!(block.kind, Kind::Tool(_)))
        else {
            return Err(Breach::invalid(
                Rule::Block,
                "textInput inside another kind of block",
            ));
        };
        block.payloads += 1;
        block.text.push_str(content);
        let length = block.text.len();
        let history = matches!(block.kind, Kind::History { .. });
        if content.len() > MAX_MESSAGE || (history && length > MAX_MESSAGE) {
            return Err(Breach::fatal(
                Rule::History,
                format!("a text of {length} bytes"),
                HISTORY_OVER_LIMIT,
            ));
        }
        if history {
            self.history.bytes += content.len();
            if self.history.bytes > MAX_HISTORY {
                return Err(Breach::fatal(
                    Rule::History,
                    format!("a history of {} bytes", self.history.bytes),
                    HISTORY_OVER_LIMIT,
                ));
            }
        }
        Ok(Accepted::Nothing)
    }

    fn tool_result(&mut self, body: &Value) -> Result<Accepted, Breach> {
        let content = self.payload("toolResult", body)?;
        let Some(block) = self
            .block
            .as_mut()
            .filter(|block| matches!(block.kind, Kind::Tool(_)))
        else {
            return Err(Breach::invalid(
                Rule::Block,
                "toolResult inside another kind of block",
            ));
        };
        if !matches!(serde_json::from_str(content), Ok(Value::Object(_))) {
            return Err(Breach::fatal(
                Rule::ToolResult,
                "the result is not the text of a JSON object",
                "Tool Response parsing error",
            ));
        }
        block.payloads += 1;
        if block.payloads > 1 {
            return Err(Breach::invalid(
                Rule::ToolResult,
                "two results in one block",
            ));
        }
        content.clone_into(&mut block.text);
        Ok(Accepted::Nothing)
    }

    fn content_end(&mut self, body: &Value) -> Result<Accepted, Breach> {
        self.in_prompt("contentEnd", body)?;
        let name = shapes::names(body, "contentEnd", &["promptName", "contentName"])?
            .get("contentName")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if let Some(block) = self.block.take_if(|block| block.name == name) {
            return self.end_block(block);
        }
        match &self.audio {
            Audio::Open { name: open, .. } if open == name && self.block.is_some() => {
                Err(Breach::invalid(
                    Rule::Block,
                    "the audio container ends while another block is open",
                ))
            }
            Audio::Open { name: open, fed } if open == name => {
                if !fed {
                    return Err(no_data(name));
                }
                self.audio = Audio::Ended;
                Ok(Accepted::AudioEnded)
            }
            _ => Err(Breach::invalid(
                Rule::Block,
                format!("contentEnd of {name}, which is not open"),
            )),
        }
    }

    fn end_block(&mut self, block: Block) -> Result<Accepted, Breach> {
        if block.payloads == 0 {
            return Err(no_data(&block.name));
        }
        Ok(match block.kind {
            Kind::System => Accepted::SystemDone,
            Kind::SystemSpeech | Kind::Remark => Accepted::Nothing,
            Kind::History { assistant } => {
                if is_marker(&block.text) {
                    self.noted.push(Breach::noted(
                        Rule::History,
                        "the interrupted marker stands in the history",
                    ));
                }
                if block.text.trim().is_empty() {
                    self.noted.push(Breach::noted(
                        Rule::History,
                        format!(
                            "an empty message of the {}",
                            if assistant { "assistant" } else { "user" }
                        ),
                    ));
                }
                Accepted::Nothing
            }
            Kind::Interactive => Accepted::Interactive(block.text),
            Kind::Tool(id) => Accepted::ToolResult {
                id,
                content: block.text,
            },
        })
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

    /// The content of a payload event that belongs to the open block.
    fn payload<'a>(&self, event: &str, body: &'a Value) -> Result<&'a str, Breach> {
        self.in_prompt(event, body)?;
        let fields = shapes::names(body, event, &["promptName", "contentName", "content"])?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        match &self.block {
            Some(block) if block.name == text("contentName") => {}
            Some(block) => {
                return Err(Breach::invalid(
                    Rule::Block,
                    format!("{event} for another content than {}", block.name),
                ));
            }
            None => {
                return Err(Breach::invalid(
                    Rule::Block,
                    format!("{event} outside a block"),
                ));
            }
        }
        Ok(fields
            .get("content")
            .and_then(Value::as_str)
            .unwrap_or_default())
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

/// The interrupted marker is a JSON object, in any white space.
fn is_marker(text: &str) -> bool {
    serde_json::from_str::<Value>(text.trim())
        .is_ok_and(|value| value.get("interrupted") == Some(&Value::Bool(true)))
}

fn no_data(name: &str) -> Breach {
    Breach::fatal(
        Rule::EmptyContent,
        format!("contentEnd of {name} without any payload"),
        format!("Cannot end content {name} as no content data was received"),
    )
}

fn keys(body: &Value) -> String {
    match body {
        Value::Object(fields) => fields.keys().cloned().collect::<Vec<_>>().join(", "),
        _ => "no object".into(),
    }
}

/// 50 KB per message and 200 KB in all, since June 2026 (Nova 2 user guide, chat history).
const MAX_MESSAGE: usize = 51_200;
const MAX_HISTORY: usize = 204_800;

const HISTORY_FIRST: &str = "Chat history should be sent completely before streaming audio";
const HISTORY_OVER_LIMIT: &str =
    "Chat history is over max limit. Please trim the history and retry.";
