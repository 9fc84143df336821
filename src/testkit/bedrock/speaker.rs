//! The agent inside the fake: hears turns, answers them, and is interrupted. Pure but for the
//! frames that it queues: time is its argument.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ear::{Ear, Heard},
    emit::{Emitter, Text},
    fault::Interruption,
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
    tools: HashMap<String, Reply>,
    /// Tool uses that the rules do not know yet.
    pub(super) called: Vec<String>,
    /// Replies whose audio began.
    pub(super) replies: usize,
    /// Barge-ins announced.
    pub(super) interruptions: usize,
    pcm: Vec<u8>,
}

enum Planned {
    Scripted,
    Given(Reply),
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
            tools: HashMap::new(),
            called: Vec::new(),
            replies: 0,
            interruptions: 0,
            pcm: Vec::new(),
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
        match self.ear.as_mut().and_then(|ear| ear.listen(pcm)) {
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
        self.plan(now, Planned::Scripted);
    }

    /// The result of a tool call came: its reply goes on.
    pub(super) fn tool_result(&mut self, now: Instant, id: &str) {
        if let Some(reply) = self.tools.remove(id) {
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
        if let Some(tool) = reply.tool.take() {
            let id = uuid::Uuid::new_v4().to_string();
            self.emitter.tool(&tool.name, &id, &tool.arguments);
            self.called.push(id.clone());
            self.tools.insert(id, reply);
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

/// The service sends audio in pieces of about 80 ms.
const PIECE: Duration = Duration::from_millis(80);

const MARKER: &str = "{ \"interrupted\" : true }";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::bedrock::{fault::Quirks, wire};
    use serde_json::Value;

    /// A speaker on simulated time, and what it said when, in milliseconds.
    struct Stage {
        speaker: Speaker,
        start: Instant,
        now: Instant,
        said: Vec<(u128, Value)>,
    }

    impl Stage {
        fn new(dialogue: Dialogue, quirks: Quirks) -> Self {
            let emitter = Emitter::new("s".into(), quirks);
            let mut speaker = Speaker::new(
                Arc::new(Options::default()),
                &Behaviour::Converse(dialogue),
                0,
                emitter,
            );
            speaker.open_ear(SampleRate::Hz16000);
            let now = crate::clock::now();
            Self {
                speaker,
                start: now,
                now,
                said: Vec::new(),
            }
        }

        /// The caller makes sound of this level for as long.
        fn hear(&mut self, ms: u64, level: i16) {
            let pcm = level.to_le_bytes().repeat(320);
            for _ in 0..ms / 20 {
                self.now += Duration::from_millis(20);
                while let Some(due) = self.speaker.due().filter(|due| *due <= self.now) {
                    self.speaker.run(due);
                    self.collect(due);
                }
                self.speaker.listen(self.now, &pcm);
                self.collect(self.now);
            }
        }

        fn turn(&mut self) {
            self.hear(300, 8_000);
            self.hear(500, 0);
        }

        fn collect(&mut self, at: Instant) {
            let at = (at - self.start).as_millis();
            for frame in self.speaker.emitter.queue.drain(..) {
                self.said.push((at, wire::event_in(frame)));
            }
        }

        /// When texts of this kind were said, and which.
        fn texts(&self, stage: &str) -> Vec<(u128, &str)> {
            let mut is_wanted = false;
            let mut texts = Vec::new();
            for (at, event) in &self.said {
                if let Some(fields) =
                    event["event"]["contentStart"]["additionalModelFields"].as_str()
                {
                    is_wanted = fields.contains(stage)
                        && event["event"]["contentStart"]["role"] == "ASSISTANT";
                }
                if let Some(text) = event["event"]["textOutput"]["content"].as_str()
                    && is_wanted
                {
                    texts.push((*at, text));
                }
            }
            texts
        }

        fn pieces(&self) -> Vec<u128> {
            self.said
                .iter()
                .filter(|(_, event)| !event["event"]["audioOutput"].is_null())
                .map(|(at, _)| *at)
                .collect()
        }
    }

    fn one(text: &str, ms: u64) -> Dialogue {
        Dialogue {
            think: Duration::ZERO,
            ..Dialogue::answering([Reply::of([(text, ms)])])
        }
    }

    #[test]
    fn audio_comes_in_pieces_three_times_as_fast_as_it_plays() {
        let mut stage = Stage::new(one("Yes.", 2_400), Quirks::default());
        stage.turn();
        stage.hear(5_000, 0);
        let pieces = stage.pieces();
        assert_eq!(pieces.len(), 30);
        assert_eq!(pieces[29] - pieces[0], 29 * 80 / 3);
    }

    /// Nova checklist 21
    #[test]
    fn final_text_nine_seconds_late_comes_after_the_next_turn_began() {
        let dialogue = Dialogue {
            final_lag: Duration::from_secs(9),
            ..one("Yes.", 1_000)
        };
        let mut stage = Stage::new(dialogue, Quirks::default());
        stage.turn();
        stage.hear(3_000, 0);
        stage.turn();
        stage.hear(12_000, 0);
        assert_eq!(stage.texts("SPECULATIVE"), [(800, "Yes."), (4_600, "Yes.")]);
        assert_eq!(stage.texts("FINAL"), [(10_800, "Yes."), (14_600, "Yes.")]);
    }

    #[test]
    fn a_caller_who_goes_on_before_the_answer_gets_one_answer() {
        let dialogue = Dialogue {
            think: Duration::from_millis(400),
            ..one("Yes.", 1_000)
        };
        let mut stage = Stage::new(dialogue, Quirks::default());
        stage.turn();
        stage.hear(100, 0);
        stage.turn();
        stage.hear(3_000, 0);
        assert_eq!(stage.texts("SPECULATIVE"), [(2_100, "Yes.")]);
        assert_eq!(stage.speaker.interruptions, 0);
    }

    #[test]
    fn speech_after_the_audio_was_sent_but_before_it_was_heard_still_interrupts() {
        let mut stage = Stage::new(one("A long one.", 6_000), Quirks::default());
        stage.turn();
        stage.hear(3_000, 0);
        let sent = stage.pieces().len();
        assert_eq!(sent, 75);
        stage.hear(300, 8_000);
        assert_eq!(stage.speaker.interruptions, 1);
        stage.hear(400, 0);
        assert_eq!(stage.texts("FINAL"), [(3_900, MARKER)]);
    }

    #[test]
    fn speech_after_the_reply_was_heard_is_a_new_turn() {
        let mut stage = Stage::new(one("Yes.", 1_000), Quirks::default());
        stage.turn();
        stage.hear(1_100, 0);
        stage.turn();
        assert_eq!(stage.speaker.interruptions, 0);
    }

    #[test]
    fn doubled_captions_and_doubly_encoded_calls_are_as_asked_for() {
        let mut dialogue = one("Yes.", 100);
        dialogue.replies[0] = dialogue.replies[0].clone().after_tool("book", "{\"a\":1}");
        let quirks = Quirks {
            double_speculative: true,
            double_encoded_tool: true,
            ..Quirks::default()
        };
        let mut stage = Stage::new(dialogue, quirks);
        stage.turn();
        stage.hear(100, 0);
        let call = stage
            .said
            .iter()
            .find_map(|(_, event)| event["event"]["toolUse"].as_object())
            .unwrap();
        assert_eq!(call["content"], r#""{\"a\":1}""#);
        let id = call["toolUseId"].as_str().unwrap().to_owned();
        stage.speaker.tool_result(stage.now, &id);
        stage.hear(100, 0);
        let ids: Vec<_> = stage
            .said
            .iter()
            .filter(|(_, event)| event["event"]["textOutput"]["content"] == "Yes.")
            .map(|(_, event)| event["event"]["textOutput"]["contentId"].clone())
            .collect();
        assert_eq!(ids.len(), 2);
        assert_ne!(ids[0], ids[1]);
    }

    /// Nova checklist 24
    #[test]
    fn usage_deltas_add_up_to_the_totals() {
        let mut stage = Stage::new(one("Yes.", 1_000), Quirks::default());
        stage.turn();
        stage.hear(3_000, 0);
        stage.turn();
        stage.speaker.finish();
        stage.collect(stage.now);
        let usage: Vec<_> = stage
            .said
            .iter()
            .map(|(_, event)| &event["event"]["usageEvent"]["details"])
            .filter(|details| !details.is_null())
            .collect();
        let text = |of: &str| {
            usage
                .iter()
                .map(|d| d[of]["output"]["speechTokens"].as_u64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            text("delta").iter().sum::<u64>(),
            *text("total").last().unwrap()
        );
        assert_eq!(text("total").last(), Some(&25));
    }
}
