//! What followers of a call are told, while it lasts and afterwards.

use std::{collections::VecDeque, time::Duration};

use futures::{Stream, stream};
use novavoice::{
    call::{CallId, CallStatus, CallSummary, Outcome},
    conversation::AgentState,
    private::Private,
    transcript::{Speaker, Utterance},
};
use tokio::sync::broadcast::{self, error::RecvError};

use super::Calls;

/// What a follower of a call is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// Early words; they may change.
    Caption {
        speaker: Speaker,
        text: Private<String>,
    },
    /// A line that is safely kept.
    Utterance(Utterance),
    /// The agent goes from one state to another.
    State { old: AgentState, new: AgentState },
    /// Nothing more will come.
    Ended {
        status: CallStatus,
        outcome: Outcome,
        duration: Duration,
    },
}

impl Event {
    pub(super) const fn ended(summary: &CallSummary) -> Self {
        Self::Ended {
            status: summary.status,
            outcome: summary.outcome,
            duration: summary.duration,
        }
    }
}

/// What is to be told at once, and where more comes from while the call goes on.
pub(super) type Subscription = (VecDeque<Event>, Option<broadcast::Receiver<Event>>);

/// The events of a call after the line `after`, if the call is known.
pub(super) fn stream(
    calls: Calls,
    call: CallId,
    after: u64,
) -> Option<impl Stream<Item = Event> + Send> {
    let (backlog, live) = calls.subscribe(&call, after)?;
    let follower = Follower {
        calls,
        call,
        after,
        backlog,
        live,
    };
    Some(stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((event, follower))
    }))
}

struct Follower {
    calls: Calls,
    call: CallId,
    /// The last line that was told.
    after: u64,
    backlog: VecDeque<Event>,
    live: Option<broadcast::Receiver<Event>>,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let event = match self.backlog.pop_front() {
                Some(event) => event,
                None => match self.live.as_mut()?.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Closed) => return None,
                    Err(RecvError::Lagged(_)) => {
                        let again = self.calls.subscribe(&self.call, self.after)?;
                        (self.backlog, self.live) = again;
                        continue;
                    }
                },
            };
            match &event {
                Event::Utterance(line) if line.seq <= self.after => continue,
                Event::Utterance(line) => self.after = line.seq,
                Event::Ended { .. } => {
                    self.backlog.clear();
                    self.live = None;
                }
                Event::Caption { .. } | Event::State { .. } => {}
            }
            return Some(event);
        }
    }
}
