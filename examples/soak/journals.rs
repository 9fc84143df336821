//! The journals that CI replays: one short call for each thing that a call can go through.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use novavoice::{
    ProviderErrorKind,
    audio::{AudioFrame, SampleRate, comfort_tone},
    call::LegCapabilities,
    conversation::{Command, Config, Input, SessionId, Setup},
    model::ModelEvent,
    telephony::CallEvent,
    testkit::{schedule::Schedule, sim::Sim},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Writes the set.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, journal) in [
        ("barge_in", barge_in()),
        ("cough", cough()),
        ("rollover", rollover()),
        ("recovery", recovery()),
        ("idle", idle()),
        ("keys", keys()),
        ("random", Schedule::random(RANDOM).record().1),
    ] {
        let path = folder.join(name).with_extension("nvj");
        fs::write(&path, &journal).with_context(|| path.display().to_string())?;
        println!("{} bytes  {}", journal.len(), path.display());
    }
    Ok(())
}

fn setup() -> Setup {
    Setup {
        rate: SampleRate::Hz16000,
        leg: LegCapabilities {
            marks: true,
            text: false,
            ..LegCapabilities::default()
        },
        text_input: true,
        tools: Arc::default(),
        offered: None,
        greeting: Some("The call is connected. Greet the caller.".to_owned()),
        answering: None,
        session_limit: Some(480 * SECOND),
        jitter: 0.25,
        filler: Some(comfort_tone(SampleRate::Hz16000)),
        started: Timestamp::UNIX_EPOCH,
    }
}

fn call(config: Config, setup: Setup) -> Sim {
    let mut sim = Sim::recorded(config, setup);
    sim.run_for(400 * MS);
    sim.input(Input::ModelOpened(SessionId(1)));
    sim
}

/// The model says something, and its final text follows.
fn says(sim: &mut Sim, text: &str, length: Duration) {
    sim.says(text, length);
    sim.run_for(300 * MS);
    sim.model(ModelEvent::AgentSaid(text.to_owned()));
}

/// The caller says something that the model understands.
fn answers(sim: &mut Sim, text: &str, length: Duration) {
    sim.caller(true, length);
    sim.caller(false, 300 * MS);
    sim.model(ModelEvent::CallerSaid(text.to_owned()));
}

/// The caller hangs up, and the session closes.
fn hang_up(mut sim: Sim) -> Vec<u8> {
    sim.run_for(SECOND);
    sim.input(Input::Call(CallEvent::HungUp));
    sim.run_for(100 * MS);
    let last = sim.talking();
    sim.input(Input::ModelEnded(last, None));
    sim.run_for(20 * SECOND);
    sim.journal()
}

fn barge_in() -> Vec<u8> {
    let mut sim = call(Config::default(), setup());
    sim.begins(
        "Good morning, this is Esther, and I have a lot to tell you.",
        5 * SECOND,
    );
    sim.run_for(1_200 * MS);
    sim.caller(true, 600 * MS);
    sim.model(ModelEvent::Interrupted);
    sim.model(ModelEvent::CallerSaid("I have no time.".to_owned()));
    sim.caller(false, 400 * MS);
    says(&mut sim, "Then I will be short.", 1_500 * MS);
    hang_up(sim)
}

/// A short noise pauses the agent, and nothing comes of it.
fn cough() -> Vec<u8> {
    let mut sim = call(Config::default(), setup());
    sim.says(
        "We could meet on Tuesday at ten, if that suits you.",
        4 * SECOND,
    );
    sim.run_for(SECOND);
    sim.caller(true, 500 * MS);
    sim.caller(false, 2 * SECOND);
    sim.model(ModelEvent::AgentSaid(
        "We could meet on Tuesday at ten, if that suits you.".to_owned(),
    ));
    sim.run_for(2 * SECOND);
    hang_up(sim)
}

fn rollover() -> Vec<u8> {
    let short = Setup {
        session_limit: Some(16 * SECOND),
        ..setup()
    };
    let mut sim = call(Config::default(), short);
    says(&mut sim, "Good morning.", SECOND);
    answers(&mut sim, "Good morning to you.", 800 * MS);
    says(&mut sim, "How are you today?", SECOND);
    sim.run_for(10_500 * MS);
    sim.input(Input::ModelOpened(SessionId(2)));
    sim.run_for(SECOND);
    sim.input(Input::ModelEnded(SessionId(1), None));
    says(&mut sim, "Shall we find a time?", 1_200 * MS);
    sim.run_for(SECOND);
    hang_up(sim)
}

/// A session is lost in the middle of the caller's sentence; the second opening succeeds.
fn recovery() -> Vec<u8> {
    let mut sim = call(Config::default(), setup());
    says(&mut sim, "Is Tuesday possible?", 1_200 * MS);
    sim.run_for(SECOND);
    sim.caller(true, 600 * MS);
    let lost = Some(ProviderErrorKind::Unavailable);
    sim.input(Input::ModelEnded(SessionId(1), lost.clone()));
    sim.caller(true, 400 * MS);
    sim.input(Input::ModelEnded(SessionId(2), lost));
    sim.caller(false, 3 * SECOND);
    sim.input(Input::ModelOpened(SessionId(3)));
    sim.run_for(500 * MS);
    sim.model(ModelEvent::CallerSaid("Wednesday is better.".to_owned()));
    says(&mut sim, "Wednesday, then.", SECOND);
    hang_up(sim)
}

fn idle() -> Vec<u8> {
    let mut config = Config::default();
    config.idle.nudge = Some(2 * SECOND);
    config.idle.hang_up = Some(6 * SECOND);
    let mut sim = call(config, setup());
    says(&mut sim, "Good morning.", SECOND);
    for _ in 0..4 {
        let told = sim.told().len();
        sim.run_for(2_500 * MS);
        if sim.told().len() > told {
            says(&mut sim, "Are you still there?", SECOND);
        }
    }
    hang_up(sim)
}

fn keys() -> Vec<u8> {
    let mut sim = call(Config::default(), setup());
    for key in ['1', '2', '#'] {
        sim.input(Input::Call(CallEvent::Dtmf(key)));
        sim.run_for(200 * MS);
    }
    sim.run_for(SECOND);
    sim.input(Input::Call(CallEvent::Muted(true)));
    sim.run_for(500 * MS);
    sim.input(Input::Call(CallEvent::Muted(false)));
    sim.input(Input::Call(CallEvent::Audio(AudioFrame::silence(
        SampleRate::Hz16000,
    ))));
    sim.input(Input::Command(Command::Tell("Say goodbye.".to_owned())));
    sim.input(Input::Command(Command::HangUp));
    says(&mut sim, "Goodbye.", 700 * MS);
    sim.run_for(2 * SECOND);
    hang_up(sim)
}

/// The seed of the random call: a short one that goes through much.
const RANDOM: u64 = 7;
