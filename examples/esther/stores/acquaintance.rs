//! The people on the phone as a call meets them: what the leads know, and the calls before.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use novavoice::{
    ProviderError,
    lead::{
        Change, Claim, Claimant, Guard, Lead, LeadFilter, LeadPage, LeadQuery, LeadStore,
        PhoneNumber,
    },
    record::{CallQuery, CallRecord, CallStore},
    state::StateStore,
};
use serde_json::{Value, json};

use super::{
    Stores,
    answering::{self, Wishes},
};
use crate::clock::wall;

/// A store of leads whose answers to [`get`](LeadStore::get) also hold the history of calls, in
/// the field [`HISTORY`](Self::HISTORY), which is never stored. Somebody who is no lead and was
/// on the phone before is known by that alone.
#[derive(Clone, Debug)]
pub(crate) struct Acquaintance {
    leads: Arc<dyn LeadStore>,
    calls: Arc<dyn CallStore>,
    state: Arc<dyn StateStore>,
}

impl Acquaintance {
    /// A list of short descriptions, newest first.
    pub(crate) const HISTORY: &'static str = "earlier_calls";

    pub(crate) fn new(stores: &Stores) -> Self {
        Self {
            leads: Arc::clone(&stores.leads),
            calls: Arc::clone(&stores.calls),
            state: Arc::clone(&stores.state),
        }
    }

    /// What a campaign's call to them does about a machine: a [`Voicemail`](novavoice::outbound::Voicemail),
    /// never stored with the lead.
    pub(crate) const VOICEMAIL: &'static str = "voicemail_policy";

    /// The version of the prompt by which a campaign's call to them speaks, never stored with the
    /// lead.
    pub(crate) const PROMPT: &'static str = "prompt_version";

    async fn wishes(&self, phone: &PhoneNumber) -> Option<Wishes> {
        let found = answering::find(&*self.state, phone, wall());
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what a campaign wants of a call cannot be looked up"
                );
                None
            }
            Err(_) => {
                tracing::warn!("looking up what a campaign wants of a call takes too long");
                None
            }
        }
    }

    /// Without history a call goes on just as well: it is not waited for long.
    async fn history(&self, phone: &PhoneNumber) -> Vec<Value> {
        let mut query = CallQuery::with(phone.clone());
        // One of them may be the call that is about to be talked.
        query.limit = CALLS + 1;
        let asked = tokio::time::timeout(PATIENCE, self.calls.list(&query)).await;
        let calls = match asked {
            Ok(Ok(page)) => page.calls,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "earlier calls cannot be looked up"
                );
                return Vec::new();
            }
            Err(_) => {
                tracing::warn!("looking earlier calls up takes too long");
                return Vec::new();
            }
        };
        let over = calls.iter().filter(|call| !call.is_live());
        over.take(CALLS).map(description).collect()
    }
}

fn description(call: &CallRecord) -> Value {
    let day = call.started.strftime("%B %-d, %Y");
    let outcome = call.outcome.map_or("unknown", |outcome| outcome.as_str());
    let who = match call.direction {
        novavoice::call::Direction::Inbound => "they called us",
        novavoice::call::Direction::Outbound => "we called them",
    };
    json!(format!(
        "{day}: {who}, outcome {}",
        outcome.replace('_', " ")
    ))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LeadStore for Acquaintance {
    async fn get(&self, phone: &PhoneNumber) -> Result<Option<Lead>, ProviderError> {
        let (lead, history, wishes) = tokio::join!(
            self.leads.get(phone),
            self.history(phone),
            self.wishes(phone)
        );
        let mut lead = lead?;
        let mut add = |name, value: Value| {
            let known = lead.take().unwrap_or_else(|| Lead::new(phone.clone()));
            lead = Some(known.with(name, value));
        };
        if !history.is_empty() {
            add(Self::HISTORY, history.into());
        }
        if let Some(wishes) = wishes {
            add(Self::VOICEMAIL, json!(wishes.voicemail));
            if let Some(version) = wishes.prompt_version {
                add(Self::PROMPT, version.into());
            }
        }
        Ok(lead)
    }

    async fn upsert(&self, mut lead: Lead) -> Result<Lead, ProviderError> {
        lead.fields.remove(Self::HISTORY);
        lead.fields.remove(Self::VOICEMAIL);
        lead.fields.remove(Self::PROMPT);
        self.leads.upsert(lead).await
    }

    async fn query(&self, query: &LeadQuery) -> Result<LeadPage, ProviderError> {
        self.leads.query(query).await
    }

    async fn update(
        &self,
        phone: &PhoneNumber,
        change: Change,
        guard: Guard,
    ) -> Result<Lead, ProviderError> {
        self.leads.update(phone, change, guard).await
    }

    async fn claim(
        &self,
        phone: &PhoneNumber,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        self.leads.claim(phone, claimant).await
    }

    async fn claim_next(
        &self,
        filter: &LeadFilter,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        self.leads.claim_next(filter, claimant).await
    }

    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<Claim, ProviderError> {
        self.leads.renew(claim, until).await
    }

    async fn settle(&self, claim: &Claim, change: Change) -> Result<Lead, ProviderError> {
        self.leads.settle(claim, change).await
    }
}

/// Calls that a prompt tells of.
const CALLS: usize = 3;
/// Shorter than the agent's patience with the whole look-up: the lead must not be lost with it.
const PATIENCE: Duration = Duration::from_millis(300);
