//! What the caller gets when sessions break: another one, a sign of life, or an apology.

use std::time::Duration;

use novavoice::{
    ProviderErrorKind as Kind,
    conversation::{Config, EndReason, Input, Notice, SessionId, Setup, Turn, Work, WorkKind},
    model::ModelEvent,
    telephony::CallEvent,
    testkit::sim::Sim,
};

use crate::rollover::setup;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn call_with(setup: Setup) -> Sim {
    let mut config = Config::default();
    config.no_traffic = Duration::from_secs(86_400);
    let mut sim = Sim::with(config, setup);
    sim.input(Input::ModelOpened(SessionId(1)));
    sim
}

fn call() -> Sim {
    call_with(setup())
}

fn newest(sim: &Sim) -> SessionId {
    *sim.sessions().0.last().expect("one was asked for")
}

fn lose(sim: &mut Sim, kind: Kind) {
    let session = newest(sim);
    sim.input(Input::ModelEnded(session, Some(kind)));
}

fn open(sim: &mut Sim) {
    let session = newest(sim);
    sim.input(Input::ModelOpened(session));
    // It is fed, and so talks.
    sim.run_for(100 * MS);
}

/// Loses the session, and answers how long it takes until another one is asked for.
fn pause(sim: &mut Sim, kind: Kind) -> Duration {
    let (asked, began) = (sim.sessions().0.len(), sim.elapsed());
    lose(sim, kind);
    while sim.sessions().0.len() == asked {
        assert!(sim.elapsed() < began + 20 * SECOND, "never");
        sim.run_for(MS);
    }
    sim.elapsed() - began
}

fn turns(sim: &Sim) -> Vec<Turn> {
    let turns = sim.notices().iter().filter_map(|notice| match notice {
        Notice::Turn(turn) => Some(turn.clone()),
        _ => None,
    });
    turns.collect()
}

fn works(sim: &Sim) -> Vec<Work> {
    let works = sim.notices().iter().filter_map(|notice| match notice {
        Notice::Work(work) => Some(work.clone()),
        _ => None,
    });
    works.collect()
}

/// Nova Sonic checklist 40: what deserves one more try gets one, and no second one.
#[test]
fn dubious_failures_are_tried_once_more() {
    for kind in [Kind::Policy, Kind::Unexpected] {
        let mut sim = call();
        sim.run_for(20 * SECOND);
        lose(&mut sim, kind.clone());
        sim.run_for(MS);
        open(&mut sim);
        sim.run_for(20 * SECOND);
        assert!(!sim.hung_up());
        lose(&mut sim, kind.clone());
        assert!(sim.hung_up() && sim.apologised());
        sim.input(Input::Call(CallEvent::HungUp));
        assert_eq!(sim.ended(), Some(&EndReason::ModelFailed(kind)));
        assert_eq!(sim.sessions().0.len(), 2);
    }
}

#[test]
fn a_dubious_failure_long_after_another_one_is_the_first_again() {
    let mut sim = call();
    for _ in 0..5 {
        sim.run_for(61 * SECOND);
        lose(&mut sim, Kind::Unexpected);
        sim.run_for(MS);
        open(&mut sim);
    }
    assert!(!sim.hung_up());
}

/// Nova Sonic checklist 40 and 43.
#[test]
fn what_nobody_can_mend_by_trying_is_not_tried() {
    for kind in [
        Kind::Protocol,
        Kind::Unauthorized,
        Kind::NotFound,
        Kind::Invalid,
    ] {
        let mut sim = call();
        sim.run_for(20 * SECOND);
        lose(&mut sim, kind);
        assert!(sim.apologised());
        assert_eq!(sim.sessions().0.len(), 1);
    }
}

/// What was refused with the history of a call is not sent again at its next rollover.
#[test]
fn history_that_was_refused_stays_short() {
    let mut sim = call();
    for n in 0..8 {
        let text = format!("Line {n}.");
        sim.says(&text, SECOND);
        sim.model(ModelEvent::AgentSaid(text));
        sim.run_for(3 * SECOND);
    }
    lose(&mut sim, Kind::Policy);
    sim.run_for(MS);
    open(&mut sim);
    sim.run_for(70 * SECOND);
    lose(&mut sim, Kind::Closed);
    sim.run_for(MS);
    open(&mut sim);
    let lengths: Vec<_> = sim.briefed().iter().map(|(_, said)| said.len()).collect();
    assert_eq!(lengths, [4, 4]);
}

/// Nova Sonic checklist 40: back off where there is load, at once where there is none.
#[test]
fn pauses_grow_differ_between_calls_and_are_as_long_as_the_service_asks() {
    let throttled = |seconds| Kind::Throttled {
        retry_after: Some(Duration::from_secs(seconds)),
    };
    for (kind, jitter, expected) in [
        (Kind::Closed, 0.0, 0),
        (Kind::Closed, 1.0, 0),
        (Kind::Throttled { retry_after: None }, 0.0, 500),
        (Kind::Throttled { retry_after: None }, 1.0, 625),
        (Kind::Throttled { retry_after: None }, -1.0, 375),
        (throttled(3), 0.0, 3_000),
        (throttled(3_600), 0.0, 4_000),
    ] {
        let mut sim = call_with(Setup { jitter, ..setup() });
        sim.run_for(20 * SECOND);
        let millis = pause(&mut sim, kind.clone()).as_millis();
        assert!(
            (expected..=expected + 1).contains(&millis),
            "{kind} {jitter}: {millis}"
        );
    }
    let mut sim = call();
    sim.run_for(20 * SECOND);
    let pauses: Vec<_> = (0..4)
        .map(|_| pause(&mut sim, Kind::Unavailable).as_millis() / 10 * 10)
        .collect();
    assert_eq!(
        pauses,
        [0, 0, 500, 2_000],
        "the loss, and three failed opens"
    );
    lose(&mut sim, Kind::Unavailable);
    assert!(sim.hung_up(), "the fourth");
}

/// A session that spoke has opened, however soon it broke: such calls go on, more slowly.
#[test]
fn sessions_that_break_after_their_first_words_are_no_failed_opens() {
    let mut sim = call();
    for _ in 0..8 {
        sim.says("Well,", 500 * MS);
        sim.run_for(SECOND);
        lose(&mut sim, Kind::Closed);
        sim.run_for(3 * SECOND);
        open(&mut sim);
    }
    assert!(!sim.hung_up());
    assert_eq!(sim.stats().restarts, 8);
}

#[test]
fn a_call_that_is_all_shreds_ends() {
    let mut sim = call();
    sim.run_for(SECOND);
    for _ in 0..11 {
        sim.says("Well,", 500 * MS);
        pause(&mut sim, Kind::Closed);
        open(&mut sim);
    }
    sim.says("Well,", 500 * MS);
    assert!(!sim.hung_up());
    lose(&mut sim, Kind::Closed);
    assert!(sim.apologised());
}

#[test]
fn a_model_that_takes_long_to_open_at_first_is_waited_for_with_a_tone_and_not_for_ever() {
    let mut config = Config::default();
    config.no_traffic = Duration::from_secs(86_400);
    let mut sim = Sim::with(config, setup());
    sim.run_for(1_900 * MS);
    assert_eq!(sim.heard(), Duration::ZERO);
    sim.run_for(500 * MS);
    assert!(sim.heard() > Duration::ZERO);
    sim.run_for(55 * SECOND);
    assert!(!sim.hung_up());
    sim.run_for(6 * SECOND);
    assert!(sim.apologised());
    sim.input(Input::Call(CallEvent::HungUp));
    assert_eq!(sim.sessions().1, [SessionId(1)]);
}

#[test]
fn an_answer_that_takes_long_is_waited_for_with_a_tone() {
    let mut sim = call();
    sim.run_for(5 * SECOND);
    sim.caller(true, SECOND);
    sim.run_for(500 * MS);
    sim.model(ModelEvent::CallerSaid("Is Tuesday possible?".to_owned()));
    sim.run_for(3 * SECOND);
    assert_eq!(sim.heard(), Duration::ZERO);
    sim.run_for(SECOND);
    assert_eq!(sim.heard(), 400 * MS);
    sim.run_for(4 * SECOND);
    assert_eq!(sim.heard(), 800 * MS);
    sim.says("Yes.", SECOND);
    sim.run_for(20 * SECOND);
    assert_eq!(sim.heard(), 1_800 * MS, "and no tone after the answer");
    assert_eq!(
        turns(&sim)[0].latency.first_frame,
        turns(&sim)[0].latency.first_audio
    );
}

#[test]
fn silence_that_nobody_broke_is_not_filled() {
    let mut sim = call();
    sim.says("Good morning.", SECOND);
    sim.run_for(60 * SECOND);
    sim.caller(true, 300 * MS);
    sim.run_for(60 * SECOND);
    assert_eq!(sim.heard(), SECOND);
    assert_eq!(sim.sessions().0.len(), 1);
}

/// A stream that is dead in one direction: everything is taken, nothing comes.
#[test]
fn a_model_that_gives_no_sign_of_having_heard_is_replaced_once_in_a_minute() {
    let mut sim = call();
    sim.run_for(5 * SECOND);
    sim.caller(true, SECOND);
    sim.run_for(7_900 * MS);
    assert_eq!(sim.sessions().0.len(), 1);
    sim.run_for(200 * MS);
    assert_eq!(sim.sessions().0.len(), 2);
    assert_eq!(sim.sessions().1, [SessionId(1)], "it is closed by the book");
    open(&mut sim);
    assert!(sim.told()[0].contains("say it again"), "{:?}", sim.told());
    sim.input(Input::ModelEnded(SessionId(1), None));
    sim.caller(true, SECOND);
    sim.run_for(30 * SECOND);
    assert_eq!(sim.sessions().0.len(), 2, "not again at once");
}

#[test]
fn a_model_that_says_anything_is_not_doubted() {
    let mut sim = call();
    sim.run_for(5 * SECOND);
    sim.caller(true, SECOND);
    sim.run_for(SECOND);
    sim.model(ModelEvent::CallerSaid("Hm.".to_owned()));
    sim.run_for(60 * SECOND);
    assert_eq!(sim.sessions().0.len(), 1);
}

/// The second session never opens: the first one talks to its end, and is then replaced.
#[test]
fn a_call_whose_next_session_does_not_open_in_time_waits_for_it_and_goes_on() {
    let mut sim = call();
    sim.run_for(480 * SECOND);
    assert_eq!((sim.sessions().0.len(), sim.talking()), (2, SessionId(1)));
    sim.input(Input::ModelEnded(SessionId(1), Some(Kind::Expired)));
    sim.caller(true, SECOND);
    assert_eq!(
        sim.sessions().0.len(),
        2,
        "the one that was asked for is awaited"
    );
    open(&mut sim);
    assert_eq!(sim.talking(), SessionId(2));
    assert_eq!((sim.stats().restarts, sim.stats().frames_dropped), (1, 0));
    // Its age does not count from when it began to wait for its turn.
    sim.run_for(300 * SECOND);
    assert_eq!(sim.sessions().0.len(), 2);
}

/// Nova Sonic checklist 46: the caller hangs up while a lost session is opened again.
#[test]
fn hanging_up_during_a_restart_closes_what_opens() {
    let mut sim = call();
    sim.run_for(20 * SECOND);
    lose(&mut sim, Kind::Closed);
    sim.run_for(MS);
    sim.input(Input::Call(CallEvent::HungUp));
    assert_eq!(sim.sessions().1, [SessionId(2)]);
    sim.input(Input::ModelEnded(SessionId(2), None));
    assert_eq!(sim.ended(), Some(&EndReason::CallerHungUp));
}

/// Nova Sonic checklist 28: the caller speaks up at the very moment of the switch.
#[test]
fn a_barge_in_during_the_switch_reaches_the_next_session_alone() {
    let mut sim = call();
    sim.run_for(441 * SECOND);
    let next = newest(&sim);
    sim.says("A long reply that everybody listens to.", 10 * SECOND);
    sim.run_for(SECOND);
    sim.caller(true, 500 * MS);
    sim.input(Input::ModelOpened(next));
    sim.run_for(200 * MS);
    assert_eq!(sim.talking(), next);
    let heard = sim.heard();
    sim.input(Input::Model(next, ModelEvent::Interrupted));
    sim.run_for(5 * SECOND);
    assert!(
        sim.heard() <= heard + 40 * MS,
        "nothing of the cut reply plays on"
    );
    assert!(sim.lines()[0].cut);
}

/// The ledger: from the end of the caller's words to the carrier's word that all was played.
#[test]
fn an_answered_turn_is_told_with_all_its_stages() {
    let mut sim = call();
    sim.run_for(SECOND);
    sim.caller(true, SECOND);
    sim.caller(false, 200 * MS);
    sim.model(ModelEvent::CallerSaid("Hello.".to_owned()));
    sim.run_for(300 * MS);
    sim.says("Good morning.", SECOND);
    sim.run_for(5 * SECOND);
    let turns = turns(&sim);
    let [turn] = &turns[..] else {
        panic!("one turn: {turns:?}")
    };
    let millis = turn
        .latency
        .stages()
        .map(|(name, length)| (name, length.map(|l| l.as_millis())));
    assert_eq!(
        millis,
        [
            ("last_frame", Some(0)),
            ("caller_text", Some(200)),
            ("first_text", Some(500)),
            ("first_audio", Some(500)),
            ("first_frame", Some(500)),
            ("played", Some(1_500)),
        ]
    );
    assert_eq!(turn.length, 1_500 * MS);
    assert_eq!(turn.started.as_millisecond(), 2_000);
    assert!(!turn.cut && turn.work.is_empty());
    let stats = sim.stats();
    assert_eq!(stats.latency.first_audio.count(), 1);
    assert_eq!(stats.latency.played.p50(), Some(1_500 * MS));
}

#[test]
fn a_restart_within_a_turn_belongs_to_it_and_a_rollover_in_silence_stands_alone() {
    let mut sim = call();
    sim.run_for(SECOND);
    sim.caller(true, SECOND);
    lose(&mut sim, Kind::Closed);
    sim.run_for(SECOND);
    open(&mut sim);
    sim.model(ModelEvent::CallerSaid("Hello.".to_owned()));
    sim.says("Good morning.", SECOND);
    sim.run_for(3 * SECOND);
    let turn = turns(&sim).remove(0);
    assert_eq!(turn.work.len(), 1);
    assert_eq!(turn.work[0].kind, WorkKind::Restart);
    assert_eq!(turn.work[0].length, SECOND);
    assert!(
        turn.latency.last_frame >= Some(SECOND),
        "{:?}",
        turn.latency
    );
    sim.run_for(360 * SECOND);
    open(&mut sim);
    sim.run_for(SECOND);
    let works = works(&sim);
    assert_eq!(works.len(), 1);
    assert_eq!(
        (&works[0].kind, works[0].failed),
        (&WorkKind::Rollover, false)
    );
}

/// Nova Sonic checklist 24: whoever counted them, and however late.
#[test]
fn tokens_are_summed_over_sessions() {
    let usage = |tokens| {
        ModelEvent::Usage(novavoice::model::Usage {
            input_speech_tokens: tokens,
            ..novavoice::model::Usage::default()
        })
    };
    let mut sim = call();
    sim.model(usage(1));
    sim.run_for(361 * SECOND);
    open(&mut sim);
    sim.run_for(SECOND);
    assert_eq!(sim.talking(), SessionId(2));
    sim.input(Input::Model(SessionId(1), usage(20)));
    sim.input(Input::Model(SessionId(2), usage(300)));
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::Model(SessionId(2), usage(4_000)));
    assert_eq!(sim.stats().usage.input_speech_tokens, 4_321);
}
