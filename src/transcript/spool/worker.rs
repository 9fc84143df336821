//! Hands on what waits, and tries again for as long as it takes.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::Write,
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    task::{JoinError, JoinSet},
    time::timeout,
};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{
    Inner,
    book::{Linger, Note, Step, Turn},
    entry::What,
    error::{Error, PROVIDER},
    journal::{self, Place},
};
use crate::{
    call::{CallId, CallSummary},
    clock,
    error::{ProviderError, ProviderErrorKind},
    transcript::TranscriptSink,
};

pub(super) async fn run<S: TranscriptSink>(inner: Arc<Inner<S>>) {
    let mut gate = inner.gate.subscribe();
    let mut work = JoinSet::new();
    let mut tasks = HashMap::new();
    let mut outage = Outage::default();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let parallel = if outage.failures == 0 {
            inner.config.parallel
        } else {
            1
        };
        // What is over wakes nobody: the next result does.
        let mut wake = outage.over_at.filter(|then| *then > clock::now());
        if *gate.borrow_and_update() && wake.is_none() {
            while work.len() < parallel {
                match inner.desk().book.turn(clock::now(), inner.linger()) {
                    Turn::Now(call) => {
                        let (inner, whose) = (Arc::clone(&inner), call.clone());
                        let task = work.spawn(async move { hand_on(&inner, whose).await });
                        tasks.insert(task.id(), call);
                    }
                    Turn::At(soonest) => {
                        wake = soonest;
                        break;
                    }
                }
            }
        }
        let sleep = async {
            match wake {
                Some(then) => tokio::time::sleep_until(then.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = work.join_next_with_id() => {
                let result = match done {
                    Ok((task, result)) => {
                        tasks.remove(&task);
                        result
                    }
                    Err(error) => inner.broke_off(tasks.remove(&error.id()), error),
                };
                outage.note(&inner, result);
            }
            () = inner.due.notified() => {}
            () = sleep => {}
            changed = gate.changed() => if changed.is_err() { return },
            _ = tick.tick() => inner.tell_alive(),
        }
    }
}

/// How long the sink has been out of order.
#[derive(Default)]
struct Outage {
    failures: u32,
    over_at: Option<Instant>,
}

impl Outage {
    fn note<S: TranscriptSink>(&mut self, inner: &Inner<S>, result: Result<(), ProviderError>) {
        match result {
            Ok(()) if self.failures == 0 => {}
            Ok(()) => {
                info!(sink = ?inner.sink, "the sink behind the spool works again");
                *self = Self::default();
                inner.tell_health(|health| health.failing = None);
            }
            Err(failure) => {
                if self.over_at.is_some_and(|then| then > clock::now()) {
                    // It began before the one that failed first was known.
                    return;
                }
                let pause = inner.pause(self.failures);
                self.failures += 1;
                self.over_at = Some(clock::now() + pause);
                if self.failures == 1 {
                    warn!(
                        error = &failure as &dyn std::error::Error,
                        "the sink behind the spool takes nothing; what it misses waits on the disk"
                    );
                }
                inner.tell_health(|health| health.failing = Some(failure.to_string()));
            }
        }
    }
}

/// Hands on all that waits of one call. An error is the sink's, not the call's.
async fn hand_on<S: TranscriptSink>(
    inner: &Arc<Inner<S>>,
    call: CallId,
) -> Result<(), ProviderError> {
    let result = loop {
        let Some(step) = inner.desk().book.step(&call, inner.config.batch) else {
            break Ok(());
        };
        match inner.take(&call, &step).await {
            Ok(settled) => {
                inner.took.store(true, Ordering::Relaxed);
                inner.settle(&call, settled);
            }
            Err(failure) if inner.is_the_calls(&failure) => {
                let refusals = inner.desk().book.refused(&call);
                if refusals < REFUSALS || !inner.set_aside(&call, &step, &failure).await {
                    let then = clock::now() + inner.pause(refusals);
                    inner.desk().book.not_before(&call, then);
                    break Ok(());
                }
            }
            Err(failure) => {
                inner.desk().book.set_in_sink(&call, false);
                break Err(failure);
            }
        }
    };
    if inner.desk().book.rest(&call) {
        let note = Note::Done { call: call.clone() };
        // Not waited for: without it the call is handed on once more, which does no harm.
        if let Err(error) = inner.queue(What::Done { call }, note) {
            warn!(%error, "a finished call is not noted as such");
        }
    }
    inner.tell_health(|_| {});
    result
}

impl<S: TranscriptSink> Inner<S> {
    /// Whether it is about what was handed on, rather than about the sink.
    fn is_the_calls(&self, failure: &ProviderError) -> bool {
        use ProviderErrorKind as Kind;
        match failure.kind() {
            Kind::Protocol | Kind::Policy | Kind::Conflict => true,
            // A sink that never took anything is more likely set up wrongly.
            Kind::Invalid => self.took.load(Ordering::Relaxed),
            _ => false,
        }
    }

    /// Tells the sink; answers with how many entries that settles.
    async fn take(&self, call: &CallId, step: &Step) -> Result<usize, ProviderError> {
        match step {
            Step::Start { info, settles } => {
                self.in_time(self.sink.start(info)).await?;
                self.desk().book.set_in_sink(call, true);
                Ok(*settles)
            }
            Step::Lines(places) => {
                let lines = super::book::lines(self.read(places).await?);
                self.in_time(self.sink.record_all(call, &lines)).await?;
                Ok(places.len())
            }
            Step::End(place) => {
                if let [What::End { summary, .. }] = &self.read(&[*place]).await?[..] {
                    let summary = CallSummary::from(summary);
                    self.in_time(self.sink.end(call, &summary)).await?;
                }
                self.desk().book.set_in_sink(call, false);
                Ok(1)
            }
        }
    }

    /// The sink panicked; the call's turn comes again.
    fn broke_off(&self, call: Option<CallId>, error: JoinError) -> Result<(), ProviderError> {
        if let Some(call) = call {
            let mut desk = self.desk();
            desk.book.set_in_sink(&call, false);
            desk.book.rest(&call);
        }
        Err(ProviderError::new(PROVIDER, ProviderErrorKind::Unavailable)
            .with_detail("the sink behind the spool broke off")
            .with_source(error))
    }

    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        match timeout(self.config.timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(ProviderError::new(PROVIDER, ProviderErrorKind::TimedOut)
                .with_detail("the sink behind the spool does not answer")),
        }
    }

    async fn read(&self, places: &[Place]) -> Result<Vec<What>, ProviderError> {
        let (dir, places) = (self.dir.clone(), places.to_vec());
        super::blocking(move || journal::read(&dir, &places)).await
    }

    fn settle(self: &Arc<Self>, call: &CallId, count: usize) {
        let freed = {
            let mut desk = self.desk();
            let before = desk.book.first_needed();
            desk.book.settle(call, count);
            before != desk.book.first_needed()
        };
        self.tell_health(|_| {});
        if freed {
            let inner = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                let mut journal = inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
                inner.clear_up(&mut journal);
            });
        }
    }

    /// Puts what the sink refuses where people find it. `false` when it cannot be put there.
    async fn set_aside(
        self: &Arc<Self>,
        call: &CallId,
        step: &Step,
        failure: &ProviderError,
    ) -> bool {
        let (places, count) = match step {
            // Without its start, no line is taken either: each is refused in its turn.
            Step::Start { settles, .. } => (Vec::new(), *settles),
            Step::Lines(places) => (places.clone(), places.len()),
            Step::End(place) => (vec![*place], 1),
        };
        if count == 0 {
            // The sink knows nothing of the call, so what waits of it goes the same way.
            self.desk().book.set_in_sink(call, true);
            return true;
        }
        let (dir, why) = (self.dir.clone(), failure.to_string());
        let aside = super::blocking(move || set_aside(&dir, &places, &why)).await;
        if let Err(error) = aside {
            error!(
                error = &error as &dyn std::error::Error,
                "what a sink refused cannot be put aside"
            );
            return false;
        }
        error!(
            call_id = %call,
            entries = count,
            error = failure as &dyn std::error::Error,
            "the sink behind the spool refuses a part of a transcript; it is in refused.jsonl"
        );
        self.settle(call, count);
        self.tell_health(|health| health.refused += count as u64);
        true
    }

    /// Notes that the process lives, while a call's end may depend on it.
    fn tell_alive(self: &Arc<Self>) {
        let any_open = self.desk().book.any_open();
        if any_open && let Err(error) = self.queue(What::Alive, Note::Alive) {
            warn!(%error, "the spool cannot note that the process lives");
        }
    }

    pub(super) fn linger(&self) -> Linger {
        Linger {
            lines: self.config.batch,
            time: self.config.linger,
        }
    }

    /// Doubles with each failure; between half of it and all of it, so that nodes do not come
    /// back together.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = self.config.first_pause * 2_u32.pow(failures.min(16));
        let pause = doubled.min(self.config.longest_pause);
        let random = (Uuid::new_v4().as_u128() & 0xffff) as u32;
        pause / 2 + pause / 2 * random / 0xffff
    }
}

/// Appends the entries at `places` to the list of the refused ones. Blocking.
fn set_aside(dir: &Path, places: &[Place], why: &str) -> Result<(), Error> {
    let mut text = Vec::new();
    for what in journal::read(dir, places)? {
        let line = match what {
            What::Line { call, line } => {
                serde_json::json!({ "why": why, "call_uuid": call, "line": line })
            }
            other => serde_json::json!({ "why": why, "entry": other }),
        };
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    let path = dir.join("refused.jsonl");
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(Error::io("open", &path))?;
    file.write_all(&text)
        .and_then(|()| file.sync_data())
        .map_err(Error::io("write to", &path))
}

/// Tries before something is refused for good.
const REFUSALS: u32 = 5;

/// How far the end of an abandoned call may be from the death of its process.
const TICK: Duration = Duration::from_secs(10);
