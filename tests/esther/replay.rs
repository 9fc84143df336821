//! `esther replay`: recorded calls through the finished program.

use std::fs;

use crate::service::Launch;

fn set(name: &str) -> String {
    format!("{}/tests/journals/{name}.nvj", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_replayed_and_its_words_are_shown_only_when_asked_for() {
    let replay = |words: bool| {
        let launch = Launch::bare().arg("replay").arg(set("barge_in"));
        if words { launch.arg("--words") } else { launch }
    };
    let ended = replay(false).run().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.contains("the same: "), "{ended:?}");
    assert!(!ended.stdout.contains("Esther, and"), "{ended:?}");
    let ended = replay(true).run().await;
    assert!(ended.stdout.contains("Human: I have no time."), "{ended:?}");
    assert!(ended.stdout.contains(" [cut]"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_setting_would_have_changed_is_printed() {
    let launch = Launch::bare().arg("replay").arg(set("cough"));
    let ended = launch
        .arg("--what-if")
        .arg("barge_in.min_ms=2000")
        .run()
        .await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.contains("clear playback"), "{ended:?}");
    assert!(ended.stdout.contains("false interruptions"), "{ended:?}");
    let launch = Launch::bare().arg("replay").arg(set("rollover"));
    let ended = launch.arg("--what-if").arg("keys_wait_ms=100").run().await;
    assert!(
        ended.stdout.contains("nothing would have changed"),
        "{ended:?}"
    );
}

/// 1: the work failed. 2: wrong usage. One line says why.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_replayed_is_said_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("notes.nvj");
    fs::write(&other, "These are notes, and no journal of any call.").expect("written");
    for (file, says) in [
        (other.to_str().expect("plain").to_owned(), "no journal"),
        (set("no_such"), "cannot be read"),
    ] {
        let ended = Launch::bare().arg("replay").arg(file).run().await;
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.contains(says), "{ended:?}");
    }
    for wrong in [
        "barge_in.min=200",
        "barge_in.min_ms",
        "barge_in.min_ms=soon",
    ] {
        let launch = Launch::bare().arg("replay").arg(set("keys"));
        let ended = launch.arg("--what-if").arg(wrong).run().await;
        assert_eq!(ended.status.code(), Some(2), "{wrong}: {ended:?}");
    }
    let ended = Launch::bare().arg("replay").run().await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
}
