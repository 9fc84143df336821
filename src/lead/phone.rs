//! Phone numbers, which are the keys of leads.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::call::{Party, write_redacted};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_number_gives_the_same_one() {
        let number = PhoneNumber::parse("+12125550101").unwrap();
        for text in [
            "12125550101",
            "2125550101",
            " +1 (212) 555-0101 ",
            "212.555.0101",
        ] {
            assert_eq!(PhoneNumber::parse(text), Ok(number.clone()), "{text}");
        }
        assert_eq!(
            PhoneNumber::try_from(&Party::new("12125550101")),
            Ok(number)
        );
        assert_eq!(
            PhoneNumber::parse("+49 30 123456").unwrap().reveal(),
            "+4930123456"
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "anonymous",
            "+",
            "123456",
            "+0123456789",
            "1234567890123456",
            "+1212555010x",
            "sip:a@b",
            "++12125550101",
        ] {
            assert_eq!(PhoneNumber::parse(text), Err(NotAPhoneNumber), "{text}");
        }
    }

    #[test]
    fn a_number_is_never_printed_whole() {
        let number = PhoneNumber::parse("+12125550142").unwrap();
        assert_eq!(format!("{number} {number:?}"), "…42 …42");
    }
}
