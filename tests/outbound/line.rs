//! A carrier for tests: takes calls, lets them end in its own time, and counts what it is asked.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use novavoice::{
    ProviderError, ProviderErrorKind,
    call::{CallId, CallStatus, Outcome},
    lead::PhoneNumber,
    outbound::{Line, Order, Placed},
    record::{CallNote, CallStore},
};

use crate::office::now;

/// What becomes of the calls to a number, one after another; the last one for ever.
#[derive(Clone, Debug)]
pub(crate) struct Fate(pub(crate) Vec<Outcome>);

#[derive(Clone, Debug)]
pub(crate) struct FakeLine {
    inner: Arc<Mutex<Book>>,
    /// Where whoever carries the call writes its record. `None`: nobody does, the carrier alone
    /// knows.
    records: Option<Arc<dyn CallStore>>,
}

#[derive(Debug, Default)]
struct Book {
    fates: HashMap<PhoneNumber, Fate>,
    calls: Vec<Call>,
    attempts: BTreeMap<String, u32>,
    length: Duration,
    /// How the next requests fail; those that place the call all the same say so.
    faults: Vec<Fault>,
    asked: usize,
    /// How long it takes to look calls up.
    looking: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) to: PhoneNumber,
    pub(crate) id: CallId,
    pub(crate) at: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: ProviderErrorKind,
    pub(crate) placed: bool,
}

impl FakeLine {
    pub(crate) fn new(records: Option<Arc<dyn CallStore>>) -> Self {
        let book = Book {
            length: Duration::from_secs(20),
            ..Book::default()
        };
        Self {
            inner: Arc::new(Mutex::new(book)),
            records,
        }
    }

    pub(crate) fn fate(&self, to: &PhoneNumber, outcomes: &[Outcome]) {
        let fate = Fate(outcomes.to_vec());
        self.inner.lock().unwrap().fates.insert(to.clone(), fate);
    }

    /// How long the calls take that are placed from now on.
    pub(crate) fn lasting(&self, length: Duration) {
        self.inner.lock().unwrap().length = length;
    }

    /// How long it takes to look calls up from now on.
    pub(crate) fn looking(&self, takes: Duration) {
        self.inner.lock().unwrap().looking = takes;
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.inner.lock().unwrap().faults.push(fault);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.inner.lock().unwrap().calls.clone()
    }

    /// How often a call was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.inner.lock().unwrap().asked
    }

    /// Attempts that were dialled more than once.
    pub(crate) fn doubled(&self) -> Vec<String> {
        let book = self.inner.lock().unwrap();
        let twice = book.attempts.iter().filter(|(_, count)| **count > 1);
        twice.map(|(attempt, _)| attempt.clone()).collect()
    }

    fn place(&self, order: &Order) -> Call {
        let mut book = self.inner.lock().unwrap();
        *book.attempts.entry(order.attempt.clone()).or_default() += 1;
        let before = book.calls.iter().filter(|call| call.to == order.to).count();
        let outcome = book
            .fates
            .get(&order.to)
            .map_or(Outcome::Completed, |fate| {
                fate.0[before.min(fate.0.len() - 1)]
            });
        let call = Call {
            to: order.to.clone(),
            id: CallId::random(),
            at: now(),
            end: now() + book.length,
            outcome,
        };
        book.calls.push(call.clone());
        call
    }

    fn write_record(&self, call: Call) {
        let Some(records) = self.records.clone() else {
            return;
        };
        tokio::spawn(async move {
            let left = Duration::try_from(call.end.duration_since(now())).unwrap_or_default();
            tokio::time::sleep(left).await;
            let mut note = CallNote::default();
            note.status = Some(status(call.outcome));
            note.outcome = Some(call.outcome);
            note.ended = Some(call.end);
            note.cost_usd = Some(0.02);
            records.note(&call.id, &note).await.expect("memory");
        });
    }
}

#[async_trait]
impl Line for FakeLine {
    async fn dial(&self, order: &Order) -> Result<CallId, ProviderError> {
        tokio::time::sleep(Duration::from_millis(80)).await;
        let fault = {
            let mut book = self.inner.lock().unwrap();
            book.asked += 1;
            book.faults.pop()
        };
        if let Some(fault) = &fault
            && !fault.placed
        {
            return Err(ProviderError::new("line", fault.kind.clone()));
        }
        let call = self.place(order);
        self.write_record(call.clone());
        tokio::time::sleep(Duration::from_millis(80)).await;
        match fault {
            Some(fault) => Err(ProviderError::new("line", fault.kind)),
            None => Ok(call.id),
        }
    }

    async fn find(&self, to: &PhoneNumber, since: Timestamp) -> Result<Vec<Placed>, ProviderError> {
        let takes = self.inner.lock().unwrap().looking;
        tokio::time::sleep(takes).await;
        let mut calls = self.calls();
        calls.retain(|call| call.to == *to && call.at >= since);
        Ok(calls.iter().map(placed).collect())
    }

    async fn look(&self, call: &CallId) -> Result<Option<Placed>, ProviderError> {
        Ok(self
            .calls()
            .iter()
            .find(|known| known.id == *call)
            .map(placed))
    }
}

fn placed(call: &Call) -> Placed {
    if call.end > now() {
        return Placed::live(call.id.clone());
    }
    let bad = call.outcome == Outcome::Failed;
    Placed::over(
        call.id.clone(),
        status(call.outcome),
        call.outcome,
        call.end,
        bad,
    )
}

fn status(outcome: Outcome) -> CallStatus {
    match outcome {
        Outcome::NoAnswer => CallStatus::NoAnswer,
        Outcome::Busy => CallStatus::Busy,
        Outcome::Voicemail => CallStatus::Voicemail,
        Outcome::Failed => CallStatus::Failed,
        _ => CallStatus::Completed,
    }
}
