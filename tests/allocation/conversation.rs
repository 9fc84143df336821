use std::{sync::Arc, time::Instant};

use allocation_counter::measure;
use jiff::Timestamp;
use novavoice::{
    audio::{AudioFrame, FRAME, SampleRate},
    call::LegCapabilities,
    conversation::{Action, Config, Conversation, Input, SessionId, Setup, Step},
    telephony::CallEvent,
};

fn drain(call: &mut Conversation) -> usize {
    let mut fed = 0;
    while let Step::Do(action) = call.step() {
        fed += usize::from(matches!(action, Action::Feed(..)));
    }
    fed
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary origin for simulated time"
)]
fn a_caller_frame_passes_through_the_core_without_allocation() {
    let mut now = Instant::now();
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
    call.handle(now, Input::ModelOpened(SessionId(1)));
    drain(&mut call);
    let frame = AudioFrame::silence(SampleRate::Hz16000);
    let mut fed = 0;
    let cost = measure(|| {
        for _ in 0..1_000 {
            now += FRAME;
            call.handle(now, Input::Call(CallEvent::Audio(frame.clone())));
            fed += drain(&mut call);
        }
    });
    assert_eq!((fed, cost.count_total), (1_000, 0));
}
