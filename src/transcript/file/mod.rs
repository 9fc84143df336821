//! Transcripts as files that people read: one Markdown file per call, and a `.json` beside it.
//!
//! # The Markdown
//!
//! `call-{uuid}-{start}.md`, the start as `20260622T203532Z`, grows while the call runs:
//!
//! ```text
//! # Call 63f61863-4a51-4f6b-86e1-46edebcf9356
//!
//! - Number: 12125550101
//! - Direction: outbound
//! - Started: 2026-06-22T20:35:32.000Z
//!
//! [2026-06-22T20:35:34.512Z] Assistant: Good morning, this is Esther. I am [cut]
//!
//! [2026-06-22T20:35:36.140Z] Human: Who is this?
//!
//! ---
//!
//! - Ended: 2026-06-22T20:37:05.400Z
//! - Duration: 93.4 s
//! - Status: completed
//! - Tokens: speech 1200 in, 2400 out; text 800 in, 310 out
//! - Prompt: 3
//! - Outcome: follow_up
//! ```
//!
//! Lines stand in the order of `seq`, which is their position. Times are in UTC, to the
//! millisecond. The words are as they were, without any escaping; ` [cut]` at the end of a line
//! says that the caller spoke over it. (Words that themselves end in ` [cut]` are followed by a
//! space.) An id or number that does not fit on a line stands in JSON quotes; `unknown` is a
//! number that the carrier did not name. An id that is not made of letters, digits, `.`, `_` and
//! `-` alone, or is long, goes into the name with the rest replaced and a hash behind it.
//!
//! # The record
//!
//! `call-{uuid}-{start}.json`, written at the end, and anew when a call goes on and ends again:
//!
//! | member | type | |
//! |---|---|---|
//! | `call_uuid` | string | the carrier's id, as it was |
//! | `phone_number` | string or null | the other party, as the carrier named it |
//! | `direction` | string | `inbound` or `outbound` |
//! | `status` | string | see [`CallStatus`](crate::call::CallStatus) |
//! | `outcome` | string | see [`Outcome`](crate::call::Outcome) |
//! | `start_time`, `end_time` | string | RFC 3339, UTC |
//! | `duration_seconds` | number | to the millisecond |
//! | `failure` | text | what the model's provider said when it failed for good; only then |
//! | `transfer` | text | what came of handing the caller over; only where that was tried |
//! | `utterances` | array | of `{"seq","at","speaker","text","cut"}`, in the order of `seq`; `speaker` is `Human` or `Assistant` |
//! | `usage` | object | `input_speech_tokens`, `input_text_tokens`, `output_speech_tokens`, `output_text_tokens`; all 0 for an abandoned call |
//! | `prompt_version` | string or null | the version of the prompt; `custom` for a call with its own; `null` where it has none |
//! | `md_file_path` | string | the Markdown file |
//!
//! # Crashes
//!
//! A line is acknowledged once it is on the disk, so it survives the death of the process and of
//! the machine; a line that was being written may be there or not, and is never there in part
//! once the file was opened again. While a call is live its file is locked (an advisory lock,
//! `flock` on Unix), so [`FileSink::recover`] tells it from one whose process died, also when
//! several processes share the directory. Files can be read by their owner alone.

pub(super) mod disk;
pub(super) mod error;
pub(crate) mod name;
mod record;
mod recover;
mod wire;

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

pub use self::recover::{Recovered, RecoveredCall};
use self::{
    disk::LiveFile,
    error::{Error, PROVIDER},
    wire::Header,
};
use crate::{
    call::{CallId, CallInfo, CallSummary},
    clock,
    error::{ProviderError, ProviderErrorKind},
    transcript::{TranscriptSink, Utterance, behind},
};

/// Keeps each call in a Markdown file of one directory. See [the module](self) for the format.
///
/// Clones share their calls.
#[derive(Clone)]
pub struct FileSink {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    live: Mutex<HashMap<CallId, Slot>>,
}

/// Where a live call's file is; empty before it is open and after it is closed. Locked only on
/// threads that may wait.
type Slot = Arc<Mutex<Option<LiveFile>>>;

impl FileSink {
    /// Keeps transcripts in `dir`, which is made when the first call starts.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            inner: Arc::new(Inner {
                dir: dir.into(),
                live: Mutex::default(),
            }),
        }
    }

    /// Closes the calls whose process died: each gets a footer that says `abandoned`, and its
    /// `.json`. Call it when a process starts, before its first call or beside its calls; calls
    /// that a living process records are left alone.
    ///
    /// Answers with the calls that are closed now and with the files that could not be; a
    /// transcript that needed nothing is not mentioned.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub async fn recover(&self) -> Result<Vec<Recovered>, ProviderError> {
        let inner = Arc::clone(&self.inner);
        let now = clock::wall();
        blocking(move || recover::all(&inner.dir, now)).await
    }

    /// How `call` ended, with everything that its file tells of it; `None` while it has not ended,
    /// and for an unknown call.
    ///
    /// # Errors
    ///
    /// When the directory or the file cannot be read.
    pub async fn ended(&self, call: &CallId) -> Result<Option<RecoveredCall>, ProviderError> {
        let (inner, call) = (Arc::clone(&self.inner), call.clone());
        blocking(move || Ok(inner.read(&call)?.and_then(RecoveredCall::of))).await
    }

    /// The Markdown file of `call`, live or not, if there is one.
    ///
    /// # Errors
    ///
    /// When the directory or the file cannot be read.
    pub async fn path_of(&self, call: &CallId) -> Result<Option<PathBuf>, ProviderError> {
        let (inner, call) = (Arc::clone(&self.inner), call.clone());
        blocking(move || {
            if let Some(slot) = inner.slot(&call)
                && let Some(live) = &*slot.lock().unwrap_or_else(PoisonError::into_inner)
            {
                return Ok(Some(live.path.clone()));
            }
            disk::find(&inner.dir, &call)
        })
        .await
    }

    /// The lines of `call`, live or not, in the order of `seq`; none for an unknown call.
    ///
    /// # Errors
    ///
    /// When the directory or the file cannot be read.
    pub async fn lines(&self, call: &CallId) -> Result<Vec<Utterance>, ProviderError> {
        let (inner, call) = (Arc::clone(&self.inner), call.clone());
        blocking(move || Ok(inner.read(&call)?.map_or_else(Vec::new, |read| read.lines))).await
    }
}

#[async_trait]
impl TranscriptSink for FileSink {
    /// Waits a second for another process to let go of the call, then fails with
    /// [`Conflict`](ProviderErrorKind::Conflict).
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        let header = Header::of(call);
        let mut patience = LOCK_TRIES;
        loop {
            let (inner, header) = (Arc::clone(&self.inner), header.clone());
            match blocking(move || inner.start(&header)).await {
                // Recovery holds a lock for a moment, too.
                Err(error) if *error.kind() == ProviderErrorKind::Conflict && patience > 0 => {
                    patience -= 1;
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                started => return started,
            }
        }
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        let slot = self.inner.slot(call).ok_or(Error::NotStarted)?;
        let (seq, line) = (line.seq, wire::line(line));
        blocking(move || {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let live = slot.as_mut().ok_or(Error::NotStarted)?;
            let due = live.last + 1;
            match seq {
                // Counted from 1, and already there when it was acknowledged before.
                1.. if seq < due => Ok(()),
                1.. if seq == due => live.append(&line),
                given => Err(Error::Gap { due, given }),
            }
        })
        .await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        let inner = Arc::clone(&self.inner);
        let (call, summary) = (call.clone(), summary.clone());
        blocking(move || inner.end(&call, &summary)).await
    }

    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        Ok(Some(behind(self.lines(call).await?, after)))
    }
}

impl Inner {
    fn start(&self, header: &Header) -> Result<u64, Error> {
        let call = &header.call;
        let slot = Arc::clone(self.live().entry(call.clone()).or_default());
        let mut file = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = &*file {
            return Ok(live.last);
        }
        match LiveFile::open(&self.dir, header) {
            Ok(live) => {
                let last = live.last;
                *file = Some(live);
                // An end that came in between has taken the slot out.
                self.live().insert(call.clone(), Arc::clone(&slot));
                Ok(last)
            }
            Err(error) => {
                self.live().remove(call);
                Err(error)
            }
        }
    }

    fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), Error> {
        let Some(slot) = self.slot(call) else {
            return self.ended_before(call);
        };
        let mut file = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(live) = &mut *file else {
            return self.ended_before(call);
        };
        live.close(summary)?;
        // What the file says is what the record says: the file is the truth.
        let document = live.read()?;
        record::write(&live.path, &document, summary)?;
        *file = None;
        self.live().remove(call);
        Ok(())
    }

    /// An end may be repeated, when its answer was lost.
    fn ended_before(&self, call: &CallId) -> Result<(), Error> {
        let read = self.read(call)?;
        match read.and_then(|document| document.footer) {
            Some(_) => Ok(()),
            None => Err(Error::NotStarted),
        }
    }

    fn read(&self, call: &CallId) -> Result<Option<wire::Document>, Error> {
        let Some(path) = disk::find(&self.dir, call)? else {
            return Ok(None);
        };
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let document = wire::parse(&bytes).map_err(Error::unreadable(&path))?;
        Ok(Some(document))
    }

    fn slot(&self, call: &CallId) -> Option<Slot> {
        self.live().get(call).map(Arc::clone)
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<CallId, Slot>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSink")
            .field("dir", &self.inner.dir)
            .field("live", &self.inner.live().len())
            .finish()
    }
}

/// Runs `work` where it may wait for a disk. It runs to its end also when nobody waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, ProviderError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(ProviderError::from),
        Err(error) => Err(ProviderError::new(PROVIDER, ProviderErrorKind::Unavailable)
            .with_detail("the write was not carried out")
            .with_source(error)),
    }
}

const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
