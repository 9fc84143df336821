//! A carrier that does not place a call at once, and what happens before it is asked again.

use std::time::Duration;

use novavoice::{
    ProviderErrorKind,
    call::Outcome,
    lead::{Change, Claimant, PhoneNumber},
    state::{IdRange, Write},
};
use serde_json::json;

use crate::{
    line::Fault,
    office::{Office, now},
};

const HOUR: Duration = Duration::from_secs(3_600);
/// When the first try is over, and before the second.
const BETWEEN: Duration = Duration::from_secs(2);

/// One lead, and a carrier that lets the first request wait for eight seconds.
async fn at_its_limit() -> (Office, PhoneNumber) {
    let office = Office::new();
    let lead = office.lead(0, &[Outcome::Completed]).await;
    office.line.fail(Fault {
        kind: ProviderErrorKind::Throttled {
            retry_after: Some(Duration::from_secs(8)),
        },
        placed: false,
    });
    (office, lead)
}

#[tokio::test(start_paused = true)]
async fn a_carrier_at_its_limit_is_asked_again_when_it_says_so() {
    let (office, _) = at_its_limit().await;
    let node = office.node();
    let began = now();
    let id = office.start(json!({"retries": {}})).await;
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!((campaign.counts.dialled, campaign.counts.done), (1, 1));
    let calls = office.line.calls();
    let waited = calls[0].at.duration_since(began).as_secs_f64();
    assert!((8.0..11.0).contains(&waited), "{waited}");
    assert_eq!(office.line.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_not_to_be_called_meanwhile_is_not() {
    let (office, lead) = at_its_limit().await;
    let node = office.node();
    let id = office.start(json!({"retries": {}})).await;
    tokio::time::sleep(BETWEEN).await;
    assert_eq!(office.line.asked(), 1);
    office.gate.opt_out(&lead, now()).await.unwrap();
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!((office.line.asked(), office.line.calls().len()), (1, 0));
    assert_eq!((campaign.counts.dialled, campaign.counts.refused), (0, 1));
    assert_eq!(campaign.refusals["opted_out"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_campaign_that_is_paused_meanwhile_calls_nobody_until_it_goes_on() {
    let (office, _) = at_its_limit().await;
    let node = office.node();
    let id = office.start(json!({"retries": {}})).await;
    tokio::time::sleep(BETWEEN).await;
    office.campaigns.pause(&id, now()).await.unwrap();
    tokio::time::sleep(HOUR / 2).await;
    assert_eq!(office.line.asked(), 1);
    let counts = office.campaign(&id).await.counts;
    assert_eq!(
        (counts.dialled, counts.pending, counts.in_progress),
        (0, 1, 0)
    );
    office.campaigns.resume(&id, now()).await.unwrap();
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!((campaign.counts.dialled, campaign.counts.done), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_meanwhile_asks_no_more_and_leaves_the_lead_to_others() {
    let (office, _) = at_its_limit().await;
    let node = office.node();
    let id = office.start(json!({"retries": {}})).await;
    tokio::time::sleep(BETWEEN).await;
    node.stop().await;
    tokio::time::sleep(HOUR / 2).await;
    assert_eq!(office.line.asked(), 1);
    let other = office.node();
    let campaign = office.over(&id, HOUR).await;
    other.stop().await;
    assert_eq!((campaign.counts.dialled, campaign.counts.done), (1, 1));
    assert_eq!(office.line.doubled(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_cannot_be_reached_for_a_moment_stops_no_campaign() {
    let office = Office::new();
    for nth in 0..10 {
        office.lead(nth, &[Outcome::Completed]).await;
    }
    for _ in 0..10 {
        office.line.fail(Fault {
            kind: ProviderErrorKind::Unreachable,
            placed: false,
        });
    }
    let node = office.node();
    let id = office.start(json!({"retries": {}})).await;
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!((campaign.counts.dialled, campaign.counts.done), (10, 10));
}

/// Somebody else has taken its node for dead, and may have settled it.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_another_node_took_is_not_made_once_more() {
    let (office, _) = at_its_limit().await;
    let node = office.node();
    let id = office.start(json!({"retries": {}})).await;
    tokio::time::sleep(BETWEEN).await;
    let attempts = format!("attempts/{id}");
    let all = IdRange::all();
    let attempts = office.state.list(&attempts, &all, 10, now()).await.unwrap();
    let [attempt] = &attempts[..] else {
        panic!("{attempts:?}");
    };
    let taken = Write::to(attempt.key.clone()).set(attempt.value.clone());
    office.state.apply(vec![taken], now()).await.unwrap();
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!(office.line.asked(), 1);
    assert_eq!((campaign.counts.dialled, campaign.counts.done), (1, 1));
    assert_eq!(campaign.outcomes["failed"], 1, "it counts as made");
}

/// Its place in the campaign would come long after: the lead is not held for that.
#[tokio::test(start_paused = true)]
async fn a_campaign_that_calls_seldom_gives_the_lead_back_meanwhile() {
    let office = Office::new();
    let lead = office.lead(0, &[Outcome::Completed]).await;
    office.line.fail(Fault {
        kind: ProviderErrorKind::Throttled { retry_after: None },
        placed: false,
    });
    let node = office.node();
    let pacing = json!({"callsPerSecond": 0.02, "maxConcurrent": 1});
    let id = office.start(json!({"retries": {}, "pacing": pacing})).await;
    tokio::time::sleep(5 * BETWEEN).await;
    assert_eq!(office.line.asked(), 1);
    let counts = office.campaign(&id).await.counts;
    assert_eq!((counts.pending, counts.in_progress), (1, 0));
    let other = Claimant::new("another node", now());
    let claim = office.leads.claim(&lead, &other).await.unwrap();
    let claim = claim.expect("nobody holds it");
    office.leads.settle(&claim, Change::new()).await.unwrap();
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!((campaign.counts.dialled, campaign.counts.done), (1, 1));
}
