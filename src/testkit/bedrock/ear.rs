//! Hears when the caller speaks, by loudness alone.

use std::time::Duration;

use super::options::Dialogue;
use crate::audio::SampleRate;

/// What the ear noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Speech, and enough of it to be no noise.
    Started,
    /// Silence long enough to end a turn.
    Ended,
}

/// Follows one caller. Time is measured in samples.
pub(super) struct Ear {
    rate: SampleRate,
    threshold: u64,
    min_speech: Duration,
    end_silence: Duration,
    voiced: Duration,
    silence: Duration,
    is_speaking: bool,
}

impl Ear {
    pub(super) fn new(rate: SampleRate, dialogue: &Dialogue) -> Self {
        Self {
            rate,
            threshold: u64::from(dialogue.threshold).pow(2),
            min_speech: dialogue.min_speech,
            end_silence: dialogue.end_silence,
            voiced: Duration::ZERO,
            silence: Duration::ZERO,
            is_speaking: false,
        }
    }

    /// Whether the caller speaks, or might be about to.
    pub(super) fn hears(&self) -> bool {
        self.is_speaking || !self.voiced.is_zero()
    }

    /// Listens to one event's audio.
    pub(super) fn listen(&mut self, pcm: &[u8]) -> Option<Heard> {
        let length = self.rate.duration_of(pcm.len());
        let energy: u64 = pcm
            .chunks_exact(2)
            .map(|pair| {
                let sample = i64::from(i16::from_le_bytes([pair[0], pair[1]]));
                (sample * sample).unsigned_abs()
            })
            .sum();
        let is_loud = energy > self.threshold * (pcm.len() / 2) as u64;
        if is_loud {
            self.voiced += length;
            self.silence = Duration::ZERO;
            if !self.is_speaking && self.voiced >= self.min_speech {
                self.is_speaking = true;
                return Some(Heard::Started);
            }
            return None;
        }
        self.silence += length;
        if self.silence < self.end_silence {
            return None;
        }
        self.voiced = Duration::ZERO;
        std::mem::take(&mut self.is_speaking).then_some(Heard::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of 20 ms, `#` loud and `.` silent.
    fn heard(frames: &str) -> Vec<(usize, Heard)> {
        let mut ear = Ear::new(SampleRate::Hz16000, &Dialogue::default());
        frames
            .chars()
            .enumerate()
            .filter_map(|(at, frame)| {
                let sample: i16 = if frame == '#' { 4_000 } else { 20 };
                Some((at, ear.listen(&sample.to_le_bytes().repeat(320))?))
            })
            .collect()
    }

    #[test]
    fn a_turn_ends_after_half_a_second_of_silence() {
        let frames = format!("{}{}{}", ".".repeat(10), "#".repeat(20), ".".repeat(40));
        assert_eq!(heard(&frames), [(14, Heard::Started), (54, Heard::Ended)]);
    }

    #[test]
    fn a_pause_inside_a_sentence_ends_nothing() {
        let frames = format!("{}{}{}", "#".repeat(20), ".".repeat(24), "#".repeat(20));
        assert_eq!(heard(&frames), [(4, Heard::Started)]);
    }

    #[test]
    fn a_click_is_no_speech() {
        assert_eq!(heard(&format!("###{}", ".".repeat(40))), []);
    }
}
