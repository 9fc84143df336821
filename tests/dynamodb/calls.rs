//! The store of calls beside the sink that writes into the same table.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use novavoice::{
    ProviderErrorKind,
    audio::SampleRate,
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome, Party},
    dynamodb::{Column, Dynamo, Projection, Table},
    lead::PhoneNumber,
    record::{CallQuery, CallStore, DynamoCalls, GroupBy, Span},
    testkit::conformance,
    transcript::{DynamoSink, Speaker, TranscriptSink, Utterance, dynamodb::call_records},
};

use crate::dynamo::Server;

/// A fresh table, its name, and both sides of it.
async fn fresh(server: &Server, table: Table) -> (DynamoSink, DynamoCalls) {
    let dynamo = server.dynamo();
    dynamo
        .create_missing(std::slice::from_ref(&table))
        .await
        .expect("a new table");
    (
        DynamoSink::new(dynamo.clone(), &table.name),
        DynamoCalls::new(dynamo, &table.name),
    )
}

fn name(server: &Server) -> String {
    server.table(&format!("calls-{}", uuid::Uuid::new_v4().simple()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_the_contract() {
    for server in Server::all() {
        conformance::call_store(async || fresh(&server, call_records(name(&server))).await).await;
    }
}

/// Tables that others made: an index with the keys alone, and one with whole items.
#[tokio::test(flavor = "multi_thread")]
async fn any_projection_of_the_indexes_will_do() {
    let server = Server::start();
    for projection in [Projection::Keys, Projection::All] {
        conformance::call_store(async || {
            let start = Some(Column::text("start_time"));
            let table = ["phone_number", "status", "day"].into_iter().fold(
                Table::new(name(&server), Column::text("call_uuid")),
                |table, attribute| {
                    let index = match attribute {
                        "phone_number" => "phone_number-index",
                        "status" => "status-index",
                        _ => "day-index",
                    };
                    let column = Column::text(attribute);
                    table.with_projected_index(index, column, start, projection.clone())
                },
            );
            fresh(&server, table).await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_indexes_calls_are_read_by_their_key_alone() {
    let server = Server::start();
    let bare = Table::new(name(&server), Column::text("call_uuid"));
    let (sink, store) = fresh(&server, bare).await;
    let call = call("a");
    sink.start(&call).await.expect("a call can start");
    sink.record(&call.id, &line(1, "one")).await.expect("kept");
    let record = store.get(&call.id).await.expect("an answer");
    assert_eq!(record.expect("it is there").started, call.started);
    let lines = store.lines(&call.id, 0).await.expect("an answer");
    assert_eq!(lines, [line(1, "one")]);
    let refused = store.list(&CallQuery::default()).await;
    let refused = refused.expect_err("there is no index");
    let kind = refused.kind();
    assert!(
        matches!(
            kind,
            ProviderErrorKind::NotFound | ProviderErrorKind::Invalid
        ),
        "{refused}"
    );
}

/// Past the limit of one item the transcript is read, found and followed as one.
#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_in_many_items_is_one() {
    let server = Server::start();
    let (sink, store) = fresh(&server, call_records(name(&server))).await;
    let call = call("long");
    sink.start(&call).await.expect("a call can start");
    let long = "many words of a long call ".repeat(40);
    let mut said = Vec::new();
    for seq in 1..=100 {
        said.push(line(seq, &format!("{long}number{seq}")));
    }
    sink.record_all(&call.id, &said).await.expect("kept");
    assert_eq!(store.lines(&call.id, 0).await.expect("an answer"), said);
    assert_eq!(
        store.lines(&call.id, 95).await.expect("an answer"),
        said[95..]
    );
    for (text, found) in [("number1 number100", 1), ("number50", 1), ("number101", 0)] {
        let mut query = CallQuery::default();
        query.text = Some(text.to_owned().into());
        let page = store.list(&query).await.expect("an answer");
        assert_eq!(page.calls.len(), found, "{text}");
        assert_eq!(page.unreadable, []);
    }
}

/// What others put into the table spoils nothing: it is named by its key and left out.
#[tokio::test(flavor = "multi_thread")]
async fn bad_items_are_named_and_left_out() {
    let server = Server::start();
    let table = call_records(name(&server));
    let (sink, store) = fresh(&server, table.clone()).await;
    sink.start(&call("good")).await.expect("a call can start");
    let dynamo = server.dynamo();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let bad = [
        ("no direction", "direction", None),
        ("odd direction", "direction", Some(text("sideways"))),
        ("odd outcome", "outcome", Some(text("who knows"))),
        (
            "a list",
            "duration_seconds",
            Some(AttributeValue::L(vec![])),
        ),
        ("odd usage", "usage", Some(text("much"))),
    ];
    for (key, attribute, value) in &bad {
        let mut item = HashMap::from([
            ("call_uuid".to_owned(), text(key)),
            ("status".to_owned(), text("completed")),
            ("phone_number".to_owned(), text("12125550101")),
            ("start_time".to_owned(), text("2026-06-22T20:35:32.000Z")),
            ("direction".to_owned(), text("inbound")),
            ("utterances".to_owned(), text("no list")),
        ]);
        match value {
            Some(value) => item.insert((*attribute).to_owned(), value.clone()),
            None => item.remove(*attribute),
        };
        put(&dynamo, &table.name, item).await;
    }
    // Foreign attributes, another way to write times, and no lines are nothing bad.
    put(
        &dynamo,
        &table.name,
        HashMap::from([
            ("call_uuid".to_owned(), text("foreign")),
            ("status".to_owned(), text("voicemail")),
            ("phone_number".to_owned(), text("+1 (212) 555-0101")),
            ("start_time".to_owned(), text("2026-06-21T20:35:32+00:00")),
            ("direction".to_owned(), text("outbound")),
            ("outcome".to_owned(), AttributeValue::Null(true)),
            ("sentiment".to_owned(), AttributeValue::Bool(true)),
        ]),
    )
    .await;
    let person = PhoneNumber::parse("+12125550101").expect("a number");
    for query in [CallQuery::default(), CallQuery::with(person)] {
        let page = store.list(&query).await.expect("an answer");
        let ids: Vec<_> = page.calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["good", "foreign"]);
        let mut named: Vec<_> = page.unreadable.iter().map(|bad| &*bad.key).collect();
        named.sort_unstable();
        let mut keys: Vec<_> = bad.iter().map(|(key, ..)| *key).collect();
        keys.sort_unstable();
        assert_eq!(named, keys);
    }
    for (key, attribute, _) in &bad {
        let refused = store.get(&CallId::new(*key)).await.expect_err(key);
        assert_eq!(*refused.kind(), ProviderErrorKind::Protocol);
        assert!(refused.to_string().contains(attribute), "{refused}");
        let lines = store.lines(&CallId::new(*key), 0).await.expect("an answer");
        assert_eq!(lines, []);
    }
    let span = Span {
        from: Timestamp::MIN,
        to: Timestamp::MAX,
    };
    let totals = store.totals(span, GroupBy::All).await.expect("an answer");
    assert_eq!(totals.groups[0].calls, 2);
    assert_eq!(totals.unreadable.len(), bad.len());
}

/// Two nodes look for the dead at once: each call is closed by one of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_call_is_closed_by_one_node() {
    let server = Server::start();
    let table = call_records(name(&server));
    let (sink, one) = fresh(&server, table.clone()).await;
    let other = DynamoCalls::new(server.dynamo(), &table.name);
    for n in 0..20 {
        let call = call(&format!("call-{n}"));
        sink.start(&call).await.expect("a call can start");
    }
    let later = Timestamp::now() + SignedDuration::from_mins(5);
    let (first, second) = tokio::join!(one.expire(later), other.expire(later));
    let (first, second) = (first.expect("an answer"), second.expect("an answer"));
    assert_eq!(first.len() + second.len(), 20);
    let live = one.list(&CallQuery::live()).await.expect("an answer");
    assert_eq!(live.calls, []);
}

/// A call that ends while it is looked at is not closed once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_has_ended_is_not_abandoned() {
    let server = Server::start();
    let (sink, store) = fresh(&server, call_records(name(&server))).await;
    let call = call("a");
    sink.start(&call).await.expect("a call can start");
    let ended = call.started + SignedDuration::from_mins(1);
    let length = std::time::Duration::from_secs(60);
    let summary = CallSummary::new(CallStatus::Completed, Outcome::Scheduled, ended, length);
    sink.end(&call.id, &summary).await.expect("it can end");
    let later = Timestamp::now() + SignedDuration::from_mins(5);
    assert_eq!(store.expire(later).await.expect("an answer"), []);
    let record = store.get(&call.id).await.expect("an answer");
    assert_eq!(record.expect("it is there").status, CallStatus::Completed);
}

async fn put(dynamo: &Dynamo, table: &str, item: HashMap<String, AttributeValue>) {
    let put = dynamo.client().put_item().table_name(table);
    let done = put.set_item(Some(item)).send().await;
    done.expect("the table takes it");
}

fn call(id: &str) -> CallInfo {
    let started = "2026-06-22T20:35:32Z".parse().expect("a time");
    let id = CallId::new(id);
    let mut call = CallInfo::new(id, Direction::Inbound, started, SampleRate::Hz16000);
    call.remote = Some(Party::new("12125550101"));
    call
}

fn line(seq: u64, text: &str) -> Utterance {
    Utterance {
        seq,
        at: "2026-06-22T20:35:34.512Z".parse().expect("a time"),
        speaker: Speaker::Caller,
        text: text.to_owned(),
        cut: false,
    }
}
