//! The commands that look things up, load them, and check what is there.

use std::{path::Path, sync::Arc};

use novavoice::audio::SampleRate;
use novavoice::testkit::vonage::speech;
use serde_json::Value;

use crate::{
    dynamo::Server,
    follower::Follower,
    service::{Ended, Launch, inbound, soon},
};

/// The leads that come with the example.
pub(crate) fn sample() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("examples/esther/leads/sample.csv");
    file.to_str().expect("a plain path").to_owned()
}

fn sqlite() -> Launch {
    Launch::local()
        .set("CALL_STORE", "sqlite")
        .set("LEAD_STORE", "sqlite")
}

#[track_caller]
fn code(ended: &Ended, code: i32) {
    assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_are_loaded_listed_shown_and_written_out() {
    let launch = sqlite().file(
        "more.csv",
        "phone,name,choir size,unread_by_owner\n\
         (212) 555-0100,Pastor G. Harlow,40,no\n\
         nobody,No Number,,\n\
         +1 303 555 0177,Pastor New,,perhaps\n\
         +1 303 555 0178,Pastor New,,yes\n",
    );
    let home = launch.home_of();
    let run = async |arguments: &[&str]| {
        let launch = sqlite().home(&home).args(arguments.iter().copied());
        launch.run().await
    };
    let dry = run(&["leads", "import", "--dry-run", &sample()]).await;
    code(&dry, 0);
    assert!(dry.stdout.contains("24 would be new"), "{}", dry.stdout);
    let none = run(&["leads", "list", "--json"]).await;
    code(&none, 0);
    assert_eq!(none.stdout, "");
    let first = run(&["leads", "import", &sample()]).await;
    code(&first, 0);
    assert!(first.stdout.contains("24 rows: 24 new"), "{}", first.stdout);
    let again = run(&["leads", "import", &sample(), "more.csv"]).await;
    code(&again, 0);
    assert!(
        again
            .stdout
            .contains("28 rows: 1 new, 1 changed, 24 as before, 2 refused"),
        "{}",
        again.stdout
    );
    for line in ["more.csv:3:", "more.csv:4:"] {
        assert!(again.stderr.contains(line), "{}", again.stderr);
    }

    let list = run(&["leads", "list", "--json", "--owner-alias", "mike"]).await;
    code(&list, 0);
    let leads: Vec<Value> = list.stdout.lines().map(parsed).collect();
    assert_eq!(leads.len(), 8);
    assert!(leads.iter().all(|lead| lead["owner_alias"] == "mike"));
    let two = run(&["leads", "list", "--limit", "2"]).await;
    assert_eq!(two.stdout.lines().count(), 3, "{}", two.stdout);

    let show = run(&["leads", "show", "--json", "2125550100"]).await;
    code(&show, 0);
    let lead = parsed(&show.stdout);
    assert_eq!(lead["phone"], "+1 (212) 555-0100");
    assert_eq!(lead["name"], "Pastor G. Harlow");
    assert_eq!(lead["choir size"], "40", "a field that nobody knows");
    assert_eq!(lead["unread_by_owner"], false);
    assert_eq!(
        lead["company"], "Chapel Hill Community Church",
        "an empty cell erases nothing"
    );

    let export = run(&["leads", "export", "--output", "out.csv"]).await;
    code(&export, 0);
    let text = std::fs::read_to_string(home.path().join("out.csv")).expect("a file");
    assert_eq!(text.lines().count(), 26);
    assert!(
        text.lines()
            .next()
            .is_some_and(|names| names.contains("choir size"))
    );
    let back = run(&["leads", "import", "out.csv"]).await;
    code(&back, 0);
    assert!(back.stdout.contains("25 as before"), "{}", back.stdout);

    let nobody = run(&["leads", "show", "2125550199"]).await;
    code(&nobody, 1);
    assert!(nobody.stderr.starts_with("error: "), "{}", nobody.stderr);
    code(&run(&["leads", "import", "missing.csv"]).await, 1);
    for wrong in [
        &["leads"][..],
        &["leads", "import"],
        &["leads", "show", "nobody"],
        &["leads", "list", "--limit", "0"],
        &["calls", "show"],
        &["calls", "list", "--phone", "nobody"],
        &["no-such-command"],
    ] {
        code(&run(wrong).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_listed_and_shown_while_the_service_runs() {
    let esther = sqlite().start().await;
    let home = Arc::clone(&esther.home);
    let run = async |arguments: &[&str]| {
        let launch = sqlite().home(&home).args(arguments.iter().copied());
        launch.run().await
    };
    let empty = run(&["calls", "list", "--json"]).await;
    code(&empty, 0);
    assert_eq!(empty.stdout, "");
    let call = esther
        .carrier()
        .place_inbound(inbound())
        .await
        .expect("an NCCO");
    let uuid = call.uuid().to_owned();
    assert!(call.wait_heard(std::time::Duration::from_millis(200)).await);
    let follower = Follower::of(&esther, &uuid, None).await;
    call.say(speech(
        std::time::Duration::from_secs(1),
        SampleRate::Hz16000,
    ));
    follower.lines(2).await;
    let live = run(&["calls", "list", "--json", "--live"]).await;
    assert_eq!(parsed(&live.stdout)["call_uuid"], uuid);
    call.hang_up();
    soon(call.ended()).await;
    let stream = follower.over().await;
    let show = run(&["calls", "show", "--json", &uuid]).await;
    code(&show, 0);
    let shown = parsed(&show.stdout);
    let lines: Vec<_> = stream.named("utterance").into_iter().cloned().collect();
    assert_eq!(shown["utterances"], Value::Array(lines.clone()));
    assert_eq!(shown["status"], "completed");
    let text = run(&["calls", "show", &uuid]).await;
    let words = lines[0]["text"].as_str().expect("text");
    assert!(text.stdout.contains(words), "{}", text.stdout);
    let table = run(&["calls", "list", "--search", words]).await;
    assert!(table.stdout.contains(&uuid), "{}", table.stdout);
    let none = run(&["calls", "list", "--json", "--search", "xylophone"]).await;
    assert_eq!(none.stdout, "");
    code(&run(&["calls", "show", "nobody"]).await, 1);
    esther.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_is_missing_and_how_it_is_mended() {
    let bare = sqlite().arg("check").run().await;
    code(&bare, 1);
    for (item, words) in [
        ("configuration", "ok"),
        ("stores", "ok: calls in SQLite"),
        ("calendar", "ok: the embedded one"),
        ("mail server", "warning: SMTP_URL is not set"),
        ("Vonage account", "missing: set VONAGE_API_KEY"),
        ("Vonage signature", "warning"),
        ("public URL", "warning"),
    ] {
        let line = line(&bare, item);
        assert!(line.contains(words), "{line}");
    }

    let server = Server::start();
    let size = rcgen::RsaKeySize::_2048;
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
    let key = key.expect("a key").serialize_pem();
    let whole = || {
        Launch::local()
            .set("AWS_ENDPOINT_URL_DYNAMODB", server.url())
            .set("CALL_RECORDS_TABLE", server.table("calls"))
            .set("LEADS_TABLE", server.table("leads"))
            .set("STATE_TABLE", server.table("state"))
            .set("VONAGE_API_KEY", "a1b2c3d4")
            .set("VONAGE_API_SECRET", "a-secret")
            .set("VONAGE_SIGNATURE_SECRET", "another-secret")
            .set("VONAGE_APPLICATION_ID", crate::nova::APPLICATION)
            .set("VONAGE_FROM_NUMBER", "12125550100")
            .set("VONAGE_PRIVATE_KEY", &key)
            .set("PUBLIC_URL", "https://esther.example.org")
            .arg("check")
    };
    let before = whole().run().await;
    code(&before, 1);
    for table in ["calls", "leads", "state"] {
        let line = line(&before, &format!("table {}", server.table(table)));
        assert!(line.contains("missing: it is missing") && line.contains("--create-tables"));
    }
    before.says_nothing_of(&["a-secret", "another-secret", "BEGIN PRIVATE"]);
    let made = whole().arg("--create-tables").run().await;
    code(&made, 0);
    let after = whole().run().await;
    code(&after, 0);
    assert!(!after.stdout.contains("missing:"), "{}", after.stdout);
}

#[track_caller]
fn line<'e>(ended: &'e Ended, item: &str) -> &'e str {
    let found = ended.stdout.lines().find(|line| line.starts_with(item));
    found.unwrap_or_else(|| panic!("no line about {item}: {}", ended.stdout))
}

#[track_caller]
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
