//! What can be set, from where, and what happens when it is wrong.

use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    nova::items,
    service::{Esther, Launch, inbound, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_value_is_named_at_once() {
    let secret = "not-to-be-repeated";
    let wrong = [
        ("PORT", "many"),
        ("HOST", "no host at all"),
        ("PUBLIC_URL", "ftp://example.org"),
        ("SPEECH_MODEL", "parrot"),
        ("MAX_CALLS", "0"),
        ("NOVA_SONIC_MAX_SESSIONS", "-1"),
        ("NOVA_SONIC_SESSION_LIMIT", "soon"),
        ("DRAIN_SECONDS", "1.5"),
        ("LOG_FORMAT", "verse"),
        ("IDLE_NUDGE_SECONDS", "never"),
        ("LEAD_STORE", "paper"),
        ("CREATE_TABLES", "perhaps"),
        ("VONAGE_APPLICATION_ID", "mine"),
        ("VONAGE_FROM_NUMBER", secret),
        ("VONAGE_PRIVATE_KEY", secret),
        ("SSL_CERT_FILE", "/nowhere/at/all.pem"),
    ];
    let set = |launch: Launch, (name, value): (&str, &str)| launch.set(name, value);
    let launch = wrong.into_iter().fold(Launch::bare(), set);
    let launch = launch.file(".env", "AWS_ENDPOINT_URL_DYNAMODB=not-an-address\n");
    let ended = launch.arg("--max-calls").arg("many").run().await;
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(ended.stdout, "");
    for (name, _) in wrong {
        let named = ended
            .stderr
            .lines()
            .any(|line| line.trim_start().starts_with(name));
        assert!(named, "{name} is not named: {}", ended.stderr);
    }
    assert!(
        ended.stderr.contains("AWS_ENDPOINT_URL_DYNAMODB"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains(secret) && !ended.stderr.contains("panicked"));

    for arguments in [&["--no-such-flag"][..], &["no-such-command"], &["--port"]] {
        let launch = arguments
            .iter()
            .fold(Launch::bare(), |launch, argument| launch.arg(*argument));
        let ended = launch.run().await;
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty());
    }
    let help = Launch::bare().arg("--help").run().await;
    assert_eq!(help.status.code(), Some(0));
    for (name, _) in wrong {
        let flag = format!("--{}", name.to_ascii_lowercase().replace('_', "-"));
        assert!(help.stdout.contains(&flag), "{flag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_said_in_a_line_and_ends_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let in_use = Launch::local().set("PORT", &port).run().await;
    assert_eq!(in_use.status.code(), Some(1), "{in_use:?}");
    assert!(in_use.stderr.contains(&port), "{}", in_use.stderr);

    let no_folder = Launch::local()
        .file("plain", "")
        .set("TRANSCRIPTS_DIR", "plain/below")
        .run()
        .await;
    assert_eq!(no_folder.status.code(), Some(1), "{no_folder:?}");
    assert!(
        no_folder.stderr.contains("TRANSCRIPTS_DIR"),
        "{}",
        no_folder.stderr
    );
    for ended in [in_use, no_folder] {
        assert_eq!(ended.stdout, "");
        assert!(!ended.stderr.contains("panicked") && !ended.stderr.contains("stack backtrace"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let limit = async |launch: Launch| {
        let esther = launch.start().await;
        let limit = esther.json("/status").await["maxCalls"].clone();
        esther.stop().await.went_well();
        limit
    };
    let file = || Launch::local().file(".env", "MAX_CALLS=3\n");
    let environment = || file().set("MAX_CALLS", "5");
    let (all, two, one, none) = tokio::join!(
        limit(environment().arg("--max-calls=7")),
        limit(environment()),
        limit(file()),
        limit(Launch::local().set("MAX_CALLS", "")),
    );
    assert_eq!(
        [all, two, one, none],
        [json!(7), json!(5), json!(3), json!(200)]
    );
    let esther = file()
        .arg("serve")
        .arg("--max-calls")
        .arg("9")
        .start()
        .await;
    assert_eq!(esther.json("/status").await["maxCalls"], 9);
    esther.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn transcripts_go_where_they_are_wanted() {
    let launch = Launch::local();
    let folder = launch.path().join("deep/er");
    let esther = launch
        .set("TRANSCRIPTS_DIR", folder.to_str().expect("plain"))
        .start()
        .await;
    let call = esther
        .carrier()
        .place_inbound(inbound())
        .await
        .expect("an NCCO");
    until("the file", async || {
        std::fs::read_dir(&folder).ok()?.next().map(drop)
    })
    .await;
    call.hang_up();
    call.ended().await;
    esther.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_limit_callers_hear_a_polite_sentence() {
    let esther = Launch::local().set("MAX_CALLS", "1").start().await;
    full_after_one(&esther).await;
    esther.stop().await.went_well();
}

/// Checks that there is room for one call, and again once it is over.
pub(crate) async fn full_after_one(esther: &Esther) {
    let carrier = crate::nova::carrier(esther);
    let first = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert_eq!(first.ncco()[0]["action"], "connect");
    assert!(
        first
            .wait_heard(std::time::Duration::from_millis(200))
            .await
    );
    for call in [inbound(), inbound().by_get()] {
        let second = carrier.place_inbound(call).await.expect("an NCCO");
        let flow = second.ncco();
        assert_eq!(items(&flow).len(), 1, "{flow}");
        assert_eq!(flow[0]["action"], "talk");
        let sentence = flow[0]["text"].as_str().unwrap_or_default();
        assert!(sentence.contains("busy"), "{sentence}");
        second.ended().await;
        assert_eq!(second.connections(), 0);
    }
    let channel = esther.post("/channels").await;
    channel.is_problem(503);
    assert!(
        channel.header("retry-after").parse::<u32>().is_ok(),
        "{channel:?}"
    );
    first.hang_up();
    first.ended().await;
    esther.idle().await;
    let third = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert_eq!(third.ncco()[0]["action"], "connect");
    assert!(
        third
            .wait_heard(std::time::Duration::from_millis(200))
            .await
    );
    third.hang_up();
    third.ended().await;
    esther.idle().await;
    assert_eq!(carrier.violations(), []);
}

/// Callers come at once; each must hear either the agent or the sentence.
#[tokio::test(flavor = "multi_thread")]
async fn a_rush_of_callers_gets_no_more_lines_than_there_are() {
    let esther = Launch::local().set("MAX_CALLS", "2").start().await;
    let carrier = esther.carrier();
    let rush = (0..6).map(|_| carrier.place_inbound(inbound()));
    let calls = futures::future::join_all(rush).await;
    let calls: Vec<_> = calls
        .into_iter()
        .map(|call| call.expect("an NCCO"))
        .collect();
    let (connected, turned_away): (Vec<_>, Vec<_>) = calls
        .iter()
        .partition(|call| call.ncco()[0]["action"] == "connect");
    for call in &connected {
        let heard = call.wait_heard(std::time::Duration::from_millis(500)).await;
        assert!(
            heard,
            "a line that was promised is there: {:?}",
            call.closes()
        );
    }
    assert_eq!((connected.len(), turned_away.len()), (2, 4));
    drop(calls);
    esther.idle().await;
    let next = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(next.wait_heard(std::time::Duration::from_millis(200)).await);
    drop(next);
    assert_eq!(carrier.violations(), []);
    esther.stop().await.went_well();
}
