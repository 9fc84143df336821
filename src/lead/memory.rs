//! Leads in memory: the store to read first, and the one for tests.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    error::ProviderError,
    lead::{Lead, LeadStore, PhoneNumber},
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
    leads: Arc<Mutex<BTreeMap<PhoneNumber, Lead>>>,
}

impl MemoryLeads {
    /// Knows nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everybody, in the order of their numbers.
    #[must_use]
    pub fn all(&self) -> Vec<Lead> {
        self.leads().values().cloned().collect()
    }

    fn leads(&self) -> MutexGuard<'_, BTreeMap<PhoneNumber, Lead>> {
        self.leads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LeadStore for MemoryLeads {
    async fn get(&self, phone: &PhoneNumber) -> Result<Option<Lead>, ProviderError> {
        Ok(self.leads().get(phone).cloned())
    }

    async fn upsert(&self, lead: Lead) -> Result<Lead, ProviderError> {
        let named = lead
            .fields
            .into_iter()
            .filter(|(_, value)| !value.is_null());
        Ok(match self.leads().entry(lead.phone.clone()) {
            Entry::Vacant(new) => {
                let mut lead = Lead::new(lead.phone);
                lead.fields.extend(named);
                lead.version = 1;
                new.insert(lead).clone()
            }
            Entry::Occupied(mut stored) => {
                let stored = stored.get_mut();
                let before = stored.fields.clone();
                stored.fields.extend(named);
                if stored.fields != before {
                    stored.version += 1;
                }
                stored.clone()
            }
        })
    }
}
