//! Calls and leads in their stores: across restarts, deaths and nodes.

use std::{slice::from_ref, sync::Arc, time::Duration};

use novavoice::audio::SampleRate;
use novavoice::testkit::vonage::{Call, InboundCall, speech};
use serde_json::{Value, json};

use crate::{
    commands::sample,
    dynamo::Server,
    follower::Follower,
    nova::items,
    service::{CALLED, CALLER, Esther, Launch, soon, until},
    softphone::{Softphone, reply_end, text},
    transcript::Transcript,
};

/// In the sample: Pastor Grace Harlow of the Chapel Hill Community Church.
const LEAD: &str = "12125550100";

fn sqlite() -> Launch {
    Launch::local()
        .set("CALL_STORE", "sqlite")
        .set("LEAD_STORE", "sqlite")
}

/// A process on tables of this server.
pub(crate) fn on(server: &Server) -> Launch {
    Launch::local()
        .set("AWS_ENDPOINT_URL_DYNAMODB", server.url())
        .set("CALL_RECORDS_TABLE", server.table("calls"))
        .set("LEADS_TABLE", server.table("leads"))
        .set("STATE_TABLE", server.table("state"))
}

/// A call of this person, with some words from both sides.
async fn talk(esther: &Esther, from: &str) -> (Call, Follower) {
    let caller = InboundCall::new(from, CALLED);
    let call = esther
        .carrier()
        .place_inbound(caller)
        .await
        .expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(200)).await);
    let follower = Follower::of(esther, call.uuid(), None).await;
    call.say(speech(Duration::from_secs(1), SampleRate::Hz16000));
    follower.lines(3).await;
    (call, follower)
}

async fn hang_up(call: Call, follower: &Follower) -> Vec<Value> {
    call.hang_up();
    soon(call.ended()).await;
    let stream = follower.over().await;
    stream.named("utterance").into_iter().cloned().collect()
}

/// Waits until the lead tells of the call.
async fn lead_that_was_called(esther: &Esther, phone: &str) -> Value {
    until("the result at the lead", async || {
        let lead = esther.json(&format!("/leads/{phone}")).await;
        (lead["call_status"] == "called").then_some(lead)
    })
    .await
}

async fn check_result(esther: &Esther, lines: &[Value]) {
    let lead = lead_that_was_called(esther, LEAD).await;
    assert_eq!(lead["phone"], "+1 (212) 555-0100");
    assert_eq!(lead["company"], "Chapel Hill Community Church", "untouched");
    let words = lead["call_transcript"].as_str().expect("the words");
    for line in lines {
        assert!(
            words.contains(line["text"].as_str().expect("text")),
            "{words}"
        );
    }
    let date = lead["last_call_date"].as_str().expect("a date");
    assert!(date.parse::<jiff::Timestamp>().is_ok(), "{date}");
}

async fn listed(esther: &Esther, query: &str) -> Vec<String> {
    let page = esther.json(&format!("/calls?{query}")).await;
    let calls = items(&page["calls"]).iter();
    calls
        .map(|call| call["call_uuid"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_its_process_and_tells_the_lead() {
    let first = sqlite();
    let home = first.home_of();
    let imported = sqlite()
        .home(&home)
        .args(["leads", "import", &sample()])
        .run()
        .await;
    assert_eq!(imported.status.code(), Some(0), "{}", imported.stderr);
    let esther = first.start().await;
    let (call, follower) = talk(&esther, LEAD).await;
    let uuid = call.uuid().to_owned();
    assert_eq!(listed(&esther, "status=in_progress").await, from_ref(&uuid));
    let lines = hang_up(call, &follower).await;
    check_result(&esther, &lines).await;
    let (stranger, other) = talk(&esther, CALLER).await;
    let second = stranger.uuid().to_owned();
    hang_up(stranger, &other).await;
    esther.idle().await;
    esther.stop().await.went_well();

    let next = sqlite().home(&home).start().await;
    assert_eq!(listed(&next, "").await, [second.clone(), uuid.clone()]);
    assert_eq!(listed(&next, "limit=1").await, [second]);
    assert_eq!(
        listed(&next, &format!("phone=%2B{LEAD}")).await,
        from_ref(&uuid)
    );
    assert_eq!(listed(&next, "q=xylophone").await, Vec::<String>::new());
    let words = lines[0]["text"].as_str().expect("text").replace(' ', "+");
    assert_eq!(listed(&next, &format!("q={words}")).await.len(), 2);
    let record = next.json(&format!("/calls/{uuid}")).await;
    assert_eq!(record["utterances"], json!(lines));
    assert_eq!(record["status"], "completed");
    assert_eq!(record["owner_alias"], "mike");
    assert!(record["reply_count"].as_u64().is_some(), "{record}");
    let file = next.transcript(&uuid);
    assert!(
        record["md_file_path"]
            .as_str()
            .is_some_and(|path| path.ends_with(&file.name)),
        "{record}"
    );
    // Followed from the store: the process that carried it is gone.
    let events = Follower::of(&next, &uuid, Some(1)).await.over().await;
    let told: Vec<_> = events.named("utterance").into_iter().cloned().collect();
    assert_eq!(told, lines[1..]);
    assert_eq!(events.named("ended").len(), 1);
    assert_eq!(next.json("/calls/active").await, json!({"activeCalls": []}));
    next.stop().await.went_well();
}

/// What a call that a kill cut short looks like afterwards.
async fn check_abandoned(next: &Esther, uuid: &str) {
    let file = Transcript::find(&next.home.path().join("transcripts"), uuid);
    let kept = file.record.expect("the file is closed");
    let record = until("the record of the dead call", async || {
        let record = next.json(&format!("/calls/{uuid}")).await;
        (record["status"] == "abandoned").then_some(record)
    })
    .await;
    for member in ["outcome", "utterances"] {
        assert_eq!(record[member], kept[member], "{member}");
    }
    assert!(
        record["prompt_version"].is_string(),
        "known from the start: {record}"
    );
    assert_eq!(next.json("/calls/active").await, json!({"activeCalls": []}));
}

async fn killed_in_a_call(esther: Esther) -> String {
    let phone = Softphone::call(&esther, "", 640).await;
    phone
        .until("the greeting", 0, text("ASSISTANT", "Hello"))
        .await;
    let follower = Follower::of(&esther, &phone.id, None).await;
    let next = phone.hears(Duration::from_millis(1_600), 0).await;
    phone.say(Duration::from_millis(700)).await;
    phone
        .until("an interruption", next, reply_end("INTERRUPTED"))
        .await;
    follower.lines(2).await;
    esther.signal("KILL").await;
    esther.ended().await;
    phone.id.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_start_closes_the_calls_of_a_dead_process_in_the_store_as_well() {
    let esther = sqlite().start().await;
    let home = Arc::clone(&esther.home);
    let uuid = killed_in_a_call(esther).await;
    let next = sqlite().home(&home).start().await;
    check_abandoned(&next, &uuid).await;
    next.stop().await.went_well();

    let server = Server::start();
    let esther = on(&server).start().await;
    let home = Arc::clone(&esther.home);
    let uuid = killed_in_a_call(esther).await;
    let next = on(&server).home(&home).start().await;
    check_abandoned(&next, &uuid).await;
    next.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_show_each_others_calls() {
    let server = Server::start();
    let imported = on(&server).args(["leads", "import", &sample()]).run().await;
    assert_eq!(imported.status.code(), Some(0), "{}", imported.stderr);
    let (one, other) = (on(&server).start().await, on(&server).start().await);
    let (call, here) = talk(&one, LEAD).await;
    let uuid = call.uuid().to_owned();
    until("the call at the other node", async || {
        let active = other.json("/calls/active").await;
        let active = items(&active["activeCalls"]);
        active.iter().any(|call| call["id"] == uuid).then_some(())
    })
    .await;
    let there = Follower::of(&other, &uuid, None).await;
    there.lines(3).await;
    let late = Follower::of(&other, &uuid, Some(2)).await;
    let lines = hang_up(call, &here).await;
    let followed = there.over().await;
    let told: Vec<_> = followed.named("utterance").into_iter().cloned().collect();
    assert_eq!(told, lines, "the same lines in the same order");
    assert_eq!(followed.named("ended"), here.now().named("ended"));
    let rest = late.over().await;
    let rest: Vec<_> = rest.named("utterance").into_iter().cloned().collect();
    assert_eq!(rest, lines[2..]);

    check_result(&other, &lines).await;
    let record = other.json(&format!("/calls/{uuid}")).await;
    assert_eq!(record["utterances"], json!(lines));
    let found = until("the words in the store", async || {
        let found = listed(&other, &format!("phone={LEAD}&q=hello")).await;
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(found, from_ref(&uuid));
    let nobody = other.get("/calls/nobody/events").await;
    nobody.is_problem(404);

    let path = format!("/leads/{LEAD}");
    let lead = other.get(&path).await;
    let tag = lead.header("etag").to_owned();
    let change = |esther: &Esther, tag: &str, name: &str| {
        let request = esther.request("PATCH", &path).header("if-match", tag);
        crate::answer::Answer::to(request.json(&json!({ "name": name })))
    };
    let changed = change(&one, &tag, "Pastor G. Harlow").await;
    assert_eq!(changed.status, 200, "{changed:?}");
    change(&other, &tag, "somebody else").await.is_problem(412);
    let lead = other.json(&path).await;
    assert_eq!(lead["name"], "Pastor G. Harlow");
    assert_eq!(lead["call_status"], "called");
    one.stop().await.went_well();
    other.stop().await.went_well();
}

/// Nothing listens at the store's address: calls go on, and what is said is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_keeps_nobody_from_talking() {
    let esther = Launch::local()
        .set("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
        .start()
        .await;
    let home = Arc::clone(&esther.home);
    let (call, follower) = talk(&esther, CALLER).await;
    let uuid = call.uuid().to_owned();
    let lines = hang_up(call, &follower).await;
    let record = esther.json(&format!("/calls/{uuid}")).await;
    assert_eq!(
        record["utterances"],
        json!(lines),
        "as this process knows it"
    );
    let away = esther.get("/calls").await;
    away.is_problem(503);
    assert!(!away.header("retry-after").is_empty());
    assert!(esther.metric("esther_spool_waiting").await > 0.0);
    let stopped = esther.stop().await;
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);

    // The store is back at another address; the next process hands on what waits.
    let server = Server::start();
    let next = on(&server).home(&home).start().await;
    until("the call in the store", async || {
        let found = listed(&next, "").await;
        (found == [uuid.clone()]).then_some(())
    })
    .await;
    until("its last line", async || {
        let record = next.json(&format!("/calls/{uuid}")).await;
        (record["utterances"] == json!(lines) && record["status"] == "completed").then_some(())
    })
    .await;
    next.stop().await.went_well();
}

/// Sums come from the store, whichever it is.
#[tokio::test(flavor = "multi_thread")]
async fn calls_are_summed_up_by_either_store() {
    let server = Server::start();
    for launch in [sqlite(), on(&server)] {
        let esther = launch.start().await;
        let none = esther.json("/calls/totals").await;
        assert_eq!(none["totals"][0]["calls"], 0, "{none}");
        let (call, follower) = talk(&esther, CALLER).await;
        hang_up(call, &follower).await;
        let sums = until("the sums", async || {
            let sums = esther.json("/calls/totals").await;
            (sums["totals"][0]["statuses"]["completed"] == 1).then_some(sums)
        })
        .await;
        let all = &sums["totals"][0];
        assert_eq!((&sums["by"], &all["group"]), (&json!("all"), &json!("all")));
        assert_eq!((&all["calls"], &sums["unreadable"]), (&json!(1), &json!(0)));
        assert_eq!(all["outcomes"], json!({"completed": 1}));
        assert_eq!(all["directions"], json!({"inbound": 1}));
        assert!(
            all["seconds"].as_f64().is_some_and(|seconds| seconds > 1.0),
            "{all}"
        );
        for member in ["usage", "cost_usd", "reply_count"] {
            assert!(!all[member].is_null(), "{member} in {all}");
        }
        let days = esther
            .json("/calls/totals?by=day&from=2026-01-01T00:00:00Z")
            .await;
        assert_eq!(items(&days["totals"]).len(), 1);
        let before = "/calls/totals?by=owner&to=2020-01-01T00:00:00Z";
        assert_eq!(esther.json(before).await["totals"], json!([]));
        for wrong in [
            "by=week",
            "from=today",
            "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        ] {
            let answer = esther.get(&format!("/calls/totals?{wrong}")).await;
            answer.is_problem(400);
        }
        esther.stop().await.went_well();
    }
}
