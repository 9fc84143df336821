//! Claims: one holder, growing fences, leases, what is due.

use std::{collections::BTreeSet, time::Duration};

use super::{assert_kind, claim, claim_next, get, later, lead, now, phone, update, upsert, worker};
use crate::{
    error::ProviderErrorKind,
    lead::{CallResult, Change, Guard, LeadCallStatus, LeadFilter, LeadStore},
};

/// Everything about claims.
pub async fn claims<L: LeadStore>(make: &impl AsyncFn() -> L) {
    a_lead_has_one_holder(&make().await).await;
    fences_grow(&make().await).await;
    a_lease_that_ran_out_is_claimed_by_others(&make().await).await;
    a_renewed_lease_holds_on(&make().await).await;
    a_stale_fence_writes_nothing(&make().await).await;
    a_settled_claim_is_over(&make().await).await;
    claiming_changes_no_version(&make().await).await;
    what_is_due_is_given_out(&make().await).await;
    what_a_dead_holder_left_is_due_whatever_it_says(&make().await).await;
    the_filter_holds_for_claims(&make().await).await;
    every_due_lead_goes_to_one_worker(&make().await).await;
    of_simultaneous_claims_of_a_lead_one_is_taken(&make().await).await;
}

/// While a lease runs nobody else gets the lead, the same worker neither.
pub async fn a_lead_has_one_holder<L: LeadStore>(store: &L) {
    assert_eq!(
        claim(store, 1, &worker("a", 0)).await,
        None,
        "there is none"
    );
    let stored = upsert(store, lead(1).with("name", "Grace")).await;
    let held = claim(store, 1, &worker("a", 0)).await.expect("it is free");
    assert_eq!(held.lead, stored);
    assert_eq!((held.owner.as_str(), held.fence), ("a", 1));
    assert_eq!(held.until, later(90));
    for (name, seconds) in [("a", 0), ("b", 0), ("b", 89)] {
        assert_eq!(claim(store, 1, &worker(name, seconds)).await, None);
        assert_eq!(claim_next(store, &worker(name, seconds)).await, None);
    }
}

/// By one with each claim, whoever claims.
pub async fn fences_grow<L: LeadStore>(store: &L) {
    upsert(store, lead(1)).await;
    for fence in 1..=4 {
        let held = claim(store, 1, &worker("a", 0)).await.expect("it is free");
        assert_eq!(held.fence, fence);
        store
            .settle(&held, Change::new())
            .await
            .expect("it is ours");
    }
}

/// At its end, not before.
pub async fn a_lease_that_ran_out_is_claimed_by_others<L: LeadStore>(store: &L) {
    upsert(store, lead(1)).await;
    let first = worker("a", 0).with_lease(Duration::from_millis(1_500));
    let first = claim_next(store, &first).await.expect("it is due");
    assert_eq!(claim_next(store, &worker("b", 1)).await, None);
    let second = claim_next(store, &worker("b", 2))
        .await
        .expect("it ran out");
    assert_eq!(
        (second.owner.as_str(), second.fence),
        ("b", first.fence + 1)
    );
}

/// And a lease that ran out unnoticed can be renewed.
pub async fn a_renewed_lease_holds_on<L: LeadStore>(store: &L) {
    upsert(store, lead(1)).await;
    let held = claim_next(store, &worker("a", 0)).await.expect("it is due");
    let held = store.renew(&held, later(150)).await.expect("it is ours");
    assert_eq!((held.fence, held.until), (1, later(150)));
    assert_eq!(claim_next(store, &worker("b", 149)).await, None);
    let held = store
        .renew(&held, later(300))
        .await
        .expect("nobody took it");
    assert_eq!(claim_next(store, &worker("b", 299)).await, None);
    let other = claim_next(store, &worker("b", 300)).await;
    assert_eq!(other.map(|other| other.fence), Some(held.fence + 1));
}

/// Neither a renewal, nor an update, nor a result.
pub async fn a_stale_fence_writes_nothing<L: LeadStore>(store: &L) {
    upsert(store, lead(1).with("name", "Grace")).await;
    let stale = claim_next(store, &worker("a", 0)).await.expect("it is due");
    let held = claim_next(store, &worker("b", 90))
        .await
        .expect("it ran out");
    let before = get(store, 1).await;
    let change = || Change::new().set("name", "stale");
    assert_kind(
        store.settle(&stale, change()).await,
        &ProviderErrorKind::Conflict,
    );
    assert_kind(
        store.renew(&stale, later(900)).await,
        &ProviderErrorKind::Conflict,
    );
    let guard = Guard::Claim(stale.fence);
    let refused = store.update(&phone(1), change(), guard).await;
    assert_kind(refused, &ProviderErrorKind::Conflict);
    assert_eq!(get(store, 1).await, before);

    let guard = Guard::Claim(held.fence);
    let taken = update(store, 1, Change::new().set("name", "Hope"), guard).await;
    assert_eq!(taken.text("name"), Some("Hope"));
    store
        .renew(&held, later(900))
        .await
        .expect("it is still ours");
}

/// Its fence writes no more, and the lead is free at once.
pub async fn a_settled_claim_is_over<L: LeadStore>(store: &L) {
    upsert(store, lead(1)).await;
    let held = claim_next(store, &worker("a", 0)).await.expect("it is due");
    let settled = store
        .settle(&held, Change::new())
        .await
        .expect("it is ours");
    assert_eq!(settled.version, 1, "nothing changed");
    assert_kind(
        store.settle(&held, Change::new().set("name", "late")).await,
        &ProviderErrorKind::Conflict,
    );
    assert_kind(
        store.renew(&held, later(900)).await,
        &ProviderErrorKind::Conflict,
    );
    let next = claim_next(store, &worker("b", 0))
        .await
        .expect("it is free");
    assert_eq!(next.fence, 2);
    let result = CallResult::new(LeadCallStatus::Called, now());
    let settled = store.settle(&next, Change::new().result(&result)).await;
    assert_eq!(settled.expect("it is ours").version, 2);
    assert_eq!(claim_next(store, &worker("b", 900)).await, None);
}

/// Whoever edits the lead meanwhile is not disturbed, and does not disturb.
pub async fn claiming_changes_no_version<L: LeadStore>(store: &L) {
    upsert(store, lead(1)).await;
    let held = claim_next(store, &worker("a", 0)).await.expect("it is due");
    let held = store.renew(&held, later(120)).await.expect("it is ours");
    let change = Change::new().set("name", "Grace");
    let edited = update(store, 1, change, Guard::Version(1)).await;
    assert_eq!(edited.version, 2);
    let settled = store.settle(&held, Change::new().set("n", 1)).await;
    let settled = settled.expect("an edit does not end a claim");
    assert_eq!((settled.version, settled.text("name")), (3, Some("Grace")));
}

/// By status and by time.
pub async fn what_is_due_is_given_out<L: LeadStore>(store: &L) {
    let soon = Change::new().set_time("t", later(60));
    let soon = soon.fields.get("t").cloned().expect("it was set");
    for (n, status) in LeadCallStatus::ALL.into_iter().enumerate() {
        let n = u32::try_from(n).expect("few");
        let status = status.as_str();
        upsert(store, lead(n).with("call_status", status)).await;
        let again = lead(20 + n).with("call_status", status);
        upsert(store, again.with("next_attempt", soon.clone())).await;
    }
    upsert(store, lead(40)).await;
    upsert(store, lead(41).with("call_status", "a word nobody knows")).await;
    upsert(store, lead(42).with("next_attempt", soon.clone())).await;
    let due_at = async |seconds| {
        let mut due = BTreeSet::new();
        while let Some(claim) = claim_next(store, &worker("a", seconds)).await {
            assert!(due.insert(claim.lead.phone), "given out twice");
        }
        due
    };
    assert_eq!(due_at(59).await, [0, 40].map(phone).into());
    // Seven of nine: neither those who opted out nor numbers that lead nowhere.
    let again = [20, 21, 22, 23, 24, 25, 26, 42].map(phone);
    assert_eq!(due_at(60).await, again.into());
}

/// What a holder began must be settled by the next one, also for those who opted out.
pub async fn what_a_dead_holder_left_is_due_whatever_it_says<L: LeadStore>(store: &L) {
    for (n, status) in LeadCallStatus::ALL.into_iter().enumerate() {
        let n = u32::try_from(n).expect("few");
        upsert(store, lead(n)).await;
        claim(store, n, &worker("a", 0)).await.expect("it is free");
        let change = Change::new().set("call_status", status.as_str());
        update(store, n, change, Guard::Claim(1)).await;
    }
    assert_eq!(claim_next(store, &worker("b", 89)).await, None);
    for _ in LeadCallStatus::ALL {
        let left = claim_next(store, &worker("b", 90)).await;
        assert_eq!(left.expect("its lease ran out").fence, 2);
    }
}

/// A campaign gets its own leads.
pub async fn the_filter_holds_for_claims<L: LeadStore>(store: &L) {
    for n in 1..=6_u32 {
        let owner = if n.is_multiple_of(2) { "mike" } else { "anna" };
        let new = lead(n).with("owner_alias", owner);
        upsert(store, new.with("lead_status", "new")).await;
    }
    let filter = LeadFilter::all()
        .with_owner_alias("mike")
        .with_call_status("not_called");
    let mut claimed = BTreeSet::new();
    while let Some(claim) = store
        .claim_next(&filter, &worker("a", 0))
        .await
        .expect("the store answers")
    {
        claimed.insert(claim.lead.phone);
    }
    assert_eq!(claimed, [2, 4, 6].map(phone).into());
}

/// Eight workers at once, forty leads: each goes to one.
pub async fn every_due_lead_goes_to_one_worker<L: LeadStore>(store: &L) {
    for n in 0..40 {
        upsert(store, lead(n)).await;
    }
    let workers = (0..8).map(async |n| {
        let me = worker(&format!("worker {n}"), 0);
        let mut mine = Vec::new();
        while let Some(claim) = claim_next(store, &me).await {
            assert_eq!((&claim.owner, claim.fence), (&me.owner, 1));
            mine.push(claim.lead.phone);
        }
        mine
    });
    let claimed = futures::future::join_all(workers).await.concat();
    assert_eq!(claimed.len(), 40);
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>().len(), 40);
}

/// Eight who want the same lead.
pub async fn of_simultaneous_claims_of_a_lead_one_is_taken<L: LeadStore>(store: &L) {
    upsert(store, lead(1)).await;
    let names = (0..8).map(|n| format!("worker {n}"));
    let claims = names.map(async |name| claim(store, 1, &worker(&name, 0)).await);
    let taken = futures::future::join_all(claims).await;
    assert_eq!(taken.into_iter().flatten().count(), 1);
}
