//! What comes in: frames, events, the end of the input.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming};
use serde_json::json;

use super::Session;
use crate::testkit::bedrock::{
    options::Headers,
    report::{Breach, End, Rule},
    rules::Accepted,
    wire::{self, Event, Inbound},
};

impl Session {
    pub(super) fn receive(
        &mut self,
        frame: Option<Result<Frame<Bytes>, hyper::Error>>,
        body: &Incoming,
    ) {
        match frame {
            Some(Ok(frame)) => {
                if let (true, Ok(data)) = (self.flow.judges, frame.into_data()) {
                    self.reader.feed(&data);
                    self.read();
                }
            }
            None if body.is_end_stream() => self.input_ended(),
            Some(Err(_)) | None => {
                self.end.get_or_insert(End::ResetByClient);
                self.flow.aborted = true;
            }
        }
    }

    /// Takes all complete frames.
    fn read(&mut self) {
        while self.flow.judges {
            let taken = match self.reader.next(crate::clock::wall()) {
                Ok(None) => break,
                Ok(Some(Inbound::Event(json))) => self.event(&json),
                Ok(Some(Inbound::End)) if self.record.closing(|closing| closing.empty_frame) => {
                    Err(Breach::invalid(Rule::Frame, "a second empty frame"))
                }
                Ok(Some(Inbound::End)) => {
                    self.record.close(|closing| closing.empty_frame = true);
                    Ok(())
                }
                Err(breach) => Err(breach),
            };
            if let Err(breach) = taken {
                self.breach(breach);
            }
            for breach in self.rules.noted() {
                self.note(breach);
            }
            self.speaker_done();
        }
    }

    fn event(&mut self, json: &[u8]) -> Result<(), Breach> {
        let now = crate::clock::now();
        self.inputs += 1;
        if self.record.closing(|closing| closing.empty_frame) {
            return Err(Breach::invalid(
                Rule::Frame,
                "an event after the empty frame",
            ));
        }
        if self.headers == Headers::FirstFrame {
            self.answer();
        }
        match wire::parse(json)? {
            Event::Audio(input) => {
                self.rules.take_audio(&input, &mut self.pcm)?;
                self.audio(now);
                Ok(())
            }
            Event::Other(name, body) => {
                let accepted = self.rules.take(&name, &body);
                self.record.event(json!({ "event": { name: body } }));
                self.accept(now, accepted?);
                Ok(())
            }
        }
    }

    fn audio(&mut self, now: Instant) {
        self.active = now;
        let length = self.rate.duration_of(self.pcm.len());
        if let Some(breach) = self.pace.audio(now, length, &self.options) {
            self.note(breach);
        }
        self.record.audio(&self.pcm, self.options.keep_audio);
        let heard = self.pace.heard();
        self.speaker.emitter.heard(heard);
        if !self.has_started && heard >= PRIMING {
            self.has_started = true;
            self.speaker.emitter.completion_start();
        }
        self.speaker.listen(now, &self.pcm);
    }

    fn accept(&mut self, now: Instant, accepted: Accepted) {
        match accepted {
            Accepted::Nothing => {}
            Accepted::Prompted(prompt) => self
                .speaker
                .emitter
                .set_prompt(prompt.name, prompt.output_rate),
            Accepted::SystemDone => {
                if self.headers == Headers::AfterSystem {
                    self.answer();
                }
            }
            Accepted::AudioOpened(rate) => {
                self.rate = rate;
                self.speaker.open_ear(rate);
            }
            Accepted::Interactive(text) => {
                self.active = now;
                let heard = self.pace.heard();
                if heard < PRIMING_RULE {
                    self.note(Breach::noted(
                        Rule::InteractiveText,
                        format!("interactive text after {heard:?} of audio"),
                    ));
                }
                if heard >= PRIMING {
                    self.speaker.interactive(now, &text);
                }
            }
            Accepted::ToolResult { id, content } => self.speaker.tool_result(now, &id, &content),
            Accepted::AudioEnded => {
                if let Some(breach) = self.pace.end(now, &self.options) {
                    self.note(breach);
                }
                self.record.close(|closing| closing.audio_ended = true);
            }
            Accepted::PromptEnded => {
                let breaches: Vec<_> = self.rules.unanswered(now).collect();
                for breach in breaches {
                    self.note(breach);
                }
                self.record.close(|closing| closing.prompt_ended = true);
                self.speaker.finish();
            }
            Accepted::SessionEnded => self.record.close(|closing| closing.session_ended = true),
        }
    }

    fn input_ended(&mut self) {
        self.flow.input_over = true;
        if !self.flow.judges {
            return;
        }
        self.record.close(|closing| closing.end_stream = true);
        if self.reader.is_inside_frame() {
            self.note(Breach::noted(Rule::Frame, "the input ended inside a frame"));
        }
        if !self.record.closing(|closing| closing.empty_frame) {
            self.note(Breach::noted(
                Rule::Frame,
                "the input ended without the empty frame",
            ));
        }
        match self.rules.end() {
            Err(breach) if breach.answer.is_some() => self.breach(breach),
            ended => {
                if let Err(breach) = ended {
                    self.note(breach);
                }
                self.answer();
                self.flow.output_over = true;
                self.end.get_or_insert(End::Closed);
            }
        }
    }
}

/// Generation starts once this much audio came; measured by others between 64 and 72 ms.
const PRIMING: Duration = Duration::from_millis(68);

/// What a careful client sends first.
const PRIMING_RULE: Duration = Duration::from_millis(100);
