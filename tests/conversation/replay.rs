//! Recorded calls through this build: the same actions to the byte.
//!
//! The set lies in `tests/journals`. A change of a rule that is meant shows here as a difference; then
//! look at it, and write the set anew with `cargo run --example soak -- journals`.

use std::{fs, path::PathBuf, time::Duration};

use novavoice::{
    conversation::EndReason,
    journal::{Ending, Journal, replay, set_knob, what_if},
    testkit::schedule::Schedule,
};
use proptest::prelude::*;

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "journals"]
        .iter()
        .collect()
}

fn journal(name: &str) -> Journal {
    let path = folder().join(name).with_extension("nvj");
    Journal::open(&path, None).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()))
}

/// The first difference under another setting.
fn changed(name: &str, knob: &str, value: &str) -> Option<String> {
    let journal = journal(name);
    let mut config = journal.header().config.clone();
    set_knob(&mut config, knob, value).expect("a right setting");
    let first = replay(&journal, Some(&config)).err()?;
    Some(first.to_string())
}

#[test]
fn every_journal_of_the_set_is_replayed_to_the_same_actions() {
    let mut names = Vec::new();
    for file in fs::read_dir(folder()).expect("the set is there") {
        let path = file.expect("readable").path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("plain")
            .to_owned();
        let journal = journal(&name);
        assert_eq!(journal.ending(), Ending::Complete, "{name}");
        let report = replay(&journal, None).unwrap_or_else(|first| panic!("{name}: {first}"));
        assert!(
            report.ended.is_some() && report.actions > 50,
            "{name}: {report:?}"
        );
        names.push(name);
    }
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "barge_in", "cough", "idle", "keys", "random", "recovery", "rollover"
        ]
    );
}

/// Each call goes through what it is named after.
#[test]
fn the_set_covers_what_a_call_can_go_through() {
    let run = |name| replay(&journal(name), None).unwrap_or_else(|first| panic!("{name}: {first}"));
    let barge_in = run("barge_in");
    assert_eq!(barge_in.stats.interruptions, 1);
    assert!(barge_in.lines.iter().any(|line| line.cut));
    assert_eq!(run("cough").stats.false_interruptions, 1);
    assert_eq!(run("rollover").stats.rollovers, 1);
    assert_eq!(run("recovery").stats.restarts, 1);
    assert_eq!(run("idle").ended, Some(EndReason::AgentHungUp));
    assert_eq!(run("keys").ended, Some(EndReason::AgentHungUp));
}

#[test]
fn a_changed_rule_is_reported_at_its_first_difference() {
    // The voice begins 1.6 s after the call and pauses the agent 350 ms later; without a pause
    // the next frame goes out then.
    let first = changed("barge_in", "barge_in.min_ms", "2000").expect("it shows");
    assert!(first.starts_with("at 1.9"), "{first}");
    assert!(
        first.contains("recorded \"clear playback\", got \"nothing\""),
        "{first}"
    );
    let first = changed("barge_in", "barge_in.min_ms", "200").expect("it shows");
    assert!(first.starts_with("at 1.8"), "{first}");
    assert!(
        first.contains("recorded \"feed session 1") && first.contains("got \"clear playback\""),
        "{first}"
    );
    let first = changed("keys", "keys_wait_ms", "100").expect("it shows");
    assert!(first.contains("got \"tell session 1"), "{first}");
    let first = changed("idle", "idle.nudge_ms", "none").expect("it shows");
    assert!(first.contains("recorded \"tell session 1"), "{first}");
    assert!(changed("cough", "lead_ms", "200").is_some());
    assert!(changed("recovery", "hold_ms", "200").is_some());
    assert_eq!(
        changed("rollover", "keys_wait_ms", "100"),
        None,
        "nobody presses a key"
    );
}

#[test]
fn what_would_have_changed_is_told_moment_by_moment() {
    let journal = journal("cough");
    let mut config = journal.header().config.clone();
    let none = what_if(&journal, &config);
    assert!(none.changes.is_empty(), "{:?}", none.changes);
    set_knob(&mut config, "barge_in.min_ms", "2000").expect("a right setting");
    let changes = what_if(&journal, &config);
    assert_eq!(changes.before.stats.false_interruptions, 1);
    assert_eq!(changes.after.stats.false_interruptions, 0);
    let lines: Vec<String> = changes.changes.iter().map(ToString::to_string).collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with('-') && line.ends_with("clear playback")),
        "{lines:#?}"
    );
    let text = lines.concat();
    assert!(!text.contains("Tuesday"), "no words: {text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_random_call_is_replayed_to_the_same_actions(seed in any::<u64>()) {
        let (outcome, bytes) = Schedule::random(seed).record();
        let journal = Journal::read(&bytes, None).expect("a journal");
        let report = replay(&journal, None);
        prop_assert!(report.is_ok(), "{}", report.unwrap_err());
        let report = report.expect("checked");
        prop_assert_eq!(report.ended, outcome.ended);
        prop_assert_eq!(report.stats, outcome.stats);
        prop_assert!(report.length >= outcome.length || outcome.length - report.length < Duration::from_secs(40));
    }
}
