//! Speech is what a small neural network takes for it.

use std::fmt;

use super::{AudioFrame, Hysteresis, VoiceDetector, tone::ToneGate};
use crate::audio::{
    SampleRate,
    resample::{Filter, to_sample},
};

/// Hears voices, and neither noise nor hum nor the tones of the telephone: the `earshot` network,
/// behind a gate for pure tones (ringback, busy, keypad, beeps), which it would take for speech.
///
/// It decides every 16 ms at 16 kHz; other rates are converted by a short filter. Three hits
/// begin speech (48 ms), and 200 ms without one end it.
pub struct NeuralDetector {
    network: Box<earshot::Detector>,
    tones: ToneGate,
    gate: Hysteresis,
    /// For frames that are not at 16 kHz.
    filter: Option<(SampleRate, Filter)>,
    block: Vec<i16>,
}

impl NeuralDetector {
    /// A detector that has heard nothing yet. About 15 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            network: Box::default(),
            tones: ToneGate::new(),
            gate: Hysteresis::new(ONSET_BLOCKS, HANGOVER_BLOCKS),
            filter: None,
            block: Vec::with_capacity(BLOCK),
        }
    }

    fn take(&mut self, sample: i16) {
        self.block.push(sample);
        if self.block.len() == BLOCK {
            let score = self.network.predict_i16(&self.block);
            let speaking = self.gate.speaking;
            let threshold = if speaking { STAY } else { BEGIN };
            let tone = self
                .tones
                .shuts(&self.block, score >= WORTH_A_LOOK, speaking);
            self.gate.step(!tone && score >= threshold);
            self.block.clear();
        }
    }
}

impl Default for NeuralDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl VoiceDetector for NeuralDetector {
    fn hear(&mut self, frame: &AudioFrame) -> bool {
        let rate = frame.rate();
        if rate == RATE {
            frame.samples().for_each(|sample| self.take(sample));
            return self.gate.speaking;
        }
        // Taken out and put back: the network must not borrow the filter that feeds it.
        let mut filter = match self.filter.take() {
            Some((tuned, filter)) if tuned == rate => filter,
            _ => Filter::new(rate, RATE, TAPS_PER_MILLISECOND),
        };
        filter.feed(frame.samples());
        filter.ready().iter().for_each(|x| self.take(to_sample(*x)));
        filter.consume(filter.ready().len());
        self.filter = Some((rate, filter));
        self.gate.speaking
    }
}

impl fmt::Debug for NeuralDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NeuralDetector")
            .field("speaking", &self.gate.speaking)
            .finish_non_exhaustive()
    }
}

/// The rate and the block that the network was trained for.
const RATE: SampleRate = SampleRate::Hz16000;
const BLOCK: usize = 256;

/// The network's authors count a block as voice from 0.5 on. Voices soon score 0.8; noise that
/// sets in may score 0.55 for a while, and must not begin speech.
const BEGIN: f32 = 0.6;
const STAY: f32 = 0.5;

/// A tone that scores less is not taken for a voice, now or when it ends.
const WORTH_A_LOOK: f32 = 0.3;

/// 48 ms: noise gets a single hit now and then, hardly ever three in a row.
const ONSET_BLOCKS: u32 = 3;

/// 208 ms: longer than the gaps within a sentence, shorter than a pause for thought.
const HANGOVER_BLOCKS: u32 = 13;

/// 2 ms of delay: the network sees forty broad bands, and half as many taps cost it some speech.
const TAPS_PER_MILLISECOND: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::vad::{
        default_detector,
        signals::{Signal, frames, spoken},
    };

    fn percent(signal: &Signal, rate: SampleRate) -> usize {
        spoken(&mut NeuralDetector::new(), &frames(signal, rate))
    }

    #[test]
    fn noise_and_the_sounds_of_a_line_are_no_speech_at_any_rate() {
        let sounds = [
            ("silence", Signal::silence(12.0)),
            ("white noise", Signal::white(12.0, -30.0)),
            ("pink noise", Signal::pink(12.0, -30.0)),
            (
                "ringback",
                Signal::tones(12.0, &[440.0, 480.0], -19.0).gated(2.0, 4.0),
            ),
            (
                "busy",
                Signal::tones(12.0, &[480.0, 620.0], -24.0).gated(0.5, 0.5),
            ),
            ("dial", Signal::tones(12.0, &[350.0, 440.0], -19.0)),
            (
                "European ringback",
                Signal::tones(12.0, &[425.0], -20.0).gated(1.0, 4.0),
            ),
            (
                "beeps over a noisy line",
                Signal::tones(12.0, &[1000.0], -20.0)
                    .gated(0.3, 0.7)
                    .plus(&Signal::white(12.0, -55.0)),
            ),
            (
                "mains hum",
                Signal::tones(12.0, &[50.0, 100.0, 150.0, 250.0], -30.0),
            ),
            (
                "keypad",
                Signal::tones(12.0, &[770.0, 1336.0], -12.0).gated(0.25, 0.25),
            ),
        ];
        for rate in SampleRate::ALL {
            for (name, signal) in &sounds {
                assert_eq!(percent(signal, rate), 0, "{name} at {rate}");
            }
        }
    }

    #[test]
    fn no_key_is_speech() {
        for low in [697.0, 770.0, 852.0, 941.0] {
            for high in [1209.0, 1336.0, 1477.0, 1633.0] {
                let key = Signal::tones(2.0, &[low, high], -12.0).gated(0.2, 0.1);
                assert_eq!(percent(&key, SampleRate::Hz8000), 0, "{low} and {high}");
            }
        }
    }

    #[test]
    fn a_synthetic_voice_is_speech_at_every_rate() {
        for rate in SampleRate::ALL {
            for level in [-30.0, -20.0] {
                let speech = Signal::speech(10.0, level).plus(&Signal::white(10.0, -60.0));
                let heard = percent(&speech, rate);
                assert!(heard > 70, "{heard} % at {level} dBFS, {rate}");
            }
        }
    }

    #[test]
    fn speech_is_heard_to_begin_and_to_end() {
        let mut detector = default_detector();
        let rate = SampleRate::Hz16000;
        let quiet = frames(&Signal::white(2.0, -60.0), rate);
        let speech = frames(&Signal::speech(3.0, -20.0), rate);
        assert_eq!(spoken(&mut *detector, &quiet), 0);
        assert!(spoken(&mut *detector, &speech) > 70);
        // At most the hangover and what the network itself takes to forget.
        let after = quiet.iter().filter(|frame| detector.hear(frame)).count();
        assert!(after * 20 < 600, "{} ms", after * 20);
    }

    #[test]
    fn frame_lengths_do_not_matter() {
        let rate = SampleRate::Hz8000;
        let whole = frames(&Signal::speech(2.0, -20.0), rate);
        let mut one = NeuralDetector::new();
        let mut other = NeuralDetector::new();
        for frame in &whole {
            let pcm = frame.pcm();
            let heard = [pcm.slice(..98), pcm.slice(98..)]
                .map(|half| other.hear(&AudioFrame::new(half, rate)));
            assert_eq!(one.hear(frame), heard[1]);
        }
        assert!(one.gate.speaking);
    }
}
