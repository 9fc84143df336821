//! Whether the caller speaks.
//!
//! [`NeuralDetector`] tells a voice from a ringing phone, hum and noise, and is what calls use.
//! [`EnergyDetector`] takes for speech whatever varies and is louder than the line's noise; it
//! costs next to nothing and understands voices that are none, such as test tones.

use std::fmt;

use super::AudioFrame;

mod energy;
pub use energy::EnergyDetector;

mod neural;
pub use neural::NeuralDetector;

pub(crate) mod tone;

#[cfg(test)]
pub(crate) mod signals;

/// Hears whether somebody speaks. One for each audio stream.
pub trait VoiceDetector: Send + fmt::Debug {
    /// Whether the caller speaks, as of the end of this frame; hysteresis included, so that it
    /// neither flickers on a click nor falls silent between two syllables.
    ///
    /// Frames follow each other without a gap and may have any length.
    fn hear(&mut self, frame: &AudioFrame) -> bool;
}

/// The detector for calls: [`NeuralDetector`].
#[must_use]
pub fn default_detector() -> Box<dyn VoiceDetector> {
    Box::new(NeuralDetector::new())
}

/// Turns hits and misses into speech and silence: so many hits in a row begin it, so many misses
/// in a row end it.
#[derive(Debug)]
struct Hysteresis {
    onset: u32,
    hangover: u32,
    speaking: bool,
    /// How many in a row spoke against `speaking`.
    against: u32,
}

impl Hysteresis {
    const fn new(onset: u32, hangover: u32) -> Self {
        Self {
            onset,
            hangover,
            speaking: false,
            against: 0,
        }
    }

    fn step(&mut self, hit: bool) {
        if hit == self.speaking {
            self.against = 0;
            return;
        }
        self.against += 1;
        let needed = if self.speaking {
            self.hangover
        } else {
            self.onset
        };
        if self.against >= needed {
            self.speaking = hit;
            self.against = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_in_a_row_begin_speech_and_misses_in_a_row_end_it() {
        let mut gate = Hysteresis::new(3, 4);
        let mut heard = Vec::new();
        for hit in [1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0] {
            gate.step(hit == 1);
            heard.push(u8::from(gate.speaking));
        }
        assert_eq!(heard, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    }
}
