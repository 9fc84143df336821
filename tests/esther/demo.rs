//! The demonstration: the first thing that anybody runs, on whatever machine.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;

use crate::service::{Ended, Launch, until};

/// Everything that could lead it astray: accounts, endpoints, proxies, folders, wrong settings.
fn hostile() -> Launch {
    let closed = "http://127.0.0.1:9";
    let set = |launch: Launch, (name, value): (&str, &str)| launch.set(name, value);
    [
        ("AWS_ACCESS_KEY_ID", "AKIDSOMEBODYELSES"),
        ("AWS_SECRET_ACCESS_KEY", "somebody-elses-secret"),
        ("AWS_SESSION_TOKEN", "somebody-elses-token"),
        ("AWS_PROFILE", "nobody"),
        ("AWS_REGION", "mars-north-1"),
        ("AWS_ENDPOINT_URL", closed),
        ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", closed),
        ("AWS_ENDPOINT_URL_DYNAMODB", closed),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("VONAGE_API_KEY", "feedface"),
        ("VONAGE_API_SECRET", "somebody-elses-secret"),
        ("VONAGE_API_URL", closed),
        ("VONAGE_APPLICATION_ID", "no application"),
        ("VONAGE_PRIVATE_KEY", "/nowhere/private.key"),
        ("VONAGE_SIGNATURE_SECRET", "somebody-elses-secret"),
        ("VONAGE_FROM_NUMBER", "nobody"),
        ("LEAD_STORE", "dynamodb"),
        ("CALL_STORE", "dynamodb"),
        ("DATA_DIR", "/nowhere/data"),
        ("TRANSCRIPTS_DIR", "/nowhere/transcripts"),
        ("PUBLIC_URL", "https://esther.example"),
        ("HOST", "203.0.113.1"),
        ("PORT", "none"),
        ("SPEECH_MODEL", "local"),
        (
            "NOVA_SONIC_ROLE_ARN",
            "arn:aws:iam::123456789012:role/other",
        ),
        ("NOVA_SONIC_MAX_SESSIONS", "3"),
        ("MAX_CALLS", "1"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", closed),
        ("HTTP_PROXY", closed),
        ("HTTPS_PROXY", closed),
        ("ALL_PROXY", closed),
        ("http_proxy", closed),
        ("https_proxy", closed),
    ]
    .into_iter()
    .fold(Launch::bare(), set)
}

/// The folder for temporary files, apart from everybody else's.
fn temporary(launch: Launch) -> (Launch, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().to_str().expect("a plain path").to_owned();
    (launch.set("TMPDIR", path), folder)
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("a folder").next().is_none()
}

/// How often each outcome stands at the end of a call.
fn ends(ended: &Ended) -> BTreeMap<String, u64> {
    let ends = ended.stdout.lines().filter_map(|line| {
        let (_, end) = line.split_once(" == ")?;
        Some(end.split_once(',')?.0.to_owned())
    });
    counted(ends)
}

fn counted(words: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    words.fold(BTreeMap::new(), |mut counts, word| {
        *counts.entry(word).or_default() += 1;
        counts
    })
}

/// The rows between a heading and the next empty line.
fn below<'a>(ended: &'a Ended, heading: &str) -> Vec<&'a str> {
    let lines = ended.stdout.lines();
    let below = lines.skip_while(|line| !line.starts_with(heading)).skip(1);
    below.take_while(|line| !line.is_empty()).collect()
}

/// The figures of rows such as `outcome  busy  1`.
fn figures(rows: &[&str], kind: &str) -> BTreeMap<String, u64> {
    let rows = rows.iter().map(|row| row.split_whitespace());
    let rows = rows.filter_map(|mut words| {
        (words.next() == Some(kind)).then_some(())?;
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_runs_anywhere_and_its_figures_add_up() {
    let (launch, files) = temporary(hostile());
    let launch = launch.file(".env", "PORT=none\nVONAGE_API_URL=nowhere\n");
    let home = launch.home_of();
    let read_only = fs::Permissions::from_mode(0o555);
    fs::set_permissions(home.path(), read_only).expect("its owner may");
    let ended = launch.arg("demo").begin().ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(!ended.stderr.contains("ERROR"), "{}", ended.stderr);
    assert!(!ended.stdout.contains('\u{1b}'), "no colours in a pipe");
    assert!(is_empty(files.path()), "nothing stays behind");
    assert_eq!(fs::read_dir(home.path()).expect("a folder").count(), 1);
    let first = ended.stdout.lines().next().unwrap_or_default();
    assert!(first.contains("simulated") && first.contains("real service"));
    assert!(
        ended.stdout.contains("had nothing to complain of"),
        "{}",
        ended.stdout
    );

    let ends = ends(&ended);
    for outcome in [
        "scheduled",
        "follow_up",
        "not_interested",
        "wrong_number",
        "do_not_call",
        "completed",
        "voicemail",
        "screened",
        "no_answer",
        "busy",
        "failed",
    ] {
        assert!(ends.contains_key(outcome), "{outcome}: {}", ended.stdout);
    }
    assert_eq!(ends["scheduled"], 2);
    let rows = below(&ended, "The campaign's own figures");
    assert_eq!(figures(&rows, "outcome"), ends, "as the lines said");
    let table = below(&ended, "What came of the calls");
    let outcomes = table.iter().skip(1).filter_map(|row| {
        let known = |word: &&str| ends.contains_key(*word);
        row.split_whitespace().find(known).map(str::to_owned)
    });
    assert_eq!(counted(outcomes), ends, "as the table says");
    let refused: u64 = figures(&rows, "refused").values().sum();
    let calls: u64 = ends.values().sum();
    let all = format!(
        "{} leads matched = {refused} refused + {calls} done + 0 pending + 0 in progress; {calls} \
         calls placed",
        refused + calls
    );
    assert!(rows[0].contains(&all), "{}", rows[0]);
    assert_eq!(below(&ended, "In Mike's calendar").len(), 2);
    let preview = below(&ended, "Preview: ");
    for reason in ["do_not_call", "invalid_number", "outside_window"] {
        assert!(
            preview.iter().any(|row| row.contains(reason)),
            "{preview:?}"
        );
    }
    let again = below(&ended, "Preview once more");
    let opted_out = again.iter().find(|row| row.contains("opted_out"));
    assert!(
        opted_out.is_some_and(|row| row.contains("Okafor")),
        "{again:?}"
    );
    assert!(ended.stdout.contains(" [cut]"), "somebody breaks in");
    let list = ended.stdout.find("is on the do-not-call list from here on");
    let end = ended.stdout.find("== do_not_call");
    assert!(list.is_some() && list < end, "before the end of the call");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_ends_when_asked_and_keeps_what_it_shall() {
    let (launch, files) = temporary(hostile());
    let launch = launch.args(["demo", "--keep", "kept"]);
    let home = launch.home_of();
    let started = launch.begin();
    until("somebody who talks", async || {
        started.stdout().contains("Esther  ").then_some(())
    })
    .await;
    started.signal("INT").await;
    let ended = started.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.contains("Stopped before the end"), "{ended:?}");
    assert!(is_empty(files.path()), "nothing stays behind");
    let kept = fs::read_dir(home.path().join("kept")).expect("a folder");
    assert!(kept.count() > 0, "the transcripts stay");
}
