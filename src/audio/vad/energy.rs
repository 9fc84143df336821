//! Speech is what is louder than the noise.

use std::{f32::consts::TAU, time::Duration};

use super::{AudioFrame, Hysteresis, VoiceDetector};
use crate::audio::SampleRate;

/// Hears whatever is louder than the noise of the line, from about -45 dBFS up.
///
/// The noise floor is the quietest 10 ms of the last 4 s, so a noise that sets in and stays is
/// taken for speech for 4 s and then no longer. So is a tone: it cannot tell a voice from a
/// ringing phone or music. Decibels are of the mean square, against a full-scale square wave.
#[derive(Debug)]
pub struct EnergyDetector {
    level: Level,
    floor: Floor,
    gate: Hysteresis,
    blocks_since_hit: u32,
}

impl EnergyDetector {
    /// A detector that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            level: Level::default(),
            floor: Floor::new(),
            gate: Hysteresis::new(ONSET_BLOCKS, HANGOVER_BLOCKS),
            blocks_since_hit: 0,
        }
    }

    /// How long speech has lasted when it is first reported.
    pub(crate) const ONSET: Duration = BLOCK.saturating_mul(ONSET_BLOCKS);

    /// How long ago sound was last loud enough. While speech is reported this is the part that is
    /// a pause, or hangover.
    pub(crate) fn silent_for(&self) -> Duration {
        BLOCK.saturating_mul(self.blocks_since_hit)
    }

    fn step(&mut self, level: f32) {
        let floor = self.floor.step(level);
        let (margin, least) = if self.gate.speaking {
            (STAY_ABOVE_FLOOR, STAY_ABOVE)
        } else {
            (BEGIN_ABOVE_FLOOR, BEGIN_ABOVE)
        };
        let hit = level > (floor + margin).max(least);
        self.blocks_since_hit = if hit {
            0
        } else {
            self.blocks_since_hit.saturating_add(1)
        };
        self.gate.step(hit);
    }
}

impl Default for EnergyDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl VoiceDetector for EnergyDetector {
    fn hear(&mut self, frame: &AudioFrame) -> bool {
        self.level.tune(frame.rate());
        for sample in frame.samples() {
            if let Some(level) = self.level.take(sample) {
                self.step(level);
            }
        }
        self.gate.speaking
    }
}

/// The level of each block of 10 ms, in decibels below full scale, without what lies below the
/// voice (hum, rumble, a constant offset).
#[derive(Debug, Default)]
struct Level {
    block: usize,
    feedback: f32,
    last_input: f32,
    last_output: f32,
    energy: f32,
    samples: usize,
}

impl Level {
    fn tune(&mut self, rate: SampleRate) {
        let block = rate.samples_per_frame() / 2;
        if block != self.block {
            *self = Self {
                block,
                feedback: (-TAU * HIGH_PASS_HERTZ / (block as f32 * 100.0)).exp(),
                ..Self::default()
            };
        }
    }

    fn take(&mut self, sample: i16) -> Option<f32> {
        let input = f32::from(sample) / 32_768.0;
        self.last_output = input - self.last_input + self.feedback * self.last_output;
        self.last_input = input;
        self.energy += self.last_output * self.last_output;
        self.samples += 1;
        if self.samples < self.block {
            return None;
        }
        let mean = self.energy / self.samples as f32;
        self.energy = 0.0;
        self.samples = 0;
        Some(10.0 * mean.max(1e-9).log10())
    }
}

/// The lowest level of the last few seconds: speech has gaps, and there the noise can be heard.
#[derive(Debug)]
struct Floor {
    /// The lowest of each finished stretch, the oldest at `next`.
    stretches: [f32; STRETCHES],
    next: usize,
    current: f32,
    blocks: u32,
}

impl Floor {
    const fn new() -> Self {
        Self {
            stretches: [FIRST_FLOOR; STRETCHES],
            next: 0,
            current: f32::INFINITY,
            blocks: 0,
        }
    }

    fn step(&mut self, level: f32) -> f32 {
        self.current = self.current.min(level);
        self.blocks += 1;
        if self.blocks == STRETCH_BLOCKS {
            self.stretches[self.next] = self.current;
            self.next = (self.next + 1) % STRETCHES;
            self.current = f32::INFINITY;
            self.blocks = 0;
        }
        self.stretches.iter().copied().fold(self.current, f32::min)
    }
}

const BLOCK: Duration = Duration::from_millis(10);

/// 40 ms: longer than a click, shorter than a syllable.
const ONSET_BLOCKS: u32 = 4;

/// 200 ms: bridges the gap that a plosive makes, and most gaps between words.
const HANGOVER_BLOCKS: u32 = 20;

/// Above the floor by this much, or it is noise: the level of noise itself swings by some 6 dB.
const BEGIN_ABOVE_FLOOR: f32 = 10.0;
const STAY_ABOVE_FLOOR: f32 = 7.0;

/// Never less, however quiet the line is: quiet speech is at -35 dBFS, comfort noise at -60.
const BEGIN_ABOVE: f32 = -47.0;
const STAY_ABOVE: f32 = -51.0;

/// What the noise is taken to be before anything was heard.
const FIRST_FLOOR: f32 = -60.0;

/// 10 stretches of 40 blocks: 4 s.
const STRETCHES: usize = 10;
const STRETCH_BLOCKS: u32 = 40;

/// Voices on a telephone begin above; mains hum and rumble lie below.
const HIGH_PASS_HERTZ: f32 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::vad::signals::{Signal, frames, spoken};

    /// What of `signal` is heard as speech, in percent of its frames.
    fn percent(detector: &mut EnergyDetector, signal: &Signal, rate: SampleRate) -> usize {
        spoken(detector, &frames(signal, rate))
    }

    #[test]
    fn quiet_speech_over_the_noise_of_a_line_is_heard_at_every_rate() {
        for rate in SampleRate::ALL {
            for level in [-35.0, -25.0, -15.0] {
                let mut detector = EnergyDetector::new();
                let noise = Signal::white(3.0, -60.0);
                assert_eq!(percent(&mut detector, &noise, rate), 0, "{rate}");
                let speech = Signal::speech(8.0, level).plus(&Signal::white(8.0, -60.0));
                let heard = percent(&mut detector, &speech, rate);
                assert!(heard > 90, "{heard} % at {level} dBFS, {rate}");
                assert!(percent(&mut detector, &noise, rate) < 15, "{rate}");
            }
        }
    }

    #[test]
    fn beeps_that_stand_for_speech_are_heard() {
        let rate = SampleRate::Hz16000;
        for level in [-35.0, -18.0] {
            let mut detector = EnergyDetector::new();
            let beeps = Signal::tones(20.0, &[440.0], level).gated(0.15, 0.05);
            assert!(percent(&mut detector, &beeps, rate) > 95);
        }
    }

    #[test]
    fn a_constant_noise_that_sets_in_is_no_speech_after_a_few_seconds() {
        for rate in SampleRate::ALL {
            for noise in [Signal::white(6.0, -35.0), Signal::pink(6.0, -35.0)] {
                let mut detector = EnergyDetector::new();
                percent(&mut detector, &Signal::white(3.0, -60.0), rate);
                assert!(percent(&mut detector, &noise, rate) > 0);
                assert_eq!(percent(&mut detector, &noise, rate), 0, "{rate}");
                let loud = Signal::speech(4.0, -12.0).plus(&noise);
                assert!(percent(&mut detector, &loud, rate) > 80, "{rate}");
            }
        }
    }

    #[test]
    fn silence_and_the_noise_of_a_line_are_no_speech() {
        for signal in [
            Signal::silence(10.0),
            Signal::white(10.0, -60.0),
            Signal::pink(10.0, -60.0),
            Signal::tones(10.0, &[50.0, 150.0], -55.0),
        ] {
            let mut detector = EnergyDetector::new();
            assert_eq!(percent(&mut detector, &signal, SampleRate::Hz8000), 0);
        }
    }

    #[test]
    fn a_click_is_no_speech() {
        let mut detector = EnergyDetector::new();
        let clicks = Signal::white(5.0, -10.0).gated(0.02, 0.48);
        assert_eq!(percent(&mut detector, &clicks, SampleRate::Hz16000), 0);
    }

    #[test]
    fn what_was_silent_is_known_while_speech_is_still_reported() {
        let rate = SampleRate::Hz16000;
        let mut detector = EnergyDetector::new();
        percent(&mut detector, &Signal::tones(0.5, &[300.0], -20.0), rate);
        assert_eq!(detector.silent_for(), Duration::ZERO);
        assert_eq!(percent(&mut detector, &Signal::silence(0.1), rate), 100);
        let silent = detector.silent_for().as_millis();
        assert!((90..=100).contains(&silent), "{silent} ms");
    }
}
