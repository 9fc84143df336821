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
