//! The tools as a model uses them, in calls of their own.

use std::sync::Arc;

use jiff::Timestamp;
use novavoice::{
    audio::SampleRate,
    call::{CallId, CallInfo, Direction, Outcome, Party},
    lead::{Lead, LeadStore, MemoryLeads, PhoneNumber},
    state::MemoryState,
    tool::{ToolContext, ToolOutput},
};
use serde_json::{Value, json};

use super::*;
use crate::clock::wall;

/// A desk, its leads, and what a model does at it.
struct Office {
    desk: Desk,
    leads: Arc<MemoryLeads>,
}

impl Office {
    async fn new() -> Self {
        let leads = Arc::new(MemoryLeads::new());
        for lead in [lead("2125550101"), lead("2125550102")] {
            leads.upsert(lead).await.expect("stored");
        }
        let state = Arc::new(MemoryState::new());
        Self {
            desk: Desk::new(state, Arc::clone(&leads) as Arc<dyn LeadStore>),
            leads,
        }
    }

    async fn call(&self, context: &ToolContext, tool: &str, arguments: Value) -> ToolOutput {
        let tools = self.desk.tools();
        let tool = tools.get(tool).expect("a tool");
        tool.call(context.clone(), &arguments.to_string()).await
    }

    async fn done(&self, context: &ToolContext, tool: &str, arguments: Value) -> Value {
        let output = self.call(context, tool, arguments).await;
        assert!(!output.is_error(), "{tool}: {}", output.to_json());
        Value::Object(output.reveal().clone())
    }

    async fn refused(&self, context: &ToolContext, tool: &str, arguments: Value) -> String {
        let output = self.call(context, tool, arguments).await;
        let error = output.reveal().get("error").and_then(Value::as_str);
        error.expect("it is refused").to_owned()
    }

    async fn offers(&self, context: &ToolContext) -> Vec<String> {
        let found = self.done(context, "find_times", json!({})).await;
        let times = found["times"].as_array().expect("times");
        let starts = times
            .iter()
            .map(|time| time["start"].as_str().expect("a start"));
        starts.map(str::to_owned).collect()
    }

    async fn status(&self, digits: &str) -> String {
        let lead = self.leads.get(&phone(digits)).await.expect("it answers");
        let lead = lead.expect("a lead");
        lead.text("call_status").unwrap_or_default().to_owned()
    }

    fn outcome(&self, context: &ToolContext) -> Option<Outcome> {
        self.desk.notes.of(&context.call().id).outcome
    }
}

fn phone(digits: &str) -> PhoneNumber {
    PhoneNumber::parse(digits).expect("a number")
}

fn lead(digits: &str) -> Lead {
    Lead::new(phone(digits))
        .with("company", "Chapel Hill")
        .with("state_province", "NY")
}

fn caller(call: &str, digits: Option<&str>) -> ToolContext {
    let id = CallId::new(call);
    let mut info = CallInfo::new(id, Direction::Outbound, wall(), SampleRate::Hz16000);
    info.remote = digits.map(|digits| Party::new(format!("1{digits}")));
    ToolContext::detached(info, digits.map(lead)).0
}

fn booking(start: &str) -> Value {
    json!({
        "start": start, "confirmed": true, "name": "Pastor Grace",
        "email": "grace@chapel.example",
    })
}

#[tokio::test]
async fn a_meeting_is_found_booked_moved_and_cancelled() {
    let office = Office::new().await;
    let grace = caller("a", Some("2125550101"));
    let found = office.done(&grace, "find_times", json!({})).await;
    let said = found["times"][0]["say"].as_str().expect("words");
    assert!(said.ends_with("Eastern time"), "{said}");
    let starts = office.offers(&grace).await;
    assert_eq!(starts.len(), 3);
    let booked = office
        .done(&grace, "book_meeting", booking(&starts[0]))
        .await;
    assert_eq!(
        (&booked["status"], &booked["start"]),
        (&json!("booked"), &json!(starts[0]))
    );
    assert_eq!(office.status("2125550101").await, "scheduled");
    assert_eq!(office.outcome(&grace), Some(Outcome::Scheduled));
    let theirs = office.desk.meetings(&grace).await.expect("it answers");
    let [meeting] = &theirs[..] else {
        panic!("not one: {theirs:?}");
    };
    assert_eq!(meeting.zone, "America/New_York");
    assert_eq!(meeting.church.as_deref(), Some("Chapel Hill"));
    assert_eq!(meeting.email.as_deref(), Some("grace@chapel.example"));
    // The model asks twice, or for another one.
    office
        .done(&grace, "book_meeting", booking(&starts[0]))
        .await;
    let second = office
        .refused(&grace, "book_meeting", booking(&starts[1]))
        .await;
    assert!(second.contains("move_meeting"), "{second}");
    let declined = json!({ "outcome": "not_interested" });
    office.refused(&grace, "record_outcome", declined).await;

    // Another call, another day.
    let again = caller("b", Some("2125550101"));
    let known = office.done(&again, "look_up_lead", json!({})).await;
    assert_eq!(known["meetings"].as_array().map(Vec::len), Some(1));
    let wish = json!({ "start": starts[1], "confirmed": true });
    let unheard = office.refused(&again, "move_meeting", wish.clone()).await;
    assert!(unheard.contains("not offered in this call"), "{unheard}");
    let offered = office.offers(&again).await;
    let new = &offered[1];
    let unsure = json!({ "start": new });
    office.refused(&again, "move_meeting", unsure).await;
    let wish = json!({ "start": new, "confirmed": true });
    let moved = office.done(&again, "move_meeting", wish).await;
    assert_eq!(moved["start"], **new);
    office.refused(&again, "cancel_meeting", json!({})).await;
    let wish = json!({ "confirmed": true });
    office.done(&again, "cancel_meeting", wish.clone()).await;
    office.refused(&again, "cancel_meeting", wish).await;
    assert_eq!(office.status("2125550101").await, "called");
    assert_eq!(office.outcome(&again), None);
    // The time is free again.
    let starts = office.offers(&again).await;
    office
        .done(&again, "book_meeting", booking(&starts[0]))
        .await;
}

#[tokio::test]
async fn nothing_is_booked_that_was_not_offered_confirmed_and_free() {
    let office = Office::new().await;
    let (first, second) = (
        caller("a", Some("2125550101")),
        caller("b", Some("2125550102")),
    );
    let starts = office.offers(&first).await;
    for unheard in [&*starts[0], "2020-01-01T15:00:00Z", "tomorrow at three", ""] {
        let refused = office
            .refused(&second, "book_meeting", booking(unheard))
            .await;
        assert!(refused.contains("not offered in this call"), "{refused}");
    }
    let offered = office.offers(&second).await;
    assert_eq!(offered, starts);
    let mut unsure = booking(&starts[0]);
    unsure["confirmed"] = json!(false);
    office.refused(&first, "book_meeting", unsure).await;
    let mut misheard = booking(&starts[0]);
    misheard["email"] = json!("grace at chapel");
    office.refused(&first, "book_meeting", misheard).await;
    let wishes = [booking(&starts[0]), booking(&starts[0])];
    let [one, two] = wishes;
    let (one, two) = tokio::join!(
        office.call(&first, "book_meeting", one),
        office.call(&second, "book_meeting", two),
    );
    assert!(one.is_error() != two.is_error(), "one gets it");
    let (loser, digits) = match one.is_error() {
        true => (&first, "2125550101"),
        false => (&second, "2125550102"),
    };
    let told = office
        .refused(loser, "book_meeting", booking(&starts[0]))
        .await;
    assert!(told.contains("offer others"), "{told}");
    assert_eq!(office.status(digits).await, "");
    assert_eq!(office.outcome(loser), None);
    let others = office.offers(loser).await;
    assert!(!others.contains(&starts[0]));
    office
        .done(loser, "book_meeting", booking(&others[0]))
        .await;
}

#[tokio::test]
async fn a_caller_without_a_number_is_asked_and_changes_their_own_meeting_alone() {
    let office = Office::new().await;
    let known = caller("a", Some("2125550101"));
    let starts = office.offers(&known).await;
    office
        .done(&known, "book_meeting", booking(&starts[0]))
        .await;
    let hidden = caller("b", None);
    let unsure = office.refused(&hidden, "find_times", json!({})).await;
    assert!(unsure.contains("time zone"), "{unsure}");
    let zone = json!({ "time_zone": "Pacific time" });
    let found = office.done(&hidden, "find_times", zone).await;
    let start = found["times"][0]["start"].as_str().expect("a start");
    let mut wish = booking(start);
    wish["time_zone"] = json!("Pacific time");
    office.refused(&hidden, "book_meeting", wish.clone()).await;
    // Somebody else's number opens nothing.
    wish["phone"] = json!("(212) 555-0101");
    office.done(&hidden, "book_meeting", wish).await;
    let theirs = office.desk.meetings(&hidden).await.expect("it answers");
    assert_eq!(theirs.len(), 1);
    assert_eq!(theirs[0].zone, "America/Los_Angeles");
    assert_eq!(
        office
            .desk
            .meetings(&known)
            .await
            .expect("it answers")
            .len(),
        2
    );
    let yes = json!({ "confirmed": true });
    office.done(&hidden, "cancel_meeting", yes.clone()).await;
    office.refused(&hidden, "cancel_meeting", yes).await;
}

#[tokio::test]
async fn an_opt_out_is_written_at_once_and_stays() {
    let office = Office::new().await;
    for digits in ["2125550101", "2125550199"] {
        let call = caller(digits, Some(digits));
        let said = json!({ "outcome": "do_not_call" });
        office.done(&call, "record_outcome", said).await;
        assert_eq!(office.status(digits).await, "do_not_call");
        let said = json!({ "outcome": "not_interested" });
        office.done(&call, "record_outcome", said).await;
        assert_eq!(office.outcome(&call), Some(Outcome::DoNotCall));
    }
}

#[tokio::test]
async fn outcomes_are_noted_with_time_and_person() {
    let office = Office::new().await;
    let call = caller("a", Some("2125550101"));
    let nothing = json!({ "outcome": "scheduled" });
    office.refused(&call, "record_outcome", nothing).await;
    let tomorrow = wall() + jiff::SignedDuration::from_hours(24);
    let local = tomorrow.to_zoned(times::zone("Eastern").expect("a zone"));
    let said = json!({
        "outcome": "gatekeeper",
        "call_again_at": local.strftime("%Y-%m-%dT%H:%M").to_string(),
        "person": "Pastor Lee",
    });
    office.done(&call, "record_outcome", said).await;
    let note = office.desk.notes.of(&call.call().id);
    assert_eq!(note.outcome, Some(Outcome::FollowUp));
    let minute = Timestamp::from_second(tomorrow.as_second() / 60 * 60).expect("a time");
    assert_eq!(note.call_again, Some(minute));
    let lead = office.leads.get(&phone("2125550101")).await;
    let lead = lead.expect("it answers").expect("a lead");
    assert_eq!(lead.text("contact_person"), Some("Pastor Lee"));
    for wrong in ["soon", "2020-01-01T10:00", "2999-01-01T10:00"] {
        let said = json!({ "outcome": "follow_up", "call_again_at": wrong });
        office.refused(&call, "record_outcome", said).await;
    }
    for (word, outcome) in [
        ("wrong_number", Outcome::WrongNumber),
        ("not_interested", Outcome::NotInterested),
        ("follow_up", Outcome::FollowUp),
    ] {
        let said = json!({ "outcome": word });
        office.done(&call, "record_outcome", said).await;
        assert_eq!(office.outcome(&call), Some(outcome));
    }
    office
        .refused(&call, "record_outcome", json!({ "outcome": "sold" }))
        .await;
}
