//! No leads.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    error::ProviderError,
    lead::{
        Change, Claim, Claimant, Guard, Lead, LeadFilter, LeadPage, LeadQuery, LeadStore,
        PhoneNumber, record::Refused,
    },
};

/// Knows nobody and keeps nobody, for agents without leads. What it is given it hands back at
/// version 0: never stored.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing in it")]
pub struct Discard;

const PROVIDER: &str = "no leads";

#[async_trait]
impl LeadStore for Discard {
    async fn get(&self, _: &PhoneNumber) -> Result<Option<Lead>, ProviderError> {
        Ok(None)
    }

    async fn upsert(&self, lead: Lead) -> Result<Lead, ProviderError> {
        Ok(Lead { version: 0, ..lead })
    }

    async fn query(&self, _: &LeadQuery) -> Result<LeadPage, ProviderError> {
        Ok(LeadPage::default())
    }

    async fn update(&self, _: &PhoneNumber, _: Change, _: Guard) -> Result<Lead, ProviderError> {
        Err(Refused::Unknown.named(PROVIDER))
    }

    async fn claim(&self, _: &PhoneNumber, _: &Claimant) -> Result<Option<Claim>, ProviderError> {
        Ok(None)
    }

    async fn claim_next(
        &self,
        _: &LeadFilter,
        _: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        Ok(None)
    }

    async fn renew(&self, _: &Claim, _: Timestamp) -> Result<Claim, ProviderError> {
        Err(Refused::Unknown.named(PROVIDER))
    }

    async fn settle(&self, _: &Claim, _: Change) -> Result<Lead, ProviderError> {
        Err(Refused::Unknown.named(PROVIDER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_handed_back_was_never_stored() {
        let phone = PhoneNumber::parse("+12125550101").unwrap();
        let mut lead = Lead::new(phone.clone()).with("name", "Grace");
        lead.version = 7;
        let given = Discard.upsert(lead).await.unwrap();
        assert_eq!((given.version, given.text("name")), (0, Some("Grace")));
        assert_eq!(Discard.get(&phone).await.unwrap(), None);
    }
}
