//! The people on the phone: they listen for their cue and speak.

use std::{collections::HashMap, sync::Arc, time::Duration};

use novavoice::{
    audio::SampleRate,
    testkit::{
        vonage::{Call, Callee, Reaction, RestServer, tone},
        words,
    },
};
use tokio::{task::JoinSet, time::sleep};

use super::stories::{Cue, Reached, Story};

/// How long it takes to say something: about twice as fast as people do, so that nobody waits.
pub(super) fn talking(words: &str) -> Duration {
    let letters = u32::try_from(words.chars().count()).unwrap_or(u32::MAX);
    BREATH + A_LETTER * letters
}

/// Who answers where, and how.
pub(super) fn callee(reached: Reached) -> Callee {
    let (does, rings) = match reached {
        Reached::Person => (Reaction::Answers, 600),
        Reached::Machine | Reached::Screener => (Reaction::Records, 1_200),
        Reached::Busy => (Reaction::Busy, 400),
        Reached::Nobody => (Reaction::Unreachable("timeout"), 9_000),
        Reached::OutOfService => (Reaction::Fails("number_out_of_service"), 200),
    };
    Callee {
        rings: Duration::from_millis(rings),
        verdict: CARRIER_LISTENS,
        ..Callee::that(does)
    }
}

/// Plays everybody who is called over `rest`, until it is dropped.
pub(super) async fn play(rest: Arc<RestServer>, stories: HashMap<String, Story>) {
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            call = rest.next_call() => match stories.get(call.number()).cloned() {
                Some(story) => drop(calls.spawn(act(call, story))),
                // Nobody of whom there is a story; dropping it hangs up.
                None => tracing::error!("somebody is called of whom there is no story"),
            },
            Some(_) = calls.join_next() => {}
        }
    }
}

/// One person in one call, to its end.
async fn act(call: Call, story: Story) {
    if call.connected().await {
        for turn in &story.turns {
            if !listen(&call, turn.cue).await {
                return;
            }
            let sound = match turn.cue {
                Cue::Beep => tone(BEEP_HERTZ, BEEP, SampleRate::Hz16000),
                _ => words::spoken(&turn.person, talking(&turn.person), SampleRate::Hz16000),
            };
            call.say(sound);
            if !call.said().await {
                return;
            }
        }
        if let Some(cue) = story.hangs_up {
            listen(&call, cue).await;
            call.hang_up();
        }
    }
    call.ended().await;
}

/// Waits for a cue. `false`: the call ended first.
async fn listen(call: &Call, cue: Cue) -> bool {
    let heard = call.heard_for();
    match cue {
        Cue::AtOnce | Cue::Beep => {
            sleep(A_MOMENT).await;
            !call.is_over()
        }
        Cue::Over(millis) => call.wait_heard(heard + Duration::from_millis(millis)).await,
        Cue::Pause => call.wait_heard(heard + A_WORD).await && silence(call).await,
    }
}

/// Waits until nothing more is heard. `false`: the call ended first.
async fn silence(call: &Call) -> bool {
    let (mut last, mut quiet) = (call.heard_for(), Duration::ZERO);
    while quiet < PAUSE {
        sleep(LOOK).await;
        let heard = call.heard_for();
        quiet = match heard == last {
            true => quiet + LOOK,
            false => Duration::ZERO,
        };
        last = heard;
        if call.is_over() {
            return false;
        }
    }
    true
}

const BREATH: Duration = Duration::from_millis(250);
const A_LETTER: Duration = Duration::from_millis(32);
/// Before somebody who has picked up speaks, and before a machine beeps.
const A_MOMENT: Duration = Duration::from_millis(500);
/// Less than this is not the agent's turn yet.
const A_WORD: Duration = Duration::from_millis(300);
/// The agent is through when it says nothing for so long.
const PAUSE: Duration = Duration::from_millis(480);
const LOOK: Duration = Duration::from_millis(40);
const BEEP: Duration = Duration::from_millis(400);
const BEEP_HERTZ: f64 = 1_000.0;
/// From the answer to the carrier's word on who answered.
const CARRIER_LISTENS: Duration = Duration::from_millis(2_500);
