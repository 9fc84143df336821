//! Callers whom Esther hands over to a person: at once, and to somebody who hears who waits.

use std::time::Duration;

use novavoice::{
    audio::SampleRate,
    testkit::{
        bedrock::{Dialogue, Reply, SessionScript},
        vonage::{Call, CallEnd, Callee, Reaction, speech},
    },
};
use serde_json::{Value, json};

use crate::{
    follower::{Follower, Stream},
    nova::Nova,
    outbound::{CALLEE, Carrier, FROM, ended, placed, post},
    service::{Esther, Launch, soon, until},
};

/// Who takes calls over.
const DESK: &str = "12125550177";
const LEADS: &str = "phone,name,company,state_province,call_status\n\
    +12125550101,Pat Doe,Chapel Hill Church,NY,not_called\n\
    +12125550103,Kim Roe,Hope Chapel,NY,do_not_call\n";

/// A service that knows whom it calls.
async fn with_leads(launch: Launch) -> Esther {
    let launch = launch.set("LEAD_STORE", "sqlite").file("leads.csv", LEADS);
    let import = Launch::local()
        .set("LEAD_STORE", "sqlite")
        .home(&launch.home_of());
    let imported = import.args(["leads", "import", "leads.csv"]).run().await;
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    launch.start().await
}

/// Esther talks with somebody who has said a word.
async fn talking(carrier: &Carrier, esther: &Esther) -> (Call, Follower) {
    let id = placed(&post(esther, "/call/ai", &json!({"to": CALLEE})).await);
    let call = carrier.call().await;
    assert!(soon(call.connected()).await);
    let follower = Follower::of(esther, &id, None).await;
    follower.lines(1).await;
    call.say(speech(Duration::from_millis(900), SampleRate::Hz16000));
    follower.lines(3).await;
    (call, follower)
}

async fn hand_over(esther: &Esther, call: &Call, body: Value) -> crate::answer::Answer {
    post(esther, &format!("/calls/{}/transfer", call.uuid()), &body).await
}

fn transfers(stream: &Stream) -> bool {
    let mut states = stream.named("state").into_iter();
    states.any(|state| state["new"] == "transferring")
}

/// What was written into the `.json` of a call.
fn file_of(esther: &Esther, call: &Call) -> Value {
    let transcript = esther.transcript(call.uuid());
    transcript.record.expect("it is closed")
}

/// The whole story: who is calling is told, the caller waits with Esther, and the two are joined.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_hears_who_waits_and_takes_the_call() {
    let carrier = Carrier::start().await;
    let esther = with_leads(carrier.launch()).await;
    let (call, follower) = talking(&carrier, &esther).await;
    let wish = || json!({"to": "+1 212 555 0177", "briefing": true});
    assert_eq!(hand_over(&esther, &call, wish()).await.status, 202);
    let again = hand_over(&esther, &call, wish()).await;
    again.is_problem(409);
    let cold = hand_over(&esther, &call, json!({"to": DESK})).await;
    cold.is_problem(409);

    let desk = carrier.call().await;
    assert_eq!(desk.number(), DESK);
    assert!(soon(desk.until(|desk| !desk.spoken().is_empty())).await);
    let said = desk.spoken()[0].clone();
    for words in [
        "Pat Doe of Chapel Hill Church",
        "NY",
        "was called by us",
        "press 1",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    follower.until("the state of it", transfers).await;
    assert!(
        call.room().is_none() && !call.is_over(),
        "Esther still talks with them"
    );
    desk.dtmf('1');
    let meets = |call: &Call| call.talks_with() == [desk.uuid()];
    assert!(soon(call.until(meets)).await);
    let stream = follower.over().await;
    assert_eq!(stream.named("ended")[0]["outcome"], "completed");
    let record = ended(&esther, call.uuid()).await;
    assert_eq!(
        (&record["status"], &record["transfer"]),
        (&json!("completed"), &json!("connected"))
    );
    assert_eq!(file_of(&esther, &call)["transfer"], "connected");
    assert!(!call.is_over(), "the two of them talk on");
    hand_over(&esther, &call, wish()).await.is_problem(404);
    desk.hang_up();
    assert_eq!(soon(call.ended()).await, CallEnd::Finished);
    let calls = esther.json("/calls").await;
    assert_eq!(calls["calls"].as_array().map(Vec::len), Some(1), "{calls}");
    esther.idle().await;
    assert_eq!(carrier.carrier.violations(), []);
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&[CALLEE, DESK, &FROM[1..], "pat doe", "chapel hill"]);
}

/// Nobody takes it, twice; then it is given away at once. Words of one's own are said as they are.
#[tokio::test(flavor = "multi_thread")]
async fn esther_goes_on_with_a_caller_whom_nobody_takes() {
    let carrier = Carrier::start().await;
    let esther = with_leads(carrier.launch()).await;
    let (call, follower) = talking(&carrier, &esther).await;
    for (callee, key) in [
        (Callee::person(), Some('2')),
        (Callee::that(Reaction::Busy), None),
    ] {
        carrier.rest.reach(DESK, callee);
        let wish = json!({"to": DESK, "briefing": "The pastor asks for Mike."});
        let lines = follower.now().named("utterance").len();
        let answer = until("a free line", async || {
            let answer = hand_over(&esther, &call, wish.clone()).await;
            (answer.status != 409).then_some(answer)
        });
        assert_eq!(answer.await.status, 202);
        let desk = carrier.call().await;
        if let Some(key) = key {
            assert!(soon(desk.until(|desk| !desk.spoken().is_empty())).await);
            assert!(desk.spoken()[0].starts_with("The pastor asks for Mike. To take"));
            desk.dtmf(key);
        }
        soon(desk.ended()).await;
        follower.lines(lines + 1).await;
        assert!(!call.is_over());
    }
    carrier.rest.reach(DESK, Callee::person());
    let cold = until("a free line", async || {
        let answer = hand_over(&esther, &call, json!({"to": DESK, "briefing": false})).await;
        (answer.status != 409).then_some(answer)
    });
    assert_eq!(cold.await.status, 202);
    let moved = |call: &Call| call.ncco()[0]["endpoint"][0]["number"] == DESK;
    assert!(soon(call.until(moved)).await);
    let stream = follower.over().await;
    assert!(transfers(&stream));
    assert_eq!(ended(&esther, call.uuid()).await["transfer"], "connected");
    assert_eq!(carrier.carrier.violations(), []);
    esther.stop().await.went_well();
}

/// Whoever leaves, whenever: everything ends, and nobody's phone rings on.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_while_it_rings_leaves_nothing_behind() {
    let carrier = Carrier::start().await;
    let esther = with_leads(carrier.launch()).await;
    let (call, follower) = talking(&carrier, &esther).await;
    carrier.rest.reach(DESK, Callee::that(Reaction::Ignores));
    let wish = json!({"to": DESK, "briefing": true});
    assert_eq!(hand_over(&esther, &call, wish).await.status, 202);
    let desk = carrier.call().await;
    assert!(soon(desk.until(|desk| desk.status() == "ringing")).await);
    call.hang_up();
    soon(call.ended()).await;
    assert_eq!(soon(desk.ended()).await, CallEnd::Unanswered);
    assert_eq!(desk.status(), "cancelled");
    follower.over().await;
    let record = ended(&esther, call.uuid()).await;
    assert_eq!(record["transfer"], "abandoned");
    esther.idle().await;
    assert_eq!(carrier.carrier.violations(), []);
    esther.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_cannot_be_done_is_refused_before_anybody_is_called() {
    let carrier = Carrier::start().await;
    let esther = with_leads(carrier.launch()).await;
    let (call, follower) = talking(&carrier, &esther).await;
    for briefing in [
        json!(""),
        json!(7),
        json!({}),
        json!("x".repeat(1_001)),
        json!("a\u{7}b"),
    ] {
        let body = json!({"to": DESK, "briefing": briefing});
        hand_over(&esther, &call, body).await.is_problem(422);
    }
    let unwilling = json!({"to": "+12125550103", "briefing": true});
    let refused = hand_over(&esther, &call, unwilling).await;
    refused.is_problem(409);
    assert_eq!(refused.json()["reasons"], json!(["do_not_call"]));
    let nobody = json!({"to": DESK, "briefing": true});
    post(&esther, "/calls/nobody/transfer", &nobody)
        .await
        .is_problem(404);
    assert_eq!(carrier.rest.placed(), 1);
    // A call without an agent has nobody who could brief anybody.
    let simple = json!({"to": CALLEE, "message": "Hello."});
    carrier.rest.reach(CALLEE, Callee::that(Reaction::Ignores));
    let id = placed(&post(&esther, "/call/simple", &simple).await);
    let path = format!("/calls/{id}/transfer");
    post(&esther, &path, &nobody).await.is_problem(409);
    call.hang_up();
    follower.over().await;
    esther.stop().await.went_well();
}

/// By voice: the model asks for it in words of its own, is told that it came to nothing, and goes
/// on in the same session.
#[tokio::test(flavor = "multi_thread")]
async fn the_model_hands_over_by_its_tool_and_is_told_what_came_of_it() {
    let wish = json!({"destination": "office", "briefing": "Pat Doe asks for Mike Lawrence."});
    let mut dialogue = Dialogue::answering([
        Reply::of([("Good morning, this is Esther.", 1_000)]),
        Reply::of([("One moment, please.", 800)]).after_tool("transfer_call", wish.to_string()),
        Reply::of([("I am sorry, nobody is free.", 1_000)]),
    ]);
    dialogue.caller = vec!["May I talk with a person?".to_owned()];
    let nova = Nova::start(SessionScript::converse(dialogue)).await;
    let carrier = Carrier::start().await;
    let launch = nova
        .launch()
        .set("VONAGE_PRIVATE_KEY", carrier.key().replace('\n', "\\n"))
        .set("VONAGE_FROM_NUMBER", FROM)
        .set("VONAGE_API_URL", carrier.rest.base_url())
        .set("TRANSFER_NUMBER", DESK);
    let esther = with_leads(launch).await;
    carrier.rest.reach(DESK, Callee::person());
    let id = placed(&post(&esther, "/call/ai", &json!({"to": CALLEE})).await);
    let call = carrier.call().await;
    assert!(soon(call.connected()).await);
    let follower = Follower::of(&esther, &id, None).await;
    follower.lines(1).await;
    call.say(speech(Duration::from_secs(1), SampleRate::Hz16000));
    let desk = carrier.call().await;
    assert!(soon(desk.until(|desk| !desk.spoken().is_empty())).await);
    assert!(desk.spoken()[0].starts_with("Pat Doe asks for Mike Lawrence. To take"));
    desk.dtmf('2');
    soon(desk.ended()).await;
    let sorry = |stream: &Stream| {
        let mut lines = stream.named("utterance").into_iter();
        lines.any(|line| line["text"] == "I am sorry, nobody is free.")
    };
    follower.until("what Esther says of it", sorry).await;
    let told = nova.bedrock.session(0).await.events();
    let told = told
        .iter()
        .filter_map(|event| event["event"]["textInput"]["content"].as_str());
    assert!(
        told.into_iter()
            .any(|text| text.contains("cannot do so now"))
    );
    call.hang_up();
    soon(call.ended()).await;
    follower.over().await;
    assert_eq!(ended(&esther, &id).await["transfer"], "declined");
    nova.closed_by_the_book(1).await;
    assert_eq!(carrier.carrier.violations(), []);
    esther.stop().await.went_well();
}
