//! What nodes do for each other, and what they do not do to each other.

use std::{fs, sync::Arc, time::Duration};

use novavoice::{
    ProviderErrorKind,
    call::Outcome,
    lead::{Change, Guard, LeadCallStatus, LeadStore},
    outbound::{BrokenLog, CampaignState, Decisions, Gatekeeper, pace::Turns},
    state::{MemoryState, StateStore},
};
use serde_json::json;

use crate::{
    line::Fault,
    office::{Office, now},
};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn what_a_dead_node_began_is_written_to_the_lead_under_its_claim() {
    let office = Office::new();
    let lead = office.lead(0, &[Outcome::Scheduled]).await;
    let first = office.node();
    let id = office.start(json!({"retries": {}})).await;
    // Its claim outlives it for longer than it takes to be found dead.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(office.line.calls().len(), 1);
    first.kill().await;
    let second = office.node();
    let campaign = office.over(&id, HOUR).await;
    second.stop().await;
    assert_eq!(campaign.outcomes["scheduled"], 1);
    let lead = office.leads.get(&lead).await.unwrap().unwrap();
    assert_eq!(lead.call_status(), Some(LeadCallStatus::Scheduled));
    assert_eq!(lead.fields["attempts"], 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_opts_out_while_waiting_for_a_turn_is_not_called() {
    let office = Office::new();
    let (mut said, mut listed) = (Vec::new(), Vec::new());
    for nth in 0..6 {
        let lead = office.lead(nth, &[Outcome::Completed]).await;
        if nth % 2 == 0 { &mut said } else { &mut listed }.push(lead);
    }
    let node = office.node();
    let id = office
        .start(json!({"pacing": {"callsPerSecond": 0.02}, "retries": {}}))
        .await;
    // One was called; others were allowed, and wait for their places.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let called = office.line.calls().len();
    for lead in &said {
        office.gate.opt_out(lead, now()).await.unwrap();
    }
    for lead in &listed {
        let change = Change::new().set("call_status", "do_not_call");
        office.leads.update(lead, change, Guard::Any).await.unwrap();
    }
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!(called, 1);
    assert_eq!(office.line.calls().len(), called, "{campaign:?}");
    assert_eq!((campaign.counts.done, campaign.counts.refused), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_which_nothing_is_known_is_not_the_call_before_it() {
    let office = Office::new();
    office.line.lasting(Duration::from_secs(1));
    office.lead(0, &[Outcome::Busy]).await;
    let node = office.node();
    let id = office
        .start(json!({
            "attempts": {"total": 5, "perDay": 5, "minHoursBetween": 0.0},
            "retries": {"busy": {"afterMinutes": 0, "max": 1}},
        }))
        .await;
    while office.line.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    office.line.fail(Fault {
        kind: ProviderErrorKind::TimedOut,
        placed: false,
    });
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!(office.line.calls().len(), 1);
    assert_eq!(campaign.counts.dialled, 2, "both count as made");
    assert_eq!(
        (campaign.outcomes["busy"], campaign.outcomes["failed"]),
        (1, 1),
        "one call has one outcome"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_log_was_changed_calls_nobody_and_refuses_nobody() {
    let mut office = Office::new();
    for nth in 0..5 {
        office.lead(nth, &[Outcome::Completed]).await;
    }
    let sound = office.gate.clone();
    office.gate = shut(&office);
    assert!(office.gate.is_shut().is_some());
    let lame = office.node();
    let id = office.start(json!({"retries": {}})).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let campaign = office.campaign(&id).await;
    assert_eq!((campaign.counts.refused, campaign.counts.dialled), (0, 0));
    // Others call.
    office.gate = sound;
    let node = office.node();
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    lame.stop().await;
    assert_eq!(campaign.state, CampaignState::Finished);
    assert_eq!(campaign.counts.done, 5);
}

fn shut(office: &Office) -> Gatekeeper {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("decisions.jsonl");
    fs::write(&path, "{\"forged\":true}\n").unwrap();
    let broken = Decisions::open(&path).unwrap_err();
    assert!(matches!(broken, BrokenLog::Chain { line: 1, .. }));
    Gatekeeper::shut(Arc::clone(&office.state), Arc::clone(&office.leads), broken)
}

#[tokio::test(start_paused = true)]
async fn all_nodes_together_keep_the_rate_of_the_account() {
    let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    now();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let turns = Turns::new(Arc::clone(&state), 3.0);
        for _ in 0..7 {
            let turns = turns.clone();
            calls.spawn(async move { turns.wait(HOUR, now).await.map(|()| now()) });
        }
    }
    let mut times = Vec::new();
    while let Some(call) = calls.join_next().await {
        times.push(call.unwrap().unwrap());
    }
    times.sort_unstable();
    assert_eq!(times.len(), 21);
    for window in times.windows(4) {
        let span = window[3].duration_since(window[0]);
        assert!(span.as_millis() > 1_000, "four calls within {span:#}");
    }
    // Whoever does not want to wait takes nobody's turn.
    let turns = Turns::new(Arc::clone(&state), 3.0);
    turns.wait(HOUR, now).await.unwrap();
    let refused = turns.wait(Duration::ZERO, now).await.unwrap_err();
    let soon = Duration::from_millis(400);
    assert_eq!(
        *refused.kind(),
        ProviderErrorKind::Throttled {
            retry_after: Some(soon)
        }
    );
    let before = now();
    turns.wait(HOUR, now).await.unwrap();
    assert_eq!(now().duration_since(before).unsigned_abs(), soon);
}
