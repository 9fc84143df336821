//! Whether somebody may be called right now, and every reason why not.
//!
//! This is an engineering control that keeps an operator's rules. It is no legal advice, and it
//! does not know the law of the place that is called.

use std::{fmt, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::Window;

/// The rules that every outbound call must keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// When people may be called.
    pub window: Window,
    /// How often.
    pub attempts: Attempts,
    /// Who must have agreed to be called. Default: nobody.
    pub consent: ConsentRule,
}

/// Who must have agreed to be called. Each rule holds for everybody of the one before; whoever has
/// said no is called under none of them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "an operator chooses one of three")]
pub enum ConsentRule {
    /// Nobody.
    #[default]
    None,
    /// Those whose phone may be a mobile one. A number that does not tell may be one.
    Mobile,
    /// Everybody.
    All,
}

impl ConsentRule {
    const fn holds_for(self, facts: &Facts) -> bool {
        match self {
            Self::None => false,
            Self::Mobile => facts.may_be_mobile,
            Self::All => true,
        }
    }
}

/// How often somebody may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempts {
    /// In all. Default: 6.
    pub total: u32,
    /// On one day of theirs. Default: 2.
    pub per_day: u32,
    /// How long after the last call. Default: 4 hours.
    pub pause: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            total: 6,
            per_day: 2,
            pause: Duration::from_secs(4 * 60 * 60),
        }
    }
}

/// What is known of somebody who is to be called.
#[derive(Clone, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a fact that is left out would be a rule that is not kept"
)]
pub struct Facts {
    /// The number can be dialled.
    pub dialable: bool,
    /// It stands on a do-not-call list.
    pub do_not_call: bool,
    /// They said in a call that they want no more of them.
    pub opted_out: bool,
    /// Whether they agreed to be called; `None` when nobody knows.
    pub consent: Option<bool>,
    /// The number may be that of a mobile phone.
    pub may_be_mobile: bool,
    /// The zones in which they may live; where none is known, all of their country.
    pub zones: Vec<TimeZone>,
    /// When they were called before, in any order.
    pub attempts: Vec<Timestamp>,
}

/// How many attempts, never who.
impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts")
            .field("dialable", &self.dialable)
            .field("do_not_call", &self.do_not_call)
            .field("opted_out", &self.opted_out)
            .field("consent", &self.consent)
            .field("may_be_mobile", &self.may_be_mobile)
            .field("zones", &self.zones.len())
            .field("attempts", &self.attempts.len())
            .finish()
    }
}

/// Why somebody may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The number cannot be dialled.
    InvalidNumber,
    /// On a do-not-call list.
    DoNotCall,
    /// They asked not to be called again.
    OptedOut,
    /// They did not agree to be called, and must have.
    NoConsent,
    /// Not at this hour, on this day, where they live.
    OutsideWindow,
    /// Called as often as they may be at all.
    AttemptsTotal,
    /// Called as often as they may be on one day.
    AttemptsPerDay,
    /// Called too short a time ago.
    TooSoon,
    /// What the rules need could not be read, or the decision could not be written down.
    Unverified,
}

impl Refusal {
    /// The word that the API, files and tables use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidNumber => "invalid_number",
            Self::DoNotCall => "do_not_call",
            Self::OptedOut => "opted_out",
            Self::NoConsent => "no_consent",
            Self::OutsideWindow => "outside_window",
            Self::AttemptsTotal => "attempts_total",
            Self::AttemptsPerDay => "attempts_per_day",
            Self::TooSoon => "too_soon",
            Self::Unverified => "unverified",
        }
    }

    /// Whether it is about how often and how lately they were called.
    pub(super) const fn is_about_attempts(self) -> bool {
        matches!(
            self,
            Self::AttemptsTotal | Self::AttemptsPerDay | Self::TooSoon
        )
    }

    /// Whether an operator who calls by hand may overrule it. What the person wants stands above
    /// the operator, and so does what cannot be known.
    #[must_use]
    pub const fn can_be_overruled(self) -> bool {
        matches!(
            self,
            Self::OutsideWindow | Self::AttemptsTotal | Self::AttemptsPerDay | Self::TooSoon
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Rules {
    /// Every rule that speaks against a call at `at`; empty when none does.
    ///
    /// A clock that runs behind the one that noted an attempt does not open anything: attempts
    /// that lie in the future count as made just now.
    #[must_use]
    pub fn refusals(&self, facts: &Facts, at: Timestamp) -> Vec<Refusal> {
        let attempts = u32::try_from(facts.attempts.len()).unwrap_or(u32::MAX);
        let rules = [
            (Refusal::InvalidNumber, !facts.dialable),
            (Refusal::DoNotCall, facts.do_not_call),
            (Refusal::OptedOut, facts.opted_out),
            (
                Refusal::NoConsent,
                facts
                    .consent
                    .map_or_else(|| self.consent.holds_for(facts), |agreed| !agreed),
            ),
            (
                Refusal::OutsideWindow,
                !self.window.is_open(at, &facts.zones),
            ),
            (Refusal::AttemptsTotal, attempts >= self.attempts.total),
            (
                Refusal::AttemptsPerDay,
                attempts_today(facts, at) >= self.attempts.per_day,
            ),
            (Refusal::TooSoon, self.is_too_soon(facts, at)),
        ];
        rules
            .into_iter()
            .filter_map(|(refusal, applies)| applies.then_some(refusal))
            .collect()
    }

    fn is_too_soon(&self, facts: &Facts, at: Timestamp) -> bool {
        let Some(last) = facts.attempts.iter().max() else {
            return false;
        };
        // Negative when the last attempt lies in the future.
        let since = Duration::try_from(at.duration_since(*last));
        since.is_err() || since.is_ok_and(|since| since < self.attempts.pause)
    }
}

/// The most attempts that fall on the day of `at` in any zone that may be theirs.
fn attempts_today(facts: &Facts, at: Timestamp) -> u32 {
    let on_the_day = |zone: &TimeZone| {
        let today = zone.to_datetime(at).date();
        let made = facts
            .attempts
            .iter()
            .filter(|made| **made > at || zone.to_datetime(**made).date() == today);
        u32::try_from(made.count()).unwrap_or(u32::MAX)
    };
    // With no zone at all the window refuses.
    facts.zones.iter().map(on_the_day).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn somebody() -> Facts {
        Facts {
            dialable: true,
            zones: vec![TimeZone::get("America/New_York").unwrap()],
            ..Facts::default()
        }
    }

    /// A Monday noon in New York.
    const NOON: &str = "2026-06-22T16:00:00Z";

    #[test]
    fn nothing_speaks_against_a_first_call_at_noon() {
        assert_eq!(Rules::default().refusals(&somebody(), at(NOON)), []);
    }

    #[test]
    fn every_reason_is_named_at_once() {
        let facts = Facts {
            dialable: false,
            do_not_call: true,
            opted_out: true,
            consent: Some(false),
            may_be_mobile: false,
            zones: Vec::new(),
            attempts: vec![at(NOON); 6],
        };
        let mut rules = Rules::default();
        rules.attempts.per_day = 0;
        let all = rules.refusals(&facts, at(NOON));
        assert_eq!(
            all,
            [
                Refusal::InvalidNumber,
                Refusal::DoNotCall,
                Refusal::OptedOut,
                Refusal::NoConsent,
                Refusal::OutsideWindow,
                Refusal::AttemptsTotal,
                Refusal::AttemptsPerDay,
                Refusal::TooSoon,
            ]
        );
        let stay: Vec<_> = all
            .into_iter()
            .filter(|refusal| !refusal.can_be_overruled())
            .collect();
        assert_eq!(
            stay,
            [
                Refusal::InvalidNumber,
                Refusal::DoNotCall,
                Refusal::OptedOut,
                Refusal::NoConsent
            ]
        );
    }

    #[test]
    fn a_day_is_that_of_the_person() {
        let mut facts = somebody();
        // Half past eleven in the evening and half past nine in the morning of the same UTC day.
        facts.attempts = vec![at("2026-06-23T03:30:00Z"), at("2026-06-22T16:00:00Z")];
        let morning = at("2026-06-23T13:30:00Z");
        assert_eq!(Rules::default().refusals(&facts, morning), []);
        facts.zones.push(TimeZone::UTC);
        facts.attempts.push(at("2026-06-23T00:30:00Z"));
        assert_eq!(
            Rules::default().refusals(&facts, morning),
            [Refusal::AttemptsPerDay]
        );
    }

    #[test]
    fn a_rule_about_mobile_phones_spares_those_that_are_none() {
        for (rule, mobile, landline) in [
            (ConsentRule::None, true, true),
            (ConsentRule::Mobile, false, true),
            (ConsentRule::All, false, false),
        ] {
            let rules = Rules {
                consent: rule,
                ..Rules::default()
            };
            for (may_be_mobile, silence_is_enough) in [(true, mobile), (false, landline)] {
                let mut facts = somebody();
                facts.may_be_mobile = may_be_mobile;
                let may = |facts: &Facts| rules.refusals(facts, at(NOON)).is_empty();
                assert_eq!(may(&facts), silence_is_enough, "{rule:?}");
                facts.consent = Some(true);
                assert!(may(&facts), "{rule:?}");
                facts.consent = Some(false);
                assert!(!may(&facts), "{rule:?}");
            }
        }
        assert!(ConsentRule::All > ConsentRule::Mobile && ConsentRule::Mobile > ConsentRule::None);
    }

    #[test]
    fn where_consent_is_required_silence_is_none() {
        let mut facts = somebody();
        let rules = Rules {
            consent: ConsentRule::All,
            ..Rules::default()
        };
        assert_eq!(rules.refusals(&facts, at(NOON)), [Refusal::NoConsent]);
        facts.consent = Some(true);
        assert_eq!(rules.refusals(&facts, at(NOON)), []);
        facts.consent = Some(false);
        assert_eq!(
            Rules::default().refusals(&facts, at(NOON)),
            [Refusal::NoConsent],
            "a no is a no"
        );
    }

    const ZONES: [&str; 4] = [
        "America/New_York",
        "America/Phoenix",
        "America/Los_Angeles",
        "Pacific/Honolulu",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        /// Over zones, days on which clocks are set, holidays and clocks that disagree.
        #[test]
        fn no_allowed_call_breaks_a_rule(
            second in 1_767_225_600_i64..1_830_297_600,
            minutes in prop::collection::vec(-600_i64..20_000, 0..8),
            names in prop::sample::subsequence(&ZONES[..], 1..4),
        ) {
            let now = Timestamp::from_second(second).unwrap();
            let attempts: Vec<Timestamp> = minutes.iter().map(|ago| now - ago.minutes()).collect();
            let zones: Vec<TimeZone> = names.iter().map(|name| TimeZone::get(name).unwrap()).collect();
            let rules = Rules::default();
            let facts = Facts { dialable: true, zones: zones.clone(), attempts: attempts.clone(), ..Facts::default() };
            let refusals = rules.refusals(&facts, now);
            if refusals.is_empty() {
                prop_assert!(attempts.len() < 6);
                prop_assert!(attempts.iter().all(|made| *made + 4.hours() <= now), "four hours apart, none in the future");
                for zone in &zones {
                    let local = now.to_zoned(zone.clone());
                    prop_assert!((9..18).contains(&local.hour()));
                    prop_assert!(local.weekday().to_monday_zero_offset() < 5);
                    let same = attempts.iter().filter(|made| made.to_zoned(zone.clone()).date() == local.date());
                    prop_assert!(same.count() < 2);
                }
            }
            // One more attempt or one more zone never opens anything.
            let mut stricter = facts;
            stricter.attempts.push(now - 72.hours());
            stricter.zones.push(TimeZone::get("America/Anchorage").unwrap());
            let more = rules.refusals(&stricter, now);
            prop_assert!(refusals.iter().all(|refusal| more.contains(refusal)), "{refusals:?} but then {more:?}");
        }
    }
}
