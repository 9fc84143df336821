//! What the scripted model hears and says: commands in, events out, no time but the audio's.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{
    EXACT_WORDS,
    ear::{Ear, Heard},
    script::{Script, sentences},
    tones::speak,
};
use crate::{
    audio::{AudioFrame, SampleRate},
    model::{ModelCommand, ModelEvent, ReplyId, SessionSeed},
    tool::{ToolCall, ToolCallId},
    transcript::collapse_white_space,
};

/// One session, as a value.
#[derive(Debug)]
pub(super) struct Dialogue {
    script: Script,
    /// The line to speak next.
    line: usize,
    rate: SampleRate,
    ear: Ear,
    replies: u64,
    /// The reply that is being sent or, by the audio's clock, played.
    reply: Option<Reply>,
    /// Events that come before anything more of the reply.
    events: VecDeque<ModelEvent>,
    /// The names of the tools that it may use.
    tools: Vec<String>,
    uses: u32,
    /// The uses whose results the next line waits for.
    awaited: Vec<ToolCallId>,
    finished: bool,
}

/// A line on its way to the caller.
#[derive(Debug)]
struct Reply {
    id: ReplyId,
    /// Sentences that have not been played to their end.
    sentences: VecDeque<Sentence>,
    /// Of these, how many have been sent in full.
    sent: usize,
    ended: bool,
}

#[derive(Debug)]
struct Sentence {
    text: String,
    captioned: bool,
    /// Sound that was not sent yet.
    pcm: Bytes,
    /// When its last sound is played.
    end: Duration,
}

impl Dialogue {
    pub(super) fn new(script: Script, seed: &SessionSeed) -> Self {
        Self {
            line: script.position_after(&seed.history),
            script,
            rate: seed.output_rate,
            ear: Ear::new(),
            replies: 0,
            reply: None,
            events: VecDeque::new(),
            tools: seed.tools.iter().map(|tool| tool.name.clone()).collect(),
            uses: 0,
            awaited: Vec::new(),
            finished: false,
        }
    }

    pub(super) fn handle(&mut self, command: ModelCommand) {
        if self.finished {
            return;
        }
        match command {
            ModelCommand::Audio(frame) => self.on_audio(&frame),
            ModelCommand::History(history) => self.line = self.script.position_after(&history),
            // What it says is not understood, like everything else that is said, but for one thing.
            ModelCommand::Text(text) => self.on_text(&text),
            ModelCommand::ToolResult(result) => self.on_result(&result.id),
            ModelCommand::Finish => self.on_finish(),
        }
    }

    pub(super) fn has_event(&self) -> bool {
        !self.events.is_empty() || self.reply.as_ref().is_some_and(|reply| !reply.ended)
    }

    pub(super) fn next_event(&mut self) -> Option<ModelEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let event = self.reply.as_mut()?.next_event(self.rate);
        // A slow reader takes a sentence when it should long have been played.
        self.settle();
        event
    }

    /// How many events wait that do not belong to a reply's sound.
    pub(super) fn backlog(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing more will ever come.
    pub(super) fn is_over(&self) -> bool {
        self.finished && !self.has_event()
    }

    fn on_audio(&mut self, frame: &AudioFrame) {
        let least = if self.reply.is_some() {
            INTERRUPTION
        } else {
            TURN
        };
        let heard = self.ear.hear(frame, least);
        self.settle();
        match heard {
            Heard::Nothing => {}
            Heard::Started => {
                self.events.push_back(ModelEvent::SpeechStarted);
                self.interrupt();
            }
            Heard::Ended(length) => {
                self.caller_said(length);
                self.answer();
            }
        }
    }

    fn on_text(&mut self, text: &str) {
        if let Some(length) = self.ear.end_turn() {
            self.caller_said(length);
        }
        match text.split_once(EXACT_WORDS) {
            Some((_, words)) if !words.trim().is_empty() => {
                self.interrupt();
                self.say(&collapse_white_space(words));
                self.line = self.line.max(1) % self.script.lines().len().max(1);
            }
            _ => self.answer(),
        }
    }

    fn on_finish(&mut self) {
        if let Some(length) = self.ear.end_turn() {
            self.caller_said(length);
        }
        self.cut_reply();
        self.finished = true;
    }

    fn caller_said(&mut self, length: Duration) {
        let text = format!("[speech {:.1} s]", length.as_secs_f64());
        self.events.push_back(ModelEvent::CallerSaid(text));
    }

    /// Begins the next line, or first what its tools are for. Whatever is still being played gives
    /// way.
    fn answer(&mut self) {
        // Whatever comes while a tool runs changes nothing: the next line is chosen already.
        if !self.awaited.is_empty() {
            return;
        }
        self.interrupt();
        for (name, arguments) in self.script.tools_before(self.line) {
            if self.tools.contains(name) {
                self.uses += 1;
                let id = ToolCallId::new(format!("use-{}", self.uses));
                self.awaited.push(id.clone());
                self.events.push_back(ModelEvent::ToolCall(ToolCall {
                    id,
                    name: name.clone(),
                    arguments: arguments.clone(),
                }));
            }
        }
        if self.awaited.is_empty() {
            self.speak();
        }
    }

    /// What came of a tool is not understood either, only that it is there.
    fn on_result(&mut self, id: &ToolCallId) {
        let before = self.awaited.len();
        self.awaited.retain(|awaited| awaited != id);
        if self.awaited.is_empty() && before > 0 {
            self.speak();
        }
    }

    fn speak(&mut self) {
        let Some(line) = self.script.lines().get(self.line).cloned() else {
            return;
        };
        self.say(&line);
        self.line = (self.line + 1) % self.script.lines().len();
    }

    fn say(&mut self, words: &str) {
        self.replies += 1;
        let id = ReplyId(self.replies);
        self.reply = Some(Reply::new(id, words, self.rate, self.ear.now()));
    }

    /// Stops the reply that is being played, if one is.
    fn interrupt(&mut self) {
        if self.reply.is_some() {
            self.events.push_back(ModelEvent::Interrupted);
            self.cut_reply();
        }
    }

    fn cut_reply(&mut self) {
        if let Some(reply) = self.reply.take()
            && !reply.ended
        {
            self.events.push_back(ModelEvent::ReplyEnded(reply.id));
        }
    }

    /// Reports the sentences that have been played, and lets go of a reply that is over.
    fn settle(&mut self) {
        let Some(reply) = &mut self.reply else {
            return;
        };
        while reply.sent > 0
            && let Some(sentence) = reply
                .sentences
                .pop_front_if(|sentence| sentence.end <= self.ear.now())
        {
            reply.sent -= 1;
            self.events.push_back(ModelEvent::AgentSaid(sentence.text));
        }
        if reply.ended && reply.sentences.is_empty() {
            self.reply = None;
        }
    }
}

impl Reply {
    /// The line, to be played from `now` on.
    fn new(id: ReplyId, line: &str, rate: SampleRate, now: Duration) -> Self {
        let mut end = now;
        let sentences = sentences(line)
            .map(|text| {
                let pcm = speak(text, rate);
                end += rate.duration_of(pcm.len());
                Sentence {
                    text: text.to_owned(),
                    captioned: false,
                    pcm,
                    end,
                }
            })
            .collect();
        Self {
            id,
            sentences,
            sent: 0,
            ended: false,
        }
    }

    fn next_event(&mut self, rate: SampleRate) -> Option<ModelEvent> {
        if self.ended {
            return None;
        }
        let Some(sentence) = self.sentences.get_mut(self.sent) else {
            self.ended = true;
            return Some(ModelEvent::ReplyEnded(self.id));
        };
        if !sentence.captioned {
            sentence.captioned = true;
            return Some(ModelEvent::Caption(self.id, sentence.text.clone()));
        }
        let length = sentence
            .pcm
            .len()
            .min(CHUNK_FRAMES * rate.bytes_per_frame());
        let chunk = sentence.pcm.split_to(length);
        if sentence.pcm.is_empty() {
            self.sent += 1;
        }
        Some(ModelEvent::Audio(self.id, AudioFrame::new(chunk, rate)))
    }
}

/// A shorter sound than this is a cough or a click, not a turn.
const TURN: Duration = Duration::from_millis(150);

/// What is said over a reply must last so long to stop it.
const INTERRUPTION: Duration = Duration::from_millis(200);

/// Sound goes out in pieces of 80 ms.
const CHUNK_FRAMES: usize = 4;
