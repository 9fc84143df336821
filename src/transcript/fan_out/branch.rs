//! One sink's queue and worker.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinError, JoinSet},
    time::timeout,
};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{Acknowledge, Settings};
use crate::{
    call::{CallId, CallInfo, CallSummary},
    error::{ProviderError, ProviderErrorKind},
    transcript::{Spool, TranscriptSink, Utterance},
};

/// How one sink of several is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkHealth {
    /// The name under which it was added.
    pub name: &'static str,
    /// Starts, lines and ends that wait for it in memory.
    pub queued: usize,
    /// Those that wait on the disk, since the queue was full.
    pub spilled: usize,
    /// What it failed with last, while it fails.
    pub failing: Option<String>,
    /// Lines that it will not get: it refused one for good, or the queue was full.
    pub missed: u64,
}

#[derive(Clone)]
pub(super) enum Op {
    Start(Arc<CallInfo>),
    Lines(Arc<[Utterance]>),
    End(Arc<CallSummary>),
}

/// Which sink, and what it said: the last line that it knew before a start, else 0.
pub(super) type Answer = (usize, Result<u64, ProviderError>);

pub(super) struct Branch {
    pub(super) name: &'static str,
    pub(super) sink: Arc<dyn TranscriptSink>,
    jobs: mpsc::Sender<Job>,
    health: watch::Sender<SinkHealth>,
    spill: Option<Spill>,
}

type Spill = Spool<Arc<dyn TranscriptSink>>;

struct Job {
    call: CallId,
    op: Op,
    at: usize,
    tell: mpsc::Sender<Answer>,
}

impl Branch {
    pub(super) fn start(
        name: &'static str,
        sink: Arc<dyn TranscriptSink>,
        settings: Settings,
        spill: Option<Spill>,
    ) -> Self {
        let (jobs, received) = mpsc::channel(settings.queue);
        let health = watch::Sender::new(SinkHealth {
            name,
            ..SinkHealth::default()
        });
        let worker = Worker {
            name,
            sink: Arc::clone(&sink),
            settings,
            health: health.clone(),
            // What an earlier process left there comes first.
            spilling: spill.as_ref().is_some_and(|spill| !spill.is_settled()),
            spill: spill.clone(),
            queues: HashMap::new(),
            held: 0,
            calls: HashMap::new(),
            behind: HashSet::new(),
            work: JoinSet::new(),
            tasks: HashMap::new(),
        };
        tokio::spawn(worker.run(received));
        Self {
            name,
            sink,
            jobs,
            health,
            spill,
        }
    }

    /// Queues `op`. Where any sink will do, a full queue is not waited for.
    pub(super) async fn submit(
        &self,
        policy: Acknowledge,
        call: &CallId,
        op: Op,
        at: usize,
        tell: &mpsc::Sender<Answer>,
    ) {
        let job = Job {
            call: call.clone(),
            op,
            at,
            tell: tell.clone(),
        };
        self.health.send_modify(|health| health.queued += 1);
        let refused = match policy {
            Acknowledge::All => self.jobs.send(job).await.map_err(|error| error.0),
            Acknowledge::Any => self.jobs.try_send(job).map_err(|error| match error {
                mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job) => {
                    job
                }
            }),
        };
        if let Err(job) = refused {
            let lines = job.lines();
            self.health.send_modify(|health| {
                health.queued -= 1;
                health.missed += lines;
            });
            error!(sink = self.name, lines, call_id = %call, "a sink's queue is full: it misses lines");
            job.answer(Err(ProviderError::new(
                self.name,
                ProviderErrorKind::Unavailable,
            )
            .with_detail("its queue is full")));
        }
    }

    pub(super) fn health(&self) -> SinkHealth {
        let mut health = self.health.borrow().clone();
        health.spilled = self
            .spill
            .as_ref()
            .map_or(0, |spill| spill.health().waiting);
        health
    }

    pub(super) async fn flushed(&self) {
        let mut health = self.health.subscribe();
        // An error would say that the worker is gone, which this very borrow keeps.
        let _ = health.wait_for(|health| health.queued == 0).await;
        if let Some(spill) = &self.spill {
            spill.drained().await;
        }
    }
}

impl Job {
    fn lines(&self) -> u64 {
        match &self.op {
            Op::Lines(lines) => lines.len() as u64,
            Op::Start(_) | Op::End(_) => 0,
        }
    }

    fn answer(self, answer: Result<u64, ProviderError>) {
        // Whoever asked may be content with another sink's answer.
        let _ = self.tell.try_send((self.at, answer));
    }
}

type Done = (Job, Result<u64, ProviderError>);
type Joined = Result<(task::Id, Done), JoinError>;

struct Worker {
    name: &'static str,
    sink: Arc<dyn TranscriptSink>,
    settings: Settings,
    health: watch::Sender<SinkHealth>,
    spill: Option<Spill>,
    /// What comes goes to the disk until all of it is in the sink.
    spilling: bool,
    /// What waits behind the thing that each call's task does.
    queues: HashMap<CallId, VecDeque<Job>>,
    /// Jobs in memory, those that are being done included.
    held: usize,
    /// The open calls, and the last line that came of each.
    calls: HashMap<CallId, (Arc<CallInfo>, u64)>,
    /// The calls that lack a line: the sink refuses the next ones, and that was said.
    behind: HashSet<CallId>,
    work: JoinSet<Done>,
    /// Whose job each task does.
    tasks: HashMap<task::Id, CallId>,
}

impl Worker {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        loop {
            let room = self.spill.is_some() || self.held < self.settings.queue;
            tokio::select! {
                Some(done) = self.work.join_next_with_id() => self.joined(done),
                job = jobs.recv(), if room => match job {
                    Some(job) => self.take(job).await,
                    None => break,
                },
            }
        }
        let rest = async {
            while let Some(done) = self.work.join_next_with_id().await {
                self.joined(done);
            }
        };
        if timeout(LAST_WORK, rest).await.is_err() {
            error!(
                sink = self.name,
                "a sink did not take everything before the end"
            );
        }
    }

    async fn take(&mut self, job: Job) {
        if self.spilling && self.held == 0 && self.spill.as_ref().is_some_and(Spool::is_settled) {
            self.unspill().await;
        }
        if !self.spilling && self.held >= self.settings.queue && self.spill.is_some() {
            warn!(
                sink = self.name,
                "a sink is behind: what it misses waits on the disk"
            );
            self.spilling = true;
            self.open_gate();
        }
        if self.spilling {
            self.spill(job).await;
        } else {
            self.note(&job);
            self.held += 1;
            let queue = self.queues.entry(job.call.clone());
            match queue {
                Entry::Occupied(mut queue) => queue.get_mut().push_back(job),
                Entry::Vacant(queue) => {
                    queue.insert(VecDeque::new());
                    self.begin(job);
                }
            }
        }
    }

    fn begin(&mut self, job: Job) {
        let call = job.call.clone();
        let (sink, settings, health) = (
            Arc::clone(&self.sink),
            self.settings.clone(),
            self.health.clone(),
        );
        let task = self.work.spawn(async move {
            let result = insist(&*sink, &job, &settings, &health).await;
            (job, result)
        });
        self.tasks.insert(task.id(), call);
    }

    fn joined(&mut self, done: Joined) {
        match done {
            Ok((task, (job, result))) => {
                self.tasks.remove(&task);
                self.done(job, result);
            }
            // The sink panicked. Whoever asked gets no answer, and the call goes on.
            Err(error) => {
                error!(sink = self.name, %error, "a sink broke off");
                if let Some(call) = self.tasks.remove(&error.id()) {
                    self.next(&call);
                }
            }
        }
    }

    fn done(&mut self, job: Job, result: Result<u64, ProviderError>) {
        let call = job.call.clone();
        let lines = job.lines();
        match (&result, &job.op) {
            (Ok(_), Op::Start(_)) => {
                self.behind.remove(&call);
            }
            (Ok(_), Op::End(_)) => {
                self.behind.remove(&call);
                self.calls.remove(&call);
            }
            // Nobody brings it again, since another sink has it.
            (Err(failure), Op::Lines(_)) if self.settings.policy == Acknowledge::Any => {
                if self.behind.insert(call.clone()) {
                    error!(
                        sink = self.name,
                        call_id = %call,
                        error = failure as &dyn std::error::Error,
                        "a sink refuses a line, and misses those behind it"
                    );
                }
                self.health.send_modify(|health| health.missed += lines);
            }
            _ => {}
        }
        job.answer(result);
        self.next(&call);
    }

    /// One job less, and perhaps another one of the same call.
    fn next(&mut self, call: &CallId) {
        self.held -= 1;
        self.health.send_modify(|health| health.queued -= 1);
        match self.queues.get_mut(call).and_then(VecDeque::pop_front) {
            Some(next) => self.begin(next),
            None => {
                self.queues.remove(call);
            }
        }
        self.open_gate();
    }

    /// What is on the disk comes after what is in memory.
    fn open_gate(&self) {
        if let Some(spill) = &self.spill
            && self.spilling
        {
            spill.set_gate(self.held == 0);
        }
    }

    async fn unspill(&mut self) {
        let Some(spill) = &self.spill else { return };
        match spill.release().await {
            Ok(()) => {
                info!(
                    sink = self.name,
                    "a sink that was behind has everything now"
                );
                self.spilling = false;
            }
            // It goes on as it does.
            Err(error) => warn!(
                sink = self.name,
                error = &error as &dyn std::error::Error,
                "the disk that a sink spills to fails"
            ),
        }
    }

    async fn spill(&mut self, job: Job) {
        let Some(spill) = self.spill.clone() else {
            return;
        };
        let result = async {
            let call = &job.call;
            if !matches!(job.op, Op::Start(_))
                && let Some((info, last)) = self.calls.get(call)
            {
                spill.take_over(info, *last).await?;
            }
            match &job.op {
                Op::Start(info) => spill.start(info).await,
                Op::Lines(lines) => spill.record_all(call, lines).await.map(|()| 0),
                Op::End(summary) => spill.end(call, summary).await.map(|()| 0),
            }
        }
        .await;
        if let (Err(failure), Acknowledge::Any) = (&result, self.settings.policy) {
            let lines = job.lines();
            error!(
                sink = self.name,
                lines,
                call_id = %job.call,
                error = failure as &dyn std::error::Error,
                "a sink is behind and the disk fails, so it misses lines"
            );
            self.health.send_modify(|health| health.missed += lines);
        } else {
            self.note(&job);
        }
        self.health.send_modify(|health| health.queued -= 1);
        job.answer(result);
    }

    fn note(&mut self, job: &Job) {
        match &job.op {
            Op::Start(info) => {
                let known = self.calls.get(&job.call).map_or(0, |(_, last)| *last);
                self.calls
                    .insert(job.call.clone(), (Arc::clone(info), known));
            }
            Op::Lines(lines) => {
                if let (Some((_, last)), Some(line)) = (self.calls.get_mut(&job.call), lines.last())
                {
                    *last = line.seq.max(*last);
                }
            }
            Op::End(_) => {}
        }
    }
}

/// Tells the sink until it listens, or for as often as is right.
async fn insist(
    sink: &dyn TranscriptSink,
    job: &Job,
    settings: &Settings,
    health: &watch::Sender<SinkHealth>,
) -> Result<u64, ProviderError> {
    let mut tries = 0;
    loop {
        let told = async {
            match &job.op {
                Op::Start(info) => sink.start(info).await,
                Op::Lines(lines) => sink.record_all(&job.call, lines).await.map(|()| 0),
                Op::End(summary) => sink.end(&job.call, summary).await.map(|()| 0),
            }
        };
        let result = match timeout(settings.timeout, told).await {
            Ok(result) => result,
            Err(_) => Err(ProviderError::new(PROVIDER, ProviderErrorKind::TimedOut)
                .with_detail("the sink does not answer")),
        };
        tries += 1;
        match result {
            Err(failure)
                if failure.kind().is_retryable()
                    && settings.tries.is_none_or(|most| tries < most) =>
            {
                tell(health, Some(&failure));
                tokio::time::sleep(pause(tries)).await;
            }
            result => {
                tell(health, result.as_ref().err());
                return result;
            }
        }
    }
}

fn tell(health: &watch::Sender<SinkHealth>, failure: Option<&ProviderError>) {
    let failing = failure.map(ToString::to_string);
    health.send_if_modified(|health| {
        let changed = health.failing != failing;
        if changed {
            match &failing {
                Some(failure) => warn!(sink = health.name, failure, "a sink fails"),
                None => info!(sink = health.name, "a sink works again"),
            }
            health.failing = failing;
        }
        changed
    });
}

/// Doubles with each try, up to five seconds; between half of it and all of it.
fn pause(tries: u32) -> Duration {
    let doubled = FIRST_PAUSE * 2_u32.pow(tries.min(8));
    let pause = doubled.min(LONGEST_PAUSE);
    let random = (Uuid::new_v4().as_u128() & 0xffff) as u32;
    pause / 2 + pause / 2 * random / 0xffff
}

const PROVIDER: &str = "fan-out";
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const LAST_WORK: Duration = Duration::from_secs(5);
