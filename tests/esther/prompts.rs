//! Versions of the prompt: what the model is told in the next call, on any node, and what the
//! records say of it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use novavoice::testkit::{
    bedrock::{Dialogue, Reply, SessionScript},
    vonage::{Call, Callee, InboundCall},
};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    campaigns::{created, finished, number, plan, steer, zone},
    commands::sample,
    dynamo::Server,
    follower::Follower,
    nova::{Nova, carrier, items},
    outbound::Carrier,
    records::on,
    service::{CALLED, Esther, Launch, soon, until},
};

/// In the sample: Pastor Grace Harlow.
const LEAD: &str = "12125550100";

fn greeting() -> SessionScript {
    SessionScript::converse(Dialogue::answering([Reply::of([("Good morning.", 600)])]))
}

async fn post(esther: &Esther, path: &str, body: &Value) -> Answer {
    Answer::to(esther.request("POST", path).json(body)).await
}

/// Saves a version with this system prompt, and gives its number.
async fn saved(esther: &Esther, system_prompt: &str) -> u64 {
    let answer = post(esther, "/prompts", &json!({"systemPrompt": system_prompt})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let number = answer.json()["version"].as_u64().expect("a number");
    assert_eq!(answer.header("location"), format!("/prompts/{number}"));
    number
}

async fn activate(esther: &Esther, number: u64) -> Value {
    let answer = esther.post(&format!("/prompts/{number}/activate")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// What the model of a session was told before anything else.
async fn told(nova: &Nova, session: usize) -> String {
    let session = soon(nova.bedrock.session(session)).await;
    soon(session.wait_until(|report| report.audio_events > 0)).await;
    let events = session.events();
    let system = events.iter().find_map(|event| {
        let start = &event["event"]["contentStart"];
        (start["role"] == "SYSTEM").then(|| start["contentName"].clone())
    });
    let system = system.expect("a system prompt");
    let texts = events.iter().map(|event| &event["event"]["textInput"]);
    let texts = texts.filter(|text| text["contentName"] == system);
    texts
        .map(|text| text["content"].as_str().expect("text"))
        .collect()
}

/// A whole call of the lead, and its id.
async fn call(esther: &Esther) -> String {
    let caller = InboundCall::new(LEAD, CALLED);
    let call = carrier(esther).place_inbound(caller).await;
    let call: Call = call.expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(200)).await);
    let follower = Follower::of(esther, call.uuid(), None).await;
    follower.lines(1).await;
    call.hang_up();
    soon(call.ended()).await;
    follower.over().await;
    call.uuid().to_owned()
}

/// The version in the record of a call and in its file, which is the same.
async fn version_of(esther: &Esther, uuid: &str) -> Value {
    let record = esther.json(&format!("/calls/{uuid}")).await;
    let file = esther.transcript(uuid).record.expect("it is closed");
    assert_eq!(file["prompt_version"], record["prompt_version"]);
    record["prompt_version"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_heard_from_the_next_call_on_and_taken_back() {
    let nova = Nova::start(greeting()).await;
    let home = nova.launch().home_of();
    let launch = || nova.launch().home(&home);
    let imported = launch().args(["leads", "import", &sample()]).run().await;
    assert_eq!(imported.status.code(), Some(0), "{}", imported.stderr);
    let esther = launch().start().await;
    let active = esther.json("/prompts/active").await;
    assert_eq!(
        (&active["version"], &active["active"]),
        (&json!(0), &json!(true))
    );
    let first = call(&esther).await;
    assert!(told(&nova, 0).await.contains("You are Esther"));
    assert_eq!(version_of(&esther, &first).await, "0");

    let wrong = json!({"systemPrompt": "Talk to\n {{lead.nmae}}.", "voicemail": "{{today"});
    let refused = post(&esther, "/prompts", &wrong).await;
    refused.is_problem(422);
    let problems = refused.json()["problems"].clone();
    let told_of = |at: usize| problems[at].as_str().expect("a sentence").to_owned();
    assert!(told_of(0).starts_with("systemPrompt, line 2, column 2: there is no {{lead.nmae}}"));
    assert!(told_of(0).contains("lead.name, lead.company"), "{problems}");
    assert!(
        told_of(1).starts_with("voicemail, line 1, column 1: "),
        "{problems}"
    );

    let words = "You sell apples to {{lead.name|somebody}} of {{lead.company|a church}}.";
    assert_eq!(saved(&esther, words).await, 1);
    let second = call(&esther).await;
    assert!(
        told(&nova, 1).await.contains("You are Esther"),
        "not active yet"
    );
    assert_eq!(version_of(&esther, &second).await, "0");
    assert_eq!(activate(&esther, 1).await["version"], 1);
    let third = call(&esther).await;
    let system = told(&nova, 2).await;
    let expected = "You sell apples to Pastor Grace Harlow of Chapel Hill Community Church.\n\n\
                    The caller rang us.";
    assert!(system.starts_with(expected), "{system}");
    assert_eq!(version_of(&esther, &third).await, "1");
    assert_eq!(
        version_of(&esther, &first).await,
        "0",
        "what was is as it was"
    );
    let listed = esther.json("/calls").await;
    let listed = items(&listed["calls"]).iter();
    let versions: Vec<_> = listed.map(|call| call["prompt_version"].clone()).collect();
    assert_eq!(versions, ["1", "0", "0"]);
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&["apples", "harlow", "chapel"]);

    let esther = launch().start().await;
    assert_eq!(esther.json("/prompts/active").await["version"], 1);
    let fourth = call(&esther).await;
    assert!(told(&nova, 3).await.contains("You sell apples"));
    assert_eq!(version_of(&esther, &fourth).await, "1");
    let back = post(
        &esther,
        "/prompts/rollback",
        &json!({"from": 1, "by": "Pat"}),
    )
    .await;
    assert_eq!(back.status, 200, "{back:?}");
    assert_eq!(
        (&back.json()["version"], &back.json()["by"]),
        (&json!(0), &json!("Pat"))
    );
    let again = post(&esther, "/prompts/rollback", &json!({"from": 1})).await;
    assert_eq!(
        again.json()["version"],
        0,
        "a repeated request goes back once"
    );
    esther.post("/prompts/rollback").await.is_problem(409);
    let fifth = call(&esther).await;
    assert!(told(&nova, 4).await.contains("You are Esther"));
    assert_eq!(version_of(&esther, &fifth).await, "0");
    nova.closed_by_the_book(5).await;
    esther.stop().await.went_well();
}

/// A process whose model is this Bedrock, whose carrier is this one, and whose stores are shared.
fn node(nova: &Nova, carrier: &Carrier, server: &Server) -> Launch {
    let environment = nova.environment().into_iter();
    environment
        .chain([
            ("SPEECH_MODEL", "nova-sonic".to_owned()),
            ("CALL_STORE", "dynamodb".to_owned()),
            ("LEAD_STORE", "dynamodb".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", server.url().to_owned()),
            ("CALL_RECORDS_TABLE", server.table("calls")),
            ("LEADS_TABLE", server.table("leads")),
            ("STATE_TABLE", server.table("state")),
        ])
        .fold(carrier.launch(), |launch, (name, value)| {
            launch.set(name, value)
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_keeps_to_its_version_on_every_node() {
    const LEADS: usize = 4;
    let (nova, carrier, server) = (
        Nova::start(greeting()).await,
        Carrier::start().await,
        Server::start(),
    );
    let rows = (0..LEADS).map(|lead| format!("+{},Pastor {lead},{}\n", number(lead), zone()));
    let table = format!("phone,name,time_zone\n{}", rows.collect::<String>());
    let launch = node(&nova, &carrier, &server).file("leads.csv", &table);
    let imported = launch.args(["leads", "import", "leads.csv"]).run().await;
    assert_eq!(imported.status.code(), Some(0), "{}", imported.stderr);
    let (one, other) = (
        node(&nova, &carrier, &server).start().await,
        node(&nova, &carrier, &server).start().await,
    );
    let pinned = saved(&one, "You book meetings with {{lead.name|a pastor}}.").await;
    let newer = saved(&other, "You sell apples.").await;
    assert_eq!((pinned, newer), (1, 2));
    activate(&one, newer).await;
    assert_eq!(other.json("/prompts/active").await["version"], newer);

    for unknown in [json!(7), json!("7"), json!("spring"), json!(-1), json!([1])] {
        let mut plan = plan(2);
        plan["promptVersion"] = unknown.clone();
        let refused = post(&one, "/campaigns", &plan).await;
        refused.is_problem(422);
        let detail = refused.json()["detail"].as_str().expect("text").to_owned();
        assert!(detail.contains("promptVersion"), "{unknown}: {detail}");
    }
    for lead in 0..LEADS {
        let callee = Callee::person().for_only(Duration::from_secs(3));
        carrier.rest.reach(&number(lead), callee);
    }
    let mut plan = plan(2);
    plan["promptVersion"] = pinned.into();
    let id = created(&one, &plan).await;
    steer(&other, &id, "start").await;
    until("the first call", async || {
        (carrier.rest.placed() >= 1).then_some(())
    })
    .await;
    let third = saved(&other, "You sell pears.").await;
    activate(&other, third).await;
    let campaign = finished(&one, &id).await;
    assert_eq!(campaign["counts"]["done"], LEADS, "{campaign}");
    let mut greeted = BTreeSet::new();
    for session in 0..LEADS {
        let system = told(&nova, session).await;
        let begin = "You book meetings with Pastor ";
        assert!(system.starts_with(begin), "{system}");
        greeted.insert(system[begin.len()..][..1].to_owned());
    }
    assert_eq!(greeted.len(), LEADS, "each by name: {greeted:?}");
    let records = one.json("/calls?limit=50").await;
    let records = items(&records["calls"]);
    assert_eq!(records.len(), LEADS);
    for record in records {
        assert_eq!(record["prompt_version"], "1", "{record}");
    }

    // By hand: the active one, or words of its own.
    for (body, version, system) in [
        (json!({}), "3", "You sell pears."),
        (
            json!({"systemPrompt": "You test lines."}),
            "custom",
            "You test lines.",
        ),
        (
            json!({"initialMessage": "Good day."}),
            "custom",
            "You sell pears.",
        ),
    ] {
        let session = nova.bedrock.sessions().len();
        let mut body = body;
        body["to"] = number(20).into();
        body["override"] = true.into();
        let callee = Callee::person().for_only(Duration::from_secs(2));
        carrier.rest.reach(&number(20), callee);
        let placed = post(&one, "/call/ai", &body).await;
        assert_eq!(placed.status, 200, "{placed:?}");
        let path = format!(
            "/calls/{}",
            placed.json()["callId"].as_str().expect("an id")
        );
        assert!(told(&nova, session).await.starts_with(system));
        let record = until("the end of the call", async || {
            let record = one.json(&path).await;
            (record["status"] != "in_progress").then_some(record)
        })
        .await;
        assert_eq!(record["prompt_version"], version, "{record}");
    }
    assert_eq!(carrier.carrier.violations(), []);
    one.stop().await.went_well();
    other.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_save_and_activate_at_once_never_disagree() {
    const EACH: usize = 12;
    let server = Server::start();
    let (one, other) = (
        Arc::new(on(&server).start().await),
        Arc::new(on(&server).start().await),
    );
    let saves: Vec<_> = (0..2 * EACH)
        .map(|save| {
            let node = Arc::clone(if save % 2 == 0 { &one } else { &other });
            tokio::spawn(async move {
                let words = format!("You are number {save}.");
                (saved(&node, &words).await, words)
            })
        })
        .collect();
    let mut numbers = BTreeSet::new();
    for save in saves {
        let (number, words) = save.await.expect("no panic");
        assert!(numbers.insert(number), "{number} was given twice");
        for node in [&one, &other] {
            let shown = node.json(&format!("/prompts/{number}")).await;
            assert_eq!(shown["systemPrompt"], words, "none is lost");
        }
    }
    assert!(numbers.into_iter().eq(1..=2 * EACH as u64), "without gaps");

    let turns: Vec<_> = (1..=EACH as u64)
        .map(|number| {
            let node = Arc::clone(if number % 2 == 0 { &one } else { &other });
            tokio::spawn(async move { activate(&node, number).await })
        })
        .collect();
    for turn in turns {
        turn.await.expect("no panic");
    }
    let here = one.json("/prompts").await;
    assert_eq!(here, other.json("/prompts").await);
    let history = items(&here["history"]);
    assert_eq!(history.len(), EACH, "every change is kept");
    assert_eq!(history[0]["version"], here["active"]["version"]);
    for (newer, older) in history.iter().zip(&history[1..]) {
        assert_eq!(newer["replaced"], older["version"], "one after the other");
    }
    for node in [one, other] {
        let node = Arc::into_inner(node).expect("the tasks are over");
        node.stop().await.went_well();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_are_saved_and_steered_from_the_command_line() {
    let home = Launch::bare().home_of();
    let launch = || {
        let launch = Launch::local().home(&home);
        launch
            .set("CALL_STORE", "sqlite")
            .set("LEAD_STORE", "sqlite")
    };
    let prompts = async |arguments: &[&str], code: i32| {
        let run = launch().arg("prompts").args(arguments.to_vec()).run().await;
        assert_eq!(run.status.code(), Some(code), "{run:?}");
        run
    };
    let shipped = prompts(&["show", "--json"], 0).await.stdout;
    let shipped: Value = serde_json::from_str(&shipped).expect("JSON");
    assert_eq!(shipped["version"], 0);
    prompts(&["check"], 0).await;
    let mut edited = shipped.clone();
    edited["voicemail"] = "We will call {{lead.name|you}} again.".into();
    std::fs::write(home.path().join("edited.json"), edited.to_string()).expect("a file");
    std::fs::write(home.path().join("short.md"), "You are Esther.\n").expect("a file");
    let save = [
        "save",
        "edited.json",
        "--author",
        "Pat",
        "--note",
        "shorter",
    ];
    let first = prompts(&save, 0).await;
    assert_eq!(first.stdout, "Saved as version 1.\n");
    assert_eq!(first.stderr, "", "nothing speaks against it");
    let second = prompts(&["save", "short.md", "--activate"], 0).await;
    assert!(
        second.stderr.contains("warning: a caller says"),
        "{second:?}"
    );
    let check = prompts(&["check"], 1).await;
    assert!(check.stdout.contains("a caller says"), "{check:?}");
    let listed = prompts(&["list", "--json"], 0).await.stdout;
    let listed: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let shown: Vec<_> = listed
        .iter()
        .map(|version| (version["version"].as_u64(), version["active"] == true))
        .collect();
    assert_eq!(shown, [(Some(2), true), (Some(1), false), (Some(0), false)]);
    assert_eq!(
        (&listed[1]["author"], &listed[1]["note"]),
        (&json!("Pat"), &json!("shorter"))
    );
    assert_eq!(listed[1]["systemPrompt"], shipped["systemPrompt"]);
    prompts(&["activate", "1"], 0).await;
    let shown = prompts(&["show"], 0).await.stdout;
    assert!(
        shown.contains("We will call {{lead.name|you}} again."),
        "{shown}"
    );
    prompts(&["rollback", "--from", "1"], 0).await;
    prompts(&["rollback"], 0).await;
    let shown = prompts(&["show", "--json"], 0).await.stdout;
    assert_eq!(
        serde_json::from_str::<Value>(&shown).expect("JSON")["version"],
        0
    );
    for nowhere in [
        &["rollback"][..],
        &["activate", "9"],
        &["show", "9"],
        &["save", "no.md"],
    ] {
        prompts(nowhere, 1).await;
    }
    std::fs::write(home.path().join("wrong.md"), "Hi {{lead.nmae}}").expect("a file");
    let wrong = prompts(&["save", "wrong.md"], 2).await;
    assert!(
        wrong
            .stderr
            .contains("wrong.md: systemPrompt, line 1, column 4"),
        "{wrong:?}"
    );
    prompts(&["activate", "one"], 2).await;
}
