//! Looking leads up by what they say.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{lead::Lead, private::Private};

/// Leads with these values, all of them; none of them means every lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct LeadFilter {
    /// The field `lead_status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_status: Option<String>,
    /// The field `owner_alias`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_alias: Option<String>,
    /// The field `call_status`. `not_called` also finds leads that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_status: Option<String>,
    /// The field `state_province`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl LeadFilter {
    /// Every lead.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The same, but only leads with this `lead_status`.
    #[must_use]
    pub fn with_lead_status(mut self, status: impl Into<String>) -> Self {
        self.lead_status = Some(status.into());
        self
    }

    /// The same, but only leads of this `owner_alias`.
    #[must_use]
    pub fn with_owner_alias(mut self, owner: impl Into<String>) -> Self {
        self.owner_alias = Some(owner.into());
        self
    }

    /// The same, but only leads with this `call_status`.
    #[must_use]
    pub fn with_call_status(mut self, status: impl Into<String>) -> Self {
        self.call_status = Some(status.into());
        self
    }

    /// The same, but only leads in this `state_province`.
    #[must_use]
    pub fn with_state(mut self, state: impl Into<String>) -> Self {
        self.state = Some(state.into());
        self
    }

    /// Whether `lead` is one of them.
    #[must_use]
    pub fn matches(&self, lead: &Lead) -> bool {
        self.wanted().all(|(field, wanted)| match lead.text(field) {
            Some(found) => found == wanted,
            None => is_default(field, wanted),
        })
    }

    /// The fields that are wanted, with their values.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("lead_status", &self.lead_status),
            ("owner_alias", &self.owner_alias),
            ("call_status", &self.call_status),
            ("state_province", &self.state),
        ]
        .into_iter()
        .filter_map(|(field, wanted)| Some((field, wanted.as_deref()?)))
    }
}

/// Whether a lead that does not say has this value.
pub(crate) fn is_default(field: &str, wanted: &str) -> bool {
    field == "call_status" && wanted == "not_called"
}

/// A page of leads to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeadQuery {
    /// Which leads.
    pub filter: LeadFilter,
    /// At most so many at a time. Default: 100; no store gives more than 1,000.
    pub limit: usize,
    /// Behind the page that answered with it.
    pub after: Option<LeadCursor>,
}

impl LeadQuery {
    /// The first page of those that `filter` lets through.
    #[must_use]
    pub fn new(filter: LeadFilter) -> Self {
        Self {
            filter,
            limit: 100,
            after: None,
        }
    }

    /// The same query in pages of `limit`.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The same query, behind the page that answered with `cursor`.
    #[must_use]
    pub fn after(mut self, cursor: LeadCursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// The limit that holds.
    pub(crate) fn page_size(&self) -> usize {
        self.limit.clamp(1, LARGEST_PAGE)
    }
}

const LARGEST_PAGE: usize = 1_000;

/// Where a page ended. It holds a lead's key: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeadCursor(String);

impl LeadCursor {
    /// The cursor that was handed out as this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As text, to be handed out. Keep it away from logs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LeadCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeadCursor(…)")
    }
}

/// Some leads, and what could not be read among them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LeadPage {
    /// The leads, in an order of the store's own, the same for every page.
    pub leads: Vec<Lead>,
    /// Items that are no leads, and were passed over.
    pub problems: Vec<LeadProblem>,
    /// Where to go on. A page that has one may be short, even empty; one that has none is the
    /// last.
    pub next: Option<LeadCursor>,
}

/// An item in a table that cannot be read as a lead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an item is no lead: {reason}")]
#[non_exhaustive]
pub struct LeadProblem {
    /// Its key, as it stands in the table.
    pub key: Private<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl LeadProblem {
    /// What is wrong with the item called `key`.
    #[must_use]
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            key: Private::new(key.into()),
            reason: reason.into(),
        }
    }
}
