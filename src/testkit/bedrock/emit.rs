//! Output events as the service writes them.

use std::{collections::VecDeque, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{fault::Quirks, wire};
use crate::audio::SampleRate;

/// Writes the output of one session into frames that wait to be sent.
pub(super) struct Emitter {
    session: String,
    prompt: String,
    completion: String,
    rate: SampleRate,
    quirks: Quirks,
    blocks: u64,
    usage: Usage,
    /// Frames in order.
    pub(super) queue: VecDeque<Bytes>,
    /// Events written so far.
    pub(super) written: u64,
}

/// What a text block is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Caller,
    Speculative,
    Final,
}

#[derive(Clone, Copy, Default)]
struct Usage {
    reported: [u64; 4],
    total: [u64; 4],
}

impl Emitter {
    pub(super) fn new(session: String, quirks: Quirks) -> Self {
        Self {
            completion: format!("{session}-completion"),
            session,
            prompt: String::new(),
            rate: SampleRate::Hz16000,
            quirks,
            blocks: 0,
            usage: Usage::default(),
            queue: VecDeque::new(),
            written: 0,
        }
    }

    /// What `promptStart` fixed.
    pub(super) fn set_prompt(&mut self, name: String, rate: SampleRate) {
        self.prompt = name;
        self.rate = rate;
    }

    pub(super) fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    pub(super) fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Any event, as the whole `{"event":{…}}`.
    pub(super) fn raw(&mut self, event: &Value) {
        self.push(event.to_string().as_bytes());
    }

    pub(super) fn completion_start(&mut self) {
        self.event("completionStart", json!({}));
    }

    pub(super) fn completion_end(&mut self) {
        if !self.quirks.no_completion_end {
            self.event("completionEnd", json!({ "stopReason": "END_TURN" }));
        }
    }

    /// A whole text block.
    pub(super) fn text(&mut self, kind: Text, text: &str, stop: &str) {
        self.text_block(kind, Some(text), stop);
        let again = match kind {
            Text::Caller => false,
            Text::Speculative => self.quirks.double_speculative,
            Text::Final => self.quirks.double_final && stop != "INTERRUPTED",
        };
        if again {
            self.text_block(kind, Some(text), stop);
        }
    }

    /// A text block, perhaps without text.
    pub(super) fn text_block(&mut self, kind: Text, text: Option<&str>, stop: &str) {
        let (role, stage) = match kind {
            Text::Caller => ("USER", "FINAL"),
            Text::Speculative => ("ASSISTANT", "SPECULATIVE"),
            Text::Final => ("ASSISTANT", "FINAL"),
        };
        let id = self.block();
        self.event(
            "contentStart",
            json!({
                "contentId": id,
                "type": "TEXT",
                "role": role,
                "additionalModelFields": json!({ "generationStage": stage }).to_string(),
                "textOutputConfiguration": { "mediaType": "text/plain" },
            }),
        );
        if let Some(text) = text {
            self.event(
                "textOutput",
                json!({ "contentId": id, "role": role, "content": text }),
            );
            self.usage.total[3] += text.len() as u64 / 4 + 1;
        }
        self.event(
            "contentEnd",
            json!({ "contentId": id, "type": "TEXT", "stopReason": stop }),
        );
    }

    /// Opens an audio block and gives its id.
    pub(super) fn audio_start(&mut self) -> String {
        let id = self.block();
        self.event(
            "contentStart",
            json!({
                "contentId": id,
                "type": "AUDIO",
                "role": "ASSISTANT",
                "audioOutputConfiguration": {
                    "mediaType": "audio/lpcm",
                    "sampleRateHertz": self.rate.hertz(),
                    "sampleSizeBits": 16,
                    "channelCount": 1,
                    "encoding": "base64",
                },
            }),
        );
        id
    }

    /// A piece of audio. Ids are ours and need no escaping, but for the prompt's.
    pub(super) fn audio(&mut self, id: &str, pcm: &[u8]) {
        let mut event = String::with_capacity(pcm.len() * 4 / 3 + 320);
        event.push_str("{\"event\":{\"audioOutput\":{\"sessionId\":\"");
        event.push_str(&self.session);
        event.push_str("\",\"promptName\":");
        event.push_str(&Value::from(self.prompt.as_str()).to_string());
        event.push_str(",\"completionId\":\"");
        event.push_str(&self.completion);
        event.push_str("\",\"contentId\":\"");
        event.push_str(id);
        event.push_str("\",\"content\":\"");
        STANDARD.encode_string(pcm, &mut event);
        event.push_str("\"}}}");
        self.push(event.as_bytes());
        self.usage.total[2] += tokens(self.rate.duration_of(pcm.len()));
    }

    pub(super) fn audio_end(&mut self, id: &str, stop: &str) {
        self.event(
            "contentEnd",
            json!({ "contentId": id, "type": "AUDIO", "stopReason": stop }),
        );
    }

    /// A whole tool block.
    pub(super) fn tool(&mut self, name: &str, use_id: &str, arguments: &str) {
        self.tool_block(name, use_id, arguments);
        if self.quirks.double_tool {
            self.tool_block(name, use_id, arguments);
        }
    }

    fn tool_block(&mut self, name: &str, use_id: &str, arguments: &str) {
        let id = self.block();
        let content = if self.quirks.double_encoded_tool {
            Value::from(arguments).to_string()
        } else {
            arguments.to_owned()
        };
        self.event(
            "contentStart",
            json!({
                "contentId": id,
                "type": "TOOL",
                "role": "TOOL",
                "toolUseOutputConfiguration": { "mediaType": "application/json" },
            }),
        );
        self.event(
            "toolUse",
            json!({ "contentId": id, "toolName": name, "toolUseId": use_id, "content": content }),
        );
        self.event(
            "contentEnd",
            json!({ "contentId": id, "type": "TOOL", "stopReason": "TOOL_USE" }),
        );
    }

    /// Caller audio, for the usage.
    pub(super) fn heard(&mut self, total: Duration) {
        self.usage.total[0] = tokens(total);
    }

    /// The tokens so far.
    pub(super) fn usage(&mut self) {
        let Usage { reported, total } = self.usage;
        self.usage.reported = total;
        let kinds = |[a, b, c, d]: [u64; 4]| {
            json!({
                "input": { "speechTokens": a, "textTokens": b },
                "output": { "speechTokens": c, "textTokens": d },
            })
        };
        let delta = std::array::from_fn(|at| total[at] - reported[at]);
        self.event(
            "usageEvent",
            json!({
                "totalInputTokens": total[0] + total[1],
                "totalOutputTokens": total[2] + total[3],
                "totalTokens": total.iter().sum::<u64>(),
                "details": { "delta": kinds(delta), "total": kinds(total) },
            }),
        );
    }

    fn event(&mut self, name: &str, mut body: Value) {
        body["sessionId"] = self.session.as_str().into();
        body["promptName"] = self.prompt.as_str().into();
        body["completionId"] = self.completion.as_str().into();
        if self.quirks.no_role
            && let Some(fields) = body.as_object_mut()
        {
            fields.remove("role");
        }
        self.push(json!({ "event": { name: body } }).to_string().as_bytes());
    }

    fn push(&mut self, event: &[u8]) {
        self.queue
            .push_back(wire::chunk(event, wire::Order::Service));
        self.written += 1;
    }

    fn block(&mut self) -> String {
        self.blocks += 1;
        format!("{}-{}", self.session, self.blocks)
    }
}

/// About 25 tokens a second, so that counters grow.
fn tokens(audio: Duration) -> u64 {
    u64::try_from(audio.as_millis() / 40).unwrap_or(u64::MAX)
}
