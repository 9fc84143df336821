//! What the tools of a call have done so far: which times they offered, and what came of it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use novavoice::{
    ProviderError,
    booking::Meeting,
    call::{CallId, CallInfo, CallStatus, CallSummary, Outcome},
    state::StateStore,
    transcript::{TranscriptSink, Utterance},
};
use tokio::time::timeout;

use crate::heard;

/// The notes of all calls that go on. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    notes: HashMap<CallId, Note>,
    by_age: VecDeque<CallId>,
}

/// What is noted of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    /// Starts that may be booked, newest last.
    offered: Vec<Timestamp>,
    /// Meetings that were booked in this call.
    pub(crate) booked: Vec<Meeting>,
    /// What came of the call, as far as the model has said.
    pub(crate) outcome: Option<Outcome>,
    /// When they want to be called again.
    pub(crate) call_again: Option<Timestamp>,
    /// Another node was told that a machine answered.
    machine: bool,
    /// One change of the calendar at a time.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Note {
    /// A meeting may begin there: the caller heard of it.
    pub(crate) fn was_offered(&self, start: Timestamp) -> bool {
        self.offered.contains(&start)
    }

    pub(crate) fn offer(&mut self, starts: &[Timestamp]) {
        self.offered.retain(|start| !starts.contains(start));
        self.offered.extend(starts);
        let most = self.offered.len().saturating_sub(OFFERS);
        self.offered.drain(..most);
    }

    /// Whoever asked not to be called again has asked so whatever else they said.
    pub(crate) fn came_to(&mut self, outcome: Option<Outcome>) {
        if self.outcome != Some(Outcome::DoNotCall) {
            self.outcome = outcome;
        }
    }

    /// What came of the call, given what the line says. A machine may be talked to for a while;
    /// what a person agreed to counts all the same.
    fn judge(&self, line: Outcome) -> Outcome {
        match (self.outcome, line) {
            (Some(said @ (Outcome::Scheduled | Outcome::DoNotCall)), _)
            | (Some(said), Outcome::Completed | Outcome::Failed | Outcome::Abandoned) => said,
            _ => line,
        }
    }
}

impl Notes {
    /// What is noted of a call.
    pub(crate) fn of(&self, call: &CallId) -> Note {
        self.change(call, |note| note.clone())
    }

    /// Notes something.
    pub(crate) fn change<T>(&self, call: &CallId, change: impl FnOnce(&mut Note) -> T) -> T {
        let mut inner = self.lock();
        if !inner.notes.contains_key(call) {
            inner.by_age.push_back(call.clone());
            if inner.by_age.len() > CALLS
                && let Some(oldest) = inner.by_age.pop_front()
            {
                inner.notes.remove(&oldest);
            }
        }
        change(inner.notes.entry(call.clone()).or_default())
    }

    /// The call is over and everything that it came to is handed on.
    pub(crate) fn forget(&self, call: &CallId) {
        let mut inner = self.lock();
        inner.notes.remove(call);
        inner.by_age.retain(|other| other != call);
    }

    /// The end of a call with what was agreed in it.
    pub(crate) fn judge(&self, call: &CallId, mut summary: CallSummary) -> CallSummary {
        if let Some(note) = self.lock().notes.get(call) {
            if note.machine && summary.outcome == Outcome::Completed {
                (summary.status, summary.outcome) = (CallStatus::Voicemail, Outcome::Voicemail);
            }
            summary.outcome = note.judge(summary.outcome);
        }
        summary
    }

    /// When whoever was called wants to be called again.
    pub(crate) fn call_again(&self, call: &CallId) -> Option<Timestamp> {
        self.lock().notes.get(call)?.call_again
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sink whose calls end with what was agreed in them.
#[derive(Clone, Debug)]
pub(crate) struct Judged<S> {
    pub(crate) sink: S,
    pub(crate) notes: Notes,
    /// Where other nodes keep who answered, if there are any.
    pub(crate) elsewhere: Option<Arc<dyn StateStore>>,
}

impl<S: Sync> Judged<S> {
    /// A call may end before this node has asked who answered.
    async fn ask_who_answered(&self, call: &CallId, summary: &CallSummary) {
        let Some(state) = &self.elsewhere else { return };
        if summary.outcome != Outcome::Completed {
            return;
        }
        match timeout(PATIENCE, heard::is_machine(&**state, call)).await {
            Ok(Ok(Some(true))) => self.notes.change(call, |note| note.machine = true),
            Ok(Ok(Some(false) | None)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "who answered cannot be looked up"),
            Err(_) => tracing::debug!("who answered is not known in time"),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: TranscriptSink> TranscriptSink for Judged<S> {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        self.sink.start(call).await
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        self.sink.record(call, line).await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        self.ask_who_answered(call, summary).await;
        let summary = self.notes.judge(call, summary.clone());
        self.sink.end(call, &summary).await
    }

    async fn record_all(&self, call: &CallId, lines: &[Utterance]) -> Result<(), ProviderError> {
        self.sink.record_all(call, lines).await
    }

    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        self.sink.read_back(call, after).await
    }
}

/// The record of a call that is over may wait so long.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than a caller remembers.
const OFFERS: usize = 60;
/// Far more calls than a process carries.
const CALLS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_not_to_be_called_is_not_called() {
        let mut note = Note::default();
        assert_eq!(note.judge(Outcome::Completed), Outcome::Completed);
        note.came_to(Some(Outcome::NotInterested));
        assert_eq!(note.judge(Outcome::Completed), Outcome::NotInterested);
        assert_eq!(note.judge(Outcome::Voicemail), Outcome::Voicemail);
        note.came_to(Some(Outcome::DoNotCall));
        note.came_to(Some(Outcome::Scheduled));
        note.came_to(None);
        for line in [Outcome::Completed, Outcome::Voicemail, Outcome::Failed] {
            assert_eq!(note.judge(line), Outcome::DoNotCall);
        }
    }

    #[test]
    fn notes_are_few_and_go_with_their_call() {
        let notes = Notes::default();
        let call = |number: usize| CallId::new(number.to_string());
        for number in 0..=CALLS {
            notes.change(&call(number), |note| note.outcome = Some(Outcome::FollowUp));
        }
        assert_eq!(notes.lock().notes.len(), CALLS);
        assert_eq!(notes.lock().by_age.len(), CALLS);
        assert!(!notes.lock().notes.contains_key(&call(0)), "the oldest");
        notes.forget(&call(7));
        assert_eq!(notes.of(&call(7)).outcome, None);
    }
}
