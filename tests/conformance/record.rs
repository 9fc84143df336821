//! Call stores, each beside the sink that writes into it.

mod memory {
    use std::sync::Arc;

    use novavoice::{
        record::{CallStore, MemoryCalls},
        testkit::conformance,
        transcript::{MemorySink, TranscriptSink},
    };

    async fn make() -> (MemoryCalls, MemoryCalls) {
        let calls = MemoryCalls::new();
        (calls.clone(), calls)
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_store_keeps_the_contract() {
        conformance::call_store(make).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_behind_a_pointer_keeps_the_contract() {
        conformance::call_store(async || {
            let (sink, store) = make().await;
            let store: Arc<dyn CallStore> = Arc::new(store);
            (sink, store)
        })
        .await;
    }

    #[tokio::test]
    async fn the_memory_store_is_a_sink() {
        let read = async |sink: &MemoryCalls, call: &_| {
            sink.lines(call, 0).await.expect("it is in memory")
        };
        conformance::transcript_sink(async || MemoryCalls::new(), read).await;
    }

    /// The suite can fail: a sink and a store that know nothing of each other.
    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "it was started")]
    async fn a_store_of_another_place_breaks_the_contract() {
        let strangers = (MemorySink::new(), MemoryCalls::new());
        conformance::record::a_started_call_is_live(&strangers).await;
        let _: &dyn TranscriptSink = &strangers.0;
    }
}

mod sqlite {
    use std::cell::RefCell;

    use novavoice::{
        ProviderErrorKind,
        call::{CallId, CallStatus, Direction},
        record::{CallQuery, CallRecord, CallStore, SqliteCalls},
        testkit::conformance,
        transcript::{Speaker, Utterance},
    };
    use tempfile::TempDir;

    async fn open(folder: &TempDir) -> SqliteCalls {
        let file = folder.path().join("esther.sqlite");
        SqliteCalls::open(file).await.expect("a new file")
    }

    #[tokio::test]
    async fn the_sqlite_store_keeps_the_contract() {
        let folders = RefCell::new(Vec::new());
        conformance::call_store(async || {
            let folder = tempfile::tempdir().expect("a folder");
            let calls = open(&folder).await;
            folders.borrow_mut().push(folder);
            (calls.clone(), calls)
        })
        .await;
    }

    /// The one who reads has opened the file by itself, as another process would.
    #[tokio::test]
    async fn what_one_process_writes_another_one_reads() {
        let folders = RefCell::new(Vec::new());
        conformance::call_store(async || {
            let folder = tempfile::tempdir().expect("a folder");
            let both = (open(&folder).await, open(&folder).await);
            folders.borrow_mut().push(folder);
            both
        })
        .await;
    }

    #[tokio::test]
    async fn the_sqlite_store_is_a_sink() {
        let folders = RefCell::new(Vec::new());
        let make = async || {
            let folder = tempfile::tempdir().expect("a folder");
            let calls = open(&folder).await;
            folders.borrow_mut().push(folder);
            calls
        };
        let read = async |sink: &SqliteCalls, call: &_| {
            sink.lines(call, 0).await.expect("the file answers")
        };
        conformance::transcript_sink(make, read).await;
    }

    /// Rows that somebody else has spoilt are named and spoil nothing else.
    #[tokio::test]
    async fn spoilt_rows_are_named_and_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let calls = open(&folder).await;
        let started = "2026-06-22T20:35:32Z".parse().expect("a time");
        let record = |id: &str| CallRecord::new(CallId::new(id), Direction::Inbound, started);
        let all = ["good", "status", "time", "usage"].map(|id| (record(id), Vec::new()));
        calls.import(all.to_vec()).await.expect("a writable file");
        let file = rusqlite::Connection::open(folder.path().join("esther.sqlite"));
        file.expect("a database")
            .execute_batch(
                "UPDATE calls SET status = 'odd' WHERE call_uuid = 'status';
                 UPDATE calls SET start_time = 'yesterday' WHERE call_uuid = 'time';
                 UPDATE calls SET input_text_tokens = 'many' WHERE call_uuid = 'usage';",
            )
            .expect("the same columns");
        let page = calls.list(&CallQuery::default()).await.expect("an answer");
        let ids: Vec<_> = page.calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["good"]);
        let mut bad: Vec<_> = page.unreadable.iter().map(|bad| bad.key.as_str()).collect();
        bad.sort_unstable();
        assert_eq!(bad, ["status", "time", "usage"]);
        for id in bad {
            let refused = calls.get(&CallId::new(id)).await.expect_err(id);
            assert_eq!(*refused.kind(), ProviderErrorKind::Protocol);
            assert!(refused.to_string().contains(id), "{refused}");
        }
    }

    #[tokio::test]
    async fn imported_calls_are_there_with_their_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let calls = open(&folder).await;
        let started = "2026-06-22T20:35:32Z".parse().expect("a time");
        let mut record = CallRecord::new(CallId::new("a"), Direction::Inbound, started);
        record.status = CallStatus::Completed;
        for word in ["Tuesday", "Friday"] {
            let line = Utterance {
                seq: 1,
                at: started,
                speaker: Speaker::Caller,
                text: word.to_owned(),
                cut: false,
            };
            let import = vec![(record.clone(), vec![line.clone()])];
            calls.import(import).await.expect("a writable file");
            let lines = calls.lines(&record.id, 0).await.expect("an answer");
            assert_eq!(lines, [line]);
        }
        for (word, found) in [("tuesday", 0), ("friday", 1)] {
            let mut query = CallQuery::default();
            query.text = Some(word.to_owned().into());
            let page = calls.list(&query).await.expect("an answer");
            assert_eq!(page.calls.len(), found, "{word}");
        }
    }
}
