//! The contract of [`TranscriptSink`].

use jiff::{SignedDuration, Timestamp};

use crate::{
    audio::SampleRate,
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome, Party},
    error::ProviderErrorKind,
    transcript::{Speaker, TranscriptSink, Utterance},
};

/// Runs everything in this module, each on a fresh sink that `make` makes. `read` answers with
/// the lines that a sink keeps of a call, in the order of `seq`.
pub async fn transcript_sink<S: TranscriptSink>(
    make: impl AsyncFn() -> S,
    read: impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    a_new_call_has_no_lines(&make().await, &read).await;
    lines_are_kept_word_by_word(&make().await, &read).await;
    a_repeated_line_is_kept_once(&make().await, &read).await;
    a_call_that_lost_its_socket_goes_on(&make().await, &read).await;
    a_call_goes_on_after_its_end(&make().await, &read).await;
    calls_run_side_by_side(&make().await, &read).await;
    calls_with_similar_ids_stay_apart(&make().await, &read).await;
    lines_that_come_together_are_kept_like_others(&make().await, &read).await;
    a_line_out_of_turn_is_refused(&make().await, &read).await;
    an_end_may_be_repeated(&make().await, &read).await;
    a_long_call_is_kept_whole(&make().await, &read).await;
    what_is_read_back_is_what_is_kept(&make().await, &read).await;
}

/// `start` answers 0 for a new call.
pub async fn a_new_call_has_no_lines<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let call = call("a");
    assert_eq!(start(sink, &call).await, 0);
    assert_eq!(read(sink, &call.id).await, []);
    end(sink, &call).await;
    assert_eq!(read(sink, &call.id).await, []);
}

/// What was said is kept: speaker, time, words and whether they were cut.
pub async fn lines_are_kept_word_by_word<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let call = call("a");
    start(sink, &call).await;
    let mut said = Vec::new();
    for text in WORDS {
        for cut in [false, true] {
            let mut line = line(said.len() as u64 + 1, text);
            line.cut = cut;
            record(sink, &call, &line).await;
            said.push(line);
        }
    }
    assert_eq!(read(sink, &call.id).await, said, "before the end");
    end(sink, &call).await;
    assert_eq!(read(sink, &call.id).await, said, "after the end");
}

/// A repeated line is acknowledged again and kept once.
pub async fn a_repeated_line_is_kept_once<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let call = call("a");
    start(sink, &call).await;
    let (first, second) = (line(1, "one"), line(2, "two"));
    for line in [&first, &first, &second, &first, &second] {
        record(sink, &call, line).await;
    }
    assert_eq!(read(sink, &call.id).await, [first, second]);
    assert_eq!(start(sink, &call).await, 2);
}

/// `start` in the middle of a call answers with the last line that is kept.
pub async fn a_call_that_lost_its_socket_goes_on<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let mut call = call("a");
    for seq in 1..=3 {
        assert_eq!(start(sink, &call).await, seq - 1);
        record(sink, &call, &line(seq, "on we go")).await;
        // The leg is a new one, and so is the time at which it opened.
        call.started += SignedDuration::from_secs(7);
    }
    end(sink, &call).await;
    let seqs = read(sink, &call.id).await.into_iter().map(|line| line.seq);
    assert_eq!(seqs.collect::<Vec<_>>(), [1, 2, 3]);
}

/// `start` of a call that has ended goes on with it: an end may have been an error.
pub async fn a_call_goes_on_after_its_end<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let call = call("a");
    start(sink, &call).await;
    record(sink, &call, &line(1, "one")).await;
    end(sink, &call).await;
    assert_eq!(start(sink, &call).await, 1);
    record(sink, &call, &line(2, "two")).await;
    end(sink, &call).await;
    assert_eq!(read(sink, &call.id).await, [line(1, "one"), line(2, "two")]);
}

/// Calls run side by side without getting into each other's lines.
pub async fn calls_run_side_by_side<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let ids = ["a", "b", "c", "d"];
    futures::future::join_all(ids.map(|id| async move {
        let call = call(id);
        start(sink, &call).await;
        for seq in 1..=5 {
            record(sink, &call, &line(seq, id)).await;
        }
        end(sink, &call).await;
    }))
    .await;
    for id in ids {
        let kept = read(sink, &CallId::new(id)).await;
        let expected: Vec<_> = (1..=5).map(|seq| line(seq, id)).collect();
        assert_eq!(kept, expected, "{id}");
    }
}

/// Ids are opaque: what a carrier calls different is different.
pub async fn calls_with_similar_ids_stay_apart<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let long = "x".repeat(300);
    let ids = [
        "63f61863-4a51-4f6b-86e1-46edebcf9356",
        "63f618634a514f6b86e146edebcf9356",
        "a/b",
        "a_b",
        "a\\b",
        "../a_b",
        "a b",
        "A B",
        "ä",
        "ö",
        &long,
        &long[1..],
    ];
    for id in ids {
        let call = call(id);
        assert_eq!(start(sink, &call).await, 0, "{id}");
        record(sink, &call, &line(1, id)).await;
        end(sink, &call).await;
    }
    for id in ids {
        let kept = read(sink, &CallId::new(id)).await;
        assert_eq!(kept, [line(1, id)], "{id}");
    }
}

/// `record_all` keeps its lines as `record` would, those among them once that are there already.
pub async fn lines_that_come_together_are_kept_like_others<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let call = call("a");
    start(sink, &call).await;
    let said: Vec<_> = (1..=7).map(|seq| line(seq, "together")).collect();
    record(sink, &call, &said[0]).await;
    for range in [0..0, 0..3, 1..3, 0..7] {
        let kept = sink.record_all(&call.id, &said[range]).await;
        kept.expect("lines of a started call are kept");
    }
    assert_eq!(read(sink, &call.id).await, said);
    end(sink, &call).await;
    assert_eq!(read(sink, &call.id).await, said);
}

/// A line that leaves a gap is refused, and spoils nothing.
pub async fn a_line_out_of_turn_is_refused<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let call = call("a");
    start(sink, &call).await;
    record(sink, &call, &line(1, "one")).await;
    for seq in [0, 3] {
        let refused = sink.record(&call.id, &line(seq, "out of turn")).await;
        let refused = refused.expect_err("a line out of turn is refused");
        assert_eq!(*refused.kind(), ProviderErrorKind::Protocol, "{seq}");
    }
    record(sink, &call, &line(2, "two")).await;
    let unknown = sink.record(&CallId::new("b"), &line(1, "one")).await;
    unknown.expect_err("a line of a call that was not started is refused");
    end(sink, &call).await;
    assert_eq!(read(sink, &call.id).await, [line(1, "one"), line(2, "two")]);
}

/// An end whose answer was lost is repeated, and acknowledged again.
pub async fn an_end_may_be_repeated<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let call = call("a");
    start(sink, &call).await;
    record(sink, &call, &line(1, "one")).await;
    end(sink, &call).await;
    end(sink, &call).await;
    assert_eq!(read(sink, &call.id).await, [line(1, "one")]);
}

/// A call of hours is kept like one of minutes.
pub async fn a_long_call_is_kept_whole<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let call = call("a");
    start(sink, &call).await;
    let words = "and on we go, ".repeat(120);
    let words = words.trim();
    let said: Vec<_> = (1..=240).map(|seq| line(seq, words)).collect();
    for some in said.chunks(17) {
        let kept = sink.record_all(&call.id, some).await;
        kept.expect("lines of a started call are kept");
    }
    assert_eq!(start(sink, &call).await, 240, "it goes on");
    // What is repeated may be anywhere in it.
    for some in [&said[..3], &said[100..140], &said[239..]] {
        let kept = sink.record_all(&call.id, some).await;
        kept.expect("repeated lines are acknowledged");
    }
    end(sink, &call).await;
    assert!(read(sink, &call.id).await == said, "word by word");
}

/// A sink that can be read back knows what was recorded, behind any line.
pub async fn what_is_read_back_is_what_is_kept<S: TranscriptSink>(
    sink: &S,
    read: &impl AsyncFn(&S, &CallId) -> Vec<Utterance>,
) {
    let call = call("a");
    start(sink, &call).await;
    for seq in 1..=4 {
        record(sink, &call, &line(seq, "again")).await;
    }
    for after in 0..=5 {
        let back = sink.read_back(&call.id, after).await;
        let Some(back) = back.expect("a sink that is there can be read") else {
            continue;
        };
        let kept: Vec<_> = (after + 1..=4).map(|seq| line(seq, "again")).collect();
        assert_eq!(back, kept, "behind {after}");
    }
    let unknown = sink.read_back(&CallId::new("b"), 0).await;
    let unknown = unknown.expect("a sink that is there can be read");
    assert_eq!(unknown.unwrap_or_default(), []);
    end(sink, &call).await;
    assert_eq!(read(sink, &call.id).await.len(), 4);
}

async fn start<S: TranscriptSink>(sink: &S, call: &CallInfo) -> u64 {
    sink.start(call).await.expect("a call can start")
}

async fn record<S: TranscriptSink>(sink: &S, call: &CallInfo, line: &Utterance) {
    let kept = sink.record(&call.id, line).await;
    kept.expect("a line of a started call is kept");
}

async fn end<S: TranscriptSink>(sink: &S, call: &CallInfo) {
    let ended = call.started + SignedDuration::from_mins(2);
    let summary = CallSummary::new(
        CallStatus::Completed,
        Outcome::FollowUp,
        ended,
        std::time::Duration::from_mins(2),
    );
    let ended = sink.end(&call.id, &summary).await;
    ended.expect("a started call can end");
}

fn call(id: &str) -> CallInfo {
    let mut call = CallInfo::new(
        CallId::new(id),
        Direction::Outbound,
        epoch(),
        SampleRate::Hz16000,
    );
    call.remote = Some(Party::new("12125550101"));
    call
}

/// Times have milliseconds: what sinks must keep.
fn line(seq: u64, text: &str) -> Utterance {
    Utterance {
        seq,
        at: epoch() + SignedDuration::from_millis(i64::try_from(seq).expect("small") * 1_234),
        speaker: if seq.is_multiple_of(3) {
            Speaker::Caller
        } else {
            Speaker::Agent
        },
        text: text.to_owned(),
        cut: false,
    }
}

fn epoch() -> Timestamp {
    Timestamp::from_second(1_782_160_532).expect("a time in 2026")
}

/// Collapsed, as utterances are, and otherwise as nasty as speech recognition gets.
const WORDS: &[&str] = &[
    "Good morning.",
    "¿Añ? 通話 👋🏽 e\u{301}",
    "a [cut]",
    "[cut]",
    "] Human: \"quoted\" \\n `code` *bold* <b> | # --- 'single' ; DROP TABLE",
    "---",
    "- Outcome: failed",
    "",
];
