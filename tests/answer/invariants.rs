//! What holds whatever comes, in whatever order.

use std::time::{Duration, Instant};

use novavoice::answer::{AnswerDetector, CarrierVerdict, Config, Evidence, Verdict};
use proptest::{collection::vec, prelude::*};

fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        6 => any::<bool>().prop_map(Evidence::Voice),
        2 => prop::sample::select(LINES).prop_map(|line| Evidence::Text(line.to_owned())),
        1 => "\\PC{0,40}".prop_map(Evidence::Text),
        1 => prop::sample::select(CARRIER).prop_map(Evidence::Carrier),
        1 => Just(Evidence::Beep),
        1 => Just(Evidence::FaxTone),
        1 => Just(Evidence::SpecialInformationTone),
    ]
}

proptest! {
    /// Deadlines lie ahead once all is polled, each verdict differs from the one before, and they
    /// come in order of time.
    #[test]
    fn every_verdict_is_news_and_no_deadline_is_past(
        schedule in vec((0_u64..3_000, evidence()), 0..60),
    ) {
        let zero = zero();
        let mut now = zero;
        let mut detector = AnswerDetector::new(Config::default(), zero);
        let mut last: Option<Verdict> = None;
        for (gap, evidence) in schedule {
            now += Duration::from_millis(gap);
            detector.handle(now, evidence);
            while let Some(verdict) = detector.poll(now) {
                prop_assert!((0.0..=1.0).contains(&verdict.confidence));
                prop_assert!(verdict.at <= now - zero);
                if let Some(last) = &last {
                    prop_assert!(last.at <= verdict.at);
                    prop_assert!(
                        (last.answered_by, last.sure, last.beep)
                            != (verdict.answered_by, verdict.sure, verdict.beep)
                    );
                }
                last = Some(verdict);
            }
            prop_assert_eq!(detector.verdict(), last.as_ref());
            prop_assert!(detector.deadline().is_none_or(|at| at > now));
        }
    }

    /// A voice alone, in whatever rhythm, is never reason to hang up, and always gets a verdict.
    #[test]
    fn a_voice_alone_is_never_surely_a_machine(gaps in vec(0_u64..8_000, 1..40)) {
        let zero = zero();
        let mut now = zero;
        let mut detector = AnswerDetector::new(Config::default(), zero);
        for (index, gap) in gaps.iter().enumerate() {
            now += Duration::from_millis(*gap);
            detector.handle(now, Evidence::Voice(index % 2 == 0));
            while let Some(verdict) = detector.poll(now) {
                prop_assert!(!verdict.is_surely_a_machine());
            }
        }
        for _ in 0..4 {
            now = detector.deadline().unwrap_or(now);
            while detector.poll(now).is_some() {}
        }
        prop_assert!(detector.verdict().is_some());
    }
}

#[expect(clippy::disallowed_methods, reason = "any instant will do as a zero")]
fn zero() -> Instant {
    Instant::now()
}

const LINES: &[&str] = &[
    "Hello?",
    "First Baptist Church, this is Pam.",
    "Please leave a message after the tone.",
    "For the church office, press two.",
    "Say your name and why you are calling.",
    "The number you have dialed is not in service.",
    "Who is this?",
];

const CARRIER: &[CarrierVerdict] = &[
    CarrierVerdict::Human,
    CarrierVerdict::Machine,
    CarrierVerdict::BeepStart,
    CarrierVerdict::BeepTimeout,
];
