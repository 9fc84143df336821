//! Leads in memory: the store to read first, and the one for tests.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    error::ProviderError,
    lead::{
        Change, Claim, Claimant, Guard, Lead, LeadCursor, LeadFilter, LeadPage, LeadQuery,
        LeadStore, PhoneNumber, fields,
        record::{Record, Refused},
    },
};

/// Keeps leads for as long as the process lives. Clones share them.
///
/// ```
/// use novavoice::lead::{Lead, LeadStore, MemoryLeads, PhoneNumber};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let leads = MemoryLeads::new();
/// let phone = PhoneNumber::parse("+1 (212) 555-0101")?;
/// leads.upsert(Lead::new(phone.clone()).with("name", "Grace")).await?;
/// leads.upsert(Lead::new(phone.clone()).with("company", "Chapel Hill")).await?;
///
/// let lead = leads.get(&phone).await?.ok_or("is stored")?;
/// assert_eq!(lead.text("name"), Some("Grace"));
/// assert_eq!(lead.text("company"), Some("Chapel Hill"));
/// assert_eq!(lead.version, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryLeads {
    leads: Arc<Mutex<BTreeMap<PhoneNumber, Record>>>,
}

const PROVIDER: &str = "memory";

impl MemoryLeads {
    /// Knows nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everybody, in the order of their numbers.
    #[must_use]
    pub fn all(&self) -> Vec<Lead> {
        let leads = self.leads();
        leads.values().map(|record| record.lead.clone()).collect()
    }

    fn leads(&self) -> MutexGuard<'_, BTreeMap<PhoneNumber, Record>> {
        self.leads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what `becomes` makes of the lead in its place, and answers with it.
    fn write(
        &self,
        phone: &PhoneNumber,
        becomes: impl FnOnce(&Record) -> Result<Record, Refused>,
    ) -> Result<Record, ProviderError> {
        let mut leads = self.leads();
        let stored = leads
            .get_mut(phone)
            .ok_or_else(|| Refused::Unknown.named(PROVIDER))?;
        *stored = becomes(stored).map_err(|refused| refused.named(PROVIDER))?;
        Ok(stored.clone())
    }
}

#[async_trait]
impl LeadStore for MemoryLeads {
    async fn get(&self, phone: &PhoneNumber) -> Result<Option<Lead>, ProviderError> {
        Ok(self.leads().get(phone).map(|record| record.lead.clone()))
    }

    async fn upsert(&self, lead: Lead) -> Result<Lead, ProviderError> {
        let fields = fields::checked(PROVIDER, lead.fields)?;
        let mut leads = self.leads();
        let stored = leads.get(&lead.phone);
        let after =
            Record::upserted(stored, lead.phone.clone(), fields).or_else(|| stored.cloned());
        let after = after.ok_or_else(|| Refused::Unknown.named(PROVIDER))?;
        leads.insert(lead.phone, after.clone());
        Ok(after.lead)
    }

    async fn query(&self, query: &LeadQuery) -> Result<LeadPage, ProviderError> {
        let leads = self.leads();
        let after = match &query.after {
            Some(cursor) => Bound::Excluded(
                PhoneNumber::parse(cursor.reveal()).map_err(|_| super::foreign_cursor(PROVIDER))?,
            ),
            None => Bound::Unbounded,
        };
        let mut found = leads
            .range((after, Bound::Unbounded))
            .map(|(_, record)| &record.lead)
            .filter(|lead| query.filter.matches(lead));
        let mut page = LeadPage::default();
        page.leads
            .extend(found.by_ref().take(query.page_size()).cloned());
        if found.next().is_some() {
            let last = page.leads.last();
            page.next = last.map(|lead| LeadCursor::new(lead.phone.display()));
        }
        Ok(page)
    }

    async fn update(
        &self,
        phone: &PhoneNumber,
        change: Change,
        guard: Guard,
    ) -> Result<Lead, ProviderError> {
        let change = Change::from(fields::checked(PROVIDER, change.fields)?);
        let becomes = |stored: &Record| {
            let changed = stored.updated(change, guard)?;
            Ok(changed.unwrap_or_else(|| stored.clone()))
        };
        Ok(self.write(phone, becomes)?.lead)
    }

    async fn claim(
        &self,
        phone: &PhoneNumber,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        let mut leads = self.leads();
        let Some(stored) = leads.get_mut(phone) else {
            return Ok(None);
        };
        if !stored.is_free(claimant.now) {
            return Ok(None);
        }
        *stored = stored.claimed(claimant);
        Ok(stored.clone().into_claim())
    }

    async fn claim_next(
        &self,
        filter: &LeadFilter,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        let mut leads = self.leads();
        let next = leads
            .values_mut()
            .find(|record| record.is_due(claimant.now) && filter.matches(&record.lead));
        Ok(next.and_then(|stored| {
            *stored = stored.claimed(claimant);
            stored.clone().into_claim()
        }))
    }

    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<Claim, ProviderError> {
        let until = crate::clock::whole_millis(until);
        let renewed = self.write(&claim.lead.phone, |s| s.renewed(claim.fence, until))?;
        renewed
            .into_claim()
            .ok_or_else(|| Refused::Lost.named(PROVIDER))
    }

    async fn settle(&self, claim: &Claim, change: Change) -> Result<Lead, ProviderError> {
        let change = Change::from(fields::checked(PROVIDER, change.fields)?);
        let settled = self.write(&claim.lead.phone, |s| s.settled(change, claim.fence))?;
        Ok(settled.lead)
    }
}
