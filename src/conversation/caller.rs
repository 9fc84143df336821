//! The caller's words, joined to utterances.

use std::time::{Duration, Instant};

/// The utterance that the caller is at.
///
/// Text comes a second or two after its voice, when the next words may be spoken already. So the
/// voice of which no text has come is remembered apart from the one that was heard last.
#[derive(Debug, Default)]
pub(super) struct CallerWords {
    text: String,
    began: Option<Instant>,
    /// When the voice began whose text has not come, breaths included.
    unread: Option<Instant>,
    /// When the voice that is or was heard last began.
    stretch: Option<Instant>,
    stopped: Option<Instant>,
}

impl CallerWords {
    pub(super) fn voice_started(&mut self, now: Instant) {
        let paused = self
            .stopped
            .take()
            .is_some_and(|at| now.saturating_duration_since(at) > BREATH);
        if paused || self.unread.is_none() {
            self.unread = Some(now);
        }
        self.stretch = Some(now);
    }

    pub(super) fn voice_stopped(&mut self, now: Instant) {
        self.stopped = Some(now);
    }

    /// The model understood these words.
    pub(super) fn said(&mut self, now: Instant, text: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
        let began = self.unread.take().or(self.stretch).unwrap_or(now);
        self.began.get_or_insert(began);
        // Who speaks again says words that are still to come.
        self.unread = self.stretch.filter(|stretch| *stretch > began);
    }

    /// Whether the utterance may wait for what is being said.
    pub(super) fn may_go_on(&self, now: Instant) -> bool {
        self.began
            .is_some_and(|began| now.saturating_duration_since(began) < LONGEST)
    }

    /// The utterance and when it began, if there is one.
    pub(super) fn take(&mut self) -> Option<(Instant, String)> {
        let began = self.began.take()?;
        if self.stopped.is_some() {
            // All of the voice so far belongs to it. What is heard next begins other words.
            self.unread = None;
        }
        Some((began, std::mem::take(&mut self.text)))
    }
}

/// A longer pause ends an utterance.
const BREATH: Duration = Duration::from_millis(2_500);

/// Longer speeches are written down line by line while they go on.
const LONGEST: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary origin for simulated time"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn text_in_several_blocks_is_one_utterance_that_began_with_the_voice() {
        let (start, mut words) = (start(), CallerWords::default());
        words.voice_started(start);
        words.voice_stopped(start + SECOND);
        words.voice_started(start + 2 * SECOND);
        words.said(start + 3 * SECOND, "Yes,");
        words.said(start + 4 * SECOND, "on Tuesday.");
        assert_eq!(words.take(), Some((start, "Yes, on Tuesday.".to_owned())));
        assert_eq!(words.take(), None);
    }

    #[test]
    fn words_begin_with_their_own_voice_though_their_text_comes_after_another_line() {
        let (start, mut words) = (start(), CallerWords::default());
        words.voice_started(start);
        words.voice_stopped(start + SECOND);
        words.voice_started(start + 2 * SECOND);
        words.said(start + 5 * SECOND / 2, "Yes.");
        assert_eq!(words.take(), Some((start, "Yes.".to_owned())));
        words.voice_stopped(start + 3 * SECOND);
        words.said(start + 4 * SECOND, "On Tuesday.");
        let second = Some((start + 2 * SECOND, "On Tuesday.".to_owned()));
        assert_eq!(words.take(), second);
        // A straggler without a voice of its own.
        words.said(start + 9 * SECOND, "At ten.");
        let third = Some((start + 2 * SECOND, "At ten.".to_owned()));
        assert_eq!(words.take(), third);
    }

    #[test]
    fn who_breaks_in_soon_begins_words_of_their_own() {
        let (start, mut words) = (start(), CallerWords::default());
        let at = |ms| start + Duration::from_millis(ms);
        for (begins, stops) in [(0, 400), (600, 1_000)] {
            words.voice_started(at(begins));
            words.voice_stopped(at(stops));
        }
        words.said(at(1_500), "A morning is fine.");
        assert_eq!(words.take(), Some((start, "A morning is fine.".to_owned())));
        words.voice_started(at(3_000));
        words.voice_stopped(at(3_700));
        words.said(at(4_200), "No, wait.");
        assert_eq!(words.take(), Some((at(3_000), "No, wait.".to_owned())));
    }

    #[test]
    fn a_noise_long_before_is_not_the_beginning_of_the_words() {
        let (start, mut words) = (start(), CallerWords::default());
        words.voice_started(start);
        words.voice_stopped(start + SECOND);
        words.voice_started(start + 60 * SECOND);
        words.said(start + 62 * SECOND, "Hello?");
        let line = Some((start + 60 * SECOND, "Hello?".to_owned()));
        assert_eq!(words.take(), line);
    }
}
