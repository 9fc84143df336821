//! Where a phone rings, as far as a number and a postal address tell: the time zones to respect
//! when calling.
//!
//! Neither is certain. A number is moved with its owner, an area code may span two zones, and so
//! may a state. So the answer is every zone that it may be: call when it is a decent hour in all.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::OnceLock,
};

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
            let (both, one): (Vec<_>, Vec<_>) =
                number.into_iter().partition(|zone| state.contains(zone));
            if both.is_empty() {
                zones(true, each_once(one.into_iter().chain(state)))
            } else {
                zones(true, both)
            }
        }
        (Some(one), None) | (None, Some(one)) => zones(true, one),
        (None, None) => zones(false, of_country(number)),
    }
}

/// What the first digits tell: the longest prefix of the table that is more than a country code
/// with several zones.
fn by_number(number: &PhoneNumber) -> Option<Vec<&'static str>> {
    let (prefix, zones) = longest_prefix(number)?;
    let whole_country = zones.len() > 1 && !has_shorter(prefix);
    (!whole_country).then_some(zones)
}

fn longest_prefix(number: &PhoneNumber) -> Option<(&str, Vec<&'static str>)> {
    let digits = number.reveal().trim_start_matches('+');
    let table = tables();
    (1..=digits.len().min(table.longest)).rev().find_map(|end| {
        let zones = table.of_prefix(&digits[..end])?;
        Some((&digits[..end], split(zones).collect()))
    })
}

fn has_shorter(prefix: &str) -> bool {
    (1..prefix.len()).any(|end| tables().of_prefix(&prefix[..end]).is_some())
}

fn by_state(state: &str) -> Option<Vec<&'static str>> {
    let state = state.trim().to_lowercase();
    let zones = tables().states.get(&state)?;
    Some(split(zones).collect())
}

fn of_country(number: &PhoneNumber) -> Vec<&'static str> {
    match number.country() {
        Some("US") => each_once(tables().states.values().copied().flat_map(split)),
        Some("CA") => CANADA.to_vec(),
        _ => longest_prefix(number).map_or_else(world, |(_, zones)| zones),
    }
}

/// Every zone of the table.
fn world() -> Vec<&'static str> {
    each_once(prefix_lines().flat_map(|(zones, _)| split(zones)))
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

/// Zones are kept as they are written, joined by `&`: apart they would take a thousand small
/// pieces of memory.
struct Tables {
    /// Sorted by prefix.
    prefixes: Vec<(&'static str, &'static str)>,
    /// Digits of the longest prefix.
    longest: usize,
    states: HashMap<String, &'static str>,
}

impl Tables {
    fn of_prefix(&self, prefix: &str) -> Option<&'static str> {
        let prefixes = &self.prefixes;
        let at = prefixes.binary_search_by_key(&prefix, |(known, _)| known);
        at.ok().map(|at| prefixes[at].1)
    }
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let prefixes = prefix_lines()
            .flat_map(|(zones, prefixes)| prefixes.split(' ').map(move |prefix| (prefix, zones)));
        let mut prefixes: Vec<_> = prefixes.collect();
        prefixes.sort_unstable();
        prefixes.shrink_to_fit();
        let mut states = HashMap::new();
        for line in lines(include_str!("zones/states.txt")) {
            let mut parts = line.splitn(3, ' ');
            let mut part = || parts.next().unwrap_or_default();
            let (code, zones, name) = (part(), part(), part());
            states.insert(code.to_lowercase(), zones);
            states.insert(name.to_lowercase(), zones);
        }
        let lengths = prefixes.iter().map(|(prefix, _)| prefix.len());
        Tables {
            longest: lengths.max().unwrap_or(0),
            prefixes,
            states,
        }
    })
}

/// Zones, and the prefixes that lie in them.
fn prefix_lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    lines(include_str!("zones/prefixes.txt")).filter_map(|line| line.split_once(' '))
}

fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.starts_with('#'))
}

fn split(zones: &'static str) -> impl Iterator<Item = &'static str> {
    zones.split('&')
}

fn each_once(zones: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let all: BTreeSet<_> = zones.collect();
    all.into_iter().collect()
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
        let states = tables.states.values().copied().flat_map(split);
        let all = states.chain(world()).chain(CANADA.iter().copied());
        for zone in each_once(all) {
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
