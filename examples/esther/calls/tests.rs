//! What is remembered of calls, and what followers are told.

use std::time::Duration;

use futures::StreamExt;
use novavoice::{audio::SampleRate, call::Direction};

use super::*;

pub(crate) const NOW: Timestamp = Timestamp::constant(1_782_160_532, 0);

pub(crate) fn info(id: &str) -> CallInfo {
    let id = CallId::new(id);
    CallInfo::new(id, Direction::Inbound, NOW, SampleRate::Hz16000)
}

pub(crate) fn line(seq: u64, text: &str) -> Utterance {
    Utterance {
        seq,
        at: NOW,
        speaker: Speaker::Caller,
        text: text.to_owned(),
        cut: false,
    }
}

pub(crate) fn summary() -> CallSummary {
    let length = Duration::from_millis(61_500);
    CallSummary::new(CallStatus::Completed, Outcome::Scheduled, NOW, length)
}

fn is_live(calls: &Calls, call: &str) -> bool {
    let record = calls.get(&CallId::new(call), NOW).expect("known");
    record["status"] == "in_progress"
}

fn caption(speaker: Speaker, text: &str) -> Event {
    let text = text.to_owned().into();
    Event::Caption { speaker, text }
}

fn told(seq: u64, text: &str) -> Event {
    Event::Utterance(line(seq, text))
}

#[tokio::test]
async fn a_follower_hears_what_was_said_and_then_what_happens() {
    let (calls, call) = (Calls::default(), CallId::new("a"));
    calls.started(&info("a"));
    calls.line(&call, &line(1, "one"));
    calls.line(&call, &line(2, "two"));
    let follower = calls.follow(&call, 1).expect("a known call");
    calls.caption(&call, Speaker::Agent, "early");
    calls.line(&call, &line(3, "three"));
    calls.ended(&call, &summary());
    let events: Vec<_> = follower.collect().await;
    let caption = caption(Speaker::Agent, "early");
    let all = [
        told(2, "two"),
        caption,
        told(3, "three"),
        Event::ended(&summary()),
    ];
    assert_eq!(events, all);
}

#[tokio::test]
async fn a_late_follower_sees_the_captions_of_what_has_no_line_yet() {
    let (calls, call) = (Calls::default(), CallId::new("a"));
    calls.started(&info("a"));
    calls.caption(&call, Speaker::Caller, "one");
    calls.line(&call, &line(1, "one"));
    calls.caption(&call, Speaker::Agent, "two");
    calls.state(&call, AgentState::Thinking, AgentState::Speaking);
    let follower = calls.follow(&call, 0).expect("known");
    let state = Event::State {
        old: AgentState::Thinking,
        new: AgentState::Speaking,
    };
    let events: Vec<_> = follower.take(3).collect().await;
    assert_eq!(
        events,
        [told(1, "one"), caption(Speaker::Agent, "two"), state]
    );
}

#[tokio::test]
async fn a_slow_follower_misses_no_line() {
    let (calls, call) = (Calls::default(), CallId::new("a"));
    calls.started(&info("a"));
    let follower = calls.follow(&call, 0).expect("a known call");
    for seq in 1..=500 {
        calls.caption(&call, Speaker::Caller, "early");
        calls.line(&call, &line(seq, "more"));
    }
    calls.ended(&call, &summary());
    let events: Vec<_> = follower.collect().await;
    let lines = events.iter().filter_map(|event| match event {
        Event::Utterance(line) => Some(line.seq),
        _ => None,
    });
    assert!(lines.eq(1..=500));
    assert_eq!(events.last(), Some(&Event::ended(&summary())));
}

#[tokio::test]
async fn a_finished_call_is_told_to_its_end() {
    let (calls, call) = (Calls::default(), CallId::new("a"));
    calls.started(&info("a"));
    calls.line(&call, &line(1, "one"));
    calls.ended(&call, &summary());
    let events: Vec<_> = calls.follow(&call, 0).expect("known").collect().await;
    assert_eq!(events, [told(1, "one"), Event::ended(&summary())]);
    assert!(calls.follow(&CallId::new("b"), 0).is_none());
}

#[test]
fn old_calls_are_forgotten_and_live_ones_never() {
    let calls = Calls::default();
    calls.started(&info("live"));
    for number in 0..CALLS_KEPT * 2 {
        let info = info(&format!("call-{number}"));
        calls.started(&info);
        calls.ended(&info.id, &summary());
    }
    assert_eq!(calls.lock().records.len(), CALLS_KEPT);
    assert_eq!(calls.lock().oldest_first.len(), CALLS_KEPT);
    assert!(is_live(&calls, "live"));
}

#[test]
fn a_call_whose_end_was_missed_does_not_go_on_for_ever() {
    let calls = Calls::default();
    for name in ["here", "gone"] {
        calls.started(&info(name));
    }
    calls.keep_live(&[CallId::new("here")], NOW);
    assert!(is_live(&calls, "here"));
    assert!(!is_live(&calls, "gone"));
}

#[test]
fn a_call_that_comes_back_keeps_its_record() {
    let (calls, call) = (Calls::default(), CallId::new("a"));
    calls.started(&info("a"));
    calls.line(&call, &line(1, "one"));
    let mut latency = TurnLatency::default();
    latency.first_frame = Some(Duration::from_millis(700));
    calls.turn(&call, &latency);
    calls.ended(&call, &summary());
    calls.started(&info("a"));
    calls.line(&call, &line(2, "two"));
    calls.turn(&call, &latency);
    let record = calls.get(&call, NOW).expect("known");
    assert_eq!(record["status"], "in_progress");
    assert_eq!(calls.lines(&call).len(), 2);
    let latency = calls.latency_ms(&call).expect("known");
    assert_eq!(latency["first_frame"]["count"], 2);
}

#[test]
fn of_a_very_long_call_the_last_lines_are_kept() {
    let (calls, call) = (Calls::default(), CallId::new("a"));
    calls.started(&info("a"));
    for seq in 1..=6_000 {
        calls.line(&call, &line(seq, "and so on"));
    }
    let kept = calls.lines(&call);
    assert_eq!(kept.len(), 5_000);
    assert_eq!(kept.last().map(|line| line.seq), Some(6_000));
}
