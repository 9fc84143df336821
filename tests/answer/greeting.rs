//! The labelled greetings, and how one becomes evidence.

use std::time::Duration;

use novavoice::answer::{AnsweredBy, CarrierVerdict, Evidence};
use serde::Deserialize;

/// One line of `greetings.json`. All are invented.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Greeting {
    /// Unique.
    pub(crate) name: String,
    /// Who answered in truth.
    pub(crate) label: AnsweredBy,
    /// What is said.
    pub(crate) text: String,
    /// What the recogniser makes of it, where that differs; empty when it hears nothing.
    heard: Option<String>,
    /// The silence before the first word.
    lead_ms: u64,
    /// Speech and the pause after it, again and again.
    cadence: Vec<[u64; 2]>,
    /// When a beep ends, after the last word.
    beep_ms: Option<u64>,
    tone: Option<Tone>,
    #[serde(default)]
    carrier: Vec<Carrier>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tone {
    Sit,
    Fax,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Carrier {
    says: Says,
    at_ms: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Says {
    Human,
    Machine,
    BeepStart,
    BeepTimeout,
}

impl Greeting {
    pub(crate) fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("greetings.json")).expect("the set is valid")
    }

    /// Which half it belongs to: bit 32 of the 64-bit FNV-1a hash of its text, or of its name
    /// where nobody speaks. Equal texts are in the same half.
    pub(crate) fn is_held_out(&self) -> bool {
        let key = if self.text.is_empty() {
            &self.name
        } else {
            &self.text
        };
        (fnv1a(key) >> 32) & 1 == 1
    }

    /// Each stretch of speech as it begins and ends, since the answer.
    fn stretches(&self) -> Vec<(u64, u64)> {
        let mut at = self.lead_ms;
        if self.tone == Some(Tone::Sit) {
            at += SIT_MS + 100;
        }
        let stretch = |[speech, pause]: &[u64; 2]| {
            let begin = at;
            at += speech + pause;
            (begin, begin + speech)
        };
        self.cadence.iter().map(stretch).collect()
    }

    /// When a person who says this begins to wait for an answer: after the first utterance that
    /// is followed by a pause that asks for one.
    pub(crate) fn waits_from(&self) -> Option<Duration> {
        let stretches = self.stretches();
        let asks = stretches
            .windows(2)
            .find(|pair| pair[1].0 - pair[0].1 >= WAITS_MS)
            .map(|pair| pair[0].1);
        let last = stretches.last().map(|(_, end)| *end);
        asks.or(last).map(Duration::from_millis)
    }

    /// What is noticed of it and when, in order.
    pub(crate) fn evidence(&self) -> Vec<(Duration, Evidence)> {
        let mut all = Vec::new();
        self.voices(&mut all);
        self.texts(&mut all);
        let end = self
            .stretches()
            .last()
            .map_or(self.lead_ms, |(_, end)| *end);
        if let Some(beep) = self.beep_ms {
            // The detector waits 80 ms to see that no other tone follows.
            all.push((end + beep + 80, Evidence::Beep));
        }
        match self.tone {
            Some(Tone::Sit) => {
                all.push((self.lead_ms + SIT_MS + 80, Evidence::SpecialInformationTone));
            }
            Some(Tone::Fax) => all.push((self.lead_ms + 1_000, Evidence::FaxTone)),
            None => {}
        }
        for carrier in &self.carrier {
            let verdict = match carrier.says {
                Says::Human => CarrierVerdict::Human,
                Says::Machine => CarrierVerdict::Machine,
                Says::BeepStart => CarrierVerdict::BeepStart,
                Says::BeepTimeout => CarrierVerdict::BeepTimeout,
            };
            all.push((carrier.at_ms, Evidence::Carrier(verdict)));
        }
        all.sort_by_key(|(at, _)| *at);
        all.into_iter()
            .map(|(at, evidence)| (Duration::from_millis(at), evidence))
            .collect()
    }

    /// The edges as the neural detector tells them: a beginning 48 ms late, an end 208 ms late,
    /// and no end before the next beginning.
    fn voices(&self, all: &mut Vec<(u64, Evidence)>) {
        let stretches = self.stretches();
        let mut speaking = false;
        for (index, (begin, end)) in stretches.iter().enumerate() {
            if !speaking {
                all.push((begin + 48, Evidence::Voice(true)));
            }
            let next = stretches.get(index + 1).map(|(begin, _)| begin + 48);
            speaking = next.is_some_and(|next| next <= end + 208);
            if !speaking {
                all.push((end + 208, Evidence::Voice(false)));
            }
        }
    }

    /// The transcript: one text for all words up to a pause of 600 ms, 1.0 to 1.7 s after its last
    /// word. The words are shared out by the length of the stretches.
    fn texts(&self, all: &mut Vec<(u64, Evidence)>) {
        let stretches = self.stretches();
        let Some(first) = stretches.first() else {
            return;
        };
        let mut groups = vec![*first];
        let mut lengths = vec![0];
        for (index, (begin, end)) in stretches.iter().enumerate() {
            if index > 0 && begin - stretches[index - 1].1 >= 600 {
                groups.push((*begin, *end));
                lengths.push(0);
            }
            let last = groups.len() - 1;
            groups[last].1 = *end;
            lengths[last] += end - begin;
        }
        let text = self.heard.as_ref().unwrap_or(&self.text);
        let words: Vec<_> = text.split_whitespace().collect();
        let whole: u64 = lengths.iter().sum();
        let (mut upto, mut from) = (0, 0);
        for (index, (_, end)) in groups.iter().enumerate() {
            upto += lengths[index];
            let share = usize::try_from(words.len() as u64 * upto / whole.max(1));
            let to = share.unwrap_or(words.len());
            let late = 1_000 + fnv1a(&format!("{}{index}", self.name)) % 701;
            if to > from {
                all.push((end + late, Evidence::Text(words[from..to].join(" "))));
            }
            from = to;
        }
    }
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Three tones of 276 to 380 ms.
const SIT_MS: u64 = 950;

/// Nobody pauses for so long within a greeting unless they wait.
const WAITS_MS: u64 = 1_200;
