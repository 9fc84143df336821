//! What a frame costs in the core.

use std::{hint::black_box, sync::Arc, time::Instant};

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use jiff::Timestamp;
use novavoice::{
    audio::{AudioFrame, FRAME, SampleRate},
    call::LegCapabilities,
    conversation::{Action, Config, Conversation, Input, SessionId, Setup, Step},
    model::{ModelEvent, ReplyId},
    telephony::CallEvent,
};

const SESSION: SessionId = SessionId(1);

/// A call whose model is open, with nothing left to do.
fn conversation(now: Instant) -> Conversation {
    let setup = Setup {
        rate: SampleRate::Hz16000,
        leg: LegCapabilities {
            marks: true,
            text: false,
            ..LegCapabilities::default()
        },
        text_input: true,
        tools: Arc::default(),
        offered: None,
        greeting: None,
        answering: None,
        session_limit: None,
        jitter: 0.0,
        filler: None,
        started: Timestamp::UNIX_EPOCH,
    };
    let mut call = Conversation::new(Config::default(), setup, now);
    drain(&mut call);
    call.handle(now, Input::ModelOpened(SESSION));
    drain(&mut call);
    call
}

fn drain(call: &mut Conversation) -> usize {
    let mut actions = 0;
    while let Step::Do(action) = call.step() {
        black_box(action);
        actions += 1;
    }
    actions
}

#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary origin for simulated time"
)]
fn origin() -> Instant {
    Instant::now()
}

/// One frame of the caller, from `handle` to `Action::Feed` and the next wait. Budget: 100 ns.
fn caller_frame(c: &mut Criterion) {
    let mut now = origin();
    let mut call = conversation(now);
    let frame = AudioFrame::silence(SampleRate::Hz16000);
    c.bench_function("conversation/caller_frame", |b| {
        b.iter(|| {
            now += FRAME;
            call.handle(now, Input::Call(CallEvent::Audio(black_box(frame.clone()))));
            assert_eq!(drain(&mut call), 1);
        });
    });
}

/// One frame of a reply, from the model's event to `Action::Play`, its share of pacing included.
/// Budget: 300 ns.
fn reply_frame(c: &mut Criterion) {
    let mut now = origin();
    let mut call = conversation(now);
    let frame = AudioFrame::new(Bytes::from(vec![1; 640]), SampleRate::Hz16000);
    c.bench_function("conversation/reply_frame", |b| {
        b.iter(|| {
            now += FRAME;
            call.handle(
                now,
                Input::Model(
                    SESSION,
                    ModelEvent::Audio(ReplyId(1), black_box(frame.clone())),
                ),
            );
            assert!(drain(&mut call) >= 1);
        });
    });
}

/// From the model's interrupt to `Action::ClearPlayback`, with five seconds of reply queued.
/// Budget: 20 µs.
fn barge_in(c: &mut Criterion) {
    let start = origin();
    let audio = AudioFrame::new(Bytes::from(vec![1; 640 * 4]), SampleRate::Hz16000);
    let speaking = || {
        let mut call = conversation(start);
        call.handle(
            start,
            Input::Model(
                SESSION,
                ModelEvent::Caption(ReplyId(1), "One two three.".to_owned()),
            ),
        );
        for _ in 0..62 {
            call.handle(
                start,
                Input::Model(SESSION, ModelEvent::Audio(ReplyId(1), audio.clone())),
            );
        }
        drain(&mut call);
        call
    };
    c.bench_function("conversation/barge_in_to_clear", |b| {
        b.iter_batched(
            speaking,
            |mut call| {
                call.handle(
                    start + FRAME * 3,
                    Input::Model(SESSION, ModelEvent::Interrupted),
                );
                let cleared = std::iter::from_fn(|| match call.step() {
                    Step::Do(action) => Some(action),
                    Step::Wait(_) => None,
                })
                .any(|action| action == Action::ClearPlayback);
                assert!(cleared);
                call
            },
            BatchSize::SmallInput,
        );
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    caller_frame(&mut criterion);
    reply_frame(&mut criterion);
    barge_in(&mut criterion);
    criterion.final_summary();
}
