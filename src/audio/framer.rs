//! Chunks of any length in, full frames out.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{AudioFrame, SampleRate};

/// Cuts a stream of PCM bytes into full 20 ms frames: 320, 640 or 960 bytes each.
///
/// Chunks may have any length, odd ones included: half a sample waits for its other half. A
/// frame that lies whole within one chunk is a slice of it, neither copied nor allocated; only
/// a frame that spans chunks is put together in memory of its own. (A `Bytes` that owns its
/// memory alone allocates its shared count when it is first cut; that is once for a chunk, and
/// never for one that is exactly a frame.)
///
/// What is pushed stays until it is popped, so pop after every push.
#[derive(Debug)]
pub struct Framer {
    rate: SampleRate,
    chunks: VecDeque<Bytes>,
    pending: usize,
}

impl Framer {
    /// An empty framer for a stream at `rate`.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        Self {
            rate,
            chunks: VecDeque::with_capacity(CHUNKS),
            pending: 0,
        }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.pending += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// The next full frame, if all of it has arrived.
    pub fn pop(&mut self) -> Option<AudioFrame> {
        let wanted = self.rate.bytes_per_frame();
        let front = self.chunks.front_mut()?;
        let pcm = if front.len() > wanted {
            front.split_to(wanted)
        } else if front.len() == wanted {
            self.chunks.pop_front()?
        } else if self.pending >= wanted {
            return Some(self.assemble());
        } else {
            return None;
        };
        self.pending -= wanted;
        Some(AudioFrame::new(pcm, self.rate))
    }

    /// What is left, zero-padded to a full frame. For the end of an utterance only: anywhere
    /// else the padding would be a gap. Full frames that were not popped come first, so this
    /// drains the framer when it is called until `None`.
    pub fn flush(&mut self) -> Option<AudioFrame> {
        if self.pending == 0 {
            return None;
        }
        self.pop().or_else(|| Some(self.assemble()))
    }

    /// Forgets everything that was not popped.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.pending = 0;
    }

    /// How many bytes wait for the rest of their frame, or to be popped.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending
    }

    /// A frame from as many chunks as it takes, padded when they run out.
    fn assemble(&mut self) -> AudioFrame {
        let wanted = self.rate.bytes_per_frame();
        let mut pcm = BytesMut::with_capacity(wanted);
        while pcm.len() < wanted {
            let Some(front) = self.chunks.front_mut() else {
                break;
            };
            let missing = wanted - pcm.len();
            if front.len() > missing {
                pcm.extend_from_slice(&front.split_to(missing));
            } else {
                pcm.extend_from_slice(front);
                self.chunks.pop_front();
            }
        }
        self.pending -= pcm.len();
        pcm.resize(wanted, 0);
        AudioFrame::new(pcm.freeze(), self.rate)
    }
}

/// Room for this many chunks from the start: more than one frame spans, unless a peer sends
/// single samples.
const CHUNKS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn drain(framer: &mut Framer) -> Vec<AudioFrame> {
        std::iter::from_fn(|| framer.pop()).collect()
    }

    fn ramp(len: usize) -> Bytes {
        (0..len).map(|i| (i % 251).to_le_bytes()[0]).collect()
    }

    proptest! {
        /// Vonage checklist 19, 20 and 21: whatever the chunking, the frames are the input and
        /// then zeros, every length is exact, and nothing is dropped on the way.
        #[test]
        fn any_chunking_yields_the_input_and_padding_only_at_the_end(
            chunks in vec(vec(any::<u8>(), 0..1500), 0..24),
            rate in prop::sample::select(SampleRate::ALL.to_vec()),
            pop_late in any::<bool>(),
        ) {
            let mut framer = Framer::new(rate);
            let mut frames = Vec::new();
            for chunk in &chunks {
                framer.push(Bytes::from(chunk.clone()));
                if !pop_late {
                    frames.extend(drain(&mut framer));
                    prop_assert!(framer.pending_bytes() < rate.bytes_per_frame());
                }
            }
            frames.extend(drain(&mut framer));
            let input = chunks.concat();
            prop_assert_eq!(frames.len(), input.len() / rate.bytes_per_frame());
            prop_assert_eq!(framer.pending_bytes(), input.len() % rate.bytes_per_frame());

            frames.extend(framer.flush());
            prop_assert!(framer.flush().is_none());
            prop_assert!(frames.iter().all(|frame| frame.pcm().len() == rate.bytes_per_frame()));
            let output: Vec<u8> = frames.iter().flat_map(|frame| frame.pcm().to_vec()).collect();
            let (audio, padding) = output.split_at(input.len());
            prop_assert_eq!(audio, &input[..]);
            prop_assert!(padding.len() < rate.bytes_per_frame());
            prop_assert!(padding.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn frames_that_lie_whole_in_a_chunk_share_its_memory() {
        for rate in SampleRate::ALL {
            let chunk = ramp(4 * rate.bytes_per_frame());
            let mut framer = Framer::new(rate);
            framer.push(chunk.clone());
            for (index, frame) in drain(&mut framer).iter().enumerate() {
                let at = index * rate.bytes_per_frame();
                assert_eq!(frame.pcm().as_ptr(), chunk[at..].as_ptr());
            }
            assert_eq!(framer.pending_bytes(), 0);
        }
    }

    #[test]
    fn after_a_frame_that_spans_chunks_the_next_whole_ones_are_slices_again() {
        let rate = SampleRate::Hz8000;
        let mut framer = Framer::new(rate);
        let chunk = ramp(1000);
        framer.push(ramp(101));
        framer.push(chunk.clone());
        let frames = drain(&mut framer);
        assert_eq!(frames.len(), 3);
        assert_eq!(frames[1].pcm().as_ptr(), chunk[219..].as_ptr());
        assert_eq!(framer.pending_bytes(), 1101 - 960);
    }

    #[test]
    fn half_a_sample_waits_for_its_other_half() {
        let mut framer = Framer::new(SampleRate::Hz8000);
        framer.push(Bytes::from_static(&[0x34]));
        assert!(framer.pop().is_none());
        framer.push(Bytes::from_static(&[0x12]));
        let frame = framer.flush().expect("two bytes wait");
        assert_eq!(frame.samples().next(), Some(0x1234));
    }

    #[test]
    fn a_lone_half_sample_is_padded_at_the_end_of_the_utterance() {
        let mut framer = Framer::new(SampleRate::Hz8000);
        framer.push(Bytes::from_static(&[0x34]));
        let frame = framer.flush().expect("one byte waits");
        assert_eq!(frame.samples().next(), Some(0x0034));
        assert_eq!(frame.pcm().len(), 320);
        assert!(framer.flush().is_none());
    }

    #[test]
    fn a_cleared_framer_starts_anew() {
        let mut framer = Framer::new(SampleRate::Hz16000);
        framer.push(ramp(639));
        framer.clear();
        assert_eq!(framer.pending_bytes(), 0);
        assert!(framer.flush().is_none());
        framer.push(ramp(640));
        assert_eq!(framer.pop().map(AudioFrame::into_pcm), Some(ramp(640)));
    }

    #[test]
    fn flushing_yields_full_frames_before_the_padded_one() {
        let mut framer = Framer::new(SampleRate::Hz8000);
        framer.push(ramp(700));
        let frames: Vec<_> = std::iter::from_fn(|| framer.flush()).collect();
        assert_eq!(frames.len(), 3);
        assert_eq!(frames[1].pcm()[..], ramp(640)[320..]);
        assert!(frames[2].pcm()[60..].iter().all(|byte| *byte == 0));
    }
}
