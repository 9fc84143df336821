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
        record::{CallStore, SqliteCalls},
        testkit::conformance,
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
}
