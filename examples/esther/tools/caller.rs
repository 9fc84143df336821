//! Who is on the phone, as the tools see them.

use jiff::{Timestamp, tz::TimeZone};
use novavoice::{
    ProviderErrorKind,
    booking::{Meeting, spoken},
    lead::{Change, Guard, Lead, PhoneNumber},
    tool::{NoArguments, Tool, ToolContext, ToolError},
};
use serde_json::{Value, json};

use super::{Desk, times};
use crate::clock::wall;

impl Desk {
    /// The meetings that the caller may change, earliest first: those of the number that they
    /// call from, and without one those that were booked in this very call.
    pub(super) async fn meetings(&self, context: &ToolContext) -> Result<Vec<Meeting>, ToolError> {
        if let Some(phone) = number(context) {
            return Ok(self.office.calendar.of(&phone, wall()).await?);
        }
        let booked = self.notes.of(&context.call().id).booked;
        let mut meetings = Vec::new();
        for known in booked {
            let theirs = self.office.calendar.of(&known.phone, wall()).await?;
            meetings.extend(theirs.into_iter().filter(|other| other.uid == known.uid));
        }
        Ok(meetings)
    }

    /// Changes the lead of whoever is on the phone, where there is one.
    pub(super) async fn change_lead(
        &self,
        context: &ToolContext,
        change: Change,
    ) -> Result<(), novavoice::ProviderError> {
        let Some(phone) = number(context) else {
            return Ok(());
        };
        match self.leads.update(&phone, change, Guard::Any).await {
            Err(error) if *error.kind() == ProviderErrorKind::NotFound => Ok(()),
            changed => changed.map(drop),
        }
    }

    /// As [`change_lead`](Self::change_lead), for what the end of the call writes once more.
    pub(super) async fn change_lead_for_now(&self, context: &ToolContext, change: Change) {
        if let Err(error) = self.change_lead(context, change).await {
            tracing::warn!(
                call_id = %context.call().id,
                error = &error as &dyn std::error::Error,
                "a lead is not changed before the end of its call"
            );
        }
    }
}

/// The number that the caller calls from, or was called at.
pub(super) fn number(context: &ToolContext) -> Option<PhoneNumber> {
    let remote = context.call().remote.as_ref()?;
    PhoneNumber::try_from(remote).ok()
}

/// The time zone of whoever is on the phone: the one that they said, otherwise what is known of
/// them, if that leaves no doubt about the time at `now`.
pub(super) fn zone(
    context: &ToolContext,
    said: Option<&str>,
    now: Timestamp,
) -> Result<TimeZone, ToolError> {
    if let Some(said) = said.map(str::trim).filter(|said| !said.is_empty()) {
        return times::zone(said).ok_or_else(|| {
            ToolError::new("That time zone is not known. Use a name such as America/New_York.")
        });
    }
    zone_of(context.lead(), number(context), now).ok_or_else(|| {
        ToolError::new("Their time zone is not certain. Ask for it, and pass it as `time_zone`.")
    })
}

/// The zone that is known of somebody, if that leaves no doubt about the time at `now`.
pub(crate) fn zone_of(
    lead: Option<&Lead>,
    number: Option<PhoneNumber>,
    now: Timestamp,
) -> Option<TimeZone> {
    let lead = lead.cloned().or_else(|| number.map(Lead::new))?;
    let zones = lead.zones();
    let mut all = zones.iter();
    let first = all.next()?;
    let same = |zone: TimeZone| zone.to_offset(now) == first.to_offset(now);
    (zones.known && all.all(same)).then_some(first)
}

/// `look_up_lead`
pub(super) fn look_up_lead(desk: Desk) -> Tool {
    Tool::new(
        "look_up_lead",
        move |context: ToolContext, NoArguments {}| {
            let desk = desk.clone();
            async move { found(&desk, &context).await }
        },
    )
    .describe(
        "Looks up what our records say about the person on this call: name, church, state, where \
         things stand, and their booked meetings.",
    )
    .interruptible()
}

async fn found(desk: &Desk, context: &ToolContext) -> Result<Value, ToolError> {
    let lead = match number(context) {
        Some(phone) => desk.leads.get(&phone).await?,
        None => None,
    };
    let meetings = desk.meetings(context).await?;
    let meetings = meetings.iter().map(|meeting| {
        let zone = times::zone(&meeting.zone).unwrap_or_else(|| desk.office.hours.zone.clone());
        spoken(meeting.start, &zone)
    });
    let text = |field| lead.as_ref().and_then(|lead| lead.text(field));
    Ok(json!({
        "known": lead.is_some(),
        "name": text("name"),
        "church": text("company"),
        "state": text("state_province"),
        "status": text("call_status"),
        "person_to_ask_for": text("contact_person"),
        "meetings": meetings.collect::<Vec<_>>(),
    }))
}
