//! Who or what answered an outbound call.
//!
//! An [`AnswerDetector`] is told what is heard of the callee, and when, and says who it takes the
//! callee for. It weighs four kinds of signs, and asks no second model:
//!
//! | sign | from | comes |
//! |---|---|---|
//! | the greeting's length and pauses | the edges of a voice detector | at once |
//! | tones: beep, fax, announcement | a [`BeepDetector`] on the callee's audio | as they end |
//! | the words | the speech model's transcript of the callee | a second or two late |
//! | the carrier's own verdict | its events (Vonage: `human`, `machine`, `beep_start`) | after 2 to 5 s |
//!
//! *Human first.* A person must never wait: a short greeting is judged about 0.75 s after its last
//! sound, a long one after 1.1 s, before any words are there, and in doubt for a person. The
//! price is that a machine with a short greeting, or one that pauses early, passes for a person
//! until its words or its beep come. So every verdict may be followed by another that replaces
//! it, and carries whether it is [`sure`](Verdict::sure) enough to act on without a way back.
//! The length of a greeting alone never is.
//!
//! It is pure like the conversation's core, which runs one on each call that is placed with
//! [`Answering`](crate::conversation::Answering): no clock, no IO, no randomness. The rules know
//! English, and the Spanish of common announcements.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use novavoice::answer::{AnswerDetector, AnsweredBy, Config, Evidence};
//!
//! let answered = Instant::now();
//! let at = |ms| answered + Duration::from_millis(ms);
//! let mut detector = AnswerDetector::new(Config::default(), answered);
//!
//! detector.handle(at(700), Evidence::Voice(true));
//! detector.handle(at(1_500), Evidence::Voice(false));
//! let wake = detector.deadline().expect("a pause is to be judged");
//! let verdict = detector.poll(wake).expect("the pause was long enough");
//! assert_eq!(verdict.answered_by, AnsweredBy::Human);
//!
//! detector.handle(at(3_900), Evidence::Text("Leave a message.".to_owned()));
//! detector.handle(at(4_200), Evidence::Beep);
//! let revised = std::iter::from_fn(|| detector.poll(at(4_200))).last();
//! assert!(revised.is_some_and(|verdict| verdict.is_surely_a_machine() && verdict.beep));
//! ```

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

mod beep;
pub use beep::{BeepDetector, Sound};

mod config;
pub use config::Config;

mod verdict;
pub use verdict::{AnsweredBy, Reason, RuleName, Verdict};

mod cadence;
mod phrases;
mod pitch;
mod words;

use cadence::Cadence;
use verdict::{Scales, Weights};
use words::{Alone, Words};

/// Something that was noticed of the callee.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// The carrier says.
    Carrier(CarrierVerdict),
    /// A voice detector hears the callee begin (`true`) or stop (`false`) to speak.
    Voice(bool),
    /// A beep is over.
    Beep,
    /// A fax machine or modem answers.
    FaxTone,
    /// The three tones before an announcement.
    SpecialInformationTone,
    /// Words of the callee: an utterance, or the next part of one.
    Text(String),
}

impl From<Sound> for Evidence {
    fn from(sound: Sound) -> Self {
        match sound {
            Sound::Beep => Self::Beep,
            Sound::Fax => Self::FaxTone,
            Sound::SpecialInformation => Self::SpecialInformationTone,
        }
    }
}

impl fmt::Debug for Evidence {
    /// Without the callee's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carrier(verdict) => f.debug_tuple("Carrier").field(verdict).finish(),
            Self::Voice(on) => f.debug_tuple("Voice").field(on).finish(),
            Self::Beep => f.write_str("Beep"),
            Self::FaxTone => f.write_str("FaxTone"),
            Self::SpecialInformationTone => f.write_str("SpecialInformationTone"),
            Self::Text(_) => f.write_str("Text([private])"),
        }
    }
}

/// What a carrier's machine detection reports (Vonage event webhook: `status` `human` or
/// `machine`, the latter with `sub_state` in the mode that waits for a beep).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CarrierVerdict {
    /// `human`.
    Human,
    /// `machine`, of whatever kind.
    Machine,
    /// `machine` with `beep_start`.
    BeepStart,
    /// `machine` with `beep_timeout`: no beep came.
    BeepTimeout,
}

/// Finds out who answered one call.
///
/// Tell it everything with [`handle`](Self::handle), call [`poll`](Self::poll) until `None` after
/// each, and again at [`deadline`](Self::deadline).
#[derive(Debug)]
pub struct AnswerDetector {
    config: Config,
    started: Instant,
    now: Instant,
    cadence: Cadence,
    words: Words,
    carrier: Option<CarrierVerdict>,
    beep: Option<Beep>,
    fax: bool,
    information: bool,
    /// Whether the present pause, or the silence from the start, has been judged.
    judged: bool,
    /// How many of the marks of long speech have been passed.
    marks: usize,
    standing: Option<Verdict>,
    /// When a person was first found.
    human_at: Option<Instant>,
    verdicts: VecDeque<Verdict>,
}

/// A beep, and whether words came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beep {
    AfterWords,
    First,
}

impl AnswerDetector {
    /// A detector for a call that was answered at `started`.
    #[must_use]
    pub fn new(config: Config, started: Instant) -> Self {
        Self {
            config,
            started,
            now: started,
            cadence: Cadence::default(),
            words: Words::default(),
            carrier: None,
            beep: None,
            fax: false,
            information: false,
            judged: false,
            marks: 0,
            standing: None,
            human_at: None,
            verdicts: VecDeque::new(),
        }
    }

    /// Takes note. Evidence comes in the order of its times; what is late counts as now.
    pub fn handle(&mut self, now: Instant, evidence: Evidence) {
        self.advance(now);
        if self.is_over() {
            return;
        }
        match evidence {
            Evidence::Voice(voice) => return self.voice(voice),
            Evidence::Text(text) => self.text(&text),
            Evidence::Carrier(verdict) => self.carrier(verdict),
            Evidence::Beep => self.heard_beep(),
            Evidence::FaxTone => self.fax = true,
            Evidence::SpecialInformationTone => self.information = true,
        }
        self.judge(false);
    }

    /// The next verdict, oldest first: the first one, or one that replaces the one before.
    pub fn poll(&mut self, now: Instant) -> Option<Verdict> {
        self.advance(now);
        self.verdicts.pop_front()
    }

    /// When to poll, if nothing comes before that.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_over() || self.standing_is(AnsweredBy::Human) {
            return None;
        }
        if self.cadence.is_speaking() {
            return self.cadence.reaches(*self.long_speech()?);
        }
        if self.judged {
            return None;
        }
        let silence = || self.started + self.config.silence;
        Some(self.cadence.judged_at(&self.config).unwrap_or_else(silence))
    }

    /// What stands now.
    #[must_use]
    pub const fn verdict(&self) -> Option<&Verdict> {
        self.standing.as_ref()
    }

    fn voice(&mut self, voice: bool) {
        // A person who was found may talk for as long as they like.
        if self.standing_is(AnsweredBy::Human) {
            return;
        }
        if self.cadence.edge(self.now, voice, &self.config) && !voice {
            self.judged = false;
        }
    }

    fn text(&mut self, text: &str) {
        let waits = self.standing_is(AnsweredBy::MachineIvr)
            || self.standing_is(AnsweredBy::MachineScreening);
        // Somebody was put through: what the machine said no longer counts.
        if self.words.push(text) == Alone::Person && waits && self.words.utterances() > 1 {
            self.words.restart(text);
            self.cadence = Cadence::default();
            (self.carrier, self.beep, self.information) = (None, None, false);
        }
    }

    fn carrier(&mut self, verdict: CarrierVerdict) {
        if verdict == CarrierVerdict::BeepStart {
            self.beep = self.beep.or(Some(Beep::AfterWords));
        }
        self.carrier = Some(verdict);
    }

    fn heard_beep(&mut self) {
        let spoken = self.cadence.has_words() || self.cadence.is_speaking();
        self.beep = Some(if spoken {
            Beep::AfterWords
        } else {
            Beep::First
        });
    }

    /// Lets time pass, and judges what has come due.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while self.deadline().is_some_and(|at| at <= self.now) {
            if self.cadence.is_speaking() {
                self.marks += 1;
            } else {
                self.judged = true;
            }
            self.judge(true);
        }
    }

    /// Weighs all signs, and says so when that changes the verdict. Unless a pause or a long
    /// speech is `due` to be judged, doubt is no verdict yet, and a person is not interrupted.
    fn judge(&mut self, due: bool) {
        let scales = self.weigh();
        let (likeliest, confidence, mut reasons) = scales.read(self.config.verdict_from);
        let answered_by = if confidence >= self.config.verdict_from {
            likeliest
        } else {
            AnsweredBy::Uncertain
        };
        if self.standing.is_none() && !due {
            let greets = answered_by == AnsweredBy::Human && self.cadence.is_speaking();
            if greets
                || answered_by == AnsweredBy::Uncertain
                || self.nobody_yet() && !answered_by.is_machine()
            {
                return;
            }
        }
        if reasons.is_empty() && self.nobody_yet() {
            reasons.push(Reason::Silence);
        }
        let verdict = Verdict {
            answered_by,
            likeliest,
            confidence,
            sure: confidence >= self.config.sure_from && answered_by != AnsweredBy::Uncertain,
            beep: self.beep.is_some(),
            at: self.now - self.started,
            reasons,
        };
        let same = self.standing.as_ref().is_some_and(|old| {
            (old.answered_by, old.sure, old.beep)
                == (verdict.answered_by, verdict.sure, verdict.beep)
        });
        if same {
            return;
        }
        if answered_by == AnsweredBy::Human {
            self.human_at = self.human_at.or(Some(self.now));
            self.cadence.stop(self.now);
        }
        self.standing = Some(verdict.clone());
        if self.verdicts.len() == MOST_VERDICTS {
            self.verdicts.pop_front();
        }
        self.verdicts.push_back(verdict);
    }

    fn weigh(&self) -> Scales {
        let mut scales = Scales::new(PRIOR);
        if let Some((reason, weights)) = self.cadence.weigh(self.now, &self.config) {
            // Words say more than how long they took.
            let share = if self.words.are_telling() { 0.5 } else { 1.0 };
            scales.add(reason, weights.map(|weight| weight * share));
        }
        self.words.weigh(&mut scales);
        match self.beep {
            Some(Beep::AfterWords) => scales.add(Reason::Beep, [-1.0, 4.0, 0.0, 0.0, 0.0]),
            Some(Beep::First) => scales.add(Reason::Beep, [-0.5, 3.0, 0.0, 0.0, 0.0]),
            None => {}
        }
        if self.fax {
            scales.add(Reason::FaxTone, [-1.0, 0.0, 0.0, 0.0, 6.0]);
        }
        if self.information {
            scales.add(Reason::SpecialInformationTone, [-1.0, 0.0, 0.0, 0.0, 5.0]);
        }
        if let Some(verdict) = self.carrier {
            let (reason, weights) = by_carrier(verdict);
            scales.add(reason, weights);
        }
        scales
    }

    /// The next mark of long speech.
    fn long_speech(&self) -> Option<&Duration> {
        [&self.config.long_speech, &self.config.very_long_greeting]
            .get(self.marks)
            .copied()
    }

    /// Whether neither a voice nor words nor the carrier has told anything.
    fn nobody_yet(&self) -> bool {
        !self.cadence.has_words() && !self.cadence.is_speaking() && self.words.utterances() == 0
    }

    fn standing_is(&self, answer: AnsweredBy) -> bool {
        self.standing
            .as_ref()
            .is_some_and(|verdict| verdict.answered_by == answer)
    }

    fn is_over(&self) -> bool {
        let end = match self.human_at {
            Some(at) if self.standing_is(AnsweredBy::Human) => at + self.config.revise_human,
            _ => self.started + self.config.watch,
        };
        self.now > end
    }
}

const fn by_carrier(verdict: CarrierVerdict) -> (Reason, Weights) {
    match verdict {
        CarrierVerdict::Human => (Reason::CarrierHuman, [1.5, 0.0, 0.0, 0.0, 0.0]),
        CarrierVerdict::Machine => (Reason::CarrierMachine, [0.0, 1.8, 1.4, 1.4, 1.4]),
        CarrierVerdict::BeepStart => (Reason::CarrierBeep, [0.0, 2.0, 0.0, 0.0, 0.0]),
        CarrierVerdict::BeepTimeout => (Reason::CarrierNoBeep, [0.0, 1.0, 1.6, 1.2, 1.6]),
    }
}

/// Before anything was heard: offices are called while somebody is there, and a person counts
/// more than the rest because a mistake about one costs most.
const PRIOR: Weights = [1.2, 0.4, 0.0, -0.8, -0.6];

/// More wait only when nobody polls.
const MOST_VERDICTS: usize = 16;
