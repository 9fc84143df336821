//! The contract of [`StateStore`].

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    ProviderErrorKind,
    state::{IdRange, Key, MAX_WRITES, Record, StateStore, Write},
};

/// Runs everything in this module, each on a fresh and empty store that `make` makes.
pub async fn state_store<S: StateStore>(make: impl AsyncFn() -> S) {
    what_was_set_is_read(&make().await).await;
    conditions_are_kept(&make().await).await;
    all_happens_or_nothing(&make().await).await;
    counters_add_up_and_stop_at_their_limit(&make().await).await;
    what_is_over_is_absent(&make().await).await;
    lists_are_in_order_and_within_their_range(&make().await).await;
    writes_that_make_no_sense_are_refused(&make().await).await;
    one_of_many_wins(Arc::new(make().await)).await;
}

/// A value comes back as it was, its version counts the settings, and a deleted record is gone.
pub async fn what_was_set_is_read<S: StateStore>(store: &S) {
    let key = Key::new("things", "añ 通/話#1");
    assert_eq!(get(store, &key).await, None);
    for (version, value) in [
        (1, json!({"a": [1, null, "x\n"]})),
        (2, json!(null)),
        (3, json!("é")),
    ] {
        apply(store, vec![Write::to(key.clone()).set(value.clone())]).await;
        let record = get(store, &key).await.expect("it was set");
        assert_eq!(
            (&record.key, &record.value, record.version),
            (&key, &value, version)
        );
    }
    assert_eq!(get(store, &Key::new("things", "another")).await, None);
    apply(store, vec![Write::to(key.clone()).delete()]).await;
    apply(store, vec![Write::to(key.clone()).delete()]).await;
    assert_eq!(get(store, &key).await, None);
}

/// A write whose condition does not hold changes nothing and is a conflict.
pub async fn conditions_are_kept<S: StateStore>(store: &S) {
    let key = Key::new("things", "one");
    let write = || Write::to(key.clone());
    refused(store, vec![write().if_version(1).set(json!(0))]).await;
    refused(store, vec![write().if_version(0).set(json!(0))]).await;
    apply(store, vec![write().if_absent().set(json!(1))]).await;
    refused(store, vec![write().if_absent().set(json!(0))]).await;
    apply(store, vec![write().if_version(1).set(json!(2))]).await;
    refused(store, vec![write().if_version(1).set(json!(0))]).await;
    refused(store, vec![write().if_version(1).delete()]).await;
    let record = get(store, &key).await.expect("it was set");
    assert_eq!((record.value, record.version), (json!(2), 2));
    apply(store, vec![write().if_version(2)]).await;
    refused(store, vec![write().if_version(3)]).await;
    apply(store, vec![write()]).await;
    apply(store, vec![write().if_version(2).delete()]).await;
    apply(store, vec![write().if_absent()]).await;
    assert_eq!(get(store, &key).await, None, "a check makes no record");
}

/// One condition that does not hold keeps all the others back.
pub async fn all_happens_or_nothing<S: StateStore>(store: &S) {
    let key = |id: usize| Key::new(format!("kind {}", id % 2), format!("{id:02}"));
    let set = |id: usize| Write::to(key(id)).if_absent().set(json!(id));
    apply(store, vec![set(7)]).await;
    refused(store, (0..MAX_WRITES).map(set).collect()).await;
    assert_eq!(get(store, &key(0)).await, None);
    assert_eq!(get(store, &key(24)).await, None);
    let others = (0..MAX_WRITES).filter(|id| *id != 7).map(set);
    let checked = others.chain([Write::to(key(7)).if_version(1)]);
    apply(store, checked.collect()).await;
    assert_eq!(
        get(store, &key(24)).await.map(|record| record.value),
        Some(json!(24))
    );
}

/// Counters start at 0, may fall, keep out of the value's way, and never pass their limit.
pub async fn counters_add_up_and_stop_at_their_limit<S: StateStore>(store: &S) {
    let key = Key::new("things", "one");
    let write = || Write::to(key.clone());
    apply(store, vec![write().add("calls", 2).add("in progress", 1)]).await;
    let record = get(store, &key).await.expect("it counts");
    assert_eq!(
        (
            record.counter("calls"),
            record.counter("never"),
            record.version
        ),
        (2, 0, 0)
    );
    assert_eq!(record.value, Value::Null);
    apply(
        store,
        vec![write().if_absent().set(json!("set")).add("calls", -5)],
    )
    .await;
    apply(store, vec![write().set(json!("again"))]).await;
    let record = get(store, &key).await.expect("it counts");
    assert_eq!((record.counter("calls"), record.version), (-3, 2));
    apply(store, vec![write().add_up_to("in progress", 2, 3)]).await;
    refused(store, vec![write().add_up_to("in progress", 1, 3)]).await;
    refused(
        store,
        vec![write().add_up_to("in progress", 1, 3).add("calls", 1)],
    )
    .await;
    refused(store, vec![write().add_up_to("fresh", 2, 1)]).await;
    apply(store, vec![write().add_up_to("fresh", 1, 1)]).await;
    let record = get(store, &key).await.expect("it counts");
    assert_eq!(
        (
            record.counter("in progress"),
            record.counter("calls"),
            record.counter("fresh")
        ),
        (3, -3, 1)
    );
    apply(store, vec![write().delete()]).await;
    apply(store, vec![write().add("calls", 1)]).await;
    let record = get(store, &key).await.expect("it counts");
    assert_eq!(
        (record.counter("calls"), record.counter("in progress")),
        (1, 0),
        "deleted with its counters"
    );
}

/// A record whose time is over is not read, not listed, and may be made anew.
pub async fn what_is_over_is_absent<S: StateStore>(store: &S) {
    let key = Key::new("tokens", "one");
    let write = || Write::to(key.clone());
    let end: Timestamp = "2026-06-22T20:36:33Z".parse().expect("a time");
    let spend = || write().if_absent().set(json!(true)).expires(end);
    apply(store, vec![spend()]).await;
    refused(store, vec![spend()]).await;
    let before = end - SignedDuration::from_secs(1);
    assert!(read(store, &key, before).await.is_some());
    assert_eq!(read(store, &key, end).await, None);
    let listed = store
        .list("tokens", &IdRange::all(), 10, end)
        .await
        .expect("a list");
    assert_eq!(listed, []);
    let later = store
        .apply(vec![write().if_version(1).set(json!(0))], end)
        .await;
    assert!(later.is_err(), "there is no version of what is over");
    let again = write().if_absent().set(json!("again"));
    store.apply(vec![again], end).await.expect("it is absent");
    let record = read(store, &key, end + SignedDuration::from_hours(1_000)).await;
    assert_eq!(
        record.map(|record| record.value),
        Some(json!("again")),
        "for ever"
    );
}

/// Lists go by the bytes of ids, keep to one collection, and may be read page by page.
pub async fn lists_are_in_order_and_within_their_range<S: StateStore>(store: &S) {
    for (collection, id) in [
        ("b", "2"),
        ("b", "10"),
        ("b", "1"),
        ("b", "ä"),
        ("b", "Z"),
        ("a", "3"),
        ("bb", "1"),
    ] {
        apply(
            store,
            vec![Write::to(Key::new(collection, id)).set(json!(id))],
        )
        .await;
    }
    let ids = async |range: IdRange, limit| {
        let records = store.list("b", &range, limit, now()).await.expect("a list");
        records
            .into_iter()
            .map(|record| record.key.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(IdRange::all(), 100).await, ["1", "10", "2", "Z", "ä"]);
    assert_eq!(ids(IdRange::all(), 2).await, ["1", "10"]);
    assert_eq!(ids(IdRange::after("10"), 2).await, ["2", "Z"]);
    assert_eq!(ids(IdRange::after("ä"), 2).await, [""; 0]);
    assert_eq!(ids(IdRange::after("1").until("2"), 100).await, ["10", "2"]);
    assert_eq!(ids(IdRange::all().until("10"), 100).await, ["1", "10"]);
    assert_eq!(ids(IdRange::after("2").until("2"), 100).await, [""; 0]);
    assert_eq!(ids(IdRange::after("2").until("1"), 100).await, [""; 0]);
    assert_eq!(ids(IdRange::all(), 0).await, [""; 0]);
}

/// What no store can do is told apart from what somebody else did first.
pub async fn writes_that_make_no_sense_are_refused<S: StateStore>(store: &S) {
    let key = || Key::new("things", "one");
    let set = || Write::to(key()).set(json!(1));
    let many =
        (0..=MAX_WRITES).map(|id| Write::to(Key::new("things", id.to_string())).set(json!(1)));
    for writes in [
        vec![],
        many.collect(),
        vec![set(), set()],
        vec![Write::to(Key::new("", "one")).set(json!(1))],
        vec![Write::to(Key::new("things", "")).set(json!(1))],
        vec![Write::to(key()).add("n", 1).delete()],
        vec![set().add("n", 1).expires(now())],
        vec![Write::to(key()).add("n", 1).add("n", 2)],
    ] {
        let refused = store
            .apply(writes, now())
            .await
            .expect_err("it makes no sense");
        assert_eq!(refused.kind(), &ProviderErrorKind::Invalid);
    }
    assert_eq!(get(store, &key()).await, None);
}

/// Of many who want the same at once one gets it, and sums lose nothing.
pub async fn one_of_many_wins<S: StateStore>(store: Arc<S>) {
    const MANY: i64 = 12;
    let attempts: Vec<_> = (0..MANY)
        .map(|id| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let slot = Write::to(Key::new("slots", "nine"))
                    .if_absent()
                    .set(json!(id));
                let won = store
                    .apply(
                        vec![slot, Write::to(Key::new("sums", "won")).add("n", 1)],
                        now(),
                    )
                    .await;
                let sum = Write::to(Key::new("sums", "all"))
                    .add("n", id)
                    .add_up_to("some", 1, 5);
                let limited = store.apply(vec![sum], now()).await;
                (won, limited)
            })
        })
        .collect();
    let (mut winners, mut limited) = (Vec::new(), 0);
    for (id, attempt) in (0..).zip(attempts) {
        let (won, within) = attempt.await.expect("no panic");
        for result in [&won, &within] {
            if let Err(failed) = result {
                assert_eq!(failed.kind(), &ProviderErrorKind::Conflict);
            }
        }
        winners.extend(won.is_ok().then_some(id));
        limited += i64::from(within.is_ok());
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(limited, 5);
    let slot = get(&*store, &Key::new("slots", "nine"))
        .await
        .expect("somebody won");
    assert_eq!(slot.value, json!(winners[0]));
    let won = get(&*store, &Key::new("sums", "won"))
        .await
        .expect("it counts");
    assert_eq!(won.counter("n"), 1);
    let all = get(&*store, &Key::new("sums", "all"))
        .await
        .expect("it counts");
    assert_eq!(all.counter("some"), 5);
}

fn now() -> Timestamp {
    "2026-06-22T20:35:32.5Z".parse().expect("a time")
}

async fn read<S: StateStore>(store: &S, key: &Key, now: Timestamp) -> Option<Record> {
    store.get(key, now).await.expect("it can be read")
}

async fn get<S: StateStore>(store: &S, key: &Key) -> Option<Record> {
    read(store, key, now()).await
}

async fn apply<S: StateStore>(store: &S, writes: Vec<Write>) {
    store
        .apply(writes, now())
        .await
        .expect("the conditions hold");
}

async fn refused<S: StateStore>(store: &S, writes: Vec<Write>) {
    let refused = store
        .apply(writes, now())
        .await
        .expect_err("a condition does not hold");
    assert_eq!(refused.kind(), &ProviderErrorKind::Conflict, "{refused:?}");
}
