//! What is seen while it goes on: the calls at the carrier, and how old attempts get.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use novavoice::{
    record::{CallQuery, CallStore},
    state::{IdRange, StateStore},
    testkit::vonage::Call,
};
use tokio::time::{Instant, interval, sleep};

use crate::fleet::Fleet;

#[derive(Default)]
pub(crate) struct Witness {
    calls: Mutex<HashMap<String, Call>>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// The most calls of the campaign at once, at the carrier.
    pub(crate) concurrent: usize,
    /// The oldest attempt that was not settled.
    pub(crate) oldest: SignedDuration,
}

/// Watches until it is given up.
pub(crate) async fn watch(fleet: Arc<Fleet>, witness: Arc<Witness>) {
    let mut look = interval(Duration::from_millis(200));
    let mut attempts = interval(Duration::from_secs(3));
    loop {
        tokio::select! {
            call = fleet.rest.next_call() => {
                witness.calls().insert(call.uuid().to_owned(), call);
            }
            _ = look.tick() => {
                let is_ours = |call: &&Call| goes_on(call) && is_lead(&fleet, call.number());
                let now = witness.calls().values().filter(is_ours).count();
                let mut seen = witness.lock();
                seen.concurrent = seen.concurrent.max(now);
            }
            _ = attempts.tick() => {
                let oldest = oldest(&fleet).await;
                let mut seen = witness.lock();
                seen.oldest = seen.oldest.max(oldest);
            }
        }
    }
}

/// Whether it rings, or somebody talks.
fn goes_on(call: &Call) -> bool {
    matches!(&*call.status(), "" | "started" | "ringing" | "answered")
}

/// Whether the campaign may call this number.
pub(crate) fn is_lead(fleet: &Fleet, number: &str) -> bool {
    let area: usize = number.get(1..4).and_then(|it| it.parse().ok()).unwrap_or(0);
    let last: usize = number.get(9..).and_then(|it| it.parse().ok()).unwrap_or(0);
    let areas = (212..area).filter(|area| area % 100 != 11).count();
    areas * 100 + last < fleet.size.leads
}

async fn oldest(fleet: &Fleet) -> SignedDuration {
    let (now, all) = (Timestamp::now(), IdRange::all());
    let collection = format!("attempts/{}", fleet.campaign);
    let attempts = fleet.state.list(&collection, &all, 10_000, now).await;
    let ages = attempts
        .expect("the store answers")
        .into_iter()
        .map(|attempt| {
            let at = attempt.value["at"].as_str().expect("a time");
            now.duration_since(at.parse().expect("a time"))
        });
    ages.max().unwrap_or_default()
}

impl Witness {
    pub(crate) fn calls(&self) -> MutexGuard<'_, HashMap<String, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no call goes on and no record says that one does, for so long as the contract
    /// gives the nodes.
    pub(crate) async fn quiet(&self, fleet: &Fleet) {
        let deadline = Instant::now() + SETTLED;
        while Instant::now() < deadline {
            let live = fleet.calls.list(&CallQuery::live()).await;
            let live = live.expect("the store answers").calls.len();
            if live == 0 && self.calls().values().all(Call::is_over) {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// After a crash everything is settled within this time.
pub(crate) const SETTLED: Duration = Duration::from_secs(180);
