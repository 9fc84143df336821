//! Nodes that are killed between any two steps.

use std::{collections::HashMap, time::Duration};

use jiff::ToSpan;
use novavoice::{call::Outcome, lead::Claimant, outbound::CampaignState};
use proptest::prelude::*;
use serde_json::json;

use crate::office::{Office, now};

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_dialled_twice_and_nobody_is_forgotten(
        lives in prop::collection::vec((0_usize..3, 20_u64..9_000), 3..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(campaign_of_mortals(lives));
    }
}

/// Three nodes share a campaign; each of `lives` kills one of them and starts another one.
async fn campaign_of_mortals(lives: Vec<(usize, u64)>) {
    const LEADS: u32 = 40;
    let office = Office::new();
    for nth in 0..LEADS {
        let fates: [&[Outcome]; 4] = [
            &[Outcome::Completed],
            &[Outcome::Scheduled],
            &[Outcome::Busy, Outcome::Completed],
            &[Outcome::DoNotCall],
        ];
        office
            .lead(nth, fates[usize::try_from(nth).unwrap() % 4])
            .await;
    }
    let mut nodes: Vec<_> = (0..3).map(|_| office.node()).collect();
    let id = office
        .start(json!({
            "pacing": {"callsPerSecond": 4.0, "maxConcurrent": 12},
            "attempts": {"total": 2, "perDay": 2, "minHoursBetween": 0.0},
            "retries": {"busy": {"afterMinutes": 1, "max": 1}},
        }))
        .await;
    for (which, millis) in lives {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        nodes.remove(which).kill().await;
        nodes.insert(which, office.node());
    }
    let last_kill = now();
    let campaign = office.over(&id, Duration::from_secs(900)).await;
    for node in nodes {
        node.stop().await;
    }

    assert_eq!(campaign.state, CampaignState::Finished, "{campaign:?}");
    assert_eq!(
        office.line.doubled(),
        [""; 0],
        "an attempt was dialled twice"
    );
    let calls = office.line.calls();
    assert_eq!(
        (campaign.counts.matched, campaign.counts.done),
        (i64::from(LEADS), i64::from(LEADS))
    );
    // An intent that died before the carrier heard of it counts as made.
    let placed = i64::try_from(calls.len()).unwrap();
    assert!(
        campaign.counts.dialled >= placed,
        "{campaign:?}, {placed} calls"
    );
    assert_eq!(
        campaign.outcomes.values().sum::<i64>(),
        campaign.counts.dialled
    );
    let mut by_lead: HashMap<_, Vec<_>> = HashMap::new();
    for call in &calls {
        by_lead.entry(call.to.clone()).or_default().push(call);
    }
    for (lead, calls) in by_lead {
        assert!(calls.len() <= 2, "rules hold over all nodes");
        assert!(
            calls.windows(2).all(|pair| pair[0].end <= pair[1].at),
            "never two at once"
        );
        let retried = calls.len() == 1 || calls[0].outcome == Outcome::Busy;
        assert!(retried, "called again though it was reached");
        let free = office
            .leads
            .claim(&lead, &Claimant::new("test", now() + 90.seconds()))
            .await
            .unwrap();
        assert!(free.is_some());
    }
    for pair in calls.windows(2) {
        assert!(
            pair[1].at.duration_since(pair[0].at).as_millis() >= 150,
            "the pace of all nodes together"
        );
    }
    let settled = now().duration_since(last_kill);
    assert!(
        settled.as_secs() < 400,
        "settled {settled} after the last death"
    );
}
