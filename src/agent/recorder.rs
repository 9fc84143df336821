//! Keeps a call's lines, beside the call and never in its way.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tracing::{Instrument, error, warn};

use super::{
    event::EventKind,
    handle::{Counted, Entry},
};
use crate::{
    call::{CallInfo, CallSummary},
    error::ProviderError,
    lead::LeadStore,
    model::SpeechModel,
    transcript::{TranscriptSink, Utterance},
};

/// The call's end of the recorder.
#[derive(Debug)]
pub(super) struct Recorder {
    lines: mpsc::Sender<Utterance>,
    task: JoinHandle<Leftovers>,
}

/// What the task gives back: the sink's view of the call.
#[derive(Debug)]
struct Leftovers {
    started: bool,
    lost: usize,
}

impl Recorder {
    pub(super) fn start<M, S, L>(
        parts: Arc<super::Parts<M, S, L>>,
        info: CallInfo,
        entry: Arc<Entry>,
    ) -> Self
    where
        M: SpeechModel,
        S: TranscriptSink,
        L: LeadStore,
    {
        let (lines, received) = mpsc::channel(LINES);
        let counted = Counted::new(&parts.shared.tasks);
        let task = async move {
            let _counted = counted;
            keep(&parts.transcripts, &info, received, &entry).await
        };
        Self {
            lines,
            task: tokio::spawn(task.in_current_span()),
        }
    }

    /// Queues a line. `false` when the sink is hopelessly behind: the line is lost.
    pub(super) fn record(&self, line: Utterance) -> bool {
        self.lines.try_send(line).is_ok()
    }

    /// Waits until every line is kept, then closes the record. Gives up after `deadline`.
    pub(super) async fn finish<S: TranscriptSink>(
        self,
        sink: &S,
        info: &CallInfo,
        summary: &CallSummary,
        deadline: Duration,
    ) -> Result<(), ProviderError> {
        let Self { lines, mut task } = self;
        drop(lines);
        let Ok(done) = timeout(deadline, &mut task).await else {
            task.abort();
            error!("the transcript sink did not keep the last lines in time");
            return Ok(());
        };
        let left = done.unwrap_or(Leftovers {
            started: false,
            lost: 0,
        });
        if left.lost > 0 {
            error!(lines = left.lost, "lines of the transcript were lost");
        }
        if !left.started {
            return Ok(());
        }
        match timeout(deadline, sink.end(&info.id, summary)).await {
            Ok(result) => result,
            Err(_) => {
                error!("the transcript sink did not close the record in time");
                Ok(())
            }
        }
    }
}

async fn keep<S: TranscriptSink>(
    sink: &S,
    info: &CallInfo,
    mut lines: mpsc::Receiver<Utterance>,
    entry: &Entry,
) -> Leftovers {
    let mut left = Leftovers {
        started: false,
        lost: 0,
    };
    // A call that goes on after a lost process or socket continues its own numbers.
    let Some(mut seq) = insist(entry, || sink.start(info)).await else {
        while lines.recv().await.is_some() {
            left.lost += 1;
        }
        return left;
    };
    left.started = true;
    while let Some(mut line) = lines.recv().await {
        line.seq = seq + 1;
        if insist(entry, || sink.record(&info.id, &line))
            .await
            .is_some()
        {
            seq += 1;
            entry.publish(EventKind::Utterance(line));
        } else {
            left.lost += 1;
        }
    }
    left
}

/// Tries until it works, for as long as trying can help. The caller's deadline ends it.
async fn insist<O, F>(entry: &Entry, mut attempt: impl FnMut() -> F) -> Option<O>
where
    F: Future<Output = Result<O, ProviderError>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Ok(kept) => return Some(kept),
            Err(failed) if failed.kind().is_retryable() => {
                if pause == FIRST_PAUSE {
                    warn!(
                        error = &failed as &dyn std::error::Error,
                        "keeping the transcript failed; trying again"
                    );
                    entry.publish(EventKind::Trouble(failed.to_string()));
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(failed) => {
                error!(
                    error = &failed as &dyn std::error::Error,
                    "keeping the transcript failed"
                );
                entry.publish(EventKind::Trouble(failed.to_string()));
                return None;
            }
        }
    }
}

/// Lines that a sink may be behind: an hour of lively talk.
const LINES: usize = 2_048;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
