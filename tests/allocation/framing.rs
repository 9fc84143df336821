use allocation_counter::measure;
use bytes::Bytes;
use novavoice::audio::{Framer, SampleRate};

/// Pushes clones of `chunk` and pops every full frame; says how many frames came, and what they
/// cost in allocations.
fn frames_and_allocations(rate: SampleRate, chunk: &Bytes, pushes: usize) -> (usize, u64) {
    let mut framer = Framer::new(rate);
    let mut frames = 0;
    let cost = measure(|| {
        for _ in 0..pushes {
            framer.push(chunk.clone());
            while framer.pop().is_some() {
                frames += 1;
            }
        }
    });
    (frames, cost.count_total)
}

/// As sockets hand them out: memory that is shared already.
fn shared(len: usize) -> Bytes {
    let whole = Bytes::from(vec![7; len + 1]);
    whole.slice(..len)
}

#[test]
fn a_chunk_that_is_one_frame_passes_without_allocation() {
    for rate in SampleRate::ALL {
        let chunk = shared(rate.bytes_per_frame());
        assert_eq!(frames_and_allocations(rate, &chunk, 1000), (1000, 0));
    }
}

#[test]
fn frames_whole_in_a_longer_chunk_are_cut_without_allocation() {
    for rate in SampleRate::ALL {
        let chunk = shared(4 * rate.bytes_per_frame());
        assert_eq!(frames_and_allocations(rate, &chunk, 250), (1000, 0));
    }
}

#[test]
fn a_frame_that_spans_chunks_costs_one_allocation() {
    let rate = SampleRate::Hz16000;
    let chunk = shared(rate.bytes_per_frame() * 3 / 2);
    // Of three frames in two chunks the middle one spans.
    assert_eq!(frames_and_allocations(rate, &chunk, 200), (300, 100));
}
