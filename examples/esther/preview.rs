//! What a campaign would do now, before anybody is dialled.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use novavoice::{
    ProviderError,
    lead::{LeadQuery, LeadStore},
    outbound::{ConsentRule, Gatekeeper, Plan},
};
use serde::Serialize;

/// How many leads would be called, and what speaks against the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preview {
    /// Leads that the filter lets through.
    pub(crate) matched: u64,
    /// Those against whom no rule speaks.
    pub(crate) would_dial: u64,
    /// How many leads each reason speaks against; a lead may have several.
    pub(crate) refusals: BTreeMap<String, u64>,
}

impl Preview {
    /// Asks the gate about every lead, as if its turn came at `at`. Nothing is written.
    ///
    /// # Errors
    ///
    /// When the leads cannot be read.
    pub(crate) async fn of(
        plan: &Plan,
        leads: &dyn LeadStore,
        gate: &Gatekeeper,
        consent: ConsentRule,
        at: Timestamp,
    ) -> Result<Self, ProviderError> {
        let rules = plan.rules(consent);
        let mut preview = Self::default();
        let mut query = LeadQuery::new(plan.filter.clone()).with_limit(PAGE);
        loop {
            let page = leads.query(&query).await?;
            let mut asked = Vec::new();
            for lead in &page.leads {
                asked.push(gate.ask(&lead.phone, Some(lead), &rules, at));
            }
            let mut asked = stream::iter(asked).buffer_unordered(AT_ONCE);
            while let Some(refusals) = asked.next().await {
                preview.matched += 1;
                preview.would_dial += u64::from(refusals.is_empty());
                for refusal in refusals {
                    *preview.refusals.entry(refusal.to_string()).or_default() += 1;
                }
            }
            drop(asked);
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(preview),
            }
        }
    }
}

/// Leads that are read at a time.
const PAGE: usize = 200;
/// Leads that are asked about at a time: each takes two look-ups.
const AT_ONCE: usize = 16;
