//! What flows: 16-bit signed linear PCM, mono, little-endian, in frames of 20 ms.

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

mod comfort;
pub use comfort::comfort_tone;

mod framer;
pub use framer::Framer;

mod resample;
pub use resample::Resampler;

pub mod vad;

/// The length of a full frame: 20 ms, the unit in which carriers send and take audio.
pub const FRAME: Duration = Duration::from_millis(20);

/// Samples per second of one mono channel. Written as the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
#[expect(
    clippy::exhaustive_enums,
    reason = "the three rates that carriers and models share"
)]
pub enum SampleRate {
    /// 8 kHz: a full frame is 160 samples, 320 bytes.
    Hz8000,
    /// 16 kHz: a full frame is 320 samples, 640 bytes.
    Hz16000,
    /// 24 kHz: a full frame is 480 samples, 960 bytes.
    Hz24000,
}

impl SampleRate {
    /// All rates, slowest first.
    pub const ALL: [Self; 3] = [Self::Hz8000, Self::Hz16000, Self::Hz24000];

    /// Samples per second.
    #[must_use]
    pub const fn hertz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
            Self::Hz24000 => 24_000,
        }
    }

    /// The rate of `hertz` samples per second, if it is one of the three.
    #[must_use]
    pub const fn from_hertz(hertz: u32) -> Option<Self> {
        match hertz {
            8_000 => Some(Self::Hz8000),
            16_000 => Some(Self::Hz16000),
            24_000 => Some(Self::Hz24000),
            _ => None,
        }
    }

    /// Samples in a full 20 ms frame: 160, 320 or 480.
    #[must_use]
    pub const fn samples_per_frame(self) -> usize {
        match self {
            Self::Hz8000 => 160,
            Self::Hz16000 => 320,
            Self::Hz24000 => 480,
        }
    }

    /// Bytes in a full 20 ms frame: 320, 640 or 960.
    #[must_use]
    pub const fn bytes_per_frame(self) -> usize {
        self.samples_per_frame() * 2
    }

    /// How long `bytes` bytes of audio play.
    #[must_use]
    pub const fn duration_of(self, bytes: usize) -> Duration {
        Duration::from_nanos(bytes as u64 * 500_000_000 / self.hertz() as u64)
    }
}

impl From<SampleRate> for u32 {
    fn from(rate: SampleRate) -> Self {
        rate.hertz()
    }
}

impl TryFrom<u32> for SampleRate {
    type Error = &'static str;

    fn try_from(hertz: u32) -> Result<Self, Self::Error> {
        Self::from_hertz(hertz).ok_or("the rate must be 8000, 16000 or 24000 Hz")
    }
}

impl fmt::Display for SampleRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.hertz())
    }
}

/// A piece of audio: signed 16-bit little-endian mono samples, moved and never copied.
///
/// On the call path a frame is a full one of 20 ms; elsewhere it may have any number of samples.
#[derive(Clone, PartialEq, Eq)]
pub struct AudioFrame {
    pcm: Bytes,
    rate: SampleRate,
}

impl AudioFrame {
    /// Audio at `rate`. An odd last byte, half a sample, is cut off: carry it over with a
    /// framer where it belongs to the next chunk.
    #[must_use]
    pub fn new(mut pcm: Bytes, rate: SampleRate) -> Self {
        pcm.truncate(pcm.len() & !1);
        Self { pcm, rate }
    }

    /// A full frame of silence.
    #[must_use]
    pub fn silence(rate: SampleRate) -> Self {
        static ZEROS: [u8; SampleRate::Hz24000.bytes_per_frame()] = [0; 960];
        Self {
            pcm: Bytes::from_static(&ZEROS[..rate.bytes_per_frame()]),
            rate,
        }
    }

    /// The samples as bytes, always an even number.
    #[must_use]
    pub fn pcm(&self) -> &Bytes {
        &self.pcm
    }

    /// The samples as bytes, without a copy.
    #[must_use]
    pub fn into_pcm(self) -> Bytes {
        self.pcm
    }

    /// The sample rate.
    #[must_use]
    pub const fn rate(&self) -> SampleRate {
        self.rate
    }

    /// How long it plays.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.rate.duration_of(self.pcm.len())
    }

    /// The samples as numbers, in order.
    pub fn samples(&self) -> impl Iterator<Item = i16> + '_ {
        self.pcm
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
    }
}

impl fmt::Debug for AudioFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AudioFrame({:?} at {})", self.duration(), self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_frame_is_twenty_milliseconds_at_every_rate() {
        for rate in SampleRate::ALL {
            assert_eq!(AudioFrame::silence(rate).duration(), FRAME);
            assert_eq!(SampleRate::from_hertz(rate.hertz()), Some(rate));
        }
    }

    #[test]
    fn bytes_decode_as_little_endian_samples() {
        let frame = AudioFrame::new(
            Bytes::from_static(&[1, 0, 0xff, 0x7f, 0, 0x80, 9]),
            SampleRate::Hz8000,
        );
        assert_eq!(frame.samples().collect::<Vec<_>>(), [1, 32767, -32768]);
    }
}
