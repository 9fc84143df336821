//! What this node knows about calls, and what it forgets of them.

use super::*;

fn facts(id: &str) -> Facts {
    Facts {
        id: CallId::new(id),
        conversation: Some(format!("CON-{id}")),
        direction: Direction::Inbound,
        from: None,
        to: None,
        region: None,
    }
}

fn start() -> Instant {
    crate::clock::now()
}

/// Vonage checklist 55: the answer webhook comes again and gets the same decision.
#[test]
fn a_repeated_answer_webhook_is_decided_once() {
    let (mut calls, now) = (Calls::default(), start());
    assert!(calls.answered(facts("a"), || true, now));
    assert!(calls.answered(facts("a"), || false, now));
    assert!(!calls.answered(facts("b"), || false, now));
    assert!(!calls.answered(facts("b"), || true, now));
}

/// Vonage checklist 53: at most N reconnects, and none for a call that we ended.
#[test]
fn lost_sockets_are_mended_twice_and_then_apologised_for() {
    let (mut calls, now) = (Calls::default(), start());
    calls.answered(facts("a"), || true, now);
    let mut lost = |leg| calls.lost("a", Some(leg), 0, 2, now);
    assert_eq!(lost("ws-1"), Loss::Reconnect(1));
    assert_eq!(lost("ws-1"), Loss::Reconnect(1));
    assert_eq!(lost("ws-2"), Loss::Reconnect(2));
    assert_eq!(lost("ws-3"), Loss::Apologise);
    assert_eq!(lost("ws-1"), Loss::Apologise, "no way leads back");
    calls.released("a");
    assert_eq!(calls.lost("a", Some("ws-4"), 0, 2, now), Loss::Expected);
}

#[test]
fn a_call_whose_agent_failed_is_apologised_for_however_often_it_is_asked() {
    let (mut calls, now) = (Calls::default(), start());
    calls.answered(facts("a"), || true, now);
    calls.failed("a");
    for leg in ["ws-1", "ws-1", "ws-2"] {
        assert_eq!(calls.lost("a", Some(leg), 0, 2, now), Loss::Apologise);
    }
    assert!(matches!(calls.opened(facts("a"), now), Place::Over));
    calls.over("a", now);
    calls.failed("a");
    assert_eq!(calls.lost("a", Some("ws-3"), 0, 2, now), Loss::Expected);

    calls.answered(facts("b"), || true, now);
    calls.released("b");
    calls.failed("b");
    assert_eq!(calls.lost("b", Some("ws-1"), 0, 2, now), Loss::Expected);
}

#[test]
fn losses_that_another_node_mended_count_too() {
    let (mut calls, now) = (Calls::default(), start());
    calls.answered(facts("a"), || true, now);
    assert_eq!(calls.lost("a", Some("ws-2"), 1, 2, now), Loss::Reconnect(2));
    assert_eq!(calls.lost("a", Some("ws-3"), 2, 2, now), Loss::Apologise);
}

#[test]
fn a_call_has_one_leg_at_a_time_and_none_after_its_end() {
    let (mut calls, now) = (Calls::default(), start());
    let Place::Start(signals, _) = calls.opened(facts("a"), now) else {
        panic!("the first socket starts a leg");
    };
    assert!(matches!(calls.opened(facts("a"), now), Place::Join(_)));
    drop(signals);
    assert!(matches!(calls.opened(facts("a"), now), Place::Start(..)));
    calls.over("a", now);
    assert!(matches!(calls.opened(facts("a"), now), Place::Over));
}

/// The verdict may be there before the media socket is.
#[test]
fn a_verdict_that_comes_before_the_leg_waits_for_it() {
    let (mut calls, now) = (Calls::default(), start());
    calls.answered(facts("a"), || true, now);
    assert!(calls.answered_by("a", CarrierVerdict::Machine).is_none());
    let Place::Start(mut signals, _) = calls.opened(facts("a"), now) else {
        panic!("the first socket starts a leg");
    };
    let early = signals.try_recv().ok();
    assert!(matches!(
        early,
        Some(Signal::Report(CallEvent::AnsweredBy(
            CarrierVerdict::Machine
        )))
    ));
    assert!(calls.answered_by("a", CarrierVerdict::BeepStart).is_some());
    assert!(
        calls
            .answered_by("unknown", CarrierVerdict::Human)
            .is_none()
    );
}

/// Vonage checklist 45: ids with and without hyphens name the same leg.
#[test]
fn hyphens_do_not_make_another_call() {
    let (mut calls, now) = (Calls::default(), start());
    calls.answered(facts("63f618634a51"), || true, now);
    let found = calls.facts("63F61863-4a51").map(|facts| &facts.id);
    assert_eq!(found, Some(&CallId::new("63f618634a51")));
    let id = calls.of_conversation("CON-63f618634a51").map(|f| &f.id);
    assert_eq!(id, Some(&CallId::new("63f618634a51")));
}

#[test]
fn of_a_call_that_is_over_its_region_alone_is_kept() {
    let (mut calls, now) = (Calls::default(), start());
    let living = |id| Facts {
        region: Some("https://api-us.example".to_owned()),
        ..facts(id)
    };
    calls.answered(living("a"), || true, now);
    assert_eq!(calls.region("a"), Some("https://api-us.example"));
    calls.lost("a", Some("ws-1"), 0, 2, now);
    calls.over("a", now);
    let is_forgotten = |calls: &Calls| {
        calls.facts("a").is_none()
            && calls.of_conversation("CON-a").is_none()
            && calls.conversations.is_empty()
    };
    assert!(is_forgotten(&calls));
    assert!(calls.answered(facts("a"), || false, now), "asked again");
    assert!(is_forgotten(&calls));
    assert_eq!(calls.region("a"), Some("https://api-us.example"));
    calls.answered(living("z"), || true, now);
    calls.over("z", now);
    assert_eq!(calls.regions.len(), 1);
    assert!(calls.is_over("a"));
    assert_eq!(calls.lost("a", Some("ws-2"), 0, 2, now), Loss::Expected);

    let moved = Facts {
        conversation: facts("a").conversation,
        ..facts("b")
    };
    calls.answered(facts("c"), || true, now);
    calls.answered(moved, || true, now);
    calls.over("c", now);
    let id = calls.of_conversation("CON-a").map(|facts| &facts.id);
    assert_eq!(id, Some(&CallId::new("b")));
}

#[test]
fn what_is_long_past_is_forgotten_when_another_call_comes() {
    let (mut calls, now) = (Calls::default(), start());
    let live = calls.opened(facts("live"), now);
    let region = Some("https://api-us.example".to_owned());
    let over = Facts {
        region,
        ..facts("over")
    };
    calls.answered(over, || true, now);
    calls.over("over", now);
    calls.answered(facts("next"), || true, now + AFTERLIFE / 2);
    assert!(calls.is_over("over"));
    calls.answered(facts("last"), || true, now + AFTERLIFE);
    assert!(!calls.is_over("over"));
    assert!(calls.regions.is_empty());
    assert!(calls.facts("live").is_some());
    assert!(calls.facts("next").is_some());
    drop(live);
}

#[test]
fn the_memory_is_bounded_and_keeps_every_live_leg() {
    let (mut calls, now) = (Calls::default(), start());
    let live = calls.opened(facts("live"), now);
    for n in 0..MAX_CALLS * 2 {
        let later = now + Duration::from_millis(n as u64);
        calls.answered(facts(&format!("x{n}")), || true, later);
    }
    assert!(calls.calls.len() <= MAX_CALLS);
    assert!(calls.conversations.len() <= MAX_CALLS);
    assert!(calls.facts("live").is_some());
    assert!(calls.facts(&format!("x{}", MAX_CALLS * 2 - 1)).is_some());
    drop(live);
}
