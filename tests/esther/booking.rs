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
    mailbox::MailServer,
    nova::{Nova, carrier, items},
    radicale::{PASSWORD, Radicale, USER},
    service::{CALLED, Esther, Launch, soon, until},
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
    begun(nova, nova.launch()).await
}

/// The same, launched in another way.
async fn begun(nova: &Nova, launch: Launch) -> Esther {
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
    let told = booked_by_voice(&nova, &esther, start).await;
    let note = told[2]["note"].as_str().expect("a note");
    assert!(note.contains("No invitation is sent"), "{note}");

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
    esther.idle().await;
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&[LEAD, "Harlow", "grace@chapel.example", "two o'clock"]);
}

/// The whole call, and what everybody is to know of it; answers with what the tools told.
async fn booked_by_voice(nova: &Nova, esther: &Esther, start: Timestamp) -> Vec<Value> {
    let carrier = carrier(esther);
    let (call, follower) = greeted(esther, &carrier).await;
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

    let told = results(nova).await;
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

    let lead = lead_with_words(esther).await;
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
    told
}

/// A process whose host has a calendar and a mail server of their own.
async fn in_an_office(nova: &Nova, calendar: &str, mail: &MailServer) -> Esther {
    begun(nova, office(nova.launch(), calendar, mail)).await
}

fn office(launch: Launch, calendar: &str, mail: &MailServer) -> Launch {
    launch
        .set("CALENDAR_URL", calendar)
        .set("CALENDAR_USER", USER)
        .set("CALENDAR_PASSWORD", PASSWORD)
        .set("SMTP_URL", mail.url())
        .set("MAIL_FROM", "Esther <esther@office.example>")
        .set("HOST_EMAIL", "mike@office.example")
}

fn utc(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_booked_by_voice_is_in_the_hosts_calendar_and_the_guests_mail() {
    let (Some(server), Some(mail)) = (Radicale::start().await, MailServer::start()) else {
        return;
    };
    let start = wished();
    let calendar = server.calendar("mike").await;
    // Each week at this time the host goes to the dentist, half an hour after the meeting begins.
    let dentist = format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//host//EN\r\nBEGIN:VEVENT\r\nUID:dentist\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:{}\r\nDURATION:PT30M\r\nRRULE:FREQ=WEEKLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        utc(start - SignedDuration::from_hours(21 * 24) + SignedDuration::from_mins(30))
    );
    server.put(&calendar, "dentist", &dentist).await;
    let nova = Nova::start(pastor_who_books(start)).await;
    let esther = in_an_office(&nova, &calendar, &mail).await;
    let told = booked_by_voice(&nova, &esther, start).await;
    let dentist = start + SignedDuration::from_mins(30);
    let offers = items(&told[0]["times"]);
    assert!(offers.iter().all(|offer| offer["start"] != json!(dentist)));
    let note = told[2]["note"].as_str().expect("a note");
    assert!(note.contains("comes by e-mail"), "{note}");

    let events = server.events(&calendar);
    let ours = events.iter().find(|event| !event.contains("UID:dentist"));
    let (event, 2) = (ours.expect("the meeting"), events.len()) else {
        panic!("not one meeting: {events:?}");
    };
    let [invitation] = &until("the invitation", async || {
        let mails = mail.mails();
        (!mails.is_empty()).then_some(mails)
    })
    .await[..] else {
        panic!("not one mail");
    };
    let uid = invitation.value("UID");
    for line in [
        format!("UID:{uid}"),
        format!("DTSTART:{}", utc(start)),
        format!("DTEND:{}", utc(start + SignedDuration::from_mins(15))),
        "SEQUENCE:0".to_owned(),
    ] {
        assert!(event.contains(&line), "{line}: {event}");
        assert!(invitation.text.contains(&line), "{line}");
    }
    assert!(event.contains("Grace Harlow") && event.contains("+12125550100"));
    assert_eq!(invitation.value("METHOD"), "REQUEST");
    assert_eq!(invitation.value("X-Envelope-To"), "grace@chapel.example");
    assert!(invitation.value("Reply-To").contains("mike@office.example"));
    let said = spoken(start, &zone("America/New_York"));
    let subject = invitation.value("Subject");
    assert!(subject.ends_with(&said), "{subject}");
    esther.idle().await;
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&[LEAD, "Harlow", "grace@chapel.example", PASSWORD]);
    assert_eq!(mail.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_outlives_the_process_that_owes_it() {
    let (Some(server), Some(mut mail)) = (Radicale::start().await, MailServer::start()) else {
        return;
    };
    let start = wished();
    let calendar = server.calendar("mike").await;
    let nova = Nova::start(pastor_who_books(start)).await;
    mail.pause();
    let esther = in_an_office(&nova, &calendar, &mail).await;
    booked_by_voice(&nova, &esther, start).await;
    until("the attempt", async || {
        esther.log().contains("not sent yet").then_some(())
    })
    .await;
    let home = Arc::clone(&esther.home);
    esther.signal("KILL").await;
    let ended = esther.ended().await;
    ended.says_nothing_of(&[LEAD, "Harlow", "grace@chapel.example"]);
    mail.resume();
    let next = office(nova.launch(), &calendar, &mail).home(&home);
    let next = next.start().await;
    let mails = until("the invitation", async || {
        let mails = mail.mails();
        (!mails.is_empty()).then_some(mails)
    })
    .await;
    assert_eq!(mails[0].value("DTSTART"), utc(start));
    assert_eq!(server.events(&calendar).len(), 1);
    next.stop().await.went_well();
    assert_eq!(mail.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_that_is_away_stops_no_call() {
    let (Some(mut server), Some(mail)) = (Radicale::start().await, MailServer::start()) else {
        return;
    };
    let calendar = server.calendar("mike").await;
    let mut dialogue = Dialogue::answering([
        Reply::of([("May I find a time for you?", 1_000)]),
        Reply::of([("I am sorry, we will get back to you.", 1_000)]).after_tool("find_times", "{}"),
        Reply::of([("Goodbye, Pastor.", 800)])
            .after_tool("record_outcome", r#"{"outcome":"follow_up"}"#)
            .after_tool("end_call", "{}"),
    ]);
    dialogue.caller = ["Any time is fine.", "Thank you."]
        .map(str::to_owned)
        .into();
    let nova = Nova::start(SessionScript::converse(dialogue)).await;
    let esther = in_an_office(&nova, &calendar, &mail).await;
    server.pause();
    let carrier = carrier(&esther);
    let (call, follower) = greeted(&esther, &carrier).await;
    for turn in 1..=2 {
        call.say(speech(Duration::from_secs(1), SampleRate::Hz16000));
        follower.lines(1 + 2 * turn).await;
    }
    assert_eq!(soon(call.ended()).await, CallEnd::Finished);
    follower.over().await;
    let told = results(&nova).await;
    let refused = told[0]["error"].as_str().expect("an error");
    assert!(
        refused.contains("cannot be reached") && refused.contains("follow_up"),
        "{refused}"
    );
    let record = esther.json(&format!("/calls/{}", call.uuid())).await;
    assert_eq!(record["outcome"], "follow_up");
    esther.idle().await;
    esther.stop().await.went_well();
    assert_eq!(mail.mails().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tries_the_calendar_and_the_mail_server() {
    let (Some(server), Some(mut mail)) = (Radicale::start().await, MailServer::start()) else {
        return;
    };
    let calendar = server.calendar("mike").await;
    let check = |mail: &MailServer| {
        let launch = office(Launch::local(), &calendar, mail);
        launch
            .set("CALL_STORE", "sqlite")
            .set("LEAD_STORE", "sqlite")
    };
    let right = check(&mail).arg("check").run().await;
    for line in ["calendar               ok", "mail server            ok"] {
        assert!(right.stdout.contains(line), "{}", right.stdout);
    }
    mail.pause();
    let wrong = check(&mail)
        .set("CALENDAR_PASSWORD", "another-password")
        .arg("check");
    let wrong = wrong.run().await;
    assert_eq!(wrong.status.code(), Some(1));
    for line in [
        "calendar               missing: caldav: unauthorized",
        "mail server            missing: mail: unavailable",
    ] {
        assert!(wrong.stdout.contains(line), "{}", wrong.stdout);
    }
    wrong.says_nothing_of(&["another-password", "esther@office.example"]);
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

#[tokio::test(flavor = "multi_thread")]
async fn both_are_reached_encrypted_by_whoever_can_be_trusted() {
    let (Some(server), Some(mail)) = (Radicale::start().await, MailServer::start()) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let keys = certificate();
    for (name, text) in [
        ("cert.pem", keys.cert.pem()),
        ("key.pem", keys.signing_key.serialize_pem()),
    ] {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let calendar = server.calendar("mike").await;
    let server = server.encrypted(folder.path()).await;
    let mail = mail.encrypted(folder.path());
    let check = || {
        office(Launch::local(), &calendar, &mail)
            .set(
                "CALENDAR_URL",
                calendar.replace("http://127.0.0.1", "https://localhost"),
            )
            .set("SMTP_URL", format!("smtps://localhost:{}", mail.port))
            .set("CALL_STORE", "sqlite")
            .set("LEAD_STORE", "sqlite")
            .arg("check")
    };
    let unknown = check().run().await;
    for line in [
        "calendar               missing",
        "mail server            missing",
    ] {
        assert!(unknown.stdout.contains(line), "{}", unknown.stdout);
    }
    let trusted = folder.path().join("cert.pem");
    let trusted = trusted.to_str().expect("a plain path");
    let known = check().set("SSL_CERT_FILE", trusted).run().await;
    for line in ["calendar               ok", "mail server            ok"] {
        assert!(known.stdout.contains(line), "{}", known.stdout);
    }
    drop(server);
}

fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let names = vec!["localhost".to_owned()];
    rcgen::generate_simple_self_signed(names).expect("a certificate")
}
