//! What a simulated caller says: signals that voice detectors take for speech, and tones.

use std::{f64::consts::TAU, time::Duration};

use bytes::Bytes;

use crate::audio::SampleRate;

/// A loud voiced signal with the marks of speech: glottal pulses of a falling pitch through the
/// formants of changing vowels, four syllables a second. 16-bit little-endian mono PCM, the same
/// for the same arguments.
#[must_use]
pub fn speech(duration: Duration, rate: SampleRate) -> Bytes {
    let hertz = f64::from(rate.hertz());
    let mut voice = Voice::new(hertz);
    let raw: Vec<f64> = (0..samples(duration, rate))
        .map(|n| voice.next(n as f64 / hertz))
        .collect();
    let peak = raw.iter().fold(f64::MIN_POSITIVE, |p, x| p.max(x.abs()));
    encode(raw.into_iter().map(|x| x / peak * LOUD))
}

/// A sine of `frequency` hertz at half of full scale. 16-bit little-endian mono PCM.
#[must_use]
pub fn tone(frequency: f64, duration: Duration, rate: SampleRate) -> Bytes {
    let step = TAU * frequency / f64::from(rate.hertz());
    encode((0..samples(duration, rate)).map(|n| 0.5 * (step * n as f64).sin()))
}

/// The vocal tract: a pulse source, one resonator per formant, and a little breath.
struct Voice {
    hertz: f64,
    phase: f64,
    noise: u32,
    formants: Vec<Resonator>,
}

impl Voice {
    fn new(hertz: f64) -> Self {
        Self {
            hertz,
            phase: 0.0,
            noise: 1,
            formants: vec![Resonator::default(); VOWELS[0].len()],
        }
    }

    fn next(&mut self, at: f64) -> f64 {
        let syllable = at * SYLLABLES_PER_SECOND;
        // Pitch falls over each two seconds, as over a phrase, and wavers a little.
        let pitch = 150.0 - 20.0 * (at % 2.0) + 4.0 * (TAU * 5.0 * at).sin();
        self.phase = (self.phase + pitch / self.hertz).fract();
        let source = glottal(self.phase) + 0.02 * self.breath();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count of syllables"
        )]
        let vowel = VOWELS[syllable as usize % VOWELS.len()];
        let mut out = 0.0;
        for (resonator, (frequency, gain)) in self.formants.iter_mut().zip(vowel) {
            // What the rate cannot carry would alias.
            if frequency < self.hertz * 0.45 {
                out += gain * resonator.next(source, frequency, self.hertz);
            }
        }
        out * envelope(syllable.fract())
    }

    fn breath(&mut self) -> f64 {
        self.noise = self
            .noise
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        f64::from(self.noise) / f64::from(u32::MAX) * 2.0 - 1.0
    }
}

/// Two poles at a formant, 80 Hz wide.
#[derive(Clone, Default)]
struct Resonator {
    last: [f64; 2],
}

impl Resonator {
    fn next(&mut self, input: f64, frequency: f64, hertz: f64) -> f64 {
        let radius = (-std::f64::consts::PI * 80.0 / hertz).exp();
        let turn = 2.0 * radius * (TAU * frequency / hertz).cos();
        let out = (1.0 - radius) * input + turn * self.last[0] - radius * radius * self.last[1];
        self.last = [out, self.last[0]];
        out
    }
}

/// The flow through the vocal folds, differentiated: slow opening, quick closing, closed.
fn glottal(phase: f64) -> f64 {
    if phase < 0.4 {
        (TAU * phase / 0.8).sin() * 0.5
    } else if phase < 0.56 {
        -((phase - 0.4) / 0.16) * 2.0
    } else {
        0.0
    }
}

/// Loudness over a syllable: quick rise, slow fall, never quite silent.
fn envelope(position: f64) -> f64 {
    let shape = if position < 0.2 {
        position / 0.2
    } else {
        1.0 - (position - 0.2) / 0.8
    };
    0.1 + 0.9 * shape.max(0.0).sqrt()
}

fn samples(duration: Duration, rate: SampleRate) -> usize {
    let count = duration.as_micros() * u128::from(rate.hertz()) / 1_000_000;
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn encode(signal: impl Iterator<Item = f64>) -> Bytes {
    signal
        .flat_map(|x| {
            #[expect(clippy::cast_possible_truncation, reason = "clamped to the range")]
            let sample = (x.clamp(-1.0, 1.0) * f64::from(i16::MAX)) as i16;
            sample.to_le_bytes()
        })
        .collect::<Vec<u8>>()
        .into()
}

const LOUD: f64 = 0.7;

const SYLLABLES_PER_SECOND: f64 = 4.0;

/// Formant frequencies in hertz and their gains: a, i, e, o, u of an adult voice.
const VOWELS: [[(f64, f64); 4]; 5] = [
    [(730.0, 1.0), (1090.0, 0.6), (2440.0, 0.25), (3400.0, 0.1)],
    [(300.0, 1.0), (2290.0, 0.4), (3010.0, 0.3), (3500.0, 0.1)],
    [(530.0, 1.0), (1840.0, 0.5), (2480.0, 0.3), (3400.0, 0.1)],
    [(570.0, 1.0), (840.0, 0.7), (2410.0, 0.2), (3300.0, 0.1)],
    [(320.0, 1.0), (870.0, 0.6), (2240.0, 0.2), (3300.0, 0.1)],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pcm: &[u8]) -> Vec<i16> {
        pcm.chunks_exact(2)
            .map(|b| i16::from_le_bytes([b[0], b[1]]))
            .collect()
    }

    fn voiced_part(pcm: &[u8]) -> f64 {
        let mut detector = earshot::Detector::default();
        let scores: Vec<f32> = decode(pcm)
            .chunks_exact(256)
            .map(|frame| detector.predict_i16(frame))
            .collect();
        scores.iter().filter(|score| **score > 0.5).count() as f64 / scores.len() as f64
    }

    #[test]
    fn a_voice_detector_takes_speech_for_speech_and_a_tone_for_none() {
        let two_seconds = Duration::from_secs(2);
        let speech = voiced_part(&speech(two_seconds, SampleRate::Hz16000));
        let tone = voiced_part(&tone(1000.0, two_seconds, SampleRate::Hz16000));
        assert!(speech > 0.8, "voiced: {speech}");
        assert!(tone < 0.2, "voiced: {tone}");
    }

    #[test]
    fn a_signal_is_as_long_as_asked_and_loud_at_every_rate() {
        for rate in SampleRate::ALL {
            let pcm = speech(Duration::from_millis(500), rate);
            assert_eq!(rate.duration_of(pcm.len()), Duration::from_millis(500));
            let peak = decode(&pcm).iter().map(|s| s.unsigned_abs()).max();
            assert_eq!(peak, Some(22_936));
        }
    }
}
