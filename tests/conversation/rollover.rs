//! Calls that outlive the model's sessions, planned or not.

use std::time::Duration;

use novavoice::{
    ProviderErrorKind,
    audio::{AudioFrame, SampleRate, comfort_tone},
    call::LegCapabilities,
    conversation::{Command, Config, EndReason, Input, SessionId, Setup},
    model::{ModelEvent, ReplyId, Said, Usage},
    telephony::CallEvent,
    testkit::sim::Sim,
    transcript::Speaker,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A call on a leg with marks and a screen, under Nova's limit.
pub(crate) fn setup() -> Setup {
    Setup {
        leg: LegCapabilities {
            marks: true,
            text: true,
            ..LegCapabilities::default()
        },
        session_limit: Some(Duration::from_secs(480)),
        filler: Some(comfort_tone(SampleRate::Hz16000)),
        ..Sim::setup()
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

/// A twelve-minute monologue with all its audio: one reply that outlives its session, and the
/// next that goes on.
#[test]
fn a_monologue_moves_in_time_and_is_heard_and_written_down_whole() {
    let mut sim = call();
    let mut reply = (SessionId(1), ReplyId(1));
    let mut said = Vec::new();
    for number in 1..=240_u8 {
        let session = sim.talking();
        if session != reply.0 {
            // The old session's reply is over with it.
            sim.input(Input::ModelEnded(reply.0, None));
            reply = (session, ReplyId(1));
        }
        let text = format!("This is sentence number {number} of the sermon.");
        sim.model(ModelEvent::Caption(reply.1, text.clone()));
        for _ in 0..150 {
            let frame = AudioFrame::new(vec![number; 640].into(), SampleRate::Hz16000);
            sim.model(ModelEvent::Audio(reply.1, frame));
        }
        sim.model(ModelEvent::AgentSaid(text.clone()));
        said.push(text);
        // The model is a little faster than the ear, and the caller is there and silent.
        sim.caller(false, 2_980 * MS);
        if let Some(next) = sim
            .sessions()
            .0
            .last()
            .copied()
            .filter(|next| *next > session)
        {
            sim.input(Input::ModelOpened(next));
        }
    }
    sim.model(ModelEvent::ReplyEnded(reply.1));
    sim.run_for(30 * SECOND);
    assert_eq!(sim.stats().rollovers, 1);
    let (at, _) = sim.fed(reply.0).next().expect("fed");
    assert!(at <= Duration::from_millis(465_500), "{at:?}");
    let sounded: Vec<u8> = sim.sounded().map(|(_, frame)| frame.pcm()[0]).collect();
    let whole: Vec<u8> = (1..=240_u8).flat_map(|number| [number; 150]).collect();
    assert_eq!(sounded, whole, "every frame once and in order");
    assert_eq!(sim.stats().underruns, 0);
    let lines: Vec<&str> = sim.lines().iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines.join(" "), said.join(" "));
    assert!(sim.told()[0].contains("Go on"), "{:?}", sim.told());
}

#[test]
fn final_text_of_the_old_session_never_lands_in_a_reply_of_the_new_one() {
    let mut sim = call();
    sim.run_for(358 * SECOND);
    sim.says("Shall we say ten o'clock?", SECOND);
    sim.run_for(3 * SECOND);
    open(&mut sim, 2);
    sim.run_for(SECOND);
    let old = SessionId(1);
    sim.says("On Tuesday, then.", SECOND);
    for text in ["Shall we say 10?", "Something quite different."] {
        sim.input(Input::Model(old, ModelEvent::AgentSaid(text.to_owned())));
    }
    sim.run_for(20 * SECOND);
    let agent: Vec<&str> = sim.lines().iter().map(|line| line.text.as_str()).collect();
    assert_eq!(agent.len(), 2);
    assert!(agent[0].starts_with("Shall we say"), "{agent:?}");
    assert_eq!(agent[1], "On Tuesday, then.");
}

/// Nova Sonic checklist 24.
#[test]
fn tokens_are_summed_over_the_sessions_of_a_call() {
    let mut sim = call();
    let usage = |n: u64| Usage {
        input_speech_tokens: n,
        input_text_tokens: 2 * n,
        output_speech_tokens: 3 * n,
        output_text_tokens: 4 * n,
    };
    sim.model(ModelEvent::Usage(usage(1)));
    sim.run_for(361 * SECOND);
    open(&mut sim, 2);
    sim.run_for(SECOND);
    sim.model(ModelEvent::Usage(usage(10)));
    // What the old session counts while it closes belongs to the call, too.
    let late = ModelEvent::Usage(usage(100));
    sim.input(Input::Model(SessionId(1), late));
    assert_eq!(sim.stats().usage, usage(111));
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

/// The hard deadline needs a session that is ready.
#[test]
fn a_session_that_stands_by_is_kept_when_another_one_might_come_too_late() {
    let mut sim = call();
    sim.run_for(350 * SECOND);
    sim.begins("A reply that does not end.", SECOND);
    sim.run_for(66 * SECOND);
    // The first one was never answered; the second one stands by from now on.
    open(&mut sim, 2);
    sim.run_for(46 * SECOND);
    assert_eq!(sim.sessions().1, [], "it is not replaced at 447 s");
    sim.run_for(3 * SECOND);
    assert_eq!(sim.talking(), SessionId(2));
}

#[test]
fn a_call_that_is_told_to_end_does_not_move_any_more() {
    let mut sim = call();
    sim.run_for(440 * SECOND);
    sim.caller(true, SECOND);
    sim.input(Input::Command(Command::Abort));
    assert!(sim.hung_up());
    sim.input(Input::ModelOpened(SessionId(2)));
    sim.run_for(2 * SECOND);
    assert_eq!(sim.fed(SessionId(2)).count(), 0);
    assert_eq!(sim.stats().rollovers, 0);
}

/// A session that is ready already is left alone, too.
#[test]
fn a_call_that_hangs_up_at_its_deadline_does_not_move() {
    let mut sim = call();
    sim.run_for(440 * SECOND);
    sim.input(Input::Voice(true));
    sim.input(Input::ModelOpened(SessionId(2)));
    for _ in 0..24 {
        sim.caller(true, SECOND);
        sim.input(Input::Voice(true));
    }
    sim.input(Input::Command(Command::Abort));
    sim.run_for(2_500 * MS);
    assert_eq!(sim.fed(SessionId(2)).count(), 0);
}

/// What the old session was saying were the last words: the agent hangs up, and the new session is
/// told nothing.
#[test]
fn a_call_whose_last_words_end_at_the_switch_hangs_up_and_does_not_move() {
    let mut setup = setup();
    setup.leg.marks = false;
    let mut sim = Sim::with(config(), setup);
    sim.input(Input::ModelOpened(SessionId(1)));
    sim.run_for(463 * SECOND);
    sim.begins("Goodbye, and thank you for", SECOND);
    sim.input(Input::ModelOpened(SessionId(2)));
    sim.caller(false, 1_500 * MS);
    sim.input(Input::Command(Command::HangUp));
    sim.run_for(3 * SECOND);
    assert!(sim.hung_up());
    assert_eq!(sim.fed(SessionId(2)).count(), 0);
    assert_eq!(sim.told().len(), 0);
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
