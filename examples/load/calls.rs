//! Callers who take turns with the service.

use std::time::{Duration, Instant};

use bytes::Bytes;
use novavoice::{
    audio::SampleRate,
    testkit::vonage::{Arrival, Call, FakeVonage, InboundCall, speech},
};
use tokio::time::{sleep, sleep_until};

use crate::service::now;

/// What one call brought.
#[derive(Default)]
pub(crate) struct Talk {
    /// Every frame that the caller got.
    pub(crate) arrivals: Vec<Arrival>,
    /// Frames that the caller sent, silence included.
    pub(crate) sent: u64,
    /// Per answered turn: when the caller's last word was sent, and how long after it the first
    /// frame of the reply came.
    pub(crate) answers: Vec<(Instant, Duration)>,
    /// Turns that nobody answered.
    pub(crate) unanswered: usize,
    pub(crate) underruns: u32,
    pub(crate) overflows: u32,
    pub(crate) max_depth: usize,
    /// Sockets beyond the first: the first was lost.
    pub(crate) reconnects: u32,
    /// What went wrong, in words.
    pub(crate) violations: Vec<String>,
}

/// Places `calls` calls at `per_second`, lets each talk until `seconds` after the last one was
/// placed, and hangs up. Returns also the span in which all of them were up.
pub(crate) async fn run(
    vonage: &FakeVonage,
    calls: usize,
    per_second: f64,
    seconds: Duration,
) -> (Vec<Talk>, (Instant, Instant)) {
    let words = speech(TURN, SampleRate::Hz16000);
    let begin = now();
    let end = begin + Duration::from_secs_f64(calls as f64 / per_second) + seconds;
    let mut tasks = Vec::with_capacity(calls);
    for number in 0..calls {
        let due = begin + Duration::from_secs_f64(number as f64 / per_second);
        sleep_until(due.into()).await;
        let (vonage, words) = (vonage.clone(), words.clone());
        tasks.push(tokio::spawn(async move {
            talk(&vonage, number, words, end).await
        }));
    }
    let up = now();
    let mut talks = Vec::with_capacity(calls);
    for task in tasks {
        talks.push(task.await.unwrap_or_else(|error| failed(error.to_string())));
    }
    (talks, (up, end))
}

async fn talk(vonage: &FakeVonage, number: usize, words: Bytes, end: Instant) -> Talk {
    let from = format!("1212555{number:04}");
    let call = match vonage
        .place_inbound(InboundCall::new(from, "442079460000"))
        .await
    {
        Ok(call) => call,
        Err(error) => return failed(error.to_string()),
    };
    if !call.connected().await {
        return collect(&call, Turns::default());
    }
    let mut turns = Turns::default();
    // Whatever the service does, a call ends.
    let limit = end + PATIENCE * 2;
    if tokio::time::timeout_at(limit.into(), turns.take(&call, &words, end))
        .await
        .is_err()
    {
        turns.unanswered += 1;
    }
    call.hang_up();
    call.ended().await;
    collect(&call, turns)
}

/// The turns of one call.
#[derive(Default)]
struct Turns {
    answers: Vec<(Instant, Duration)>,
    unanswered: usize,
}

impl Turns {
    async fn take(&mut self, call: &Call, words: &Bytes, end: Instant) {
        // A greeting may come, or not.
        sleep(PAUSE).await;
        quiet(call).await;
        while now() < end && !call.is_over() {
            let heard = call.heard_for();
            call.say(words.clone());
            call.said().await;
            let Some(asked) = call.sent().last().map(|frame| frame.at) else {
                return;
            };
            let more = call.wait_heard(heard + Duration::from_millis(20));
            match tokio::time::timeout(PATIENCE, more).await {
                Ok(true) => {
                    let first = call.arrivals().into_iter().find(|frame| frame.at > asked);
                    self.answers
                        .extend(first.map(|frame| (asked, frame.at - asked)));
                    quiet(call).await;
                }
                Ok(false) | Err(_) => self.unanswered += 1,
            }
        }
    }
}

/// Waits until nothing was heard for a while.
async fn quiet(call: &Call) {
    loop {
        let heard = call.heard_for();
        sleep(PAUSE).await;
        if call.heard_for() == heard {
            return;
        }
    }
}

fn collect(call: &Call, turns: Turns) -> Talk {
    let mut violations: Vec<String> = call.violations().iter().map(ToString::to_string).collect();
    violations.extend(
        call.refusals()
            .iter()
            .map(|status| format!("the socket was refused with {status}")),
    );
    if call.connections() == 0 {
        violations.push("the call never got a socket".to_owned());
    }
    Talk {
        arrivals: call.arrivals(),
        sent: call.frames_sent(),
        answers: turns.answers,
        unanswered: turns.unanswered,
        underruns: call.underruns(),
        overflows: call.overflows(),
        max_depth: call.max_depth(),
        reconnects: call.connections().saturating_sub(1),
        violations,
    }
}

fn failed(why: String) -> Talk {
    Talk {
        violations: vec![why],
        ..Talk::default()
    }
}

/// How long a caller speaks.
const TURN: Duration = Duration::from_millis(1_200);

/// A silence that ends a reply; longer than any pause inside one.
const PAUSE: Duration = Duration::from_millis(800);

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
