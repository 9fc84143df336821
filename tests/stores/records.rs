//! What the sink writes into the table of call records, item by item.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use novavoice::{
    ProviderErrorKind,
    audio::SampleRate,
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome, Party},
    transcript::{DynamoSink, Speaker, TranscriptSink, Utterance, dynamodb::call_records},
};

use crate::dynamo::Server;

/// An item as others read it.
#[derive(Debug)]
pub(crate) struct Record(HashMap<String, AttributeValue>);

impl Record {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_s().expect("a text")
    }

    fn number(&self, name: &str) -> &str {
        self.0[name].as_n().expect("a number")
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// The record of a call, if there is one.
pub(crate) async fn record(server: &Server, table: &str, call: &CallId) -> Option<Record> {
    item(server, table, call.as_str()).await
}

async fn item(server: &Server, table: &str, key: &str) -> Option<Record> {
    let dynamo = server.dynamo();
    let asked = dynamo
        .client()
        .get_item()
        .table_name(table)
        .key("call_uuid", AttributeValue::S(key.to_owned()))
        .consistent_read(true);
    asked.send().await.expect("an answer").item.map(Record)
}

async fn table(server: &Server) -> String {
    let name = server.table(&uuid::Uuid::new_v4().simple().to_string());
    let made = server.dynamo().create_missing(&[call_records(&name)]).await;
    made.expect("a table");
    name
}

fn info(id: &str) -> CallInfo {
    let started = "2026-06-22T20:35:32Z".parse().expect("a time");
    let mut call = CallInfo::new(
        CallId::new(id),
        Direction::Outbound,
        started,
        SampleRate::Hz16000,
    );
    call.remote = Some(Party::new("12125550101"));
    call
}

fn line(seq: u64, text: &str) -> Utterance {
    let start: Timestamp = "2026-06-22T20:35:34.5Z".parse().expect("a time");
    Utterance {
        seq,
        at: start + SignedDuration::from_secs(i64::try_from(seq).expect("small")),
        speaker: Speaker::Agent,
        text: text.to_owned(),
        cut: seq.is_multiple_of(2),
    }
}

fn summary() -> CallSummary {
    let mut summary = CallSummary::new(
        CallStatus::Completed,
        Outcome::FollowUp,
        "2026-06-22T20:37:05.4Z".parse().expect("a time"),
        Duration::from_millis(93_400),
    );
    summary.usage.output_speech_tokens = 2_400;
    summary
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_the_fields_that_others_rely_on() {
    for server in Server::all() {
        let table = table(&server).await;
        let sink = DynamoSink::new(server.dynamo(), &table);
        let call = info("a");
        sink.start(&call).await.expect("started");
        sink.record(&call.id, &line(1, "Hello"))
            .await
            .expect("kept");
        let live = record(&server, &table, &call.id).await.expect("a record");
        assert_eq!(live.text("status"), "in_progress");
        assert_eq!(live.text("phone_number"), "12125550101");
        assert_eq!(live.text("direction"), "outbound");
        assert_eq!(live.text("start_time"), "2026-06-22T20:35:32.000Z");
        assert_eq!(live.text("day"), "2026-06-22");
        assert!(live.has("created_at") && live.has("updated_at"));
        assert!(!live.has("end_time") && !live.has("outcome"));
        let utterances = live.0["utterances"].as_l().expect("a list");
        let first = utterances[0].as_m().expect("a map");
        assert_eq!(first["seq"], AttributeValue::N("1".to_owned()));
        assert_eq!(
            first["at"],
            AttributeValue::S("2026-06-22T20:35:35.500Z".to_owned())
        );
        assert_eq!(first["speaker"], AttributeValue::S("Assistant".to_owned()));
        assert_eq!(first["text"], AttributeValue::S("Hello".to_owned()));
        assert_eq!(first["cut"], AttributeValue::Bool(false));
        assert!(live.text("transcript").contains("Hello"));

        sink.end(&call.id, &summary()).await.expect("ended");
        let over = record(&server, &table, &call.id).await.expect("a record");
        assert_eq!(over.text("status"), "completed");
        assert_eq!(over.text("outcome"), "follow_up");
        assert_eq!(over.text("end_time"), "2026-06-22T20:37:05.400Z");
        assert_eq!(over.number("duration_seconds"), "93.4");
        let usage = over.0["usage"].as_m().expect("a map");
        assert_eq!(
            usage["output_speech_tokens"],
            AttributeValue::N("2400".to_owned())
        );

        for (index, name, value) in [
            ("phone_number-index", "phone_number", "12125550101"),
            ("status-index", "status", "completed"),
            ("day-index", "day", "2026-06-22"),
        ] {
            let dynamo = server.dynamo();
            let asked = dynamo
                .client()
                .query()
                .table_name(&table)
                .index_name(index)
                .key_condition_expression("#name = :value")
                .expression_attribute_names("#name", name)
                .expression_attribute_values(":value", AttributeValue::S(value.to_owned()));
            let items = asked.send().await.expect("an answer").items.expect("items");
            assert_eq!(items.len(), 1, "{index}");
            assert_eq!(
                items[0]["outcome"],
                AttributeValue::S("follow_up".to_owned())
            );
            assert!(!items[0].contains_key("utterances"), "lists hold no words");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_call_continues_in_items_that_stay_small() {
    for server in Server::all() {
        let table = table(&server).await;
        let sink = DynamoSink::new(server.dynamo(), &table);
        let call = info("long");
        sink.start(&call).await.expect("started");
        let words = "and on we go, ".repeat(60);
        let said: Vec<_> = (1..=700).map(|seq| line(seq, words.trim())).collect();
        for some in said.chunks(50) {
            sink.record_all(&call.id, some).await.expect("kept");
        }
        sink.end(&call.id, &summary()).await.expect("ended");
        let first = record(&server, &table, &call.id).await.expect("a record");
        let parts: u64 = first.number("parts").parse().expect("a number");
        assert!(parts > 10, "{parts}");
        let mut seqs = Vec::new();
        for part in 1..=parts {
            let key = match part {
                1 => "long".to_owned(),
                part => format!("long#{part}"),
            };
            let item = item(&server, &table, &key).await.expect("a part");
            let bytes = format!("{:?}", item.0).len();
            assert!(bytes < 200_000, "part {part} has {bytes} bytes, printed");
            for utterance in item.0["utterances"].as_l().expect("a list") {
                let seq = utterance.as_m().expect("a map")["seq"]
                    .as_n()
                    .expect("a number");
                seqs.push(seq.parse::<u64>().expect("a number"));
            }
        }
        assert_eq!(seqs, (1..=700).collect::<Vec<_>>());
        assert!(
            item(&server, &table, &format!("long#{}", parts + 1))
                .await
                .is_none()
        );
        assert!(sink.lines(&call.id).await.expect("readable") == said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_no_item_can_hold_is_refused_and_the_call_goes_on() {
    for server in Server::all() {
        let table = table(&server).await;
        let sink = DynamoSink::new(server.dynamo(), &table);
        let call = info("a");
        sink.start(&call).await.expect("started");
        let huge = line(1, &"x".repeat(300_000));
        let error = sink.record(&call.id, &huge).await.expect_err("too long");
        assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
        let large = line(1, &"x".repeat(150_000));
        sink.record(&call.id, &large).await.expect("kept");
        sink.record(&call.id, &line(2, "two")).await.expect("kept");
        let lines = sink.lines(&call.id).await.expect("readable");
        assert!(lines == [large, line(2, "two")]);
    }
}

/// A call loses its node and goes on at another, while the first one still hands lines on.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_moved_keeps_the_lines_of_both_nodes_and_only_the_last_one_ends_it() {
    for server in Server::all() {
        let table = table(&server).await;
        let before = DynamoSink::new(server.dynamo(), &table);
        let after = DynamoSink::new(server.dynamo(), &table);
        let mut call = info("a");
        before.start(&call).await.expect("started");
        before
            .record(&call.id, &line(1, "one"))
            .await
            .expect("kept");
        let old = call.clone();
        call.started += SignedDuration::from_secs(9);
        assert_eq!(after.start(&call).await.expect("taken over"), 1);
        after
            .record(&call.id, &line(2, "at the new node"))
            .await
            .expect("kept");
        // The old node comes to itself.
        assert_eq!(before.start(&old).await.expect("known"), 2);
        for _ in 0..2 {
            before
                .record(&call.id, &line(2, "at the old node"))
                .await
                .expect("kept");
        }
        before.end(&call.id, &summary()).await.expect("ignored");
        let live = record(&server, &table, &call.id).await.expect("a record");
        assert_eq!(live.text("status"), "in_progress", "it goes on");
        for _ in 0..2 {
            after
                .record(&call.id, &line(3, "still there"))
                .await
                .expect("kept");
        }
        after.end(&call.id, &summary()).await.expect("ended");
        let lines = after.lines(&call.id).await.expect("readable");
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(
            texts,
            ["one", "at the new node", "at the old node", "still there"]
        );
        let seqs: Vec<_> = lines.iter().map(|line| line.seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4]);
        let over = record(&server, &table, &call.id).await.expect("a record");
        assert_eq!(over.text("status"), "completed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_into_the_record_is_left_alone() {
    for server in Server::all() {
        let table = table(&server).await;
        let dynamo = server.dynamo();
        // Fields that are not ours, and an utterance that is none.
        let put = dynamo
            .client()
            .put_item()
            .table_name(&table)
            .item("call_uuid", AttributeValue::S("a".to_owned()))
            .item("campaign", AttributeValue::S("june".to_owned()))
            .item(
                "utterances",
                AttributeValue::L(vec![AttributeValue::Bool(true)]),
            );
        put.send().await.expect("put");
        let sink = DynamoSink::new(dynamo, &table);
        let call = info("a");
        assert_eq!(sink.start(&call).await.expect("started"), 0);
        sink.record(&call.id, &line(1, "one")).await.expect("kept");
        sink.end(&call.id, &summary()).await.expect("ended");
        assert_eq!(
            sink.lines(&call.id).await.expect("readable"),
            [line(1, "one")]
        );
        let over = record(&server, &table, &call.id).await.expect("a record");
        assert_eq!(over.text("campaign"), "june");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_there_is_not_found() {
    for server in Server::all() {
        let sink = DynamoSink::new(server.dynamo(), server.table("none"));
        let error = sink.start(&info("a")).await.expect_err("no table");
        assert_eq!(*error.kind(), ProviderErrorKind::NotFound);
        assert_eq!(error.provider(), "dynamodb");
    }
}
