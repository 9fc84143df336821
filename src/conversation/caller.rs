//! The caller's words, joined to utterances.

use std::time::{Duration, Instant};

/// The utterance that the caller is at.
#[derive(Debug, Default)]
pub(super) struct CallerWords {
    text: String,
    began: Option<Instant>,
    /// When the voice that is or was heard last began, breaths included.
    voice_began: Option<Instant>,
    voice_stopped: Option<Instant>,
}

impl CallerWords {
    pub(super) fn voice_started(&mut self, now: Instant) {
        let paused = self
            .voice_stopped
            .take()
            .is_some_and(|at| now.saturating_duration_since(at) > BREATH);
        if paused || self.voice_began.is_none() {
            self.voice_began = Some(now);
        }
    }

    pub(super) fn voice_stopped(&mut self, now: Instant) {
        self.voice_stopped = Some(now);
    }

    /// The model understood these words.
    pub(super) fn said(&mut self, now: Instant, text: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
        let began = self.voice_began.unwrap_or(now);
        self.began.get_or_insert(began);
    }

    /// The utterance and when it began, if there is one.
    pub(super) fn take(&mut self) -> Option<(Instant, String)> {
        let began = self.began.take()?;
        self.voice_began = None;
        Some((began, std::mem::take(&mut self.text)))
    }
}

/// A longer pause ends an utterance.
const BREATH: Duration = Duration::from_millis(2_500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary origin for simulated time"
    )]
    fn text_in_several_blocks_is_one_utterance_that_began_with_the_voice() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut words = CallerWords::default();
        words.voice_started(start);
        words.voice_stopped(start + second);
        words.voice_started(start + 2 * second);
        words.said(start + 3 * second, "Yes,");
        words.said(start + 4 * second, "on Tuesday.");
        assert_eq!(words.take(), Some((start, "Yes, on Tuesday.".to_owned())));
        assert_eq!(words.take(), None);
    }
}
