//! What goes wrong: processes die, the carrier fails, people pause the campaign and opt out, and
//! calls are placed by hand meanwhile.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use novavoice::testkit::vonage::{Failing, Fault};
use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};
use uuid::Uuid;

use crate::{
    balancer::alive,
    crowd::{self, Kind},
    fleet::{Fleet, NODES, TOKEN},
};

/// What was done, and when.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    pub(crate) kills: usize,
    /// Which node was asked to stop, when, and when it was back.
    pub(crate) stops: Vec<(usize, Timestamp, Timestamp)>,
    /// When each node listened again.
    pub(crate) starts: Vec<(usize, Timestamp)>,
    /// From the answer to a pause to the request to resume.
    pub(crate) pauses: Vec<(Timestamp, Timestamp)>,
    /// Who opted out, and when that was answered.
    pub(crate) opted_out: Vec<(usize, Timestamp)>,
    /// Calls that were placed by hand.
    pub(crate) by_hand: usize,
    pub(crate) faults: usize,
}

pub(crate) fn make(fleet: &Arc<Fleet>) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(deaths(Arc::clone(fleet))),
        tokio::spawn(failures(Arc::clone(fleet))),
        tokio::spawn(pauses(Arc::clone(fleet))),
        tokio::spawn(second_thoughts(Arc::clone(fleet))),
        tokio::spawn(hands(Arc::clone(fleet))),
    ]
}

async fn deaths(fleet: Arc<Fleet>) {
    let size = &fleet.size;
    for nth in 0..size.deaths {
        pause(&fleet, size.death.mul_f64(0.5 + unit())).await;
        let through = fleet.campaign().await.counts;
        let peace = i64::try_from(size.peace).unwrap_or(i64::MAX);
        if fleet.is_over() || through.done + through.refused >= peace {
            return;
        }
        match below(100) {
            // All of them, as when the power fails.
            _ if nth % 20 == 10 => {
                let all = (0..NODES).map(|node| kill(&fleet, node));
                futures::future::join_all(all).await;
            }
            0..70 => kill(&fleet, below(NODES)).await,
            _ => stop(&fleet, below(NODES)).await,
        }
    }
}

async fn kill(fleet: &Fleet, nth: usize) {
    let node = fleet.processes[nth].lock().await.take();
    let Some(mut node) = node else { return };
    assert!(node.is_alive(), "node {nth} ended by itself");
    // The balancer has not noticed yet when the first connections fail.
    node.kill().await;
    fleet.nodes()[nth] = None;
    fleet.diary().kills += 1;
    sleep(Duration::from_secs(2).mul_f64(unit())).await;
    back(fleet, nth).await;
}

async fn stop(fleet: &Fleet, nth: usize) {
    let node = fleet.processes[nth].lock().await.take();
    let Some(mut node) = node else { return };
    assert!(node.is_alive(), "node {nth} ended by itself");
    fleet.nodes()[nth] = None;
    node.terminate().await;
    let asked = Timestamp::now();
    let status = node.ended().await;
    assert_eq!(status.code(), Some(0), "node {nth} was asked to stop");
    back(fleet, nth).await;
    let again = Timestamp::now();
    fleet.diary().stops.push((nth, asked, again));
}

async fn back(fleet: &Fleet, nth: usize) {
    fleet.begin(nth).await;
    fleet.diary().starts.push((nth, Timestamp::now()));
}

/// Of requests for a call.
async fn failures(fleet: Arc<Fleet>) {
    let mut placed = 0;
    while !fleet.is_over() {
        // About one request in fifteen.
        let every = Duration::from_secs(15) / u32::try_from(fleet.size.rate).unwrap_or(1);
        pause(&fleet, every.mul_f64(0.5 + unit())).await;
        // In a row they would rightly stop the campaign: they must not pile up while nobody calls.
        let since = fleet.rest.placed() - placed;
        if since < 4 {
            continue;
        }
        placed += since;
        let fault = match below(10) {
            0 => Fault::answer(503, ""),
            1 => Fault::answer(500, "<html>"),
            2..5 => Fault::throttle(None),
            5 => Fault::new(Failing::Broken { carried_out: false }),
            6 => Fault::new(Failing::Silent { carried_out: true }),
            // The call is placed, and whoever asked for it never hears of it.
            _ => Fault::new(Failing::Broken { carried_out: true }),
        };
        fleet.rest.fail(fault.on("POST /v1/calls"));
        fleet.diary().faults += 1;
    }
}

async fn pauses(fleet: Arc<Fleet>) {
    while !fleet.is_over() {
        pause(
            &fleet,
            Duration::from_secs(if fleet.size.leads > 200 { 60 } else { 7 }),
        )
        .await;
        if fleet.is_over() || !fleet.steer("pause").await {
            continue;
        }
        let paused = Timestamp::now();
        sleep(Duration::from_secs(5)).await;
        let resumed = Timestamp::now();
        fleet.diary().pauses.push((paused, resumed));
        while !fleet.steer("resume").await {}
        if fleet.size.leads <= 200 {
            return;
        }
    }
}

/// Some leads say that they do not want to be called any more.
async fn second_thoughts(fleet: Arc<Fleet>) {
    let leads = 0..fleet.size.leads;
    let opting: Vec<_> = leads
        .filter(|lead| Kind::of(*lead) == Kind::OptsOut)
        .collect();
    for lead in opting {
        pause(&fleet, Duration::from_millis(1_500)).await;
        if fleet.is_over() {
            return;
        }
        let path = format!("/leads/%2B{}", crowd::digits(lead));
        let change = json!({"call_status": "do_not_call"});
        if fleet.ask("PATCH", &path, Some(&change)).await.is_some() {
            let answered = Timestamp::now();
            fleet.diary().opted_out.push((lead, answered));
        }
    }
}

/// Calls by hand go over the same account.
async fn hands(fleet: Arc<Fleet>) {
    for nth in 0..90 {
        pause(&fleet, Duration::from_secs(2)).await;
        if fleet.is_over() {
            return;
        }
        let to = crowd::phone(fleet.size.leads + 100 + nth);
        let body = json!({"to": to.reveal(), "message": "A word.", "override": true});
        let Some(address) = alive(&fleet.nodes).into_iter().next() else {
            continue;
        };
        let request = fleet.client.post(format!("http://{address}/call/simple"));
        let request = request.bearer_auth(TOKEN).json(&body);
        // Asked once: whether it was placed is not known when the node dies.
        if let Ok(answer) = request.send().await
            && answer.status().is_success()
        {
            fleet.diary().by_hand += 1;
        }
    }
}

/// Waits, but not longer than the campaign goes on.
async fn pause(fleet: &Fleet, length: Duration) {
    let until = tokio::time::Instant::now() + length;
    while tokio::time::Instant::now() < until && !fleet.is_over() {
        sleep(Duration::from_millis(50).min(length)).await;
    }
}

/// A number below `limit`.
fn below(limit: usize) -> usize {
    let (random, ..) = Uuid::new_v4().as_fields();
    usize::try_from(random).unwrap_or(0) % limit
}

/// A number between 0 and 1.
fn unit() -> f64 {
    let (random, ..) = Uuid::new_v4().as_fields();
    f64::from(random) / f64::from(u32::MAX)
}
