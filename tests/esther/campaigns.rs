//! Campaigns: by the real program, over a carrier that is strict about all of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use novavoice::{
    outbound::federal_holiday,
    testkit::vonage::{Callee, Reaction},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    answer::Answer,
    outbound::Carrier,
    service::{Esther, Launch, until},
};

/// The number of a lead, as the carrier writes it.
pub(crate) fn number(lead: usize) -> String {
    format!("1212555{:04}", 110 + lead)
}

/// A zone where today is no holiday: in these two it is never the same day.
pub(crate) fn zone() -> &'static str {
    let is_open = |zone: &&str| {
        let zone = TimeZone::get(zone).expect("a zone");
        federal_holiday(zone.to_datetime(Timestamp::now()).date()).is_none()
    };
    let zones = ["Pacific/Pago_Pago", "Pacific/Kiritimati"];
    zones.into_iter().find(is_open).expect("an ordinary day")
}

/// A folder into whose store these leads were loaded, by their `call_status`.
async fn imported(carrier: &Carrier, leads: &[&str]) -> Arc<TempDir> {
    let zone = zone();
    let rows = leads
        .iter()
        .enumerate()
        .map(|(lead, status)| format!("+{},Pastor {lead},{status},{zone}\n", number(lead)));
    let table = format!(
        "phone,name,call_status,time_zone\n{}",
        rows.collect::<String>()
    );
    let launch = stores(carrier.launch()).file("leads.csv", &table);
    let home = launch.home_of();
    let run = launch.args(["leads", "import", "leads.csv"]).run().await;
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    home
}

fn stores(launch: Launch) -> Launch {
    launch
        .set("LEAD_STORE", "sqlite")
        .set("CALL_STORE", "sqlite")
}

/// A campaign that calls at any hour, and everybody once.
pub(crate) fn plan(concurrent: u32) -> Value {
    json!({
        "name": "Autumn",
        "window": {
            "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
            "start": "00:00", "end": "24:00",
        },
        "pacing": {"callsPerSecond": 3, "maxConcurrent": concurrent},
        "retries": {},
    })
}

pub(crate) async fn created(esther: &Esther, plan: &Value) -> String {
    let answer = Answer::to(esther.request("POST", "/campaigns").json(plan)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.header("location"), format!("/campaigns/{id}"));
    id
}

pub(crate) async fn steer(esther: &Esther, id: &str, verb: &str) -> Value {
    let answer = esther.post(&format!("/campaigns/{id}/{verb}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

pub(crate) async fn finished(esther: &Esther, id: &str) -> Value {
    let path = format!("/campaigns/{id}");
    until("the end of the campaign", async || {
        let campaign = esther.json(&path).await;
        (campaign["state"] == "finished").then_some(campaign)
    })
    .await
}

/// How often each number was dialled.
fn dialled(carrier: &Carrier) -> BTreeMap<String, usize> {
    let requests = carrier.rest.requests();
    let placed = requests.iter().filter(|request| request.method == "POST");
    placed.fold(BTreeMap::new(), |mut dialled, request| {
        let to = request.body["to"][0]["number"].as_str().expect("a number");
        *dialled.entry(to.to_owned()).or_default() += 1;
        assert_eq!(
            request.body["advanced_machine_detection"]["mode"],
            "default"
        );
        dialled
    })
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_calls_everybody_once_who_may_be_called() {
    let carrier = Carrier::start().await;
    let mut leads = ["not_called"; 12];
    leads[10] = "do_not_call";
    leads[11] = "bad_number";
    let home = imported(&carrier, &leads).await;
    let person = Callee::person().for_only(3 * SECOND);
    let callees = [
        person.clone(),
        Callee::that(Reaction::Busy),
        Callee::that(Reaction::Unreachable("unavailable")),
        Callee::that(Reaction::Fails("number_out_of_service")),
        // It records until Esther hangs up, as the plan wants by default.
        Callee::that(Reaction::Records),
        person.clone(),
        Callee::that(Reaction::Busy),
        Callee::that(Reaction::Rejects("declined")),
        person.clone(),
        person,
    ];
    for (lead, callee) in callees.into_iter().enumerate() {
        carrier.rest.reach(&number(lead), callee);
    }
    let esther = stores(carrier.launch()).home(&home).start().await;
    let id = created(&esther, &plan(3)).await;
    let preview = steer(&esther, &id, "preview").await;
    let refusals = json!({"do_not_call": 1, "invalid_number": 1});
    assert_eq!(
        preview,
        json!({"matched": 12, "wouldDial": 10, "refusals": refusals})
    );
    assert_eq!(carrier.rest.placed(), 0);

    steer(&esther, &id, "start").await;
    until("the first calls", async || {
        (carrier.rest.placed() >= 2).then_some(())
    })
    .await;
    assert_eq!(steer(&esther, &id, "pause").await["state"], "paused");
    // What was on its way to the carrier is there by then.
    sleep(2 * SECOND).await;
    let placed = carrier.rest.placed();
    sleep(2 * SECOND).await;
    assert_eq!(carrier.rest.placed(), placed, "nobody is called in a pause");
    assert!(placed < 10, "{placed}");
    steer(&esther, &id, "resume").await;

    let campaign = finished(&esther, &id).await;
    let counts = json!({
        "matched": 12, "refused": 2, "pending": 0, "inProgress": 0, "dialled": 10, "done": 10,
    });
    assert_eq!(campaign["counts"], counts);
    assert_eq!(campaign["refusals"], refusals);
    let outcomes = json!({
        "completed": 4, "busy": 2, "no_answer": 2, "failed": 1, "voicemail": 1,
    });
    assert_eq!(campaign["outcomes"], outcomes, "{}", esther.log());
    let once: BTreeMap<_, _> = (0..10).map(|lead| (number(lead), 1)).collect();
    assert_eq!(dialled(&carrier), once);
    for (lead, status) in [
        (0, "called"),
        (1, "no_answer"),
        (2, "no_answer"),
        (3, "bad_number"),
        (4, "voicemail"),
        (7, "no_answer"),
        (10, "do_not_call"),
    ] {
        let lead = esther.json(&format!("/leads/%2B{}", number(lead))).await;
        assert_eq!(lead["call_status"], status, "{lead}");
    }
    let records = esther.json("/calls?limit=50").await;
    assert_eq!(records["calls"].as_array().map(Vec::len), Some(10));
    assert_eq!(carrier.carrier.violations(), []);
    let log = std::fs::read_to_string(home.path().join("data/decisions.jsonl")).expect("a log");
    assert!(log.lines().count() >= 12, "every decision is written down");
    esther.stop().await.went_well();
}

/// Done-when 6.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_outlives_its_process() {
    let carrier = Carrier::start().await;
    let home = imported(&carrier, &["not_called"; 8]).await;
    for lead in 0..8 {
        let callee = Callee::person().for_only(2 * SECOND);
        carrier.rest.reach(&number(lead), callee);
    }
    let esther = stores(carrier.launch()).home(&home).start().await;
    let id = created(&esther, &plan(3)).await;
    steer(&esther, &id, "start").await;
    until("the first calls", async || {
        (carrier.rest.placed() >= 2).then_some(())
    })
    .await;
    esther.signal("TERM").await;
    sleep(SECOND).await;
    let placed = carrier.rest.placed();
    esther.ended().await.went_well();
    assert_eq!(carrier.rest.placed(), placed, "none after a second");
    assert!(placed < 8, "{placed}");

    let next = stores(carrier.launch()).home(&home).start().await;
    let campaign = finished(&next, &id).await;
    assert_eq!(campaign["counts"]["dialled"], 8);
    assert_eq!(campaign["counts"]["done"], 8);
    let once: BTreeMap<_, _> = (0..8).map(|lead| (number(lead), 1)).collect();
    assert_eq!(dialled(&carrier), once);
    next.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn campaigns_are_run_and_steered_from_the_command_line() {
    let carrier = Carrier::start().await;
    let home = imported(&carrier, &["not_called", "not_called", "do_not_call"]).await;
    for lead in 0..2 {
        let callee = Callee::that(Reaction::Busy);
        carrier.rest.reach(&number(lead), callee);
    }
    let launch = || {
        let launch = stores(carrier.launch()).home(&home);
        launch.file("plan.json", &plan(2).to_string())
    };
    let command = async |arguments: &[&str], code: i32| {
        let run = launch()
            .arg("campaign")
            .args(arguments.to_vec())
            .run()
            .await;
        assert_eq!(run.status.code(), Some(code), "{run:?}");
        run
    };
    let preview = command(&["preview", "plan.json", "--json"], 0).await;
    let preview: Value = serde_json::from_str(&preview.stdout).expect("JSON");
    assert_eq!(
        preview,
        json!({"matched": 3, "wouldDial": 2, "refusals": {"do_not_call": 1}})
    );
    assert_eq!(carrier.rest.placed(), 0);

    let run = command(&["run", "plan.json", "--json"], 0).await;
    let campaign: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(campaign["state"], "finished");
    assert_eq!(campaign["outcomes"], json!({"busy": 2}));
    let id = campaign["id"].as_str().expect("an id");
    let status = command(&["status", id, "--json"], 0).await;
    assert_eq!(
        serde_json::from_str::<Value>(&status.stdout).expect("JSON"),
        campaign
    );
    for verb in ["pause", "resume", "status"] {
        let told = command(&[verb, id], 0).await;
        assert!(told.stdout.contains("finished"), "{told:?}");
        command(&[verb, "nobody"], 1).await;
    }
    let told = command(&["status"], 0).await;
    assert!(told.stdout.contains(id), "{told:?}");
    let again = command(&["preview", id], 0).await;
    assert!(again.stdout.contains("too_soon"), "{again:?}");
    command(&["run", "nobody"], 1).await;
    for wrong in [
        "{",
        "{}",
        r#"{"name": " "}"#,
        r#"{"name": "x", "colour": 1}"#,
    ] {
        let launch = launch().file("wrong.json", wrong);
        let run = launch.args(["campaign", "run", "wrong.json"]).run().await;
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        assert!(run.stderr.contains("wrong.json"), "{run:?}");
    }
    assert_eq!(carrier.rest.placed(), 2);
    assert_eq!(carrier.carrier.violations(), []);
}
