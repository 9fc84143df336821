//! Transcripts in memory: the sink to read first, and the one for tests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    call::{CallId, CallInfo, CallSummary},
    error::{ProviderError, ProviderErrorKind},
    transcript::{TranscriptSink, Utterance, behind},
};

/// Keeps transcripts for as long as the process lives. Clones share them, so a test keeps one
/// clone to look at.
///
/// ```
/// use novavoice::{
///     audio::SampleRate,
///     call::{CallId, CallInfo, Direction},
///     transcript::{MemorySink, Speaker, TranscriptSink, Utterance},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sink = MemorySink::new();
/// let start = "2026-06-22T20:35:32Z".parse()?;
/// let call = CallInfo::new(CallId::random(), Direction::Inbound, start, SampleRate::Hz16000);
/// assert_eq!(sink.start(&call).await?, 0);
///
/// let line = Utterance {
///     seq: 1,
///     at: start,
///     speaker: Speaker::Caller,
///     text: "Good morning".into(),
///     cut: false,
/// };
/// sink.record(&call.id, &line).await?;
/// assert_eq!(sink.lines(&call.id), [line]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    calls: Arc<Mutex<HashMap<CallId, Kept>>>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: Vec<Utterance>,
    summary: Option<CallSummary>,
}

impl MemorySink {
    /// Knows no calls yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The lines of `call` in the order of `seq`; none for an unknown call.
    #[must_use]
    pub fn lines(&self, call: &CallId) -> Vec<Utterance> {
        self.calls()
            .get(call)
            .map_or_else(Vec::new, |kept| kept.lines.clone())
    }

    /// How `call` ended, once it has.
    #[must_use]
    pub fn summary(&self, call: &CallId) -> Option<CallSummary> {
        self.calls().get(call)?.summary.clone()
    }

    /// The calls that were started, in no order.
    #[must_use]
    pub fn call_ids(&self) -> Vec<CallId> {
        self.calls().keys().cloned().collect()
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, Kept>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TranscriptSink for MemorySink {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        let mut calls = self.calls();
        let kept = calls.entry(call.id.clone()).or_default();
        kept.summary = None;
        Ok(kept.lines.len() as u64)
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        let mut calls = self.calls();
        let lines = &mut calls.get_mut(call).ok_or_else(not_started)?.lines;
        let due = lines.len() as u64 + 1;
        match line.seq {
            1.. if line.seq < due => Ok(()),
            1.. if line.seq == due => {
                lines.push(line.clone());
                Ok(())
            }
            seq => Err(protocol(format!("line {seq} came where line {due} is due"))),
        }
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        let mut calls = self.calls();
        calls.get_mut(call).ok_or_else(not_started)?.summary = Some(summary.clone());
        Ok(())
    }

    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        Ok(Some(behind(self.lines(call), after)))
    }
}

fn not_started() -> ProviderError {
    protocol("this call was not started here".to_owned())
}

fn protocol(detail: String) -> ProviderError {
    ProviderError::new("memory", ProviderErrorKind::Protocol).with_detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audio::SampleRate, call::Direction, transcript::Speaker};

    fn line(seq: u64) -> Utterance {
        Utterance {
            seq,
            at: jiff::Timestamp::UNIX_EPOCH,
            speaker: Speaker::Agent,
            text: "Hello".to_owned(),
            cut: false,
        }
    }

    #[tokio::test]
    async fn lines_need_a_start_and_leave_no_gap() {
        let sink = MemorySink::new();
        let call = CallInfo::new(
            CallId::new("a"),
            Direction::Inbound,
            jiff::Timestamp::UNIX_EPOCH,
            SampleRate::Hz8000,
        );
        let early = sink.record(&call.id, &line(1)).await.unwrap_err();
        assert_eq!(*early.kind(), ProviderErrorKind::Protocol);
        sink.start(&call).await.unwrap();
        for seq in [0, 2] {
            let gap = sink.record(&call.id, &line(seq)).await.unwrap_err();
            assert_eq!(*gap.kind(), ProviderErrorKind::Protocol);
        }
        sink.record(&call.id, &line(1)).await.unwrap();
        assert_eq!(sink.lines(&call.id), [line(1)]);
        assert!(sink.summary(&call.id).is_none());
    }
}
