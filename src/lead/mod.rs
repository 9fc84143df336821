//! Leads: the people whom an agent calls or who call it.

mod phone;
pub use phone::{NotAPhoneNumber, PhoneNumber};

pub mod time_zone;

mod fields;

mod change;
pub use change::{CallResult, Change, LeadCallStatus};

mod query;
pub use query::{LeadCursor, LeadFilter, LeadPage, LeadProblem, LeadQuery};

mod claim;
pub use claim::{Claim, Claimant, Guard, LEASE};

mod record;

mod memory;
pub use memory::MemoryLeads;

#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteLeads;

#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoLeads;

mod discard;
pub use discard::Discard;

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ProviderError;

/// Keeps leads, one per phone number.
///
/// # Contract
///
/// *Merging.* [`upsert`](Self::upsert) merges: a field that the new lead names replaces the
/// stored one, a field that it does not name stays untouched, also where no code knows its
/// meaning. A `null` names nothing: it removes nothing and is not stored. (What somebody else
/// forgot to fill in must not erase what is known.) Every change raises the version by one,
/// beginning with 1; a write that changes nothing leaves it as it is. The version in the given
/// lead has no meaning. [`update`](Self::update) changes a lead that is there, and a `null`
/// removes.
///
/// *Fields.* Those that a store looks at have a type, and what does not fit is refused as
/// [`Invalid`](crate::ProviderErrorKind::Invalid): text for those of the table, true or false for
/// `unread_by_owner`, a time for `next_attempt`, a count for `attempts`. An empty `lead_status`,
/// `owner_alias`, `call_status` or `state_province` is none. `phone`, `version` and `claim_…`
/// are the store's own and cannot be set.
///
/// *Opting out.* A `call_status` of `do_not_call` stays, whatever a later import, call or claim
/// says. Only an update that names the lead's version ([`Guard::Version`]) lifts it: somebody who
/// has seen it.
///
/// *Claims.* A claim gives a lead to one holder until its lease runs out; after that anybody may
/// claim it, with a fence that is one higher. What the holder writes carries the fence and is
/// refused as a [`Conflict`](crate::ProviderErrorKind::Conflict) once it is stale, that is, from
/// the moment when somebody else claims the lead or the holder settles it. A lease that ran out
/// unnoticed can still be renewed. Claiming, renewing and giving back change no version.
/// Leases are compared with the clocks of those who claim: let these agree to a few seconds.
///
/// *Due.* [`claim_next`](Self::claim_next) gives out leads that are due at the claimant's time:
/// - whose claim's lease has run out, whatever they say: what its holder began must be settled;
/// - otherwise those with a `next_attempt` that has come, or without one when their `call_status`
///   is `not_called` or absent, but never `do_not_call`, `bad_number` or a word that nobody knows.
///
/// The filter holds for both: a lead whose holder changed what the filter asks for is found by
/// another filter, or by its number. So a holder that does not want the lead back at once settles it with a `call_status` or a
/// `next_attempt`, most easily with [`Change::result`].
///
/// *Bad items.* A table may hold what is no lead: other types, keys that are no numbers or are not
/// written as [`PhoneNumber::display`] writes them. Queries report these by key and go on, claims
/// pass over them, and reading or writing one is [`Protocol`](crate::ProviderErrorKind::Protocol).
#[async_trait]
pub trait LeadStore: fmt::Debug + Send + Sync + 'static {
    /// The lead with this number, if there is one.
    async fn get(&self, phone: &PhoneNumber) -> Result<Option<Lead>, ProviderError>;

    /// Inserts, or merges into the lead with the same number; answers with what is stored now.
    /// Safe to repeat.
    async fn upsert(&self, lead: Lead) -> Result<Lead, ProviderError>;

    /// A page of the leads that a filter lets through.
    async fn query(&self, query: &LeadQuery) -> Result<LeadPage, ProviderError>;

    /// Changes a lead if `guard` holds; answers with what is stored now.
    /// [`NotFound`](crate::ProviderErrorKind::NotFound) when there is no such lead,
    /// [`Conflict`](crate::ProviderErrorKind::Conflict) when the guard does not hold. An update
    /// whose answer was lost may have happened: read the lead again.
    async fn update(
        &self,
        phone: &PhoneNumber,
        change: Change,
        guard: Guard,
    ) -> Result<Lead, ProviderError>;

    /// Claims this lead, due or not. None when somebody holds it, or when there is none.
    async fn claim(
        &self,
        phone: &PhoneNumber,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError>;

    /// Claims one of the due leads that `filter` lets through. None when there is none.
    async fn claim_next(
        &self,
        filter: &LeadFilter,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError>;

    /// Holds the lead until `until`. [`Conflict`](crate::ProviderErrorKind::Conflict) when the
    /// claim holds no more.
    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<Claim, ProviderError>;

    /// Makes a last change and gives the lead back, at once; without a change it is given back as
    /// it was. [`Conflict`](crate::ProviderErrorKind::Conflict) when the claim holds no more: then
    /// nothing is written.
    async fn settle(&self, claim: &Claim, change: Change) -> Result<Lead, ProviderError>;
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

    async fn query(&self, query: &LeadQuery) -> Result<LeadPage, ProviderError> {
        (**self).query(query).await
    }

    async fn update(
        &self,
        phone: &PhoneNumber,
        change: Change,
        guard: Guard,
    ) -> Result<Lead, ProviderError> {
        (**self).update(phone, change, guard).await
    }

    async fn claim(
        &self,
        phone: &PhoneNumber,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        (**self).claim(phone, claimant).await
    }

    async fn claim_next(
        &self,
        filter: &LeadFilter,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        (**self).claim_next(filter, claimant).await
    }

    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<Claim, ProviderError> {
        (**self).renew(claim, until).await
    }

    async fn settle(&self, claim: &Claim, change: Change) -> Result<Lead, ProviderError> {
        (**self).settle(claim, change).await
    }
}

/// A lead's fields by their names.
pub type Fields = BTreeMap<String, Value>;

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
    pub fields: Fields,
}

impl Lead {
    /// A lead of which only the number is known.
    #[must_use]
    pub fn new(phone: PhoneNumber) -> Self {
        Self {
            phone,
            version: 0,
            fields: Fields::new(),
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

    /// Where the lead stands with calls: `not_called` where it does not say, none where it says a
    /// word that nobody knows.
    #[must_use]
    pub fn call_status(&self) -> Option<LeadCallStatus> {
        match self.fields.get("call_status") {
            None => Some(LeadCallStatus::NotCalled),
            Some(word) => match word.as_str()? {
                "" => Some(LeadCallStatus::NotCalled),
                word => LeadCallStatus::from_word(word),
            },
        }
    }

    /// How often the lead was dialled.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        let attempts = self.fields.get("attempts").and_then(Value::as_u64);
        attempts.unwrap_or(0)
    }

    /// The time zones in which the lead's phone may ring: the field `time_zone` where it names
    /// one, otherwise what the number and `state_province` tell.
    #[must_use]
    pub fn zones(&self) -> time_zone::Zones {
        match self.text("time_zone").and_then(time_zone::Zones::named) {
            Some(zone) => zone,
            None => time_zone::zones(&self.phone, self.text("state_province")),
        }
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

/// A cursor that no page has handed out.
fn foreign_cursor(provider: &'static str) -> ProviderError {
    ProviderError::new(provider, crate::ProviderErrorKind::Invalid)
        .with_detail("the cursor was not handed out by this store")
}
