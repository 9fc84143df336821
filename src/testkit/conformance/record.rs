//! The contract of [`CallStore`].

#![expect(
    clippy::field_reassign_with_default,
    reason = "queries and notes are made as their users make them"
)]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    audio::SampleRate,
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome, Party},
    error::ProviderErrorKind,
    lead::PhoneNumber,
    private::Private,
    record::{
        CallNote, CallPage, CallQuery, CallRecord, CallStore, Cursor, GroupBy, Latency, Span,
        Totals,
    },
    transcript::{Speaker, TranscriptSink, Utterance},
};

/// Runs everything in this module, each on a fresh and empty place that `make` makes: the sink
/// that writes there and the store that reads there.
pub async fn call_store<S: TranscriptSink, C: CallStore>(make: impl AsyncFn() -> (S, C)) {
    an_empty_store_knows_nothing(&make().await).await;
    a_started_call_is_live(&make().await).await;
    lines_are_there_at_once(&make().await).await;
    an_ended_call_says_how_it_ended(&make().await).await;
    a_call_that_goes_on_is_live_again(&make().await).await;
    calls_are_listed_from_new_to_old(&make().await).await;
    pages_have_no_gaps_and_no_repeats(&make().await).await;
    a_person_is_found_however_the_number_was_written(&make().await).await;
    every_condition_of_a_query_holds(&make().await).await;
    words_are_found_wherever_they_were_said(&make().await).await;
    what_is_found_comes_in_pages(&make().await).await;
    a_foreign_cursor_is_refused(&make().await).await;
    a_note_changes_what_it_names(&make().await).await;
    a_note_makes_a_record(&make().await).await;
    only_what_nobody_carries_is_closed(&make().await).await;
    calls_are_summed_up(&make().await).await;
    calls_of_the_dead_are_closed(&make().await).await;
    ids_are_opaque(&make().await).await;
}

/// Nothing is found where nothing is.
pub async fn an_empty_store_knows_nothing<S: TranscriptSink, C: CallStore>((_, store): &(S, C)) {
    assert_eq!(get(store, "nobody").await, None);
    assert_eq!(lines(store, "nobody", 0).await, []);
    for query in [
        CallQuery::default(),
        CallQuery::live(),
        CallQuery::with(phone()),
        search("anything"),
    ] {
        let page = list(store, &query).await;
        assert_eq!((page.calls, page.unreadable), (vec![], vec![]));
    }
    assert_eq!(totals(store, always(), GroupBy::All).await, []);
    assert_eq!(expire(store, at(100)).await, []);
}

/// A call is there from its start on.
pub async fn a_started_call_is_live<S: TranscriptSink, C: CallStore>((sink, store): &(S, C)) {
    let call = call("a", 0);
    start(sink, &call).await;
    let record = get(store, "a").await.expect("it was started");
    assert_eq!(record.id, call.id);
    assert_eq!(record.remote, call.remote);
    assert_eq!(record.direction, Direction::Outbound);
    assert_eq!(record.started, call.started);
    assert_eq!(record.status, CallStatus::InProgress);
    assert!(record.is_live());
    assert_eq!(
        (record.outcome, record.ended, record.duration),
        (None, None, None)
    );
    assert_eq!(seen(store, &CallQuery::live(), &["a"]).await, ["a"]);
}

/// Lines can be read as soon as they are acknowledged, from any one on.
pub async fn lines_are_there_at_once<S: TranscriptSink, C: CallStore>((sink, store): &(S, C)) {
    start(sink, &call("a", 0)).await;
    let mut said = Vec::new();
    for (seq, text) in (1..).zip(["one", "¿zwei? 通話 \"quoted\"", "", "four"]) {
        let line = line(seq, text);
        record(sink, "a", &line).await;
        said.push(line);
        assert_eq!(lines(store, "a", 0).await, said);
    }
    assert_eq!(lines(store, "a", 2).await, said[2..]);
    assert_eq!(lines(store, "a", 4).await, []);
    assert_eq!(lines(store, "a", u64::MAX).await, []);
    end(sink, "a", &summary(60)).await;
    assert_eq!(lines(store, "a", 3).await, said[3..]);
}

/// How a call ended is kept to the millisecond.
pub async fn an_ended_call_says_how_it_ended<S: TranscriptSink, C: CallStore>(
    (sink, store): &(S, C),
) {
    start(sink, &call("a", 0)).await;
    let mut summary = CallSummary::new(
        CallStatus::Voicemail,
        Outcome::Voicemail,
        at(61) + SignedDuration::from_millis(234),
        Duration::from_millis(61_234),
    );
    summary.usage.input_speech_tokens = 1_200;
    summary.cost_usd = Some(0.25);
    summary.usage.output_text_tokens = 7;
    summary.prompt_version = Some("3".to_owned());
    end(sink, "a", &summary).await;
    let record = get(store, "a").await.expect("it was started");
    assert_eq!(record.status, CallStatus::Voicemail);
    assert_eq!(record.outcome, Some(Outcome::Voicemail));
    assert_eq!(record.ended, Some(summary.ended));
    assert_eq!(record.duration, Some(summary.duration));
    assert_eq!(record.usage, summary.usage);
    assert_eq!(record.prompt_version, summary.prompt_version);
    assert_eq!(record.cost_usd, Some(0.25), "whoever sees the end sees it");
    assert_eq!(record.started, at(0));
    let everything = CallQuery::default();
    let listed = until(store, &everything, |calls| {
        calls.first().is_some_and(|call| !call.is_live())
    });
    let listed = listed.await;
    assert_eq!(listed[0].usage, summary.usage);
    assert_eq!(listed[0].prompt_version, summary.prompt_version);
    assert!(seen(store, &CallQuery::live(), &[]).await.is_empty());
}

/// An end may have been an error: the call keeps its record and its start.
pub async fn a_call_that_goes_on_is_live_again<S: TranscriptSink, C: CallStore>(
    (sink, store): &(S, C),
) {
    start(sink, &call("a", 0)).await;
    record(sink, "a", &line(1, "one")).await;
    end(sink, "a", &summary(10)).await;
    start(sink, &call("a", 20)).await;
    let again = get(store, "a").await.expect("it was started");
    assert_eq!(
        (again.status, again.started),
        (CallStatus::InProgress, at(0))
    );
    assert_eq!((again.outcome, again.ended), (None, None));
    assert_eq!(seen(store, &CallQuery::live(), &["a"]).await, ["a"]);
    end(sink, "a", &summary(30)).await;
    let over = get(store, "a").await.expect("it was started");
    assert_eq!(over.ended, Some(at(30)));
    assert_eq!(lines(store, "a", 0).await, [line(1, "one")]);
}

/// By the start of the call, whenever it was written.
pub async fn calls_are_listed_from_new_to_old<S: TranscriptSink, C: CallStore>(
    (sink, store): &(S, C),
) {
    // Also across days and years, and whatever became of them.
    let starts = [
        ("c", 3_000),
        ("a", -200_000),
        ("e", 90_000_000),
        ("b", 0),
        ("d", 86_400 * 3),
    ];
    for (n, (id, start_at)) in starts.into_iter().enumerate() {
        start(sink, &call(id, start_at)).await;
        let statuses = [
            CallStatus::Completed,
            CallStatus::Failed,
            CallStatus::Busy,
            CallStatus::Abandoned,
        ];
        if let Some(status) = statuses.get(n) {
            let mut summary = summary(start_at + 5);
            summary.status = *status;
            end(sink, id, &summary).await;
        }
    }
    let order = ["e", "d", "c", "b", "a"];
    assert_eq!(seen(store, &CallQuery::default(), &order).await, order);
    let mut query = CallQuery::default();
    query.limit = 3;
    let page = list(store, &query).await;
    assert_eq!(ids(&page.calls), order[..3]);
    assert!(page.next.is_some());
}

/// Page by page every call comes once, also those of one moment.
pub async fn pages_have_no_gaps_and_no_repeats<S: TranscriptSink, C: CallStore>(
    (sink, store): &(S, C),
) {
    let names: Vec<_> = (0..11).map(|n| format!("call-{n:02}")).collect();
    for (n, name) in (0..).zip(&names) {
        start(sink, &call(name, n / 4)).await;
        if n % 3 == 0 {
            end(sink, name, &summary(60)).await;
        }
    }
    let mut wanted: Vec<_> = names.iter().map(String::as_str).collect();
    seen(store, &CallQuery::default(), &wanted).await;
    wanted.sort_unstable();
    for limit in [1, 2, 3, 5, 11, 50] {
        let mut query = CallQuery::default();
        query.limit = limit;
        let calls = all(store, &query).await;
        assert!(
            calls
                .windows(2)
                .all(|pair| pair[0].started >= pair[1].started)
        );
        let mut found = ids(&calls);
        found.sort_unstable();
        assert_eq!(found, wanted, "pages of {limit}");
    }
}

/// The carrier writes digits, people and other programs write something else.
pub async fn a_person_is_found_however_the_number_was_written<S: TranscriptSink, C: CallStore>(
    (sink, store): &(S, C),
) {
    for (n, number) in (0..).zip([
        "12125550101",
        "+12125550101",
        "+1 (212) 555-0101",
        "12125550102",
        "anonymous",
    ]) {
        let mut call = call(&format!("call-{n}"), n);
        call.remote = Some(Party::new(number));
        start(sink, &call).await;
    }
    let mut nobody = call("call-9", 9);
    nobody.remote = None;
    start(sink, &nobody).await;
    let theirs = ["call-2", "call-1", "call-0"];
    let mut query = CallQuery::with(phone());
    assert_eq!(seen(store, &query, &theirs).await, theirs);
    query.limit = 2;
    assert_eq!(ids(&all(store, &query).await), theirs, "page by page");
    query.status = Some(CallStatus::Completed);
    assert_eq!(ids(&all(store, &query).await), Vec::<&str>::new());
}

/// Conditions narrow each other down.
pub async fn every_condition_of_a_query_holds<S: TranscriptSink, C: CallStore>(
    (sink, store): &(S, C),
) {
    for n in 0..12 {
        let id = format!("call-{n:02}");
        let mut call = call(&id, n * 10);
        if n % 2 == 0 {
            call.direction = Direction::Inbound;
        }
        start(sink, &call).await;
        let mut summary = summary(200);
        if n % 3 == 0 {
            summary.outcome = Outcome::Scheduled;
        }
        if n % 4 == 0 {
            summary.status = CallStatus::Failed;
        }
        end(sink, &id, &summary).await;
    }
    let query = |change: &dyn Fn(&mut CallQuery)| {
        let mut query = CallQuery::default();
        query.limit = 2;
        change(&mut query);
        query
    };
    let cases: [(CallQuery, &[&str]); 7] = [
        (
            query(&|q| q.status = Some(CallStatus::Failed)),
            &["call-08", "call-04", "call-00"],
        ),
        (
            query(&|q| q.outcome = Some(Outcome::Scheduled)),
            &["call-09", "call-06", "call-03", "call-00"],
        ),
        (
            query(&|q| q.direction = Some(Direction::Inbound)),
            &[
                "call-10", "call-08", "call-06", "call-04", "call-02", "call-00",
            ],
        ),
        (
            query(&|q| {
                q.outcome = Some(Outcome::Scheduled);
                q.direction = Some(Direction::Inbound);
            }),
            &["call-06", "call-00"],
        ),
        (
            query(&|q| (q.from, q.to) = (Some(at(30)), Some(at(60)))),
            &["call-05", "call-04", "call-03"],
        ),
        (
            query(&|q| {
                q.status = Some(CallStatus::Failed);
                q.from = Some(at(1));
            }),
            &["call-08", "call-04"],
        ),
        (
            query(&|q| (q.from, q.to) = (Some(at(60)), Some(at(30)))),
            &[],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(seen(store, &query, expected).await, expected, "{query:?}");
    }
}

/// Every word, from either side, in any order, with or without capitals, in calls that go on as
/// in those that are over.
pub async fn words_are_found_wherever_they_were_said<S: TranscriptSink, C: CallStore>(
    (sink, store): &(S, C),
) {
    let said: [(&str, &[&str]); 4] = [
        ("live", &["Good morning, Pastor Añez.", "Who is this?"]),
        ("over", &["Good evening!", "The pastor is out: 3:30?"]),
        ("other", &["Past and morning are words, too"]),
        ("silent", &[]),
    ];
    for (n, (id, texts)) in (0..).zip(said) {
        start(sink, &call(id, n)).await;
        for (seq, text) in (1..).zip(texts) {
            record(sink, id, &line(seq, text)).await;
        }
        if id != "live" {
            end(sink, id, &summary(60)).await;
        }
    }
    let cases: [(&str, &[&str]); 12] = [
        ("pastor", &["over", "live"]),
        ("PASTOR", &["over", "live"]),
        ("out good", &["over"]),
        ("good-this!", &["live"]),
        ("past", &["other", "over", "live"]),
        ("past morn", &["other", "live"]),
        ("AÑEZ", &["live"]),
        ("3 30", &["over"]),
        ("astor", &[]),
        ("pastor nobody", &[]),
        ("", &[]),
        ("\" ' -- ; * ( ) : ^ ?", &[]),
    ];
    for (text, expected) in cases {
        let found = seen(store, &search(text), expected).await;
        assert_eq!(found, expected, "{text:?}");
    }
    // What is the language of one store's queries is a word like others to everybody.
    for text in ["NOT pastor", "pastor OR evening", "NEAR(good pastor)"] {
        assert_eq!(seen(store, &search(text), &[]).await, Vec::<String>::new());
    }
    record(sink, "live", &line(3, "Nobody.")).await;
    assert_eq!(
        seen(store, &search("pastor nobody"), &["live"]).await,
        ["live"]
    );
    let mut narrow = search("pastor");
    narrow.status = Some(CallStatus::InProgress);
    assert_eq!(seen(store, &narrow, &["live"]).await, ["live"]);
}

/// Searches are paged like lists.
pub async fn what_is_found_comes_in_pages<S: TranscriptSink, C: CallStore>((sink, store): &(S, C)) {
    let mut wanted = Vec::new();
    for n in 0..9 {
        let id = format!("call-{n}");
        start(sink, &call(&id, n)).await;
        let word = if n % 2 == 0 { "even" } else { "odd" };
        record(sink, &id, &line(1, &format!("This is {word}"))).await;
        end(sink, &id, &summary(60)).await;
        if n % 2 == 0 {
            wanted.insert(0, id);
        }
    }
    let mut query = search("even this");
    seen(
        store,
        &query,
        &wanted.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    query.limit = 2;
    assert_eq!(ids(&all(store, &query).await), wanted);
}

/// A cursor means something only to the store that made it.
pub async fn a_foreign_cursor_is_refused<S: TranscriptSink, C: CallStore>((_, store): &(S, C)) {
    for text in ["", "elsewhere", "-1", "é", "zz", "00"] {
        let mut query = CallQuery::default();
        query.cursor = Some(Cursor::new(text));
        let refused = store.list(&query).await.expect_err(text);
        assert_eq!(*refused.kind(), ProviderErrorKind::Invalid, "{text:?}");
    }
}

/// A note replaces what it names and touches nothing else.
pub async fn a_note_changes_what_it_names<S: TranscriptSink, C: CallStore>((sink, store): &(S, C)) {
    start(sink, &call("a", 0)).await;
    record(sink, "a", &line(1, "one")).await;
    end(sink, "a", &summary(60)).await;
    let before = get(store, "a").await.expect("it was started");
    let latency = Latency::of([300, 500].map(Duration::from_millis));
    let mut noted = CallNote::default();
    noted.cost_usd = Some(0.125);
    noted.owner = Some("mike".to_owned());
    noted.campaign = Some("spring".to_owned());
    noted.prompt_version = Some("3".to_owned());
    noted.latency = latency;
    noted.file = Some("transcripts/call-a.md".to_owned());
    noted.started = Some(at(7));
    for _ in 0..2 {
        note(store, "a", &noted).await;
    }
    let after = get(store, "a").await.expect("it is still there");
    let mut expected = before.clone();
    expected.cost_usd = Some(0.125);
    expected.owner = Some("mike".to_owned());
    expected.campaign = Some("spring".to_owned());
    expected.prompt_version = Some("3".to_owned());
    expected.latency = latency;
    expected.file = Some("transcripts/call-a.md".to_owned());
    expected.updated = after.updated;
    assert_eq!(after, expected);
    let mut later = CallNote::default();
    later.outcome = Some(Outcome::Scheduled);
    note(store, "a", &later).await;
    let last = get(store, "a").await.expect("it is still there");
    expected.outcome = Some(Outcome::Scheduled);
    expected.updated = last.updated;
    assert_eq!(last, expected);
    assert_eq!(lines(store, "a", 0).await, [line(1, "one")]);
}

/// A call that never had a leg has a record all the same, and may get its leg later.
pub async fn a_note_makes_a_record<S: TranscriptSink, C: CallStore>((sink, store): &(S, C)) {
    let mut noted = CallNote::default();
    noted.remote = Some(Party::new("12125550101"));
    noted.started = Some(at(5));
    noted.status = Some(CallStatus::Busy);
    noted.outcome = Some(Outcome::Busy);
    noted.ended = Some(at(6));
    noted.duration = Some(Duration::from_secs(1));
    note(store, "a", &noted).await;
    let record = get(store, "a").await.expect("it was noted");
    assert_eq!(
        (record.started, record.direction),
        (at(5), Direction::Outbound)
    );
    assert_eq!(
        (record.status, record.ended),
        (CallStatus::Busy, Some(at(6)))
    );
    assert_eq!(seen(store, &CallQuery::default(), &["a"]).await, ["a"]);
    let theirs = CallQuery::with(phone());
    assert_eq!(seen(store, &theirs, &["a"]).await, ["a"]);
    start(sink, &call("a", 9)).await;
    let live = get(store, "a").await.expect("it was noted");
    assert_eq!((live.started, live.status), (at(5), CallStatus::InProgress));
}

/// What the carrier says of an end counts where no process says it, and once.
pub async fn only_what_nobody_carries_is_closed<S: TranscriptSink, C: CallStore>(
    (sink, store): &(S, C),
) {
    let mut ended = CallNote::default();
    ended.status = Some(CallStatus::Completed);
    ended.outcome = Some(Outcome::Completed);
    ended.ended = Some(at(60));
    assert!(close(store, "unknown", &ended).await, "it gets a record");
    let mut placed = CallNote::default();
    placed.remote = Some(Party::new("12125550101"));
    note(store, "placed", &placed).await;
    assert!(close(store, "placed", &ended).await);
    for id in ["unknown", "placed"] {
        let record = get(store, id).await.expect("it was noted");
        assert_eq!(
            (record.status, record.outcome, record.ended),
            (
                CallStatus::Completed,
                Some(Outcome::Completed),
                Some(at(60))
            )
        );
        let mut later = ended.clone();
        later.outcome = Some(Outcome::Failed);
        assert!(!close(store, id, &later).await, "it has ended");
        let again = get(store, id).await.expect("it was noted");
        assert_eq!(again.outcome, Some(Outcome::Completed));
    }
    start(sink, &call("carried", 0)).await;
    assert!(
        !close(store, "carried", &ended).await,
        "its process will say"
    );
    let record = get(store, "carried").await.expect("it was started");
    assert!(record.is_live());
    let mut said = summary(60);
    said.outcome = Outcome::Scheduled;
    end(sink, "carried", &said).await;
    assert!(
        !close(store, "carried", &ended).await,
        "its process has said"
    );
    let record = get(store, "carried").await.expect("it was started");
    assert_eq!(record.outcome, Some(Outcome::Scheduled));
}

/// Calls, minutes, outcomes, latencies and cost, by day, campaign and owner.
pub async fn calls_are_summed_up<S: TranscriptSink, C: CallStore>((sink, store): &(S, C)) {
    let day = 86_400;
    for (id, started, campaign, owner) in [
        ("before", -day, Some("spring"), Some("mike")),
        ("first", 0, Some("spring"), Some("mike")),
        ("second", 60, Some("spring"), None),
        ("third", day, None, Some("mike")),
        ("after", day * 2, Some("spring"), Some("mike")),
    ] {
        start(sink, &call(id, started)).await;
        let mut summary = summary(started + 90);
        summary.duration = Duration::from_secs(90);
        summary.usage.input_text_tokens = 10;
        if id == "second" {
            summary.outcome = Outcome::Scheduled;
        }
        if id != "third" {
            end(sink, id, &summary).await;
        }
        let mut noted = CallNote::default();
        noted.campaign = campaign.map(str::to_owned);
        noted.owner = owner.map(str::to_owned);
        noted.cost_usd = Some(0.5);
        let measured = if id == "second" { 900 } else { 300 };
        noted.latency = Latency::of([Duration::from_millis(measured)]);
        note(store, id, &noted).await;
    }
    let two_days = Span {
        from: at(0),
        to: at(day * 2),
    };
    let mut sums = Vec::new();
    for _ in 0..TRIES {
        sums = totals(store, two_days, GroupBy::All).await;
        if sums
            .first()
            .is_some_and(|sum| sum.calls == 3 && sum.cost_usd == 1.5)
        {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(sums.len(), 1, "one group for all: {sums:?}");
    let all = &sums[0];
    assert_eq!((all.group.as_str(), all.calls), ("all", 3));
    assert_eq!(all.talked, Duration::from_secs(180));
    let counts = |counts: &[(&str, u64)]| {
        let counts = counts
            .iter()
            .map(|(word, count)| ((*word).to_owned(), *count));
        counts.collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(
        all.statuses,
        counts(&[("completed", 2), ("in_progress", 1)])
    );
    assert_eq!(all.outcomes, counts(&[("follow_up", 1), ("scheduled", 1)]));
    assert_eq!(all.directions, counts(&[("outbound", 3)]));
    assert_eq!(all.latency.replies, 3);
    assert_eq!(all.latency.mean.as_millis(), 500);
    assert_eq!(all.latency.longest, Duration::from_millis(900));
    assert_eq!(all.usage.input_text_tokens, 20);
    assert_eq!(all.cost_usd, 1.5);

    let of = |sums: Vec<Totals>| -> Vec<(String, u64)> {
        sums.into_iter().map(|sum| (sum.group, sum.calls)).collect()
    };
    let named = |groups: &[(&str, u64)]| -> Vec<(String, u64)> {
        let groups = groups.iter();
        groups
            .map(|(name, calls)| ((*name).to_owned(), *calls))
            .collect()
    };
    assert_eq!(
        of(totals(store, two_days, GroupBy::Campaign).await),
        named(&[("", 1), ("spring", 2)])
    );
    assert_eq!(
        of(totals(store, two_days, GroupBy::Owner).await),
        named(&[("", 1), ("mike", 2)])
    );
    assert_eq!(
        of(totals(store, two_days, GroupBy::Day).await),
        named(&[("2026-06-22", 2), ("2026-06-23", 1)])
    );
    let none = Span {
        from: at(100),
        to: at(50),
    };
    assert_eq!(totals(store, none, GroupBy::Day).await, []);
}

/// A call that nobody carries any more is closed, once, at its last sign of life; one that
/// somebody carries, or that never gave a sign, goes on.
pub async fn calls_of_the_dead_are_closed<S: TranscriptSink, C: CallStore>((sink, store): &(S, C)) {
    let mut late = line(1, "late");
    late.at = at(40);
    for (id, alive) in [("dead", 30), ("mute", 20), ("alive", 1_000)] {
        start(sink, &call(id, 0)).await;
        if id == "dead" {
            // Its words began after the last sign, which is a sign as well.
            record(sink, id, &late).await;
        }
        let mut sign = CallNote::default();
        sign.alive = Some(at(alive));
        note(store, id, &sign).await;
    }
    let mut foreign = CallNote::default();
    foreign.started = Some(at(1));
    foreign.status = Some(CallStatus::InProgress);
    note(store, "foreign", &foreign).await;
    seen(
        store,
        &CallQuery::live(),
        &["foreign", "dead", "mute", "alive"],
    )
    .await;
    let mut closed = Vec::new();
    for _ in 0..TRIES {
        closed.extend(expire(store, at(500)).await);
        if closed.len() >= 2 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    closed.sort_by_key(|record| record.id.clone());
    assert_eq!(ids(&closed), ["dead", "mute"]);
    assert_eq!(closed[1].ended, Some(at(20)));
    for (id, ended) in [("dead", late.at), ("mute", at(20))] {
        let record = get(store, id).await.expect("it is there");
        assert_eq!(record.status, CallStatus::Abandoned);
        assert_eq!(record.outcome, Some(Outcome::Abandoned));
        assert_eq!(record.ended, Some(ended), "{id}");
        let lasted = ended.duration_since(at(0));
        let lasted = Duration::try_from(lasted).expect("after the start");
        assert_eq!(record.duration, Some(lasted));
    }
    for id in ["alive", "foreign"] {
        let record = get(store, id).await.expect("it is there");
        assert!(record.is_live(), "{id}");
    }
    assert_eq!(expire(store, at(500)).await, [], "only once");
}

/// What a carrier calls different is different, and no id is mistaken for another's part.
pub async fn ids_are_opaque<S: TranscriptSink, C: CallStore>((sink, store): &(S, C)) {
    let names = ["a", "A", "a b", "a%", "a_", "ä", "../a", "a'--", "\"a\""];
    for (n, id) in (0..).zip(names) {
        start(sink, &call(id, n)).await;
        record(sink, id, &line(1, id)).await;
    }
    for id in names {
        assert_eq!(lines(store, id, 0).await, [line(1, id)], "{id}");
        let found = get(store, id).await.map(|record| record.id);
        assert_eq!(found, Some(CallId::new(id)));
    }
    let mut query = CallQuery::default();
    query.limit = 1;
    seen(store, &query, &names[8..]).await;
    assert_eq!(all(store, &query).await.len(), names.len());
}

async fn get<C: CallStore>(store: &C, id: &str) -> Option<CallRecord> {
    let found = store.get(&CallId::new(id)).await;
    found.expect("the store answers")
}

async fn lines<C: CallStore>(store: &C, id: &str, after: u64) -> Vec<Utterance> {
    let lines = store.lines(&CallId::new(id), after).await;
    lines.expect("the store answers")
}

async fn list<C: CallStore>(store: &C, query: &CallQuery) -> CallPage {
    store.list(query).await.expect("the store answers")
}

/// Every page of a query.
async fn all<C: CallStore>(store: &C, query: &CallQuery) -> Vec<CallRecord> {
    let mut query = query.clone();
    let mut calls = Vec::new();
    for pages in 1.. {
        assert!(pages < MOST_PAGES, "the pages have no end");
        let page = list(store, &query).await;
        assert!(page.calls.len() <= query.limit);
        assert_eq!(page.unreadable, []);
        calls.extend(page.calls);
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    calls
}

/// The answer to a query, once it is `expected` or has had the time to be.
async fn seen<C: CallStore>(store: &C, query: &CallQuery, expected: &[&str]) -> Vec<String> {
    let calls = until(store, query, |calls| {
        let mut found = ids(calls);
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        found == expected
    });
    ids(&calls.await).into_iter().map(str::to_owned).collect()
}

async fn until<C: CallStore>(
    store: &C,
    query: &CallQuery,
    good: impl Fn(&[CallRecord]) -> bool,
) -> Vec<CallRecord> {
    let mut calls = Vec::new();
    for _ in 0..TRIES {
        calls = all(store, query).await;
        if good(&calls) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    calls
}

async fn totals<C: CallStore>(store: &C, span: Span, by: GroupBy) -> Vec<Totals> {
    let page = store.totals(span, by).await.expect("the store answers");
    assert_eq!(page.unreadable, []);
    page.groups
}

async fn note<C: CallStore>(store: &C, id: &str, note: &CallNote) {
    let noted = store.note(&CallId::new(id), note).await;
    noted.expect("the store takes a note");
}

async fn close<C: CallStore>(store: &C, id: &str, note: &CallNote) -> bool {
    let closed = store.close(&CallId::new(id), note).await;
    closed.expect("the store works")
}

async fn expire<C: CallStore>(store: &C, silent: Timestamp) -> Vec<CallRecord> {
    store.expire(silent).await.expect("the store answers")
}

async fn start<S: TranscriptSink>(sink: &S, call: &CallInfo) {
    sink.start(call).await.expect("a call can start");
}

async fn record<S: TranscriptSink>(sink: &S, id: &str, line: &Utterance) {
    let kept = sink.record(&CallId::new(id), line).await;
    kept.expect("a line of a started call is kept");
}

async fn end<S: TranscriptSink>(sink: &S, id: &str, summary: &CallSummary) {
    let ended = sink.end(&CallId::new(id), summary).await;
    ended.expect("a started call can end");
}

fn ids(calls: &[CallRecord]) -> Vec<&str> {
    calls.iter().map(|call| call.id.as_str()).collect()
}

fn search(text: &str) -> CallQuery {
    let mut query = CallQuery::default();
    query.text = Some(Private::new(text.to_owned()));
    query
}

fn call(id: &str, started: i64) -> CallInfo {
    let mut call = CallInfo::new(
        CallId::new(id),
        Direction::Outbound,
        at(started),
        SampleRate::Hz16000,
    );
    call.remote = Some(Party::new("12125550101"));
    call
}

fn line(seq: u64, text: &str) -> Utterance {
    Utterance {
        seq,
        at: at(i64::try_from(seq).expect("small")) + SignedDuration::from_millis(217),
        speaker: if seq.is_multiple_of(2) {
            Speaker::Caller
        } else {
            Speaker::Agent
        },
        text: text.to_owned(),
        cut: seq.is_multiple_of(3),
    }
}

fn summary(ended: i64) -> CallSummary {
    CallSummary::new(
        CallStatus::Completed,
        Outcome::FollowUp,
        at(ended),
        Duration::from_secs(10),
    )
}

fn phone() -> PhoneNumber {
    PhoneNumber::parse("+12125550101").expect("a number")
}

fn always() -> Span {
    Span {
        from: at(-1_000_000),
        to: at(1_000_000),
    }
}

/// Seconds after a moment in June 2026.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_782_160_532 + second).expect("a time near 2026")
}

/// Two seconds, which a store may take to show what was written, and one for a busy machine.
const TRIES: usize = 60;
const PAUSE: Duration = Duration::from_millis(50);
const MOST_PAGES: usize = 500;
