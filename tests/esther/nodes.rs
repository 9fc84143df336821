//! Two processes on the same tables behave as one service.

use std::fs;

use serde_json::json;

use crate::{
    answer::Answer,
    dynamo::Server,
    outbound::Carrier,
    service::{Esther, Launch},
    softphone::connect,
};

/// A process on tables of this server.
fn on(server: &Server, launch: Launch) -> Launch {
    launch
        .set("ESTHER_API_TOKEN", TOKEN)
        .set("AWS_ENDPOINT_URL_DYNAMODB", server.url())
        .set("CALL_RECORDS_TABLE", server.table("calls"))
        .set("LEADS_TABLE", server.table("leads"))
        .set("STATE_TABLE", server.table("state"))
}

async fn post(esther: &Esther, path: &str, body: &serde_json::Value) -> Answer {
    let request = esther.request("POST", path).bearer_auth(TOKEN);
    Answer::to(request.json(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_spent_on_one_node_opens_nothing_on_another() {
    let server = Server::start();
    let one = on(&server, Launch::local()).start().await;
    let two = on(&server, Launch::local()).start().await;
    let channel = post(&one, "/channels", &json!({})).await.json();
    let path = format!(
        "/socket?channel={}&token={}",
        channel["id"].as_str().expect("an id"),
        channel["token"].as_str().expect("a token"),
    );
    let url = |esther: &Esther| esther.url(&path).replace("http", "ws");
    drop(connect(url(&one)).await.expect("a fresh one"));
    assert_eq!(connect(url(&two)).await.err(), Some(403), "spent elsewhere");
    assert_eq!(connect(url(&one)).await.err(), Some(403), "spent here");
    let channel = post(&one, "/channels", &json!({})).await.json();
    let path = format!(
        "/socket?channel={}&token={}",
        channel["id"].as_str().expect("an id"),
        channel["token"].as_str().expect("a token"),
    );
    let url = two.url(&path).replace("http", "ws");
    drop(connect(url).await.expect("any node takes a fresh one"));
    one.stop().await.went_well();
    two.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_by_hand_keep_the_rate_of_the_account_over_all_nodes() {
    let server = Server::start();
    let carrier = Carrier::start().await;
    let one = on(&server, carrier.launch()).start().await;
    let two = on(&server, carrier.launch()).start().await;
    let calls = (0..12).map(|nth| {
        let to = format!("+1212555{:04}", 110 + nth);
        let body = json!({"to": to, "message": "Hello.", "override": true});
        let esther = if nth % 2 == 0 { &one } else { &two };
        async move { post(esther, "/call/simple", &body).await }
    });
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(carrier.rest.placed(), 12);
    // It counts for itself, and would have said so.
    assert_eq!(carrier.carrier.violations(), []);
    one.stop().await.went_well();
    two.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_changed_keeps_us_from_calling_and_nobody_from_calling_us() {
    let carrier = Carrier::start().await;
    let launch = || {
        carrier
            .launch()
            .set("LEAD_STORE", "sqlite")
            .set("CALL_STORE", "sqlite")
    };
    let damaged = launch();
    let home = damaged.home_of();
    fs::create_dir(home.path().join("data")).expect("a folder");
    fs::write(home.path().join("data/decisions.jsonl"), "{}\n").expect("a file");
    let esther = damaged.start().await;
    let ready = esther.json("/ready").await;
    let why = ready["dialling"].as_str().expect("it is told");
    assert!(why.contains("nobody is called"), "{why}");
    let status = esther.json("/status").await;
    let why = status["dialling"].as_str().expect("it is told");
    assert!(why.contains("decisions.jsonl"), "{why}");
    let body = json!({"to": "+12125550101", "message": "Hello.", "override": true});
    let answer = post(&esther, "/call/simple", &body).await;
    answer.is_problem(409);
    assert_eq!(answer.json()["reasons"], json!(["unverified"]));
    assert_eq!(carrier.rest.placed(), 0);
    let answered = esther.get("/channels").await;
    assert_eq!(answered.status, 200);
    let ended = esther.stop().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stderr.contains("nobody is called from here"));
    let check = launch().home(&home).arg("check").run().await;
    let line = check
        .stdout
        .lines()
        .find(|it| it.starts_with("log of decisions"));
    assert!(
        line.is_some_and(|it| it.contains("missing: nobody is called")),
        "{check:?}"
    );
    // The file is kept as it was found.
    let kept = fs::read_to_string(home.path().join("data/decisions.jsonl"));
    assert_eq!(kept.expect("it is there"), "{}\n");
}

const TOKEN: &str = "a-token-of-two-nodes";
