//! The rules, one by one.

use std::time::{Duration, Instant};

use novavoice::{
    answer::{
        AnswerDetector,
        AnsweredBy::{self, Human, MachineIvr, MachineScreening, MachineVm, Uncertain},
        BeepDetector, CarrierVerdict, Config, Evidence, Reason, Verdict,
    },
    audio::{AudioFrame, SampleRate},
};

/// A callee, from the answer on.
struct Callee {
    detector: AnswerDetector,
    zero: Instant,
    verdicts: Vec<Verdict>,
}

impl Callee {
    #[expect(clippy::disallowed_methods, reason = "any instant will do as a zero")]
    fn answers() -> Self {
        let zero = Instant::now();
        Self {
            detector: AnswerDetector::new(Config::default(), zero),
            zero,
            verdicts: Vec::new(),
        }
    }

    fn until(&mut self, ms: u64) {
        let to = self.zero + Duration::from_millis(ms);
        while let Some(at) = self.detector.deadline().filter(|at| *at < to) {
            let (detector, verdicts) = (&mut self.detector, &mut self.verdicts);
            verdicts.extend(std::iter::from_fn(|| detector.poll(at)));
        }
        self.verdicts
            .extend(std::iter::from_fn(|| self.detector.poll(to)));
    }

    fn at(mut self, ms: u64, evidence: Evidence) -> Self {
        self.until(ms);
        self.detector
            .handle(self.zero + Duration::from_millis(ms), evidence);
        self.until(ms);
        self
    }

    fn speaks(self, from: u64, to: u64) -> Self {
        self.at(from, Evidence::Voice(true))
            .at(to, Evidence::Voice(false))
    }

    fn says(self, ms: u64, text: &str) -> Self {
        self.at(ms, Evidence::Text(text.to_owned()))
    }

    fn carrier(self, ms: u64, verdict: CarrierVerdict) -> Self {
        self.at(ms, Evidence::Carrier(verdict))
    }

    fn heard_until(mut self, ms: u64) -> Vec<Verdict> {
        self.until(ms);
        self.verdicts
    }
}

fn answers(verdicts: &[Verdict]) -> Vec<AnsweredBy> {
    let mut answers: Vec<_> = verdicts.iter().map(|one| one.answered_by).collect();
    answers.dedup();
    answers
}

#[test]
fn hello_is_a_person_half_a_second_after_the_detector_hears_it_end() {
    let verdicts = Callee::answers().speaks(500, 1_100).heard_until(30_000);
    assert_eq!(answers(&verdicts), [Human]);
    assert_eq!(verdicts[0].at, Duration::from_millis(1_650));
    assert_eq!(verdicts[0].reasons, [Reason::ShortGreeting]);
}

#[test]
fn words_of_a_person_are_not_waited_out() {
    let verdicts = Callee::answers()
        .speaks(500, 3_000)
        .says(3_200, "Grace Church, this is Pam, how may I help you?")
        .heard_until(10_000);
    assert_eq!(answers(&verdicts), [Human]);
    assert_eq!(verdicts[0].at, Duration::from_millis(3_200));
}

#[test]
fn nobody_is_spoken_over_because_the_carrier_hears_a_person() {
    let verdicts = Callee::answers()
        .at(500, Evidence::Voice(true))
        .carrier(2_500, CarrierVerdict::Human)
        .heard_until(3_000);
    assert_eq!(verdicts, []);
}

#[test]
fn a_machine_that_greets_like_a_person_is_found_out_by_its_words_and_its_beep() {
    let verdicts = Callee::answers()
        .speaks(500, 1_400)
        .says(2_900, "Leave a message.")
        .at(3_400, Evidence::Beep)
        .heard_until(10_000);
    assert_eq!(answers(&verdicts), [Human, MachineVm]);
    let last = verdicts.last().expect("there are verdicts");
    assert!(last.is_surely_a_machine() && last.beep);
    let [Reason::Words(rule), Reason::Beep] = last.reasons[..] else {
        panic!("{:?}", last.reasons);
    };
    assert_eq!(rule.as_str(), "asks to leave a message");
}

#[test]
fn a_beep_after_the_verdict_is_a_verdict_of_its_own() {
    let text = "Hi, you have reached Pam. Please leave a message after the tone.";
    let greeted = Callee::answers().speaks(500, 6_000).says(7_000, text);
    assert!(greeted.verdicts.last().is_some_and(|one| !one.beep));
    let before = greeted.verdicts.len();
    let beeped = greeted.at(8_000, Evidence::Beep).verdicts;
    assert_eq!(beeped.len(), before + 1);
    assert!(beeped[before].beep && beeped[before].answered_by == MachineVm);
}

#[test]
fn a_carrier_that_is_wrong_about_hello_is_not_believed() {
    let verdicts = Callee::answers()
        .speaks(500, 1_100)
        .says(2_300, "Hello?")
        .carrier(3_800, CarrierVerdict::Machine)
        .heard_until(20_000);
    assert_eq!(answers(&verdicts), [Human]);
}

#[test]
fn neither_a_long_greeting_nor_the_carrier_alone_is_reason_to_hang_up() {
    for carrier in [
        None,
        Some(CarrierVerdict::Machine),
        Some(CarrierVerdict::BeepTimeout),
    ] {
        let mut callee = Callee::answers().at(300, Evidence::Voice(true));
        if let Some(verdict) = carrier {
            callee = callee.carrier(4_000, verdict);
        }
        let verdicts = callee.heard_until(60_000);
        let leans = verdicts
            .last()
            .is_some_and(|one| one.likeliest.is_machine());
        assert!(leans, "{carrier:?}");
        assert!(!verdicts.iter().any(Verdict::is_surely_a_machine));
    }
}

#[test]
fn who_speaks_for_five_seconds_is_in_doubt_and_a_person_when_they_stop_soon() {
    let verdicts = Callee::answers().speaks(500, 6_400).heard_until(20_000);
    assert_eq!(answers(&verdicts), [Uncertain, Human]);
    assert_eq!(verdicts[0].at, Duration::from_millis(5_500));
}

#[test]
fn a_person_who_was_found_may_talk_for_as_long_as_they_like() {
    let verdicts = Callee::answers()
        .speaks(500, 1_100)
        .speaks(4_000, 60_000)
        .says(
            9_000,
            "Well, our pastor is at the hospital with a family today",
        )
        .heard_until(90_000);
    assert_eq!(answers(&verdicts), [Human]);
}

#[test]
fn a_person_who_talks_of_messages_much_later_stays_a_person() {
    let verdicts = Callee::answers()
        .speaks(500, 1_100)
        .says(
            60_000,
            "So please leave a message after the tone, that is what I told him",
        )
        .at(61_000, Evidence::Beep)
        .heard_until(90_000);
    assert_eq!(answers(&verdicts), [Human]);
}

#[test]
fn a_person_who_takes_a_screened_call_is_found() {
    for (machine, text) in [
        (
            MachineScreening,
            "Please state your name and why you are calling.",
        ),
        (MachineIvr, "For the church office, press two."),
    ] {
        let verdicts = Callee::answers()
            .speaks(500, 5_000)
            .says(6_000, text)
            .speaks(20_000, 20_900)
            .says(22_000, "Hello, who is this?")
            .heard_until(40_000);
        let last_two: Vec<_> = answers(&verdicts).into_iter().rev().take(2).collect();
        assert_eq!(last_two, [Human, machine]);
    }
}

#[test]
fn silence_is_doubt_after_four_seconds_and_a_late_hello_a_person() {
    let verdicts = Callee::answers().speaks(7_000, 7_600).heard_until(10_000);
    assert_eq!(answers(&verdicts), [Uncertain, Human]);
    assert_eq!(verdicts[0].at, Duration::from_secs(4));
    assert_eq!(verdicts[0].reasons, [Reason::Silence]);
}

#[test]
fn a_phrase_split_over_two_texts_is_one() {
    let verdicts = Callee::answers()
        .speaks(500, 4_000)
        .says(5_000, "Sorry. Please leave a")
        .says(5_600, "message after the tone.")
        .heard_until(10_000);
    assert_eq!(answers(&verdicts).last(), Some(&MachineVm));
}

#[test]
fn hearing_for_beeps_allocates_nothing() {
    for rate in SampleRate::ALL {
        let mut detector = BeepDetector::new();
        // Loud enough to be looked at.
        let square = |n: usize| if n % 8 < 4 { [0, 32] } else { [0, 224] };
        let pcm: Vec<u8> = (0..rate.samples_per_frame()).flat_map(square).collect();
        let frame = AudioFrame::new(pcm.into(), rate);
        let cost = allocation_counter::measure(|| {
            for _ in 0..100 {
                detector.hear(&frame);
            }
        });
        assert_eq!(cost.count_total, 0, "{rate}");
    }
}
