use std::{
    fs,
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::{
    audio::SampleRate,
    call::{CallStatus, Direction, Outcome},
    transcript::{MemorySink, Speaker},
};

/// A sink that can be cut off, and that dislikes one word.
#[derive(Debug, Default)]
struct Moody {
    inner: MemorySink,
    down: AtomicBool,
}

impl Moody {
    fn check(&self) -> Result<(), ProviderError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(ProviderError::new("moody", ProviderErrorKind::Unavailable));
        }
        Ok(())
    }
}

#[async_trait]
impl TranscriptSink for Arc<Moody> {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        self.check()?;
        self.inner.start(call).await
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        self.check()?;
        if line.text == "indigestible" {
            return Err(ProviderError::new("moody", ProviderErrorKind::Protocol));
        }
        self.inner.record(call, line).await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        self.check()?;
        self.inner.end(call, summary).await
    }
}

fn info(id: &str) -> CallInfo {
    let started = "2026-06-22T20:35:32Z".parse().unwrap();
    CallInfo::new(
        CallId::new(id),
        Direction::Inbound,
        started,
        SampleRate::Hz8000,
    )
}

fn line(seq: u64, text: &str) -> Utterance {
    Utterance {
        seq,
        at: "2026-06-22T20:35:34Z".parse::<Timestamp>().unwrap()
            + SignedDuration::from_secs(seq.try_into().unwrap()),
        speaker: Speaker::Caller,
        text: text.to_owned(),
        cut: false,
    }
}

fn summary() -> CallSummary {
    let ended = "2026-06-22T20:37:05Z".parse().unwrap();
    let status = CallStatus::Completed;
    CallSummary::new(status, Outcome::FollowUp, ended, Duration::from_secs(93))
}

async fn open<S: TranscriptSink>(dir: &Path, sink: S) -> Spool<S> {
    Spool::open(dir, sink, SpoolConfig::default())
        .await
        .unwrap()
}

/// As if the process had died: the lock is free, and nothing was brought to an end.
async fn kill<S: TranscriptSink>(spool: Spool<S>) {
    let inner = Arc::downgrade(spool.inner());
    drop(spool);
    while inner.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

fn seqs(sink: &MemorySink, call: &CallId) -> Vec<u64> {
    sink.lines(call).iter().map(|line| line.seq).collect()
}

#[tokio::test(start_paused = true)]
async fn lines_are_acknowledged_while_the_sink_is_away_and_handed_on_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Arc::new(Moody::default());
    sink.down.store(true, Ordering::Relaxed);
    let spool = open(dir.path(), Arc::clone(&sink)).await;
    let call = info("a");
    assert_eq!(spool.start(&call).await.unwrap(), 0);
    for seq in 1..=20 {
        spool.record(&call.id, &line(seq, "hello")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let health = spool.health();
    assert_eq!(health.waiting, 21);
    assert!(health.failing.is_some_and(|why| why.contains("moody")));
    assert!(seqs(&sink.inner, &call.id).is_empty());

    sink.down.store(false, Ordering::Relaxed);
    spool.end(&call.id, &summary()).await.unwrap();
    spool.drained().await;
    assert_eq!(seqs(&sink.inner, &call.id), (1..=20).collect::<Vec<_>>());
    let kept = sink.inner.summary(&call.id).unwrap();
    assert_eq!(kept.outcome, Outcome::FollowUp);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(spool.health().failing, None);
}

/// A sink that counts how often it is written to.
#[derive(Debug, Default)]
struct Counting {
    inner: MemorySink,
    writes: std::sync::atomic::AtomicUsize,
}

#[async_trait]
impl TranscriptSink for Arc<Counting> {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        self.inner.start(call).await
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        self.record_all(call, std::slice::from_ref(line)).await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        self.inner.end(call, summary).await
    }

    async fn record_all(&self, call: &CallId, lines: &[Utterance]) -> Result<(), ProviderError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.inner.record_all(call, lines).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_lines_of_a_second_are_one_write_and_none_waits_longer() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Arc::new(Counting::default());
    let spool = open(dir.path(), Arc::clone(&sink)).await;
    let call = info("a");
    spool.start(&call).await.unwrap();
    for second in 0..10 {
        for line_of_second in 1..=4 {
            let seq = second * 4 + line_of_second;
            spool.record(&call.id, &line(seq, "hello")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        spool.drained().await;
        let kept = seqs(&sink.inner, &call.id).len() as u64;
        assert_eq!(kept, (second + 1) * 4);
    }
    assert_eq!(sink.writes.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn a_dead_process_leaves_its_lines_and_its_calls_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Arc::new(Moody::default());
    let spool = open(dir.path(), Arc::clone(&sink)).await;
    let (over, open_one) = (info("over"), info("open"));
    for call in [&over, &open_one] {
        spool.start(call).await.unwrap();
        spool.record(&call.id, &line(1, "one")).await.unwrap();
    }
    spool.end(&over.id, &summary()).await.unwrap();
    spool.drained().await;
    sink.down.store(true, Ordering::Relaxed);
    spool.record(&open_one.id, &line(2, "two")).await.unwrap();
    let death = clock::wall();
    kill(spool).await;
    sink.down.store(false, Ordering::Relaxed);

    let spool = open(dir.path(), Arc::clone(&sink)).await;
    let closed: Vec<_> = spool
        .abandoned()
        .iter()
        .map(|(call, _)| call.as_str())
        .collect();
    assert_eq!(closed, ["open"]);
    spool.drained().await;
    assert_eq!(seqs(&sink.inner, &open_one.id), [1, 2]);
    let kept = sink.inner.summary(&open_one.id).unwrap();
    assert_eq!(kept.status, CallStatus::Abandoned);
    assert!(
        kept.ended >= line(2, "").at && kept.ended <= death,
        "{kept:?}"
    );
    let kept = sink.inner.summary(&over.id).unwrap();
    assert_eq!(kept.status, CallStatus::Completed);
    kill(spool).await;

    // And it stays so.
    let spool = open(dir.path(), Arc::clone(&sink)).await;
    assert!(spool.abandoned().is_empty());
    // A call goes on after all.
    assert_eq!(spool.start(&open_one).await.unwrap(), 2);
    spool.record(&open_one.id, &line(3, "three")).await.unwrap();
    spool.end(&open_one.id, &summary()).await.unwrap();
    spool.drained().await;
    assert_eq!(seqs(&sink.inner, &open_one.id), [1, 2, 3]);
    let kept = sink.inner.summary(&open_one.id).unwrap();
    assert_eq!(kept.status, CallStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn the_disk_is_freed_and_calls_outlive_their_first_segment() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Arc::new(Moody::default());
    let config = SpoolConfig {
        segment_bytes: 2_000,
        ..SpoolConfig::default()
    };
    let spool = Spool::open(dir.path(), Arc::clone(&sink), config)
        .await
        .unwrap();
    let call = info("a");
    spool.start(&call).await.unwrap();
    for seq in 1..=200 {
        spool.record(&call.id, &line(seq, "hello")).await.unwrap();
    }
    spool.drained().await;
    // The segments go away on a thread of their own.
    while spool.health().bytes > 5_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    kill(spool).await;
    let spool = open(dir.path(), Arc::clone(&sink)).await;
    assert_eq!(spool.abandoned().len(), 1);
    spool.drained().await;
    assert_eq!(seqs(&sink.inner, &call.id).len(), 200);
    let kept = sink.inner.summary(&call.id).unwrap();
    assert_eq!(kept.status, CallStatus::Abandoned);
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_says_so_and_goes_on_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Arc::new(Moody::default());
    sink.down.store(true, Ordering::Relaxed);
    let mut config = SpoolConfig::default();
    (config.max_bytes, config.segment_bytes) = (20_000, 4_000);
    let spool = Spool::open(dir.path(), Arc::clone(&sink), config)
        .await
        .unwrap();
    let call = info("a");
    spool.start(&call).await.unwrap();
    let mut seq = 1;
    let error = loop {
        match spool.record(&call.id, &line(seq, "hello")).await {
            Ok(()) => seq += 1,
            Err(error) => break error,
        }
    };
    assert!(error.kind().is_retryable(), "{error}");
    assert!(error.to_string().contains("as much as may"), "{error}");
    assert!(spool.health().disk.is_some());
    sink.down.store(false, Ordering::Relaxed);
    while spool.record(&call.id, &line(seq, "hello")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    spool.drained().await;
    assert_eq!(seqs(&sink.inner, &call.id), (1..=seq).collect::<Vec<_>>());
    assert_eq!(spool.health().disk, None);
}

#[tokio::test(start_paused = true)]
async fn what_the_sink_refuses_is_put_aside_and_holds_up_no_other_call() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Arc::new(Moody::default());
    let spool = open(dir.path(), Arc::clone(&sink)).await;
    let (bad, good) = (info("bad"), info("good"));
    for call in [&bad, &good] {
        spool.start(call).await.unwrap();
    }
    spool
        .record(&bad.id, &line(1, "indigestible"))
        .await
        .unwrap();
    spool.record(&good.id, &line(1, "hello")).await.unwrap();
    spool.end(&good.id, &summary()).await.unwrap();
    spool.end(&bad.id, &summary()).await.unwrap();
    spool.drained().await;
    assert_eq!(seqs(&sink.inner, &good.id), [1]);
    assert!(sink.inner.summary(&bad.id).is_some());
    assert_eq!(spool.health().refused, 1);
    let aside = fs::read_to_string(dir.path().join("0/refused.jsonl")).unwrap();
    let aside: serde_json::Value = serde_json::from_str(&aside).unwrap();
    assert_eq!(aside["line"]["text"], "indigestible");
    assert_eq!(aside["call_uuid"], "bad");
}

#[tokio::test]
async fn processes_share_a_directory_and_heirs_take_over() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (MemorySink::new(), MemorySink::new());
    let first = open(dir.path(), one.clone()).await;
    let second = open(dir.path(), other.clone()).await;
    assert!(second.abandoned().is_empty(), "the first one lives");
    let (a, b) = (info("a"), info("b"));
    first.start(&a).await.unwrap();
    second.start(&b).await.unwrap();
    first.record(&a.id, &line(1, "one")).await.unwrap();
    second.record(&b.id, &line(1, "one")).await.unwrap();
    kill(first).await;
    kill(second).await;
    let heir = MemorySink::new();
    let third = open(dir.path(), heir.clone()).await;
    assert_eq!(third.abandoned().len(), 2);
    third.drained().await;
    for call in [&a, &b] {
        assert_eq!(seqs(&heir, &call.id), [1]);
        assert!(heir.summary(&call.id).is_some());
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let spool = Spool::open(&file, MemorySink::new(), SpoolConfig::default());
    let error = spool.await.unwrap_err();
    assert_eq!(error.provider(), "spool");
    let told = error.to_string();
    assert!(told.contains(file.to_str().unwrap()), "{told}");
    assert!(told.contains("choose another directory"), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a crash leaves of the last segment: a prefix of what was written is there, and
    /// all of it that was whole.
    #[test]
    fn a_torn_tail_takes_nothing_else_with_it(
        lines in 1..20_u64,
        cut in any::<prop::sample::Index>(),
        garbage in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let away = Arc::new(Moody::default());
            away.down.store(true, Ordering::Relaxed);
            let spool = open(dir.path(), Arc::clone(&away)).await;
            let call = info("a");
            spool.start(&call).await.unwrap();
            // Where each line ends.
            let path = dir.path().join("0/000000000001.journal");
            let mut ends = Vec::new();
            for seq in 1..=lines {
                spool.record(&call.id, &line(seq, "hello")).await.unwrap();
                ends.push(fs::metadata(&path).unwrap().len());
            }
            kill(spool).await;
            let bytes = fs::read(&path).unwrap();
            let first = usize::try_from(ends[0]).unwrap();
            let cut = first + cut.index(bytes.len() - first + 1);
            let mut torn = fs::File::create(&path).unwrap();
            torn.write_all(&bytes[..cut]).unwrap();
            torn.write_all(&garbage).unwrap();
            drop(torn);
            let whole = ends.iter().filter(|end| **end <= cut as u64).count() as u64;

            let sink = MemorySink::new();
            let spool = open(dir.path(), sink.clone()).await;
            spool.drained().await;
            let kept = seqs(&sink, &call.id);
            assert_eq!(kept, (1..=whole).collect::<Vec<_>>());
            assert_eq!(sink.summary(&call.id).unwrap().status, CallStatus::Abandoned);
        });
    }
}

#[cfg(target_os = "linux")]
mod full_disk {
    use super::*;
    use crate::transcript::file::disk::open_options;

    /// A disk that takes nothing: what `/dev/full` says is what a full one says.
    #[tokio::test(start_paused = true)]
    async fn a_full_disk_is_called_a_full_disk_and_calls_go_on_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let sink = MemorySink::new();
        let spool = open(dir.path(), sink.clone()).await;
        let call = info("a");
        spool.start(&call).await.unwrap();
        let good = {
            let mut journal = spool.inner().journal.lock().unwrap();
            journal.swap_file(open_options().open("/dev/full").unwrap())
        };
        let error = spool.record(&call.id, &line(1, "one")).await.unwrap_err();
        assert!(error.kind().is_retryable());
        assert!(error.to_string().contains("free some space"), "{error}");
        assert!(spool.health().disk.is_some());
        spool.inner().journal.lock().unwrap().swap_file(good);
        spool.record(&call.id, &line(1, "one")).await.unwrap();
        spool.drained().await;
        assert_eq!(seqs(&sink, &call.id), [1]);
    }
}
