//! The shapes of what the API says: calls, events, channels, problems.

use std::{collections::BTreeMap, time::Duration};

use novavoice::{audio::SampleRate, testkit::vonage::speech};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    documents::check_metrics,
    follower::{Event, Follower},
    nova::items,
    service::{CALLER, Launch, inbound, soon},
    softphone::{Softphone, text},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_can_be_watched_from_its_beginning_to_its_end() {
    let esther = Launch::local().start().await;
    let call = esther
        .carrier()
        .place_inbound(inbound())
        .await
        .expect("an NCCO");
    let uuid = call.uuid().to_owned();
    assert!(call.wait_heard(Duration::from_millis(200)).await);
    let follower = Follower::of(&esther, &uuid, None).await;

    let active = esther.json("/calls/active").await;
    assert_eq!(
        active.as_object().map(serde_json::Map::len),
        Some(1),
        "{active}"
    );
    let one = &active["activeCalls"][0];
    assert_eq!(items(&active["activeCalls"]).len(), 1);
    assert_eq!(
        (&one["id"], &one["status"]),
        (&json!(uuid), &json!("in_progress"))
    );
    assert!(
        one["duration"]
            .as_f64()
            .is_some_and(|seconds| (0.0..60.0).contains(&seconds)),
        "{one}"
    );
    let channels = esther.json("/channels").await;
    assert_eq!(
        channels,
        json!({"channels": [{"id": uuid, "clientCount": 1, "active": true}]})
    );
    let record = esther.json(&format!("/calls/{uuid}")).await;
    assert_eq!(record["call_uuid"], uuid);
    assert_eq!(
        (&record["status"], &record["direction"]),
        (&json!("in_progress"), &json!("inbound"))
    );
    assert_eq!(record["phone_number"], CALLER);

    call.say(speech(Duration::from_secs(1), SampleRate::Hz16000));
    follower.lines(3).await;
    let late = Follower::of(&esther, &uuid, Some(1)).await;
    late.lines(2).await;
    call.hang_up();
    soon(call.ended()).await;
    assert_eq!(call.violations(), []);
    let (whole, rest) = (follower.over().await, late.over().await);
    check_events(&whole.events);
    let lines = whole.named("utterance");
    assert_eq!(
        rest.named("utterance"),
        lines[1..],
        "from after the last that was seen"
    );
    assert_eq!(rest.named("ended"), whole.named("ended"));
    let after = Follower::of(&esther, &uuid, Some(2)).await.over().await;
    assert_eq!(
        after.named("utterance"),
        lines[2..],
        "also when the call is over"
    );
    let names: Vec<_> = after
        .events
        .iter()
        .map(|event| event.name.as_str())
        .collect();
    assert_eq!(names.last(), Some(&"ended"));

    esther.idle().await;
    assert_eq!(
        esther.json("/calls/active").await,
        json!({"activeCalls": []})
    );
    assert_eq!(esther.json("/channels").await, json!({"channels": []}));
    let record = esther.json(&format!("/calls/{uuid}")).await;
    assert_eq!(
        items(&record["utterances"]).iter().collect::<Vec<_>>(),
        lines
    );
    assert_eq!(
        record["duration_seconds"],
        whole.named("ended")[0]["duration"]
    );
    check_metrics(&esther).await;
    esther.stop().await.went_well();
}

/// Shapes, order and numbers of a call's events.
fn check_events(events: &[Event]) {
    let members: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("caption", &["speaker", "text"][..]),
        ("utterance", &["at", "cut", "seq", "speaker", "text"]),
        ("state", &["new", "old"]),
        ("ended", &["duration", "outcome", "status"]),
    ]);
    let (mut seq, mut state) = (0, Value::Null);
    for event in events {
        let mut own: Vec<_> = event.data.as_object().expect("an object").keys().collect();
        own.sort();
        assert_eq!(own, members[event.name.as_str()], "{event:?}");
        match event.name.as_str() {
            "utterance" => {
                seq += 1;
                assert_eq!(event.data["seq"], seq, "without gaps");
                assert_eq!(event.id, Some(seq.to_string()));
                assert!(
                    event.data["at"]
                        .as_str()
                        .is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok())
                );
            }
            "state" => {
                assert!(
                    state.is_null() || state == event.data["old"],
                    "{state} then {event:?}"
                );
                state = event.data["new"].clone();
            }
            _ => {}
        }
        if let Some(speaker) = event.data.get("speaker") {
            assert!(speaker == "Human" || speaker == "Assistant", "{event:?}");
        }
    }
    for name in members.keys() {
        assert!(events.iter().any(|event| event.name == *name), "no {name}");
    }
    let last = events.last().expect("some");
    assert_eq!(last.name, "ended");
    assert_eq!(
        (&last.data["status"], &last.data["outcome"]),
        (&json!("completed"), &json!("completed"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_listed_newest_first_and_page_by_page() {
    let esther = Launch::local().start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let phone = Softphone::call(&esther, "", 640).await;
        phone
            .until("the greeting", 0, text("ASSISTANT", "Hello"))
            .await;
        ids.insert(0, phone.id.clone());
        drop(phone);
    }
    esther.idle().await;
    let list = |page: &Value| -> Vec<String> {
        let ids = items(&page["calls"])
            .iter()
            .map(|call| call["call_uuid"].as_str());
        ids.map(|id| id.expect("an id").to_owned()).collect()
    };
    let all = esther.json("/calls").await;
    assert_eq!(list(&all), ids);
    assert_eq!(all["next"], Value::Null);
    let first = esther.json("/calls?limit=2").await;
    assert_eq!(list(&first), ids[..2]);
    let next = first["next"].as_str().expect("a cursor");
    let second = esther.json(&format!("/calls?limit=2&cursor={next}")).await;
    assert_eq!(
        (list(&second), &second["next"]),
        (ids[2..].to_vec(), &Value::Null)
    );
    esther.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_problems_and_secrets_are_never_repeated() {
    let esther = Launch::local().set("RUST_LOG", "debug").start().await;
    for (method, path, status) in [
        ("GET", "/nowhere", 404),
        ("GET", "/calls/nobody", 404),
        ("GET", "/calls/%ff", 400),
        ("GET", "/calls/nobody/events", 404),
        ("POST", "/calls/nobody/hangup", 404),
        ("GET", "/calls?limit=none", 400),
        ("GET", "/calls?cursor=-1", 400),
        ("DELETE", "/calls", 405),
        ("POST", "/health", 405),
        ("GET", "/socket", 403),
    ] {
        Answer::to(esther.request(method, path))
            .await
            .is_problem(status);
    }
    assert!(
        !Answer::to(esther.request("DELETE", "/calls"))
            .await
            .header("allow")
            .is_empty()
    );

    let configure = async |kind: &str, body: String| {
        let request = esther
            .request("POST", "/configure")
            .header("content-type", kind);
        Answer::to(request.body(body)).await
    };
    let secret = "never-say-this-again";
    let account = json!({"apiKey": secret, "apiSecret": secret, "fromNumber": "12125550101"});
    for (kind, body, status) in [
        (
            "application/json",
            format!("{{\"apiSecret\":\"{secret}\""),
            400,
        ),
        ("application/json", format!("[\"{secret}\"]"), 422),
        (
            "application/json",
            format!("{{\"apiKey\":\"{secret}\"}}"),
            422,
        ),
        (
            "application/json",
            format!("{{\"apiKey\":\"{secret}\",\"apiSecret\":17}}"),
            422,
        ),
        (
            "application/json",
            json!({"apiKey": "a", "apiSecret": "b", "privateKey": secret}).to_string(),
            422,
        ),
        ("application/json", " ".repeat(70 * 1024), 413),
        // Not one of them breaks off before it is answered.
        ("application/json", " ".repeat(900 * 1024), 413),
        ("application/json", " ".repeat(900 * 1024), 413),
        ("application/json", " ".repeat(900 * 1024), 413),
        ("text/plain", account.to_string(), 415),
    ] {
        let answer = configure(kind, body).await;
        answer.is_problem(status);
        assert!(!answer.body.contains(secret), "{answer:?}");
    }
    assert_eq!(
        esther.json("/configure").await,
        json!({"configured": false})
    );
    let answer = configure("application/json", account.to_string()).await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"success": true, "configured": true}))
    );
    assert_eq!(esther.json("/configure").await, json!({"configured": true}));
    for path in ["/status", "/metrics", "/calls", "/channels"] {
        assert!(!esther.get(path).await.body.contains(secret), "{path}");
    }
    let home = std::sync::Arc::clone(&esther.home);
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&[secret, "12125550101"]);
    let mut folders = vec![home.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let bytes = std::fs::read(&path).expect("readable");
                    assert!(
                        !String::from_utf8_lossy(&bytes).contains(secret),
                        "{}",
                        path.display()
                    );
                }
            }
        }
    }
}
