//! What holds for every schedule of callers, models and clocks.

use std::time::Duration;

use novavoice::{
    audio::{AudioFrame, SampleRate},
    conversation::{Command, Config, Input, SessionId},
    model::ModelEvent,
    telephony::CallEvent,
    testkit::sim::Sim,
    transcript::Speaker,
};
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Caller { voice: bool, frames: u64 },
    Burst(u8),
    Says { sentences: u8, millis: u64 },
    FinalText(u8),
    CallerSaid,
    Interrupted,
    Key,
    HangUp,
    CallerHangsUp,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..5_000_u64).prop_map(Event::Wait),
        6 => (any::<bool>(), 1..100_u64).prop_map(|(voice, frames)| Event::Caller { voice, frames }),
        2 => any::<u8>().prop_map(Event::Burst),
        6 => (1..4_u8, 1..4_000_u64).prop_map(|(sentences, millis)| Event::Says { sentences, millis }),
        6 => any::<u8>().prop_map(Event::FinalText),
        3 => Just(Event::CallerSaid),
        3 => Just(Event::Interrupted),
        1 => Just(Event::Key),
        1 => Just(Event::HangUp),
        1 => Just(Event::CallerHangsUp),
    ]
}

/// Runs a schedule to its end and past it.
fn run(events: &[Event]) -> (Sim, Duration) {
    let mut config = Config::default();
    // The one session of these schedules is never given up.
    config.no_sign = Duration::from_secs(86_400);
    let mut sim = Sim::opened(config);
    let mut said: Vec<String> = Vec::new();
    let mut sent = Duration::ZERO;
    for event in events {
        match event {
            Event::Wait(millis) => sim.run_for(Duration::from_millis(*millis)),
            Event::Caller { voice, frames } => {
                sim.caller(*voice, Duration::from_millis(20 * frames))
            }
            Event::Burst(frames) => {
                for _ in 0..*frames {
                    sim.input(Input::Call(CallEvent::Audio(AudioFrame::silence(
                        SampleRate::Hz16000,
                    ))));
                }
            }
            Event::Says { sentences, millis } => {
                for sentence in 0..*sentences {
                    let text = format!("n{} sentence {sentence} of a reply", said.len());
                    sim.says(&text, Duration::from_millis(*millis));
                    sent += Duration::from_millis(*millis);
                    said.push(text);
                }
            }
            Event::FinalText(which) => {
                if !said.is_empty() {
                    sim.model(ModelEvent::AgentSaid(
                        said[usize::from(*which) % said.len()].clone(),
                    ));
                }
            }
            Event::CallerSaid => sim.model(ModelEvent::CallerSaid("words".to_owned())),
            Event::Interrupted => sim.model(ModelEvent::Interrupted),
            Event::Key => sim.input(Input::Call(CallEvent::Dtmf('1'))),
            Event::HangUp => sim.input(Input::Command(Command::HangUp)),
            Event::CallerHangsUp => {}
        }
        if matches!(event, Event::CallerHangsUp) || sim.hung_up() {
            break;
        }
    }
    sim.run_for(Duration::from_secs(30));
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(SessionId(1), None));
    (sim, sent)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_schedule_keeps_the_promises(events in vec(event(), 0..60)) {
        let (sim, sent) = run(&events);
        prop_assert!(sim.ended().is_some(), "every call ends");
        prop_assert!(sim.heard() <= sent + Duration::from_millis(20) * u32::try_from(events.len() * 4).unwrap(), "never more heard than sent");
        prop_assert!(sim.deepest_buffer() <= Config::default().lead, "the lead is kept");

        let seq: Vec<u64> = sim.lines().iter().map(|line| line.seq).collect();
        prop_assert_eq!(seq, (1..=sim.lines().len() as u64).collect::<Vec<_>>());

        let mut texts: Vec<&str> =
            sim.lines().iter().filter(|line| line.speaker == Speaker::Agent).map(|line| line.text.as_str()).collect();
        let all = texts.len();
        texts.sort_unstable();
        texts.dedup();
        prop_assert_eq!(texts.len(), all, "no reply is written down twice");

        let stats = sim.stats();
        let fed = sim.fed(SessionId(1)).count() as u64;
        prop_assert_eq!(stats.frames_fed, fed);
        prop_assert_eq!(fed, stats.frames_received - stats.frames_trimmed - stats.frames_dropped + stats.frames_filled);
        prop_assert_eq!(sim.sessions().0.len(), sim.sessions().1.len(), "what was opened is closed");
    }
}
