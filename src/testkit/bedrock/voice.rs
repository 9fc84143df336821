//! Speech that is not speech: audio whose origin can be read back from its samples.

use std::f64::consts::TAU;

/// What replies sound like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Voice {
    /// Every five samples say where they come from: see [`Mark`]. Noise to the ear.
    #[default]
    Marked,
    /// A sine.
    Tone {
        /// Its frequency.
        hertz: f64,
        /// Its peak, of 32767.
        peak: i16,
    },
}

impl Voice {
    /// Samples of `reply` from `position` on, as little-endian bytes, appended to `pcm`.
    pub(super) fn render(self, from: Mark, samples: usize, rate: u32, pcm: &mut Vec<u8>) {
        match self {
            Self::Marked => {
                let first = from.position as usize;
                for at in first..first + samples {
                    pcm.extend_from_slice(&from.sample(at).to_le_bytes());
                }
            }
            Self::Tone { hertz, peak } => {
                let step = TAU * hertz / f64::from(rate);
                let first = from.position as usize;
                for at in first..first + samples {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_precision_loss,
                        reason = "a sine times an i16 is an i16, and a reply is short"
                    )]
                    let sample = ((at as f64 * step).sin() * f64::from(peak)) as i16;
                    pcm.extend_from_slice(&sample.to_le_bytes());
                }
            }
        }
    }
}

/// Where a piece of [`Voice::Marked`] audio comes from.
///
/// The audio is a sequence of groups of five samples: a fixed one, then session, reply, and the
/// position of the group in two halves. A full frame of 20 ms holds whole groups at every rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Mark {
    /// The session's index, modulo 65536.
    pub session: u16,
    /// The reply within the session, from 0.
    pub reply: u16,
    /// The sample within the reply, from 0; across its sentences.
    pub position: u32,
}

impl Mark {
    pub(super) const fn new(session: u16, reply: u16, position: u32) -> Self {
        Self {
            session,
            reply,
            position,
        }
    }

    /// All marks in `pcm`, little-endian 16-bit samples that were cut anywhere between two.
    #[must_use]
    pub fn find_all(pcm: &[u8]) -> Vec<Self> {
        let samples: Vec<u16> = pcm
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        let mut marks = Vec::with_capacity(samples.len() / GROUP);
        let mut at = 0;
        while let Some(group) = samples.get(at..at + GROUP) {
            if group[0] == SYNC {
                marks.push(Self {
                    session: group[1],
                    reply: group[2],
                    position: u32::from(group[3]) << 16 | u32::from(group[4]),
                });
                at += GROUP;
            } else {
                at += 1;
            }
        }
        marks
    }

    /// The sample at `position` of this session and reply.
    fn sample(self, position: usize) -> u16 {
        let group = position - position % GROUP;
        #[expect(clippy::cast_possible_truncation, reason = "two halves of a position")]
        match position % GROUP {
            0 => SYNC,
            1 => self.session,
            2 => self.reply,
            3 => (group >> 16) as u16,
            _ => group as u16,
        }
    }
}

/// Samples per mark.
const GROUP: usize = 5;

const SYNC: u16 = 0x5e5e;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_cut_at_a_frame_says_where_it_comes_from() {
        let mut pcm = Vec::new();
        Voice::Marked.render(Mark::new(7, 3, 0), 200_000, 16_000, &mut pcm);
        let marks = Mark::find_all(&pcm[150_000 * 2..150_320 * 2]);
        assert_eq!(marks.len(), 64);
        assert_eq!(marks[0], Mark::new(7, 3, 150_000));
        assert_eq!(marks[63], Mark::new(7, 3, 150_315));
    }

    #[test]
    fn audio_rendered_in_pieces_is_the_audio_rendered_at_once() {
        for voice in [
            Voice::Marked,
            Voice::Tone {
                hertz: 440.0,
                peak: 8000,
            },
        ] {
            let (mut whole, mut pieces) = (Vec::new(), Vec::new());
            voice.render(Mark::new(1, 2, 0), 1000, 16_000, &mut whole);
            voice.render(Mark::new(1, 2, 0), 333, 16_000, &mut pieces);
            voice.render(Mark::new(1, 2, 333), 667, 16_000, &mut pieces);
            assert_eq!(whole, pieces);
        }
    }
}
