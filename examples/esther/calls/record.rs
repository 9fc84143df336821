//! What is remembered of one call.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use novavoice::{
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Party},
    conversation::{AgentState, StageLatencies, TurnLatency},
    model::Usage,
    private::Private,
    telephony::PlacedEnd,
    transcript::{Speaker, Utterance},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::{
    events::{Event, Subscription},
    packed::{Packed, Store},
};

pub(super) struct Record {
    direction: Direction,
    started: Timestamp,
    /// Whether the agent has had the call.
    reached: bool,
    end: Option<CallSummary>,
    /// The last change of the agent's state.
    state: Option<(AgentState, AgentState)>,
    who: Packed<Who>,
    talk: Packed<Talk>,
    /// Captions of lines that are not there yet.
    captions: VecDeque<(Speaker, Private<String>)>,
    /// Where followers listen; gone once the call is over.
    live: Option<broadcast::Sender<Event>>,
}

/// Packed apart from what was said, as lists of calls show it.
#[derive(Default, Serialize, Deserialize)]
struct Who {
    id: Option<CallId>,
    remote: Option<Party>,
}

/// What takes most of the room.
#[derive(Default, Serialize, Deserialize)]
struct Talk {
    /// The last ones.
    lines: VecDeque<Utterance>,
    latency: StageLatencies,
}

impl Record {
    /// The record of a call that begins.
    pub(super) fn new(info: &CallInfo) -> Self {
        let who = Who {
            id: Some(info.id.clone()),
            remote: info.remote.clone(),
        };
        Self {
            direction: info.direction,
            started: info.started,
            reached: true,
            end: None,
            state: None,
            who: Packed::new(who),
            talk: Packed::new(Talk::default()),
            captions: VecDeque::new(),
            live: Some(broadcast::Sender::new(EVENTS_AHEAD)),
        }
    }

    /// The record of a call that was placed and rings.
    pub(super) fn placed(info: &CallInfo) -> Self {
        Self {
            reached: false,
            ..Self::new(info)
        }
    }

    /// Whether it is among `calls`.
    pub(super) fn is_among(&self, calls: &[CallId]) -> bool {
        let is_among = |who: &Who| who.id.as_ref().is_some_and(|id| calls.contains(id));
        self.who.with(is_among)
    }

    pub(super) const fn is_live(&self) -> bool {
        self.end.is_none()
    }

    /// Whether the call was placed and has not reached the agent yet.
    pub(super) const fn is_waiting(&self) -> bool {
        self.is_live() && !self.reached
    }

    /// The call reaches the agent, or goes on after all.
    pub(super) fn resume(&mut self, info: &CallInfo) {
        if !self.reached {
            (self.direction, self.started) = (info.direction, info.started);
            self.who.open().remote.clone_from(&info.remote);
            self.reached = true;
        }
        self.end = None;
        // Those who follow it already go on doing so.
        self.live
            .get_or_insert_with(|| broadcast::Sender::new(EVENTS_AHEAD));
    }

    /// The call is over, and the agent never had it.
    pub(super) fn end_unanswered(&mut self, end: &PlacedEnd, at: Timestamp, packed: &mut Store) {
        if self.is_waiting() {
            let length = end.duration.unwrap_or_default();
            let summary = CallSummary::new(end.status, end.outcome, at, length);
            self.end(summary, packed);
        }
    }

    pub(super) fn caption(&mut self, speaker: Speaker, text: &str) {
        if self.captions.len() == CAPTIONS_KEPT {
            self.captions.pop_front();
        }
        let text = Private::new(text.to_owned());
        self.captions.push_back((speaker, text.clone()));
        self.tell(Event::Caption { speaker, text });
    }

    pub(super) fn line(&mut self, line: &Utterance) {
        self.captions
            .retain(|(speaker, _)| *speaker != line.speaker);
        let lines = &mut self.talk.open().lines;
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line.clone());
        self.tell(Event::Utterance(line.clone()));
    }

    pub(super) fn turn(&mut self, latency: &TurnLatency) {
        self.talk.open().latency.record(latency);
    }

    pub(super) fn state(&mut self, old: AgentState, new: AgentState) {
        self.state = Some((old, new));
        self.tell(Event::State { old, new });
    }

    /// The call is over. What is kept of it goes to `packed`.
    pub(super) fn end(&mut self, mut summary: CallSummary, packed: &mut Store) {
        self.tell(Event::ended(&summary));
        summary.prompt_version = None;
        self.end = Some(summary);
        self.live = None;
        self.captions = VecDeque::new();
        self.who.pack(packed);
        self.talk.pack(packed);
    }

    /// What has happened after the line `after`, and where more comes from.
    pub(super) fn subscribe(&self, after: u64) -> Subscription {
        let lines = self.lines(after).into_iter();
        let mut backlog: VecDeque<_> = lines.map(Event::Utterance).collect();
        if let Some(summary) = &self.end {
            backlog.push_back(Event::ended(summary));
            return (backlog, None);
        }
        let captions = self.captions.iter().cloned();
        backlog.extend(captions.map(|(speaker, text)| Event::Caption { speaker, text }));
        backlog.extend(self.state.map(|(old, new)| Event::State { old, new }));
        let live = self.live.as_ref().map(broadcast::Sender::subscribe);
        (backlog, live)
    }

    pub(super) fn duration(&self, now: Timestamp) -> Duration {
        match &self.end {
            Some(summary) => summary.duration,
            None => now
                .duration_since(self.started)
                .try_into()
                .unwrap_or_default(),
        }
    }

    /// As `GET /calls/active` names things.
    pub(super) fn as_active(&self, now: Timestamp) -> Value {
        self.who.with(|who| {
            json!({
                "id": who.id,
                "status": CallStatus::InProgress,
                "duration": seconds(self.duration(now)),
                "direction": self.direction,
                "phone": who.remote.as_ref().map(Party::reveal),
                "started": self.started,
                "state": self.state.map(|(_, new)| new.as_str()),
            })
        })
    }

    /// Under the names of the table `CALL_RECORDS_TABLE`.
    pub(super) fn to_json(&self, now: Timestamp) -> Value {
        let end = self.end.as_ref();
        self.who.with(|who| {
            json!({
                "call_uuid": who.id,
                "phone_number": who.remote.as_ref().map(Party::reveal),
                "direction": self.direction,
                "status": end.map_or(CallStatus::InProgress, |end| end.status),
                "outcome": end.map(|end| end.outcome),
                "start_time": self.started,
                "end_time": end.map(|end| end.ended),
                "duration_seconds": seconds(self.duration(now)),
                "usage": end.map_or_else(Usage::default, |end| end.usage),
                "cost_usd": end.and_then(|end| end.cost_usd),
                "transfer": end.and_then(|end| end.transfer),
                "failure": end.and_then(|end| end.failure.as_deref()),
            })
        })
    }

    /// The lines after the line `seq`; of a very long call, the last ones.
    pub(super) fn lines(&self, seq: u64) -> Vec<Utterance> {
        self.talk.with(|talk| {
            let later = talk.lines.iter().filter(|line| line.seq > seq);
            later.cloned().collect()
        })
    }

    /// How fast the agent answered, stage by stage, from the end of the caller's words.
    pub(super) fn latency_ms(&self) -> Value {
        let millis = |length: Option<Duration>| {
            length.and_then(|length| u64::try_from(length.as_millis()).ok())
        };
        self.talk.with(|talk| {
            let stages = talk.latency.stages().into_iter().map(|(stage, lengths)| {
                let quantiles = json!({
                    "count": lengths.count(),
                    "p50": millis(lengths.p50()),
                    "p90": millis(lengths.p90()),
                    "p99": millis(lengths.p99()),
                });
                (stage.to_owned(), quantiles)
            });
            Value::Object(stages.collect())
        })
    }

    fn tell(&self, event: Event) {
        if let Some(live) = &self.live {
            // An error only says that nobody listens.
            live.send(event).ok();
        }
    }
}

/// Seconds with whole milliseconds, as transcript files have them.
pub(crate) fn seconds(duration: Duration) -> f64 {
    Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000).as_secs_f64()
}

/// Hours of talk. Of a longer call the first lines are in its transcript file alone.
const LINES_KEPT: usize = 5_000;
/// A long reply. Older captions are of no use.
const CAPTIONS_KEPT: usize = 20;
/// What a follower may be late by before it is caught up from the record.
const EVENTS_AHEAD: usize = 64;
