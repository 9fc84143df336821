//! Where a phone rings, as far as a number and a postal address tell: the time zones to respect
//! when calling.
//!
//! Neither is certain. A number is moved with its owner, an area code may span two zones, and so
//! may a state. So the answer is every zone that it may be: call when it is a decent hour in all.

use std::{borrow::Cow, collections::HashMap, sync::OnceLock};

use jiff::tz::TimeZone;

use crate::lead::PhoneNumber;

/// The time zones that a phone may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Zones {
    /// Whether anything narrowed them down. When not, they are all zones of the country.
    pub known: bool,
    names: Vec<Cow<'static, str>>,
}

impl Zones {
    /// The one zone with this IANA name, if there is such a zone.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let zone = TimeZone::get(name.trim()).ok()?;
        let name = zone.iana_name()?.to_owned();
        Some(Self {
            known: true,
            names: vec![name.into()],
        })
    }

    /// Their IANA names, each once.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.names.iter().map(AsRef::as_ref).collect()
    }

    /// The zones themselves, from the bundled database.
    pub fn iter(&self) -> impl Iterator<Item = TimeZone> + '_ {
        // Every name is in the bundled database: a test looks each of them up.
        self.names
            .iter()
            .filter_map(|name| TimeZone::get(name).ok())
    }
}

/// The time zones that `number` may ring in, whose owner has the postal address `state` (one of
/// the United States, by code or by name).
///
/// The number's area code and the state are two votes. Where they agree on some zones it is
/// these, where they contradict each other it may be any of both, and where one is silent the
/// other decides. Toll-free numbers and those that no table knows are silent.
///
/// Without any vote it is every zone of the number's country. For the United States these are
/// the zones of the fifty states: with the Pacific territories no decent hour would be left.
#[must_use]
pub fn zones(number: &PhoneNumber, state: Option<&str>) -> Zones {
    let by_number = by_number(number);
    let by_state = state.and_then(by_state);
    let zones = |known, names: Vec<&'static str>| Zones {
        known,
        names: names.into_iter().map(Cow::Borrowed).collect(),
    };
    match (by_number, by_state) {
        (Some(number), Some(state)) => {
            let both: Vec<_> = number
                .iter()
                .filter(|zone| state.contains(zone))
                .copied()
                .collect();
            if both.is_empty() {
                let mut either = [number, state].concat();
                either.sort_unstable();
                either.dedup();
                zones(true, either)
            } else {
                zones(true, both)
            }
        }
        (Some(one), None) | (None, Some(one)) => zones(true, one.to_vec()),
        (None, None) => zones(false, of_country(number)),
    }
}

/// What the first digits tell: the longest prefix of the table that is more than a country code
/// with several zones.
fn by_number(number: &PhoneNumber) -> Option<&'static [&'static str]> {
    let (prefix, zones) = longest_prefix(number)?;
    let whole_country = zones.len() > 1 && !has_shorter(prefix);
    (!whole_country).then_some(zones)
}

fn longest_prefix(number: &PhoneNumber) -> Option<(&str, &'static [&'static str])> {
    let digits = number.reveal().trim_start_matches('+');
    let table = tables();
    (1..=digits.len().min(table.longest)).rev().find_map(|end| {
        Some((
            &digits[..end],
            table.prefixes.get(&digits[..end])?.as_slice(),
        ))
    })
}

fn has_shorter(prefix: &str) -> bool {
    (1..prefix.len()).any(|end| tables().prefixes.contains_key(&prefix[..end]))
}

fn by_state(state: &str) -> Option<&'static [&'static str]> {
    let state = state.trim().to_lowercase();
    tables().states.get(&state).map(Vec::as_slice)
}

fn of_country(number: &PhoneNumber) -> Vec<&'static str> {
    match number.country() {
        Some("US") => tables().united_states.clone(),
        Some("CA") => CANADA.to_vec(),
        _ => longest_prefix(number).map_or_else(|| tables().world.clone(), |(_, all)| all.to_vec()),
    }
}

/// By the names that the prefixes have for them, from east to west.
const CANADA: &[&str] = &[
    "America/St_Johns",
    "America/Halifax",
    "America/Toronto",
    "America/Winnipeg",
    "America/Regina",
    "America/Edmonton",
    "America/Fort_Nelson",
    "America/Vancouver",
];

struct Tables {
    prefixes: HashMap<&'static str, Vec<&'static str>>,
    /// Digits of the longest prefix.
    longest: usize,
    states: HashMap<String, Vec<&'static str>>,
    united_states: Vec<&'static str>,
    /// Every zone of the table.
    world: Vec<&'static str>,
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut prefixes = HashMap::new();
        for line in lines(include_str!("zones/prefixes.txt")) {
            let mut words = line.split(' ');
            let zones = split(words.next().unwrap_or_default());
            prefixes.extend(words.map(|prefix| (prefix, zones.clone())));
        }
        let mut states = HashMap::new();
        for line in lines(include_str!("zones/states.txt")) {
            let mut parts = line.splitn(3, ' ');
            let mut part = || parts.next().unwrap_or_default();
            let (code, zones, name) = (part(), split(part()), part());
            states.insert(code.to_lowercase(), zones.clone());
            states.insert(name.to_lowercase(), zones);
        }
        Tables {
            longest: prefixes
                .keys()
                .map(|prefix| prefix.len())
                .max()
                .unwrap_or(0),
            united_states: each_once(states.values()),
            world: each_once(prefixes.values()),
            prefixes,
            states,
        }
    })
}

fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.starts_with('#'))
}

fn split(zones: &'static str) -> Vec<&'static str> {
    zones.split('&').collect()
}

fn each_once<'a>(lists: impl Iterator<Item = &'a Vec<&'static str>>) -> Vec<&'static str> {
    let mut all: Vec<_> = lists.flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(number: &str, state: Option<&str>) -> Vec<String> {
        let number = PhoneNumber::parse(number).unwrap();
        let found = zones(&number, state);
        found.names().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn an_area_code_tells_the_zone() {
        for (number, zone) in [
            ("212 555 0101", "America/New_York"),
            ("915 555 0101", "America/Denver"),
            ("308 555 0101", "America/Chicago"),
            ("808 555 0101", "Pacific/Honolulu"),
            ("602 555 0101", "America/Phoenix"),
            ("787 555 0101", "America/Puerto_Rico"),
            ("+44 20 7946 0000", "Europe/London"),
            ("+49 30 123456", "Europe/Berlin"),
        ] {
            assert_eq!(names(number, None), [zone], "{number}");
        }
    }

    #[test]
    fn an_area_code_in_two_zones_gives_both_and_the_state_decides() {
        let both = ["America/Denver", "America/Los_Angeles"];
        assert_eq!(names("208 555 0101", None), both);
        assert_eq!(names("208 555 0101", Some("ID")), both);
        assert_eq!(names("208 555 0101", Some(" montana ")), ["America/Denver"]);
        assert_eq!(names("915 555 0101", Some("TX")), ["America/Denver"]);
    }

    #[test]
    fn votes_that_contradict_each_other_both_count() {
        assert_eq!(
            names("212 555 0101", Some("California")),
            ["America/Los_Angeles", "America/New_York"]
        );
    }

    #[test]
    fn a_number_without_a_place_leaves_it_to_the_state() {
        assert_eq!(names("800 555 0101", Some("HI")), ["Pacific/Honolulu"]);
        assert_eq!(
            names("212 555 0101", Some("Atlantis")),
            ["America/New_York"]
        );
    }

    #[test]
    fn nothing_known_means_every_zone_of_the_country() {
        let number = PhoneNumber::parse("800 555 0101").unwrap();
        let found = zones(&number, None);
        assert!(!found.known);
        for zone in ["America/New_York", "Pacific/Honolulu", "America/Adak"] {
            assert!(found.names().contains(&zone), "{zone}");
        }
        assert!(!found.names().contains(&"Pacific/Guam"), "{found:?}");
    }

    #[test]
    fn every_zone_of_the_tables_is_in_the_bundled_database() {
        let tables = tables();
        let all = [&tables.world, &tables.united_states, &CANADA.to_vec()];
        for zone in each_once(all.into_iter()) {
            assert!(TimeZone::get(zone).is_ok(), "{zone}");
        }
        assert_eq!(tables.states.len(), 2 * 51);
        assert!(tables.prefixes.len() > 1_000);
    }

    proptest! {
        /// Whatever the number and the state, there is a zone to ask for the hour.
        #[test]
        fn there_is_always_a_zone(area in 200..1000_u32, state in prop::option::of("[A-Z]{2}")) {
            let number = format!("+1{area}5550101");
            if let Ok(number) = PhoneNumber::parse(&number) {
                let found = zones(&number, state.as_deref());
                prop_assert!(!found.names().is_empty());
                prop_assert_eq!(found.iter().count(), found.names().len());
            }
        }
    }
}
