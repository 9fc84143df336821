use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::{
    audio::SampleRate,
    call::{CallStatus, Direction, Outcome},
    transcript::{MemorySink, Speaker},
};

/// A sink that can be slow, or out of order.
#[derive(Debug, Default)]
struct Moody {
    inner: MemorySink,
    down: AtomicBool,
    delay: Mutex<Duration>,
}

impl Moody {
    async fn check(&self) -> Result<(), ProviderError> {
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        if self.down.load(Ordering::Relaxed) {
            return Err(ProviderError::new("inner", ProviderErrorKind::Unavailable)
                .with_detail("out of order"));
        }
        Ok(())
    }
}

#[async_trait]
impl TranscriptSink for Moody {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        self.check().await?;
        self.inner.start(call).await
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        self.check().await?;
        self.inner.record(call, line).await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        self.check().await?;
        self.inner.end(call, summary).await
    }

    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        self.inner.read_back(call, after).await
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

fn line(seq: u64) -> Utterance {
    Utterance {
        seq,
        at: "2026-06-22T20:35:34Z".parse().unwrap(),
        speaker: Speaker::Caller,
        text: format!("line {seq}"),
        cut: false,
    }
}

fn summary() -> CallSummary {
    let ended = "2026-06-22T20:37:05Z".parse().unwrap();
    let status = CallStatus::Completed;
    CallSummary::new(status, Outcome::FollowUp, ended, Duration::from_secs(93))
}

fn seqs(sink: &MemorySink, call: &CallId) -> Vec<u64> {
    sink.lines(call).iter().map(|line| line.seq).collect()
}

async fn pair(policy: Acknowledge) -> (FanOut, MemorySink, Arc<Moody>) {
    let (good, moody) = (MemorySink::new(), Arc::new(Moody::default()));
    let fan_out = FanOut::builder(policy)
        .sink("good", good.clone())
        .sink("moody", Arc::clone(&moody))
        .build()
        .await
        .unwrap();
    (fan_out, good, moody)
}

#[tokio::test(start_paused = true)]
async fn a_line_that_all_must_have_fails_with_the_name_of_the_sink_that_lacks_it() {
    let (fan_out, good, moody) = pair(Acknowledge::All).await;
    let call = info("a");
    fan_out.start(&call).await.unwrap();
    moody.down.store(true, Ordering::Relaxed);
    let error = fan_out.record(&call.id, &line(1)).await.unwrap_err();
    assert_eq!(error.provider(), "moody");
    assert_eq!(*error.kind(), ProviderErrorKind::Unavailable);
    assert_eq!(error.detail(), Some("out of order"));
    assert_eq!(seqs(&good, &call.id), [1], "the other one has it");
    let failing = fan_out.health()[1].failing.clone();
    assert!(failing.is_some_and(|why| why.contains("out of order")));

    moody.down.store(false, Ordering::Relaxed);
    fan_out.record(&call.id, &line(1)).await.unwrap();
    fan_out.end(&call.id, &summary()).await.unwrap();
    for sink in [&good, &moody.inner] {
        assert_eq!(seqs(sink, &call.id), [1]);
        assert!(sink.summary(&call.id).is_some());
    }
    assert_eq!(fan_out.health()[1].failing, None);
}

#[tokio::test(start_paused = true)]
async fn the_first_sink_knows_of_a_call_for_as_long_as_any_other() {
    let (fan_out, good, moody) = pair(Acknowledge::All).await;
    let call = info("a");
    *moody.delay.lock().unwrap() = Duration::from_secs(1);
    let (fan_out, id) = (Arc::new(fan_out), call.id.clone());
    let starting = tokio::spawn({
        let (fan_out, call) = (Arc::clone(&fan_out), call.clone());
        async move { fan_out.start(&call).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(good.call_ids(), std::slice::from_ref(&id));
    assert!(moody.inner.call_ids().is_empty());
    starting.await.unwrap().unwrap();
    let ending = tokio::spawn({
        let (fan_out, id) = (Arc::clone(&fan_out), id.clone());
        async move { fan_out.end(&id, &summary()).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(good.summary(&id).is_none(), "not before the other one");
    ending.await.unwrap().unwrap();
    assert!(good.summary(&id).is_some() && moody.inner.summary(&id).is_some());

    // Also where the other one fails.
    fan_out.start(&call).await.unwrap();
    moody.down.store(true, Ordering::Relaxed);
    let error = fan_out.end(&id, &summary()).await.unwrap_err();
    assert_eq!(error.provider(), "moody");
    assert!(good.summary(&id).is_some());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_slow_or_out_of_order_holds_up_neither_the_call_nor_another() {
    let (fan_out, good, moody) = pair(Acknowledge::Any).await;
    let call = info("a");
    fan_out.start(&call).await.unwrap();
    *moody.delay.lock().unwrap() = Duration::from_secs(7);
    let begun = clock::now();
    for seq in 1..=5 {
        fan_out.record(&call.id, &line(seq)).await.unwrap();
    }
    assert_eq!(clock::now(), begun, "not a moment was waited");
    assert_eq!(seqs(&good, &call.id), [1, 2, 3, 4, 5]);
    moody.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(fan_out.health()[1].queued > 0);
    moody.down.store(false, Ordering::Relaxed);
    fan_out.end(&call.id, &summary()).await.unwrap();
    fan_out.flushed().await;
    assert_eq!(seqs(&moody.inner, &call.id), [1, 2, 3, 4, 5]);
    assert!(moody.inner.summary(&call.id).is_some());
    assert_eq!(fan_out.health()[1].missed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_spills_to_the_disk_and_everything_arrives_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (good, moody) = (MemorySink::new(), Arc::new(Moody::default()));
    let fan_out = FanOut::builder(Acknowledge::Any)
        .sink("good", good.clone())
        .sink("moody", Arc::clone(&moody))
        .queue(8)
        .spill_to(dir.path())
        .build()
        .await
        .unwrap();
    let calls = ["a", "b", "c"].map(info);
    for round in 0..3 {
        for call in &calls {
            assert_eq!(fan_out.start(call).await.unwrap(), round * 40);
        }
        fan_out.flushed().await;
        moody.down.store(true, Ordering::Relaxed);
        for seq in 1..=40 {
            for call in &calls {
                fan_out
                    .record(&call.id, &line(round * 40 + seq))
                    .await
                    .unwrap();
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let health = fan_out.health().remove(1);
        assert!(health.spilled > 50, "{health:?}");
        assert!(health.queued <= 8, "{health:?}");
        moody.down.store(false, Ordering::Relaxed);
        for call in &calls {
            fan_out.end(&call.id, &summary()).await.unwrap();
        }
        fan_out.flushed().await;
        for call in &calls {
            let all: Vec<_> = (1..=(round + 1) * 40).collect();
            assert_eq!(seqs(&moody.inner, &call.id), all);
            assert_eq!(seqs(&good, &call.id), all);
            assert!(moody.inner.summary(&call.id).is_some());
        }
        let health = fan_out.health().remove(1);
        assert_eq!((health.missed, health.spilled, health.queued), (0, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_disk_a_full_queue_misses_lines_and_says_so() {
    let (good, moody) = (MemorySink::new(), Arc::new(Moody::default()));
    let fan_out = FanOut::builder(Acknowledge::Any)
        .sink("good", good.clone())
        .sink("moody", Arc::clone(&moody))
        .queue(2)
        .build()
        .await
        .unwrap();
    let call = info("a");
    fan_out.start(&call).await.unwrap();
    moody.down.store(true, Ordering::Relaxed);
    for seq in 1..=20 {
        fan_out.record(&call.id, &line(seq)).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(seqs(&good, &call.id).len(), 20);
    assert!(fan_out.health()[1].missed > 10, "{:?}", fan_out.health());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_behind_is_given_what_it_lacks_when_the_call_goes_on() {
    let (fan_out, good, moody) = pair(Acknowledge::All).await;
    let call = info("a");
    good.start(&call).await.unwrap();
    moody.inner.start(&call).await.unwrap();
    for seq in 1..=4 {
        good.record(&call.id, &line(seq)).await.unwrap();
        if seq <= 2 {
            moody.inner.record(&call.id, &line(seq)).await.unwrap();
        }
    }
    assert_eq!(fan_out.start(&call).await.unwrap(), 4);
    fan_out.record(&call.id, &line(5)).await.unwrap();
    for sink in [&good, &moody.inner] {
        assert_eq!(seqs(sink, &call.id), [1, 2, 3, 4, 5]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_takes_nobody_with_it() {
    #[derive(Debug)]
    struct Panics;

    #[async_trait]
    impl TranscriptSink for Panics {
        async fn start(&self, _: &CallInfo) -> Result<u64, ProviderError> {
            Ok(0)
        }

        async fn record(&self, _: &CallId, _: &Utterance) -> Result<(), ProviderError> {
            panic!("a bug")
        }

        async fn end(&self, _: &CallId, _: &CallSummary) -> Result<(), ProviderError> {
            Ok(())
        }
    }

    let good = MemorySink::new();
    let fan_out = FanOut::builder(Acknowledge::Any)
        .sink("panics", Panics)
        .sink("good", good.clone())
        .build()
        .await
        .unwrap();
    let call = info("a");
    fan_out.start(&call).await.unwrap();
    for seq in 1..=3 {
        fan_out.record(&call.id, &line(seq)).await.unwrap();
    }
    fan_out.end(&call.id, &summary()).await.unwrap();
    fan_out.flushed().await;
    assert_eq!(seqs(&good, &call.id), [1, 2, 3]);
}
