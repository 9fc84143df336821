//! The running record of one session, shared with whoever watches.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::{
    handle::Command,
    report::{Closing, End, SessionReport},
};

/// What is known of a session so far.
pub(super) struct Record {
    index: usize,
    opened: Instant,
    state: Mutex<State>,
    pub(super) changed: Notify,
    pub(super) commands: mpsc::Sender<Command>,
}

struct State {
    report: SessionReport,
    events: Vec<Received>,
    pcm: BytesMut,
}

enum Received {
    Event(Value),
    /// Audio events in a row.
    Audio {
        events: u64,
        bytes: u64,
    },
}

impl Record {
    pub(super) fn new(report: SessionReport, commands: mpsc::Sender<Command>) -> Self {
        Self {
            index: report.index,
            opened: crate::clock::now(),
            state: Mutex::new(State {
                report,
                events: Vec::new(),
                pcm: BytesMut::new(),
            }),
            changed: Notify::new(),
            commands,
        }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn report(&self) -> SessionReport {
        let mut report = self.state().report.clone();
        if report.end.is_none() {
            report.duration = crate::clock::now() - self.opened;
        }
        report
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().report.end.is_none()
    }

    pub(super) fn events(&self) -> Vec<Value> {
        self.state()
            .events
            .iter()
            .map(|received| match received {
                Received::Event(event) => event.clone(),
                Received::Audio { events, bytes } => {
                    json!({ "event": { "audioInput": { "events": events, "bytes": bytes } } })
                }
            })
            .collect()
    }

    pub(super) fn pcm(&self) -> Bytes {
        Bytes::copy_from_slice(&self.state().pcm)
    }

    pub(super) fn event(&self, event: Value) {
        let mut state = self.state();
        state.report.inputs += 1;
        state.events.push(Received::Event(event));
        self.changed(state);
    }

    pub(super) fn audio(&self, pcm: &[u8], keep: bool) {
        let mut state = self.state();
        let length = pcm.len() as u64;
        state.report.inputs += 1;
        state.report.audio_events += 1;
        state.report.audio_bytes += length;
        match state.events.last_mut() {
            Some(Received::Audio { events, bytes }) => {
                *events += 1;
                *bytes += length;
            }
            _ => state.events.push(Received::Audio {
                events: 1,
                bytes: length,
            }),
        }
        if keep {
            state.pcm.extend_from_slice(pcm);
        }
        self.changed(state);
    }

    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.report.answered = true;
        self.changed(state);
    }

    pub(super) fn sent(&self) {
        let mut state = self.state();
        state.report.outputs += 1;
        self.changed(state);
    }

    pub(super) fn spoke(&self, replies: usize, interruptions: usize) {
        let mut state = self.state();
        state.report.replies = replies;
        state.report.interruptions = interruptions;
        self.changed(state);
    }

    pub(super) fn close(&self, step: impl FnOnce(&mut Closing)) {
        let mut state = self.state();
        step(&mut state.report.closing);
        self.changed(state);
    }

    pub(super) fn closing(&self, ask: impl FnOnce(&Closing) -> bool) -> bool {
        ask(&self.state().report.closing)
    }

    pub(super) fn refused(&self, status: u16) {
        self.state().report.refused = Some(status);
        self.finish(End::Refused);
    }

    pub(super) fn finish(&self, end: End) {
        let mut state = self.state();
        state.report.duration = crate::clock::now() - self.opened;
        state.report.end = Some(end);
        self.changed(state);
    }

    fn changed(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
