//! A process with two workers. They claim, write, renew, settle, and at times fall asleep and
//! wake up long after their lease.

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use novavoice::{
    ProviderError, ProviderErrorKind,
    lead::{CallResult, Change, Claim, Claimant, Guard, LeadCallStatus, LeadFilter, LeadStore},
};
use serde::{Deserialize, Serialize};

use crate::{
    diary::{Diary, Entry, Event},
    store::Place,
};

#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) place: Place,
    pub(crate) diary: PathBuf,
    pub(crate) name: String,
    pub(crate) lease: Duration,
    /// Of a hundred leads, during how many a worker falls asleep.
    pub(crate) sleepy: u64,
}

pub(crate) async fn process(job: &str) {
    let job: Job = serde_json::from_str(job).expect("a job");
    let store = job.place.open().await;
    let diary = Arc::new(Diary::open(&job.diary));
    let workers = ["a", "b"].map(|letter| {
        let worker = Worker {
            store: Arc::clone(&store),
            diary: Arc::clone(&diary),
            name: format!("{}{letter}", job.name),
            lease: job.lease,
            sleepy: job.sleepy,
        };
        tokio::spawn(async move { worker.work().await })
    });
    for worker in workers {
        worker.await.expect("a worker does not fail");
    }
}

struct Worker {
    store: Arc<dyn LeadStore>,
    diary: Arc<Diary>,
    name: String,
    lease: Duration,
    sleepy: u64,
}

impl Worker {
    /// Until it is killed.
    async fn work(&self) {
        loop {
            let asked = self.diary.clock();
            let now = Timestamp::now();
            let claimant = Claimant::new(&self.name, now).with_lease(self.lease);
            let claimed = self.store.claim_next(&LeadFilter::all(), &claimant).await;
            match claimed {
                Ok(Some(claim)) => {
                    let event = Event::Claimed {
                        now: now.as_millisecond(),
                        until: claim.until.as_millisecond(),
                    };
                    self.note(&claim, asked, event);
                    self.call(claim).await;
                }
                Ok(None) => tokio::time::sleep(Duration::from_millis(200)).await,
                // The store is overrun: it is asked again.
                Err(error) if error.kind().is_retryable() => {
                    eprintln!("{}: {error}", self.name);
                }
                Err(error) => panic!("the store answers: {error}"),
            }
        }
    }

    /// What stands for a call: a first write, some time, a last write.
    async fn call(&self, claim: Claim) {
        let mut trail = claim.lead.fields.get("trail").cloned();
        let trail = trail.get_or_insert_with(|| serde_json::json!([]));
        if let Some(trail) = trail.as_array_mut() {
            trail.push(claim.fence.into());
        }
        let change = Change::new().set("trail", trail.clone());
        let asked = self.diary.clock();
        let guard = Guard::Claim(claim.fence);
        let wrote = self.store.update(&claim.lead.phone, change, guard).await;
        self.wrote(&claim, asked, wrote, Event::Wrote);

        match chance(100) {
            // By the time it wakes up the lead is somebody else's, mostly.
            n if n < self.sleepy => tokio::time::sleep(self.lease * 3 / 2).await,
            n if n < self.sleepy + 15 => {
                let asked = self.diary.clock();
                let until = Timestamp::now() + self.lease;
                let renewed = self.store.renew(&claim, until).await;
                let event = Event::Renewed {
                    until: until.as_millisecond(),
                };
                self.wrote(&claim, asked, renewed, event);
            }
            pause => tokio::time::sleep(Duration::from_millis(pause / 10)).await,
        }

        let asked = self.diary.clock();
        let result = CallResult::new(LeadCallStatus::Called, Timestamp::now());
        let change = Change::new().result(&result).set("settled_by", claim.fence);
        let settled = self.store.settle(&claim, change).await;
        self.wrote(&claim, asked, settled, Event::Settled);
    }

    fn wrote<T>(&self, claim: &Claim, asked: u64, done: Result<T, ProviderError>, event: Event) {
        match done {
            Ok(_) => self.note(claim, asked, event),
            Err(error) if *error.kind() == ProviderErrorKind::Conflict => {
                self.note(claim, asked, Event::Refused);
            }
            // Whether it was written is not known: the lead is left to the next one.
            Err(error) if error.kind().is_retryable() => eprintln!("{}: {error}", self.name),
            Err(error) => panic!("the store answers: {error}"),
        }
    }

    fn note(&self, claim: &Claim, asked: u64, event: Event) {
        self.diary.note(&Entry {
            phone: claim.lead.phone.reveal().to_owned(),
            fence: claim.fence,
            asked,
            answered: self.diary.clock(),
            event,
        });
    }
}

/// A number below `limit`.
pub(crate) fn chance(limit: u64) -> u64 {
    RandomState::new().hash_one(limit) % limit
}
