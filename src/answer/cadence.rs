//! When the callee spoke, and for how long.

use std::time::{Duration, Instant};

use super::{
    config::Config,
    verdict::{Reason, Weights},
};

/// Speech and pauses, from the edges that a voice detector reports.
#[derive(Debug, Default)]
pub(super) struct Cadence {
    /// Since when somebody speaks.
    speaking: Option<Instant>,
    /// When the last word ended.
    ended: Option<Instant>,
    /// All speech that has ended, clicks left out.
    spoken: Duration,
}

impl Cadence {
    /// Whether this begins or ends a word: the rest are repeated edges and clicks.
    pub(super) fn edge(&mut self, now: Instant, voice: bool, config: &Config) -> bool {
        match (voice, self.speaking) {
            (true, None) => self.speaking = Some(now),
            (false, Some(since)) => {
                self.speaking = None;
                let word = length(since, now).saturating_sub(config.voice_tail);
                if word < config.shortest_word {
                    return false;
                }
                self.spoken += word;
                self.ended = Some(now);
            }
            (true, Some(_)) | (false, None) => return false,
        }
        true
    }

    /// Ends what is being said: from here on nobody counts.
    pub(super) fn stop(&mut self, now: Instant) {
        if let Some(since) = self.speaking.take() {
            self.spoken += length(since, now);
            self.ended = Some(now);
        }
    }

    pub(super) const fn is_speaking(&self) -> bool {
        self.speaking.is_some()
    }

    /// When the pause after the last word has lasted long enough to judge by.
    pub(super) fn judged_at(&self, config: &Config) -> Option<Instant> {
        if self.is_speaking() {
            return None;
        }
        let pause = match self.length(config) {
            Greeting::Short => config.pause_after_short,
            Greeting::Full => config.pause_after_full,
            Greeting::Long | Greeting::TooLong | Greeting::VeryLong => config.pause_after_long,
        };
        Some(self.ended? + pause)
    }

    /// When whoever speaks will have spoken for so long, all words counted.
    pub(super) fn reaches(&self, speech: Duration) -> Option<Instant> {
        Some(self.speaking? + speech.saturating_sub(self.spoken))
    }

    pub(super) const fn has_words(&self) -> bool {
        self.ended.is_some()
    }

    /// What the greeting's length says, once it has paused or gone on for long.
    pub(super) fn weigh(&self, now: Instant, config: &Config) -> Option<(Reason, Weights)> {
        let so_far = self.speaking.map_or(Duration::ZERO, |at| length(at, now));
        let spoken = self.spoken + so_far;
        if self.is_speaking() && spoken < config.long_speech || spoken.is_zero() {
            return None;
        }
        Some(match Greeting::of(spoken, config) {
            Greeting::Short => (Reason::ShortGreeting, [2.2, 0.0, 0.0, 0.0, 0.0]),
            Greeting::Full => (Reason::FullGreeting, [1.5, 0.0, 0.0, 0.0, 0.0]),
            // Whoever still speaks has not greeted: that is how machines go on.
            Greeting::Long if self.is_speaking() => {
                (Reason::LongGreeting, [-0.3, 0.3, 0.1, 0.0, 0.0])
            }
            Greeting::Long => (Reason::LongGreeting, [0.5, 0.0, 0.0, 0.0, 0.0]),
            Greeting::TooLong => (Reason::LongGreeting, [-0.6, 0.3, 0.0, 0.0, 0.0]),
            Greeting::VeryLong => (Reason::VeryLongGreeting, [-2.5, 1.3, 0.3, 0.0, 0.0]),
        })
    }

    fn length(&self, config: &Config) -> Greeting {
        Greeting::of(self.spoken, config)
    }
}

enum Greeting {
    Short,
    Full,
    Long,
    TooLong,
    VeryLong,
}

impl Greeting {
    fn of(spoken: Duration, config: &Config) -> Self {
        if spoken <= config.short_greeting {
            Self::Short
        } else if spoken <= config.full_greeting {
            Self::Full
        } else if spoken <= config.long_greeting {
            Self::Long
        } else if spoken < config.very_long_greeting {
            Self::TooLong
        } else {
            Self::VeryLong
        }
    }
}

/// Zero when the clock of a careless caller runs backwards.
fn length(from: Instant, to: Instant) -> Duration {
    to.saturating_duration_since(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn zero() -> Instant {
        Instant::now()
    }

    #[test]
    fn clicks_and_repeated_edges_are_no_words() {
        let (config, zero) = (Config::default(), zero());
        let mut cadence = Cadence::default();
        assert!(!cadence.edge(zero, false, &config));
        assert!(cadence.edge(zero, true, &config));
        assert!(!cadence.edge(zero + 50 * MS, true, &config));
        assert!(!cadence.edge(zero + 300 * MS, false, &config));
        assert!(!cadence.has_words());
        assert_eq!(cadence.judged_at(&config), None);
    }

    #[test]
    fn a_short_greeting_is_judged_sooner_than_a_long_one() {
        let (config, zero) = (Config::default(), zero());
        let judged_after = |speech: u32| {
            let mut cadence = Cadence::default();
            cadence.edge(zero, true, &config);
            let end = zero + speech * MS;
            cadence.edge(end, false, &config);
            cadence.judged_at(&config).map(|at| at - end)
        };
        assert_eq!(judged_after(800), Some(550 * MS));
        assert_eq!(judged_after(2_500), Some(700 * MS));
        assert_eq!(judged_after(6_000), Some(900 * MS));
    }

    #[test]
    fn speech_of_all_words_counts_towards_a_long_speech() {
        let (config, zero) = (Config::default(), zero());
        let mut cadence = Cadence::default();
        cadence.edge(zero, true, &config);
        cadence.edge(zero + 2_160 * MS, false, &config);
        assert_eq!(cadence.reaches(5_000 * MS), None);
        cadence.edge(zero + 2_500 * MS, true, &config);
        assert_eq!(cadence.reaches(5_000 * MS), Some(zero + 5_500 * MS));
        assert_eq!(cadence.reaches(1_000 * MS), Some(zero + 2_500 * MS));
    }
}
