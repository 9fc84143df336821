//! Speaking in turn, and what is written down of it.

use std::time::Duration;

use jiff::Timestamp;
use novavoice::{
    ProviderErrorKind,
    audio::SampleRate,
    call::LegCapabilities,
    conversation::{AgentState, Command, Config, Input, Notice, SessionId, Setup},
    model::ModelEvent,
    telephony::{CallEvent, MarkId},
    testkit::sim::Sim,
};

const SECOND: Duration = Duration::from_secs(1);

/// A call at 16 kHz without a greeting.
fn setup(marks: bool) -> Setup {
    Setup {
        leg: LegCapabilities {
            marks,
            text: true,
            ..LegCapabilities::default()
        },
        ..Sim::setup()
    }
}

#[test]
fn the_agent_greets_first() {
    let setup = Setup {
        leg: LegCapabilities::default(),
        greeting: Some("Greet the caller.".to_owned()),
        ..Sim::setup()
    };
    let mut sim = Sim::with(Config::default(), setup);
    assert!(sim.told().is_empty(), "nobody is there to be told");
    sim.input(Input::ModelOpened(SessionId(1)));
    assert_eq!(sim.told(), ["Greet the caller."]);
    sim.says("Good morning.", 2 * SECOND);
    sim.model(ModelEvent::AgentSaid("Good morning.".to_owned()));
    sim.run_for(3 * SECOND);
    assert_eq!(sim.heard(), 2 * SECOND);
    assert_eq!(sim.transcript(), ["Assistant: Good morning."]);
}

#[test]
fn a_dialogue_is_written_down_in_order_with_the_times_when_the_words_began() {
    let mut sim = Sim::opened(Config::default());
    sim.says("Who is the senior pastor?", 2 * SECOND);
    sim.run_for(3 * SECOND);
    sim.caller(true, SECOND);
    sim.caller(false, SECOND);
    sim.model(ModelEvent::CallerSaid("That".to_owned()));
    sim.model(ModelEvent::CallerSaid("would be me.".to_owned()));
    sim.says("Wonderful.", SECOND);
    sim.model(ModelEvent::AgentSaid(
        "Who is the senior pastor?".to_owned(),
    ));
    sim.model(ModelEvent::AgentSaid("Wonderful.".to_owned()));
    sim.run_for(2 * SECOND);
    assert_eq!(
        sim.transcript(),
        [
            "Human: That would be me.",
            "Assistant: Who is the senior pastor?",
            "Assistant: Wonderful."
        ]
    );
    let at: Vec<i64> = sim.lines().iter().map(|line| line.at.as_second()).collect();
    assert_eq!(at, [3, 0, 5]);
    let seq: Vec<u64> = sim.lines().iter().map(|line| line.seq).collect();
    assert_eq!(seq, [1, 2, 3]);
}

#[test]
fn lines_are_dated_to_the_millisecond_and_never_later_than_they_began() {
    let setup = Setup {
        leg: LegCapabilities::default(),
        started: Timestamp::from_nanosecond(999_999).expect("a time"),
        ..Sim::setup()
    };
    let mut sim = Sim::with(Config::default(), setup);
    sim.input(Input::ModelOpened(SessionId(1)));
    sim.run_for(Duration::from_nanos(1_999_999));
    sim.says("Good morning.", SECOND);
    sim.model(ModelEvent::AgentSaid("Good morning.".to_owned()));
    sim.run_for(2 * SECOND);
    let at: Vec<i128> = sim
        .lines()
        .iter()
        .map(|line| line.at.as_nanosecond())
        .collect();
    assert_eq!(at, [2_000_000]);
}

/// Vonage checklist 22 and 31.
#[test]
fn a_reply_is_sent_a_lead_ahead_of_the_ear_and_nothing_is_sent_after_it() {
    let mut sim = Sim::opened(Config::default());
    sim.says("A long reply.", 10 * SECOND);
    sim.run_for(20 * SECOND);
    assert_eq!(sim.heard(), 10 * SECOND);
    assert_eq!(sim.deepest_buffer(), Config::default().lead);
    assert_eq!(sim.stats().underruns, 0);
    let starts: Vec<Duration> = sim.sounded().map(|(at, _)| at).collect();
    assert!(
        starts
            .windows(2)
            .all(|pair| pair[1] - pair[0] == Duration::from_millis(20)),
        "gapless"
    );
}

/// Nova Sonic checklist 17: a silent caller still gives a continuous stream.
#[test]
fn a_caller_without_audio_is_fed_as_silence_in_real_time() {
    let mut sim = Sim::opened(Config::default());
    sim.run_for(120 * SECOND);
    let times: Vec<Duration> = sim.fed(SessionId(1)).map(|(at, _)| at).collect();
    assert!((5_990..=6_000).contains(&times.len()), "{}", times.len());
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] < SECOND));
}

#[test]
fn what_the_caller_says_while_the_model_opens_is_kept_for_it() {
    let mut sim = Sim::new(Config::default());
    sim.caller(true, SECOND);
    assert_eq!(sim.fed(SessionId(1)).count(), 0);
    sim.input(Input::ModelOpened(SessionId(1)));
    assert_eq!(sim.fed(SessionId(1)).count(), 50);
}

/// Vonage checklist 11, Nova Sonic reference 1.7: the model has no DTMF input.
#[test]
fn pressed_keys_reach_the_model_as_text() {
    let mut sim = Sim::opened(Config::default());
    for key in ['4', '#'] {
        sim.input(Input::Call(CallEvent::Dtmf(key)));
        sim.run_for(Duration::from_millis(200));
    }
    sim.run_for(SECOND);
    assert_eq!(sim.told(), ["The caller pressed 4 #."]);
}

#[test]
fn observers_see_the_states_of_a_turn() {
    let mut sim = Sim::opened(Config::default());
    sim.model(ModelEvent::CallerSaid("Hello?".to_owned()));
    sim.run_for(SECOND);
    sim.says("Hello!", SECOND);
    sim.run_for(2 * SECOND);
    let states: Vec<AgentState> = sim
        .notices()
        .iter()
        .filter_map(|notice| match notice {
            Notice::State { new, .. } => Some(*new),
            _ => None,
        })
        .collect();
    use AgentState::{Listening, Speaking, Thinking};
    assert_eq!(states, [Listening, Thinking, Speaking, Listening]);
}

#[test]
fn the_latency_of_a_turn_is_measured_by_stage() {
    let mut sim = Sim::opened(Config::default());
    sim.caller(true, SECOND);
    sim.run_for(SECOND);
    sim.model(ModelEvent::CallerSaid("Hello?".to_owned()));
    sim.run_for(SECOND);
    sim.says("Hello!", SECOND);
    sim.run_for(3 * SECOND);
    let stats = sim.stats();
    let turn = stats.turns.first().expect("a turn");
    assert_eq!(turn.caller_text, Some(SECOND));
    assert_eq!(turn.first_audio, Some(2 * SECOND));
    assert_eq!(turn.first_frame, Some(2 * SECOND));
    assert_eq!(turn.played, Some(3 * SECOND));
}

#[test]
fn a_model_with_a_rate_of_its_own_is_converted_for_the_leg() {
    let setup = Setup {
        rate: SampleRate::Hz8000,
        leg: LegCapabilities::default(),
        ..Sim::setup()
    };
    let mut sim = Sim::with(Config::default(), setup);
    sim.input(Input::ModelOpened(SessionId(1)));
    sim.says("Sent at 16 kHz.", 2 * SECOND);
    sim.run_for(3 * SECOND);
    assert!(sim.sounded().all(|(_, frame)| frame.pcm().len() == 320));
    assert!(
        sim.heard().abs_diff(2 * SECOND) <= Duration::from_millis(40),
        "{:?}",
        sim.heard()
    );
}

/// The model says that the reply is over while its last frame sounds, and nothing happens later.
#[test]
fn the_agent_listens_once_its_last_frame_has_sounded() {
    for marks in [false, true] {
        let mut sim = Sim::with(Config::default(), setup(marks));
        sim.input(Input::ModelOpened(SessionId(1)));
        let reply = sim.begins("Hello.", SECOND);
        sim.run_for(SECOND - Duration::from_millis(5));
        sim.model(ModelEvent::ReplyEnded(reply));
        sim.run_for(SECOND);
        assert_eq!(
            sim.conversation().state(),
            AgentState::Listening,
            "marks: {marks}"
        );
    }
}

#[test]
fn a_mark_that_comes_before_its_time_is_proof_all_the_same() {
    let mut sim = Sim::with(Config::default(), setup(true));
    sim.input(Input::ModelOpened(SessionId(1)));
    sim.says("Hello.", SECOND);
    sim.run_for(SECOND - Duration::from_millis(100));
    sim.input(Input::Call(CallEvent::Played(MarkId(1))));
    assert_eq!(sim.conversation().state(), AgentState::Listening);
}

#[test]
fn frames_that_could_not_be_handed_over_count_once() {
    let mut sim = Sim::opened(Config::default());
    sim.caller(false, SECOND);
    sim.says("Hello.", SECOND);
    for input in [Input::NotFed, Input::NotFed, Input::NotPlayed] {
        sim.input(input);
    }
    let stats = sim.stats();
    assert_eq!((stats.frames_fed, stats.frames_dropped), (48, 2));
    assert_eq!((stats.frames_played, stats.frames_unplayed), (19, 1));
}

#[test]
fn what_is_told_and_pressed_while_the_model_opens_reaches_it_at_once_when_it_is_open() {
    let mut setup = setup(true);
    setup.greeting = Some("Greet the caller.".to_owned());
    let mut sim = Sim::with(Config::default(), setup);
    sim.input(Input::Command(Command::Tell("They are early.".to_owned())));
    sim.input(Input::Call(CallEvent::Dtmf('5')));
    sim.run_for(2 * SECOND);
    sim.input(Input::ModelOpened(SessionId(1)));
    // One text: a second one would interrupt the answer to the first.
    assert_eq!(
        sim.told(),
        ["Greet the caller.\nThey are early.\nThe caller pressed 5."]
    );
}

#[test]
fn texts_without_end_while_the_model_opens_are_bounded() {
    let mut sim = Sim::new(Config::default());
    for n in 0..100_000 {
        sim.input(Input::Command(Command::Tell(format!("Text {n}."))));
    }
    sim.input(Input::ModelOpened(SessionId(1)));
    assert!(sim.told()[0].len() <= 20_000);
    assert!(
        sim.notices()
            .contains(&Notice::Trouble(ProviderErrorKind::Invalid))
    );
}
