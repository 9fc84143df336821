//! The calls of this process, live and finished, for the API and the dashboard: kept in memory,
//! and so forgotten with the process. Transcript files are what lasts.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, stream};
use jiff::Timestamp;
use novavoice::{
    call::{CallId, CallInfo, CallStatus, CallSummary, Outcome, Party},
    model::Usage,
    transcript::{Speaker, Utterance},
};
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// The record. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    records: HashMap<CallId, Record>,
    /// Call ids by their number, so by age.
    by_age: BTreeMap<u64, CallId>,
    last_number: u64,
}

struct Record {
    number: u64,
    info: CallInfo,
    end: Option<CallSummary>,
    /// The last change of the agent's state.
    state: Option<(String, String)>,
    lines: VecDeque<Utterance>,
    /// Captions of lines that are not there yet.
    captions: VecDeque<(Speaker, String)>,
    /// Where followers listen; gone once the call is over.
    live: Option<broadcast::Sender<Event>>,
}

/// What a follower of a call is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// Early words; they may change.
    Caption { speaker: Speaker, text: String },
    /// A line that is safely kept.
    Utterance(Utterance),
    /// The agent goes from one state to another.
    State { old: String, new: String },
    /// Nothing more will come.
    Ended {
        status: CallStatus,
        outcome: Outcome,
        duration: Duration,
    },
}

/// One page of records.
pub(crate) struct Page {
    /// Newest first.
    pub(crate) calls: Vec<Value>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<u64>,
}

impl Calls {
    /// A call began, or goes on after its socket was lost.
    pub(crate) fn started(&self, info: &CallInfo) {
        let mut inner = self.lock();
        let live = Some(broadcast::Sender::new(EVENTS_AHEAD));
        if let Some(record) = inner.records.get_mut(&info.id) {
            record.end = None;
            record.live = live;
            return;
        }
        inner.last_number += 1;
        let number = inner.last_number;
        inner.by_age.insert(number, info.id.clone());
        let record = Record {
            number,
            info: info.clone(),
            end: None,
            state: None,
            lines: VecDeque::new(),
            captions: VecDeque::new(),
            live,
        };
        inner.records.insert(info.id.clone(), record);
        inner.forget_oldest();
    }

    /// Early words.
    pub(crate) fn caption(&self, call: &CallId, speaker: Speaker, text: &str) {
        self.with(call, |record| {
            if record.captions.len() == CAPTIONS_KEPT {
                record.captions.pop_front();
            }
            record.captions.push_back((speaker, text.to_owned()));
            let text = text.to_owned();
            record.tell(Event::Caption { speaker, text });
        });
    }

    /// A line that is safely kept.
    pub(crate) fn line(&self, call: &CallId, line: &Utterance) {
        self.with(call, |record| {
            if record.lines.len() == LINES_KEPT {
                record.lines.pop_front();
            }
            record
                .captions
                .retain(|(speaker, _)| *speaker != line.speaker);
            record.lines.push_back(line.clone());
            record.tell(Event::Utterance(line.clone()));
        });
    }

    /// The agent's state changed.
    pub(crate) fn state(&self, call: &CallId, old: &str, new: &str) {
        self.with(call, |record| {
            let (old, new) = (old.to_owned(), new.to_owned());
            record.state = Some((old.clone(), new.clone()));
            record.tell(Event::State { old, new });
        });
    }

    /// A call is over.
    pub(crate) fn ended(&self, call: &CallId, summary: &CallSummary) {
        self.with(call, |record| record.end(summary.clone()));
    }

    /// Ends every call that is not among `live`: its end was missed.
    pub(crate) fn keep_live(&self, live: &[CallId], now: Timestamp) {
        let mut inner = self.lock();
        let records = inner.records.values_mut();
        let over = |record: &&mut Record| record.end.is_none() && !live.contains(&record.info.id);
        for record in records.filter(over) {
            let length = record.duration(now);
            let summary = CallSummary::new(CallStatus::Completed, Outcome::Completed, now, length);
            record.end(summary);
        }
    }

    /// Calls that are going on, newest first.
    pub(crate) fn active(&self, now: Timestamp) -> Vec<Value> {
        let inner = self.lock();
        let live = inner.newest_first(u64::MAX);
        live.filter(|record| record.end.is_none())
            .map(|record| {
                json!({
                    "id": record.info.id,
                    "status": CallStatus::InProgress,
                    "duration": seconds(record.duration(now)),
                    "direction": record.info.direction,
                    "phone": record.info.remote.as_ref().map(Party::reveal),
                    "started": record.info.started,
                    "state": record.state.as_ref().map(|(_, new)| new),
                })
            })
            .collect()
    }

    /// At most `limit` records of calls that are older than the one with the number `before`.
    pub(crate) fn page(&self, before: Option<u64>, limit: usize, now: Timestamp) -> Page {
        let inner = self.lock();
        let mut older = inner.newest_first(before.unwrap_or(u64::MAX)).peekable();
        let mut calls = Vec::new();
        let mut last = None;
        while let Some(record) = older.next_if(|_| calls.len() < limit) {
            calls.push(record.to_json(now));
            last = Some(record.number);
        }
        Page {
            calls,
            next: last.filter(|_| older.peek().is_some()),
        }
    }

    /// One record with its transcript.
    pub(crate) fn get(&self, call: &CallId, now: Timestamp) -> Option<Value> {
        let inner = self.lock();
        let record = inner.records.get(call)?;
        let mut value = record.to_json(now);
        value["utterances"] = json!(record.lines);
        Some(value)
    }

    /// Whether the call is going on.
    #[cfg(test)]
    pub(crate) fn is_live(&self, call: &CallId) -> bool {
        let inner = self.lock();
        inner
            .records
            .get(call)
            .is_some_and(|record| record.end.is_none())
    }

    /// Everything that happens in a call from now on, after the lines that came behind `after`,
    /// the captions of what has no line yet, and the state of the moment. Ends with the call. A follower that is too slow misses
    /// captions, never lines.
    pub(crate) fn follow(
        &self,
        call: &CallId,
        after: u64,
    ) -> Option<impl Stream<Item = Event> + Send + use<>> {
        let (backlog, live) = self.subscribe(call, after)?;
        let follower = Follower {
            calls: self.clone(),
            call: call.clone(),
            after,
            backlog,
            live,
        };
        Some(stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        }))
    }

    fn subscribe(&self, call: &CallId, after: u64) -> Option<Subscription> {
        let inner = self.lock();
        let record = inner.records.get(call)?;
        let lines = record.lines.iter().filter(|line| line.seq > after);
        let mut backlog: VecDeque<_> = lines.cloned().map(Event::Utterance).collect();
        if let Some(summary) = &record.end {
            backlog.push_back(ended(summary));
            return Some((backlog, None));
        }
        let captions = record.captions.iter().cloned();
        backlog.extend(captions.map(|(speaker, text)| Event::Caption { speaker, text }));
        let state = record.state.iter().cloned();
        backlog.extend(state.map(|(old, new)| Event::State { old, new }));
        let live = record.live.as_ref().map(broadcast::Sender::subscribe);
        Some((backlog, live))
    }

    fn with(&self, call: &CallId, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.lock().records.get_mut(call) {
            change(record);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn newest_first(&self, before: u64) -> impl Iterator<Item = &Record> {
        let ids = self.by_age.range(..before).rev();
        ids.filter_map(|(_, id)| self.records.get(id))
    }

    /// Live calls are never forgotten: their number is limited elsewhere.
    fn forget_oldest(&mut self) {
        if self.records.len() <= CALLS_KEPT {
            return;
        }
        let over = |id: &&CallId| self.records.get(*id).is_some_and(|call| call.end.is_some());
        if let Some(id) = self.by_age.values().find(over).cloned()
            && let Some(record) = self.records.remove(&id)
        {
            self.by_age.remove(&record.number);
        }
    }
}

impl Record {
    fn tell(&self, event: Event) {
        if let Some(live) = &self.live {
            // An error only says that nobody listens.
            live.send(event).ok();
        }
    }

    fn end(&mut self, summary: CallSummary) {
        self.tell(ended(&summary));
        self.end = Some(summary);
        self.live = None;
    }

    fn duration(&self, now: Timestamp) -> Duration {
        match &self.end {
            Some(summary) => summary.duration,
            None => now
                .duration_since(self.info.started)
                .try_into()
                .unwrap_or_default(),
        }
    }

    /// The record under the names of the table `CALL_RECORDS_TABLE`.
    fn to_json(&self, now: Timestamp) -> Value {
        let end = self.end.as_ref();
        json!({
            "call_uuid": self.info.id,
            "phone_number": self.info.remote.as_ref().map(Party::reveal),
            "direction": self.info.direction,
            "status": end.map_or(CallStatus::InProgress, |end| end.status),
            "outcome": end.map(|end| end.outcome),
            "start_time": self.info.started,
            "end_time": end.map(|end| end.ended),
            "duration_seconds": seconds(self.duration(now)),
            "usage": end.map_or_else(Usage::default, |end| end.usage),
        })
    }
}

/// What is to be told at once, and where more comes from while the call goes on.
type Subscription = (VecDeque<Event>, Option<broadcast::Receiver<Event>>);

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
                    Err(broadcast::error::RecvError::Closed) => return None,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
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

fn ended(summary: &CallSummary) -> Event {
    Event::Ended {
        status: summary.status,
        outcome: summary.outcome,
        duration: summary.duration,
    }
}

/// Seconds with whole milliseconds, as transcript files have them.
pub(crate) fn seconds(duration: Duration) -> f64 {
    Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000).as_secs_f64()
}

/// Enough to look back on a day; a few megabytes.
const CALLS_KEPT: usize = 1_000;
/// Hours of talk. Of a longer call the first lines are in its transcript file alone.
const LINES_KEPT: usize = 5_000;
/// A long reply. Older captions are of no use.
const CAPTIONS_KEPT: usize = 20;
/// What a follower may be late by before it is caught up from the record.
const EVENTS_AHEAD: usize = 64;

#[cfg(test)]
pub(crate) mod tests {
    use futures::StreamExt;
    use novavoice::{audio::SampleRate, call::Direction};

    use super::*;

    pub(crate) const NOW: Timestamp = Timestamp::constant(1_782_160_532, 0);

    pub(crate) fn info(id: &str) -> CallInfo {
        let id = CallId::new(id);
        CallInfo::new(id, Direction::Inbound, NOW, SampleRate::Hz16000)
    }

    pub(crate) fn line(seq: u64, text: &str) -> Utterance {
        Utterance {
            seq,
            at: NOW,
            speaker: Speaker::Caller,
            text: text.to_owned(),
            cut: false,
        }
    }

    pub(crate) fn summary() -> CallSummary {
        let length = Duration::from_millis(61_500);
        CallSummary::new(CallStatus::Completed, Outcome::Scheduled, NOW, length)
    }

    fn told(seq: u64, text: &str) -> Event {
        Event::Utterance(line(seq, text))
    }

    #[tokio::test]
    async fn a_follower_hears_what_was_said_and_then_what_happens() {
        let (calls, call) = (Calls::default(), CallId::new("a"));
        calls.started(&info("a"));
        calls.line(&call, &line(1, "one"));
        calls.line(&call, &line(2, "two"));
        let follower = calls.follow(&call, 1).expect("a known call");
        calls.caption(&call, Speaker::Agent, "early");
        calls.line(&call, &line(3, "three"));
        calls.ended(&call, &summary());
        let events: Vec<_> = follower.collect().await;
        let caption = Event::Caption {
            speaker: Speaker::Agent,
            text: "early".to_owned(),
        };
        let all = [told(2, "two"), caption, told(3, "three"), ended(&summary())];
        assert_eq!(events, all);
    }

    #[tokio::test]
    async fn a_late_follower_sees_the_captions_of_what_has_no_line_yet() {
        let (calls, call) = (Calls::default(), CallId::new("a"));
        let caption = |speaker, text: &str| Event::Caption {
            speaker,
            text: text.to_owned(),
        };
        calls.started(&info("a"));
        calls.caption(&call, Speaker::Caller, "one");
        calls.line(&call, &line(1, "one"));
        calls.caption(&call, Speaker::Agent, "two");
        calls.state(&call, "thinking", "speaking");
        let follower = calls.follow(&call, 0).expect("known");
        let state = Event::State {
            old: "thinking".to_owned(),
            new: "speaking".to_owned(),
        };
        let events: Vec<_> = follower.take(3).collect().await;
        assert_eq!(
            events,
            [told(1, "one"), caption(Speaker::Agent, "two"), state]
        );
    }

    #[tokio::test]
    async fn a_slow_follower_misses_no_line() {
        let (calls, call) = (Calls::default(), CallId::new("a"));
        calls.started(&info("a"));
        let follower = calls.follow(&call, 0).expect("a known call");
        for seq in 1..=500 {
            calls.caption(&call, Speaker::Caller, "early");
            calls.line(&call, &line(seq, "more"));
        }
        calls.ended(&call, &summary());
        let events: Vec<_> = follower.collect().await;
        let lines = events.iter().filter_map(|event| match event {
            Event::Utterance(line) => Some(line.seq),
            _ => None,
        });
        assert!(lines.eq(1..=500));
        assert_eq!(events.last(), Some(&ended(&summary())));
    }

    #[tokio::test]
    async fn a_finished_call_is_told_to_its_end() {
        let (calls, call) = (Calls::default(), CallId::new("a"));
        calls.started(&info("a"));
        calls.line(&call, &line(1, "one"));
        calls.ended(&call, &summary());
        let events: Vec<_> = calls.follow(&call, 0).expect("known").collect().await;
        assert_eq!(events, [told(1, "one"), ended(&summary())]);
        assert!(calls.follow(&CallId::new("b"), 0).is_none());
    }

    #[test]
    fn pages_go_from_new_to_old_without_gaps() {
        let calls = Calls::default();
        for number in 0..5 {
            calls.started(&info(&format!("call-{number}")));
        }
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = calls.page(before, 2, NOW);
            seen.extend(page.calls.iter().map(|call| call["call_uuid"].clone()));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["call-4", "call-3", "call-2", "call-1", "call-0"]);
    }

    #[test]
    fn old_calls_are_forgotten_and_live_ones_never() {
        let calls = Calls::default();
        calls.started(&info("live"));
        for number in 0..CALLS_KEPT * 2 {
            let info = info(&format!("call-{number}"));
            calls.started(&info);
            calls.ended(&info.id, &summary());
        }
        assert_eq!(calls.lock().records.len(), CALLS_KEPT);
        assert_eq!(calls.lock().by_age.len(), CALLS_KEPT);
        assert!(calls.is_live(&CallId::new("live")));
    }

    #[test]
    fn a_call_whose_end_was_missed_does_not_go_on_for_ever() {
        let calls = Calls::default();
        for name in ["here", "gone"] {
            calls.started(&info(name));
        }
        calls.keep_live(&[CallId::new("here")], NOW);
        assert!(calls.is_live(&CallId::new("here")));
        assert!(!calls.is_live(&CallId::new("gone")));
    }

    #[test]
    fn a_call_that_comes_back_keeps_its_record() {
        let (calls, call) = (Calls::default(), CallId::new("a"));
        calls.started(&info("a"));
        calls.line(&call, &line(1, "one"));
        calls.ended(&call, &summary());
        calls.started(&info("a"));
        calls.line(&call, &line(2, "two"));
        let record = calls.get(&call, NOW).expect("known");
        assert_eq!(record["status"], "in_progress");
        assert_eq!(record["utterances"].as_array().map(Vec::len), Some(2));
    }
}
