//! Several sinks as one.
//!
//! Each sink has a bounded queue and a worker of its own, so that one that is slow or fails
//! holds up neither the call nor another sink. [`Acknowledge`] says whose acknowledgement counts.
//! Errors carry the name under which the sink was added.
//!
//! A sink may be behind the others when a call goes on after a crash. `start` reads what it
//! lacks from one that has it, where that one can be read, so that all go on with the same
//! number.
//!
//! # All
//!
//! A line is acknowledged once every sink has it. A sink that fails is tried a few times, then
//! the line fails, and whoever recorded it tries again. What a remote sink may hold up this way
//! is up to you: put a [`Spool`] in front of it.
//!
//! The sink that was added first gets starts and lines before the others, and ends after them. So
//! whatever recovers the calls of a dead process from it, as
//! [`FileSink::recover`](super::FileSink::recover) does, finds each line that is in another, and
//! each call that may still be open there.
//!
//! # Any
//!
//! A line is acknowledged once one sink has it. The others are tried for as long as it takes;
//! what they are behind waits in their queues, and past that on the disk, where
//! [`spill_to`](FanOutBuilder::spill_to) names a directory: in a [`Spool`], which
//! the next process reads. Without one, a sink whose queue is full misses lines; the log and
//! [`FanOut::health`] say so.

mod branch;

use std::{fmt, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::mpsc, time::Instant};
use tracing::warn;

pub use self::branch::SinkHealth;
use self::branch::{Answer, Branch, Op};
use super::{Spool, spool::SpoolConfig};
use crate::{
    call::{CallId, CallInfo, CallSummary},
    clock,
    error::{ProviderError, ProviderErrorKind},
    transcript::{TranscriptSink, Utterance},
};

/// Gives every line to several sinks. See [the module](self).
///
/// Clones share the sinks. When the last one is gone, the workers bring what is queued to its
/// end, as far as that takes no more than a few seconds; [`flushed`](Self::flushed) waits for all.
///
/// ```
/// use novavoice::transcript::{FanOut, MemorySink, fan_out::Acknowledge};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), novavoice::ProviderError> {
/// let (near, far) = (MemorySink::new(), MemorySink::new());
/// let both = FanOut::builder(Acknowledge::All)
///     .sink("near", near)
///     .sink("far", far)
///     .build()
///     .await?;
/// # drop(both);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FanOut {
    branches: Arc<[Branch]>,
    policy: Acknowledge,
}

/// Whose acknowledgement counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "one, or every one")]
pub enum Acknowledge {
    /// Every sink's.
    All,
    /// The first one's.
    Any,
}

/// Puts a [`FanOut`] together.
#[derive(Debug)]
#[must_use]
pub struct FanOutBuilder {
    sinks: Vec<(&'static str, Arc<dyn TranscriptSink>)>,
    settings: Settings,
    spill: Option<PathBuf>,
}

/// What all branches have in common.
#[derive(Clone, Debug)]
struct Settings {
    policy: Acknowledge,
    queue: usize,
    timeout: Duration,
    /// Tries of one thing, or `None` for as many as it takes.
    tries: Option<u32>,
}

impl FanOut {
    /// No sinks yet.
    pub fn builder(policy: Acknowledge) -> FanOutBuilder {
        FanOutBuilder {
            sinks: Vec::new(),
            settings: Settings {
                policy,
                queue: 1_024,
                timeout: Duration::from_secs(30),
                tries: match policy {
                    Acknowledge::All => Some(3),
                    Acknowledge::Any => None,
                },
            },
            spill: None,
        }
    }

    /// How each sink is, in the order in which they were added.
    #[must_use]
    pub fn health(&self) -> Vec<SinkHealth> {
        self.branches.iter().map(Branch::health).collect()
    }

    /// Waits until every sink has everything: before a process ends.
    pub async fn flushed(&self) {
        for branch in &*self.branches {
            branch.flushed().await;
        }
    }

    /// Gives `op` to the first sink, and once that has it to the others.
    async fn ask_first(&self, call: &CallId, op: Op) -> Vec<Answer> {
        let (first, others) = self.halves();
        let mut answers = self.ask_some(first, call, op.clone()).await;
        if answers.iter().all(|(_, answer)| answer.is_err()) {
            return answers;
        }
        answers.append(&mut self.ask_some(others, call, op).await);
        answers
    }

    /// Gives `op` to the first sink after the others, whatever they say.
    async fn ask_last(&self, call: &CallId, op: Op) -> Vec<Answer> {
        let (first, others) = self.halves();
        let mut answers = self.ask_some(others, call, op.clone()).await;
        answers.append(&mut self.ask_some(first, call, op).await);
        answers
    }

    /// The first sink and the others; where any will do, nobody is waited for.
    fn halves(&self) -> (Range<usize>, Range<usize>) {
        let all = self.branches.len();
        match self.policy {
            Acknowledge::All => (0..all.min(1), all.min(1)..all),
            Acknowledge::Any => (0..all, all..all),
        }
    }

    /// Gives `op` to some sinks; answers with what they say, as the policy waits for it.
    async fn ask_some(&self, which: Range<usize>, call: &CallId, op: Op) -> Vec<Answer> {
        if which.is_empty() {
            return Vec::new();
        }
        let (tell, mut told) = mpsc::channel(which.len());
        for at in which {
            let branch = &self.branches[at];
            branch
                .submit(self.policy, call, op.clone(), at, &tell)
                .await;
        }
        drop(tell);
        let mut answers = Vec::new();
        let mut patience: Option<Instant> = None;
        loop {
            let next = match patience {
                Some(until) => tokio::time::timeout_at(until, told.recv())
                    .await
                    .ok()
                    .flatten(),
                None => told.recv().await,
            };
            let Some((at, answer)) = next else {
                return answers;
            };
            let first = self.policy == Acknowledge::Any && answer.is_ok();
            answers.push((at, answer));
            if first && patience.is_none() {
                // A start is worth a moment's wait for what the others know.
                let wait = if matches!(op, Op::Start(_)) {
                    STARTS
                } else {
                    Duration::ZERO
                };
                patience = Some(Instant::from_std(clock::now()) + wait);
            }
        }
    }

    /// What the answers come to.
    fn conclude(&self, answers: Vec<Answer>) -> Result<u64, ProviderError> {
        let (mut last, mut failure) = (None, None);
        for (at, answer) in answers {
            match answer {
                Ok(seq) => last = last.max(Some(seq)),
                Err(error) if failure.is_none() => failure = Some(self.named(at, error)),
                Err(_) => {}
            }
        }
        match (self.policy, last, failure) {
            (Acknowledge::All, _, Some(failure)) | (_, None, Some(failure)) => Err(failure),
            (_, Some(last), _) => Ok(last),
            (_, None, None) => Err(ProviderError::new(PROVIDER, ProviderErrorKind::Unavailable)
                .with_detail("no sink answered")),
        }
    }

    fn named(&self, at: usize, error: ProviderError) -> ProviderError {
        let name = self.branches.get(at).map_or(PROVIDER, |branch| branch.name);
        ProviderError::new(name, error.kind().clone())
            .with_detail(error.detail().unwrap_or("the sink failed").to_owned())
            .with_source(error)
    }

    /// Gives the sinks that are behind what they lack.
    async fn catch_up(&self, call: &CallId, last: u64, known: &[(usize, u64)]) {
        let behind: Vec<_> = known.iter().filter(|(_, seq)| *seq < last).collect();
        let Some(least) = behind.iter().map(|(_, seq)| *seq).min() else {
            return;
        };
        let ahead = known.iter().filter(|(_, seq)| *seq == last);
        for (at, _) in ahead {
            let read = self.branches[*at].sink.read_back(call, least).await;
            let lines = match read {
                Ok(Some(lines)) => lines,
                Ok(None) => continue,
                Err(error) => {
                    let error = self.named(*at, error);
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "a transcript cannot be read back"
                    );
                    continue;
                }
            };
            let (tell, mut told) = mpsc::channel(behind.len());
            for (at, seq) in &behind {
                let lacking: Vec<_> = lines
                    .iter()
                    .filter(|line| line.seq > *seq)
                    .cloned()
                    .collect();
                let op = Op::Lines(lacking.into());
                self.branches[*at]
                    .submit(self.policy, call, op, *at, &tell)
                    .await;
            }
            drop(tell);
            while let Some((at, answer)) = told.recv().await {
                if let Err(error) = answer {
                    let error = self.named(at, error);
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "a sink that was behind does not catch up"
                    );
                }
            }
            return;
        }
        warn!(call_id = %call, "a sink lacks lines of a call, and no other one can be read");
    }
}

impl FanOutBuilder {
    /// One more sink. Its errors carry `name`.
    pub fn sink(mut self, name: &'static str, sink: impl TranscriptSink) -> Self {
        self.sinks.push((name, Arc::new(sink)));
        self
    }

    /// How many starts, lines and ends may wait in memory for one sink. Default: 1024.
    pub fn queue(mut self, length: usize) -> Self {
        self.settings.queue = length.max(1);
        self
    }

    /// How long a sink may take for one thing. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How often a sink is tried before a line fails. Default: 3 where every sink has to
    /// acknowledge, else as often as it takes.
    pub fn tries(mut self, tries: u32) -> Self {
        self.settings.tries = Some(tries.max(1));
        self
    }

    /// Where what a full queue does not take is put: each sink gets a directory of its own there,
    /// named like the sink.
    pub fn spill_to(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spill = Some(dir.into());
        self
    }

    /// Starts the workers. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// When a directory to spill to cannot be read or written.
    pub async fn build(self) -> Result<FanOut, ProviderError> {
        let mut branches = Vec::with_capacity(self.sinks.len());
        for (name, sink) in self.sinks {
            let spill = match &self.spill {
                Some(dir) => Some(spill(dir.join(name), &sink).await?),
                None => None,
            };
            branches.push(Branch::start(name, sink, self.settings.clone(), spill));
        }
        Ok(FanOut {
            branches: branches.into(),
            policy: self.settings.policy,
        })
    }
}

#[async_trait]
impl TranscriptSink for FanOut {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        let answers = self
            .ask_first(&call.id, Op::Start(Arc::new(call.clone())))
            .await;
        let known: Vec<_> = answers
            .iter()
            .filter_map(|(at, answer)| Some((*at, *answer.as_ref().ok()?)))
            .collect();
        let last = self.conclude(answers)?;
        self.catch_up(&call.id, last, &known).await;
        Ok(last)
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        self.record_all(call, std::slice::from_ref(line)).await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        let answers = self
            .ask_last(call, Op::End(Arc::new(summary.clone())))
            .await;
        self.conclude(answers).map(drop)
    }

    async fn record_all(&self, call: &CallId, lines: &[Utterance]) -> Result<(), ProviderError> {
        if lines.is_empty() {
            return Ok(());
        }
        let answers = self.ask_first(call, Op::Lines(lines.into())).await;
        self.conclude(answers).map(drop)
    }

    /// Of the sink that knows most, as far as they can be read.
    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        let (mut most, mut failure) = (None::<Vec<Utterance>>, None);
        for (at, branch) in self.branches.iter().enumerate() {
            match branch.sink.read_back(call, after).await {
                Ok(Some(lines)) if most.as_ref().is_none_or(|most| most.len() < lines.len()) => {
                    most = Some(lines);
                }
                Ok(_) => {}
                Err(error) => failure = Some(self.named(at, error)),
            }
        }
        match (most, failure) {
            (None, Some(failure)) => Err(failure),
            (most, _) => Ok(most),
        }
    }
}

impl fmt::Debug for FanOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOut")
            .field("policy", &self.policy)
            .field("sinks", &self.health())
            .finish()
    }
}

/// What it hands on waits until the queue is empty, but for what an earlier process left.
async fn spill(
    dir: PathBuf,
    sink: &Arc<dyn TranscriptSink>,
) -> Result<Spool<Arc<dyn TranscriptSink>>, ProviderError> {
    Spool::open_gated(dir, Arc::clone(sink), SpoolConfig::default(), true).await
}

const PROVIDER: &str = "fan-out";

/// How long a start waits for the other sinks once one has answered.
const STARTS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
