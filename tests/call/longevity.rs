//! A call of half an hour, though no session of its model lives for longer than eight minutes.
//!
//! The model's ages are scaled by 48: its sessions are cut after 10 s, and the call lasts 37.5 s.
//! Audio runs in real time all the same, so what is heard is measured unscaled, and each switch has a
//! forty-eighth of the time that it would have.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use novavoice::{
    agent::{AgentEvent, EventKind},
    audio::{FRAME, SampleRate},
    conversation::{CallStats, Work, WorkKind},
    model::nova_sonic::NovaSonicConfig,
    testkit::{
        bedrock::{
            Dialogue, FakeBedrock, Hearing, Incoming, Mark, Options, Reply, Script, SessionScript,
        },
        vonage::{Arrival, Call, speech},
    },
};

use tokio::sync::broadcast::Receiver;

use crate::{inbound, node::Node};

const LIMIT: Duration = Duration::from_secs(10);
/// Half an hour, scaled as the limit is.
const CALL: Duration = Duration::from_millis(37_500);
const QUESTION: Duration = Duration::from_millis(1_200);
const ANSWER: Duration = Duration::from_secs(3);
/// So short that nobody rests for long enough to make a quiet point.
const PAUSE: Duration = Duration::from_millis(150);

/// Questions that differ in every sample, so that a fake can tell them apart.
fn questions() -> Arc<Vec<Bytes>> {
    let spoken = speech(QUESTION, SampleRate::Hz16000);
    let question = |n: i32| {
        let samples = spoken.chunks_exact(2).map(|pair| {
            let sample = i32::from(i16::from_le_bytes([pair[0], pair[1]]));
            i16::try_from(sample * (400 - n) / 400).unwrap_or_default()
        });
        Bytes::from_iter(samples.flat_map(i16::to_le_bytes))
    };
    Arc::new((0..20).map(question).collect())
}

/// Understands a question only where the whole of it is there, bit for bit.
fn hearing(questions: Arc<Vec<Bytes>>) -> Hearing {
    Hearing::new(move |incoming| {
        let asked = match incoming {
            Incoming::Speech(pcm) => questions.iter().position(|question| holds(pcm, question)),
            Incoming::Text(text) => text.strip_prefix("Question ").and_then(|n| n.parse().ok()),
            _ => None,
        };
        let greeting = || matches!(incoming, Incoming::Text(text) if text.contains("Greet"));
        match asked {
            Some(n) => Some((
                format!("Question {n}"),
                Reply::say(format!("Answer {n}."), ANSWER),
            )),
            None if greeting() => Some((String::new(), Reply::say("Good morning.", ANSWER))),
            None => Some(("What was that".to_owned(), Reply::say("Pardon?", ANSWER))),
        }
    })
}

fn holds(pcm: &[u8], question: &[u8]) -> bool {
    // The speech begins softly; its middle is unmistakable.
    let probe = question.len() / 2..question.len() / 2 + 64;
    pcm.windows(64)
        .enumerate()
        .filter(|(_, window)| *window == &question[probe.clone()])
        .any(|(at, _)| {
            at.checked_sub(probe.start)
                .and_then(|from| pcm.get(from..from + question.len()))
                == Some(question)
        })
}

/// When each frame sounds: one after the other, as they come.
fn ear(frames: &[Arrival]) -> Vec<(Instant, Mark)> {
    let mut free: Option<Instant> = None;
    let sounding = frames.iter().map(|frame| {
        let begins = free.map_or(frame.at, |free| free.max(frame.at));
        free = Some(begins + FRAME);
        (begins, frame)
    });
    sounding
        .filter_map(|(at, frame)| Some((at, *Mark::find_all(&frame.head).first()?)))
        .collect()
}

/// The longest gap that a reply has in the caller's ear and does not have by itself.
fn longest_gap(heard: &[(Instant, Mark)]) -> Duration {
    let gaps = heard.windows(2).filter_map(|pair| {
        let [(before, first), (after, second)] = pair else {
            return None;
        };
        let same = (first.session, first.reply) == (second.session, second.reply);
        let meant = Duration::from_micros(
            u64::from(second.position.saturating_sub(first.position)) * 1_000_000 / 16_000,
        );
        same.then(|| (*after - *before).saturating_sub(meant))
    });
    gaps.max().unwrap_or_default()
}

/// The caller asks one question after the other, each as soon as the answer was heard.
async fn talk(call: &Call, questions: &[Bytes], until: Instant) -> usize {
    let mut heard = ANSWER;
    assert!(call.wait_heard(heard).await, "the greeting");
    let mut asked = 0;
    while Instant::now() < until {
        tokio::time::sleep(PAUSE).await;
        call.say(questions[asked].clone());
        asked += 1;
        heard += ANSWER;
        assert!(call.wait_heard(heard).await, "answer {asked}");
    }
    asked
}

/// Nova Sonic checklist 20, 24, 33 to 36, 39 and 45; item 2 of what a long call must do.
#[tokio::test(flavor = "multi_thread")]
async fn half_an_hour_passes_without_a_gap_a_lost_frame_or_a_lost_word() {
    let questions = questions();
    let dialogue = Dialogue {
        hearing: Some(hearing(Arc::clone(&questions))),
        think: Duration::from_millis(100),
        burst: 12.0,
        ..Dialogue::default()
    };
    let options = Options {
        session_limit: LIMIT,
        script: Some(Script::new(move |_| {
            SessionScript::converse(dialogue.clone())
        })),
        ..Options::default()
    };
    let mut config = NovaSonicConfig::default();
    config.session_limit = Some(LIMIT);
    let node = Node::with(FakeBedrock::start(options).await.expect("a port"), config).await;
    let mut events = node.handle.subscribe();
    let carrier = node.carrier(|options| options);
    let began = Instant::now();
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    let asked = talk(&call, &questions, began + CALL).await;
    call.hang_up();
    call.ended().await;

    let sessions = node.bedrock.sessions();
    assert!(
        sessions.len() >= 5,
        "{} sessions in half an hour",
        sessions.len()
    );
    node.over(sessions.len()).await;
    assert_eq!(call.violations(), []);
    assert_eq!(node.bedrock.violations(), []);
    for session in node.bedrock.sessions() {
        assert!(session.closed_by_the_book(), "{session:?}");
        assert!(session.duration < LIMIT, "{session:?}");
    }

    // What the caller hears.
    assert_eq!(call.cleared_count(), 0);
    let heard = ear(&call.arrivals());
    let gap = longest_gap(&heard);
    assert!(gap <= Duration::from_millis(200), "{gap:?}");
    let mut frames: HashMap<(u16, u16), usize> = HashMap::new();
    for (_, mark) in &heard {
        *frames.entry((mark.session, mark.reply)).or_default() += 1;
    }
    let whole = usize::try_from(ANSWER.as_millis() / FRAME.as_millis()).expect("few");
    assert!(
        frames.len() == asked + 1 && frames.values().all(|count| *count == whole),
        "every reply once and whole: {frames:?}"
    );

    // What the model hears, and when it changes.
    let (switches, stats) = told(&mut events);
    assert_eq!(
        (stats.frames_dropped, stats.frames_unplayed),
        (0, 0),
        "{stats:?}"
    );
    assert_eq!(stats.frames_received, call.frames_sent());
    assert!(stats.rollovers >= 4 && stats.restarts == 0, "{stats:?}");
    assert_eq!(switches.len() as u64, stats.rollovers);
    let mut sound: Vec<Instant> = heard.iter().map(|(at, _)| *at).collect();
    sound.extend(call.sent().iter().map(|frame| frame.at));
    for switch in switches {
        let spoken = |from: Instant, to: Instant| sound.iter().any(|at| (from..to).contains(at));
        let across = spoken(switch - SOON, switch) && spoken(switch, switch + SOON);
        assert!(across, "people talk across a switch");
    }
    assert_eq!(stats.latency.first_audio.count(), stats.turns.len() as u64);

    // What is written.
    let transcript = node.transcript(call.uuid());
    let said: Vec<&str> = transcript
        .lines()
        .filter_map(|line| line.split_once("] ").map(|(_, said)| said))
        .collect();
    let mut script = vec!["Assistant: Good morning.".to_owned()];
    for n in 0..asked {
        script.push(format!("Human: Question {n}"));
        script.push(format!("Assistant: Answer {n}."));
    }
    assert_eq!(said, script);
}

/// When the call moved to another session, and the figures at its end.
fn told(events: &mut Receiver<AgentEvent>) -> (Vec<Instant>, Box<CallStats>) {
    let (mut moves, now) = (Vec::new(), (Timestamp::now(), Instant::now()));
    let mut note = |work: &Work| {
        if work.kind == WorkKind::Rollover {
            let ago = now.0.duration_since(work.started).unsigned_abs() - work.length;
            moves.push(now.1 - ago);
        }
    };
    while let Ok(event) = events.try_recv() {
        match event.kind {
            EventKind::Turn(turn) => turn.work.iter().for_each(&mut note),
            EventKind::Work(work) => note(&work),
            EventKind::Ended { stats, .. } => return (moves, stats),
            _ => {}
        }
    }
    panic!("the end was not told");
}

/// The caller pauses, and the model thinks, for less.
const SOON: Duration = Duration::from_millis(1_500);
