//! Calls that outlive the model's sessions, planned or not.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use novavoice::{
    ProviderErrorKind,
    audio::{AudioFrame, SampleRate, comfort_tone},
    call::LegCapabilities,
    conversation::{Config, EndReason, Input, SessionId, Setup},
    model::{ModelEvent, Said},
    telephony::CallEvent,
    testkit::sim::Sim,
    transcript::Speaker,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A call on a leg with marks and a screen, under Nova's limit.
pub(crate) fn setup() -> Setup {
    Setup {
        rate: SampleRate::Hz16000,
        leg: LegCapabilities {
            marks: true,
            text: true,
            ..LegCapabilities::default()
        },
        text_input: true,
        tools: Arc::default(),
        offered: None,
        greeting: None,
        session_limit: Some(Duration::from_secs(480)),
        jitter: 0.0,
        filler: Some(comfort_tone(SampleRate::Hz16000)),
        started: Timestamp::UNIX_EPOCH,
    }
}

/// Carriers keep sending, also where these tests leave it out.
fn config() -> Config {
    let mut config = Config::default();
    config.no_traffic = Duration::from_secs(86_400);
    // So do models, which leave nothing without a sign.
    config.no_sign = Duration::from_secs(86_400);
    config
}

/// A call under Nova's limit, whose first session is open.
fn call() -> Sim {
    let mut sim = Sim::with(config(), setup());
    sim.input(Input::ModelOpened(SessionId(1)));
    sim
}

/// Whatever session was asked for and is not open is open a second later.
fn open(sim: &mut Sim, session: u32) {
    assert_eq!(
        sim.sessions().0.last(),
        Some(&SessionId(session)),
        "it was asked for"
    );
    sim.run_for(SECOND);
    sim.input(Input::ModelOpened(SessionId(session)));
}

fn said(speaker: Speaker, text: &str) -> Said {
    Said {
        speaker,
        text: text.to_owned(),
    }
}

/// Nova Sonic checklist 33 and 35.
#[test]
fn a_silent_caller_rolls_over_at_the_soft_age() {
    let mut sim = call();
    sim.says("Are you there?", SECOND);
    sim.model(ModelEvent::AgentSaid("Are you there?".to_owned()));
    sim.run_for(359 * SECOND);
    assert_eq!(sim.sessions().0.len(), 1);
    sim.run_for(2 * SECOND);
    open(&mut sim, 2);
    sim.run_for(SECOND);
    assert_eq!(sim.talking(), SessionId(2));
    assert_eq!(
        sim.sessions().1,
        [SessionId(1)],
        "the old one is closed by the book"
    );
    assert_eq!(
        sim.briefed(),
        [(SessionId(2), vec![said(Speaker::Agent, "Are you there?")])]
    );
    sim.input(Input::ModelEnded(SessionId(1), None));
    sim.run_for(Duration::from_secs(1_800));
    assert_eq!(
        sim.stats().rollovers,
        1,
        "the third session is asked for and never opens here"
    );
}

/// Nova Sonic checklist 34: no frame to two sessions, none lost.
#[test]
fn every_frame_of_the_caller_reaches_exactly_one_session() {
    let mut sim = call();
    sim.run_for(355 * SECOND);
    let before = sim.stats();
    for second in 0..20 {
        sim.caller(second % 4 == 1, SECOND);
        if sim.sessions().0.len() == 2 && sim.talking() == SessionId(1) {
            sim.input(Input::ModelOpened(SessionId(2)));
        }
    }
    assert_eq!(sim.talking(), SessionId(2));
    let after = sim.stats();
    assert_eq!(after.frames_received - before.frames_received, 1_000);
    assert_eq!(after.frames_dropped, 0);
    let fed = sim.fed(SessionId(1)).count() + sim.fed(SessionId(2)).count();
    assert_eq!(
        fed as u64,
        after.frames_received + after.frames_filled + after.frames_replayed
    );
}

#[test]
fn the_call_moves_in_the_pause_after_a_reply_and_not_inside_it() {
    let mut sim = call();
    sim.run_for(355 * SECOND);
    sim.says("A reply of fifteen seconds.", 15 * SECOND);
    sim.run_for(6 * SECOND);
    open(&mut sim, 2);
    sim.run_for(5 * SECOND);
    assert_eq!(sim.talking(), SessionId(1));
    sim.run_for(5 * SECOND);
    assert_eq!(sim.talking(), SessionId(2));
    assert_eq!(sim.heard(), 15 * SECOND);
}

/// Nova Sonic checklist 36.
#[test]
fn speech_that_the_old_session_did_not_answer_is_said_again_to_the_new_one() {
    let mut sim = call();
    sim.run_for(444 * SECOND);
    let standby = *sim.sessions().0.last().expect("one was asked for");
    sim.caller(true, SECOND);
    sim.input(Input::Voice(true));
    sim.input(Input::ModelOpened(standby));
    sim.caller(true, SECOND);
    sim.caller(false, 400 * MS);
    let replayed = sim.stats().frames_replayed;
    assert_eq!(sim.talking(), standby);
    assert!(
        (100..=150).contains(&replayed),
        "{replayed} frames: two seconds and what came before them"
    );
}

/// A twelve-minute monologue: the hard deadline waits for nobody.
#[test]
fn a_model_that_never_stops_is_left_before_the_limit_and_asked_to_go_on() {
    let mut sim = call();
    for _ in 0..240 {
        let session = sim.talking();
        sim.begins("And another thing.", 2 * SECOND);
        sim.run_for(2 * SECOND);
        if let Some(next) = sim
            .sessions()
            .0
            .last()
            .copied()
            .filter(|next| *next != session)
        {
            sim.input(Input::ModelOpened(next));
        }
    }
    assert_eq!(sim.stats().rollovers, 1);
    assert!(
        sim.told().iter().any(|told| told.contains("Go on")),
        "{:?}",
        sim.told()
    );
    let (at, _) = sim.fed(sim.talking()).next().expect("fed");
    assert!(at <= Duration::from_millis(465_500), "{at:?}");
}

/// Nova Sonic checklist 38 and 39.
#[test]
fn a_session_that_stands_by_too_long_is_replaced() {
    let mut sim = call();
    sim.run_for(350 * SECOND);
    sim.begins("A reply that does not end for a while.", SECOND);
    sim.run_for(11 * SECOND);
    open(&mut sim, 2);
    sim.run_for(31 * SECOND);
    assert_eq!(sim.sessions().1, [SessionId(2)]);
    assert_eq!(
        sim.sessions().0.len(),
        2,
        "two at most, and the second one still closes"
    );
    sim.input(Input::ModelEnded(SessionId(2), None));
    sim.run_for(MS);
    assert_eq!(sim.sessions().0.last(), Some(&SessionId(3)));
}

#[test]
fn a_second_session_that_fails_to_open_is_tried_again_and_again() {
    let mut sim = call();
    sim.run_for(361 * SECOND);
    for session in 2..10 {
        assert_eq!(sim.sessions().0.last(), Some(&SessionId(session)));
        sim.input(Input::ModelEnded(
            SessionId(session),
            Some(ProviderErrorKind::Unavailable),
        ));
        sim.run_for(3 * SECOND);
    }
    open(&mut sim, 10);
    sim.run_for(SECOND);
    assert_eq!(sim.talking(), SessionId(10));
    assert_eq!(sim.ended(), None);
}

#[test]
fn final_text_that_comes_from_the_old_session_after_the_switch_is_kept() {
    let mut sim = call();
    sim.run_for(358 * SECOND);
    sim.says("A caption.", SECOND);
    sim.run_for(3 * SECOND);
    open(&mut sim, 2);
    sim.run_for(SECOND);
    assert_eq!(sim.talking(), SessionId(2));
    sim.input(Input::Model(
        SessionId(1),
        ModelEvent::AgentSaid("A caption.".to_owned()),
    ));
    assert_eq!(sim.transcript(), ["Assistant: A caption."]);
}

#[test]
fn hanging_up_during_a_switch_closes_both_sessions() {
    let mut sim = call();
    sim.run_for(361 * SECOND);
    sim.input(Input::Call(CallEvent::HungUp));
    assert_eq!(sim.sessions().1, [SessionId(1), SessionId(2)]);
    sim.input(Input::ModelEnded(
        SessionId(2),
        Some(ProviderErrorKind::Unavailable),
    ));
    assert_eq!(sim.ended(), None);
    sim.input(Input::ModelEnded(SessionId(1), None));
    assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
}

/// Nova Sonic checklist 40.
#[test]
fn a_lost_session_is_opened_again_with_what_was_said() {
    let mut sim = call();
    sim.says("Good morning.", SECOND);
    sim.model(ModelEvent::AgentSaid("Good morning.".to_owned()));
    sim.run_for(20 * SECOND);
    sim.caller(true, SECOND);
    sim.input(Input::ModelEnded(
        SessionId(1),
        Some(ProviderErrorKind::Closed),
    ));
    sim.caller(true, SECOND);
    open(&mut sim, 2);
    assert_eq!(
        sim.briefed(),
        [(SessionId(2), vec![said(Speaker::Agent, "Good morning.")])]
    );
    let replayed = sim.fed(SessionId(2)).count();
    assert!(
        replayed >= 100,
        "{replayed}: what was said before the loss and during the gap"
    );
    assert_eq!(sim.stats().restarts, 1);
    assert_eq!(sim.ended(), None);
}

#[test]
fn words_that_were_understood_and_not_answered_are_answered_by_the_next_session() {
    let mut sim = call();
    sim.run_for(20 * SECOND);
    sim.caller(true, SECOND);
    sim.run_for(SECOND);
    sim.model(ModelEvent::CallerSaid("Is Tuesday possible?".to_owned()));
    sim.input(Input::ModelEnded(
        SessionId(1),
        Some(ProviderErrorKind::TimedOut),
    ));
    open(&mut sim, 2);
    assert_eq!(sim.told(), ["Is Tuesday possible?"]);
    assert_eq!(sim.briefed(), [], "it is asked, not remembered");
}

#[test]
fn a_reply_that_was_broken_off_is_gone_on_with() {
    let mut sim = call();
    sim.run_for(20 * SECOND);
    sim.begins("one two three four five six seven eight", 2 * SECOND);
    sim.run_for(SECOND);
    sim.input(Input::ModelEnded(
        SessionId(1),
        Some(ProviderErrorKind::Unavailable),
    ));
    open(&mut sim, 2);
    sim.run_for(3 * SECOND);
    assert_eq!(sim.heard(), 2 * SECOND, "what was here is heard");
    sim.run_for(20 * SECOND);
    assert!(sim.told()[0].contains("Go on"), "{:?}", sim.told());
    let line = &sim.lines()[0];
    assert!(
        line.cut && line.text.starts_with("one two three"),
        "{line:?} {}",
        line.text
    );
}

#[test]
fn four_failed_opens_in_a_row_are_fatal() {
    let mut sim = call();
    sim.run_for(20 * SECOND);
    for session in 1..=4 {
        sim.run_for(3 * SECOND);
        assert!(!sim.hung_up());
        sim.input(Input::ModelEnded(
            SessionId(session),
            Some(ProviderErrorKind::Unavailable),
        ));
    }
    sim.run_for(3 * SECOND);
    sim.input(Input::ModelEnded(
        SessionId(5),
        Some(ProviderErrorKind::Unavailable),
    ));
    assert!(sim.hung_up());
    sim.input(Input::Call(CallEvent::HungUp));
    assert_eq!(
        sim.ended(),
        Some(&EndReason::ModelFailed(ProviderErrorKind::Unavailable))
    );
}

#[test]
fn restarts_go_on_as_long_as_they_open() {
    let mut sim = call();
    for session in 1..=30 {
        sim.run_for(20 * SECOND);
        sim.input(Input::ModelEnded(
            SessionId(session),
            Some(ProviderErrorKind::Unavailable),
        ));
        sim.run_for(SECOND);
        open(&mut sim, session + 1);
    }
    assert_eq!(sim.stats().restarts, 30);
    assert!(!sim.hung_up());
}

#[test]
fn a_gap_that_would_be_noticed_is_filled_with_a_soft_tone() {
    let mut sim = call();
    sim.run_for(20 * SECOND);
    sim.input(Input::ModelEnded(
        SessionId(1),
        Some(ProviderErrorKind::Unavailable),
    ));
    sim.run_for(1_900 * MS);
    assert_eq!(sim.heard(), Duration::ZERO);
    sim.run_for(SECOND);
    assert_eq!(sim.heard(), 400 * MS);
    sim.run_for(4 * SECOND);
    assert_eq!(sim.heard(), 800 * MS);
    open(&mut sim, 2);
    sim.run_for(20 * SECOND);
    assert!(sim.heard() <= 1_200 * MS);
    assert!(sim.lines().is_empty(), "a tone is no line");
}

#[test]
fn a_refused_content_is_tried_once_more_with_less_history() {
    let mut sim = call();
    for n in 0..4 {
        let text = format!("Line {n}.");
        sim.says(&text, SECOND);
        sim.model(ModelEvent::AgentSaid(text));
        sim.run_for(3 * SECOND);
    }
    sim.input(Input::ModelEnded(
        SessionId(1),
        Some(ProviderErrorKind::Policy),
    ));
    open(&mut sim, 2);
    assert_eq!(sim.briefed()[0].1.len(), 2);
    sim.run_for(20 * SECOND);
    sim.input(Input::ModelEnded(
        SessionId(2),
        Some(ProviderErrorKind::Policy),
    ));
    assert!(sim.hung_up());
}

#[test]
fn a_session_lost_while_the_next_stands_by_costs_no_moment() {
    let mut sim = call();
    sim.run_for(350 * SECOND);
    sim.begins("A reply that does not end for a while.", SECOND);
    sim.run_for(11 * SECOND);
    open(&mut sim, 2);
    sim.input(Input::ModelEnded(
        SessionId(1),
        Some(ProviderErrorKind::Expired),
    ));
    sim.run_for(100 * MS);
    assert_eq!(sim.talking(), SessionId(2));
}

#[test]
fn a_model_without_a_limit_never_rolls() {
    let mut sim = Sim::opened(config());
    sim.run_for(Duration::from_secs(7_200));
    assert_eq!(sim.sessions().0.len(), 1);
}

#[test]
fn calls_that_began_together_do_not_roll_together() {
    let mut asked = Vec::new();
    for jitter in [-1.0, 0.0, 1.0] {
        let mut sim = Sim::with(config(), Setup { jitter, ..setup() });
        sim.input(Input::ModelOpened(SessionId(1)));
        while sim.sessions().0.len() == 1 && sim.elapsed() < 480 * SECOND {
            sim.run_for(SECOND);
        }
        asked.push(sim.elapsed().as_secs());
    }
    assert_eq!(asked, [340, 360, 380]);
}

#[test]
fn a_frame_that_comes_while_nobody_listens_is_kept_within_bounds() {
    let mut sim = call();
    sim.run_for(SECOND);
    sim.input(Input::ModelEnded(
        SessionId(1),
        Some(ProviderErrorKind::Unavailable),
    ));
    for _ in 0..500 {
        sim.input(Input::Call(CallEvent::Audio(AudioFrame::silence(
            SampleRate::Hz16000,
        ))));
    }
    sim.run_for(SECOND);
    sim.input(Input::ModelOpened(SessionId(2)));
    assert!(sim.stats().frames_dropped >= 350);
    assert!(sim.fed(SessionId(2)).count() <= 150);
}
