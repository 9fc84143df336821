//! Whole calls in which a pastor books a meeting: by voice, through the model's tools.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp, civil::Time, tz::TimeZone};
use novavoice::{
    audio::SampleRate,
    booking::{Calendar, EmbeddedCalendar, Hours, Meeting, spoken},
    lead::PhoneNumber,
    state::SqliteState,
    testkit::{
        bedrock::{Dialogue, Reply, SessionScript},
        vonage::{Call, CallEnd, FakeVonage, InboundCall, speech},
    },
};
use serde_json::{Value, json};

use crate::{
    commands::sample,
    follower::Follower,
    nova::{Nova, carrier, items},
    service::{CALLED, Esther, soon, until},
};

/// In the sample: Pastor Grace Harlow, whose number is one of New York.
const LEAD: &str = "12125550100";

/// A day more than a week ahead on which Mike takes meetings, at two in the afternoon in New York.
fn wished() -> Timestamp {
    let (now, new_york) = (Timestamp::now(), zone("America/New_York"));
    let later = now + SignedDuration::from_hours(7 * 24);
    let hours = Hours::new(zone("America/Chicago"));
    let mut slots = hours.slots(now, &[]);
    let wished = slots.find(|slot| {
        let local = slot.to_zoned(new_york.clone());
        *slot > later && local.time() == Time::constant(14, 0, 0, 0)
    });
    wished.expect("two weeks have a day at work")
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a zone")
}

fn wish(day: &str) -> String {
    json!({ "day": day, "after": "14:00", "before": "17:00" }).to_string()
}

fn booking(start: Timestamp) -> String {
    json!({
        "start": start,
        "confirmed": true,
        "name": "Grace Harlow",
        "email": "grace@chapel.example",
    })
    .to_string()
}

/// What the fake model says and does in such a call.
fn pastor_who_books(start: Timestamp) -> SessionScript {
    let local = start.to_zoned(zone("America/New_York"));
    let day = local.strftime("%Y-%m-%d").to_string();
    let unheard = start + SignedDuration::from_hours(48);
    let mut dialogue = Dialogue::answering([
        Reply::of([("May I find a time for you?", 1_000)]),
        Reply::of([("I have two o'clock Eastern time.", 1_000)])
            .after_tool("find_times", wish(&day)),
        Reply::of([("Let me see once more.", 800)]).after_tool("book_meeting", booking(unheard)),
        Reply::of([("It is booked.", 800)]).after_tool("book_meeting", booking(start)),
        Reply::of([("Goodbye, Pastor.", 800)])
            .after_tool("record_outcome", r#"{"outcome":"scheduled"}"#)
            .after_tool("end_call", "{}"),
    ]);
    dialogue.caller = [
        "In about a week, at two.",
        "Or two days later.",
        "No, two o'clock. Yes, that is right.",
        "Thank you, goodbye.",
    ]
    .map(str::to_owned)
    .into();
    SessionScript::converse(dialogue)
}

/// A process with the sample leads.
async fn with_leads(nova: &Nova) -> Esther {
    let launch = nova.launch();
    let imported = nova
        .launch()
        .home(&launch.home_of())
        .args(["leads", "import", &sample()])
        .run()
        .await;
    assert_eq!(imported.status.code(), Some(0), "{}", imported.stderr);
    launch.start().await
}

/// The meetings that the service keeps of a number.
async fn meetings(esther: &Esther, phone: &str) -> Vec<Meeting> {
    let file = esther.home.path().join("data/esther.sqlite");
    let state = SqliteState::open(file).await.expect("a file");
    let phone = PhoneNumber::parse(phone).expect("a number");
    let calendar = EmbeddedCalendar::new(Arc::new(state));
    calendar
        .of(&phone, Timestamp::now())
        .await
        .expect("readable")
}

/// A call of the lead, who has heard the greeting.
async fn greeted(esther: &Esther, carrier: &FakeVonage) -> (Call, Follower) {
    let caller = InboundCall::new(LEAD, CALLED);
    let call = carrier.place_inbound(caller).await.expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(200)).await);
    let follower = Follower::of(esther, call.uuid(), None).await;
    follower.lines(1).await;
    (call, follower)
}

/// The lead, once it tells of the call.
async fn lead_with_words(esther: &Esther) -> Value {
    until("the words at the lead", async || {
        let lead = esther.json(&format!("/leads/{LEAD}")).await;
        lead["call_transcript"].is_string().then_some(lead)
    })
    .await
}

/// What the model was told by its tools, in order.
async fn results(nova: &Nova) -> Vec<Value> {
    let events = nova.bedrock.session(0).await.events();
    let results = events.iter().map(|event| &event["event"]["toolResult"]);
    let results = results.filter(|result| !result.is_null());
    results
        .map(|result| {
            let text = result["content"].as_str().expect("text");
            serde_json::from_str(text).expect("JSON")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pastor_books_a_meeting_by_voice() {
    let start = wished();
    let nova = Nova::start(pastor_who_books(start)).await;
    let esther = with_leads(&nova).await;
    let carrier = carrier(&esther);
    let (call, follower) = greeted(&esther, &carrier).await;
    for turn in 1..=4 {
        call.say(speech(Duration::from_secs(1), SampleRate::Hz16000));
        follower.lines(1 + 2 * turn).await;
    }
    assert_eq!(
        soon(call.ended()).await,
        CallEnd::Finished,
        "Esther hangs up"
    );
    follower.over().await;
    nova.closed_by_the_book(1).await;
    assert_eq!(carrier.violations(), []);

    let told = results(&nova).await;
    let [found, refused, booked, ..] = &told[..] else {
        panic!("too few results: {told:?}");
    };
    let said = spoken(start, &zone("America/New_York"));
    let first = &items(&found["times"])[0];
    assert_eq!(
        (&first["start"], &first["say"]),
        (&json!(start), &json!(said)),
        "in the lead's time zone"
    );
    let refused = refused["error"].as_str().expect("an error");
    assert!(refused.contains("not offered in this call"), "{refused}");
    assert_eq!(
        (&booked["status"], &booked["say"]),
        (&json!("booked"), &json!(said))
    );

    let [meeting] = &meetings(&esther, LEAD).await[..] else {
        panic!("not one meeting");
    };
    assert_eq!(meeting.start, start);
    assert_eq!(meeting.end, start + SignedDuration::from_mins(15));
    assert_eq!(meeting.zone, "America/New_York");
    assert_eq!(meeting.name.as_deref(), Some("Grace Harlow"));
    assert_eq!(meeting.email.as_deref(), Some("grace@chapel.example"));
    assert_eq!(
        meeting.church.as_deref(),
        Some("Chapel Hill Community Church")
    );

    let lead = lead_with_words(&esther).await;
    assert_eq!(lead["call_status"], "scheduled");
    let record = esther.json(&format!("/calls/{}", call.uuid())).await;
    assert_eq!(
        (&record["status"], &record["outcome"]),
        (&json!("completed"), &json!("scheduled"))
    );
    let transcript = esther.transcript(call.uuid());
    let file = transcript.record.as_ref().expect("the call is over");
    assert_eq!(file["outcome"], "scheduled");
    assert!(transcript.text.contains("scheduled"), "the footer");
    assert_eq!(
        transcript.said(),
        [
            "Assistant: May I find a time for you?",
            "Human: In about a week, at two.",
            "Assistant: I have two o'clock Eastern time.",
            "Human: Or two days later.",
            "Assistant: Let me see once more.",
            "Human: No, two o'clock. Yes, that is right.",
            "Assistant: It is booked.",
            "Human: Thank you, goodbye.",
            "Assistant: Goodbye, Pastor.",
        ]
    );
    esther.idle().await;
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&[LEAD, "Harlow", "grace@chapel.example", "two o'clock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pastor_who_wants_no_more_calls_is_taken_at_his_word_before_the_call_ends() {
    let mut dialogue = Dialogue::answering([
        Reply::of([("May I find a time for you?", 1_000)]),
        Reply::of([("I am sorry. We will not call again.", 1_000)])
            .after_tool("record_outcome", r#"{"outcome":"do_not_call"}"#),
    ]);
    dialogue.caller = vec!["Never call me again.".to_owned()];
    let nova = Nova::start(SessionScript::converse(dialogue)).await;
    let esther = with_leads(&nova).await;
    let carrier = carrier(&esther);
    let (call, follower) = greeted(&esther, &carrier).await;
    call.say(speech(Duration::from_secs(1), SampleRate::Hz16000));
    follower.lines(3).await;
    let lead = esther.json(&format!("/leads/{LEAD}")).await;
    assert_eq!(lead["call_status"], "do_not_call", "while the call goes on");
    call.hang_up();
    soon(call.ended()).await;
    follower.over().await;
    let lead = lead_with_words(&esther).await;
    assert_eq!(lead["call_status"], "do_not_call");
    let record = esther.json(&format!("/calls/{}", call.uuid())).await;
    assert_eq!(record["outcome"], "do_not_call");
    nova.closed_by_the_book(1).await;
    esther.idle().await;
    esther.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secretary_names_a_better_time_and_person() {
    let start = wished();
    let local = start.to_zoned(zone("America/New_York"));
    let said = json!({
        "outcome": "gatekeeper",
        "call_again_at": local.strftime("%Y-%m-%dT%H:%M").to_string(),
        "person": "Pastor Lee",
    });
    let mut dialogue = Dialogue::answering([
        Reply::of([("May I find a time for you?", 1_000)]),
        Reply::of([("Thank you, I will call then.", 1_000)])
            .after_tool("record_outcome", said.to_string())
            .after_tool("end_call", "{}"),
    ]);
    dialogue.caller = vec!["Pastor Lee is in next week, at two.".to_owned()];
    let nova = Nova::start(SessionScript::converse(dialogue)).await;
    let esther = with_leads(&nova).await;
    let carrier = carrier(&esther);
    let (call, follower) = greeted(&esther, &carrier).await;
    call.say(speech(Duration::from_secs(1), SampleRate::Hz16000));
    assert_eq!(soon(call.ended()).await, CallEnd::Finished);
    follower.over().await;
    let lead = lead_with_words(&esther).await;
    assert_eq!(lead["call_status"], "follow_up_needed");
    assert_eq!(lead["contact_person"], "Pastor Lee");
    let due = lead["next_attempt"].as_str().expect("a time");
    let due: Timestamp = due.parse().expect("a time");
    assert_eq!(due, start, "by the clock of the lead");
    let record = esther.json(&format!("/calls/{}", call.uuid())).await;
    assert_eq!(record["outcome"], "follow_up");
    assert_eq!(meetings(&esther, LEAD).await, []);
    nova.closed_by_the_book(1).await;
    esther.stop().await.went_well();
}
