//! The tools around Mike's calendar.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use novavoice::{
    ProviderErrorKind,
    booking::{Busy, Meeting, spoken},
    call::Outcome,
    lead::{Change, LeadCallStatus, PhoneNumber},
    tool::{Tool, ToolContext, ToolError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Desk,
    caller::{number, zone},
    times::{Wish, moment},
};
use crate::clock::wall;

/// Finds free times for a 15-minute meeting with Mike Lawrence, three at most, near what the
/// caller wants. Offer only these, and say them as `say` has them.
#[derive(Deserialize, JsonSchema)]
struct FindTimes {
    /// The day that the caller wants, by the caller's calendar, such as 2026-06-23.
    day: Option<String>,
    /// Not before this time of day by the caller's clock, such as 14:30.
    after: Option<String>,
    /// Before this time of day by the caller's clock, such as 12:00.
    before: Option<String>,
    /// Only if the caller said it: their time zone, such as America/New_York.
    time_zone: Option<String>,
}

/// Books a meeting. First read the whole appointment back (day, time, time zone, name, e-mail
/// address) and get a clear yes.
#[derive(Deserialize, JsonSchema)]
struct BookMeeting {
    /// The `start` of a time that find_times has given in this call.
    start: String,
    /// Whether the caller has said yes to the whole appointment read back aloud.
    #[serde(default)]
    confirmed: bool,
    /// Their name.
    name: String,
    /// Where the invitation goes: their e-mail address.
    email: Option<String>,
    /// Their church.
    church: Option<String>,
    /// Only if the caller said it: their time zone, such as America/New_York.
    time_zone: Option<String>,
    /// Only if the call shows no number: the phone number that they gave.
    phone: Option<String>,
}

/// Moves the caller's meeting to another time. First say the new time back and get a clear yes.
#[derive(Deserialize, JsonSchema)]
struct MoveMeeting {
    /// The `start` of a time that find_times has given in this call.
    start: String,
    /// Whether the caller has said yes to the new time read back aloud.
    #[serde(default)]
    confirmed: bool,
}

/// Cancels the caller's meeting. First say which one and get a clear yes.
#[derive(Deserialize, JsonSchema)]
struct CancelMeeting {
    /// Whether the caller has said yes to the cancellation.
    #[serde(default)]
    confirmed: bool,
}

/// `find_times`
pub(super) fn find_times(desk: Desk) -> Tool {
    Tool::new("find_times", move |context, wanted| {
        let desk = desk.clone();
        async move { desk.find(&context, &wanted).await }
    })
    .filler("One moment, let me look at the calendar.")
    .deadline(PATIENCE)
    .interruptible()
}

/// `book_meeting`
pub(super) fn book_meeting(desk: Desk) -> Tool {
    Tool::new("book_meeting", move |context, wanted| {
        let desk = desk.clone();
        async move { desk.book(&context, wanted).await }
    })
    .deadline(PATIENCE)
}

/// `move_meeting`
pub(super) fn move_meeting(desk: Desk) -> Tool {
    Tool::new("move_meeting", move |context, wanted| {
        let desk = desk.clone();
        async move { desk.shift(&context, &wanted).await }
    })
    .deadline(PATIENCE)
}

/// `cancel_meeting`
pub(super) fn cancel_meeting(desk: Desk) -> Tool {
    Tool::new("cancel_meeting", move |context, wanted| {
        let desk = desk.clone();
        async move { desk.cancel(&context, &wanted).await }
    })
    .deadline(PATIENCE)
}

impl Desk {
    async fn find(&self, context: &ToolContext, wanted: &FindTimes) -> Result<Value, ToolError> {
        let now = wall();
        let zone = zone(context, wanted.time_zone.as_deref(), now)?;
        let wish = Wish::read(
            wanted.day.as_deref(),
            wanted.after.as_deref(),
            wanted.before.as_deref(),
        )?;
        let busy = self.busy(now).await?;
        let slots: Vec<_> = self.office.hours.slots(now, &busy).collect();
        let starts = wish.choose(&slots, &zone);
        self.notes
            .change(&context.call().id, |note| note.offer(&starts));
        let note = match starts.iter().all(|start| wish.allows(*start, &zone)) {
            _ if starts.is_empty() => "Nothing is free. Ask for another time of day.",
            true => "Offer these, one question at a time.",
            false => "Not all of these are what was wanted: say so, and offer the nearest.",
        };
        let times = starts
            .iter()
            .map(|start| json!({ "start": start, "say": spoken(*start, &zone) }));
        Ok(json!({ "times": times.collect::<Vec<_>>(), "note": note }))
    }

    async fn book(&self, context: &ToolContext, wanted: BookMeeting) -> Result<Value, ToolError> {
        let now = wall();
        let zone = zone(context, wanted.time_zone.as_deref(), now)?;
        let call = &context.call().id;
        let turn = self.notes.of(call).turn;
        let _turn = turn.lock().await;
        let start = self.offered(context, &wanted.start, &zone)?;
        confirmed(wanted.confirmed)?;
        let theirs = self.meetings(context).await?;
        if let Some(same) = theirs.iter().find(|meeting| meeting.start == start) {
            return Ok(self.booked(same, &zone));
        }
        if let Some(other) = theirs.first() {
            let when = spoken(other.start, &zone);
            return Err(ToolError::new(format!(
                "They have a meeting already, on {when}. Use move_meeting if they want another \
                 time."
            )));
        }
        self.still_free(start, now, None).await?;
        let meeting = self.meeting(context, wanted, start, &zone)?;
        self.office
            .calendar
            .book(&meeting)
            .await
            .map_err(|error| declined(&error))?;
        self.notes.change(call, |note| {
            note.booked.push(meeting.clone());
            note.came_to(Some(Outcome::Scheduled));
        });
        self.office.changed();
        self.is_scheduled(context).await;
        Ok(self.booked(&meeting, &zone))
    }

    async fn shift(&self, context: &ToolContext, wanted: &MoveMeeting) -> Result<Value, ToolError> {
        let now = wall();
        let call = &context.call().id;
        let turn = self.notes.of(call).turn;
        let _turn = turn.lock().await;
        let meeting = self.first_meeting(context).await?;
        let zone =
            super::times::zone(&meeting.zone).unwrap_or_else(|| self.office.hours.zone.clone());
        let start = self.offered(context, &wanted.start, &zone)?;
        confirmed(wanted.confirmed)?;
        if meeting.start != start {
            self.still_free(start, now, Some(&meeting)).await?;
        }
        let moved = self.office.calendar.reschedule(&meeting.uid, start).await;
        let moved = moved.map_err(|error| declined(&error))?;
        self.notes
            .change(call, |note| note.came_to(Some(Outcome::Scheduled)));
        self.office.changed();
        self.is_scheduled(context).await;
        Ok(self.booked(&moved, &zone))
    }

    async fn cancel(
        &self,
        context: &ToolContext,
        wanted: &CancelMeeting,
    ) -> Result<Value, ToolError> {
        let call = &context.call().id;
        let turn = self.notes.of(call).turn;
        let _turn = turn.lock().await;
        let meeting = self.first_meeting(context).await?;
        confirmed(wanted.confirmed)?;
        let cancelled = self.office.calendar.cancel(&meeting.uid).await;
        cancelled.map_err(|error| declined(&error))?;
        self.office.changed();
        self.notes.change(call, |note| note.came_to(None));
        let called = LeadCallStatus::Called.as_str();
        let change = Change::new().set("call_status", called);
        self.change_unless_opted_out(context, change).await;
        Ok(json!({
            "status": "cancelled",
            "note": "Say that it is cancelled, and ask whether another time would suit.",
        }))
    }

    async fn first_meeting(&self, context: &ToolContext) -> Result<Meeting, ToolError> {
        let theirs = self.meetings(context).await?;
        let first = theirs.into_iter().next();
        first.ok_or_else(|| ToolError::new("No meeting is booked for them."))
    }

    /// What is taken as far ahead as meetings are offered.
    async fn busy(&self, now: Timestamp) -> Result<Vec<Busy>, ToolError> {
        let ahead = self.office.hours.ahead + self.office.hours.length + self.office.hours.buffer;
        let until = now.checked_add(ahead).unwrap_or(Timestamp::MAX);
        let from = now.checked_sub(self.office.hours.buffer).unwrap_or(now);
        let busy = self.office.calendar.busy(from, until).await;
        busy.map_err(|error| declined(&error))
    }

    /// The start that the model means, if the caller has heard of it.
    fn offered(
        &self,
        context: &ToolContext,
        start: &str,
        zone: &TimeZone,
    ) -> Result<Timestamp, ToolError> {
        let note = self.notes.of(&context.call().id);
        let start = moment(start, zone).filter(|start| note.was_offered(*start));
        start.ok_or_else(|| {
            ToolError::new(
                "That time was not offered in this call. Call find_times, and use a `start` that \
                 it gives.",
            )
        })
    }

    /// A time may be gone since it was offered, though not for the minutes that the call has
    /// taken since. The meeting that is to be moved is not in the way.
    async fn still_free(
        &self,
        start: Timestamp,
        now: Timestamp,
        moved: Option<&Meeting>,
    ) -> Result<(), ToolError> {
        let mut busy = self.busy(now).await?;
        if let Some(moved) = moved {
            busy.retain(|busy| busy.start != moved.start);
        }
        let offered = now.checked_sub(SINCE_OFFERED).unwrap_or(now);
        match self.office.hours.offers(start, offered, &busy) {
            true => Ok(()),
            false => Err(ToolError::new(GONE)),
        }
    }

    fn meeting(
        &self,
        context: &ToolContext,
        wanted: BookMeeting,
        start: Timestamp,
        zone: &TimeZone,
    ) -> Result<Meeting, ToolError> {
        let said = wanted.phone.as_deref();
        let said = said.and_then(|said| PhoneNumber::parse(said).ok());
        let phone = number(context).or(said).ok_or_else(|| {
            ToolError::new("This call shows no number. Ask for theirs, and pass it as `phone`.")
        })?;
        let email = filled(wanted.email);
        if email.as_deref().is_some_and(|email| !is_address(email)) {
            return Err(ToolError::new(
                "That is no e-mail address such as grace@example.org. Ask for it again.",
            ));
        }
        let call = &context.call().id;
        let before = self.notes.of(call).booked.len();
        let name = format!("esther-meeting/{call}/{before}/{start}");
        let lead = |field| context.lead().and_then(|lead| lead.text(field));
        Ok(Meeting {
            // The same again if the answer of the calendar is lost.
            uid: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string(),
            sequence: 0,
            start,
            end: self.office.hours.end(start),
            phone,
            name: filled(Some(wanted.name)),
            church: filled(wanted.church).or_else(|| lead("company").map(str::to_owned)),
            email: email.or_else(|| lead("email").map(str::to_owned)),
            zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        })
    }

    fn booked(&self, meeting: &Meeting, zone: &TimeZone) -> Value {
        let note = match (self.office.sends_mail(), &meeting.email) {
            (true, Some(_)) => {
                "Say in one sentence that it is booked and that the invitation comes by e-mail."
            }
            (true, None) => {
                "Say in one sentence that it is booked. Without an e-mail address no invitation \
                 is sent."
            }
            (false, _) => {
                "Say in one sentence that it is booked. No invitation is sent by e-mail: promise \
                 none."
            }
        };
        json!({
            "status": "booked",
            "start": meeting.start,
            "say": spoken(meeting.start, zone),
            "invitation": self.office.sends_mail() && meeting.email.is_some(),
            "note": note,
        })
    }

    async fn is_scheduled(&self, context: &ToolContext) {
        let scheduled = LeadCallStatus::Scheduled.as_str();
        let change = Change::new().set("call_status", scheduled);
        self.change_unless_opted_out(context, change.remove("next_attempt"))
            .await;
    }

    async fn change_unless_opted_out(&self, context: &ToolContext, change: Change) {
        if self.notes.of(&context.call().id).outcome != Some(Outcome::DoNotCall) {
            self.change_lead_for_now(context, change).await;
        }
    }
}

fn confirmed(confirmed: bool) -> Result<(), ToolError> {
    match confirmed {
        true => Ok(()),
        false => Err(ToolError::new(
            "Not confirmed yet. Say it back aloud, ask whether it is right, and call this again \
             with `confirmed` once they said yes.",
        )),
    }
}

/// What the calendar says, in words that the model can act on.
fn declined(error: &novavoice::ProviderError) -> ToolError {
    match error.kind() {
        ProviderErrorKind::Conflict => ToolError::new(GONE),
        _ => {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the calendar does not answer a call"
            );
            ToolError::new(AWAY)
        }
    }
}

fn is_address(text: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>,;:\"()[]\\".contains(c);
    let parts = text.split_once('@');
    parts.is_some_and(|(name, host)| {
        !name.is_empty()
            && host.contains('.')
            && !host.contains('@')
            && !host.starts_with('.')
            && !host.ends_with('.')
            && text.len() <= 254
            && text.chars().all(plain)
    })
}

fn filled(text: Option<String>) -> Option<String> {
    let line = text?.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().take(LONGEST).collect();
    (!line.is_empty()).then_some(line)
}

/// Characters of a name.
const LONGEST: usize = 254;

/// From an offer to a yes; far less than the notice that the host wants.
const SINCE_OFFERED: SignedDuration = SignedDuration::from_mins(30);

/// A calendar elsewhere is asked several things before a meeting is in it.
const PATIENCE: Duration = Duration::from_secs(20);

const AWAY: &str = "Mike's calendar cannot be reached right now. Apologise, and offer or promise no time. Ask when it would suit them, say that \
                    Mike's office will get back to them, and use record_outcome with follow_up.";

const GONE: &str = "That time has just been taken. Apologise, call find_times, and offer others.";
