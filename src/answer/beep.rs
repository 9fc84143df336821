//! The tones that machines answer with.

use serde::{Deserialize, Serialize};

use super::pitch::PitchFinder;
use crate::audio::AudioFrame;

/// Finds the beep of a voicemail in what the callee's line sends: one pure tone of 400 to 2000 Hz
/// that lasts 150 to 1500 ms and stands alone. It finds fax tones and the three tones before an
/// announcement on the way.
///
/// A beep is told when it is over and 80 ms without another tone have passed: that is when a
/// message may begin. A voice is too rich in harmonics and too restless to pass, keys and most
/// tones of exchanges are two tones at once, and a melody is one tone after another. What does
/// pass is a busy tone of a single pitch, as in much of Europe: a row of beeps.
///
/// Takes any of the three rates and frames of any length, allocates nothing, and looks into the
/// spectrum only where a block is loud enough. One for each audio stream.
#[derive(Debug)]
pub struct BeepDetector {
    pitch: PitchFinder,
    /// The tone that is heard now.
    run: Option<Run>,
    /// Tones that followed each other without a pause; the oldest are only counted.
    ended: [Run; 3],
    count: usize,
    /// Blocks without a tone.
    quiet: u32,
}

/// What a machine may send besides a voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sound {
    /// A beep that is over: speak after it.
    Beep,
    /// The tone of a fax machine or modem that answers: 2100 Hz or a little above, for a second
    /// or more (ITU-T V.25; V.8 adds modulation).
    Fax,
    /// Three rising tones near 950, 1400 and 1800 Hz: the special information tone before an
    /// announcement such as "not in service" (ITU-T E.180).
    SpecialInformation,
}

impl BeepDetector {
    /// A detector that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pitch: PitchFinder::new(),
            run: None,
            ended: [Run::default(); 3],
            count: 0,
            quiet: 0,
        }
    }

    /// Whether a beep has ended with this frame.
    pub fn hear(&mut self, frame: &AudioFrame) -> bool {
        self.listen(frame) == Some(Sound::Beep)
    }

    /// What has become certain with this frame. Frames follow each other without a gap.
    pub fn listen(&mut self, frame: &AudioFrame) -> Option<Sound> {
        self.pitch.tune(frame.rate());
        let mut found = None;
        for sample in frame.samples() {
            if let Some(tone) = self.pitch.take(sample) {
                found = self.step(tone).or(found);
            }
        }
        found
    }

    fn step(&mut self, tone: Option<f32>) -> Option<Sound> {
        let Some(hertz) = tone else {
            self.quiet += 1;
            self.end_run();
            return (self.quiet == ALONE).then(|| self.conclude()).flatten();
        };
        self.quiet = 0;
        match &mut self.run {
            Some(run) if (run.hertz - hertz).abs() <= WAVER => {
                run.blocks += 1;
                // Followed slowly, so that a tone may drift and a voice may not.
                run.hertz += 0.1 * (hertz - run.hertz);
            }
            _ => {
                self.end_run();
                self.run = Some(Run { hertz, blocks: 1 });
            }
        }
        let run = self.run?;
        (run.blocks == FAX_BLOCKS && run.hertz >= FAX).then_some(Sound::Fax)
    }

    /// Keeps a tone that was long enough to be one; two blocks are the edges of something.
    fn end_run(&mut self) {
        if let Some(run) = self.run.take()
            && run.blocks >= NOTE
        {
            self.ended.rotate_left(1);
            self.ended[2] = run;
            self.count += 1;
        }
    }

    /// What the tones were, now that they are followed by something else.
    fn conclude(&mut self) -> Option<Sound> {
        let count = std::mem::take(&mut self.count);
        let last = self.ended[2];
        match count {
            1 if last.is_beep() => Some(Sound::Beep),
            3 if self.ended.iter().zip(INFORMATION).all(|(run, near)| {
                (run.hertz - near).abs() <= INFORMATION_WAVER && run.blocks <= INFORMATION_BLOCKS
            }) =>
            {
                Some(Sound::SpecialInformation)
            }
            _ => None,
        }
    }
}

impl Default for BeepDetector {
    fn default() -> Self {
        Self::new()
    }
}

/// One tone.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    hertz: f32,
    blocks: u32,
}

impl Run {
    fn is_beep(self) -> bool {
        self.hertz <= BEEP_HIGHEST && (SHORTEST..=LONGEST).contains(&self.blocks)
    }
}

/// 2 kHz, and a little more for those that are off; the lowest is the ear's.
const BEEP_HIGHEST: f32 = 2_020.0;

/// Fax machines answer with 2100 Hz, modems with up to 2250 Hz.
const FAX: f32 = 2_080.0;

/// A second.
const FAX_BLOCKS: u32 = 50;

/// How far a tone may stray from its pitch, in hertz. A voice glides through as much in 40 ms.
const WAVER: f32 = 18.0;

/// 80 ms of tone make a note of a melody.
const NOTE: u32 = 4;

/// 150 and 1500 ms; a tone is seen one block longer or shorter than it is.
const SHORTEST: u32 = 7;
const LONGEST: u32 = 76;

/// 80 ms: longer than the gaps within the special information tone, and between notes.
const ALONE: u32 = 4;

/// The middles of the two pitches that each of the three tones may have.
const INFORMATION: [f32; 3] = [950.0, 1_400.0, 1_790.0];
const INFORMATION_WAVER: f32 = 60.0;

/// 380 ms and a little more.
const INFORMATION_BLOCKS: u32 = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{
        SampleRate,
        vad::signals::{Signal, frames},
    };

    /// What is heard in these sounds one after the other.
    fn heard(sounds: &[Signal], rate: SampleRate) -> Vec<Sound> {
        let mut detector = BeepDetector::new();
        sounds
            .iter()
            .flat_map(|sound| frames(sound, rate))
            .filter_map(|frame| detector.listen(&frame))
            .collect()
    }

    fn tone(seconds: f32, hertz: f32) -> Signal {
        Signal::tones(seconds, &[hertz], -18.0)
    }

    fn quiet() -> Signal {
        Signal::silence(0.4)
    }

    #[test]
    fn a_beep_after_a_voice_is_heard_at_every_rate_and_pitch_and_length() {
        for rate in SampleRate::ALL {
            for hertz in [400.0, 440.0, 620.0, 800.0, 1000.0, 1400.0, 1850.0, 2000.0] {
                for seconds in [0.16, 0.3, 0.5, 1.0, 1.48] {
                    let sounds = [
                        Signal::speech(2.0, -20.0),
                        quiet(),
                        tone(seconds, hertz),
                        quiet(),
                    ];
                    let heard = heard(&sounds, rate);
                    assert_eq!(heard, [Sound::Beep], "{hertz} Hz, {seconds} s at {rate}");
                }
            }
        }
    }

    #[test]
    fn a_beep_is_heard_in_noise_and_quiet_and_with_harmonics() {
        for rate in SampleRate::ALL {
            let noisy = tone(0.4, 1000.0).plus(&Signal::white(0.4, -32.0));
            assert_eq!(heard(&[noisy, quiet()], rate), [Sound::Beep]);
            let faint = Signal::tones(0.4, &[1000.0], -42.0);
            assert_eq!(heard(&[faint, quiet()], rate), [Sound::Beep]);
            let rich = tone(0.4, 600.0).plus(&Signal::tones(0.4, &[1800.0], -28.0));
            assert_eq!(heard(&[rich, quiet()], rate), [Sound::Beep]);
        }
    }

    #[test]
    fn a_beep_is_told_within_a_tenth_of_a_second_of_its_end() {
        let mut detector = BeepDetector::new();
        let rate = SampleRate::Hz16000;
        for frame in frames(&tone(0.5, 1000.0), rate) {
            assert!(!detector.hear(&frame));
        }
        let late = frames(&quiet(), rate)
            .iter()
            .position(|frame| detector.hear(frame));
        assert!(late.is_some_and(|frames| frames < 6), "{late:?} frames");
    }

    #[test]
    fn voices_noise_and_silence_are_no_beeps() {
        for rate in SampleRate::ALL {
            let sounds = [
                Signal::speech(30.0, -20.0),
                Signal::white(3.0, -20.0),
                Signal::pink(3.0, -20.0),
                quiet(),
            ];
            assert_eq!(heard(&sounds, rate), []);
        }
    }

    #[test]
    fn a_blip_a_long_tone_keys_and_exchange_tones_are_no_beeps() {
        let rate = SampleRate::Hz8000;
        for (name, sound) in [
            ("blip", tone(0.09, 1000.0)),
            ("test tone", tone(1.8, 1000.0)),
            ("low hum", tone(0.5, 120.0)),
            ("whistle", tone(0.5, 3000.0)),
            ("key", Signal::tones(0.3, &[770.0, 1336.0], -18.0)),
            ("ringback", Signal::tones(1.2, &[440.0, 480.0], -18.0)),
            ("busy", Signal::tones(0.5, &[480.0, 620.0], -18.0)),
        ] {
            assert_eq!(heard(&[sound, quiet()], rate), [], "{name}");
        }
    }

    #[test]
    fn a_melody_is_no_beep() {
        let notes = [523.0, 659.0, 784.0, 1047.0].map(|hertz| tone(0.25, hertz));
        let [a, b, c, d] = notes;
        assert_eq!(heard(&[a, b, c, d, quiet()], SampleRate::Hz16000), []);
    }

    #[test]
    fn the_three_tones_of_an_announcement_are_told_from_beeps() {
        for rate in SampleRate::ALL {
            for [a, b, c] in [[913.8, 1370.6, 1776.7], [985.2, 1428.5, 1776.7]] {
                for gap in [0.004, 0.03] {
                    let sounds = [
                        tone(0.276, a),
                        Signal::silence(gap),
                        tone(0.276, b),
                        Signal::silence(gap),
                        tone(0.38, c),
                        quiet(),
                    ];
                    assert_eq!(heard(&sounds, rate), [Sound::SpecialInformation]);
                }
            }
        }
    }

    #[test]
    fn a_fax_is_known_after_a_second_and_told_once() {
        let sounds = [tone(2.6, 2100.0), quiet()];
        assert_eq!(heard(&sounds, SampleRate::Hz8000), [Sound::Fax]);
    }

    #[test]
    fn frames_of_any_length_are_taken() {
        let rate = SampleRate::Hz24000;
        let mut detector = BeepDetector::new();
        let pcm: Vec<u8> = [tone(0.3, 900.0), quiet()]
            .iter()
            .flat_map(|sound| frames(sound, rate))
            .flat_map(|frame| frame.pcm().to_vec())
            .collect();
        let beeps = pcm
            .chunks(734)
            .filter(|chunk| detector.hear(&AudioFrame::new(chunk.to_vec().into(), rate)))
            .count();
        assert_eq!(beeps, 1);
    }
}
