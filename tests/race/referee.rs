//! Starts the processes, kills them, and checks what they wrote down against the rules and the
//! table.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    env, fmt,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use jiff::Timestamp;
use novavoice::lead::{Claimant, Lead, LeadCallStatus, LeadFilter, LeadQuery, LeadStore};
use tokio::time::{Instant, sleep};

use crate::{
    diary::{self, Entry, Event},
    store::{Place, phone},
    worker::{Job, chance},
};

pub(crate) struct Race {
    pub(crate) leads: usize,
    pub(crate) lease: Duration,
    pub(crate) kill_every: Duration,
    /// Of a hundred leads, during how many a worker falls asleep.
    pub(crate) sleepy: u64,
}

const PROCESSES: usize = 4;
const WORKERS: usize = 2;

/// A race that is not over by then is stuck.
const PATIENCE: Duration = Duration::from_mins(20);

pub(crate) struct Outcome {
    leads: usize,
    kills: usize,
    claims: usize,
    again: usize,
    writes: usize,
    renewals: usize,
    refused: usize,
    unlogged: u64,
    took: Duration,
}

impl Race {
    pub(crate) async fn run(&self, place: &Place, home: &Path) -> Outcome {
        let store = place.open().await;
        for n in 0..self.leads {
            let stored = store.upsert(Lead::new(phone(n))).await;
            stored.expect("a lead is stored");
        }
        let began = Instant::now();
        let kills = self.work(place, home, &*store).await;
        let took = began.elapsed();
        self.judge(&diary::read(home), &*store, kills, took).await
    }

    /// Workers work and die until every lead is called; answers with the number of kills.
    async fn work(&self, place: &Place, home: &Path, store: &dyn LeadStore) -> usize {
        let mut born = 0..;
        let mut start = || {
            let name = format!("process {}", born.next().unwrap_or_default());
            let job = Job {
                place: place.clone(),
                diary: home.join(&name).with_extension("diary"),
                name,
                lease: self.lease,
                sleepy: self.sleepy,
            };
            let program = env::current_exe().expect("this program");
            let child = Command::new(program)
                .env("RACE_JOB", serde_json::to_string(&job).expect("JSON"))
                .spawn();
            Process(child.expect("a process starts"))
        };
        let mut running: Vec<Process> = (0..PROCESSES).map(|_| start()).collect();
        let mut kills = 0;
        let deadline = Instant::now() + PATIENCE;
        while !self.is_over(home, store).await {
            assert!(Instant::now() < deadline, "the race is stuck");
            // Somewhere between half and one and a half of it.
            sleep(self.kill_every / 2).await;
            sleep(self.kill_every.mul_f64(unit())).await;
            let victim = usize::try_from(chance(PROCESSES as u64)).expect("few");
            let victim = &mut running[victim];
            assert!(victim.is_alive(), "a worker ended by itself");
            victim.kill();
            kills += 1;
            *victim = start();
        }
        kills + PROCESSES
    }

    /// By the diaries first, since the table is large; then by the table.
    async fn is_over(&self, home: &Path, store: &dyn LeadStore) -> bool {
        let settled: HashSet<_> = diary::read(home)
            .into_iter()
            .filter(|entry| entry.event == Event::Settled)
            .map(|entry| entry.phone)
            .collect();
        if settled.len() * 100 < self.leads * 95 {
            return false;
        }
        let called = all(store, LeadFilter::all().with_call_status("called")).await;
        called.len() == self.leads
    }

    async fn judge(
        &self,
        entries: &[Entry],
        store: &dyn LeadStore,
        kills: usize,
        took: Duration,
    ) -> Outcome {
        let mut by_lead: HashMap<&str, BTreeMap<u64, Vec<&Entry>>> = HashMap::new();
        for entry in entries {
            let fences = by_lead.entry(&entry.phone).or_default();
            fences.entry(entry.fence).or_default().push(entry);
        }
        let leads = all(store, LeadFilter::all()).await;
        assert_eq!(leads.len(), self.leads);
        let mut unlogged = 0;
        for lead in &leads {
            assert_eq!(lead.call_status(), Some(LeadCallStatus::Called));
            let empty = BTreeMap::new();
            let fences = by_lead.get(lead.phone.reveal()).unwrap_or(&empty);
            for fence in fences.values() {
                one_holder(fence);
            }
            for (earlier, later) in fences.iter().zip(fences.iter().skip(1)) {
                in_turn(earlier.1, later.1);
            }
            nothing_overwritten(lead, fences);
            unlogged += unknown_claims(store, lead, fences, took).await;
        }
        // A worker can die between a claim and its diary, once.
        assert!(
            unlogged <= (kills * WORKERS) as u64,
            "{unlogged} claims are missing"
        );
        let count = |which: fn(&Event) -> bool| {
            let events = entries.iter().filter(|entry| which(&entry.event));
            events.count()
        };
        let claims = count(|event| matches!(event, Event::Claimed { .. }));
        let refused = count(|event| matches!(event, Event::Refused));
        assert!(claims > self.leads - kills * WORKERS);
        assert!(refused > 0, "nobody overslept: the race shows nothing");
        Outcome {
            leads: self.leads,
            kills,
            claims,
            again: claims.saturating_sub(by_lead.len()),
            writes: count(|event| matches!(event, Event::Wrote | Event::Settled)),
            renewals: count(|event| matches!(event, Event::Renewed { .. })),
            refused,
            unlogged,
            took,
        }
    }
}

/// A fence was given out once, and settled at most once.
fn one_holder(entries: &[&Entry]) {
    let claims = of(entries, |event| matches!(event, Event::Claimed { .. }));
    assert_eq!(claims.len(), 1, "a fence was given out twice: {entries:?}");
    let settled = of(entries, |event| matches!(event, Event::Settled));
    assert!(settled.len() <= 1, "a claim was settled twice: {entries:?}");
}

/// The later claim began when the earlier one was over, and nothing was taken from the earlier
/// one after that.
fn in_turn(earlier: &[&Entry], later: &[&Entry]) {
    let claim = of(later, |event| matches!(event, Event::Claimed { .. }))[0];
    let Event::Claimed { now, .. } = claim.event else {
        unreachable!("just found");
    };
    let settled = of(earlier, |event| matches!(event, Event::Settled));
    if settled.is_empty() {
        let until = earlier.iter().filter_map(|entry| match entry.event {
            Event::Claimed { until, .. } | Event::Renewed { until } => Some(until),
            _ => None,
        });
        let until = until.max().expect("it was claimed");
        assert!(now >= until, "two held one lead: {earlier:?}, {later:?}");
    } else {
        assert!(claim.answered > settled[0].asked);
    }
    for taken in of(earlier, |event| *event != Event::Refused) {
        assert!(
            taken.asked <= claim.answered,
            "a stale fence wrote: {taken:?} after {claim:?}"
        );
    }
}

/// Every write that was taken is still there, in the order of the fences, and the last settlement
/// is the one that the table shows.
fn nothing_overwritten(lead: &Lead, fences: &BTreeMap<u64, Vec<&Entry>>) {
    let trail = lead.fields.get("trail").and_then(|trail| trail.as_array());
    let trail: Vec<u64> = trail
        .expect("somebody wrote")
        .iter()
        .map(|fence| fence.as_u64().expect("a fence"))
        .collect();
    assert!(trail.is_sorted_by(|a, b| a < b), "{trail:?}");
    for (fence, entries) in fences {
        if entries.iter().any(|entry| entry.event == Event::Wrote) {
            assert!(trail.contains(fence), "{fence} was overwritten: {trail:?}");
        }
    }
    let settled_by = lead.fields.get("settled_by").and_then(|by| by.as_u64());
    let settled = fences
        .iter()
        .filter(|(_, entries)| entries.iter().any(|e| e.event == Event::Settled));
    let last = settled.map(|(fence, _)| *fence).max();
    assert!(settled_by >= last, "{settled_by:?} overwrote {last:?}");
}

/// Claims of the lead that no diary has: the store's own count of them, less those known.
async fn unknown_claims(
    store: &dyn LeadStore,
    lead: &Lead,
    fences: &BTreeMap<u64, Vec<&Entry>>,
    took: Duration,
) -> u64 {
    let afterwards = Timestamp::now() + took * 2 + Duration::from_mins(10);
    let claimant = Claimant::new("referee", afterwards);
    let claim = store.claim(&lead.phone, &claimant).await;
    let claim = claim.expect("the store answers").expect("nobody holds it");
    let known = fences.len() as u64;
    (claim.fence - 1)
        .checked_sub(known)
        .expect("fences are counted")
}

fn of<'e>(entries: &[&'e Entry], which: fn(&Event) -> bool) -> Vec<&'e Entry> {
    let entries = entries.iter().copied();
    entries.filter(|entry| which(&entry.event)).collect()
}

async fn all(store: &dyn LeadStore, filter: LeadFilter) -> Vec<Lead> {
    let mut query = LeadQuery::new(filter).with_limit(1_000);
    let mut leads = Vec::new();
    loop {
        let page = store.query(&query).await.expect("the store answers");
        leads.extend(page.leads);
        match page.next {
            Some(next) => query = query.after(next),
            None => return leads,
        }
    }
}

/// From 0 to 1.
fn unit() -> f64 {
    f64::from(u32::try_from(chance(1_000)).expect("small")) / 1_000.0
}

/// Killed when nobody needs it any more.
struct Process(Child);

impl Process {
    fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// With SIGKILL: it has no last words.
    fn kill(&mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("it is dead");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} leads, all reached, in {:.1} s; {} kills, {} claims ({} of them again, {} more \
             without a diary), {} renewals, {} writes taken, {} refused",
            self.leads,
            self.took.as_secs_f64(),
            self.kills,
            self.claims,
            self.again,
            self.unlogged,
            self.renewals,
            self.writes,
            self.refused,
        )
    }
}
