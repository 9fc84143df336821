//! Runs campaigns on one node; any number of nodes share them through the stores.
//!
//! What a node does is written down before it is done, by writes that only one node can make, so
//! nodes may start, stop and die at any time. A node says every few seconds that it lives; what
//! one leaves behind that does not, others take over: an attempt whose intent was written is
//! looked up at the carrier and settled, and never dialled again.

mod recover;
mod settle;
mod turn;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{
    Campaign, CampaignState, Campaigns, ConsentRule, Gatekeeper, Line,
    attempt::{
        Attempt, CALLS, LEADS_AT_ONCE, MICRO_USD, Stored, Waiting, attempts_of, day_key, due_until,
        enqueue, queue_of,
    },
    campaign::Reading,
    pace,
};
use crate::{
    clock,
    error::{ProviderError, ProviderErrorKind},
    lead::{LeadQuery, LeadStore, PhoneNumber},
    record::CallStore,
    state::{IdRange, Key, Record, StateStore, Write},
};

/// What a worker works with.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a worker that misses one of them must not compile"
)]
pub struct Desk {
    /// Where campaigns and attempts are.
    pub state: Arc<dyn StateStore>,
    /// Whom to call.
    pub leads: Arc<dyn LeadStore>,
    /// What became of calls.
    pub calls: Arc<dyn CallStore>,
    /// The carrier.
    pub line: Arc<dyn Line>,
    /// Asked before every call.
    pub gate: Gatekeeper,
}

/// How a worker works. Start from [`WorkerConfig::default`] and assign what differs.
#[derive(Clone)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// How many calls a second the carrier's account may place, over all nodes and campaigns.
    /// Default: 3.
    pub account_rate: f64,
    /// Who must have agreed to be called, in every campaign. Default: nobody.
    pub consent: ConsentRule,
    /// How often the worker looks for work, and at calls that go on. Default: 500 ms.
    pub poll: Duration,
    /// How often it says that it lives. Default: 15 s.
    pub heartbeat: Duration,
    /// How long after its last word a node counts as dead. Default: 60 s.
    pub silence: Duration,
    /// How long a call that the carrier may or may not have placed is looked for. Default: 30 s.
    pub search: Duration,
    /// How many failures in a row stop a campaign. Default: 5.
    pub failures: u32,
    /// What tells the time.
    pub clock: fn() -> Timestamp,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            account_rate: 3.0,
            consent: ConsentRule::None,
            poll: Duration::from_millis(500),
            heartbeat: Duration::from_secs(15),
            silence: Duration::from_secs(60),
            search: Duration::from_secs(30),
            failures: 5,
            clock: clock::wall,
        }
    }
}

impl fmt::Debug for WorkerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerConfig")
            .field("account_rate", &self.account_rate)
            .field("consent", &self.consent)
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

/// Calls the leads of running campaigns.
#[derive(Clone, Debug)]
pub struct Worker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    desk: Desk,
    config: WorkerConfig,
    campaigns: Campaigns,
    turns: pace::Turns,
    /// This process, and no other.
    node: String,
    wake: Notify,
    hands: Mutex<Hands>,
}

/// What this node is at.
#[derive(Debug, Default)]
struct Hands {
    /// Whose turn it is, or whose call goes on.
    phones: HashSet<PhoneNumber>,
    /// Turns before their intent, by campaign.
    preparing: HashMap<String, usize>,
    /// Attempts that this node sees to.
    attempts: HashSet<String>,
    /// Failures in a row, by campaign.
    failures: HashMap<(String, Failing), u32>,
}

/// What may be out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Failing {
    /// The carrier: it takes no calls.
    Carrier,
    /// What comes after it: calls are placed, and fail.
    Calls,
}

impl Worker {
    /// A worker at `desk`. It does nothing until it [runs](Self::run).
    #[must_use]
    pub fn new(desk: Desk, config: WorkerConfig) -> Self {
        let campaigns = Campaigns::new(Arc::clone(&desk.state));
        let turns = pace::Turns::new(Arc::clone(&desk.state), config.account_rate);
        Self {
            inner: Arc::new(Inner {
                desk,
                config,
                campaigns,
                turns,
                node: Uuid::new_v4().to_string(),
                wake: Notify::new(),
                hands: Mutex::default(),
            }),
        }
    }

    /// Looks for work at once.
    pub fn wake(&self) {
        self.inner.wake.notify_one();
    }

    /// Works until `stop` resolves; then begins no call any more, and returns when those that it
    /// began are settled. What is dropped before that, others settle.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) {
        let inner = &self.inner;
        let mut stop = pin!(stop);
        let (stopping, stopped) = watch::channel(false);
        let mut turns = JoinSet::new();
        let mut rounds = Rounds::default();
        // Beside the rounds: one that takes long must not let this node pass for dead.
        let mut beat = JoinSet::new();
        let heart = Arc::clone(inner);
        beat.spawn(async move { heart.beat_on().await });
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(done) = turns.join_next() => report(done),
                () = async {
                    tokio::select! {
                        () = inner.wake.notified() => {}
                        () = tokio::time::sleep(inner.config.poll) => {}
                    }
                } => {
                    // A round takes a few requests. It must not hold up the stop.
                    tokio::select! {
                        () = &mut stop => break,
                        () = inner.round(&mut rounds, &mut turns, &stopped) => {}
                    }
                }
            }
        }
        stopping.send_replace(true);
        // What is being placed is placed or given back. After that others may see to the calls
        // that go on, in case this process has no time for it.
        while inner.is_preparing() {
            tokio::select! {
                Some(done) = turns.join_next() => report(done),
                () = tokio::time::sleep(inner.config.poll / 10) => {}
            }
        }
        beat.shutdown().await;
        inner.leave().await;
        while let Some(done) = turns.join_next().await {
            report(done);
        }
    }
}

/// When this node did last what it need not do each time.
#[derive(Debug, Default)]
struct Rounds {
    recovery: Option<Timestamp>,
}

impl Inner {
    async fn round(
        self: &Arc<Self>,
        rounds: &mut Rounds,
        turns: &mut JoinSet<()>,
        stop: &watch::Receiver<bool>,
    ) {
        let now = self.now();
        let campaigns = match self.campaigns.list(now).await {
            Ok(campaigns) => campaigns,
            Err(failed) => return complain("the campaigns cannot be read", &failed),
        };
        if is_due(rounds.recovery, now, RECOVERY) {
            rounds.recovery = Some(now);
            for campaign in &campaigns {
                if let Err(failed) = self.take_over(campaign, turns).await {
                    complain("attempts of others cannot be read", &failed);
                }
            }
        }
        // Others call meanwhile, if there are any.
        if self.desk.gate.is_shut().is_some() {
            return;
        }
        for campaign in campaigns {
            if campaign.state == CampaignState::Running
                && let Err(failed) = self.push(&campaign, turns, stop).await
                && *failed.kind() != ProviderErrorKind::Conflict
            {
                complain("a campaign cannot go on for now", &failed);
            }
        }
    }

    /// Takes a running campaign one step further.
    async fn push(
        self: &Arc<Self>,
        campaign: &Campaign,
        turns: &mut JoinSet<()>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), ProviderError> {
        let now = self.now();
        if campaign.reading != Reading::Done {
            // The figures are read anew with the next round.
            return self.read_leads(campaign.clone()).await;
        }
        if campaign.counts.pending == 0 && campaign.counts.in_progress == 0 {
            let finished = self.campaigns.finish(&campaign.id, now).await?;
            if finished.state == CampaignState::Finished {
                info!(campaign = campaign.id, "a campaign is finished");
            }
            return Ok(());
        }
        let running = running_for(campaign, now);
        let free =
            i64::from(campaign.plan.pacing.concurrent(running)) - campaign.counts.in_progress;
        let soon = now.checked_add(self.config.poll).unwrap_or(now);
        if free <= 0
            || self.spent(campaign, now).await?.today
            || pace::next_place(&*self.desk.state, &campaign.id, now).await? > soon
        {
            return Ok(());
        }
        let due = IdRange::all().until(due_until(now));
        let queue = queue_of(&campaign.id);
        let waiting = self.desk.state.list(&queue, &due, LOOK, now).await?;
        let mut waiting: Vec<Stored<Waiting>> = waiting
            .into_iter()
            .map(Stored::read)
            .collect::<Result<_, _>>()?;
        // Nodes that all begin with the first one only get in each other's way.
        let shift = usize::from(Uuid::new_v4().as_bytes()[0]) % waiting.len().max(1);
        waiting.rotate_left(shift);
        let most = usize::try_from(free)
            .unwrap_or(0)
            .min(self.config.abreast(campaign));
        for next in waiting {
            let Some(hand) = Hand::take(self, &campaign.id, &next.value.phone, most) else {
                continue;
            };
            let (inner, campaign, stop) = (Arc::clone(self), campaign.clone(), stop.clone());
            turns.spawn(async move { inner.turn(campaign, next, hand, stop).await });
        }
        Ok(())
    }

    /// Reads the leads of a campaign into its queue.
    async fn read_leads(&self, mut campaign: Campaign) -> Result<(), ProviderError> {
        for _ in 0..PAGES_AT_ONCE {
            let mut query = LeadQuery::new(campaign.plan.filter.clone()).with_limit(LEADS_AT_ONCE);
            match &campaign.reading {
                Reading::Done => return Ok(()),
                Reading::Todo => {}
                Reading::Upto(cursor) => query = query.after(cursor.clone()),
            }
            let page = self.desk.leads.query(&query).await?;
            for problem in &page.problems {
                warn!(
                    campaign = campaign.id,
                    reason = problem.reason,
                    "an item is no lead"
                );
            }
            let now = self.now();
            self.desk
                .state
                .apply(enqueue(&campaign, &page, now)?, now)
                .await?;
            campaign.version += 1;
            campaign.reading = match page.next {
                Some(cursor) => Reading::Upto(cursor),
                None => Reading::Done,
            };
        }
        self.wake.notify_one();
        Ok(())
    }

    /// How far the budget of a campaign is used up.
    async fn spent(&self, campaign: &Campaign, now: Timestamp) -> Result<Spent, ProviderError> {
        let budget = campaign.plan.budget;
        if budget.calls_per_day.is_none() && budget.usd_per_day.is_none() {
            return Ok(Spent::default());
        }
        let today = day_key(campaign, now);
        let (state, all) = (&self.desk.state, IdRange::all());
        let days = state.list(&today.collection, &all, DAYS, now).await?;
        let spent = days.iter().filter(|day| budget_is_spent(campaign, day));
        Ok(spent.fold(Spent::default(), |spent, day| Spent {
            today: spent.today || day.key == today,
            before: spent.before || day.key != today,
        }))
    }

    /// Says again and again that this node lives.
    async fn beat_on(&self) {
        let mut beat = tokio::time::interval(self.config.heartbeat);
        loop {
            beat.tick().await;
            self.beat().await;
        }
    }

    /// Whether a turn is between its beginning and the carrier's answer.
    fn is_preparing(&self) -> bool {
        self.hands().preparing.values().any(|turns| *turns > 0)
    }

    /// Says that this node lives.
    async fn beat(&self) {
        let now = self.now();
        let until = now.checked_add(self.config.silence).unwrap_or(now);
        let write = Write::to(node_key(&self.node))
            .set(json!({ "at": now }))
            .expires(until);
        if let Err(failed) = self.desk.state.apply(vec![write], now).await {
            complain("this node cannot say that it lives", &failed);
        }
    }

    /// Nothing of this node is left to be taken over.
    async fn leave(&self) {
        let gone = Write::to(node_key(&self.node)).delete();
        if let Err(failed) = self.desk.state.apply(vec![gone], self.now()).await {
            complain("this node cannot say that it leaves", &failed);
        }
    }

    /// Something of a campaign failed, or did not. Too many failures in a row stop the campaign:
    /// the carrier or the model is out of order, and every lead would be wasted.
    async fn note_failure(&self, campaign: &str, what: Failing, because: Option<&str>) {
        let key = (campaign.to_owned(), what);
        let in_a_row = {
            let mut hands = self.hands();
            match because {
                Some(_) => {
                    let failures = hands.failures.entry(key.clone()).or_default();
                    *failures += 1;
                    *failures
                }
                None => {
                    hands.failures.remove(&key);
                    0
                }
            }
        };
        let Some(because) = because.filter(|_| in_a_row >= self.config.failures) else {
            return;
        };
        let because = format!("{in_a_row} calls in a row failed, the last one because: {because}");
        error!(campaign, because, "a campaign is stopped");
        self.hands().failures.remove(&key);
        if let Err(failed) = self.campaigns.stop(campaign, &because, self.now()).await {
            complain("a campaign cannot be stopped", &failed);
        }
    }

    fn now(&self) -> Timestamp {
        (self.config.clock)()
    }

    /// Nothing is half done while the lock is held.
    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorkerConfig {
    /// How many leads one node prepares at a time: as many as may be called in two polls. The places
    /// of those that are prepared are lost when the node dies.
    fn abreast(&self, campaign: &Campaign) -> usize {
        let rate = campaign.plan.pacing.calls_per_second.min(self.account_rate);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let abreast = (rate * self.poll.as_secs_f64() * 2.0)
            .ceil()
            .clamp(1.0, 64.0) as usize;
        abreast
    }
}

/// This node's hand on a lead; lets go when dropped.
#[derive(Debug)]
struct Hand {
    inner: Arc<Inner>,
    campaign: String,
    phone: PhoneNumber,
    preparing: bool,
}

impl Hand {
    /// `None` when this node has it already, or is at `most` others of the campaign.
    fn take(inner: &Arc<Inner>, campaign: &str, phone: &PhoneNumber, most: usize) -> Option<Self> {
        let mut hands = inner.hands();
        let preparing = hands.preparing.get(campaign).copied().unwrap_or(0);
        if preparing >= most || !hands.phones.insert(phone.clone()) {
            return None;
        }
        hands.preparing.insert(campaign.to_owned(), preparing + 1);
        drop(hands);
        Some(Self {
            inner: Arc::clone(inner),
            campaign: campaign.to_owned(),
            phone: phone.clone(),
            preparing: true,
        })
    }

    /// The lead is being called: the next one may be prepared.
    fn prepared(&mut self) {
        if std::mem::take(&mut self.preparing)
            && let Some(count) = self.inner.hands().preparing.get_mut(&self.campaign)
        {
            *count = count.saturating_sub(1);
        }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.prepared();
        self.inner.hands().phones.remove(&self.phone);
    }
}

/// Whether a campaign's budget was used up: today, and on any day before.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    today: bool,
    before: bool,
}

fn budget_is_spent(campaign: &Campaign, day: &Record) -> bool {
    let budget = campaign.plan.budget;
    let calls = budget
        .calls_per_day
        .is_some_and(|most| day.counter(CALLS) >= i64::from(most));
    #[expect(clippy::cast_precision_loss, reason = "millionths of dollars of a day")]
    let dollars = budget
        .usd_per_day
        .is_some_and(|most| day.counter(MICRO_USD) as f64 / 1e6 >= most);
    calls || dollars
}

fn running_for(campaign: &Campaign, now: Timestamp) -> SignedDuration {
    now.duration_since(campaign.started.unwrap_or(now))
}

fn is_due(last: Option<Timestamp>, now: Timestamp, every: Duration) -> bool {
    last.and_then(|last| last.checked_add(every).ok())
        .is_none_or(|due| due <= now)
}

fn node_key(node: &str) -> Key {
    Key::new("nodes", node)
}

fn complain(what: &'static str, failed: &ProviderError) {
    warn!(error = failed as &dyn std::error::Error, what);
}

fn report(done: Result<(), tokio::task::JoinError>) {
    if let Err(failed) = done {
        error!(
            error = &failed as &dyn std::error::Error,
            "a campaign's task failed; what it was at is settled later"
        );
    }
}

/// Leads that are looked at to find the next ones.
const LOOK: usize = 64;

/// The longest campaign, in days.
const DAYS: usize = 10_000;

/// Pages of leads that are read in one round.
const PAGES_AT_ONCE: usize = 40;

/// How often it is looked for what dead nodes left behind.
const RECOVERY: Duration = Duration::from_secs(5);
