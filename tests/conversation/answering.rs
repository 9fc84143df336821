//! Calls that we placed: who answers, and what the agent does about it.

use std::time::Duration;

use novavoice::{
    ProviderErrorKind,
    answer::{AnsweredBy, CarrierVerdict, Sound},
    audio::{AudioFrame, SampleRate},
    call::LegCapabilities,
    conversation::{
        AgentState, Answering, Config, EndReason, Input, Notice, OnMachine, SessionId, Setup,
    },
    model::ModelEvent,
    telephony::CallEvent,
    testkit::sim::Sim,
};
use proptest::{collection::vec, prelude::*, sample::select};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const VOICEMAIL: &str = "You have reached First Baptist. Please leave a message after the tone.";

fn setup(answering: Answering, greeting: Option<&str>) -> Setup {
    Setup {
        leg: LegCapabilities {
            marks: true,
            ..LegCapabilities::default()
        },
        greeting: greeting.map(str::to_owned),
        answering: Some(answering),
        ..Sim::setup()
    }
}

fn placed_with(answering: Answering, greeting: Option<&str>) -> Sim {
    let mut config = Config::default();
    // The model says nothing here but what the test has it say.
    config.no_sign = Duration::from_secs(86_400);
    let mut sim = Sim::with(config, setup(answering, greeting));
    sim.run_for(300 * MS);
    sim.input(Input::ModelOpened(SessionId(1)));
    sim
}

fn placed(on_machine: OnMachine) -> Sim {
    let mut answering = Answering::new(on_machine);
    answering.menu = Some("menu".to_owned());
    answering.screener = Some("screener".to_owned());
    placed_with(answering, Some("greet"))
}

fn message() -> OnMachine {
    OnMachine::LeaveMessage("message".to_owned())
}

/// The callee says this, and its text comes in time for the verdict.
fn callee(sim: &mut Sim, text: &str, length: Duration) {
    sim.caller(true, length);
    sim.caller(false, 500 * MS);
    sim.model(ModelEvent::CallerSaid(text.to_owned()));
}

fn verdicts(sim: &Sim) -> Vec<AnsweredBy> {
    let verdict = |notice: &Notice| match notice {
        Notice::AnsweredBy(verdict) => Some(verdict.answered_by),
        _ => None,
    };
    sim.notices().iter().filter_map(verdict).collect()
}

fn over(sim: &mut Sim) {
    sim.input(Input::Call(CallEvent::HungUp));
    sim.input(Input::ModelEnded(SessionId(1), None));
}

#[test]
fn a_person_is_spoken_to_within_a_breath_of_their_hello() {
    let mut sim = placed(OnMachine::HangUp);
    sim.run_for(500 * MS);
    sim.caller(true, 900 * MS);
    assert!(sim.told().is_empty(), "nobody is interrupted");
    let stopped = sim.elapsed();
    while sim.told().is_empty() {
        sim.caller(false, 20 * MS);
        assert!(sim.elapsed() - stopped <= 700 * MS);
    }
    assert_eq!(sim.told(), ["greet"]);
    assert_eq!(verdicts(&sim), [AnsweredBy::Human]);
    sim.says("Good morning.", SECOND);
    sim.run_for(2 * SECOND);
    assert_eq!(sim.heard(), SECOND);
    assert_eq!(sim.stats().answered_by, Some(AnsweredBy::Human));
}

#[test]
fn somebody_who_says_nothing_is_spoken_to() {
    let mut sim = placed(OnMachine::HangUp);
    sim.caller(false, 2_100 * MS);
    assert!(sim.told().is_empty());
    sim.caller(false, 200 * MS);
    assert_eq!(sim.told(), ["greet"]);
    sim.caller(false, 20 * SECOND);
    assert!(!sim.hung_up(), "silence is no machine");
}

/// A detector that never rests must not silence the agent.
#[test]
fn a_noisy_line_does_not_keep_the_agent_silent() {
    let mut sim = placed(OnMachine::HangUp);
    sim.caller(true, 16 * SECOND);
    assert_eq!(sim.told(), ["greet"]);
}

#[test]
fn what_the_model_says_before_anybody_is_found_is_never_heard() {
    let mut sim = placed(OnMachine::HangUp);
    sim.begins("How may I help you?", 2 * SECOND);
    sim.run_for(SECOND);
    assert_eq!(sim.conversation().state(), AgentState::Listening);
    sim.caller(true, 800 * MS);
    sim.caller(false, SECOND);
    assert_eq!(sim.told(), ["greet"]);
    sim.says("Good morning.", SECOND);
    sim.model(ModelEvent::AgentSaid("Good morning.".to_owned()));
    sim.run_for(2 * SECOND);
    assert_eq!(sim.heard(), SECOND);
    assert_eq!(sim.transcript(), ["Assistant: Good morning."]);
    assert_eq!(sim.stats().interruptions, 0, "nobody interrupted anybody");
}

#[test]
fn without_first_words_the_model_s_own_are_let_go() {
    let mut sim = placed_with(Answering::default(), None);
    sim.caller(true, 800 * MS);
    sim.says("Good morning.", SECOND);
    assert_eq!(sim.heard(), Duration::ZERO);
    sim.caller(false, 2 * SECOND);
    assert_eq!(sim.heard(), SECOND);
}

#[test]
fn a_voicemail_is_hung_up_on_without_a_word() {
    let mut sim = placed(OnMachine::HangUp);
    callee(&mut sim, VOICEMAIL, 8 * SECOND);
    assert!(sim.hung_up());
    assert!(sim.told().is_empty());
    assert_eq!(sim.heard(), Duration::ZERO);
    over(&mut sim);
    assert_eq!(sim.ended(), Some(&EndReason::AgentHungUp));
    assert_eq!(sim.stats().answered_by, Some(AnsweredBy::MachineVm));
}

#[test]
fn a_message_is_left_after_the_beep_and_the_agent_hangs_up_once_it_was_heard() {
    let mut sim = placed(message());
    callee(&mut sim, VOICEMAIL, 8 * SECOND);
    sim.begins("What the model says to the greeting.", SECOND);
    sim.caller(false, SECOND);
    assert!(sim.told().is_empty() && !sim.hung_up());
    sim.input(Input::Sound(Sound::Beep));
    assert_eq!(sim.told(), ["message"]);
    sim.says("This is Esther. Please call back.", 25 * SECOND);
    sim.model(ModelEvent::AgentSaid(
        "This is Esther. Please call back.".to_owned(),
    ));
    sim.run_for(24 * SECOND);
    assert!(!sim.hung_up(), "not in the middle of the message");
    sim.run_for(2 * SECOND);
    assert!(sim.hung_up());
    assert_eq!(sim.heard(), 25 * SECOND);
    assert_eq!(
        sim.transcript().last().map(String::as_str),
        Some("Assistant: This is Esther. Please call back.")
    );
}

#[test]
fn a_machine_that_does_not_beep_gets_its_message_all_the_same() {
    let mut sim = placed(message());
    callee(&mut sim, VOICEMAIL, 8 * SECOND);
    sim.caller(false, 5 * SECOND);
    assert!(sim.told().is_empty());
    sim.caller(false, 2 * SECOND);
    assert_eq!(sim.told(), ["message"]);
}

#[test]
fn a_message_never_begins_while_the_machine_talks_or_no_session_is_there() {
    let mut sim = placed(message());
    talk(&mut sim, SECOND);
    sim.model(ModelEvent::CallerSaid(VOICEMAIL.to_owned()));
    assert!(sim.conversation().hears_voice());
    assert_eq!(verdicts(&sim), [AnsweredBy::MachineVm]);
    talk(&mut sim, 5 * SECOND);
    assert!(sim.told().is_empty());
    sim.input(Input::ModelEnded(
        SessionId(1),
        Some(ProviderErrorKind::Unavailable),
    ));
    sim.input(Input::Voice(false));
    sim.caller(false, 8 * SECOND);
    assert!(sim.told().is_empty() && !sim.hung_up());
    // The new session is told what the old one left open, and then what to do about it.
    sim.input(Input::ModelOpened(SessionId(2)));
    sim.caller(false, SECOND);
    assert_eq!(sim.told(), [VOICEMAIL, "message"]);
    assert!(!sim.hung_up(), "it has not been said");
}

/// Frames of somebody who goes on speaking.
fn talk(sim: &mut Sim, length: Duration) {
    let until = sim.elapsed() + length;
    while sim.elapsed() < until {
        let frame = AudioFrame::silence(SampleRate::Hz16000);
        sim.input(Input::Call(CallEvent::Audio(frame)));
        sim.input(Input::Voice(true));
        sim.run_for(20 * MS);
    }
}

#[test]
fn a_carrier_that_waits_for_the_beep_is_believed() {
    let mut sim = placed(message());
    sim.caller(true, 4 * SECOND);
    sim.input(Input::Call(CallEvent::AnsweredBy(
        CarrierVerdict::BeepStart,
    )));
    sim.caller(false, SECOND);
    assert_eq!(sim.told(), ["message"]);
}

#[test]
fn the_carrier_s_word_counts_once_nothing_speaks_against_it() {
    let mut sim = placed(OnMachine::HangUp);
    sim.caller(false, SECOND);
    sim.input(Input::Call(CallEvent::AnsweredBy(CarrierVerdict::Machine)));
    sim.caller(false, 1_900 * MS);
    assert!(!sim.hung_up());
    sim.caller(false, 300 * MS);
    assert!(sim.hung_up());
    assert_eq!(sim.stats().answered_by, Some(AnsweredBy::MachineVm));
    assert_eq!(verdicts(&sim).last(), Some(&AnsweredBy::MachineVm));

    let mut sim = placed(OnMachine::HangUp);
    sim.caller(true, 800 * MS);
    sim.caller(false, SECOND);
    sim.input(Input::Call(CallEvent::AnsweredBy(CarrierVerdict::Machine)));
    sim.caller(false, 10 * SECOND);
    assert!(!sim.hung_up(), "a person was found before");
    assert_eq!(sim.told(), ["greet"]);
}

#[test]
fn words_to_a_machine_that_passed_for_a_person_are_taken_back() {
    for (policy, told) in [
        (OnMachine::HangUp, vec!["greet"]),
        (message(), vec!["greet", "message"]),
    ] {
        let mut sim = placed(policy.clone());
        sim.caller(true, 900 * MS);
        sim.caller(false, 800 * MS);
        assert_eq!(sim.told(), ["greet"]);
        sim.says(
            "Good morning, this is Esther speaking for the roof.",
            10 * SECOND,
        );
        sim.caller(true, 2 * SECOND);
        sim.model(ModelEvent::CallerSaid(VOICEMAIL.to_owned()));
        let heard = sim.heard();
        sim.caller(false, SECOND);
        sim.input(Input::Sound(Sound::Beep));
        sim.caller(false, SECOND);
        assert_eq!(sim.told(), told);
        assert_eq!(sim.hung_up(), policy == OnMachine::HangUp);
        assert!(
            sim.heard() <= heard + 20 * MS,
            "nothing more of it is played"
        );
        let line = sim.lines().iter().find(|line| line.text.contains("Esther"));
        assert!(line.is_none_or(|line| line.cut));
    }
}

#[test]
fn a_screener_hears_a_reason_and_whoever_is_put_through_the_first_words() {
    let mut sim = placed(OnMachine::HangUp);
    callee(
        &mut sim,
        "Hi. The person you are calling is using a screening service. Please say your name and why you are calling.",
        6 * SECOND,
    );
    assert_eq!(sim.told(), ["screener"]);
    sim.says("This is Esther about the roof.", 3 * SECOND);
    sim.run_for(4 * SECOND);
    assert_eq!(sim.heard(), 3 * SECOND);
    assert_eq!(verdicts(&sim).last(), Some(&AnsweredBy::MachineScreening));
    callee(&mut sim, "Hello?", 600 * MS);
    sim.run_for(SECOND);
    assert_eq!(sim.told(), ["screener", "greet"]);
    assert_eq!(sim.stats().answered_by, Some(AnsweredBy::Human));
}

/// The model's text is late, so the machine passed for a person for a moment.
#[test]
fn first_words_that_a_screener_got_are_said_again_to_the_person() {
    let mut sim = placed(OnMachine::HangUp);
    sim.caller(true, 3 * SECOND);
    sim.caller(false, 1_200 * MS);
    assert_eq!(sim.told(), ["greet"]);
    sim.begins("Good morning.", 2 * SECOND);
    sim.model(ModelEvent::CallerSaid(
        "Please say your name and why you are calling.".to_owned(),
    ));
    assert_eq!(sim.told(), ["greet", "screener"]);
    sim.says("This is Esther about the roof.", 3 * SECOND);
    sim.run_for(4 * SECOND);
    callee(&mut sim, "Hello?", 600 * MS);
    sim.run_for(SECOND);
    assert_eq!(sim.told(), ["greet", "screener", "greet"]);
}

#[test]
fn a_screener_that_puts_nobody_through_is_left() {
    let mut sim = placed(OnMachine::HangUp);
    callee(
        &mut sim,
        "Please say your name and why you are calling.",
        3 * SECOND,
    );
    assert_eq!(sim.told(), ["screener"]);
    sim.caller(false, 59 * SECOND);
    assert!(!sim.hung_up());
    sim.caller(false, 2 * SECOND);
    assert!(sim.hung_up());
    assert_eq!(sim.stats().answered_by, Some(AnsweredBy::MachineScreening));
}

#[test]
fn a_menu_is_talked_to_or_hung_up_on() {
    let text = "For service times, press one. For the office, press two. To hear this menu again, press star.";
    let mut sim = placed(OnMachine::HangUp);
    callee(&mut sim, text, 7 * SECOND);
    assert_eq!(sim.told(), ["menu"]);
    sim.run_for(10 * SECOND);
    assert!(!sim.hung_up());

    let mut answering = Answering::default();
    answering.menu = None;
    let mut sim = placed_with(answering, Some("greet"));
    callee(&mut sim, text, 7 * SECOND);
    assert!(sim.hung_up());
}

#[test]
fn whoever_wants_to_go_on_talks_to_machines_too() {
    let mut sim = placed(OnMachine::GoOn);
    callee(&mut sim, VOICEMAIL, 8 * SECOND);
    sim.run_for(3 * SECOND);
    assert_eq!(sim.told(), ["greet"]);
    assert!(!sim.hung_up());
    assert_eq!(sim.stats().answered_by, Some(AnsweredBy::MachineVm));
}

/// Where no message can be left, none is.
#[test]
fn an_announcement_is_hung_up_on_whatever_the_message() {
    let mut sim = placed(message());
    sim.input(Input::Sound(Sound::SpecialInformation));
    callee(
        &mut sim,
        "The number you have dialed is not in service.",
        4 * SECOND,
    );
    assert!(sim.hung_up());
    assert!(sim.told().is_empty());
}

#[test]
fn a_session_that_opens_after_the_verdict_gets_the_first_words() {
    let mut answering = Answering::default();
    answering.silence = SECOND;
    let mut sim = Sim::with(Config::default(), setup(answering, Some("greet")));
    sim.run_for(4 * SECOND);
    assert!(sim.told().is_empty());
    sim.input(Input::ModelOpened(SessionId(1)));
    assert_eq!(sim.told(), ["greet"]);
}

#[derive(Clone, Debug)]
enum Sign {
    Voice(u64),
    Silence(u64),
    Text(&'static str),
    Sound(Sound),
    Carrier(CarrierVerdict),
    Reply(u64),
    Interrupted,
}

fn sign() -> impl Strategy<Value = Sign> {
    let texts = vec![
        "Hello?",
        "First Baptist, this is Pam.",
        VOICEMAIL,
        "Please say your name and why you are calling.",
        "For service times, press one.",
        "The number you have dialed is not in service.",
        "Please hold.",
    ];
    prop_oneof![
        4 => (20..8_000_u64).prop_map(Sign::Voice),
        4 => (20..8_000_u64).prop_map(Sign::Silence),
        3 => select(texts).prop_map(Sign::Text),
        1 => select(vec![Sound::Beep, Sound::Fax, Sound::SpecialInformation]).prop_map(Sign::Sound),
        1 => select(vec![
            CarrierVerdict::Human,
            CarrierVerdict::Machine,
            CarrierVerdict::BeepStart,
            CarrierVerdict::BeepTimeout,
        ]).prop_map(Sign::Carrier),
        2 => (20..5_000_u64).prop_map(Sign::Reply),
        1 => Just(Sign::Interrupted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_heard_the_agent_speaks_or_hangs_up_and_never_before(
        signs in vec(sign(), 0..25),
        policy in select(vec![OnMachine::HangUp, message(), OnMachine::GoOn]),
    ) {
        let mut sim = placed(policy);
        for sign in signs {
            match sign {
                Sign::Voice(millis) => sim.caller(true, Duration::from_millis(millis / 20 * 20)),
                Sign::Silence(millis) => sim.caller(false, Duration::from_millis(millis / 20 * 20)),
                Sign::Text(text) => sim.model(ModelEvent::CallerSaid(text.to_owned())),
                Sign::Sound(sound) => sim.input(Input::Sound(sound)),
                Sign::Carrier(verdict) => sim.input(Input::Call(CallEvent::AnsweredBy(verdict))),
                Sign::Reply(millis) => { sim.says("Some words.", Duration::from_millis(millis / 20 * 20)); }
                Sign::Interrupted => sim.model(ModelEvent::Interrupted),
            }
            prop_assert!(sim.heard() == Duration::ZERO || !sim.told().is_empty(), "not before somebody is found");
            if sim.hung_up() {
                break;
            }
        }
        sim.caller(false, 50 * SECOND);
        prop_assert!(sim.hung_up() || !sim.told().is_empty());
        prop_assert!(sim.told().iter().filter(|told| *told == "message").count() <= 1);
        over(&mut sim);
        prop_assert!(sim.ended().is_some());
    }
}
