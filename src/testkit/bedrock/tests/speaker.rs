//! The speaker on simulated time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::super::{
    emit::Emitter,
    fault::Quirks,
    options::*,
    speaker::{MARKER, Speaker},
    wire,
};
use crate::audio::SampleRate;

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
            if let Some(fields) = event["event"]["contentStart"]["additionalModelFields"].as_str() {
                is_wanted =
                    fields.contains(stage) && event["event"]["contentStart"]["role"] == "ASSISTANT";
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
    stage.speaker.tool_result(stage.now, &id, "{}");
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

/// Nova checklist 32: several calls are pending at once, and the reply waits for all of them.
#[test]
fn calls_that_come_together_and_twice_are_as_asked_for() {
    let mut dialogue = one("Yes.", 100);
    dialogue.replies[0] = dialogue.replies[0]
        .clone()
        .after_tool("look", "{}")
        .after_tool("book", "{}");
    let quirks = Quirks {
        double_tool: true,
        ..Quirks::default()
    };
    let mut stage = Stage::new(dialogue, quirks);
    stage.turn();
    stage.hear(100, 0);
    let ids: Vec<String> = stage
        .said
        .iter()
        .filter_map(|(_, event)| event["event"]["toolUse"]["toolUseId"].as_str())
        .map(str::to_owned)
        .collect();
    assert_eq!(ids.len(), 4);
    assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[0] != ids[2]);
    let speaks = |stage: &Stage| {
        let mut said = stage.said.iter();
        said.any(|(_, event)| event["event"]["textOutput"]["content"] == "Yes.")
    };
    stage.speaker.tool_result(stage.now, &ids[2], "{}");
    stage.hear(100, 0);
    assert!(!speaks(&stage));
    stage.speaker.tool_result(stage.now, &ids[0], "{}");
    stage.hear(100, 0);
    assert!(speaks(&stage));
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
