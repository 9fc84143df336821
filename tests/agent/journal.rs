//! Calls that are written down while they go on, and run again afterwards.

use std::{fs, path::Path};

use novavoice::{
    journal::{Ending, Journal, JournalFolder, JournalKey, replay},
    transcript::Speaker,
};

use super::*;

/// A call with a greeting, an interruption, a second reply and a hang-up, under these settings.
async fn call(journals: JournalFolder) -> Vec<String> {
    let sink = Arc::new(MemorySink::new());
    let mut config = AgentConfig::default();
    config.journals = Some(journals);
    let mut stage = Stage::set(Arc::clone(&sink), config);
    let (caller, mut session) = stage.call("one/../two").await;
    let RemoteEnd { mut port, .. } = caller;
    let ear = tokio::spawn(async move { while port.commands.recv().await.is_some() {} });
    let say = |event| session.port.events.send(Ok(event));
    for event in [
        ModelEvent::Caption(ReplyId(1), "Good morning, this is Esther.".to_owned()),
        ModelEvent::Audio(ReplyId(1), audio(3 * SECOND)),
        ModelEvent::ReplyEnded(ReplyId(1)),
    ] {
        say(event).await.expect("the session is read");
    }
    for _ in 0..60 {
        let frame = CallEvent::Audio(audio(SECOND / 50));
        port.events.send(Ok(frame)).await.expect("the leg is read");
        sleep(SECOND / 50).await;
    }
    for event in [
        ModelEvent::Interrupted,
        ModelEvent::CallerSaid("No time.".to_owned()),
        ModelEvent::Caption(ReplyId(2), "Goodbye.".to_owned()),
        ModelEvent::Audio(ReplyId(2), audio(SECOND)),
        ModelEvent::ReplyEnded(ReplyId(2)),
    ] {
        say(event).await.expect("the session is read");
    }
    sleep(5 * SECOND).await;
    let gone = CallEvent::HungUp;
    port.events.send(Ok(gone)).await.expect("the leg is read");
    finish(&mut session).await;
    drop(session);
    stage.ended().await;
    stage.stop.send(()).expect("the agent serves");
    stage.serving.await.expect("no panic").expect("it stops");
    assert_eq!(stage.handle.counts(), Counts::default());
    ear.abort();
    let lines = sink.lines(&CallId::new("one/../two"));
    let agent = lines.iter().filter(|line| line.speaker == Speaker::Agent);
    agent.map(|line| line.text.clone()).collect()
}

/// The only file in a folder.
fn only(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder).expect("the folder is made");
    let files: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[tokio::test(start_paused = true)]
async fn a_recorded_call_is_replayed_to_the_same_actions_and_the_same_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = call(JournalFolder::new(folder.path())).await;
    assert_eq!(lines.len(), 2, "{lines:?}");

    let path = only(folder.path());
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .expect("plain");
    assert!(
        name.starts_with("call-one_.._two.") && name.ends_with("Z.nvj"),
        "{name}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else may read it");
    }
    let journal = Journal::open(&path, None).expect("a journal");
    assert_eq!(journal.ending(), Ending::Complete);
    assert_eq!(journal.header().call, CallId::new("one/../two"));
    let report = replay(&journal, None).unwrap_or_else(|first| panic!("{first}"));
    let again = report
        .lines
        .iter()
        .filter(|line| line.speaker == Speaker::Agent);
    assert_eq!(
        again.map(|line| line.text.clone()).collect::<Vec<_>>(),
        lines
    );
    assert_eq!(report.ended, Some(EndReason::CallerHungUp));
}

#[tokio::test(start_paused = true)]
async fn voices_are_kept_sealed_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = JournalKey::new([5; 32]);
    let journals = JournalFolder::new(folder.path())
        .with_audio()
        .encrypted(key.clone());
    call(journals).await;
    let path = only(folder.path());
    let bytes = fs::read(&path).expect("readable");
    assert!(
        !bytes.windows(6).any(|part| part == b"Esther"),
        "words lie open"
    );
    assert!(bytes.len() > 100_000, "three seconds of audio and more");
    assert!(Journal::open(&path, None).is_err());
    let journal = Journal::open(&path, Some(&key)).expect("opens with its key");
    let spoken = journal.inputs().any(|(_, input)| {
        matches!(input, novavoice::conversation::Input::Model(_, ModelEvent::Audio(_, frame))
            if frame.samples().any(|sample| sample != 0))
    });
    assert!(spoken, "samples are kept");
    replay(&journal, None).unwrap_or_else(|first| panic!("{first}"));
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_where_its_journal_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a file");
    fs::write(&file, "in the way").expect("written");
    let lines = call(JournalFolder::new(file.join("journals"))).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
}
