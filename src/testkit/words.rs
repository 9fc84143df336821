//! Words in sound: simulated speech from which what was said can be read back.
//!
//! Voice detectors take it for speech, and whoever knows reads the words out of it again:
//!
//! ```
//! use std::time::Duration;
//! use novavoice::{audio::SampleRate, testkit::words};
//!
//! let sound = words::spoken("Hello, who is this?", Duration::from_secs(1), SampleRate::Hz16000);
//! assert_eq!(words::read(&sound).as_deref(), Some("Hello, who is this?"));
//! ```
//!
//! The words ride in the lowest bit of each sample, over and over, where nobody hears them. They
//! come through wherever audio passes bit for bit, and through nothing that resamples or mixes:
//! with a [`Hearing`](super::bedrock::Hearing) that reads them, a fake model understands nothing
//! but what really arrived.

use std::time::Duration;

use bytes::Bytes;

use super::vonage::speech;
use crate::audio::SampleRate;

/// Speech that says `words`: 16-bit little-endian mono PCM, the same for the same arguments. It
/// lasts longer than `duration` where the words need more samples, and holds no more than their
/// first 4096 bytes.
#[must_use]
pub fn spoken(words: &str, duration: Duration, rate: SampleRate) -> Bytes {
    let bits = bits_of(&words[..words.floor_char_boundary(LONGEST)]);
    let needed = Duration::from_secs_f64(bits.len() as f64 / f64::from(rate.hertz()));
    let mut sound = Vec::from(speech(duration.max(needed + A_MOMENT), rate));
    for (sample, bit) in sound.chunks_exact_mut(2).zip(bits.iter().cycle()) {
        sample[0] = sample[0] & !1 | u8::from(*bit);
    }
    sound.into()
}

/// The words in a sound that was cut anywhere between two samples; `None` where there are none.
/// Several speeches stand one behind the other, with a space between; the same words said twice in
/// a row are read once.
#[must_use]
pub fn read(pcm: &[u8]) -> Option<String> {
    let bits: Vec<bool> = pcm.chunks_exact(2).map(|pair| pair[0] & 1 == 1).collect();
    let mut said: Vec<String> = Vec::new();
    let (mut at, mut last) = (0, 0_u32);
    while let Some(bit) = bits.get(at) {
        last = last << 1 | u32::from(*bit);
        at += 1;
        if last == SYNC
            && let Some((words, length)) = copy(&bits[at..])
        {
            at += length;
            if said.last() != Some(&words) {
                said.push(words);
            }
        }
    }
    (!said.is_empty()).then(|| said.join(" "))
}

/// One copy of the words, as it is repeated.
fn bits_of(words: &str) -> Vec<bool> {
    #[expect(clippy::cast_possible_truncation, reason = "at most LONGEST")]
    let length = (words.len() as u16).to_be_bytes();
    let mut bytes = SYNC.to_be_bytes().to_vec();
    bytes.extend(length);
    bytes.extend(sum(length, words.as_bytes()).to_be_bytes());
    bytes.extend(words.as_bytes());
    let bits = |byte: u8| (0..8).rev().map(move |bit| byte >> bit & 1 == 1);
    bytes.into_iter().flat_map(bits).collect()
}

/// The words behind a [`SYNC`], and how many bits they take; `None` when they are damaged.
fn copy(bits: &[bool]) -> Option<(String, usize)> {
    let byte = |at: usize| {
        let bits = bits.get(at * 8..at * 8 + 8)?;
        Some(bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
    };
    let bytes = |from: usize, count: usize| (from..from + count).map(byte).collect::<Option<_>>();
    let head: Vec<u8> = bytes(0, HEAD)?;
    let length = [head[0], head[1]];
    let words: Vec<u8> = bytes(HEAD, u16::from_be_bytes(length).into())?;
    if sum(length, &words).to_be_bytes() != head[2..] {
        return None;
    }
    let length = words.len();
    Some((String::from_utf8(words).ok()?, (HEAD + length) * 8))
}

/// Over the length, too: a copy that is cut off by silence is not one of no words.
fn sum(length: [u8; 2], words: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&length);
    sum.update(words);
    sum.finalize()
}

/// Begins each copy.
const SYNC: u32 = 0xa5c3_5e17;
/// Bytes of the length and of the check sum.
const HEAD: usize = 6;
/// Bytes of words.
const LONGEST: usize = 4_096;
/// So that a copy that was rounded down is whole.
const A_MOMENT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn speech_stays_speech_with_words_in_it() {
        let said = spoken("Yes, speaking.", SECOND, SampleRate::Hz16000);
        let plain = speech(SECOND, SampleRate::Hz16000);
        assert!(said.len() >= plain.len());
        let loudest = |(one, other): (&[u8], &[u8])| {
            let sample = |pair: &[u8]| i32::from(i16::from_le_bytes([pair[0], pair[1]]));
            (sample(one) - sample(other)).abs()
        };
        let apart = said.chunks(2).zip(plain.chunks(2)).map(loudest).max();
        assert_eq!(apart, Some(1), "one step of 65,536");
    }

    #[test]
    fn speeches_in_a_row_are_read_in_order_and_noise_says_nothing() {
        let say = |words| spoken(words, SECOND, SampleRate::Hz8000);
        let mut sound = vec![0; 1_001 * 2];
        sound.extend(say("One."));
        sound.extend([1; 640]);
        sound.extend(say("Two."));
        assert_eq!(read(&sound).as_deref(), Some("One. Two."));
        assert_eq!(read(&speech(SECOND, SampleRate::Hz16000)), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn words_that_take_longer_are_whole_all_the_same() {
        let long = "word ".repeat(2_000);
        let read = read(&spoken(&long, Duration::ZERO, SampleRate::Hz16000));
        assert_eq!(read.as_deref(), Some(&long[..LONGEST]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_said_is_read_however_it_is_cut(
            words in ".{0,120}",
            before in 0_usize..2_000,
            lost in 0_usize..3_000,
            cut in 0_usize..3_000,
        ) {
            let sound = spoken(&words, SECOND, SampleRate::Hz16000);
            let mut pcm = vec![0; before * 2];
            pcm.extend(&sound[lost * 2..sound.len() - cut * 2]);
            pcm.extend([0; 8_000]);
            prop_assert_eq!(read(&pcm), Some(words));
        }
    }
}
