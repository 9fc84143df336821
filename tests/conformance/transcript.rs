//! Transcript sinks. A new one adds a `mod` here that calls `conformance::transcript_sink` with
//! a way to make a sink and a way to read the lines that it keeps.

mod memory {
    use std::{cell::RefCell, sync::Arc};

    use novavoice::{
        testkit::conformance,
        transcript::{MemorySink, TranscriptSink},
    };

    #[tokio::test]
    async fn the_memory_sink_keeps_the_contract() {
        let read = async |sink: &MemorySink, call: &_| sink.lines(call);
        conformance::transcript_sink(async || MemorySink::new(), read).await;
    }

    #[tokio::test]
    async fn a_sink_behind_a_pointer_keeps_the_contract() {
        let inner = RefCell::new(MemorySink::new());
        let make = async || {
            let sink = MemorySink::new();
            *inner.borrow_mut() = sink.clone();
            let sink: Arc<dyn TranscriptSink> = Arc::new(sink);
            sink
        };
        let read = async |_: &Arc<dyn TranscriptSink>, call: &_| inner.borrow().lines(call);
        conformance::transcript_sink(make, read).await;
    }
}

mod file {
    use std::cell::RefCell;

    use novavoice::{testkit::conformance, transcript::FileSink};

    #[tokio::test]
    async fn the_file_sink_keeps_the_contract() {
        let dirs = RefCell::new(Vec::new());
        let make = async || {
            let dir = tempfile::tempdir().expect("a directory");
            let sink = FileSink::new(dir.path());
            dirs.borrow_mut().push(dir);
            sink
        };
        let read = async |sink: &FileSink, call: &_| sink.lines(call).await.expect("readable");
        conformance::transcript_sink(make, read).await;
    }

    /// The process that reads is another one than the one that wrote, as far as the files know.
    #[tokio::test]
    async fn what_the_file_sink_keeps_is_there_for_others() {
        let dirs = RefCell::new(Vec::new());
        let make = async || {
            let dir = tempfile::tempdir().expect("a directory");
            let sink = FileSink::new(dir.path());
            let reader = FileSink::new(dir.path());
            dirs.borrow_mut().push((dir, reader));
            sink
        };
        let read = async |_: &FileSink, call: &_| {
            let reader = dirs.borrow().last().expect("made before").1.clone();
            reader.lines(call).await.expect("readable")
        };
        conformance::transcript_sink(make, read).await;
    }
}

mod spool {
    use std::cell::RefCell;

    use novavoice::{
        testkit::conformance,
        transcript::{MemorySink, Spool, spool::SpoolConfig},
    };

    async fn spool(dir: &std::path::Path) -> Spool<MemorySink> {
        let sink = MemorySink::new();
        let spool = Spool::open(dir, sink, SpoolConfig::default()).await;
        spool.expect("a journal")
    }

    /// As the sink behind it sees it.
    #[tokio::test(start_paused = true)]
    async fn a_spooled_sink_keeps_the_contract() {
        let dirs = RefCell::new(Vec::new());
        let make = async || {
            let dir = tempfile::tempdir().expect("a directory");
            let spool = spool(dir.path()).await;
            dirs.borrow_mut().push(dir);
            spool
        };
        let read = async |spool: &Spool<MemorySink>, call: &_| {
            spool.drained().await;
            spool.sink().lines(call)
        };
        conformance::transcript_sink(make, read).await;
    }
}

mod fan_out {
    use std::cell::RefCell;

    use novavoice::{
        testkit::conformance,
        transcript::{FanOut, FileSink, MemorySink, fan_out::Acknowledge},
    };

    /// Whichever sink is looked at.
    #[tokio::test]
    async fn a_fan_out_keeps_the_contract_in_each_of_its_sinks() {
        for policy in [Acknowledge::All, Acknowledge::Any] {
            for look_at_file in [false, true] {
                let made = RefCell::new(Vec::new());
                let make = async || {
                    let dir = tempfile::tempdir().expect("a directory");
                    let (file, memory) = (FileSink::new(dir.path()), MemorySink::new());
                    let fan_out = FanOut::builder(policy)
                        .sink("file", file.clone())
                        .sink("memory", memory.clone())
                        .build();
                    made.borrow_mut().push((dir, file, memory));
                    fan_out.await.expect("a fan-out")
                };
                let read = async |fan_out: &FanOut, call: &_| {
                    fan_out.flushed().await;
                    let (file, memory) = {
                        let made = made.borrow();
                        let (_, file, memory) = made.last().expect("made before");
                        (file.clone(), memory.clone())
                    };
                    if look_at_file {
                        file.lines(call).await.expect("readable")
                    } else {
                        memory.lines(call)
                    }
                };
                conformance::transcript_sink(make, read).await;
            }
        }
    }
}

mod dynamodb {
    use std::cell::RefCell;

    use novavoice::{
        testkit::conformance,
        transcript::{DynamoSink, Spool, dynamodb::call_records, spool::SpoolConfig},
    };
    use uuid::Uuid;

    use crate::dynamo::Server;

    async fn sink(server: &Server) -> DynamoSink {
        let name = server.table(&Uuid::new_v4().simple().to_string());
        let made = server.dynamo().create_missing(&[call_records(&name)]).await;
        made.expect("a table");
        DynamoSink::new(server.dynamo(), name)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_dynamodb_sink_keeps_the_contract() {
        for server in Server::all() {
            let read =
                async |sink: &DynamoSink, call: &_| sink.lines(call).await.expect("readable");
            conformance::transcript_sink(async || sink(&server).await, read).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_spooled_dynamodb_sink_keeps_the_contract() {
        for server in Server::all() {
            let dirs = RefCell::new(Vec::new());
            let make = async || {
                let dir = tempfile::tempdir().expect("a directory");
                let mut config = SpoolConfig::default();
                config.linger = std::time::Duration::from_millis(20);
                let spool = Spool::open(dir.path(), sink(&server).await, config).await;
                dirs.borrow_mut().push(dir);
                spool.expect("a journal")
            };
            let read = async |spool: &Spool<DynamoSink>, call: &_| {
                spool.drained().await;
                spool.sink().lines(call).await.expect("readable")
            };
            conformance::transcript_sink(make, read).await;
        }
    }
}
