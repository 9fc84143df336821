//! The knobs of answer detection, each with the reason for its default.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How answers are told apart. Start from [`Config::default`] and assign what differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Config {
    /// How likely an answer must be to be a verdict; below, it is uncertain. Default: 0.6.
    pub verdict_from: f32,
    /// How likely an answer must be to be sure. Default: 0.85: neither a long greeting nor the
    /// carrier's word gets there alone.
    pub sure_from: f32,
    /// How much later the voice detector tells an end than a beginning, counted off what it
    /// reports. Default: 160 ms, as the neural one does.
    pub voice_tail: Duration,
    /// Voice shorter than this is a click or a cough. Default: 150 ms.
    pub shortest_word: Duration,
    /// Up to here a greeting is short. Default: 1.5 s: "First Baptist, this is Pam."
    pub short_greeting: Duration,
    /// Up to here it is a full one. Default: 3.2 s.
    pub full_greeting: Duration,
    /// Up to here it is long, and still a person's more often than not. Default: 6.5 s: church
    /// offices have mottos.
    pub long_greeting: Duration,
    /// From here on it is a machine's. Default: 9 s.
    pub very_long_greeting: Duration,
    /// Somebody who has spoken without end for so long gets an uncertain verdict, as many
    /// machines do. Default: 5 s.
    pub long_speech: Duration,
    /// How long after a short greeting it is judged, counted from the voice detector's edge.
    /// Default: 550 ms, so about 750 ms after the last sound.
    pub pause_after_short: Duration,
    /// The same for a full greeting. Default: 700 ms.
    pub pause_after_full: Duration,
    /// The same for a longer one. Default: 900 ms: machines pause longer between sentences too.
    pub pause_after_long: Duration,
    /// How long nobody may speak until the silence itself is a verdict. Default: 4 s.
    pub silence: Duration,
    /// How long the verdict that a person answered can still be revised. Default: 20 s: the
    /// greeting of a machine that began like a person is over by then; a person may talk of
    /// messages later.
    pub revise_human: Duration,
    /// How long after the answer signs are taken at all. Default: 2 minutes: carriers wait up to
    /// that long for a beep.
    pub watch: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            verdict_from: 0.6,
            sure_from: 0.85,
            voice_tail: Duration::from_millis(160),
            shortest_word: Duration::from_millis(150),
            short_greeting: Duration::from_millis(1_500),
            full_greeting: Duration::from_millis(3_200),
            long_greeting: Duration::from_millis(6_500),
            very_long_greeting: Duration::from_secs(9),
            long_speech: Duration::from_secs(5),
            pause_after_short: Duration::from_millis(550),
            pause_after_full: Duration::from_millis(700),
            pause_after_long: Duration::from_millis(900),
            silence: Duration::from_secs(4),
            revise_human: Duration::from_secs(20),
            watch: Duration::from_secs(120),
        }
    }
}
