//! Disks that are full, and directories in which nothing can be written.
//!
//! The disks are small ones in memory, mounted where this process alone sees them. Where that is
//! not allowed the test says so; in continuous integration it fails.

use std::{fs, io::Write, path::Path, process::Command, sync::Arc};

use novavoice::{
    ProviderErrorKind,
    call::CallId,
    transcript::{
        FanOut, FileSink, MemorySink, Spool, TranscriptSink, fan_out::Acknowledge,
        spool::SpoolConfig,
    },
};

use crate::outage::{info, live_call, said};

#[tokio::test]
async fn a_full_disk_is_named_and_ends_no_call() {
    on_a_disk("size=256k", "disk::on_a_disk_that_fills_up");
}

#[tokio::test]
async fn a_read_only_disk_is_named_and_ends_no_call() {
    on_a_disk("ro", "disk::on_a_disk_that_is_read_only");
}

#[tokio::test(start_paused = true)]
#[ignore = "runs on a disk that the test above mounts"]
async fn on_a_disk_that_fills_up() {
    let disk = std::env::var("SMALL_DISK").expect("set by the test above");
    let disk = Path::new(&disk);
    let undisturbed = live_call(Arc::new(MemorySink::new()), |_| {}).await.0;
    let file = FileSink::new(disk.join("transcripts"));
    let remote = MemorySink::new();
    let spool = Spool::open(disk.join("spool"), remote.clone(), SpoolConfig::default()).await;
    let spool = spool.expect("there is room");
    let sinks = FanOut::builder(Acknowledge::All)
        .sink("file", file.clone())
        .sink("spool", spool.clone())
        .build()
        .await
        .expect("no spill");
    let filler = disk.join("filler");
    let sink: Arc<dyn TranscriptSink> = Arc::new(sinks.clone());
    let (heard, published) = live_call(sink, |begins| {
        if begins {
            fill(&filler);
        } else {
            let failing: Vec<_> = sinks
                .health()
                .into_iter()
                .filter_map(|sink| sink.failing)
                .collect();
            assert!(
                failing.iter().any(|why| why.contains("free some space")),
                "{failing:?}"
            );
            fs::remove_file(&filler).expect("removed");
        }
    })
    .await;
    assert!(heard == undisturbed, "every frame came when it was due");
    assert_eq!(published, said(), "every line was acknowledged in the end");
    spool.drained().await;
    let call = CallId::new("live");
    for kept in [
        file.lines(&call).await.expect("readable"),
        remote.lines(&call),
    ] {
        let kept: Vec<_> = kept.into_iter().map(|line| line.text).collect();
        assert_eq!(kept, said());
    }
    assert!(remote.summary(&call).is_some());
}

#[tokio::test(start_paused = true)]
#[ignore = "runs on a disk that the test above mounts"]
async fn on_a_disk_that_is_read_only() {
    let disk = std::env::var("SMALL_DISK").expect("set by the test above");
    let disk = Path::new(&disk);
    let undisturbed = live_call(Arc::new(MemorySink::new()), |_| {}).await.0;

    let spool = Spool::open(
        disk.join("spool"),
        MemorySink::new(),
        SpoolConfig::default(),
    )
    .await;
    let error = spool.expect_err("nothing can be written");
    assert_eq!(*error.kind(), ProviderErrorKind::Unauthorized);
    assert!(error.to_string().contains("read-only"), "{error}");

    let file = FileSink::new(disk.join("transcripts"));
    let error = file
        .start(&info("a"))
        .await
        .expect_err("nothing can be written");
    assert!(error.to_string().contains("read-only"), "{error}");
    let (heard, published) = live_call(Arc::new(file), |_| {}).await;
    assert!(
        heard == undisturbed,
        "the call went on as if nothing were wrong"
    );
    assert!(published.is_empty(), "and nothing was acknowledged");
}

/// Runs the ignored test `name` with `SMALL_DISK` on a disk of its own.
fn on_a_disk(options: &str, name: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let script = r#"mount -t tmpfs -o "$1" tmpfs "$SMALL_DISK" || exit 77
        exec "$2" "$3" --exact --ignored --nocapture"#;
    let ran = Command::new("unshare")
        .args([
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            options,
        ])
        .arg(std::env::current_exe().expect("this binary"))
        .arg(name)
        .env("SMALL_DISK", dir.path())
        .output();
    let mounted = ran.as_ref().is_ok_and(|ran| ran.status.code() != Some(77));
    let shared = ran.as_ref().is_ok_and(|ran| {
        let told = String::from_utf8_lossy(&ran.stderr);
        !told.contains("unshare:")
    });
    if !(mounted && shared) {
        assert!(
            std::env::var_os("CI").is_none(),
            "no disk can be mounted: {ran:?}"
        );
        eprintln!("NOT TESTED: no disk can be mounted here");
        return;
    }
    let ran = ran.expect("checked above");
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(
        ran.status.success() && out.contains("1 passed"),
        "{out}{err}"
    );
}

fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("a file");
    while file.write_all(&[0; 512]).is_ok() {}
}
