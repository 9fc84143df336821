//! Signals to try detectors on, made from nothing.

use std::f32::consts::TAU;

use super::VoiceDetector;
use crate::audio::{AudioFrame, SampleRate, resample::to_sample};

/// A sound of some length, at 48 kHz so that it divides into every rate.
#[derive(Clone)]
pub(crate) struct Signal(Vec<f32>);

impl Signal {
    pub(crate) fn silence(seconds: f32) -> Self {
        Self(vec![0.0; count(seconds)])
    }

    /// Noise with as much energy in every hertz.
    pub(crate) fn white(seconds: f32, dbfs: f32) -> Self {
        let mut noise = Noise(1);
        Self((0..count(seconds)).map(|_| noise.next()).collect()).at(dbfs)
    }

    /// Noise with as much energy in every octave, by Paul Kellet's filter.
    pub(crate) fn pink(seconds: f32, dbfs: f32) -> Self {
        let mut noise = Noise(2);
        let mut poles = [0.0_f32; 3];
        let next = |_| {
            let white = noise.next();
            poles[0] = 0.997_65 * poles[0] + white * 0.099_046;
            poles[1] = 0.963 * poles[1] + white * 0.296_516_4;
            poles[2] = 0.57 * poles[2] + white * 1.052_691_3;
            poles.iter().sum::<f32>() + white * 0.1848
        };
        Self((0..count(seconds)).map(next).collect()).at(dbfs)
    }

    /// Sine tones of equal level.
    pub(crate) fn tones(seconds: f32, hertz: &[f32], dbfs: f32) -> Self {
        let sample = |n: usize| {
            let time = n as f64 / f64::from(RATE);
            hertz.iter().map(|f| sine(f64::from(*f) * time)).sum()
        };
        Self((0..count(seconds)).map(sample).collect()).at(dbfs)
    }

    /// A voice of sorts: pulses at a wandering pitch through four resonators that glide from vowel
    /// to vowel, in syllables, with a hiss before every third and a breath after every seventh.
    pub(crate) fn speech(seconds: f32, dbfs: f32) -> Self {
        let mut noise = Noise(3);
        let mut out = Vec::with_capacity(count(seconds));
        let mut tract = VOWELS[0].map(Resonator::new);
        let mut phase = 0.0_f32;
        let mut syllable = 0;
        while out.len() < count(seconds) {
            let vowel = VOWELS[syllable * 7 % VOWELS.len()];
            let next = VOWELS[(syllable + 1) * 7 % VOWELS.len()];
            let length = count(0.16 + 0.04 * (syllable % 3) as f32);
            if syllable % 3 == 0 {
                out.extend((0..count(0.06)).map(|_| 0.05 * noise.next()));
            }
            for n in 0..length {
                let part = n as f32 / length as f32;
                if n % 48 == 0 {
                    for (index, resonator) in tract.iter_mut().enumerate() {
                        resonator.tune(vowel[index] + (next[index] - vowel[index]) * part * 0.6);
                    }
                }
                let melody = (syllable as f32 * 0.9 + part).sin();
                phase += (125.0 + 22.0 * melody + 1.5 * noise.next()) / RATE as f32;
                phase %= 1.0;
                // An open phase that closes abruptly, as vocal folds do.
                let glottis = if phase < 0.6 {
                    (phase / 0.6).powi(2) * (1.0 - phase / 0.6) * 6.75
                } else {
                    0.0
                };
                let source = glottis + 0.01 * noise.next();
                let sound = tract.iter_mut().fold(source, |x, r| r.filter(x));
                let envelope = (part * std::f32::consts::PI).sin().powf(0.5);
                out.push(sound * envelope);
            }
            if syllable % 7 == 6 {
                out.extend(std::iter::repeat_n(0.0, count(0.15)));
            }
            syllable += 1;
        }
        out.truncate(count(seconds));
        // The lips radiate changes of flow, not flow.
        let mut last = 0.0;
        for x in &mut out {
            (*x, last) = (*x - 0.95 * last, *x);
        }
        Self(out).at(dbfs)
    }

    /// On and off in turns of so many seconds.
    pub(crate) fn gated(mut self, on: f32, off: f32) -> Self {
        for (n, x) in self.0.iter_mut().enumerate() {
            if n % count(on + off) >= count(on) {
                *x = 0.0;
            }
        }
        self
    }

    /// Both at once.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(x, y)| *x += y);
        self
    }

    /// Its mean square at this level below full scale.
    fn at(mut self, dbfs: f32) -> Self {
        let mean = self.0.iter().map(|x| x * x).sum::<f32>() / self.0.len() as f32;
        let gain = 10.0_f32.powf(dbfs / 20.0) / mean.sqrt();
        self.0.iter_mut().for_each(|x| *x *= gain);
        self
    }
}

/// The signal as a line at `rate` carries it.
pub(crate) fn samples(signal: &Signal, rate: SampleRate) -> Vec<i16> {
    let step = (RATE / rate.hertz()) as usize;
    // A gentle low-pass against aliases; the signals are synthetic and need no better.
    let mut smooth = [0.0_f32; 2];
    let keep = (-TAU * 0.4 / step as f32).exp();
    let mut out = Vec::with_capacity(signal.0.len() / step);
    for (n, x) in signal.0.iter().enumerate() {
        smooth[0] += (1.0 - keep) * (x - smooth[0]);
        smooth[1] += (1.0 - keep) * (smooth[0] - smooth[1]);
        if n % step == 0 {
            out.push(to_sample(smooth[1]));
        }
    }
    out
}

/// The signal in full frames.
pub(crate) fn frames(signal: &Signal, rate: SampleRate) -> Vec<AudioFrame> {
    samples(signal, rate)
        .chunks_exact(rate.samples_per_frame())
        .map(|frame| frame.iter().flat_map(|s| s.to_le_bytes()).collect())
        .map(|pcm: Vec<u8>| AudioFrame::new(pcm.into(), rate))
        .collect()
}

/// In how many of a hundred frames the detector hears speech.
pub(crate) fn spoken(detector: &mut dyn VoiceDetector, frames: &[AudioFrame]) -> usize {
    let heard = frames.iter().filter(|frame| detector.hear(frame)).count();
    heard * 100 / frames.len()
}

/// The sine after so many turns, in double precision: many turns make a coarse angle.
#[expect(clippy::cast_possible_truncation, reason = "from -1 to 1")]
fn sine(turns: f64) -> f32 {
    (std::f64::consts::TAU * turns).sin() as f32
}

/// One formant.
struct Resonator {
    a: f32,
    b: f32,
    last: [f32; 2],
}

impl Resonator {
    fn new(hertz: f32) -> Self {
        let mut resonator = Self {
            a: 0.0,
            b: 0.0,
            last: [0.0; 2],
        };
        resonator.tune(hertz);
        resonator
    }

    fn tune(&mut self, hertz: f32) {
        let bandwidth = 50.0 + hertz * 0.05;
        let radius = (-std::f32::consts::PI * bandwidth / RATE as f32).exp();
        self.a = 2.0 * radius * (TAU * hertz / RATE as f32).cos();
        self.b = -radius * radius;
    }

    fn filter(&mut self, x: f32) -> f32 {
        let y = (1.0 - self.a - self.b) * x + self.a * self.last[0] + self.b * self.last[1];
        self.last = [y, self.last[0]];
        y
    }
}

/// Numbers from -1 to 1 that look random and are the same in every run.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as f32 / u32::MAX as f32 * 2.0 - 1.0
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds are few and positive"
)]
fn count(seconds: f32) -> usize {
    (seconds * RATE as f32).round() as usize
}

const RATE: u32 = 48_000;

/// The formants of five vowels.
const VOWELS: [[f32; 4]; 5] = [
    [730.0, 1090.0, 2440.0, 3400.0],
    [270.0, 2290.0, 3010.0, 3600.0],
    [530.0, 1840.0, 2480.0, 3500.0],
    [570.0, 840.0, 2410.0, 3300.0],
    [300.0, 870.0, 2240.0, 3300.0],
];
