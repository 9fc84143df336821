//! What is found out, and from what.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

use super::phrases::RULES;

/// Who or what answered a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "the verdicts of this field; a policy must answer all of them"
)]
pub enum AnsweredBy {
    /// A person.
    Human,
    /// A voicemail or answering machine that takes messages.
    MachineVm,
    /// A menu, a queue, or a spoken assistant of the called party.
    MachineIvr,
    /// A call screening service, which asks who calls and why before it puts a call through.
    MachineScreening,
    /// Nobody, and no message can be left: an announcement, a full mailbox, a fax.
    MachineUnavailable,
    /// Not known yet, or the signs contradict each other.
    Uncertain,
}

impl AnsweredBy {
    /// `human`, `machine-vm`, `machine-ivr`, `machine-screening`, `machine-unavailable` or
    /// `uncertain`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::MachineVm => "machine-vm",
            Self::MachineIvr => "machine-ivr",
            Self::MachineScreening => "machine-screening",
            Self::MachineUnavailable => "machine-unavailable",
            Self::Uncertain => "uncertain",
        }
    }

    /// Whether it is one of the machines.
    #[must_use]
    pub const fn is_machine(self) -> bool {
        !matches!(self, Self::Human | Self::Uncertain)
    }
}

impl fmt::Display for AnsweredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What stands now. A later verdict replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Who or what answered.
    pub answered_by: AnsweredBy,
    /// The likeliest answer; the same unless that is uncertain.
    pub likeliest: AnsweredBy,
    /// How likely that is, from 0 to 1. A weighing of rules, and no measured probability.
    pub confidence: f32,
    /// Whether it is certain enough to act on without a way back, such as hanging up.
    pub sure: bool,
    /// Whether a beep has come: a message may begin.
    pub beep: bool,
    /// When it was found, since the call was answered.
    pub at: Duration,
    /// What speaks for the answer, and all that counted where that is uncertain.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// What the carrier alone says, where nothing else became certain in time.
    pub(crate) fn by_carrier(answered_by: AnsweredBy, known: Option<&Self>, at: Duration) -> Self {
        Self {
            answered_by,
            likeliest: answered_by,
            confidence: known.map_or(0.5, |known| known.confidence.min(0.5)),
            sure: false,
            beep: known.is_some_and(|known| known.beep),
            at,
            reasons: vec![Reason::CarrierMachine],
        }
    }

    /// Whether a policy that hangs up on machines may do so now: a machine, and sure of it.
    #[must_use]
    pub const fn is_surely_a_machine(&self) -> bool {
        self.answered_by.is_machine() && self.sure
    }
}

/// A sign that counted. None of them repeats the callee's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// Nobody has spoken.
    Silence,
    /// A greeting as short as people's are.
    ShortGreeting,
    /// A greeting as long as an office's may be.
    FullGreeting,
    /// A greeting longer than most people's.
    LongGreeting,
    /// A greeting longer than any that people give.
    VeryLongGreeting,
    /// Few words and nothing that a machine says.
    FewWords,
    /// A sentence or two, and nothing that a machine says.
    PlainWords,
    /// Many words and nothing that a person says.
    ManyWords,
    /// Words of this kind.
    Words(RuleName),
    /// The beep of a voicemail.
    Beep,
    /// The tone of a fax machine.
    FaxTone,
    /// The three tones before an announcement.
    SpecialInformationTone,
    /// The carrier takes it for a person.
    CarrierHuman,
    /// The carrier takes it for a machine.
    CarrierMachine,
    /// The carrier heard the beep.
    CarrierBeep,
    /// The carrier waited for the beep in vain.
    CarrierNoBeep,
}

/// What a rule about the callee's words is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RuleName(pub(super) &'static str);

impl RuleName {
    /// The name, in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl<'de> Deserialize<'de> for RuleName {
    /// The name of a rule that this build does not have becomes `another rule`.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let known = RULES
            .iter()
            .map(|rule| rule.name)
            .find(|rule| *rule == name);
        Ok(Self(known.unwrap_or("another rule")))
    }
}

/// How much a sign speaks for each answer, as a natural logarithm: human, voicemail, menu,
/// screening, unavailable.
pub(super) type Weights = [f32; 5];

/// The answers that [`Weights`] stand for.
pub(super) const ANSWERS: [AnsweredBy; 5] = [
    AnsweredBy::Human,
    AnsweredBy::MachineVm,
    AnsweredBy::MachineIvr,
    AnsweredBy::MachineScreening,
    AnsweredBy::MachineUnavailable,
];

/// Signs on a pair of scales.
#[derive(Debug)]
pub(super) struct Scales {
    sum: Weights,
    signs: Vec<(Reason, Weights)>,
}

impl Scales {
    pub(super) const fn new(prior: Weights) -> Self {
        Self {
            sum: prior,
            signs: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, reason: Reason, weights: Weights) {
        for (sum, weight) in self.sum.iter_mut().zip(weights) {
            *sum += weight;
        }
        self.signs.push((reason, weights));
    }

    /// The likeliest answer, how likely it is, and what speaks for it; all that counts if it is
    /// less likely than `from`.
    pub(super) fn read(&self, from: f32) -> (AnsweredBy, f32, Vec<Reason>) {
        let top = (0..self.sum.len()).fold(0, |best, index| {
            if self.sum[index] > self.sum[best] {
                index
            } else {
                best
            }
        });
        let all: f32 = self.sum.iter().map(|x| (x - self.sum[top]).exp()).sum();
        let confidence = 1.0 / all;
        let speaks_for_it = |weights: &Weights| {
            let mean = weights.iter().sum::<f32>() / weights.len() as f32;
            weights[top] >= mean || confidence < from
        };
        let reasons = self
            .signs
            .iter()
            .filter(|(_, weights)| speaks_for_it(weights))
            .map(|(reason, _)| *reason)
            .collect();
        (ANSWERS[top], confidence, reasons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_written_as_the_field_writes_them() {
        for (answer, name) in ANSWERS.iter().chain([&AnsweredBy::Uncertain]).zip([
            "human",
            "machine-vm",
            "machine-ivr",
            "machine-screening",
            "machine-unavailable",
            "uncertain",
        ]) {
            assert_eq!(answer.as_str(), name);
            let json = serde_json::to_string(answer).expect("a string");
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(
                serde_json::from_str::<AnsweredBy>(&json).ok(),
                Some(*answer)
            );
        }
    }

    #[test]
    fn a_verdict_that_was_written_down_is_read_as_it_was() {
        let verdict = Verdict {
            answered_by: AnsweredBy::MachineVm,
            likeliest: AnsweredBy::MachineVm,
            confidence: 0.912_345_6,
            sure: true,
            beep: false,
            at: Duration::from_millis(1_234),
            reasons: vec![Reason::Words(RuleName(RULES[3].name)), Reason::Beep],
        };
        let json = serde_json::to_string(&verdict).expect("plain data");
        assert_eq!(serde_json::from_str::<Verdict>(&json).ok(), Some(verdict));
        let foreign = json.replace(RULES[3].name, "a rule of another build");
        let read: Verdict = serde_json::from_str(&foreign).expect("plain data");
        assert_eq!(read.reasons[0], Reason::Words(RuleName("another rule")));
    }

    #[test]
    fn the_scales_tell_what_spoke_for_the_heavier_side() {
        let mut scales = Scales::new([1.0, 0.0, 0.0, 0.0, 0.0]);
        scales.add(Reason::CarrierHuman, [1.0, 0.0, 0.0, 0.0, 0.0]);
        scales.add(Reason::Beep, [0.0, 6.0, 0.0, 0.0, 0.0]);
        let (answer, confidence, reasons) = scales.read(0.6);
        assert_eq!(answer, AnsweredBy::MachineVm);
        assert!((0.95..1.0).contains(&confidence), "{confidence}");
        assert_eq!(reasons, [Reason::Beep]);
    }
}
