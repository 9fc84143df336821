//! Keeping what is said: in a file and in the store of calls at once.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use jiff::SignedDuration;
use novavoice::{
    ProviderError,
    audio::SampleRate,
    call::{CallInfo, CallStatus},
    record::{CallQuery, CallStore},
    transcript::{
        DynamoSink, FanOut, FileSink, Spool, TranscriptSink,
        fan_out::Acknowledge,
        file::RecoveredCall,
        spool::{SpoolConfig, SpoolHealth},
    },
};

use super::{Place, Stores};
use crate::{clock::wall, config::Config};

/// The sinks of this process.
#[derive(Clone)]
pub(crate) struct Recording {
    /// Takes what is said; acknowledges what is safe in both places.
    pub(crate) sink: FanOut,
    /// The files alone.
    pub(crate) files: FileSink,
    /// The journal in front of DynamoDB.
    spool: Option<Spool<DynamoSink>>,
    /// Calls whose process died, closed now, and those that ended without the store.
    pub(crate) abandoned: Arc<[RecoveredCall]>,
}

impl Recording {
    /// Opens the files and what lies before the store, and closes calls whose process died, on
    /// file and in the store alike.
    pub(crate) async fn open(config: &Config, stores: &Stores) -> anyhow::Result<Self> {
        let files = files(&config.transcripts_dir).await?;
        let abandoned = recover(&files).await?;
        let mut spool = None;
        let store: Arc<dyn TranscriptSink> = match &stores.calls_in {
            Place::Sqlite(calls) => Arc::new(calls.clone()),
            Place::DynamoDb(dynamo) => {
                let sink = DynamoSink::new(dynamo.clone(), &config.stores.calls_table);
                let folder = config.stores.data_dir.join("spool");
                let opened = Spool::open(&folder, sink, SpoolConfig::default()).await;
                let opened = opened.with_context(|| {
                    format!("cannot open {} (DATA_DIR says where)", folder.display())
                })?;
                Arc::new(spool.insert(opened).clone())
            }
        };
        let mut abandoned = abandoned;
        abandoned.extend(half_ended(&files, &*stores.calls).await);
        for call in &abandoned {
            if let Err(error) = copy(call, &*store).await {
                tracing::error!(
                    call_id = %call.id,
                    error = &error as &dyn std::error::Error,
                    "an abandoned call could not be closed in the store"
                );
            }
        }
        let sink = FanOut::builder(Acknowledge::All)
            .sink("file", files.clone())
            .sink("calls", store)
            .build()
            .await?;
        Ok(Self {
            sink,
            files,
            spool,
            abandoned: abandoned.into(),
        })
    }

    /// How the journal in front of DynamoDB is, where there is one.
    pub(crate) fn spool(&self) -> Option<SpoolHealth> {
        self.spool.as_ref().map(Spool::health)
    }

    /// Waits until everything is where it belongs, for a while: what is still in the journal then
    /// is there for the next start.
    pub(crate) async fn flush(&self) {
        let flushed = async {
            self.sink.flushed().await;
            if let Some(spool) = &self.spool {
                spool.drained().await;
            }
        };
        if tokio::time::timeout(PATIENCE, flushed).await.is_err() {
            tracing::warn!("the store of calls is behind; the next start goes on");
        }
    }
}

async fn files(folder: &Path) -> anyhow::Result<FileSink> {
    let made = tokio::fs::create_dir_all(folder).await;
    made.with_context(|| {
        format!(
            "cannot make the folder {} (TRANSCRIPTS_DIR)",
            folder.display()
        )
    })?;
    Ok(FileSink::new(folder))
}

/// Closes the files that a process which died has left open.
async fn recover(files: &FileSink) -> anyhow::Result<Vec<RecoveredCall>> {
    let recovered = files.recover().await;
    let recovered = recovered.context("cannot read TRANSCRIPTS_DIR")?;
    let closed = recovered.into_iter().filter_map(|file| match file.result {
        Ok(call) => {
            tracing::warn!(
                call_id = %call.id,
                "closed the transcript of a call whose process died"
            );
            Some(call)
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                path = %file.path.display(),
                "a transcript could not be closed"
            );
            None
        }
    });
    Ok(closed.collect())
}

/// Calls that ended on file and not in the store: their process died in between. What the store
/// made of some of them meanwhile is only a guess.
async fn half_ended(files: &FileSink, store: &dyn CallStore) -> Vec<RecoveredCall> {
    let mut guessed = CallQuery::default();
    guessed.status = Some(CallStatus::Abandoned);
    guessed.from = Some(wall() - GUESSED);
    let mut ended = Vec::new();
    for mut query in [CallQuery::live(), guessed] {
        query.limit = AT_A_TIME;
        loop {
            let page = match store.list(&query).await {
                Ok(page) => page,
                Err(error) => {
                    warn(
                        "calls that ended without the store cannot be looked for",
                        &error,
                    );
                    break;
                }
            };
            for call in &page.calls {
                match files.ended(&call.id).await {
                    Ok(Some(file)) if file.summary.status != call.status => {
                        tracing::warn!(call_id = %call.id, "a call had ended on file alone");
                        ended.push(file);
                    }
                    Ok(_) => {}
                    Err(error) => warn("a transcript cannot be read", &error),
                }
            }
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
    }
    ended
}

fn warn(what: &str, error: &ProviderError) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}

/// Lets the store know what the file knows: lines that it lacks, and the end.
async fn copy(call: &RecoveredCall, store: &dyn TranscriptSink) -> Result<(), ProviderError> {
    let mut info = CallInfo::new(
        call.id.clone(),
        call.direction,
        call.started,
        SampleRate::Hz16000,
    );
    info.remote.clone_from(&call.remote);
    let known = store.start(&info).await?;
    for line in call.lines.iter().filter(|line| line.seq > known) {
        store.record(&call.id, line).await?;
    }
    store.end(&call.id, &call.summary).await
}

/// At the end of a process; longer than a write and shorter than a supervisor's patience.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than anybody leaves a service down.
const GUESSED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Calls that are looked at together.
const AT_A_TIME: usize = 100;
