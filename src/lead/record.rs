//! What every store decides about a lead, without a store: merging, versions, claims.
//!
//! A store reads a [`Record`], asks here what becomes of it, and writes that if what it read
//! still stands.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    error::{ProviderError, ProviderErrorKind},
    lead::{Change, Claim, Claimant, Fields, Guard, Lead, LeadCallStatus, PhoneNumber},
};

/// A lead and who holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) lead: Lead,
    /// Of the last claim; 0 before the first.
    pub(crate) fence: u64,
    pub(crate) held: Option<Held>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) owner: String,
    pub(crate) until: Timestamp,
}

/// Why a write is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no such lead.
    Unknown,
    /// The lead has another version.
    Changed,
    /// The claim holds no more.
    Lost,
}

impl Refused {
    pub(crate) fn named(self, provider: &'static str) -> ProviderError {
        let (kind, detail) = match self {
            Self::Unknown => (ProviderErrorKind::NotFound, "there is no such lead"),
            Self::Changed => (
                ProviderErrorKind::Conflict,
                "the lead has changed since this version: read it again",
            ),
            Self::Lost => (
                ProviderErrorKind::Conflict,
                "the claim holds no more: whatever was done under it is not to be written",
            ),
        };
        ProviderError::new(provider, kind).with_detail(detail)
    }
}

impl Record {
    /// What becomes of `stored` when a lead is upserted. None: nothing changes.
    pub(crate) fn upserted(
        stored: Option<&Self>,
        phone: PhoneNumber,
        fields: Fields,
    ) -> Option<Self> {
        let named = fields.into_iter().filter(|(_, value)| !value.is_null());
        let Some(stored) = stored else {
            let mut lead = Lead::new(phone);
            lead.fields.extend(named);
            lead.version = 1;
            return Some(Self {
                lead,
                fence: 0,
                held: None,
            });
        };
        stored.changed(named, false)
    }

    /// What becomes of it when it is updated. None: nothing changes.
    pub(crate) fn updated(&self, change: Change, guard: Guard) -> Result<Option<Self>, Refused> {
        match guard {
            Guard::Any => {}
            Guard::Version(version) if version == self.lead.version => {}
            Guard::Version(_) => return Err(Refused::Changed),
            Guard::Claim(fence) => self.holds(fence)?,
        }
        let knowing = matches!(guard, Guard::Version(_));
        Ok(self.changed(change.fields.into_iter(), knowing))
    }

    /// What becomes of it when the holder is done with it.
    pub(crate) fn settled(&self, change: Change, fence: u64) -> Result<Self, Refused> {
        let changed = self.updated(change, Guard::Claim(fence))?;
        let mut settled = changed.unwrap_or_else(|| self.clone());
        settled.held = None;
        Ok(settled)
    }

    /// Held by `claimant`, with the next fence.
    pub(crate) fn claimed(&self, claimant: &Claimant) -> Self {
        Self {
            lead: self.lead.clone(),
            fence: self.fence.saturating_add(1),
            held: Some(Held {
                owner: claimant.owner.clone(),
                until: claimant.until(),
            }),
        }
    }

    /// Held on until `until`.
    pub(crate) fn renewed(&self, fence: u64, until: Timestamp) -> Result<Self, Refused> {
        self.holds(fence)?;
        let mut renewed = self.clone();
        if let Some(held) = &mut renewed.held {
            held.until = until;
        }
        Ok(renewed)
    }

    /// The claim by which it is held.
    pub(crate) fn into_claim(self) -> Option<Claim> {
        let held = self.held?;
        Some(Claim {
            lead: self.lead,
            owner: held.owner,
            fence: self.fence,
            until: held.until,
        })
    }

    /// Whether nobody holds it at `now`.
    pub(crate) fn is_free(&self, now: Timestamp) -> bool {
        self.held.as_ref().is_none_or(|held| held.until <= now)
    }

    /// Whether it may be claimed as the next lead at `now`.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.due_from().is_some_and(|time| time <= now)
    }

    /// From when on it is due, if ever. The trait's contract has the rule in words.
    pub(crate) fn due_from(&self) -> Option<Timestamp> {
        if let Some(held) = &self.held {
            return Some(held.until);
        }
        let status = self.lead.call_status()?;
        if matches!(
            status,
            LeadCallStatus::DoNotCall | LeadCallStatus::BadNumber
        ) {
            return None;
        }
        match self.lead.fields.get("next_attempt") {
            Some(time) => time.as_str()?.parse().ok(),
            None => (status == LeadCallStatus::NotCalled).then_some(Timestamp::MIN),
        }
    }

    fn holds(&self, fence: u64) -> Result<(), Refused> {
        if self.held.is_some() && self.fence == fence {
            Ok(())
        } else {
            Err(Refused::Lost)
        }
    }

    /// With these fields merged in, where `null` removes. None: nothing changes.
    fn changed(
        &self,
        fields: impl Iterator<Item = (String, Value)>,
        knowing: bool,
    ) -> Option<Self> {
        let opted_out = self.lead.call_status() == Some(LeadCallStatus::DoNotCall);
        let mut changed = self.clone();
        for (field, value) in fields {
            if opted_out && field == "call_status" && !knowing {
                continue;
            }
            if value.is_null() {
                changed.lead.fields.remove(&field);
            } else {
                changed.lead.fields.insert(field, value);
            }
        }
        if changed.lead.fields == self.lead.fields {
            return None;
        }
        changed.lead.version = self.lead.version.saturating_add(1);
        Some(changed)
    }
}
