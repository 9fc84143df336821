//! What audio costs per 20 ms frame: framing, resampling, voice detection.
//!
//! Budgets are for one core of a small server; a call has one of each per direction and 50 frames
//! per second, so 20 µs for a frame are 0.1 % of a core.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use novavoice::audio::{
    AudioFrame, Framer, Resampler, SampleRate,
    vad::{EnergyDetector, NeuralDetector, VoiceDetector},
};

criterion_group!(
    benches,
    framing_exact,
    framing_eighty_milliseconds,
    framing_unaligned,
    resampling,
    detection_energy,
    detection_neural
);
criterion_main!(benches);

/// `framing/exact`: chunks that are one frame each, pushed and popped. Budget: 30 ns per frame,
/// no allocation (see `tests/allocation`).
fn framing_exact(c: &mut Criterion) {
    framing(c, "framing/exact", |rate| rate.bytes_per_frame());
}

/// `framing/80ms`: chunks of four frames, each frame a slice. Budget: 30 ns per frame, no
/// allocation.
fn framing_eighty_milliseconds(c: &mut Criterion) {
    framing(c, "framing/80ms", |rate| 4 * rate.bytes_per_frame());
}

/// `framing/unaligned`: chunks of an odd length, about 50 ms, so that some frames span two.
/// Budget: 100 ns per frame, one allocation for each that spans.
fn framing_unaligned(c: &mut Criterion) {
    framing(c, "framing/unaligned", |rate| {
        rate.bytes_per_frame() * 5 / 2 + 1
    });
}

/// Times the frames out of a second of audio and more, in chunks of a given length.
fn framing(c: &mut Criterion, name: &str, chunk_length: fn(SampleRate) -> usize) {
    let mut group = c.benchmark_group(name);
    for rate in SampleRate::ALL {
        let length = chunk_length(rate);
        // A slice of something longer, as sockets give: shared memory.
        let chunk = Bytes::from(vec![7; length + 1]).slice(..length);
        let frames = 64;
        group.throughput(Throughput::Elements(frames));
        group.bench_function(BenchmarkId::from_parameter(rate), |b| {
            let mut framer = Framer::new(rate);
            b.iter(|| {
                for _ in 0..frames {
                    let frame = loop {
                        match framer.pop() {
                            Some(frame) => break frame,
                            None => framer.push(chunk.clone()),
                        }
                    };
                    assert_eq!(black_box(frame).pcm().len(), rate.bytes_per_frame());
                }
            });
        });
    }
    group.finish();
}

/// `resampling/FROM to TO`: one 20 ms frame. Budget: 20 µs for each pair of rates, 30 ns where
/// they are equal.
fn resampling(c: &mut Criterion) {
    let mut group = c.benchmark_group("resampling");
    for from in SampleRate::ALL {
        for to in SampleRate::ALL {
            let frame = tone(from);
            let mut resampler = Resampler::new(from, to);
            resampler.resample(&frame);
            group.bench_function(format!("{from} to {to}"), |b| {
                b.iter(|| {
                    let out = resampler.resample(black_box(&frame));
                    assert_eq!(out.pcm().len(), to.bytes_per_frame());
                    out
                });
            });
        }
    }
    group.finish();
}

/// `detection/energy`: one 20 ms frame. Budget: 2 µs.
fn detection_energy(c: &mut Criterion) {
    detection(c, "detection/energy", || Box::new(EnergyDetector::new()));
}

/// `detection/neural`: one 20 ms frame, conversion to 16 kHz and the tone gate included. Budget:
/// 20 µs.
fn detection_neural(c: &mut Criterion) {
    detection(c, "detection/neural", || Box::new(NeuralDetector::new()));
}

fn detection(c: &mut Criterion, name: &str, make: fn() -> Box<dyn VoiceDetector>) {
    let mut group = c.benchmark_group(name);
    for rate in SampleRate::ALL {
        for (sound, frame) in [("silence", AudioFrame::silence(rate)), ("tone", tone(rate))] {
            let mut detector = make();
            group.bench_function(format!("{sound}, {rate}"), |b| {
                b.iter(|| detector.hear(black_box(&frame)));
            });
            if sound == "silence" {
                assert!(!detector.hear(&frame));
            }
        }
    }
    group.finish();
}

/// A frame of a buzz at 200 Hz, rich in harmonics.
fn tone(rate: SampleRate) -> AudioFrame {
    let period = rate.samples_per_frame() / 4;
    let pcm: Vec<u8> = (0..rate.samples_per_frame())
        .map(|n| {
            if n % period < period / 3 {
                6000_i16
            } else {
                -3000
            }
        })
        .flat_map(i16::to_le_bytes)
        .collect();
    AudioFrame::new(pcm.into(), rate)
}
