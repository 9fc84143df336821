//! Writing down what came of a call.

use jiff::{SignedDuration, Timestamp};
use novavoice::{
    ProviderError, ProviderErrorKind,
    call::Outcome,
    lead::{Change, Guard, Lead, LeadCallStatus},
    tool::{Tool, ToolContext, ToolError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Desk,
    caller::{number, zone},
    times::moment,
};
use crate::clock::wall;

/// Writes down what came of this call. Use it once you know, before you say goodbye; at once when
/// they ask not to be called again.
#[derive(Deserialize, JsonSchema)]
struct RecordOutcome {
    /// What came of it.
    outcome: Said,
    /// When to call again, by the caller's clock, such as 2026-06-24T10:00. Only if they said so.
    call_again_at: Option<String>,
    /// Whom to ask for then. Only if they said so.
    person: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// A meeting is booked.
    Scheduled,
    /// They want to be called again.
    FollowUp,
    /// They declined.
    NotInterested,
    /// Not the church that we meant to reach.
    WrongNumber,
    /// They asked not to be called again.
    DoNotCall,
    /// Somebody else answered, and perhaps named a better time or person.
    Gatekeeper,
}

impl Said {
    const fn outcome(self) -> Outcome {
        match self {
            Self::Scheduled => Outcome::Scheduled,
            Self::FollowUp | Self::Gatekeeper => Outcome::FollowUp,
            Self::NotInterested => Outcome::NotInterested,
            Self::WrongNumber => Outcome::WrongNumber,
            Self::DoNotCall => Outcome::DoNotCall,
        }
    }
}

/// `record_outcome`
pub(super) fn record_outcome(desk: Desk) -> Tool {
    Tool::new("record_outcome", move |context, said| {
        let desk = desk.clone();
        async move { desk.write_down(&context, &said).await }
    })
}

impl Desk {
    async fn write_down(
        &self,
        context: &ToolContext,
        said: &RecordOutcome,
    ) -> Result<Value, ToolError> {
        let call = &context.call().id;
        if said.outcome == Said::DoNotCall {
            return self.opt_out(context).await;
        }
        let is_booked = match self.notes.of(call).outcome {
            Some(Outcome::Scheduled) => true,
            _ if said.outcome == Said::Scheduled => !self.meetings(context).await?.is_empty(),
            _ => false,
        };
        match (said.outcome, is_booked) {
            (Said::Scheduled, false) => {
                return Err(ToolError::new(
                    "No meeting is booked for them. Book it with book_meeting first.",
                ));
            }
            (Said::Scheduled, true) | (_, false) => {}
            (_, true) => {
                return Err(ToolError::new(
                    "A meeting is booked in this call. If they do not want it, use \
                     cancel_meeting first.",
                ));
            }
        }
        let again = self.call_again(context, said)?;
        let outcome = said.outcome.outcome();
        self.notes.change(call, |note| {
            note.came_to(Some(outcome));
            note.call_again = again;
        });
        let person = said.person.as_deref().map(str::trim).unwrap_or_default();
        if !person.is_empty() {
            let person: String = person.chars().take(LONGEST_NAME).collect();
            self.change_lead(context, Change::new().set("contact_person", person))
                .await?;
        }
        Ok(json!({ "status": "recorded" }))
    }

    fn call_again(
        &self,
        context: &ToolContext,
        said: &RecordOutcome,
    ) -> Result<Option<Timestamp>, ToolError> {
        let wanted = said.call_again_at.as_deref().map(str::trim);
        let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
            return Ok(None);
        };
        if said.outcome.outcome() != Outcome::FollowUp {
            return Ok(None);
        }
        let now = wall();
        let zone = zone(context, None, now).unwrap_or_else(|_| self.office.hours.zone.clone());
        let last = now.checked_add(LATEST).unwrap_or(Timestamp::MAX);
        match moment(wanted, &zone) {
            Some(at) if (now..=last).contains(&at) => Ok(Some(at)),
            Some(_) => Err(ToolError::new(
                "`call_again_at` is not within the next year.",
            )),
            None => Err(ToolError::new(
                "`call_again_at` is no time such as 2026-06-24T10:00.",
            )),
        }
    }

    /// Must be known before anybody can dial again, so it does not wait for the end of the call.
    async fn opt_out(&self, context: &ToolContext) -> Result<Value, ToolError> {
        self.notes.change(&context.call().id, |note| {
            note.came_to(Some(Outcome::DoNotCall));
            note.call_again = None;
        });
        if let Err(error) = self.write_opt_out(context).await {
            tracing::error!(
                call_id = %context.call().id,
                error = &error as &dyn std::error::Error,
                "an opt-out is not written yet; the end of the call tries again"
            );
            return Err(ToolError::new(
                "It could not be written down. Call record_outcome once more.",
            ));
        }
        Ok(json!({
            "status": "recorded",
            "note": "Apologise, promise not to call again, and say goodbye.",
        }))
    }

    async fn write_opt_out(&self, context: &ToolContext) -> Result<(), ProviderError> {
        let Some(phone) = number(context) else {
            return Ok(());
        };
        if let Some(gatekeeper) = &self.gatekeeper {
            gatekeeper.opt_out(&phone, wall()).await?;
        }
        let word = LeadCallStatus::DoNotCall.as_str();
        let change = Change::new().set("call_status", word);
        let change = change.remove("next_attempt");
        match self.leads.update(&phone, change, Guard::Any).await {
            // Whoever is no lead yet must not become one that is dialled.
            Err(error) if *error.kind() == ProviderErrorKind::NotFound => {
                let lead = Lead::new(phone).with("call_status", word);
                self.leads.upsert(lead).await.map(drop)
            }
            written => written.map(drop),
        }
    }
}

/// Nobody means a later time.
const LATEST: SignedDuration = SignedDuration::from_hours(366 * 24);
/// Characters of a name.
const LONGEST_NAME: usize = 200;
