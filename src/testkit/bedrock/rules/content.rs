//! Contents: which may start when, what they may hold, how they end.

use serde_json::Value;

use super::{Accepted, Audio, Block, HISTORY_FIRST, Kind, Rules};
use crate::testkit::bedrock::{
    report::{Breach, Rule},
    shapes,
};

impl Rules {
    pub(super) fn content_start(&mut self, body: &Value) -> Result<Accepted, Breach> {
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
            Some(used) if !used.answered => {
                used.answered = true;
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

    pub(super) fn text_input(&mut self, body: &Value) -> Result<Accepted, Breach> {
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

    pub(super) fn tool_result(&mut self, body: &Value) -> Result<Accepted, Breach> {
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

    pub(super) fn content_end(&mut self, body: &Value) -> Result<Accepted, Breach> {
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

/// 50 KB per message and 200 KB in all, since June 2026 (Nova 2 user guide, chat history).
const MAX_MESSAGE: usize = 51_200;
const MAX_HISTORY: usize = 204_800;

const HISTORY_OVER_LIMIT: &str =
    "Chat history is over max limit. Please trim the history and retry.";
