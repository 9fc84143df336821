//! The sink on real files, with real deaths.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::{
    audio::SampleRate,
    call::{CallStatus, Direction, Outcome, Party},
    transcript::Speaker,
};

const START: &str = "2026-06-22T20:35:32.250Z";

fn info(id: &str) -> CallInfo {
    let started = START.parse().unwrap();
    let mut info = CallInfo::new(
        CallId::new(id),
        Direction::Inbound,
        started,
        SampleRate::Hz16000,
    );
    info.remote = Some(Party::new("12125550101"));
    info
}

fn line(seq: u64, text: &str) -> Utterance {
    let started: Timestamp = START.parse().unwrap();
    Utterance {
        seq,
        at: started + SignedDuration::from_secs(i64::try_from(seq).unwrap()),
        speaker: if seq.is_multiple_of(2) {
            Speaker::Caller
        } else {
            Speaker::Agent
        },
        text: text.to_owned(),
        cut: seq.is_multiple_of(3),
    }
}

fn summary() -> CallSummary {
    let ended = "2026-06-22T20:37:05.650Z".parse().unwrap();
    let lasted = Duration::from_millis(93_400);
    let mut summary = CallSummary::new(CallStatus::Completed, Outcome::Scheduled, ended, lasted);
    summary.usage.output_speech_tokens = 9;
    summary.prompt_version = Some("3".to_owned());
    summary
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn markdown(dir: &Path) -> PathBuf {
    let name = files(dir).into_iter().find(|name| name.ends_with(".md"));
    dir.join(name.expect("a transcript"))
}

fn record_of(markdown: &Path) -> Value {
    serde_json::from_slice(&fs::read(markdown.with_extension("json")).unwrap()).unwrap()
}

/// A call with `count` lines whose process is gone: nobody holds its file.
async fn left_behind(dir: &Path, id: &str, count: u64) -> PathBuf {
    let sink = FileSink::new(dir);
    sink.start(&info(id)).await.unwrap();
    for seq in 1..=count {
        sink.record(&CallId::new(id), &line(seq, "left behind"))
            .await
            .unwrap();
    }
    sink.path_of(&CallId::new(id)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_call_leaves_a_transcript_and_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::new(dir.path());
    let call = info("63f61863-4a51-4f6b-86e1-46edebcf9356");
    assert_eq!(sink.start(&call).await.unwrap(), 0);
    sink.record(&call.id, &line(1, "Good\n morning"))
        .await
        .unwrap();
    sink.record(&call.id, &line(2, "Hello?")).await.unwrap();
    sink.record(&call.id, &line(3, "I am")).await.unwrap();
    sink.end(&call.id, &summary()).await.unwrap();

    let stem = "call-63f61863-4a51-4f6b-86e1-46edebcf9356-20260622T203532Z";
    assert_eq!(
        files(dir.path()),
        [format!("{stem}.json"), format!("{stem}.md")]
    );
    let path = sink.path_of(&call.id).await.unwrap().unwrap();
    assert_eq!(path, dir.path().join(format!("{stem}.md")));
    assert_eq!(
        record_of(&path),
        json!({
            "call_uuid": "63f61863-4a51-4f6b-86e1-46edebcf9356",
            "phone_number": "12125550101",
            "direction": "inbound",
            "status": "completed",
            "outcome": "scheduled",
            "start_time": "2026-06-22T20:35:32.25Z",
            "end_time": "2026-06-22T20:37:05.65Z",
            "duration_seconds": 93.4,
            "utterances": [
                {"seq": 1, "at": "2026-06-22T20:35:33.25Z", "speaker": "Assistant", "text": "Good morning", "cut": false},
                {"seq": 2, "at": "2026-06-22T20:35:34.25Z", "speaker": "Human", "text": "Hello?", "cut": false},
                {"seq": 3, "at": "2026-06-22T20:35:35.25Z", "speaker": "Assistant", "text": "I am", "cut": true},
            ],
            "usage": {
                "input_speech_tokens": 0,
                "input_text_tokens": 0,
                "output_speech_tokens": 9,
                "output_text_tokens": 0,
            },
            "prompt_version": "3",
            "md_file_path": path.to_str().unwrap(),
        })
    );
    assert!(sink.recover().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_end_can_be_repeated_and_needs_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::new(dir.path());
    let call = info("a");
    let early = sink.end(&call.id, &summary()).await.unwrap_err();
    assert_eq!(*early.kind(), ProviderErrorKind::Protocol);
    sink.start(&call).await.unwrap();
    sink.end(&call.id, &summary()).await.unwrap();
    let once = fs::read(markdown(dir.path())).unwrap();
    sink.end(&call.id, &summary()).await.unwrap();
    assert_eq!(fs::read(markdown(dir.path())).unwrap(), once);
}

#[tokio::test]
async fn a_line_is_kept_once_and_a_gap_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::new(dir.path());
    let call = info("a");
    sink.start(&call).await.unwrap();
    sink.record(&call.id, &line(1, "one")).await.unwrap();
    sink.record(&call.id, &line(1, "one")).await.unwrap();
    for seq in [0, 3] {
        let error = sink.record(&call.id, &line(seq, "x")).await.unwrap_err();
        assert_eq!(*error.kind(), ProviderErrorKind::Protocol);
    }
    sink.record(&call.id, &line(2, "two")).await.unwrap();
    let said = sink.lines(&call.id).await.unwrap();
    assert_eq!(said, [line(1, "one"), line(2, "two")]);
}

#[tokio::test]
async fn a_reconnected_call_goes_on_in_its_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::new(dir.path());
    let mut call = info("a");
    sink.start(&call).await.unwrap();
    sink.record(&call.id, &line(1, "one")).await.unwrap();
    // The socket was lost and came back before anybody ended the call.
    assert_eq!(sink.start(&call).await.unwrap(), 1);
    sink.end(&call.id, &summary()).await.unwrap();

    // It comes back after its end, minutes later, perhaps to another process.
    call.started += SignedDuration::from_mins(3);
    let sink = FileSink::new(dir.path());
    assert_eq!(sink.start(&call).await.unwrap(), 1);
    let text = fs::read_to_string(markdown(dir.path())).unwrap();
    assert!(!text.contains("Outcome"), "{text}");
    sink.record(&call.id, &line(2, "two")).await.unwrap();
    let mut failed = summary();
    failed.outcome = Outcome::Failed;
    sink.end(&call.id, &failed).await.unwrap();

    let path = markdown(dir.path());
    assert_eq!(files(dir.path()).len(), 2);
    assert_eq!(record_of(&path)["utterances"][1]["text"], "two");
    assert_eq!(record_of(&path)["outcome"], "failed");
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.matches("- Outcome").count(), 1);
}

#[tokio::test]
async fn a_resumed_file_is_cut_back_to_its_last_whole_line_wherever_it_was_torn() {
    let whole = {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::new(dir.path());
        sink.start(&info("a")).await.unwrap();
        for seq in 1..=2 {
            let said = line(seq, "añ [cut]");
            sink.record(&CallId::new("a"), &said).await.unwrap();
        }
        sink.end(&CallId::new("a"), &summary()).await.unwrap();
        fs::read(markdown(dir.path())).unwrap()
    };
    let outer = tempfile::tempdir().unwrap();
    let mut torn = tokio::task::JoinSet::new();
    for length in 0..=whole.len() {
        let dir = outer.path().join(length.to_string());
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("call-a-20260622T203532Z.md"), &whole[..length]).unwrap();
        torn.spawn(async move {
            let sink = FileSink::new(&dir);
            let last = sink.start(&info("a")).await.unwrap();
            let next = line(last + 1, "next");
            sink.record(&CallId::new("a"), &next).await.unwrap();
            let said = sink.lines(&CallId::new("a")).await.unwrap();
            assert_eq!(said.len() as u64, last + 1, "torn at {length}");
            assert_eq!(said.last(), Some(&next), "torn at {length}");
            sink.end(&CallId::new("a"), &summary()).await.unwrap();
            assert_eq!(files(&dir).len(), 2, "torn at {length}");
        });
    }
    torn.join_all().await;
}

#[tokio::test]
async fn hostile_ids_each_get_one_file_inside_the_directory() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("transcripts");
    let sink = FileSink::new(&dir);
    let long = "x".repeat(300);
    let lookalike = name::stems(&CallId::new("a/b")).remove(0);
    let ids = [
        "../../etc/passwd",
        "..",
        "a/b",
        "a_b",
        "a\\b",
        &lookalike,
        "",
        &long,
        "通話\n# Call b\0",
        "\"quoted\" ",
        "a",
        "a-20260622T203532Z",
    ];
    for id in ids {
        assert_eq!(sink.start(&info(id)).await.unwrap(), 0, "{id:?}");
        let said = line(1, id);
        sink.record(&CallId::new(id), &said).await.unwrap();
    }
    for id in ids {
        sink.end(&CallId::new(id), &summary()).await.unwrap();
        // Found again, as itself.
        let again = FileSink::new(&dir);
        assert_eq!(again.start(&info(id)).await.unwrap(), 1, "{id:?}");
        let said = again.lines(&CallId::new(id)).await.unwrap();
        let collapsed = crate::transcript::collapse_white_space(id);
        assert_eq!(said[0].text, collapsed);
        again.end(&CallId::new(id), &summary()).await.unwrap();
    }
    assert_eq!(files(outer.path()), ["transcripts"]);
    assert_eq!(files(&dir).len(), 2 * ids.len());
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    assert!(files(&dir).iter().all(|name| name.chars().all(harmless)));
}

#[tokio::test]
async fn calls_run_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::new(dir.path());
    let calls = (0..8).map(|number| {
        let sink = sink.clone();
        tokio::spawn(async move {
            let call = info(&format!("call{number}"));
            sink.start(&call).await.unwrap();
            for seq in 1..=10 {
                let said = line(seq, &format!("{number} says {seq}"));
                sink.record(&call.id, &said).await.unwrap();
            }
            sink.end(&call.id, &summary()).await.unwrap();
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    for number in 0..8 {
        let said = sink.lines(&CallId::new(format!("call{number}"))).await;
        let said = said.unwrap();
        assert_eq!(said.len(), 10);
        assert!(
            said.iter()
                .all(|line| line.text.starts_with(&format!("{number} ")))
        );
    }
}

#[tokio::test]
async fn recovery_closes_dead_calls_and_leaves_live_complete_and_foreign_files_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::new(dir.path());
    for id in ["live", "complete"] {
        sink.start(&info(id)).await.unwrap();
        sink.record(&CallId::new(id), &line(1, id)).await.unwrap();
    }
    sink.end(&CallId::new("complete"), &summary())
        .await
        .unwrap();
    let dead = left_behind(dir.path(), "dead", 2).await;
    let mut torn = fs::OpenOptions::new().append(true).open(&dead).unwrap();
    torn.write_all(b"\n[2026-06-22T20:36:00.000Z] Human: half a li")
        .unwrap();
    let foreign = dir.path().join("call-foreign-20260622T203532Z.md");
    fs::write(&foreign, "Dear diary\n").unwrap();
    fs::write(dir.path().join("notes.md"), "Dear diary\n").unwrap();

    // Another process, as far as locks go.
    let recovered = FileSink::new(dir.path()).recover().await.unwrap();
    let [closed, left] = &recovered[..] else {
        panic!("two files had to be dealt with: {recovered:?}");
    };
    assert_eq!(closed.path, dead);
    let call = closed.result.as_ref().unwrap();
    assert_eq!(call.id, CallId::new("dead"));
    assert_eq!(call.lines.len(), 2);
    assert_eq!(call.summary.status, CallStatus::Abandoned);
    assert_eq!(call.summary.outcome, Outcome::Abandoned);
    assert!(call.summary.ended >= call.lines[1].at);
    assert!(call.summary.ended <= clock::wall().max(call.lines[1].at));
    assert_eq!(record_of(&dead)["status"], "abandoned");
    assert_eq!(record_of(&dead)["utterances"].as_array().unwrap().len(), 2);
    let text = fs::read_to_string(&dead).unwrap();
    assert!(!text.contains("half a li"), "{text}");
    assert!(text.ends_with("- Outcome: abandoned\n"), "{text}");

    assert_eq!(left.path, foreign);
    let error = left.result.as_ref().unwrap_err();
    assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "Dear diary\n");

    sink.record(&CallId::new("live"), &line(2, "still"))
        .await
        .unwrap();
    assert_eq!(sink.lines(&CallId::new("live")).await.unwrap().len(), 2);
    fs::remove_file(foreign).unwrap();
    assert!(sink.recover().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_an_abandoned_call_is_when_its_file_last_changed() {
    let dir = tempfile::tempdir().unwrap();
    let dead = left_behind(dir.path(), "dead", 2).await;
    let died: Timestamp = "2026-06-22T20:35:36.5Z".parse().unwrap();
    let file = fs::OpenOptions::new().write(true).open(&dead).unwrap();
    file.set_modified(died.into()).unwrap();
    let recovered = FileSink::new(dir.path()).recover().await.unwrap();
    let call = recovered[0].result.as_ref().unwrap();
    assert_eq!(call.summary.ended, died);
    assert_eq!(call.summary.duration, Duration::from_millis(4_250));
}

#[tokio::test]
async fn a_record_that_a_crash_prevented_is_written_later_with_the_true_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::new(dir.path());
    sink.start(&info("a")).await.unwrap();
    sink.record(&CallId::new("a"), &line(1, "one"))
        .await
        .unwrap();
    sink.end(&CallId::new("a"), &summary()).await.unwrap();
    let path = markdown(dir.path());
    let before = record_of(&path);
    fs::remove_file(path.with_extension("json")).unwrap();

    let recovered = sink.recover().await.unwrap();
    let call = recovered[0].result.as_ref().unwrap();
    assert_eq!(call.summary.outcome, Outcome::Scheduled);
    assert_eq!(record_of(&path), before);
    assert!(sink.recover().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_another_process_records_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = FileSink::new(dir.path());
    theirs.start(&info("a")).await.unwrap();
    let ours = FileSink::new(dir.path());
    let error = ours.start(&info("a")).await.unwrap_err();
    assert_eq!(*error.kind(), ProviderErrorKind::Conflict);
    theirs.end(&CallId::new("a"), &summary()).await.unwrap();
    assert_eq!(ours.start(&info("a")).await.unwrap(), 0);
}

#[tokio::test]
async fn a_directory_that_cannot_be_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let occupied = dir.path().join("file");
    fs::write(&occupied, "").unwrap();
    for dir in [occupied.clone(), occupied.join("below")] {
        let sink = FileSink::new(dir);
        let error = sink.start(&info("a")).await.unwrap_err();
        assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
        assert!(error.detail().unwrap().contains("choose another directory"));
    }
    let nowhere = FileSink::new(dir.path().join("nowhere"));
    assert!(nowhere.recover().await.unwrap().is_empty());
}

#[tokio::test]
async fn errors_and_debug_show_nothing_personal() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::new(dir.path());
    sink.start(&info("a")).await.unwrap();
    let gap = sink.record(&CallId::new("a"), &line(9, "my secret")).await;
    let printed = format!("{sink:?} {:?}", gap.unwrap_err());
    assert!(!printed.contains("secret") && !printed.contains("2125550101"));
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("a/b");
    let sink = FileSink::new(&dir);
    sink.start(&info("a")).await.unwrap();
    sink.end(&CallId::new("a"), &summary()).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(dir.parent().unwrap()), 0o700);
    for name in files(&dir) {
        assert_eq!(mode(&dir.join(name)), 0o600);
    }
}

const VICTIM: &str = "NOVAVOICE_TRANSCRIPT_VICTIM";

/// Not a test of its own: the process that the next test kills. It says on its standard output
/// which lines were acknowledged, and goes on until it dies.
#[tokio::test]
async fn victim_that_records_until_it_is_killed() {
    let Some(dir) = std::env::var_os(VICTIM) else {
        return;
    };
    let sink = FileSink::new(PathBuf::from(dir));
    sink.start(&info("victim")).await.unwrap();
    for seq in 1.. {
        let said = line(seq, &format!("line {seq} {}", "word ".repeat(200)));
        sink.record(&CallId::new("victim"), &said).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "acknowledged {seq}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn every_acknowledged_line_survives_a_kill_and_recovery_closes_the_file() {
    for lines in [1, 2, 17, 40] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("transcript::file::tests::victim_that_records_until_it_is_killed")
            .env(VICTIM, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let last = said
            .map(Result::unwrap)
            .filter_map(|line| line.rsplit_once("acknowledged ")?.1.parse::<u64>().ok())
            .find(|seq| *seq >= lines)
            .expect("the victim records");

        let alive = FileSink::new(dir.path()).recover().await.unwrap();
        assert!(alive.is_empty(), "a living process's file was taken");
        child.kill().unwrap();
        child.wait().unwrap();

        let sink = FileSink::new(dir.path());
        let recovered = sink.recover().await.unwrap();
        let call = recovered[0].result.as_ref().unwrap();
        assert!(call.lines.len() as u64 >= last, "a line was lost");
        for (seq, kept) in (1..).zip(&call.lines) {
            let expected = format!("line {seq} {}", "word ".repeat(200));
            assert_eq!(kept.text, expected.trim());
        }
        assert_eq!(call.summary.outcome, Outcome::Abandoned);
        assert!(call.summary.ended <= clock::wall().max(call.lines.last().unwrap().at));
        assert_eq!(record_of(&markdown(dir.path()))["status"], "abandoned");
    }
}
