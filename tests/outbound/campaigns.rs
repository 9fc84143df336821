//! Whole campaigns of one node.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use novavoice::{
    ProviderErrorKind,
    call::{CallStatus, Outcome},
    lead::{Change, Claimant, Guard, LEASE, Lead, LeadCallStatus},
    outbound::{CampaignState, Refusal, Rules},
    record::CallNote,
};
use serde_json::json;

use crate::{
    line::Fault,
    office::{Office, now, phone},
};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn every_lead_is_called_once_and_hears_of_its_outcome() {
    let office = Office::new();
    for nth in 0..60 {
        let outcomes = [
            Outcome::Scheduled,
            Outcome::Completed,
            Outcome::FollowUp,
            Outcome::DoNotCall,
        ];
        let outcome = outcomes[usize::try_from(nth).unwrap() % 4];
        office.lead(nth, &[outcome]).await;
    }
    let node = office.node();
    let id = office
        .start(json!({"pacing": {"callsPerSecond": 2.0, "maxConcurrent": 8}}))
        .await;
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;

    assert_eq!(campaign.state, CampaignState::Finished);
    assert_eq!(
        (
            campaign.counts.matched,
            campaign.counts.dialled,
            campaign.counts.done
        ),
        (60, 60, 60)
    );
    assert_eq!(campaign.outcomes["scheduled"], 15);
    assert_eq!(campaign.outcomes.values().sum::<i64>(), 60);
    let calls = office.line.calls();
    let called: HashSet<_> = calls.iter().map(|call| call.to.clone()).collect();
    assert_eq!((calls.len(), called.len()), (60, 60));
    for pair in calls.windows(2) {
        assert!(
            pair[1].at.duration_since(pair[0].at).as_millis() >= 499,
            "two a second"
        );
    }
    for call in &calls {
        let beside = calls
            .iter()
            .filter(|other| other.at <= call.at && call.at < other.end);
        assert!(beside.count() <= 8);
        let lead = office.leads.get(&call.to).await.unwrap().unwrap();
        assert_eq!(lead.call_status(), Some(LeadCallStatus::from(call.outcome)));
        assert_eq!(
            (lead.attempts(), lead.text("last_call_date").is_some()),
            (1, true)
        );
        let free = office
            .leads
            .claim(&call.to, &Claimant::new("test", now()))
            .await
            .unwrap();
        assert!(free.is_some(), "its claim was given back");
    }
    assert_eq!(office.decisions(), 60);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted_by_reason_and_nobody_refused_is_called() {
    let office = Office::new();
    for nth in 0..10 {
        office.lead(nth, &[Outcome::Completed]).await;
    }
    let opted_out = phone(3);
    office.gate.opt_out(&opted_out, now()).await.unwrap();
    let west = Lead::new(phone(4)).with("time_zone", "Pacific/Honolulu");
    office.leads.upsert(west).await.unwrap();
    let marked = Lead::new(phone(5))
        .with("do_not_call", true)
        .with("consent", false);
    office.leads.upsert(marked).await.unwrap();
    let node = office.node();
    let id = office.start(json!({})).await;
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!((campaign.counts.refused, campaign.counts.done), (3, 7));
    let refusals: Vec<_> = campaign
        .refusals
        .iter()
        .map(|(why, n)| (why.as_str(), *n))
        .collect();
    assert_eq!(
        refusals,
        [
            ("do_not_call", 2),
            ("no_consent", 1),
            ("opted_out", 1),
            ("outside_window", 1)
        ]
    );
    assert_eq!(office.line.calls().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn busy_numbers_are_called_again_after_their_delay_and_not_for_ever() {
    let office = Office::new();
    let patient = office
        .lead(0, &[Outcome::Busy, Outcome::NoAnswer, Outcome::Completed])
        .await;
    let hopeless = office.lead(1, &[Outcome::Busy]).await;
    let bad = office.lead(2, &[Outcome::Failed]).await;
    let node = office.node();
    let id = office
        .start(json!({
            "attempts": {"total": 9, "perDay": 9, "minHoursBetween": 0.0},
            "retries": {"busy": {"afterMinutes": 30, "max": 2}, "no_answer": {"afterMinutes": 60, "max": 1},
                        "failed": {"afterMinutes": 1, "max": 5}},
        }))
        .await;
    let campaign = office.over(&id, 7 * HOUR).await;
    node.stop().await;
    let calls = office.line.calls();
    let times = |to| {
        let at: Vec<_> = calls.iter().filter(|call| call.to == to).collect();
        let pauses = at.windows(2).map(|pair| {
            (pair[1].at - pair[0].end)
                .total(jiff::Unit::Minute)
                .unwrap()
                .round()
        });
        pauses.collect::<Vec<_>>()
    };
    assert_eq!(times(patient), [30.0, 60.0]);
    assert_eq!(times(hopeless.clone()), [30.0, 30.0]);
    assert_eq!(
        times(bad.clone()),
        [0.0; 0],
        "the carrier says that nobody is there"
    );
    assert_eq!((campaign.counts.done, campaign.counts.dialled), (3, 7));
    let lead = office.leads.get(&bad).await.unwrap().unwrap();
    assert_eq!(lead.call_status(), Some(LeadCallStatus::BadNumber));
    assert_eq!(
        office
            .leads
            .get(&hopeless)
            .await
            .unwrap()
            .unwrap()
            .attempts(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_at_once_and_a_campaign_goes_on_where_it_was() {
    let office = Office::new();
    for nth in 0..40 {
        office.lead(nth, &[Outcome::Completed]).await;
    }
    let node = office.node();
    let id = office
        .start(json!({"pacing": {"callsPerSecond": 1.0, "maxConcurrent": 40}}))
        .await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    office.campaigns.pause(&id, now()).await.unwrap();
    let paused = office.line.calls().len();
    assert!((8..=13).contains(&paused), "{paused}");
    tokio::time::sleep(Duration::from_secs(300)).await;
    // One may have been between its intent and the carrier.
    let after = office.line.calls().len();
    assert!(after <= paused + 1, "{after} after {paused}");
    assert_eq!(
        office.campaign(&id).await.counts.in_progress,
        0,
        "what goes on is seen through"
    );
    office.campaigns.pause(&id, now()).await.unwrap();
    node.stop().await;

    let node = office.node();
    office.campaigns.resume(&id, now()).await.unwrap();
    office.campaigns.resume(&id, now()).await.unwrap();
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!((campaign.counts.done, office.line.calls().len()), (40, 40));
}

#[tokio::test(start_paused = true)]
async fn a_stop_begins_nothing_new_and_gives_back_what_was_not_dialled() {
    let office = Office::new();
    for nth in 0..30 {
        office.lead(nth, &[Outcome::Completed]).await;
    }
    let node = office.node();
    office
        .start(json!({"pacing": {"callsPerSecond": 0.5, "maxConcurrent": 30}}))
        .await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    let before = office.line.calls().len();
    node.stop().await;
    let calls = office.line.calls();
    assert!(calls.len() <= before + 1);
    assert!(
        calls.iter().all(|call| call.end <= now()),
        "calls that went on were seen through"
    );
    for nth in 0..30 {
        let free = office
            .leads
            .claim(&phone(nth), &Claimant::new("test", now()))
            .await
            .unwrap();
        assert!(free.is_some(), "lead {nth} is still held");
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_costs_no_more_than_its_budget() {
    let office = Office::new();
    for nth in 0..20 {
        office.lead(nth, &[Outcome::Completed]).await;
    }
    let node = office.node();
    let by_calls = office
        .start(json!({"budget": {"callsPerDay": 7}, "pacing": {"maxConcurrent": 3}}))
        .await;
    tokio::time::sleep(HOUR).await;
    let campaign = office.campaign(&by_calls).await;
    assert_eq!((campaign.counts.dialled, campaign.counts.pending), (7, 13));
    // The next day at ten.
    tokio::time::sleep(23 * HOUR + HOUR / 2).await;
    let campaign = office.campaign(&by_calls).await;
    assert_eq!(campaign.counts.dialled, 14);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_fails_again_and_again_stops_the_campaign() {
    let office = Office::new();
    for nth in 0..20 {
        office.lead(nth, &[Outcome::Completed]).await;
    }
    for _ in 0..5 {
        office.line.fail(Fault {
            kind: ProviderErrorKind::Unauthorized,
            placed: false,
        });
    }
    let node = office.node();
    let id = office.start(json!({"pacing": {"maxConcurrent": 1}})).await;
    let campaign = office.over(&id, HOUR).await;
    assert_eq!(campaign.state, CampaignState::Stopped);
    assert!(
        campaign
            .stopped_because
            .as_ref()
            .is_some_and(|why| why.contains("unauthorized")),
        "{campaign:?}"
    );
    assert_eq!(
        (campaign.counts.dialled, campaign.counts.pending),
        (0, 20),
        "nothing was placed"
    );
    assert_eq!(office.line.calls().len(), 0);
    office.campaigns.start(&id, now()).await.unwrap();
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!(
        (campaign.state, campaign.counts.done),
        (CampaignState::Finished, 20)
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_of_which_nobody_knows_is_looked_up_and_never_placed_again() {
    for placed in [true, false] {
        let office = Office::new();
        let lead = office.lead(0, &[Outcome::Scheduled]).await;
        office.line.fail(Fault {
            kind: ProviderErrorKind::TimedOut,
            placed,
        });
        let node = office.node();
        let id = office.start(json!({"retries": {}})).await;
        let campaign = office.over(&id, HOUR).await;
        node.stop().await;
        assert_eq!(office.line.calls().len(), usize::from(placed));
        assert_eq!(
            (campaign.counts.dialled, campaign.counts.done),
            (1, 1),
            "it counts as made"
        );
        let expected = if placed { "scheduled" } else { "failed" };
        assert_eq!(campaign.outcomes[expected], 1);
        let refusals = office.gate.ask(&lead, None, &Rules::default(), now()).await;
        assert_eq!(refusals, [Refusal::TooSoon]);
    }
}

/// The process that carried a call has died. The carrier connects the call to another one, which
/// says how it ended; where it does not, it is abandoned.
#[tokio::test(start_paused = true)]
async fn an_abandoned_call_is_settled_once_the_carrier_has_ended_it() {
    for comes_back in [true, false] {
        let office = Office::with(false);
        office.lead(0, &[Outcome::Completed]).await;
        office.line.lasting(Duration::from_secs(60));
        let node = office.node();
        let id = office.start(json!({"retries": {}})).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let call = office.line.calls()[0].id.clone();
        let ended = |status, outcome| {
            let mut note = CallNote::default();
            (note.status, note.outcome) = (Some(status), Some(outcome));
            note.ended = Some(now());
            note
        };
        let gone = ended(CallStatus::Abandoned, Outcome::Abandoned);
        office.calls.note(&call, &gone).await.unwrap();
        tokio::time::sleep(Duration::from_secs(40)).await;
        let counts = office.campaign(&id).await.counts;
        assert_eq!((counts.in_progress, counts.done), (1, 0), "it goes on");
        if comes_back {
            let voicemail = ended(CallStatus::Voicemail, Outcome::Voicemail);
            office.calls.note(&call, &voicemail).await.unwrap();
        }
        let campaign = office.over(&id, HOUR).await;
        node.stop().await;
        let expected = if comes_back { "voicemail" } else { "abandoned" };
        assert_eq!(campaign.outcomes[expected], 1, "{:?}", campaign.outcomes);
        assert_eq!(campaign.counts.dialled, 1);
    }
}

/// Somebody else would take the lead meanwhile, and what came of the call would not be written to it.
#[tokio::test(start_paused = true)]
async fn a_lead_stays_claimed_while_the_carrier_looks_for_its_call() {
    let office = Office::new();
    let lead = office.lead(0, &[Outcome::Completed]).await;
    office.line.fail(Fault {
        kind: ProviderErrorKind::TimedOut,
        placed: true,
    });
    office.line.looking(3 * LEASE);
    let node = office.node();
    let id = office.start(json!({"retries": {}})).await;
    tokio::time::sleep(2 * LEASE).await;
    assert_eq!(office.line.calls().len(), 1);
    let other = Claimant::new("another node", now());
    let taken = office.leads.claim(&lead, &other).await.unwrap();
    assert!(taken.is_none());
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!(campaign.outcomes["completed"], 1);
    let lead = office.leads.get(&lead).await.unwrap().unwrap();
    assert_eq!(lead.call_status().unwrap(), LeadCallStatus::Called);
}

#[tokio::test(start_paused = true)]
async fn what_only_the_carrier_knows_ends_a_call_too() {
    let office = Office::with(false);
    office.lead(0, &[Outcome::NoAnswer]).await;
    let node = office.node();
    let id = office.start(json!({"retries": {}})).await;
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!(campaign.outcomes["no_answer"], 1);
    let call = &office.line.calls()[0].id;
    let record = office.calls.get(call).await.unwrap().unwrap();
    assert_eq!(
        (record.outcome, record.campaign),
        (Some(Outcome::NoAnswer), Some(id))
    );
}

/// What is written to a lead while somebody talks with them is not undone by the campaign.
#[tokio::test(start_paused = true)]
async fn what_was_agreed_in_a_call_stands_after_it() {
    let office = Office::new();
    let later = office.lead(0, &[Outcome::FollowUp]).await;
    let unwilling = office.lead(1, &[Outcome::Abandoned]).await;
    let scheduled = office.lead(2, &[Outcome::NoAnswer]).await;
    let node = office.node();
    let id = office.start(json!({"retries": {}})).await;
    while office.line.calls().len() < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let tomorrow = now() + 24 * HOUR;
    let status = |status: LeadCallStatus| Change::new().set("call_status", status.as_str());
    for (phone, change) in [
        (&later, Change::new().set_time("next_attempt", tomorrow)),
        (&unwilling, status(LeadCallStatus::DoNotCall)),
        (&scheduled, status(LeadCallStatus::Scheduled)),
    ] {
        let written = office.leads.update(phone, change, Guard::Any).await;
        written.unwrap();
    }
    let campaign = office.over(&id, HOUR).await;
    node.stop().await;
    assert_eq!(campaign.counts.done, 3);
    let lead = async |phone| office.leads.get(phone).await.unwrap().unwrap();
    let due = lead(&later).await;
    let due: Timestamp = due.text("next_attempt").unwrap().parse().unwrap();
    assert_eq!(due, tomorrow);
    let status = async |phone| lead(phone).await.call_status();
    assert_eq!(
        status(&unwilling).await,
        Some(LeadCallStatus::DoNotCall),
        "the process died, the wish did not"
    );
    assert_eq!(status(&scheduled).await, Some(LeadCallStatus::Scheduled));
}
