//! Queries: filters and pages.

use std::collections::BTreeSet;

use super::{assert_kind, lead, upsert};
use crate::{
    error::ProviderErrorKind,
    lead::{LeadCursor, LeadFilter, LeadQuery, LeadStore},
};

/// Everything about [`LeadStore::query`].
pub async fn queries<L: LeadStore>(make: &impl AsyncFn() -> L) {
    an_empty_store_has_one_empty_page(&make().await).await;
    a_filter_finds_what_matches_in_all_its_fields(&make().await).await;
    pages_hold_every_lead_once(&make().await).await;
    a_lead_that_changes_is_found_by_what_it_says_now(&make().await).await;
    a_cursor_from_elsewhere_is_refused(&make().await).await;
}

/// No leads, no next page.
pub async fn an_empty_store_has_one_empty_page<L: LeadStore>(store: &L) {
    for filter in [LeadFilter::all(), LeadFilter::all().with_lead_status("new")] {
        let page = store.query(&LeadQuery::new(filter)).await;
        let page = page.expect("the store answers");
        assert!(page.leads.is_empty() && page.next.is_none(), "{page:?}");
    }
}

/// By status, owner, call status and state, alone and together.
pub async fn a_filter_finds_what_matches_in_all_its_fields<L: LeadStore>(store: &L) {
    plant(store).await;
    let all = LeadFilter::all;
    let of = |which: fn(u32) -> bool| (1..=24).filter(|n| which(*n)).collect::<BTreeSet<_>>();
    for (filter, expected) in [
        (all(), of(|_| true)),
        (all().with_state("nowhere"), of(|_| false)),
        (all().with_lead_status("nonsense"), of(|_| false)),
        (all().with_lead_status("new"), of(|n| n % 2 == 0)),
        (all().with_owner_alias("mike"), of(|n| n % 3 == 0)),
        (all().with_call_status("called"), of(|n| n % 4 == 1)),
        (all().with_call_status("not_called"), of(|n| n % 4 != 1)),
        (all().with_state("TX"), of(|n| n > 20)),
        (
            all().with_lead_status("new").with_owner_alias("mike"),
            of(|n| n % 6 == 0),
        ),
        (
            all().with_owner_alias("mike").with_call_status("called"),
            of(|n| n % 12 == 9),
        ),
        (
            all()
                .with_lead_status("new")
                .with_owner_alias("mike")
                .with_state("TX")
                .with_call_status("not_called"),
            of(|n| n == 24),
        ),
    ] {
        assert_eq!(find(store, &filter, 100).await, expected, "{filter:?}");
    }
}

/// Whatever the size of the pages.
pub async fn pages_hold_every_lead_once<L: LeadStore>(store: &L) {
    plant(store).await;
    for limit in [0, 1, 5, 24, usize::MAX] {
        for filter in [
            LeadFilter::all(),
            LeadFilter::all().with_lead_status("new"),
            LeadFilter::all().with_lead_status("new").with_state("TX"),
        ] {
            let expected = find(store, &filter, 100).await;
            assert_eq!(find(store, &filter, limit).await, expected, "{limit}");
        }
    }
}

/// An index follows its lead.
pub async fn a_lead_that_changes_is_found_by_what_it_says_now<L: LeadStore>(store: &L) {
    upsert(store, lead(1).with("lead_status", "new")).await;
    upsert(store, lead(1).with("lead_status", "open")).await;
    let by = |status: &str| LeadFilter::all().with_lead_status(status);
    // An index may be late.
    crate::testkit::conformance::soon("the index follows", async {
        loop {
            let new = find(store, &by("new"), 10).await;
            if new.is_empty() && find(store, &by("open"), 10).await.len() == 1 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Not taken for the beginning.
pub async fn a_cursor_from_elsewhere_is_refused<L: LeadStore>(store: &L) {
    let query = LeadQuery::new(LeadFilter::all()).after(LeadCursor::new(""));
    assert_kind(store.query(&query).await, &ProviderErrorKind::Invalid);
}

/// Leads 1 to 24, whose numbers tell what they say.
async fn plant<L: LeadStore>(store: &L) {
    for n in 1..=24_u32 {
        let mut new = lead(n).with("n", n);
        if n.is_multiple_of(2) {
            new = new.with("lead_status", "new");
        }
        new = new.with("owner_alias", if n.is_multiple_of(3) { "mike" } else { "" });
        if n % 4 == 1 {
            new = new.with("call_status", "called");
        }
        if n.is_multiple_of(4) {
            new = new.with("call_status", "not_called");
        }
        if n > 20 {
            new = new.with("state_province", "TX");
        }
        upsert(store, new).await;
    }
}

/// Every lead that the pages of a query hold.
async fn find<L: LeadStore>(store: &L, filter: &LeadFilter, limit: usize) -> BTreeSet<u32> {
    let mut query = LeadQuery::new(filter.clone()).with_limit(limit);
    let mut found = BTreeSet::new();
    loop {
        let page = store.query(&query).await.expect("the store answers");
        assert!(page.leads.len() <= limit.clamp(1, 1_000));
        assert!(page.problems.is_empty(), "{page:?}");
        for lead in page.leads {
            let n = lead.fields.get("n").and_then(serde_json::Value::as_u64);
            let n = n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            assert!(found.insert(n), "{n} came twice");
        }
        match page.next {
            Some(next) => query = query.after(next),
            None => return found,
        }
    }
}
