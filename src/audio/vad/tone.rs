//! The tones of the telephone: ringback, busy, keypad, beeps.

use std::f32::consts::TAU;

use microfft::real::rfft_512;

/// Tells one or two pure tones from a voice: nearly all of a tone's energy lies in at most two
/// narrow peaks, and stays there.
///
/// A voice does that for a moment now and then, though for less than 128 ms at a time in 80 s of
/// recorded speech. So it takes one such moment to doubt that a voice begins, and 128 ms to say
/// that one has given way to a tone.
pub(super) struct ToneGate {
    /// The last two blocks: 32 ms at 16 kHz, 31 Hz for each line of the spectrum.
    recent: [f32; WINDOW],
    taper: [f32; WINDOW],
    /// Tonal blocks in a row.
    run: u32,
    /// For so many blocks more the network still sees a tone that is over.
    hold: u32,
}

impl ToneGate {
    pub(super) fn new() -> Self {
        let hann = |n: usize| 0.5 - 0.5 * (TAU * n as f32 / WINDOW as f32).cos();
        Self {
            recent: [0.0; WINDOW],
            taper: std::array::from_fn(hann),
            run: 0,
            hold: 0,
        }
    }

    /// Whether what is heard in `block` is a tone, or the network's memory of one. It looks closely
    /// only where that is worth it, and takes more convincing while somebody is `speaking`.
    pub(super) fn shuts(&mut self, block: &[i16], worth_a_look: bool, speaking: bool) -> bool {
        let new = block.len().min(WINDOW);
        self.recent.copy_within(new.., 0);
        for (slot, sample) in self.recent[WINDOW - new..].iter_mut().zip(block) {
            *slot = f32::from(*sample);
        }
        self.run = if worth_a_look && self.is_tone() {
            self.run + 1
        } else {
            0
        };
        let (doubt, certain) = if speaking {
            (NO_VOICE, NO_VOICE)
        } else {
            (1, TONE)
        };
        self.hold = if self.run >= certain {
            HOLD
        } else {
            self.hold.saturating_sub(1)
        };
        self.run >= doubt || self.hold > 0
    }

    fn is_tone(&self) -> bool {
        let mut samples = self.recent;
        for (sample, taper) in samples.iter_mut().zip(self.taper) {
            *sample *= taper;
        }
        let spectrum = rfft_512(&mut samples);
        let mut power = [0.0; WINDOW / 2];
        // The first line is a constant offset and no sound.
        for (power, line) in power.iter_mut().zip(spectrum.iter()).skip(1) {
            *power = line.re * line.re + line.im * line.im;
        }
        let all: f32 = power.iter().sum();
        let peaks = take_peak(&mut power).energy + take_peak(&mut power).energy;
        peaks > SHARE * all
    }
}

impl std::fmt::Debug for ToneGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToneGate")
            .field("run", &self.run)
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}

/// A tone's mark in a spectrum.
pub(crate) struct Peak {
    /// Its strongest line.
    pub(crate) line: usize,
    /// The energy of that line and of those around it.
    pub(crate) energy: f32,
}

/// Finds the strongest line of a spectrum through a Hann window, and takes it out with all that
/// the window smears around it.
pub(crate) fn take_peak(power: &mut [f32]) -> Peak {
    let strongest = (0..power.len()).fold(0, |best, line| {
        if power[line] > power[best] {
            line
        } else {
            best
        }
    });
    let end = power.len().min(strongest + SPREAD + 1);
    let energy = power[strongest.saturating_sub(SPREAD)..end]
        .iter_mut()
        .map(std::mem::take)
        .sum();
    Peak {
        line: strongest,
        energy,
    }
}

const WINDOW: usize = 512;

/// The window smears a tone over so many lines to each side.
const SPREAD: usize = 2;

/// Of recorded speech 1 to 10 % has more in two peaks; tones have it with noise 15 dB below.
const SHARE: f32 = 0.97;

/// 48 ms: shorter than any key is pressed.
const TONE: u32 = 3;

/// 128 ms: longer than any voice was found to be a tone.
const NO_VOICE: u32 = 8;

/// 112 ms: the network looks back 80 ms, and takes the end of a tone for voice.
const HOLD: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{
        SampleRate,
        vad::signals::{Signal, samples},
    };

    /// For how many of a hundred blocks the gate is shut.
    fn shut(signal: &Signal) -> usize {
        let mut gate = ToneGate::new();
        let samples = samples(signal, SampleRate::Hz16000);
        let blocks = samples.chunks_exact(256);
        let count = blocks.len();
        blocks
            .filter(|block| gate.shuts(block, true, false))
            .count()
            * 100
            / count
    }

    #[test]
    fn every_key_is_a_tone_also_in_noise() {
        for low in [697.0, 770.0, 852.0, 941.0] {
            for high in [1209.0, 1336.0, 1477.0, 1633.0] {
                let key = Signal::tones(1.0, &[low, high], -12.0);
                assert!(shut(&key) > 95, "{low} and {high}");
                assert!(shut(&key.plus(&Signal::white(1.0, -32.0))) > 95);
            }
        }
    }

    #[test]
    fn the_tones_of_exchanges_are_tones() {
        for tones in [
            &[350.0, 440.0][..],
            &[440.0, 480.0],
            &[480.0, 620.0],
            &[400.0, 450.0],
            &[425.0],
            &[913.8],
            &[1776.7],
            &[1000.0],
        ] {
            assert!(shut(&Signal::tones(1.0, tones, -20.0)) > 95, "{tones:?}");
        }
    }

    #[test]
    fn a_voice_and_noise_are_none() {
        assert!(shut(&Signal::speech(20.0, -20.0)) < 10);
        assert_eq!(shut(&Signal::white(5.0, -20.0)), 0);
        assert_eq!(shut(&Signal::pink(5.0, -20.0)), 0);
        assert_eq!(shut(&Signal::silence(1.0)), 0);
    }

    #[test]
    fn a_voice_that_is_under_way_is_never_taken_for_a_tone_but_a_tone_after_it_is() {
        let mut gate = ToneGate::new();
        let speech = Signal::speech(20.0, -20.0);
        let speech = samples(&speech, SampleRate::Hz16000);
        assert!(
            !speech
                .chunks_exact(256)
                .any(|block| gate.shuts(block, true, true))
        );
        let tone = samples(&Signal::tones(0.5, &[440.0], -20.0), SampleRate::Hz16000);
        let open = tone
            .chunks_exact(256)
            .filter(|block| !gate.shuts(block, true, true));
        assert!((7..=9).contains(&open.count()));
    }

    #[test]
    fn the_gate_stays_shut_for_a_while_after_a_tone_and_no_longer() {
        let mut gate = ToneGate::new();
        let tone = samples(&Signal::tones(0.5, &[440.0], -20.0), SampleRate::Hz16000);
        tone.chunks_exact(256).for_each(|block| {
            gate.shuts(block, true, false);
        });
        let shut = (0..20)
            .filter(|_| gate.shuts(&[0; 256], true, false))
            .count();
        assert!((6..=9).contains(&shut), "{shut} blocks");
    }
}
