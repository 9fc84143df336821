//! The contract of [`LeadStore`].

mod claims;
mod queries;
mod updates;

pub use self::{claims::*, queries::*, updates::*};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    error::ProviderErrorKind,
    lead::{Change, Claim, Claimant, Guard, Lead, LeadFilter, LeadStore, PhoneNumber},
};

/// Runs everything in this module, each on a fresh and empty store that `make` makes.
pub async fn lead_store<L: LeadStore>(make: impl AsyncFn() -> L) {
    an_unknown_number_is_nobody(&make().await).await;
    a_new_lead_is_stored_as_version_one(&make().await).await;
    fields_that_are_not_named_stay(&make().await).await;
    fields_of_any_kind_come_back_as_they_were(&make().await).await;
    null_removes_nothing(&make().await).await;
    every_change_raises_the_version_by_one(&make().await).await;
    upserting_again_changes_nothing(&make().await).await;
    simultaneous_upserts_lose_nothing(&make().await).await;
    leads_stay_apart(&make().await).await;
    what_no_store_can_keep_is_refused(&make().await).await;
    numbers_have_one_way_to_be_written(&make().await).await;
    updates(&make).await;
    queries(&make).await;
    claims(&make).await;
}

/// There is no lead before one is stored.
pub async fn an_unknown_number_is_nobody<L: LeadStore>(store: &L) {
    assert_eq!(get(store, 1).await, None);
}

/// The first upsert stores version 1, whatever version it brought along, and answers with it.
pub async fn a_new_lead_is_stored_as_version_one<L: LeadStore>(store: &L) {
    let mut given = lead(1).with("name", "Grace");
    given.version = 9;
    let stored = upsert(store, given).await;
    assert_eq!(stored.version, 1);
    assert_eq!(stored.text("name"), Some("Grace"));
    assert_eq!(get(store, 1).await, Some(stored));
}

/// A named field replaces, any other one stays untouched.
pub async fn fields_that_are_not_named_stay<L: LeadStore>(store: &L) {
    let before = lead(1)
        .with("name", "Grace")
        .with("lead_status", "new")
        .with("a field nobody knows", "kept");
    upsert(store, before).await;
    let change = lead(1).with("lead_status", "open").with("email", "g@x.org");
    let stored = upsert(store, change).await;
    for (field, value) in [
        ("name", "Grace"),
        ("lead_status", "open"),
        ("a field nobody knows", "kept"),
        ("email", "g@x.org"),
    ] {
        assert_eq!(stored.text(field), Some(value), "{field}");
    }
    assert_eq!(get(store, 1).await, Some(stored));
}

/// Text, numbers, truth values, lists and objects, also empty ones.
pub async fn fields_of_any_kind_come_back_as_they_were<L: LeadStore>(store: &L) {
    let mut given = lead(1);
    for (field, value) in [
        ("text", json!("añ 通話 \"quoted\"\n")),
        ("empty", json!("")),
        ("whole", json!(-42)),
        ("part", json!(1.5)),
        ("yes", json!(true)),
        ("no", json!(false)),
        ("list", json!(["a", 1, [true]])),
        ("none", json!([])),
        ("object", json!({"a": {"b": ["c"]}})),
        ("nothing", json!({})),
    ] {
        given = given.with(field, value);
    }
    upsert(store, given.clone()).await;
    let stored = get(store, 1).await.expect("it was stored");
    assert_eq!(stored.fields, given.fields);
}

/// A null names no field: it neither erases nor is stored.
pub async fn null_removes_nothing<L: LeadStore>(store: &L) {
    upsert(store, lead(1).with("name", "Grace")).await;
    let nulls = lead(1).with("name", Value::Null).with("new", Value::Null);
    let stored = upsert(store, nulls).await;
    assert_eq!(stored.text("name"), Some("Grace"));
    assert!(!stored.fields.contains_key("new"));
    assert_eq!(get(store, 1).await, Some(stored));
}

/// Versions count changes.
pub async fn every_change_raises_the_version_by_one<L: LeadStore>(store: &L) {
    for version in 1..=5 {
        let stored = upsert(store, lead(1).with("count", version)).await;
        assert_eq!(stored.version, version);
        let read = get(store, 1).await.map(|lead| lead.version);
        assert_eq!(read, Some(version));
    }
}

/// An upsert is safe to repeat: nothing changes, the version included.
pub async fn upserting_again_changes_nothing<L: LeadStore>(store: &L) {
    let given = lead(1).with("name", "Grace");
    let once = upsert(store, given.clone()).await;
    let twice = upsert(store, given).await;
    assert_eq!(once, twice);
    let stored = upsert(store, once.clone()).await;
    assert_eq!(once, stored, "what was read can be written back");
}

/// Upserts of different fields at the same time all hold.
pub async fn simultaneous_upserts_lose_nothing<L: LeadStore>(store: &L) {
    let upserts = (0..8).map(|n| upsert(store, lead(1).with(format!("field{n}"), n)));
    futures::future::join_all(upserts).await;
    let stored = get(store, 1).await.expect("it was stored");
    for n in 0..8 {
        assert_eq!(stored.fields.get(&format!("field{n}")), Some(&json!(n)));
    }
    assert_eq!(stored.version, 8);
}

/// One lead per number, however the number was written.
pub async fn leads_stay_apart<L: LeadStore>(store: &L) {
    for n in 1..=3 {
        upsert(store, lead(n).with("n", n)).await;
    }
    for n in 1..=3 {
        let lead = get(store, n).await.expect("it was stored");
        assert_eq!(lead.fields.get("n"), Some(&json!(n)));
        assert_eq!(lead.version, 1);
    }
    let spelled = PhoneNumber::parse("(212) 555-0101").expect("a number");
    let found = store.get(&spelled).await.expect("the store answers");
    assert_eq!(
        found.and_then(|lead| lead.fields.get("n").cloned()),
        Some(json!(1))
    );
}

/// Types that do not fit, names of the store's own, what is too large for one of the stores.
pub async fn what_no_store_can_keep_is_refused<L: LeadStore>(store: &L) {
    let mut deep = json!("end");
    for _ in 0..40 {
        deep = json!([deep]);
    }
    for (field, value) in [
        ("name", json!(5)),
        ("lead_status", json!(["new"])),
        ("unread_by_owner", json!("yes")),
        ("next_attempt", json!("tomorrow")),
        ("attempts", json!(-1)),
        ("version", json!(7)),
        ("claim_fence", json!(7)),
        ("phone", json!("+12125550102")),
        ("", json!("no name")),
        ("unknown", json!(1e200)),
        ("unknown", deep),
    ] {
        let refused = store.upsert(lead(1).with(field, value)).await;
        let refused = refused.expect_err(field);
        assert_eq!(refused.kind(), &ProviderErrorKind::Invalid, "{field}");
    }
    assert_eq!(get(store, 1).await, None);
}

/// `1.0` is `1`, and a time is UTC with milliseconds, so that writing either again changes nothing.
pub async fn numbers_have_one_way_to_be_written<L: LeadStore>(store: &L) {
    let given = lead(1)
        .with("pews", 40.0)
        .with("next_attempt", "2026-06-22T17:00:00+02:00");
    let stored = upsert(store, given.clone()).await;
    assert_eq!(stored.fields.get("pews"), Some(&json!(40)));
    assert_eq!(
        stored.text("next_attempt"),
        Some("2026-06-22T15:00:00.000Z")
    );
    assert_eq!(upsert(store, given).await, stored);
    assert_eq!(get(store, 1).await, Some(stored));
}

async fn get<L: LeadStore>(store: &L, n: u32) -> Option<Lead> {
    store.get(&phone(n)).await.expect("the store answers")
}

async fn upsert<L: LeadStore>(store: &L, lead: Lead) -> Lead {
    store.upsert(lead).await.expect("the store takes a lead")
}

fn lead(n: u32) -> Lead {
    Lead::new(phone(n))
}

fn phone(n: u32) -> PhoneNumber {
    PhoneNumber::parse(&format!("+1212555{:04}", 100 + n)).expect("a number")
}

/// The time at which the suite happens.
fn now() -> Timestamp {
    Timestamp::from_second(1_782_140_400).expect("a time in 2026")
}

/// `seconds` after the suite began.
fn later(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

/// A worker who asks `seconds` after the suite began.
fn worker(name: &str, seconds: i64) -> Claimant {
    Claimant::new(name, later(seconds))
}

async fn update<L: LeadStore>(store: &L, n: u32, change: Change, guard: Guard) -> Lead {
    let updated = store.update(&phone(n), change, guard).await;
    updated.expect("the store takes a change")
}

async fn claim_next<L: LeadStore>(store: &L, claimant: &Claimant) -> Option<Claim> {
    let claimed = store.claim_next(&LeadFilter::all(), claimant).await;
    claimed.expect("the store answers")
}

async fn claim<L: LeadStore>(store: &L, n: u32, claimant: &Claimant) -> Option<Claim> {
    let claimed = store.claim(&phone(n), claimant).await;
    claimed.expect("the store answers")
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(
    result: Result<T, crate::ProviderError>,
    kind: &ProviderErrorKind,
) {
    let refused = result.expect_err("it is refused");
    assert_eq!(refused.kind(), kind, "{refused}");
}
