//! The pitch of pure tones.

use std::f32::consts::TAU;

use microfft::real::rfft_256;

use crate::audio::{SampleRate, vad::tone::take_peak};

/// Says every 20 ms whether one pure tone is heard, and its pitch: nearly all of the energy of
/// the last 32 ms lies in one narrow peak of the spectrum.
#[derive(Debug)]
pub(super) struct PitchFinder {
    /// The last 32 ms at 8 kHz.
    recent: [f32; WINDOW],
    taper: [f32; WINDOW],
    /// How many samples of `recent` are new since it was last looked at.
    new: usize,
    decimator: Decimator,
}

impl PitchFinder {
    pub(super) fn new() -> Self {
        Self {
            recent: [0.0; WINDOW],
            taper: std::array::from_fn(|n| 0.5 - 0.5 * (TAU * n as f32 / WINDOW as f32).cos()),
            new: 0,
            decimator: Decimator::default(),
        }
    }

    /// The rate of the samples that follow.
    pub(super) fn tune(&mut self, rate: SampleRate) {
        self.decimator.tune(rate);
    }

    /// The tone, or its absence, once 20 ms are full.
    pub(super) fn take(&mut self, sample: i16) -> Option<Option<f32>> {
        let sample = self.decimator.take(sample)?;
        if self.new == 0 {
            self.recent.copy_within(BLOCK.., 0);
        }
        self.recent[WINDOW - BLOCK + self.new] = sample;
        self.new += 1;
        (self.new == BLOCK).then(|| {
            self.new = 0;
            self.tone()
        })
    }

    /// The pitch of what is heard in the window, if it is one pure tone.
    fn tone(&self) -> Option<f32> {
        let energy: f32 = self.recent.iter().map(|x| x * x).sum();
        if energy < QUIETEST * WINDOW as f32 {
            return None;
        }
        let mut samples = self.recent;
        for (sample, taper) in samples.iter_mut().zip(self.taper) {
            *sample *= taper;
        }
        let spectrum = rfft_256(&mut samples);
        let mut power = [0.0; WINDOW / 2];
        // Hum and a constant offset lie below and say nothing about the tone.
        for (power, line) in power.iter_mut().zip(spectrum.iter()).skip(HUM) {
            *power = line.re * line.re + line.im * line.im;
        }
        let lines = power;
        let all: f32 = power.iter().sum();
        let peak = take_peak(&mut power);
        if peak.energy < SHARE * all {
            return None;
        }
        // Between the lines: the logarithm of a Hann window's peak is nearly a parabola.
        let at = |line: usize| lines.get(line).map_or(0.0, |x| (x + 1.0).ln());
        let (left, middle, right) = (
            at(peak.line.saturating_sub(1)),
            at(peak.line),
            at(peak.line + 1),
        );
        let bend = left - 2.0 * middle + right;
        let aside = if bend < 0.0 {
            (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
        } else {
            0.0
        };
        let hertz = (peak.line as f32 + aside) * HERTZ_PER_LINE;
        (LOWEST..=HIGHEST).contains(&hertz).then_some(hertz)
    }
}

/// Every rate becomes 8 kHz: the mean of so many samples. What that lets through from above 4 kHz
/// is hiss, and beeps have none.
#[derive(Debug, Default)]
struct Decimator {
    by: u16,
    sum: f32,
    samples: u16,
}

impl Decimator {
    fn tune(&mut self, rate: SampleRate) {
        let by = match rate {
            SampleRate::Hz8000 => 1,
            SampleRate::Hz16000 => 2,
            SampleRate::Hz24000 => 3,
        };
        if self.by != by {
            *self = Self {
                by,
                ..Self::default()
            };
        }
    }

    fn take(&mut self, sample: i16) -> Option<f32> {
        self.sum += f32::from(sample);
        self.samples += 1;
        (self.samples == self.by).then(|| {
            self.samples = 0;
            std::mem::take(&mut self.sum) / f32::from(self.by)
        })
    }
}

/// 32 ms at 8 kHz.
const WINDOW: usize = 256;
const HERTZ_PER_LINE: f32 = 8_000.0 / WINDOW as f32;

/// 20 ms at 8 kHz: how often the window is looked at.
const BLOCK: usize = 160;

/// The lines below 125 Hz.
const HUM: usize = 4;

/// -50 dBFS as a mean square: quieter than any beep that is meant to be heard.
const QUIETEST: f32 = 32_768.0 * 32_768.0 * 1e-5;

/// A tone with noise 8 dB below it, or with a third harmonic as strong as a square wave's.
const SHARE: f32 = 0.85;

/// The pitches that are told, in hertz: beeps from 400, modems up to 2250.
const LOWEST: f32 = 390.0;
const HIGHEST: f32 = 2_300.0;
