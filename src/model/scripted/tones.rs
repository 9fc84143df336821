//! Text as soft tones: as long as it would take to say, and plainly not a voice.

use std::f32::consts::{PI, TAU};

use bytes::{BufMut, Bytes, BytesMut};

use crate::audio::SampleRate;

/// The sound of `text`: a tone for each syllable, a pause after each word, longer ones after
/// commas and at the end.
pub(super) fn speak(text: &str, rate: SampleRate) -> Bytes {
    let mut out = Out {
        pcm: BytesMut::new(),
        rate,
    };
    let mut note = 0;
    for word in text.split_whitespace() {
        for _ in 0..syllables(word) {
            // A melody that depends on nothing but the place and the word: the same every time.
            let step = (note * 3 + word.len()) % SCALE.len();
            out.tone(SCALE[step], SYLLABLE_MS + (word.len() % 3) * 10);
            out.pause(BETWEEN_SYLLABLES_MS);
            note += 1;
        }
        out.pause(match word.chars().last() {
            Some(',' | ';' | ':') => AFTER_COMMA_MS,
            Some('.' | '?' | '!') => AFTER_SENTENCE_MS,
            _ => AFTER_WORD_MS,
        });
    }
    out.pcm.freeze()
}

/// How often a word's vowels begin: about how many syllables it has, and never none.
fn syllables(word: &str) -> usize {
    let mut count = 0;
    let mut in_vowel = false;
    for letter in word.chars() {
        let vowel = matches!(
            letter.to_ascii_lowercase(),
            'a' | 'e' | 'i' | 'o' | 'u' | 'y'
        );
        count += usize::from(vowel && !in_vowel);
        in_vowel = vowel;
    }
    count.max(1)
}

struct Out {
    pcm: BytesMut,
    rate: SampleRate,
}

impl Out {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the amplitude is far below full scale"
    )]
    fn tone(&mut self, hertz: f32, milliseconds: usize) {
        let length = self.samples(milliseconds);
        let step = TAU * hertz / self.rate.hertz() as f32;
        for n in 0..length {
            // From zero to zero along half a sine, so that nothing clicks.
            let envelope = (PI * n as f32 / length as f32).sin();
            let angle = step * n as f32;
            let sound = angle.sin() + 0.3 * (2.0 * angle).sin();
            self.pcm.put_i16_le((AMPLITUDE * envelope * sound) as i16);
        }
    }

    fn pause(&mut self, milliseconds: usize) {
        self.pcm.put_bytes(0, self.samples(milliseconds) * 2);
    }

    fn samples(&self, milliseconds: usize) -> usize {
        milliseconds * self.rate.samples_per_frame() / 20
    }
}

/// Syllables last 60 to 80 ms, the longer ones in words of some lengths.
const SYLLABLE_MS: usize = 60;
const BETWEEN_SYLLABLES_MS: usize = 20;
const AFTER_WORD_MS: usize = 60;
const AFTER_COMMA_MS: usize = 160;
const AFTER_SENTENCE_MS: usize = 260;

/// A pentatonic scale, where any melody sounds friendly, in hertz.
const SCALE: [f32; 5] = [392.0, 440.0, 523.25, 587.33, 659.25];

/// Gives syllables a mean level of -18 dBFS: modest, and far from clipping.
const AMPLITUDE: f32 = 7900.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::AudioFrame;

    const TEXT: &str = "Hello, this is Esther. May I speak with your senior pastor?";

    fn samples(rate: SampleRate) -> Vec<i16> {
        AudioFrame::new(speak(TEXT, rate), rate).samples().collect()
    }

    #[test]
    fn it_takes_as_long_as_a_person_would_and_the_same_at_every_rate() {
        let mut lengths = SampleRate::ALL.map(|rate| rate.duration_of(speak(TEXT, rate).len()));
        lengths.sort();
        assert_eq!(lengths[0], lengths[2]);
        assert!(
            (2.0..4.0).contains(&lengths[0].as_secs_f32()),
            "{lengths:?}"
        );
    }

    #[test]
    fn nothing_clicks() {
        for rate in SampleRate::ALL {
            let samples = samples(rate);
            // The steepest step of the highest tone with its harmonic, at full amplitude.
            let steepest = AMPLITUDE * 1.6 * TAU * 659.25 / rate.hertz() as f32;
            for pair in samples.windows(2) {
                let step = f32::from(pair[1]) - f32::from(pair[0]);
                assert!(step.abs() <= steepest + 1.0, "{step} at {rate}");
            }
            assert_eq!((samples.first(), samples.last()), (Some(&0), Some(&0)));
        }
    }

    #[test]
    fn its_syllables_are_at_about_minus_eighteen_decibels() {
        let mut out = Out {
            pcm: BytesMut::new(),
            rate: SampleRate::Hz24000,
        };
        out.tone(440.0, 70);
        let samples: Vec<f32> = AudioFrame::new(out.pcm.freeze(), out.rate)
            .samples()
            .map(|s| f32::from(s) / 32_768.0)
            .collect();
        let mean = samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32;
        let level = 10.0 * mean.log10();
        assert!((-19.0..-17.0).contains(&level), "{level} dBFS");
    }

    #[test]
    fn longer_words_have_more_syllables_and_every_word_has_one() {
        assert_eq!(
            ["a", "pastor", "automated", "Mr", "3"].map(syllables),
            [1, 2, 4, 1, 1]
        );
    }
}
