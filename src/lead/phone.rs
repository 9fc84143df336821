//! Phone numbers, which are the keys of leads.

use std::{fmt, sync::Arc};

use phonenumber::{Mode, ParseError, Type, metadata::DATABASE};
use serde::{Deserialize, Serialize};

use super::time_zone::zones;
use crate::call::{Party, write_redacted};

/// A number that can be dialled, kept in E.164 form. Printed with all but the end hidden.
///
/// Whether a number can exist is decided by libphonenumber's tables, as the crate `phonenumber`
/// carries them. Numbers that are set aside for fiction exist, too: `555-01XX` in every area of
/// the North American plan, and `07700 900XXX` in Britain.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(Arc<str>);

/// Why a text is no number that can be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NotAPhoneNumber {
    /// There is nothing.
    #[error("there is no number")]
    Empty,
    /// It has letters.
    #[error("it has letters: give digits alone, such as +12125550101")]
    Letters,
    /// It has an extension, which a dialler cannot reach.
    #[error("it has an extension: give the number alone")]
    Extension,
    /// It has something that is not part of numbers.
    #[error("it has characters that no number has: give it as +12125550101")]
    Unreadable,
    /// Digits are missing.
    #[error("it is too short: give it with its area or country code, such as +12125550101")]
    TooShort,
    /// There are too many digits.
    #[error("it is too long: it may be two numbers, or one with an extension")]
    TooLong,
    /// No country has this code.
    #[error("no country has its code: give it as +12125550101")]
    UnknownCountry,
    /// Nobody can have it: its area code or exchange does not exist.
    #[error("no such number can exist: check its area code")]
    NoSuchNumber,
    /// Whoever calls it pays a premium.
    #[error("it is a premium-rate number, which is never dialled")]
    Premium,
}

impl NotAPhoneNumber {
    /// One word for reports and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Letters => "letters",
            Self::Extension => "extension",
            Self::Unreadable => "unreadable",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::UnknownCountry => "unknown_country",
            Self::NoSuchNumber => "no_such_number",
            Self::Premium => "premium",
        }
    }
}

impl PhoneNumber {
    /// Reads the tables of numbers and compiles their patterns, for which the first number of the
    /// process would have to wait: long enough to lose a caller's first words. An agent does so
    /// when it is built.
    ///
    /// Each thread that reads numbers also keeps half a megabyte to work with, which a service can
    /// take before its first call instead of amid many of them: by calling this when the threads
    /// of its runtime start.
    pub fn read_tables() {
        let number = Self::parse("+12125550101").map(|number| zones(&number, None));
        debug_assert!(number.is_ok(), "{number:?}");
    }

    /// Reads a number as people write it: with its country code, with or without `+`, spaces and
    /// punctuation. Ten digits without a `+` are a number of the North American plan, and `011`
    /// in front of more digits is its way of writing `+`.
    ///
    /// # Errors
    ///
    /// Why it cannot be dialled.
    pub fn parse(text: &str) -> Result<Self, NotAPhoneNumber> {
        let international = international(text)?;
        let digits = international.len() - 1;
        if international.starts_with("+1") && digits != NORTH_AMERICAN {
            return Err(if digits < NORTH_AMERICAN {
                NotAPhoneNumber::TooShort
            } else {
                NotAPhoneNumber::TooLong
            });
        }
        if digits > LONGEST + 1 {
            return Err(NotAPhoneNumber::TooLong);
        }
        let number = phonenumber::parse(None, &international).map_err(|failed| match failed {
            ParseError::InvalidCountryCode => NotAPhoneNumber::UnknownCountry,
            ParseError::TooLong => NotAPhoneNumber::TooLong,
            ParseError::NoNumber | ParseError::TooShortNsn | ParseError::TooShortAfterIdd => {
                NotAPhoneNumber::TooShort
            }
            ParseError::MalformedInteger(_) => NotAPhoneNumber::NoSuchNumber,
        })?;
        let written = number.format().mode(Mode::E164).to_string();
        if number.number_type(&DATABASE) == Type::PremiumRate {
            return Err(NotAPhoneNumber::Premium);
        }
        if written.len() > LONGEST + 1 {
            return Err(NotAPhoneNumber::TooLong);
        }
        if !number.is_valid() && !is_for_fiction(&written) {
            return Err(NotAPhoneNumber::NoSuchNumber);
        }
        Ok(Self(written.into()))
    }

    /// The number in E.164 form. Keep it away from logs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The number as people read it and as tables have it for a key: `+1 (212) 555-0101`; outside
    /// the North American plan in E.164 form, which no later table changes. Keep it away from
    /// logs.
    #[must_use]
    pub fn display(&self) -> String {
        match self.0.strip_prefix("+1") {
            Some(number) if number.len() == 10 => {
                let (area, rest) = number.split_at(3);
                let (exchange, line) = rest.split_at(3);
                format!("+1 ({area}) {exchange}-{line}")
            }
            _ => self.0.as_ref().to_owned(),
        }
    }

    /// Whether it may be the number of a mobile phone. Those of the North American plan do not
    /// tell, so all of them but toll-free ones may.
    #[must_use]
    pub fn may_be_mobile(&self) -> bool {
        let Ok(number) = phonenumber::parse(None, self.reveal()) else {
            return true;
        };
        !matches!(
            number.number_type(&DATABASE),
            Type::FixedLine | Type::TollFree | Type::SharedCost | Type::Uan
        )
    }

    /// The two letters of the country that the number belongs to, if it tells.
    pub(crate) fn country(&self) -> Option<&'static str> {
        let number = phonenumber::parse(None, self.reveal()).ok()?;
        let country = number.metadata(&DATABASE)?.id();
        Some(country)
    }
}

/// Digits behind `+`, country code included (ITU-T E.164).
const LONGEST: usize = 15;

/// Digits of a number of the North American plan, country code included.
const NORTH_AMERICAN: usize = 11;

/// `+` and digits, from a text with punctuation or without.
fn international(text: &str) -> Result<String, NotAPhoneNumber> {
    let text = text.trim();
    let scheme = text
        .get(..4)
        .is_some_and(|s| s.eq_ignore_ascii_case("tel:"));
    let text = if scheme { text[4..].trim_start() } else { text };
    let (plus, rest) = match text.strip_prefix(['+', '＋']) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut digits = String::with_capacity(rest.len() + 1);
    digits.push('+');
    for (at, c) in rest.char_indices() {
        match c {
            '0'..='9' => digits.push(c),
            c if PUNCTUATION.contains(c) => {}
            'e' | 'E' | 'x' | 'X' | '#' | ';' | ','
                if digits.len() > SHORTEST && is_extension(&rest[at..]) =>
            {
                return Err(NotAPhoneNumber::Extension);
            }
            c if c.is_alphabetic() => return Err(NotAPhoneNumber::Letters),
            _ => return Err(NotAPhoneNumber::Unreadable),
        }
    }
    let count = digits.len() - 1;
    match count {
        0 if plus || !text.is_empty() => Err(NotAPhoneNumber::TooShort),
        0 => Err(NotAPhoneNumber::Empty),
        _ if !plus && digits.starts_with("+011") => Ok(format!("+{}", &digits[4..])),
        _ if digits.starts_with("+0") => Err(NotAPhoneNumber::UnknownCountry),
        10 if !plus => Ok(format!("+1{}", &digits[1..])),
        ..10 if !plus => Err(NotAPhoneNumber::TooShort),
        _ => Ok(digits),
    }
}

/// What may stand between digits.
const PUNCTUATION: &str = " \u{a0}\u{202f}\t-().[]/‐‑‒–—";

/// Digits without which no extension can follow.
const SHORTEST: usize = 7;

fn is_extension(rest: &str) -> bool {
    let rest = rest.to_ascii_lowercase();
    let number = rest.trim_start_matches(|c: char| "extnsio.:#;,= ".contains(c));
    !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

/// Numbers that are set aside, but that are not in the tables of those in use (North American
/// Numbering Plan, 555-0100 to 555-0199; Ofcom's numbers for drama, 07700 900000 to 900999).
fn is_for_fiction(number: &str) -> bool {
    if let Some(number) = number.strip_prefix("+1") {
        let area = number.as_bytes();
        let is_area = matches!(area, [b'2'..=b'9', second, third, ..]
            if !(*second == b'1' && *third == b'1'));
        return is_area && number.len() == 10 && number[3..].starts_with("55501");
    }
    number
        .strip_prefix("+447700900")
        .is_some_and(|rest| rest.len() == 3)
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_way_to_write_a_number_gives_the_same_one() {
        let number = PhoneNumber::parse("+12125550101").unwrap();
        for text in [
            "12125550101",
            "2125550101",
            " +1 (212) 555-0101 ",
            "212.555.0101",
            "1-212-555-0101",
            "(212)555–0101",
            "tel:+1-212-555-0101",
            "011 1 212 555 0101",
        ] {
            assert_eq!(PhoneNumber::parse(text), Ok(number.clone()), "{text}");
        }
        assert_eq!(
            PhoneNumber::try_from(&Party::new("12125550101")),
            Ok(number)
        );
    }

    #[test]
    fn numbers_of_the_world_are_numbers() {
        for (text, number) in [
            ("+49 30 123456", "+4930123456"),
            ("442079460000", "+442079460000"),
            ("+44 (0)20 7946 0000", "+442079460000"),
            ("447700900000", "+447700900000"),
            ("011 44 20 7946 0000", "+442079460000"),
            ("+39 06 6982", "+39066982"),
            ("800 555 0101", "+18005550101"),
        ] {
            let parsed = PhoneNumber::parse(text).map(|n| n.reveal().to_owned());
            assert_eq!(parsed.as_deref(), Ok(number), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_the_reason() {
        use NotAPhoneNumber as No;
        for (text, reason) in [
            ("", No::Empty),
            ("  ", No::Empty),
            ("+", No::TooShort),
            ("()", No::TooShort),
            ("anonymous", No::Letters),
            ("1-800-FLOWERS", No::Letters),
            ("sip:a@b", No::Letters),
            ("+1212555010x", No::Letters),
            ("212-555-0101 x12", No::Extension),
            ("212-555-0101 ext. 12", No::Extension),
            ("+1 212 555 0101;ext=7", No::Extension),
            ("++12125550101", No::Unreadable),
            ("212\u{7}5550101", No::Unreadable),
            ("२१२५५५०१०१", No::Unreadable),
            ("555-0101", No::TooShort),
            ("123456", No::TooShort),
            ("911", No::TooShort),
            ("+1 212 555 010", No::TooShort),
            ("+1 212 555 01011", No::TooLong),
            ("2125550101 / 2125550102", No::TooLong),
            ("+4412345678901234567", No::TooLong),
            ("+0123456789", No::UnknownCountry),
            ("+999 1234 5678", No::UnknownCountry),
            ("000-000-0000", No::UnknownCountry),
            ("123-456-7890", No::NoSuchNumber),
            ("+1 212 055 0101", No::NoSuchNumber),
            ("911-555-0101", No::NoSuchNumber),
            ("+1 900 234 5678", No::Premium),
        ] {
            assert_eq!(PhoneNumber::parse(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn numbers_for_fiction_can_be_used_in_every_area() {
        for text in ["212 555 0100", "555 555 0199", "+44 7700 900123"] {
            assert!(PhoneNumber::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_key_reads_as_people_write_it() {
        let key = |text| PhoneNumber::parse(text).unwrap().display();
        assert_eq!(key("2125550101"), "+1 (212) 555-0101");
        assert_eq!(key("442079460000"), "+442079460000");
    }

    #[test]
    fn a_number_is_never_printed_whole() {
        let number = PhoneNumber::parse("+12125550142").unwrap();
        assert_eq!(format!("{number} {number:?}"), "…42 …42");
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_refused(text in "\\PC{0,30}") {
            let _ = PhoneNumber::parse(&text);
        }

        #[test]
        fn a_number_reads_back_from_everything_that_it_is_written_as(
            digits in "[1-9][0-9]{6,14}",
        ) {
            if let Ok(number) = PhoneNumber::parse(&format!("+{digits}")) {
                prop_assert_eq!(PhoneNumber::parse(number.reveal()), Ok(number.clone()));
                prop_assert_eq!(PhoneNumber::parse(&number.display()), Ok(number));
            }
        }
    }
}
