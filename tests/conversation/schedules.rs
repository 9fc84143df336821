//! What holds for every schedule of caller, model, network, application and clock.
//!
//! These are a bounded share; `cargo run --release --example soak -- run --hours 100000` is the rest.

use std::sync::OnceLock;

use novavoice::testkit::schedule::{Rule, Schedule, Violation};
use proptest::{prelude::*, sample::subsequence};

/// What was seen in many calls, each with its seed.
fn seen() -> &'static [(String, Violation)] {
    static SEEN: OnceLock<Vec<(String, Violation)>> = OnceLock::new();
    SEEN.get_or_init(|| {
        let busy = (0..BUSY).map(|seed| (format!("busy call {seed}"), Schedule::random(seed)));
        let long = (0..LONG).map(|seed| (format!("long call {seed}"), Schedule::long(seed)));
        let calls = busy.chain(long);
        calls
            .flat_map(|(name, call)| {
                let violations = call.run().violations;
                violations.into_iter().map(move |seen| (name.clone(), seen))
            })
            .collect()
    })
}

fn holds(rule: Rule) {
    let broken = seen().iter().find(|(_, seen)| seen.rule == rule);
    if let Some((call, seen)) = broken {
        panic!("{call}: {seen}");
    }
}

#[test]
fn every_frame_of_the_caller_reaches_a_session_in_order_or_is_counted_by_name() {
    holds(Rule::EveryCallerFrame);
}

#[test]
fn a_second_session_gets_a_frame_only_as_the_bounded_replay_at_a_switch() {
    holds(Rule::OnlyOneSession);
}

#[test]
fn no_audio_of_the_agent_sounds_twice() {
    holds(Rule::NoAudioTwice);
}

#[test]
fn no_frame_of_a_cut_reply_sounds_after_the_cut() {
    holds(Rule::NothingAfterTheCut);
}

#[test]
fn nobody_hears_what_was_not_sent() {
    holds(Rule::HeardWasSent);
}

#[test]
fn each_finished_reply_is_recorded_exactly_once() {
    holds(Rule::EveryReplyOnce);
}

#[test]
fn no_more_of_a_reply_is_recorded_than_was_heard() {
    holds(Rule::RecordedWasHeard);
}

#[test]
fn every_session_that_was_opened_is_closed_once() {
    holds(Rule::EverySessionClosed);
}

#[test]
fn a_switch_completes_before_the_limit() {
    holds(Rule::SwitchBeforeTheLimit);
}

#[test]
fn no_wake_up_lies_in_the_past() {
    holds(Rule::NoWaitInThePast);
}

#[test]
fn every_call_ends_once() {
    holds(Rule::EveryCallEnds);
}

/// The calls are worth their name: what the rules are about happens in them, often.
#[test]
fn the_schedules_go_through_everything() {
    let calls = (0..100).map(|seed| Schedule::random(seed).run());
    let calls: Vec<_> = calls.collect();
    let total = |count: fn(&novavoice::conversation::CallStats) -> u64| -> u64 {
        calls.iter().map(|call| count(&call.stats)).sum()
    };
    assert!(total(|stats| stats.interruptions) > 50);
    assert!(total(|stats| stats.false_interruptions) > 10);
    assert!(total(|stats| stats.rollovers) > 20);
    assert!(total(|stats| stats.restarts) > 20);
    assert!(total(|stats| stats.frames_replayed) > 200);
    assert!(total(|stats| stats.frames_dropped) > 200);
    assert!(total(|stats| stats.frames_trimmed) > 20);
    assert!(total(|stats| stats.utterances) > 200);
}

fn schedule() -> impl Strategy<Value = Schedule> {
    any::<u64>().prop_flat_map(|seed| {
        let whole = Schedule::random(seed);
        let length = whole.acts.len();
        subsequence(whole.acts.clone(), 0..=length)
            .prop_map(move |acts| Schedule::new(whole.conditions.clone(), acts, whole.seed))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// The same, with a script that shrinks to what it takes.
    #[test]
    fn every_schedule_keeps_every_rule(schedule in schedule()) {
        let outcome = schedule.run();
        prop_assert!(outcome.violations.is_empty(), "{}", outcome.violations[0]);
    }
}

const BUSY: u64 = 400;
const LONG: u64 = 8;
