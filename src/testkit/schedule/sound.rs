//! Audio that says which piece of it this is: a long ramp of numbers, cut into frames.

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;

use crate::audio::{AudioFrame, SampleRate};

/// The rate of simulated calls: the cheapest.
pub(super) const RATE: SampleRate = SampleRate::Hz8000;

/// How many frames the ramp has. It is longer than everything of a call that is looked at at any
/// one time: seventeen minutes.
pub(super) const FRAMES: u64 = 52_000;

const BYTES: usize = RATE.bytes_per_frame();
const WORDS: usize = BYTES / 4;

/// Four bytes for each two samples, counting. The first frame stands for silence and is not used.
fn ramp() -> &'static [u8] {
    static RAMP: OnceLock<&'static [u8]> = OnceLock::new();
    RAMP.get_or_init(|| {
        let words = u32::try_from(FRAMES).unwrap_or(u32::MAX) * u32::try_from(WORDS).unwrap_or(1);
        let bytes: Vec<u8> = (0..words).flat_map(u32::to_le_bytes).collect();
        // For as long as the process lives: slices of it cost nothing, not even a count.
        Box::leak(bytes.into_boxed_slice())
    })
}

/// The place in the ramp of the `n`th frame that anybody makes.
pub(super) const fn place(n: u64) -> u64 {
    1 + n % (FRAMES - 1)
}

/// The `n`th frame.
pub(super) fn frame(n: u64) -> AudioFrame {
    piece(place(n), Duration::ZERO, crate::audio::FRAME)
}

/// What plays from `from` to `until`, counted from the frame at `place`; whole milliseconds.
pub(super) fn piece(place: u64, from: Duration, until: Duration) -> AudioFrame {
    let base = usize::try_from(place).unwrap_or_default() * BYTES;
    let byte =
        |at: Duration| base + usize::try_from(at.as_millis()).unwrap_or_default() * (BYTES / 20);
    let ramp = ramp();
    let end = byte(until).min(ramp.len());
    AudioFrame::new(Bytes::from_static(&ramp[byte(from).min(end)..end]), RATE)
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Silence, or a sound that is no speech.
    Nothing,
    /// The frame at this place.
    Place(u64),
    /// A frame that begins in the middle of one: nobody made it.
    Mangled,
}

/// Reads a frame.
pub(super) fn read(frame: &AudioFrame) -> Heard {
    let Some(word) = frame.pcm().first_chunk::<4>() else {
        return Heard::Mangled;
    };
    let word = u64::from(u32::from_le_bytes(*word));
    match (word, word % WORDS as u64) {
        (0, _) => Heard::Nothing,
        (_, 0) => Heard::Place(word / WORDS as u64),
        _ => Heard::Mangled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::FRAME;

    #[test]
    fn every_frame_knows_its_place_however_it_was_cut() {
        assert_eq!(read(&AudioFrame::silence(RATE)), Heard::Nothing);
        assert_eq!(read(&frame(0)), Heard::Place(1));
        assert_eq!(read(&frame(FRAMES)), Heard::Place(2));
        assert_eq!(frame(FRAMES - 2).duration(), FRAME);
        let late = piece(7, FRAME * 3, FRAME * 4);
        assert_eq!(read(&late), Heard::Place(10));
        let inside = piece(7, FRAME / 2, FRAME * 2);
        assert_eq!(read(&inside), Heard::Mangled);
    }
}
