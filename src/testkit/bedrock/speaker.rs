//! The agent inside the fake: hears turns, answers them, and is interrupted. Pure but for the
//! frames that it queues: time is its argument.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    ear::{Ear, Heard},
    emit::{Emitter, Text},
    fault::Interruption,
    hearing::Incoming,
    options::{Behaviour, Dialogue, Options, Reply, Sentence},
    voice::Mark,
};
use crate::audio::SampleRate;

/// One session's conversation.
pub(super) struct Speaker {
    options: Arc<Options>,
    dialogue: Dialogue,
    /// Whether it answers by itself.
    converses: bool,
    session: u16,
    pub(super) emitter: Emitter,
    ear: Option<Ear>,
    turns: usize,
    scripted: usize,
    planned: VecDeque<(Instant, Planned)>,
    voicing: Option<Voicing>,
    /// Sentences whose FINAL text is still to come, in order.
    finals: VecDeque<Final>,
    /// When a listener in real time would have heard everything.
    spoken_until: Option<Instant>,
    /// Replies that wait for the results of tool uses.
    tools: Vec<Asked>,
    /// Tool uses that the rules do not know yet.
    pub(super) called: Vec<String>,
    /// Replies whose audio began.
    pub(super) replies: usize,
    /// Barge-ins announced.
    pub(super) interruptions: usize,
    pcm: Vec<u8>,
    /// The turn of the caller so far, for who understands it.
    turn: Vec<u8>,
}

enum Planned {
    Scripted,
    Given(Reply),
}

/// A reply that waits for the results of its tool uses, each under its id.
struct Asked {
    uses: Vec<(String, Option<Value>)>,
    reply: Reply,
}

/// A reply whose audio is being sent.
struct Voicing {
    number: u16,
    sentences: VecDeque<Sentence>,
    position: u32,
    open: Option<Open>,
    next_at: Instant,
}

struct Open {
    id: String,
    samples_left: usize,
}

struct Final {
    text: String,
    spoken_at: Instant,
    due: Instant,
    is_sent: bool,
    is_last: bool,
}

impl Speaker {
    pub(super) fn new(
        options: Arc<Options>,
        behaviour: &Behaviour,
        session: usize,
        emitter: Emitter,
    ) -> Self {
        let (dialogue, converses) = match behaviour {
            Behaviour::Converse(dialogue) => (dialogue.clone(), true),
            Behaviour::ByHand => (Dialogue::default(), false),
        };
        Self {
            options,
            dialogue,
            converses,
            #[expect(clippy::cast_possible_truncation, reason = "marks wrap, as documented")]
            session: session as u16,
            emitter,
            ear: None,
            turns: 0,
            scripted: 0,
            planned: VecDeque::new(),
            voicing: None,
            finals: VecDeque::new(),
            spoken_until: None,
            tools: Vec::new(),
            called: Vec::new(),
            replies: 0,
            interruptions: 0,
            pcm: Vec::new(),
            turn: Vec::new(),
        }
    }

    /// The caller's audio will come at this rate.
    pub(super) fn open_ear(&mut self, rate: SampleRate) {
        if self.converses {
            self.ear = Some(Ear::new(rate, &self.dialogue));
        }
    }

    /// Hears caller audio.
    pub(super) fn listen(&mut self, now: Instant, pcm: &[u8]) {
        let Some(ear) = self.ear.as_mut() else { return };
        let heard = ear.listen(pcm);
        if self.dialogue.hearing.is_some() {
            if heard.is_none() && !ear.hears() {
                // What came just before somebody speaks may be the first of it.
                let old = self.turn.len().saturating_sub(PREROLL);
                self.turn.drain(..old);
            }
            self.turn.extend_from_slice(pcm);
        }
        match heard {
            Some(Heard::Started) => {
                // The caller goes on before the answer began: it is one turn.
                self.planned
                    .retain(|(_, planned)| matches!(planned, Planned::Given(_)));
                if self.is_speaking(now) {
                    self.interrupt(now);
                }
            }
            Some(Heard::Ended) => {
                self.turns += 1;
                let turn = std::mem::take(&mut self.turn);
                if let Some((text, reply)) = self.understand(Incoming::Speech(&turn)) {
                    if !text.is_empty() {
                        self.caller_said(&text);
                    }
                    return self.plan(now, Planned::Given(reply));
                }
                let text = match self.dialogue.caller.get(self.turns - 1) {
                    Some(text) => text.clone(),
                    None => format!("caller words {}", self.turns),
                };
                self.caller_said(&text);
                self.plan(now, Planned::Scripted);
            }
            None => {}
        }
    }

    /// Words that are answered as if the caller had said them.
    pub(super) fn interactive(&mut self, now: Instant, text: &str) {
        if !self.converses {
            return;
        }
        if self.is_speaking(now) {
            self.interrupt(now);
        }
        if self.emitter.quirks().echo_interactive {
            self.caller_said(text);
        }
        let planned = match self.understand(Incoming::Text(text)) {
            Some((_, reply)) => Planned::Given(reply),
            None => Planned::Scripted,
        };
        self.plan(now, planned);
    }

    fn understand(&self, incoming: Incoming<'_>) -> Option<(String, Reply)> {
        self.dialogue.hearing.as_ref()?.understand(incoming)
    }

    /// The result of a tool call came: its reply goes on.
    pub(super) fn tool_result(&mut self, now: Instant, id: &str, content: &str) {
        let mut uses = self.tools.iter_mut().flat_map(|asked| &mut asked.uses);
        if let Some((_, result)) = uses.find(|(known, _)| known == id) {
            let text = || Value::String(content.to_owned());
            *result = Some(serde_json::from_str(content).unwrap_or_else(|_| text()));
        }
        let is_ready = |asked: &mut Asked| asked.uses.iter().all(|(_, result)| result.is_some());
        let ready: Vec<_> = self.tools.extract_if(.., is_ready).collect();
        for Asked { uses, mut reply } in ready {
            if let Some(then) = reply.then.take() {
                let results: Vec<_> = uses.into_iter().filter_map(|(_, result)| result).collect();
                reply = then.make(&results);
            }
            self.plan(now, Planned::Given(reply));
        }
    }

    /// Says something now, or after what is being said.
    pub(super) fn say(&mut self, now: Instant, reply: Reply) {
        self.planned.push_back((now, Planned::Given(reply)));
        self.run(now);
    }

    /// Reports words of the caller.
    pub(super) fn caller_said(&mut self, text: &str) {
        if self.emitter.quirks().caller_in_pieces {
            for word in text.split_whitespace() {
                self.emitter.text(Text::Caller, word, "PARTIAL_TURN");
            }
        } else {
            self.emitter.text(Text::Caller, text, "PARTIAL_TURN");
        }
        self.emitter.usage();
    }

    /// The caller spoke over the reply: what was not spoken never gets its FINAL text.
    pub(super) fn interrupt(&mut self, now: Instant) {
        let style = self.emitter.quirks().interruption;
        let open = self.voicing.take().and_then(|voicing| voicing.open);
        let stops_audio = matches!(style, Interruption::AudioOnly | Interruption::All);
        match open {
            Some(open) if stops_audio => self.emitter.audio_end(&open.id, "INTERRUPTED"),
            Some(open) => self.emitter.audio_end(&open.id, "END_TURN"),
            None if stops_audio => {
                let id = self.emitter.audio_start();
                self.emitter.audio_end(&id, "INTERRUPTED");
            }
            None => {}
        }
        self.send_finals(|sentence| sentence.spoken_at <= now);
        self.finals.clear();
        match style {
            Interruption::Usual | Interruption::All => {
                self.emitter.text(Text::Final, MARKER, "INTERRUPTED");
            }
            Interruption::MarkerOnly => {
                self.emitter.text_block(
                    Text::Final,
                    Some("\n{\"interrupted\":true} "),
                    "PARTIAL_TURN",
                );
            }
            Interruption::TextOnly => self.emitter.text_block(Text::Final, None, "INTERRUPTED"),
            Interruption::AudioOnly => {}
        }
        self.spoken_until = None;
        self.interruptions += 1;
        self.emitter.usage();
    }

    /// The prompt is over: what was sent is final, the rest is not said.
    pub(super) fn finish(&mut self) {
        self.planned.clear();
        self.ear = None;
        if let Some(open) = self.voicing.take().and_then(|voicing| voicing.open) {
            self.emitter.audio_end(&open.id, "END_TURN");
        }
        self.send_finals(|sentence| sentence.is_sent);
        self.finals.clear();
        self.spoken_until = None;
        self.emitter.usage();
        self.emitter.completion_end();
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        let voice = match &self.voicing {
            Some(voicing) => Some(voicing.next_at),
            None => self.planned.front().map(|(at, _)| *at),
        };
        let text = self.finals.front().map(|sentence| sentence.due);
        [voice, text].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn run(&mut self, now: Instant) {
        loop {
            while let Some(voicing) = self.voicing.take_if(|voicing| voicing.next_at <= now) {
                self.voicing = self.voice(now, voicing);
            }
            if self.voicing.is_some() {
                break;
            }
            match self.planned.pop_front_if(|(at, _)| *at <= now) {
                Some((_, planned)) => self.begin(now, planned),
                None => break,
            }
        }
        self.send_finals(|sentence| sentence.due <= now);
    }

    fn is_speaking(&self, now: Instant) -> bool {
        self.voicing.is_some() || self.spoken_until.is_some_and(|until| now < until)
    }

    fn plan(&mut self, now: Instant, planned: Planned) {
        let at = now + self.options.service(self.dialogue.think);
        self.planned.push_back((at, planned));
    }

    fn begin(&mut self, now: Instant, planned: Planned) {
        let mut reply = match planned {
            Planned::Given(reply) => reply,
            Planned::Scripted => {
                let count = self.dialogue.replies.len().max(1);
                let Some(reply) = self.dialogue.replies.get(self.scripted % count) else {
                    return;
                };
                self.scripted += 1;
                reply.clone()
            }
        };
        let tools = std::mem::take(&mut reply.tools);
        if !tools.is_empty() {
            let mut uses = Vec::with_capacity(tools.len());
            for tool in tools {
                let id = uuid::Uuid::new_v4().to_string();
                self.emitter.tool(&tool.name, &id, &tool.arguments);
                self.called.push(id.clone());
                uses.push((id, None));
            }
            self.tools.push(Asked { uses, reply });
            return;
        }
        if reply.sentences.is_empty() {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "marks wrap, as documented")]
        let number = self.replies as u16;
        self.replies += 1;
        self.voicing = Some(Voicing {
            number,
            sentences: reply.sentences.into(),
            position: 0,
            open: None,
            next_at: now,
        });
    }

    /// One step of a reply: the next sentence, or the next piece of its audio.
    fn voice(&mut self, now: Instant, mut voicing: Voicing) -> Option<Voicing> {
        let rate = self.emitter.rate().hertz();
        let Some(open) = &mut voicing.open else {
            let sentence = voicing.sentences.pop_front()?;
            self.emitter
                .text(Text::Speculative, &sentence.text, "PARTIAL_TURN");
            let begins = self.spoken_until.map_or(now, |until| until.max(now));
            let spoken_at = begins + self.options.audio(sentence.duration);
            self.spoken_until = Some(spoken_at);
            self.finals.push_back(Final {
                text: sentence.text,
                spoken_at,
                due: spoken_at + self.options.service(self.dialogue.final_lag),
                is_sent: false,
                is_last: voicing.sentences.is_empty(),
            });
            voicing.open = Some(Open {
                id: self.emitter.audio_start(),
                samples_left: samples(sentence.duration, rate),
            });
            return Some(voicing);
        };
        let piece = open.samples_left.min(samples(PIECE, rate));
        if piece > 0 {
            self.pcm.clear();
            let from = Mark::new(self.session, voicing.number, voicing.position);
            self.dialogue.voice.render(from, piece, rate, &mut self.pcm);
            self.emitter.audio(&open.id, &self.pcm);
            open.samples_left -= piece;
            voicing.position += u32::try_from(piece).unwrap_or_default();
            voicing.next_at += self.options.audio(PIECE).div_f64(self.dialogue.burst);
        }
        if open.samples_left > 0 {
            return Some(voicing);
        }
        let is_last = voicing.sentences.is_empty();
        self.emitter
            .audio_end(&open.id, if is_last { "END_TURN" } else { "PARTIAL_TURN" });
        voicing.open = None;
        if let Some(sentence) = self.finals.back_mut() {
            sentence.is_sent = true;
        }
        if is_last {
            self.emitter.usage();
            return None;
        }
        Some(voicing)
    }

    /// Sends FINAL texts from the front, as far as they may go.
    fn send_finals(&mut self, may_go: impl Fn(&Final) -> bool) {
        while let Some(sentence) = self.finals.pop_front_if(|sentence| may_go(sentence)) {
            let stop = if sentence.is_last {
                "END_TURN"
            } else {
                "PARTIAL_TURN"
            };
            self.emitter.text(Text::Final, &sentence.text, stop);
        }
    }
}

fn samples(duration: Duration, rate: u32) -> usize {
    usize::try_from(duration.as_millis() * u128::from(rate) / 1_000).unwrap_or(usize::MAX)
}

/// Bytes: half a second at 16 kHz.
const PREROLL: usize = 16_000;

/// The service sends audio in pieces of about 80 ms.
const PIECE: Duration = Duration::from_millis(80);

pub(super) const MARKER: &str = "{ \"interrupted\" : true }";
