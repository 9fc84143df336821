//! Updates: guards, versions, opting out, results of calls.

use std::time::Duration;

use serde_json::json;

use super::{assert_kind, claim, get, later, lead, now, phone, update, upsert, worker};
use crate::{
    error::ProviderErrorKind,
    lead::{CallResult, Change, Guard, LeadCallStatus, LeadStore},
};

/// Everything about [`LeadStore::update`].
pub async fn updates<L: LeadStore>(make: &impl AsyncFn() -> L) {
    an_update_sets_and_removes(&make().await).await;
    an_update_of_nobody_is_not_found(&make().await).await;
    an_update_of_an_older_version_is_a_conflict(&make().await).await;
    of_updates_of_one_version_one_is_taken(&make().await).await;
    whoever_opted_out_stays_out(&make().await).await;
    the_result_of_a_call_is_written_back(&make().await).await;
}

/// Named fields are replaced, a null removes, the rest stays.
pub async fn an_update_sets_and_removes<L: LeadStore>(store: &L) {
    let given = lead(1)
        .with("name", "Grace")
        .with("email", "g@x.org")
        .with("a field nobody knows", json!({"kept": [1, "2"]}));
    upsert(store, given).await;
    let change = Change::new()
        .set("name", "Hope")
        .set("new #:field", true)
        .remove("email");
    let updated = update(store, 1, change.clone(), Guard::Any).await;
    assert_eq!(updated.version, 2);
    assert_eq!(updated.text("name"), Some("Hope"));
    assert_eq!(updated.fields.get("new #:field"), Some(&json!(true)));
    assert!(!updated.fields.contains_key("email"));
    assert_eq!(
        updated.fields.get("a field nobody knows"),
        Some(&json!({"kept": [1, "2"]}))
    );
    assert_eq!(get(store, 1).await, Some(updated.clone()));
    let again = update(store, 1, change, Guard::Any).await;
    assert_eq!(again, updated, "nothing changed, the version neither");
    let nothing = update(store, 1, Change::new(), Guard::Version(2)).await;
    assert_eq!(nothing, updated);
}

/// An update makes no leads.
pub async fn an_update_of_nobody_is_not_found<L: LeadStore>(store: &L) {
    for guard in [
        Guard::Any,
        Guard::Version(0),
        Guard::Version(1),
        Guard::Claim(1),
    ] {
        let change = Change::new().set("name", "Grace");
        let refused = store.update(&phone(1), change, guard).await;
        assert_kind(refused, &ProviderErrorKind::NotFound);
    }
    assert_eq!(get(store, 1).await, None);
}

/// Who has not seen the last change cannot overwrite it.
pub async fn an_update_of_an_older_version_is_a_conflict<L: LeadStore>(store: &L) {
    upsert(store, lead(1).with("name", "Grace")).await;
    upsert(store, lead(1).with("name", "Hope")).await;
    for version in [0, 1, 3] {
        let change = Change::new().set("name", "Faith");
        let refused = store
            .update(&phone(1), change, Guard::Version(version))
            .await;
        assert_kind(refused, &ProviderErrorKind::Conflict);
    }
    let change = Change::new().set("name", "Faith");
    let taken = update(store, 1, change, Guard::Version(2)).await;
    assert_eq!((taken.version, taken.text("name")), (3, Some("Faith")));
}

/// Eight who saw the same version: one is taken, seven are told.
pub async fn of_updates_of_one_version_one_is_taken<L: LeadStore>(store: &L) {
    upsert(store, lead(1)).await;
    let phone = phone(1);
    let updates = (0..8).map(|n| {
        let change = Change::new().set("winner", n);
        store.update(&phone, change, Guard::Version(1))
    });
    let results = futures::future::join_all(updates).await;
    let mut taken = Vec::new();
    for result in results {
        match result {
            Ok(lead) => taken.push(lead),
            Err(refused) => assert_eq!(refused.kind(), &ProviderErrorKind::Conflict),
        }
    }
    assert_eq!(taken.len(), 1);
    assert_eq!(get(store, 1).await, taken.pop());
}

/// No import, no call and no claim calls somebody again who asked not to be called.
pub async fn whoever_opted_out_stays_out<L: LeadStore>(store: &L) {
    upsert(store, lead(1)).await;
    let held = claim(store, 1, &worker("w", 0)).await.expect("it is free");
    let change = Change::new().set("call_status", "do_not_call");
    update(store, 1, change, Guard::Any).await;

    let import = lead(1)
        .with("call_status", "not_called")
        .with("name", "Grace");
    let imported = upsert(store, import).await;
    assert_eq!(imported.call_status(), Some(LeadCallStatus::DoNotCall));
    assert_eq!(imported.text("name"), Some("Grace"), "the rest is taken");
    let change = Change::new().remove("call_status");
    let updated = update(store, 1, change, Guard::Any).await;
    assert_eq!(updated.call_status(), Some(LeadCallStatus::DoNotCall));
    let result = CallResult::new(LeadCallStatus::NoAnswer, now());
    let change = Change::new().result(&result.due_again_after(Duration::from_secs(60)));
    let settled = store.settle(&held, change).await.expect("it is ours");
    assert_eq!(settled.call_status(), Some(LeadCallStatus::DoNotCall));
    assert_eq!(super::claim_next(store, &worker("w", 3_600)).await, None);

    let change = Change::new().set("call_status", "not_called");
    let lifted = update(store, 1, change, Guard::Version(settled.version)).await;
    assert_eq!(lifted.call_status(), Some(LeadCallStatus::NotCalled));
}

/// `call_status`, `last_call_date`, `call_transcript` and `next_attempt`.
pub async fn the_result_of_a_call_is_written_back<L: LeadStore>(store: &L) {
    upsert(store, lead(1).with("name", "Grace")).await;
    let missed = CallResult::new(LeadCallStatus::NoAnswer, now())
        .due_again_after(Duration::from_secs(3_600));
    let updated = update(store, 1, Change::new().result(&missed), Guard::Any).await;
    assert_eq!(updated.call_status(), Some(LeadCallStatus::NoAnswer));
    assert_eq!(
        updated.text("next_attempt"),
        Some("2026-06-22T16:00:00.000Z")
    );
    assert_eq!(updated.text("call_transcript"), None);

    let talked = CallResult::new(LeadCallStatus::Scheduled, later(3_600))
        .with_transcript("Human: añ 通話 ".repeat(20_000));
    let updated = update(store, 1, Change::new().result(&talked), Guard::Any).await;
    assert_eq!(
        updated.text("last_call_date"),
        Some("2026-06-22T16:00:00.000Z")
    );
    assert!(!updated.fields.contains_key("next_attempt"));
    let words = updated.text("call_transcript").expect("words were said");
    assert!(words.starts_with("Human: añ") && words.ends_with("[…]"));
    assert!(words.len() < 101_000, "{}", words.len());
    assert_eq!(updated.text("name"), Some("Grace"));
    assert_eq!(get(store, 1).await, Some(updated));
}
