//! Leads: the people whom an agent calls or who call it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    call::{Party, write_redacted},
    error::ProviderError,
};

/// Keeps leads, one per phone number.
///
/// # Contract
///
/// [`upsert`](Self::upsert) merges: a field that the new lead names replaces the stored one, a
/// field that it does not name stays untouched, also where no code knows its meaning. Every
/// change raises the version by one.
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

/// A phone number in E.164 form (`+` and 7 to 15 digits). Printed with all but the end hidden.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(Arc<str>);

/// A text that is no phone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a phone number: give it with the country code, such as +12125550101")]
#[non_exhaustive]
pub struct NotAPhoneNumber;

impl PhoneNumber {
    /// Reads a number with its country code, with or without `+`, spaces and punctuation. Ten
    /// digits without a `+` are taken as a number of the North American plan.
    ///
    /// # Errors
    ///
    /// When the text is no such number.
    pub fn parse(text: &str) -> Result<Self, NotAPhoneNumber> {
        let text = text.trim();
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let punctuation = |c: char| c.is_ascii_digit() || " -().".contains(c);
        let plus = text.starts_with('+');
        if !text
            .strip_prefix('+')
            .unwrap_or(text)
            .chars()
            .all(punctuation)
            || !(7..=15).contains(&digits.len())
            || digits.starts_with('0')
        {
            return Err(NotAPhoneNumber);
        }
        let country = if !plus && digits.len() == 10 { "1" } else { "" };
        Ok(Self(format!("+{country}{digits}").into()))
    }

    /// The number in E.164 form. Keep it away from logs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&Party> for PhoneNumber {
    type Error = NotAPhoneNumber;

    fn try_from(party: &Party) -> Result<Self, NotAPhoneNumber> {
        Self::parse(party.reveal())
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = NotAPhoneNumber;

    fn try_from(text: String) -> Result<Self, NotAPhoneNumber> {
        Self::parse(&text)
    }
}

impl From<PhoneNumber> for String {
    fn from(number: PhoneNumber) -> Self {
        number.0.as_ref().to_owned()
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_redacted(f, &self.0)
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_redacted(f, &self.0)
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
