//! The witness speaks up: each rule is broken once, by hand.

use jiff::Timestamp;

use super::*;

const ONE: SessionId = SessionId(1);
const TWO: SessionId = SessionId(2);
const SECOND: Duration = Duration::from_secs(1);

#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary origin for simulated time"
)]
fn start() -> Instant {
    Instant::now()
}

/// A call whose first session is open, and of whose caller ten frames were sent.
fn witness() -> Witness {
    let limit = Some(480 * SECOND);
    let mut witness = Witness::new(start(), limit, 3 * SECOND, Duration::ZERO);
    witness.opens(ONE, false);
    witness.opened(ONE);
    witness.caller.sent = 10;
    witness
}

/// What is wrong once the call is over by the book.
fn broken(mut witness: Witness, fed_by_name: u64) -> Vec<Rule> {
    for session in [ONE, TWO] {
        if witness
            .sessions
            .active
            .is_some_and(|active| active.id == session)
        {
            witness.closes(session);
        }
    }
    witness.ended = true;
    let stats = CallStats {
        frames_dropped: fed_by_name,
        ..CallStats::default()
    };
    let violations = witness.closes_the_book(&stats);
    violations
        .into_iter()
        .map(|violation| violation.rule)
        .collect()
}

fn line(seq: u64, text: &str, cut: bool) -> Utterance {
    Utterance {
        seq,
        at: Timestamp::UNIX_EPOCH,
        speaker: Speaker::Agent,
        text: text.to_owned(),
        cut,
    }
}

/// A reply of one sentence of four words and one second, played; `heard` frames of it sounded.
fn spoken(witness: &mut Witness, heard: u64) -> String {
    let reply = witness.reply();
    witness.sentence(reply, 4);
    witness.speaks(reply, SECOND).unwrap();
    let spoken = witness.replies.find(reply).unwrap();
    spoken.ended = true;
    let first = spoken.first;
    for number in first..first + heard {
        witness.plays(&sound::frame(number), true);
        witness.sounds(witness.now, Heard::Place(sound::place(number)));
    }
    sentence(reply, 0, 4)
}

#[test]
fn a_call_by_the_book_breaks_nothing() {
    let mut witness = witness();
    for number in 0..10 {
        witness.fed(ONE, &sound::frame(number));
    }
    let text = spoken(&mut witness, 50);
    witness.recorded(&line(1, &text, false));
    witness.drained(Some(witness.now));
    assert_eq!(broken(witness, 0), []);
}

#[test]
fn a_frame_that_is_missing_uncounted_or_late_is_seen() {
    let mut skipped = witness();
    (1..10).for_each(|number| skipped.fed(ONE, &sound::frame(number)));
    assert_eq!(broken(skipped, 0), [Rule::EveryCallerFrame]);

    let mut counted = witness();
    (1..10).for_each(|number| counted.fed(ONE, &sound::frame(number)));
    assert_eq!(broken(counted, 1), []);

    let mut turned = witness();
    turned.fed(ONE, &sound::frame(1));
    turned.fed(ONE, &sound::frame(0));
    assert!(broken(turned, 8).contains(&Rule::EveryCallerFrame));
}

#[test]
fn a_frame_for_a_session_that_does_not_listen_is_seen() {
    let mut witness = witness();
    witness.opens(TWO, false);
    witness.opened(TWO);
    witness.fed(TWO, &sound::frame(0));
    assert!(broken(witness, 10).contains(&Rule::OnlyOneSession));
}

#[test]
fn a_replay_beyond_its_bounds_is_seen() {
    let mut witness = witness();
    witness.caller.sent = 200;
    (0..200).for_each(|number| witness.fed(ONE, &sound::frame(number)));
    witness.opens(TWO, false);
    witness.opened(TWO);
    witness.closes(ONE);
    (0..200).for_each(|number| witness.fed(TWO, &sound::frame(number)));
    assert!(broken(witness, 0).contains(&Rule::OnlyOneSession));
}

#[test]
fn a_session_that_is_left_open_or_closed_twice_is_seen() {
    let mut left = witness();
    left.ended = true;
    let stats = CallStats {
        frames_dropped: 10,
        ..CallStats::default()
    };
    let rules: Vec<Rule> = left
        .closes_the_book(&stats)
        .iter()
        .map(|seen| seen.rule)
        .collect();
    assert_eq!(rules, [Rule::EverySessionClosed]);

    let mut twice = witness();
    twice.closes(ONE);
    twice.closes(ONE);
    assert_eq!(broken(twice, 10), [Rule::EverySessionClosed]);
}

#[test]
fn audio_that_sounds_twice_or_after_its_cut_is_seen() {
    let mut twice = witness();
    let text = spoken(&mut twice, 50);
    twice.sounds(twice.now, Heard::Place(sound::place(49)));
    twice.recorded(&line(1, &text, false));
    assert_eq!(broken(twice, 10), [Rule::NoAudioTwice]);

    let mut cut = witness();
    spoken(&mut cut, 10);
    cut.cut();
    cut.plays(&sound::frame(10), true);
    cut.sounds(cut.now + SECOND, Heard::Place(sound::place(10)));
    assert_eq!(broken(cut, 10), [Rule::NothingAfterTheCut; 2]);
}

#[test]
fn audio_that_nobody_sent_is_seen() {
    let mut witness = witness();
    witness.plays(&sound::frame(7), true);
    assert_eq!(broken(witness, 10), [Rule::HeardWasSent]);
}

#[test]
fn a_reply_that_is_recorded_never_twice_or_in_part_is_seen() {
    let mut never = witness();
    spoken(&mut never, 50);
    assert_eq!(broken(never, 10), [Rule::EveryReplyOnce]);

    let mut doubled = witness();
    let text = spoken(&mut doubled, 50);
    doubled.recorded(&line(1, &text, false));
    doubled.recorded(&line(2, &text, false));
    assert!(broken(doubled, 10).contains(&Rule::EveryReplyOnce));

    let mut shortened = witness();
    let text = spoken(&mut shortened, 50);
    let (part, _) = text.rsplit_once(' ').unwrap();
    shortened.recorded(&line(1, part, false));
    assert_eq!(broken(shortened, 10), [Rule::EveryReplyOnce]);
}

#[test]
fn words_beyond_the_cut_are_seen() {
    let mut witness = witness();
    let text = spoken(&mut witness, 25);
    witness.cut();
    let (three, _) = text.rsplit_once(' ').unwrap();
    witness.recorded(&line(1, three, true));
    assert_eq!(broken(witness, 10), [Rule::RecordedWasHeard]);
}

#[test]
fn a_switch_that_comes_too_late_is_seen() {
    let mut late = witness();
    late.now += 470 * SECOND;
    late.opens(TWO, false);
    late.opened(TWO);
    late.now += SECOND;
    late.drained(None);
    assert!(broken(late, 10).contains(&Rule::SwitchBeforeTheLimit));

    let mut expired = witness();
    expired.now += 480 * SECOND;
    expired.expires(ONE);
    assert_eq!(broken(expired, 10), [Rule::SwitchBeforeTheLimit]);
}

#[test]
fn a_wait_in_the_past_is_seen() {
    let mut witness = witness();
    let past = witness.now;
    witness.now += SECOND;
    witness.drained(Some(past));
    assert_eq!(broken(witness, 10), [Rule::NoWaitInThePast]);
}

#[test]
fn a_call_that_does_not_end_is_seen() {
    let mut witness = witness();
    witness.closes(ONE);
    let stats = CallStats {
        frames_dropped: 10,
        ..CallStats::default()
    };
    let violations = witness.closes_the_book(&stats);
    assert_eq!(violations[0].rule, Rule::EveryCallEnds);
}
