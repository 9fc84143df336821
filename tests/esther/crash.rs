//! Death in the middle of calls, and what the next start makes of it.

use std::{fs, sync::Arc, time::Duration};

use jiff::Timestamp;
use novavoice::{
    audio::SampleRate,
    call::{CallId, CallInfo, CallStatus, Direction},
    record::{CallNote, CallStore, SqliteCalls},
    transcript::TranscriptSink,
};
use serde_json::json;

use crate::{
    follower::Follower,
    service::{Launch, inbound, until},
    softphone::{Softphone, reply_end, text},
    transcript::Transcript,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_survives_a_kill_and_the_next_start_closes_the_file() {
    let esther = Launch::local().start().await;
    let home = Arc::clone(&esther.home);
    let phone = Softphone::call(&esther, "", 640).await;
    phone
        .until("the greeting", 0, text("ASSISTANT", "Hello"))
        .await;
    let follower = Follower::of(&esther, &phone.id, None).await;
    // Short turns that cut the replies: a line every moment.
    let mut next = 0;
    for lines in [2, 4] {
        next = phone.hears(Duration::from_millis(1_600), next).await;
        phone.say(Duration::from_millis(700)).await;
        next = phone
            .until("an interruption", next, reply_end("INTERRUPTED"))
            .await;
        follower.lines(lines).await;
    }
    esther.signal("KILL").await;
    let events = follower.over().await;
    let ended = esther.ended().await;
    // The signal may reach it a moment after it is sent.
    let death = Timestamp::now();
    assert_eq!(ended.status.code(), None, "killed");

    let folder = home.path().join("transcripts");
    let torn = Transcript::find(&folder, &phone.id);
    let published = events.named("utterance");
    assert!(published.len() >= 4);
    for (line, said) in published.iter().zip(torn.said()) {
        let cut = if line["cut"] == true { " [cut]" } else { "" };
        let line = format!(
            "{}: {}{cut}",
            line["speaker"].as_str().expect("text"),
            line["text"].as_str().expect("text")
        );
        assert_eq!(said, line);
    }
    assert!(torn.said().len() >= published.len());
    assert!(!torn.text.contains("- Ended:") && torn.record.is_none());

    // Words that were being written when the machine died.
    let path = folder.join(&torn.name);
    let mut text = torn.text.clone();
    text.push_str("\n[2026-06-2");
    let written = path.metadata().and_then(|about| about.modified());
    fs::write(&path, text).expect("writable");
    // They were written before the death, not by us after it.
    let file = fs::File::options().write(true).open(&path).expect("a file");
    file.set_modified(written.expect("a time")).expect("a time");

    let next = Launch::local().home(&home).start().await;
    let closed = Transcript::find(&folder, &phone.id);
    assert_eq!(closed.said(), torn.said(), "not a word more or less");
    assert!(closed.text.starts_with(&torn.text), "{}", closed.text);
    for footer in ["\n- Status: abandoned\n", "\n- Outcome: abandoned\n"] {
        assert!(closed.text.contains(footer), "{}", closed.text);
    }
    let record = closed.record.expect("a record");
    assert_eq!(
        (&record["status"], &record["outcome"]),
        (&json!("abandoned"), &json!("abandoned"))
    );
    assert_eq!(
        record["utterances"].as_array().map(Vec::len),
        Some(torn.said().len())
    );
    let time = |value: &serde_json::Value| -> Timestamp {
        value
            .as_str()
            .and_then(|time| time.parse().ok())
            .expect("a time")
    };
    let last = record["utterances"]
        .as_array()
        .and_then(|lines| lines.last())
        .expect("a line");
    let end = time(&record["end_time"]);
    assert!(
        time(&last["at"]) <= end && end <= death,
        "{end} is not between {last} and {death}"
    );
    // And it stays so.
    next.stop().await.went_well();
    let again = Launch::local().home(&home).start().await;
    assert_eq!(Transcript::find(&folder, &phone.id).text, closed.text);
    again.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_beside_another_leaves_its_live_calls_alone() {
    let first = Launch::local().start().await;
    let call = first
        .carrier()
        .place_inbound(inbound())
        .await
        .expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(300)).await);
    until("the file", async || {
        let path = first.home.path().join("transcripts");
        fs::read_dir(path).ok()?.next().map(drop)
    })
    .await;
    let second = Launch::local().home(&first.home).start().await;
    let live = first.transcript(call.uuid());
    assert!(
        !live.text.contains("- Ended:") && live.record.is_none(),
        "{live:?}"
    );
    second.stop().await.went_well();
    let follower = Follower::of(&first, call.uuid(), None).await;
    call.hang_up();
    follower.over().await;
    let over = first.transcript(call.uuid());
    assert!(over.text.contains("\n- Outcome: completed\n"), "{over:?}");
    first.stop().await.went_well();
}

/// A process that dies between the file and the store: the file knows how the call ended, and no
/// guess of the store stands against it.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ended_on_file_alone_is_no_abandoned_one() {
    let launch = || Launch::local().set("CALL_STORE", "sqlite");
    let first = launch().start().await;
    let home = Arc::clone(&first.home);
    let call = first.carrier().place_inbound(inbound()).await;
    let call = call.expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(300)).await);
    let follower = Follower::of(&first, call.uuid(), None).await;
    follower.lines(1).await;
    call.hang_up();
    follower.over().await;
    let path = format!("/calls/{}", call.uuid());
    let before = until("the end in the store", async || {
        let record = first.json(&path).await;
        (record["end_time"].is_string() && record["md_file_path"].is_string()).then_some(record)
    })
    .await;
    first.stop().await.went_well();

    for guessed in [false, true] {
        let store = SqliteCalls::open(home.path().join("data/esther.sqlite")).await;
        let store = store.expect("the store");
        let (id, at) = (CallId::new(call.uuid()), Timestamp::now());
        let info = CallInfo::new(id.clone(), Direction::Inbound, at, SampleRate::Hz16000);
        store.start(&info).await.expect("as before its end");
        if guessed {
            let mut note = CallNote::default();
            note.status = Some(CallStatus::Abandoned);
            store.note(&id, &note).await.expect("as its lease ran out");
        }
        drop(store);
        let next = launch().home(&home).start().await;
        let after = next.json(&path).await;
        for member in [
            "status",
            "outcome",
            "end_time",
            "duration_seconds",
            "utterances",
        ] {
            assert_eq!(after[member], before[member], "{member}, {guessed}");
        }
        next.stop().await.went_well();
    }
}
