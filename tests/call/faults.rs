//! Everything that is known to go wrong between us and the model, at random moments of whole calls.
//!
//! However it breaks: the call goes on, or ends with an apology; nobody waits in silence for longer
//! than five seconds, and nothing is left behind.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use novavoice::{
    agent::Counts,
    audio::FRAME,
    model::nova_sonic::NovaSonicConfig,
    telephony::vonage::VonageConfig,
    testkit::{
        bedrock::{
            Dialogue, Exception, FakeBedrock, Fault, Headers, Interruption, Mark, Options, Quirks,
            Refusal, Script, SessionScript, When,
        },
        vonage::{Call, CallEnd},
    },
};
use serde_json::json;

use crate::{
    inbound,
    node::{Node, caller_speech, dialogue},
};

const SECOND: Duration = Duration::from_secs(1);

/// What must become of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It goes on until the caller hangs up.
    GoesOn,
    /// The caller hears an apology.
    Ends,
}
use Then::{Ends, GoesOn};

/// One call to which something happens.
struct Trial {
    what: String,
    /// What the sessions do, by their index.
    sessions: Arc<dyn Fn(usize) -> SessionScript + Send + Sync>,
    then: Then,
    /// How long the caller stays on the line.
    lasts: Duration,
    streams: u32,
}

impl Trial {
    fn new(
        what: impl Into<String>,
        then: Then,
        sessions: impl Fn(usize) -> SessionScript + Send + Sync + 'static,
    ) -> Self {
        Self {
            what: what.into(),
            sessions: Arc::new(sessions),
            then,
            lasts: 6 * SECOND,
            streams: 1_000,
        }
    }

    fn lasting(mut self, lasts: Duration) -> Self {
        self.lasts = lasts;
        self
    }
}

fn well() -> SessionScript {
    SessionScript::converse(dialogue())
}

/// The same moments in every run, spread over the call as if by chance.
struct Chance(u64);

impl Chance {
    /// Some time in the first seconds of a session, in which both speak.
    fn moment(&mut self) -> When {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        When::Audio(Duration::from_millis(200 + (self.0 >> 33) % 3_300))
    }
}

/// Exceptions inside the stream, each row of the reference's table.
fn exceptions(chance: &mut Chance) -> Vec<Trial> {
    let rows = [
        (Exception::model_timeout(), GoesOn),
        (Exception::idle(), GoesOn),
        (Exception::idle_in_older_words(), GoesOn),
        (Exception::upstream_reset(), GoesOn),
        (Exception::instability(), GoesOn),
        (Exception::tool_parsing(), GoesOn),
        (Exception::content_filter(), GoesOn),
        (Exception::history_over_limit(), GoesOn),
        (Exception::model_stream_error(), GoesOn),
        (Exception::internal(), GoesOn),
        (Exception::throttling(), GoesOn),
        (Exception::unavailable(), GoesOn),
        (Exception::unknown(), GoesOn),
        (Exception::invalid_input(), Ends),
        (
            Exception::validation("First content must have SYSTEM role"),
            Ends,
        ),
        (
            Exception::validation("Chat history should be sent completely before streaming audio"),
            Ends,
        ),
    ];
    let once = rows.map(|(exception, then)| {
        let (when, what) = (chance.moment(), format!("{} once", exception.message));
        Trial::new(what, then, move |index| match index {
            0 => well().fault(when, Fault::Exception(exception.clone())),
            _ => well(),
        })
    });
    // What deserves one more try, twice.
    let twice = [
        Exception::content_filter(),
        Exception::history_over_limit(),
        Exception::tool_parsing(),
        Exception::unknown(),
    ];
    let twice = twice.map(|exception| {
        let what = format!("{} twice", exception.message);
        let when = [chance.moment(), chance.moment()];
        Trial::new(what, Ends, move |index| match when.get(index) {
            Some(when) => well().fault(*when, Fault::Exception(exception.clone())),
            None => well(),
        })
        .lasting(11 * SECOND)
    });
    once.into_iter().chain(twice).collect()
}

/// Transport that breaks, and nonsense that does not.
fn transport(chance: &mut Chance) -> Vec<Trial> {
    let faults = [
        Fault::EndStream,
        Fault::ResetStream,
        Fault::ResetTcp,
        Fault::GoAway,
        Fault::CorruptFrame,
        Fault::TruncatedFrame,
        Fault::UnknownEvent,
        Fault::UnknownEventType,
        Fault::Emit(json!({"event": {"textOutput": {"content": 7}}})),
        Fault::StallInput,
    ];
    let mut trials: Vec<_> = faults
        .into_iter()
        .map(|fault| {
            let when = chance.moment();
            Trial::new(format!("{fault:?}"), GoesOn, move |index| match index {
                0 => well().fault(when, fault.clone()),
                _ => well(),
            })
        })
        .collect();
    let when = chance.moment();
    let stalled = Trial::new("output that stalls", GoesOn, move |index| match index {
        0 => well().fault(when, Fault::StallOutput),
        _ => well(),
    });
    trials.push(stalled.lasting(12 * SECOND));
    trials.push(Trial::new(
        "headers and then the end",
        GoesOn,
        |index| match index {
            0 => well().fault(When::Opened, Fault::EndStream),
            _ => well(),
        },
    ));
    trials.push(Trial::new("the end at once, for ever", Ends, |_| {
        well().fault(When::Opened, Fault::EndStream)
    }));
    // Faults upon faults: restarts go on as long as they open.
    let moments: Vec<_> = (0..8).map(|_| chance.moment()).collect();
    let again = Trial::new("resets again and again", GoesOn, move |index| {
        well().fault(moments[index % moments.len()], Fault::ResetStream)
    });
    trials.push(again.lasting(11 * SECOND));
    trials
}

/// Openings that fail: at the start of the call, and after a session was lost.
fn openings(chance: &mut Chance) -> Vec<Trial> {
    let rows = [
        (Refusal::throttled(), GoesOn),
        (Refusal::model_not_ready(), GoesOn),
        (Refusal::model_error(), GoesOn),
        (Refusal::model_timeout(), GoesOn),
        (Refusal::internal(), GoesOn),
        (Refusal::unavailable(), GoesOn),
        (Refusal::access_denied(), Ends),
        (Refusal::not_found(), Ends),
        (Refusal::validation(), Ends),
        (Refusal::quota_exceeded(), Ends),
    ];
    let mut trials = Vec::new();
    for (refusal, then) in rows {
        let what = format!("{} at first", refusal.kind);
        let first = refusal.clone();
        trials.push(Trial::new(what, then, move |index| match index {
            0 => SessionScript::refuse(first.clone()),
            _ => well(),
        }));
        let (what, when) = (format!("{} at the restart", refusal.kind), chance.moment());
        trials.push(Trial::new(what, then, move |index| match index {
            0 => well().fault(when, Fault::ResetStream),
            1 => SessionScript::refuse(refusal.clone()),
            _ => well(),
        }));
    }
    trials.push(Trial::new("nobody there, for ever", Ends, |_| {
        SessionScript::refuse(Refusal::unavailable())
    }));
    let silent = |index| match index {
        0 => well().headers(Headers::Never),
        _ => well(),
    };
    trials.push(Trial::new("no headers at first", GoesOn, silent).lasting(10 * SECOND));
    let when = chance.moment();
    let silent = move |index| match index {
        0 => well().fault(when, Fault::ResetTcp),
        1 => well().headers(Headers::Never),
        _ => well(),
    };
    trials.push(Trial::new("no headers at the restart", GoesOn, silent).lasting(12 * SECOND));
    trials
}

/// Awkward and legal: nothing may come of it.
fn habits() -> Vec<Trial> {
    let interrupts = |interruption| Quirks {
        interruption,
        ..Quirks::default()
    };
    let quirks = [
        (
            "no completionEnd",
            Quirks {
                no_completion_end: true,
                ..Quirks::default()
            },
        ),
        (
            "no role",
            Quirks {
                no_role: true,
                ..Quirks::default()
            },
        ),
        (
            "doubled FINAL",
            Quirks {
                double_final: true,
                ..Quirks::default()
            },
        ),
        (
            "doubled SPECULATIVE",
            Quirks {
                double_speculative: true,
                ..Quirks::default()
            },
        ),
        (
            "words in pieces",
            Quirks {
                caller_in_pieces: true,
                ..Quirks::default()
            },
        ),
        (
            "END_TURN before INTERRUPTED",
            interrupts(Interruption::Usual),
        ),
        ("the marker alone", interrupts(Interruption::MarkerOnly)),
        (
            "AUDIO INTERRUPTED alone",
            interrupts(Interruption::AudioOnly),
        ),
    ];
    let mut trials: Vec<_> = quirks
        .into_iter()
        .map(|(what, quirks)| Trial::new(what, GoesOn, move |_| well().quirks(quirks.clone())))
        .collect();
    trials.push(Trial::new("FINAL text 9 s late", GoesOn, |_| {
        SessionScript::converse(Dialogue {
            final_lag: 9 * SECOND,
            ..dialogue()
        })
    }));
    let mut one_stream = Trial::new("one stream a connection", GoesOn, |index| match index {
        0 => well().fault(When::Audio(2 * SECOND), Fault::ResetStream),
        _ => well(),
    });
    one_stream.streams = 1;
    trials.push(one_stream);
    trials
}

/// Nova Sonic checklist 21 to 23, 25 to 27, 40 to 44 and 46; item 3 of what a long call must do.
#[tokio::test(flavor = "multi_thread")]
async fn every_fault_at_a_random_moment_ends_in_recovery_or_a_courteous_end() {
    let mut chance = Chance(20_261_128);
    let mut trials = exceptions(&mut chance);
    trials.extend(transport(&mut chance));
    trials.extend(openings(&mut chance));
    trials.extend(habits());
    let count = trials.len();
    assert!(count > 55, "{count}");
    let failures: Vec<String> = stream::iter(trials)
        .map(|trial| tokio::spawn(run(trial)))
        .buffer_unordered(AT_ONCE)
        .filter_map(async |run| run.expect("no panic").err())
        .collect()
        .await;
    assert!(
        failures.is_empty(),
        "of {count} calls:\n{}",
        failures.join("\n")
    );
}

/// Fewer calls than two cores carry in real time while other tests run beside them.
const AT_ONCE: usize = 12;

async fn run(trial: Trial) -> Result<(), String> {
    let sessions = Arc::clone(&trial.sessions);
    let options = Options {
        max_concurrent_streams: trial.streams,
        script: Some(Script::new(move |opening| sessions(opening.index))),
        ..Options::default()
    };
    let bedrock = FakeBedrock::start(options).await.expect("a port");
    let mut config = NovaSonicConfig::default();
    config.open_timeout = 3 * SECOND;
    config.stall_timeout = 2 * SECOND;
    config.reply_timeout = 4 * SECOND;
    let node = Node::with(bedrock, config).await;
    let carrier = node.carrier(|options| options);
    let began = Instant::now();
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    converse(&call, began + trial.lasts).await;
    let over = Instant::now();
    call.hang_up();
    let end = tokio::time::timeout(20 * SECOND, call.ended()).await;
    let Ok(end) = end else {
        return Err(format!("{}: the call does not end", trial.what));
    };
    node.idle().await;

    let mut wrong = Vec::new();
    let apology = VonageConfig::default().apology;
    let became = match (end, call.spoken().as_slice()) {
        (CallEnd::HungUp, []) => Some(GoesOn),
        (CallEnd::Finished, [spoken]) if *spoken == apology => Some(Ends),
        _ => None,
    };
    if became != Some(trial.then) {
        wrong.push(format!(
            "{end:?} with {:?}, not {:?}",
            call.spoken(),
            trial.then
        ));
    }
    let silence = longest_silence(&call, began, over);
    if silence > 5 * SECOND {
        wrong.push(format!("{silence:?} of silence"));
    }
    if trial.then == GoesOn && !answered_at_last(&call) {
        wrong.push("the caller's last words were not answered".to_owned());
    }
    if node.handle.counts() != Counts::default() || node.model.open_sessions() > 0 {
        wrong.push(format!("left behind: {:?}", node.handle.counts()));
    }
    if !call.violations().is_empty() || !node.bedrock.violations().is_empty() {
        wrong.push(format!(
            "{:?} {:?}",
            call.violations(),
            node.bedrock.violations()
        ));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let sessions: Vec<_> = node
        .bedrock
        .sessions()
        .iter()
        .map(|session| (session.opened, session.refused, session.end.clone()))
        .collect();
    Err(format!("{}: {} {sessions:?}", trial.what, wrong.join("; ")))
}

/// The caller speaks every three seconds, and stays on the line for a while after the last words.
async fn converse(call: &Call, until: Instant) {
    let over = async {
        call.connected().await;
        tokio::time::sleep(Duration::from_millis(1_800)).await;
        while Instant::now() + 4 * SECOND < until {
            call.say(caller_speech());
            call.said().await;
            tokio::time::sleep(2 * SECOND).await;
        }
        call.say(caller_speech());
        call.said().await;
        // Whatever broke is noticed, mended and answered in this time.
        let asked = Instant::now();
        let answered = call.until(|call| words(call).any(|at| at > asked));
        tokio::time::timeout(15 * SECOND, answered).await.ok();
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    tokio::select! {
        () = over => {}
        _ = call.ended() => {}
    }
}

/// The longest stretch in which the caller neither heard anything nor spoke.
fn longest_silence(call: &Call, began: Instant, over: Instant) -> Duration {
    let mut sound: Vec<(Instant, Instant)> = Vec::new();
    let mut free = began;
    for frame in call.arrivals() {
        let begins = free.max(frame.at);
        free = begins + FRAME;
        sound.push((begins, free));
    }
    sound.extend(call.sent().iter().map(|frame| (frame.at, frame.at + FRAME)));
    sound.sort_unstable();
    sound.push((over, over));
    let (mut silent_since, mut longest) = (began, Duration::ZERO);
    for (begins, ends) in sound.into_iter().take_while(|(begins, _)| *begins <= over) {
        longest = longest.max(begins.saturating_duration_since(silent_since));
        silent_since = silent_since.max(ends);
    }
    longest
}

/// Whether the agent said anything after the caller spoke last.
fn answered_at_last(call: &Call) -> bool {
    let asked = call.sent().last().map(|frame| frame.at);
    asked.is_some_and(|asked| words(call).any(|at| at > asked))
}

/// When the agent's words came, tones left out.
fn words(call: &Call) -> impl Iterator<Item = Instant> {
    let frames = call.arrivals().into_iter();
    frames.filter_map(|frame| (!Mark::find_all(&frame.head).is_empty()).then_some(frame.at))
}
