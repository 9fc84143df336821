//! A sound that says: the line is alive.

use std::{f32::consts::TAU, sync::LazyLock};

use bytes::Bytes;

use super::{AudioFrame, SampleRate};

/// Two soft notes of 400 ms in all, at about -30 dBFS, without clicks. Every call of a rate shares
/// the same bytes.
#[must_use]
pub fn comfort_tone(rate: SampleRate) -> AudioFrame {
    static AT_8: LazyLock<Bytes> = LazyLock::new(|| notes(SampleRate::Hz8000));
    static AT_16: LazyLock<Bytes> = LazyLock::new(|| notes(SampleRate::Hz16000));
    static AT_24: LazyLock<Bytes> = LazyLock::new(|| notes(SampleRate::Hz24000));
    let tone = match rate {
        SampleRate::Hz8000 => &AT_8,
        SampleRate::Hz16000 => &AT_16,
        SampleRate::Hz24000 => &AT_24,
    };
    AudioFrame::new(Bytes::clone(tone), rate)
}

fn notes(rate: SampleRate) -> Bytes {
    let length = rate.samples_per_frame() * 20;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "few samples of 16 bits"
    )]
    let pcm: Vec<u8> = (0..length)
        .flat_map(|n| {
            let half = length / 2;
            let (hertz, at) = if n < half {
                (440.0, n)
            } else {
                (554.4, n - half)
            };
            let envelope = (at as f32 / half as f32 * TAU / 2.0).sin();
            let phase = n as f32 / rate.hertz() as f32 * hertz * TAU;
            ((phase.sin() * envelope * LEVEL) as i16).to_le_bytes()
        })
        .collect();
    pcm.into()
}

const LEVEL: f32 = 1_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_soft_whole_frames_long_and_begins_and_ends_in_silence() {
        for rate in SampleRate::ALL {
            let tone = comfort_tone(rate);
            assert_eq!(tone.pcm().len() % rate.bytes_per_frame(), 0);
            let samples: Vec<i16> = tone.samples().collect();
            assert!(samples.iter().all(|sample| sample.unsigned_abs() <= 1_000));
            assert!(samples.iter().any(|sample| sample.unsigned_abs() > 500));
            assert_eq!(
                (samples[0], samples[samples.len() - 1].abs() < 20),
                (0, true)
            );
        }
    }
}
