//! Keypad tones.

use std::f32::consts::TAU;

/// Tells the two tones of a pressed key from a voice, by Goertzel's algorithm on the eight
/// frequencies of ITU-T Q.23.
#[derive(Debug)]
pub(super) struct DtmfGate {
    /// `2 cos w` of the four low and the four high tones.
    coefficients: [f32; 8],
}

impl DtmfGate {
    pub(super) fn new(sample_rate: f32) -> Self {
        Self {
            coefficients: FREQUENCIES.map(|hertz| 2.0 * (TAU * hertz / sample_rate).cos()),
        }
    }

    /// Whether most of the energy of `block` (some 16 ms) lies in one low and one high tone.
    pub(super) fn is_key(&self, block: &[i16]) -> bool {
        let mut energy = 0.0;
        let mut state = [(0.0_f32, 0.0_f32); 8];
        for sample in block {
            let x = f32::from(*sample);
            energy += x * x;
            for ((s1, s2), coefficient) in state.iter_mut().zip(self.coefficients) {
                let s0 = x + coefficient * *s1 - *s2;
                (*s1, *s2) = (s0, *s1);
            }
        }
        // A tone that fills the block alone has a share of 1.
        let whole = energy * block.len() as f32 / 2.0;
        let mut shares = [0.0; 8];
        for ((share, (s1, s2)), coefficient) in shares.iter_mut().zip(state).zip(self.coefficients)
        {
            *share = (s1 * s1 + s2 * s2 - coefficient * s1 * s2) / whole;
        }
        let (low, high) = shares.split_at(4);
        let strongest = |group: &[f32]| group.iter().copied().fold(0.0, f32::max);
        let (low, high) = (strongest(low), strongest(high));
        low + high > SHARE && low.min(high) > WEAKER_SHARE
    }
}

const FREQUENCIES: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];

/// The share of the energy that both tones have together: a voice spreads over many harmonics.
const SHARE: f32 = 0.65;

/// The share of the weaker one: lines carry the two at levels up to some 10 dB apart.
const WEAKER_SHARE: f32 = 0.06;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{
        SampleRate,
        vad::signals::{Signal, samples},
    };

    fn keys_in(signal: &Signal) -> usize {
        let gate = DtmfGate::new(16_000.0);
        let samples = samples(signal, SampleRate::Hz16000);
        let blocks = samples.chunks_exact(256);
        let count = blocks.len();
        blocks.filter(|block| gate.is_key(block)).count() * 100 / count
    }

    #[test]
    fn every_key_is_recognised_in_noise_and_off_by_one_percent() {
        for low in &FREQUENCIES[..4] {
            for high in &FREQUENCIES[4..] {
                for off in [0.99, 1.0, 1.01] {
                    let key = Signal::tones(1.0, &[low * off, high * off], -12.0)
                        .plus(&Signal::white(1.0, -35.0));
                    assert_eq!(keys_in(&key), 100, "{low} and {high} times {off}");
                }
            }
        }
    }

    #[test]
    fn neither_a_voice_nor_noise_nor_one_tone_alone_is_a_key() {
        assert_eq!(keys_in(&Signal::speech(20.0, -20.0)), 0);
        assert_eq!(keys_in(&Signal::white(5.0, -20.0)), 0);
        assert_eq!(keys_in(&Signal::silence(1.0)), 0);
        assert_eq!(keys_in(&Signal::tones(1.0, &[770.0], -20.0)), 0);
        assert_eq!(keys_in(&Signal::tones(1.0, &[440.0, 480.0], -20.0)), 0);
    }
}
