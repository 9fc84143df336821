//! The contract of [`LeadStore`].

use serde_json::{Value, json};

use crate::lead::{Lead, LeadStore, PhoneNumber};

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
