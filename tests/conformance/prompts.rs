//! Versions of prompts over every store of shared state: what [`Prompts`] promises must hold
//! wherever its records lie.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};
use novavoice::{
    ProviderErrorKind,
    prompt::{Draft, Prompts, Texts},
    state::{DynamoState, MemoryState, SqliteState, StateStore},
};

use crate::dynamo::Server;

fn draft(words: &str) -> Draft {
    let mut texts = Texts::default();
    for (name, _) in Texts::default().all() {
        *texts.text_mut(name).expect("a text") = format!("{name}: {words}");
    }
    Draft::new(texts).expect("right")
}

fn now() -> Timestamp {
    "2026-06-22T20:35:32.5Z".parse().expect("a time")
}

/// Two nodes with one store.
fn nodes<S: StateStore>(store: S) -> (Prompts, Prompts) {
    let store: Arc<dyn StateStore> = Arc::new(store);
    let node = |store: &Arc<dyn StateStore>| Prompts::new(Arc::clone(store), draft("shipped"));
    (node(&store), node(&store))
}

async fn all<S: StateStore>(make: impl AsyncFn() -> S) {
    what_is_saved_is_there_for_everybody(nodes(make().await)).await;
    a_repeated_save_is_one_for_a_day(nodes(make().await)).await;
    activations_go_back_the_way_they_came(nodes(make().await)).await;
    whoever_is_late_goes_back_no_further(nodes(make().await)).await;
    saves_at_once_get_a_number_each(nodes(make().await)).await;
    activations_at_once_follow_each_other(nodes(make().await)).await;
}

async fn what_is_saved_is_there_for_everybody((one, other): (Prompts, Prompts)) {
    assert_eq!(other.active(now()).await.expect("readable").version, 0);
    assert_eq!(other.get(1, now()).await.expect("readable"), None);
    for number in 1..=30 {
        let words = draft(&format!("{number} añ 通話"));
        let words = words.by("Pat").because("why not");
        let saved = one.save(&words, None, now()).await.expect("kept");
        assert_eq!((saved.number, saved.created), (number, Some(now())));
        let read = other.get(number, now()).await.expect("readable");
        assert_eq!(read, Some(saved));
    }
    let listed = other.list(now()).await.expect("readable");
    let numbers = listed.iter().map(|version| version.number);
    assert!(numbers.eq((0..=30).rev()), "newest first");
    assert_eq!(&listed[30], one.shipped());
}

async fn a_repeated_save_is_one_for_a_day((one, other): (Prompts, Prompts)) {
    let save = async |node: &Prompts, words: &str, once: &str, at: Timestamp| {
        node.save(&draft(words), Some(once), at).await
    };
    let first = save(&one, "a", "k1", now()).await.expect("kept");
    let later = now() + SignedDuration::from_hours(23);
    assert_eq!(save(&other, "a", "k1", later).await.expect("kept"), first);
    let refused = save(&other, "b", "k1", later)
        .await
        .expect_err("another draft");
    assert_eq!(refused.kind(), &ProviderErrorKind::Invalid);
    let next_day = now() + SignedDuration::from_hours(25);
    assert_eq!(
        save(&one, "a", "k1", next_day).await.expect("kept").number,
        2
    );
}

async fn activations_go_back_the_way_they_came((one, other): (Prompts, Prompts)) {
    for words in ["1", "2", "3"] {
        one.save(&draft(words), None, now()).await.expect("kept");
    }
    let unknown = one
        .activate(4, None, now())
        .await
        .expect_err("no such version");
    assert_eq!(unknown.kind(), &ProviderErrorKind::NotFound);
    for number in [1, 1, 3, 2, 3] {
        one.activate(number, Some("Pat"), now())
            .await
            .expect("there");
        let active = other.active(now()).await.expect("readable");
        assert_eq!(
            (active.version, active.by.as_deref()),
            (number, Some("Pat"))
        );
        assert_eq!(other.for_call(None, now()).await.number, number);
    }
    for number in [2, 3, 1, 0] {
        let back = other
            .roll_back(None, None, now())
            .await
            .expect("a way back");
        assert_eq!(back.version, number);
        assert_eq!(one.for_call(None, now()).await.number, number);
        assert_eq!(
            one.for_call(Some(3), now()).await.number,
            3,
            "a pinned one stays"
        );
    }
    let end = one
        .roll_back(None, None, now())
        .await
        .expect_err("the end of the way");
    assert_eq!(end.kind(), &ProviderErrorKind::Invalid);
    let history = one.history(100, now()).await.expect("readable");
    let changes = history.iter().rev().map(|change| change.version);
    assert!(changes.eq([1, 3, 2, 3, 2, 3, 1, 0]), "{history:?}");
    assert_eq!(one.history(2, now()).await.expect("readable"), history[..2]);
}

async fn whoever_is_late_goes_back_no_further((one, other): (Prompts, Prompts)) {
    for words in ["1", "2"] {
        let saved = one.save(&draft(words), None, now()).await.expect("kept");
        one.activate(saved.number, None, now())
            .await
            .expect("there");
    }
    let first = one
        .roll_back(Some(2), None, now())
        .await
        .expect("a way back");
    let second = other
        .roll_back(Some(2), None, now())
        .await
        .expect("no change");
    assert_eq!(first, second);
    assert_eq!(second.version, 1);
}

async fn saves_at_once_get_a_number_each((one, other): (Prompts, Prompts)) {
    const MANY: u32 = 16;
    let saves: Vec<_> = (0..MANY)
        .map(|save| {
            let node = if save % 2 == 0 { &one } else { &other };
            let node = node.clone();
            tokio::spawn(async move {
                let words = draft(&save.to_string());
                let saved = node.save(&words, None, now()).await.expect("kept");
                (saved.number, saved.texts.clone())
            })
        })
        .collect();
    let mut numbers = BTreeSet::new();
    for save in saves {
        let (number, texts) = save.await.expect("no panic");
        assert!(numbers.insert(number), "{number} twice");
        let read = other.get(number, now()).await.expect("readable");
        assert_eq!(read.map(|version| version.texts.clone()), Some(texts));
    }
    assert!(numbers.into_iter().eq(1..=MANY));
}

async fn activations_at_once_follow_each_other((one, other): (Prompts, Prompts)) {
    const MANY: u32 = 8;
    for words in 0..MANY {
        let words = draft(&words.to_string());
        one.save(&words, None, now()).await.expect("kept");
    }
    let turns: Vec<_> = (1..=MANY)
        .map(|number| {
            let node = if number % 2 == 0 { &one } else { &other };
            let node = node.clone();
            tokio::spawn(async move { node.activate(number, None, now()).await })
        })
        .collect();
    for turn in turns {
        turn.await.expect("no panic").expect("it had its turn");
    }
    let active = one.active(now()).await.expect("readable");
    assert_eq!(active, other.active(now()).await.expect("readable"));
    let history = one.history(100, now()).await.expect("readable");
    assert_eq!(history.len(), MANY as usize);
    assert_eq!(history[0].version, active.version);
    for (newer, older) in history.iter().zip(&history[1..]) {
        assert_eq!(newer.replaced, older.version);
    }
}

#[tokio::test]
async fn prompts_in_memory() {
    all(async || MemoryState::new()).await;
}

#[tokio::test]
async fn prompts_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = AtomicU32::new(0);
    all(async || {
        let name = format!("{}.db", count.fetch_add(1, Ordering::Relaxed));
        let file = SqliteState::open(folder.path().join(name)).await;
        file.expect("a file")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_in_a_table() {
    for server in Server::all() {
        let count = AtomicU32::new(0);
        all(async || {
            let name = format!("prompts{}", count.fetch_add(1, Ordering::Relaxed));
            let (name, dynamo) = (server.table(&name), server.dynamo());
            let made = dynamo.create_missing(&[DynamoState::table(&name)]).await;
            made.expect("a table");
            DynamoState::new(dynamo, name)
        })
        .await;
    }
}
