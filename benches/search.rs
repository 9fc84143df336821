//! Searching 100,000 calls in SQLite: a page of 50, newest first. The file is built once, below the
//! target folder, and used again by later runs.

use std::{hint::black_box, path::Path, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use novavoice::{
    call::{CallId, CallStatus, Direction, Outcome, Party},
    record::{CallQuery, CallRecord, CallStore, GroupBy, Span, SqliteCalls},
    transcript::{Speaker, Utterance},
};
use tokio::runtime::Runtime;

const CALLS: u32 = 100_000;
const LINES: u32 = 12;
const CHUNK: u32 = 5_000;

/// Search texts, from words that are in every call to one that is in none.
const SEARCHES: [(&str, &str); 6] = [
    ("in every call", "pastor"),
    ("two common words", "pastor tuesday"),
    ("three letters of many words", "wor"),
    ("common and rare", "meeting word1234"),
    ("rare", "word1999 word777"),
    ("nowhere", "xylophone"),
];

fn search(c: &mut Criterion) {
    let runtime = Runtime::new().expect("threads");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("calls-100000.sqlite");
    let calls = runtime.block_on(async {
        let calls = SqliteCalls::open(file).await.expect("a file");
        fill(&calls).await;
        calls
    });
    for (name, text) in SEARCHES {
        let mut query = CallQuery::default();
        query.text = Some(text.to_owned().into());
        c.bench_function(&format!("search 100,000 calls: {name}"), |b| {
            b.iter(|| {
                let page = runtime.block_on(calls.list(&query));
                black_box(page.expect("an answer"))
            });
        });
    }
    c.bench_function("list 100,000 calls: the newest 50", |b| {
        b.iter(|| {
            let page = runtime.block_on(calls.list(&CallQuery::default()));
            black_box(page.expect("an answer"))
        });
    });
    c.bench_function("sum 100,000 calls up by day", |b| {
        let always = Span {
            from: Timestamp::MIN,
            to: Timestamp::MAX,
        };
        b.iter(|| {
            let page = runtime.block_on(calls.totals(always, GroupBy::Day));
            black_box(page.expect("an answer"))
        });
    });
}

async fn fill(calls: &SqliteCalls) {
    let last = CallId::new(format!("call-{}", CALLS - 1));
    if calls.get(&last).await.expect("an answer").is_some() {
        return;
    }
    for first in (0..CALLS).step_by(CHUNK as usize) {
        let chunk = (first..first + CHUNK).map(call).collect();
        calls.import(chunk).await.expect("a writable file");
    }
}

/// A call of some minutes: common words in each, rare ones in some.
fn call(number: u32) -> (CallRecord, Vec<Utterance>) {
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let started = begin + SignedDuration::from_secs(i64::from(number) * 90);
    let id = CallId::new(format!("call-{number}"));
    let mut record = CallRecord::new(id, Direction::Outbound, started);
    record.remote = Some(Party::new(format!("1212555{:04}", number % 200)));
    record.status = CallStatus::Completed;
    record.outcome = Some(Outcome::FollowUp);
    record.ended = Some(started + SignedDuration::from_secs(180));
    record.duration = Some(Duration::from_secs(180));
    record.cost_usd = Some(0.25);
    let mut state = u64::from(number) + 1;
    let mut word = || {
        // Knuth's constants; any spread of words will do.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 2_000
    };
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday"];
    let lines = (1..=LINES).map(|seq| Utterance {
        seq: seq.into(),
        at: started + SignedDuration::from_secs(i64::from(seq) * 10),
        speaker: if seq % 2 == 0 {
            Speaker::Caller
        } else {
            Speaker::Agent
        },
        text: format!(
            "Good morning, this is the pastor about the meeting on {} with word{} and word{}, word{}.",
            days[(number + seq) as usize % days.len()],
            word(),
            word(),
            word(),
        ),
        cut: false,
    });
    (record, lines.collect())
}

criterion_group!(benches, search);
criterion_main!(benches);
