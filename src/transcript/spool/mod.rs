//! A journal on the disk in front of a sink that is far away.
//!
//! A line is acknowledged once it is in the journal, a local write and one `fsync` that all calls
//! share; a task hands it on, in order, some lines of a call at a time. So a slow sink, or one
//! that cannot be reached for a while, delays nothing and loses nothing: what it did not take is
//! still there, also for the next process.
//!
//! # Crashes
//!
//! [`Spool::open`] cuts off what a crash left half written, hands on what the sink did not take,
//! and closes the calls whose process died as `abandoned`: they ended when their process was
//! alive for the last time, which the journal notes at least every ten seconds. What is handed on
//! twice is kept once, since sinks keep a repeated line once.
//!
//! Several processes may share a directory. Each has a journal of its own, which it locks (an
//! advisory lock, `flock` on Unix), and takes over those of processes that died.
//!
//! # Limits
//!
//! The journal is bounded. When it is full, lines are refused as
//! [`Unavailable`](crate::ProviderErrorKind::Unavailable) until the sink takes some: the call
//! goes on and tries again. Past half of that the log warns, and [`Spool::health`] tells.
//!
//! What the sink refuses for good, five times over, is put into `refused.jsonl` beside the journal, one
//! JSON object per line: it holds up no other call, and is not lost.

mod book;
mod entry;
mod error;
mod journal;
mod worker;

use std::{
    collections::HashMap,
    fmt, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};
use tracing::{error, warn};
use uuid::Uuid;

use self::{
    book::{Book, Note},
    entry::{Entry, Opened, What},
    error::{Error, PROVIDER},
    journal::{Journal, Limits},
};
use crate::{
    call::{CallId, CallInfo, CallSummary},
    clock,
    error::{ProviderError, ProviderErrorKind},
    transcript::{TranscriptSink, Utterance},
};

/// Keeps transcripts in a journal until the sink behind it has them. See [the module](self).
///
/// Clones share the journal. The task that hands on ends with the last clone; what it did not
/// hand on by then is for the next [`open`](Self::open).
pub struct Spool<S> {
    handle: Arc<Handle<S>>,
}

/// How a spool behaves. Start from [`SpoolConfig::default`] and assign what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpoolConfig {
    /// Bytes that may wait on the disk. Default: 256 MiB, a million lines.
    pub max_bytes: u64,
    /// Bytes of one segment, the unit in which the disk is freed. Default: 4 MiB.
    pub segment_bytes: u64,
    /// How long a line waits for others of its call, so that they are one write. Default: 800 ms.
    pub linger: Duration,
    /// How many lines are one write at most. Default: 100.
    pub batch: usize,
    /// How many calls are handed on at the same time. Default: 16.
    pub parallel: usize,
    /// How long the sink may take for one thing. Default: 30 s.
    pub timeout: Duration,
    /// How long a start waits for what the sink knows of the call. Default: 1.5 s; while the
    /// sink is known to be out of order, not at all.
    pub start_timeout: Duration,
    /// The pause after a failure; it doubles with each further one. Default: 200 ms.
    pub first_pause: Duration,
    /// The longest pause. Default: 15 s.
    pub longest_pause: Duration,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            segment_bytes: 4 << 20,
            linger: Duration::from_millis(800),
            batch: 100,
            parallel: 16,
            timeout: Duration::from_secs(30),
            start_timeout: Duration::from_millis(1_500),
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(15),
        }
    }
}

/// How a spool is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolHealth {
    /// Entries that the sink does not have yet: starts, lines and ends.
    pub waiting: usize,
    /// Bytes on the disk.
    pub bytes: u64,
    /// What the sink failed with last, while it fails.
    pub failing: Option<String>,
    /// What the disk failed with last, while it fails.
    pub disk: Option<String>,
    /// Entries that the sink refused for good since the start.
    pub refused: u64,
}

struct Handle<S> {
    inner: Arc<Inner<S>>,
    worker: JoinHandle<()>,
    abandoned: Vec<(CallId, CallSummary)>,
}

struct Inner<S> {
    sink: S,
    config: SpoolConfig,
    dir: PathBuf,
    life: u64,
    /// Locked on threads that may wait, and before `desk`.
    journal: Mutex<Journal>,
    desk: Mutex<Desk>,
    /// Something is to be handed on.
    due: Notify,
    health: watch::Sender<SpoolHealth>,
    /// Whether entries may be handed on.
    gate: watch::Sender<bool>,
    /// The sink took something since the start.
    took: AtomicBool,
}

#[derive(Default)]
struct Desk {
    book: Book,
    queue: Vec<Queued>,
    /// A thread writes the queue.
    writing: bool,
}

struct Queued {
    frame: Vec<u8>,
    note: Note,
    ack: oneshot::Sender<Result<(), Error>>,
}

impl<S: TranscriptSink> Spool<S> {
    /// Opens the journal in `dir`, which is made where there is none, and begins to hand on to
    /// `sink`. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read or written.
    pub async fn open(
        dir: impl Into<PathBuf>,
        sink: S,
        config: SpoolConfig,
    ) -> Result<Self, ProviderError> {
        Self::open_gated(dir.into(), sink, config, true).await
    }

    /// As [`open`](Self::open), but hands nothing on before `gate` is opened.
    pub(super) async fn open_gated(
        dir: PathBuf,
        sink: S,
        config: SpoolConfig,
        open: bool,
    ) -> Result<Self, ProviderError> {
        let now = (clock::now(), clock::wall());
        let limits = Limits {
            segment: config.segment_bytes,
            total: config.max_bytes,
        };
        let (journal, book, abandoned, life) = blocking(move || recover(&dir, limits, now)).await?;
        let inner = Arc::new(Inner {
            sink,
            config,
            dir: journal.dir().to_owned(),
            life,
            journal: Mutex::new(journal),
            desk: Mutex::new(Desk {
                book,
                ..Desk::default()
            }),
            due: Notify::new(),
            health: watch::Sender::default(),
            gate: watch::Sender::new(open),
            took: AtomicBool::new(false),
        });
        inner.tell_health(|_| {});
        let worker = tokio::spawn(worker::run(Arc::clone(&inner)));
        Ok(Self {
            handle: Arc::new(Handle {
                inner,
                worker,
                abandoned,
            }),
        })
    }

    /// The calls that were open when their process died, and how they were closed.
    #[must_use]
    pub fn abandoned(&self) -> &[(CallId, CallSummary)] {
        &self.handle.abandoned
    }

    /// How it is now.
    #[must_use]
    pub fn health(&self) -> SpoolHealth {
        self.inner().health.borrow().clone()
    }

    /// Waits until the sink has everything that was acknowledged by then: before a process ends.
    pub async fn drained(&self) {
        let mut health = self.inner().health.subscribe();
        // An error would say that the spool is gone, which this very borrow keeps.
        let _ = health.wait_for(|health| health.waiting == 0).await;
    }

    /// The sink behind it.
    #[must_use]
    pub fn sink(&self) -> &S {
        &self.inner().sink
    }

    /// Whether everything that was ever given to it is in the sink.
    pub(super) fn is_settled(&self) -> bool {
        let desk = self.inner().desk();
        desk.queue.is_empty() && desk.book.is_settled()
    }

    /// Lets entries through to the sink, or holds them.
    pub(super) fn set_gate(&self, open: bool) {
        self.inner().gate.send_replace(open);
    }

    /// A call that others have told the sink of goes on here, behind line `last`.
    pub(super) async fn take_over(&self, call: &CallInfo, last: u64) -> Result<(), ProviderError> {
        if self.inner().desk().book.is_open(&call.id) {
            return Ok(());
        }
        self.inner().start(Opened::of(call, last), false).await
    }

    /// Others look after the open calls from now on: none of them is abandoned here.
    pub(super) async fn release(&self) -> Result<(), ProviderError> {
        let open = self.inner().desk().book.release();
        for call in open {
            let note = Note::Done { call: call.clone() };
            self.inner().write(What::Done { call }, note).await?;
        }
        Ok(())
    }

    fn inner(&self) -> &Arc<Inner<S>> {
        &self.handle.inner
    }
}

#[async_trait]
impl<S: TranscriptSink> TranscriptSink for Spool<S> {
    /// Asks the sink for a call that it does not know, and takes the call for a new one when the
    /// sink does not answer in time.
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        let inner = self.inner();
        let (open, known) = {
            let desk = inner.desk();
            (desk.book.is_open(&call.id), desk.book.last(&call.id))
        };
        if let (true, Some(last)) = (open, known) {
            return Ok(last);
        }
        let (last, in_sink) = match known {
            Some(last) => (last, false),
            None => match inner.ask(call).await {
                Some(last) => (last, true),
                None => (0, false),
            },
        };
        inner.start(Opened::of(call, last), in_sink).await?;
        Ok(last)
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        self.record_all(call, std::slice::from_ref(line)).await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        let inner = self.inner();
        {
            let desk = inner.desk();
            if !desk.book.is_open(call) {
                // An end may be repeated, when its answer was lost.
                let known = desk.book.last(call).is_some();
                return if known {
                    Ok(())
                } else {
                    Err(Error::NotStarted.into())
                };
            }
        }
        let what = What::End {
            call: call.clone(),
            summary: summary.into(),
        };
        inner.write(what, Note::End { call: call.clone() }).await
    }

    async fn record_all(&self, call: &CallId, lines: &[Utterance]) -> Result<(), ProviderError> {
        let inner = self.inner();
        let last = {
            let desk = inner.desk();
            let open = desk.book.is_open(call);
            desk.book.last(call).filter(|_| open)
        };
        let mut last = last.ok_or(Error::NotStarted)?;
        let mut acks = Vec::with_capacity(lines.len());
        for line in lines {
            match line.seq {
                1.. if line.seq <= last => continue,
                1.. if line.seq == last + 1 => last = line.seq,
                given => {
                    let due = last + 1;
                    return Err(Error::Gap { due, given }.into());
                }
            }
            let what = What::Line {
                call: call.clone(),
                line: line.clone(),
            };
            let note = Note::Line {
                call: call.clone(),
                seq: line.seq,
            };
            acks.push(inner.queue(what, note)?);
        }
        for ack in acks {
            ack.await.unwrap_or(Err(Error::Dropped))?;
        }
        Ok(())
    }

    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        let inner = self.inner();
        let waiting = inner.desk().book.waits_of(call);
        let dir = inner.dir.clone();
        let waiting = blocking(move || journal::read(&dir, &waiting)).await?;
        let mut waiting = book::lines(waiting);
        waiting.retain(|line| line.seq > after);
        // What waits is behind what the sink has.
        if waiting.first().is_some_and(|line| line.seq == after + 1) {
            return Ok(Some(waiting));
        }
        let Some(mut lines) = inner.sink.read_back(call, after).await? else {
            return Ok(None);
        };
        waiting.retain(|line| lines.iter().all(|kept| kept.seq != line.seq));
        lines.append(&mut waiting);
        Ok(Some(lines))
    }
}

impl<S: TranscriptSink> Inner<S> {
    async fn start(self: &Arc<Self>, opened: Opened, in_sink: bool) -> Result<(), ProviderError> {
        let note = Note::Start {
            opened: opened.clone(),
            in_sink,
        };
        self.write(What::Start(opened), note).await
    }

    /// What the sink knows of a call, if it says so soon.
    async fn ask(&self, call: &CallInfo) -> Option<u64> {
        if self.health.borrow().failing.is_some() || !*self.gate.borrow() {
            return None;
        }
        match tokio::time::timeout(self.config.start_timeout, self.sink.start(call)).await {
            Ok(Ok(last)) => Some(last),
            Ok(Err(error)) => {
                warn!(
                    call_id = %call.id,
                    error = &error as &dyn std::error::Error,
                    "the sink behind the spool does not say what it knows of a call"
                );
                None
            }
            Err(_) => None,
        }
    }

    /// Writes an entry; returns once it is on the disk.
    async fn write(self: &Arc<Self>, what: What, note: Note) -> Result<(), ProviderError> {
        let acked = self.queue(what, note)?;
        acked.await.unwrap_or(Err(Error::Dropped))?;
        Ok(())
    }

    /// Has an entry written with the next ones.
    fn queue(
        self: &Arc<Self>,
        what: What,
        note: Note,
    ) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let at = clock::wall();
        let frame = Entry { at, what }.frame()?;
        let (ack, acked) = oneshot::channel();
        let mut desk = self.desk();
        desk.book.write_begins(&note);
        desk.queue.push(Queued { frame, note, ack });
        if !mem::replace(&mut desk.writing, true) {
            let inner = Arc::clone(self);
            tokio::task::spawn_blocking(move || inner.write_queue());
        }
        Ok(acked)
    }

    /// Writes what is queued, and what is queued meanwhile: one `fsync` for all that came
    /// together. Blocking.
    fn write_queue(&self) {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut batch = {
                let mut desk = self.desk();
                if desk.queue.is_empty() {
                    desk.writing = false;
                    break;
                }
                mem::take(&mut desk.queue)
            };
            let frames: Vec<_> = batch
                .iter_mut()
                .map(|queued| mem::take(&mut queued.frame))
                .collect();
            let written = journal.append(&frames, || self.head());
            self.tell_disk(&written);
            let now = clock::now();
            let mut desk = self.desk();
            let mut acks = Vec::with_capacity(batch.len());
            for (at, queued) in batch.into_iter().enumerate() {
                acks.push(match &written {
                    Ok(places) => {
                        desk.book.written(queued.note, places[at], now);
                        (queued.ack, Ok(()))
                    }
                    Err(error) => {
                        desk.book.write_over(&queued.note);
                        (queued.ack, Err(error.again()))
                    }
                });
            }
            drop(desk);
            self.tell_health(|health| health.bytes = journal.bytes());
            for (ack, result) in acks {
                // Whoever waited may have been given up.
                let _ = ack.send(result);
            }
            self.due.notify_one();
        }
        self.clear_up(&mut journal);
    }

    /// Frees the segments whose entries are all in the sink. Blocking.
    fn clear_up(&self, journal: &mut Journal) {
        let needed = self.desk().book.first_needed();
        let first = needed.unwrap_or(u64::MAX).min(journal.current());
        journal.forget(first);
        self.tell_health(|health| health.bytes = journal.bytes());
    }

    fn head(&self) -> Entry {
        Entry {
            at: clock::wall(),
            what: What::Head {
                life: self.life,
                open: self.desk().book.open(),
            },
        }
    }

    fn tell_disk<T>(&self, written: &Result<T, Error>) {
        let failure = written.as_ref().err().map(ToString::to_string);
        if let Some(failure) = &failure
            && self.health.borrow().disk.is_none()
        {
            error!(
                failure,
                "the spool cannot be written, so transcripts wait in memory"
            );
        }
        self.tell_health(|health| health.disk = failure);
    }

    fn tell_health(&self, change: impl FnOnce(&mut SpoolHealth)) {
        let waiting = self.desk().book.waiting();
        let limit = self.config.max_bytes / 2;
        self.health.send_modify(|health| {
            let before = health.bytes;
            change(health);
            health.waiting = waiting;
            if before <= limit && health.bytes > limit {
                warn!(
                    bytes = health.bytes,
                    waiting, "the spool is half full: the sink behind it takes too little"
                );
            }
        });
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for Spool<S> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Spool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("dir", &self.handle.inner.dir)
            .field("sink", &self.handle.inner.sink)
            .field("health", &*self.handle.inner.health.borrow())
            .finish_non_exhaustive()
    }
}

impl<S> Drop for Handle<S> {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

type Abandoned = Vec<(CallId, CallSummary)>;

/// Reads the journal and closes the calls whose process died. Blocking.
fn recover(
    dir: &Path,
    limits: Limits,
    (now, wall): (std::time::Instant, Timestamp),
) -> Result<(Journal, Book, Abandoned, u64), Error> {
    let mut book = Book::default();
    let mut lives: HashMap<u64, Timestamp> = HashMap::new();
    let mut life = 0;
    let mut journal = Journal::open(dir, limits, &mut |place, entry| {
        if let What::Head { life: of, .. } = entry.what {
            life = of;
        }
        let alive = lives.entry(life).or_insert(entry.at);
        *alive = entry.at.max(*alive);
        book.replay(entry, life, place, now);
    })?;
    let life = Uuid::new_v4().as_u64_pair().0;
    let abandoned = book.abandoned(&lives);
    let mut frames = Vec::with_capacity(abandoned.len());
    for (call, summary) in &abandoned {
        let what = What::End {
            call: call.clone(),
            summary: summary.into(),
        };
        frames.push(Entry { at: wall, what }.frame()?);
    }
    if !frames.is_empty() {
        let open = book.open();
        let head = || Entry {
            at: wall,
            what: What::Head { life, open },
        };
        let places = journal.append(&frames, head)?;
        for ((call, _), place) in abandoned.iter().zip(places) {
            book.written(Note::End { call: call.clone() }, place, now);
        }
    }
    Ok((journal, book, abandoned, life))
}

/// Runs `work` where it may wait for a disk. It runs to its end also when nobody waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, ProviderError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(ProviderError::from),
        Err(error) => Err(ProviderError::new(PROVIDER, ProviderErrorKind::Unavailable)
            .with_detail("the work was not carried out")
            .with_source(error)),
    }
}

#[cfg(test)]
mod tests;
