//! Leads: the people whom an agent calls or who call it.

mod phone;
pub use phone::{NotAPhoneNumber, PhoneNumber};

pub mod time_zone;

mod memory;
pub use memory::MemoryLeads;

mod discard;
pub use discard::Discard;

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ProviderError;

/// Keeps leads, one per phone number.
///
/// # Contract
///
/// [`upsert`](Self::upsert) merges: a field that the new lead names replaces the stored one, a
/// field that it does not name stays untouched, also where no code knows its meaning. A `null`
/// names nothing: it removes nothing and is not stored. (What somebody else forgot to fill in
/// must not erase what is known.) Every change raises the version by one, beginning with 1; an
/// upsert that changes nothing leaves it as it is. The version in the given lead has no meaning.
#[async_trait]
pub trait LeadStore: fmt::Debug + Send + Sync + 'static {
    /// The lead with this number, if there is one.
    async fn get(&self, phone: &PhoneNumber) -> Result<Option<Lead>, ProviderError>;

    /// Inserts, or merges into the lead with the same number; answers with what is stored now.
    /// Safe to repeat.
    async fn upsert(&self, lead: Lead) -> Result<Lead, ProviderError>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: LeadStore + ?Sized> LeadStore for Arc<L> {
    async fn get(&self, phone: &PhoneNumber) -> Result<Option<Lead>, ProviderError> {
        (**self).get(phone).await
    }

    async fn upsert(&self, lead: Lead) -> Result<Lead, ProviderError> {
        (**self).upsert(lead).await
    }
}

/// A person or an organisation to talk with. `Debug` shows the version and field names alone.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a key and its open-ended fields")]
pub struct Lead {
    /// The key.
    pub phone: PhoneNumber,
    /// 0 for a lead that was never stored; grows by one with every change.
    #[serde(default)]
    pub version: u64,
    /// Everything else, by its field name: `name`, `company`, `lead_status`, …
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

impl Lead {
    /// A lead of which only the number is known.
    #[must_use]
    pub fn new(phone: PhoneNumber) -> Self {
        Self {
            phone,
            version: 0,
            fields: BTreeMap::new(),
        }
    }

    /// The same lead with one more field.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(field.into(), value.into());
        self
    }

    /// A field that holds text and is not empty.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields
            .get(field)?
            .as_str()
            .filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead")
            .field("phone", &self.phone)
            .field("version", &self.version)
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .finish()
    }
}
