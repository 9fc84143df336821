//! The output events of Nova Sonic as they stand on the wire. Everything may be missing.

use std::borrow::Cow;

use serde::Deserialize;

use super::decode::Stage;
use crate::model::Usage;

#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) event: Event<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub(super) audio_output: Option<AudioOutput<'a>>,
    #[serde(borrow)]
    pub(super) text_output: Option<TextOutput<'a>>,
    #[serde(borrow)]
    pub(super) content_start: Option<ContentStart<'a>>,
    #[serde(borrow)]
    pub(super) content_end: Option<ContentEnd<'a>>,
    pub(super) usage_event: Option<UsageEvent>,
    #[serde(borrow)]
    pub(super) tool_use: Option<ToolUse<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AudioOutput<'a> {
    #[serde(borrow)]
    pub(super) content_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) content: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TextOutput<'a> {
    #[serde(borrow)]
    pub(super) content_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) role: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) content: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContentStart<'a> {
    #[serde(borrow)]
    pub(super) content_id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) role: Cow<'a, str>,
    /// JSON in a string.
    additional_model_fields: Option<String>,
    pub(super) audio_output_configuration: Option<Format>,
}

impl ContentStart<'_> {
    pub(super) fn stage(&self) -> Option<Stage> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields {
            generation_stage: String,
        }
        let fields: Fields = serde_json::from_str(self.additional_model_fields.as_deref()?).ok()?;
        match fields.generation_stage.as_str() {
            "FINAL" => Some(Stage::Final),
            "SPECULATIVE" => Some(Stage::Speculative),
            _ => None,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Format {
    pub(super) sample_rate_hertz: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContentEnd<'a> {
    #[serde(borrow)]
    pub(super) content_id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) stop_reason: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ToolUse<'a> {
    #[serde(borrow)]
    pub(super) tool_use_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) tool_name: Cow<'a, str>,
    /// The arguments: JSON in a string.
    #[serde(borrow)]
    pub(super) content: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct UsageEvent {
    total_input_tokens: u64,
    total_output_tokens: u64,
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    delta: Option<Tokens>,
    total: Option<Tokens>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input: Kinds,
    output: Kinds,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Kinds {
    speech_tokens: u64,
    text_tokens: u64,
}

impl UsageEvent {
    /// What was used since the last event: as the event says, or else the difference
    /// between its totals and what is `known`. Bare totals do not tell speech from text and
    /// count as speech, so that they are never taken for cheaper than they are.
    pub(super) fn since(&self, known: Usage) -> Usage {
        if let Some(delta) = self.details.delta {
            return delta.usage();
        }
        let total = self.details.total.map_or_else(
            || Usage {
                input_speech_tokens: self
                    .total_input_tokens
                    .saturating_sub(known.input_text_tokens),
                input_text_tokens: known.input_text_tokens,
                output_speech_tokens: self
                    .total_output_tokens
                    .saturating_sub(known.output_text_tokens),
                output_text_tokens: known.output_text_tokens,
            },
            Tokens::usage,
        );
        Usage {
            input_speech_tokens: total
                .input_speech_tokens
                .saturating_sub(known.input_speech_tokens),
            input_text_tokens: total
                .input_text_tokens
                .saturating_sub(known.input_text_tokens),
            output_speech_tokens: total
                .output_speech_tokens
                .saturating_sub(known.output_speech_tokens),
            output_text_tokens: total
                .output_text_tokens
                .saturating_sub(known.output_text_tokens),
        }
    }
}

impl Tokens {
    const fn usage(self) -> Usage {
        Usage {
            input_speech_tokens: self.input.speech_tokens,
            input_text_tokens: self.input.text_tokens,
            output_speech_tokens: self.output.speech_tokens,
            output_text_tokens: self.output.text_tokens,
        }
    }
}
