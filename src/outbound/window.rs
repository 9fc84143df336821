//! When people may be called: hours of their own day, on days that are no holidays.

use std::fmt;

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

use super::holidays::federal_holiday;

/// The hours in which people may be called, by the clock on their own wall.
///
/// Written as `{"days":["mon","tue"],"start":"09:00","end":"18:00"}`; what is left out has the
/// default, which is 9:00 to 18:00 from Monday to Friday. Federal holidays of the United States
/// are always shut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Window {
    /// On which days.
    pub days: Vec<Day>,
    /// From when on.
    pub start: Minute,
    /// Until just before when; later than `start`.
    pub end: Minute,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            days: vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri],
            start: Minute(9 * 60),
            end: Minute(18 * 60),
        }
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the seven days")]
#[expect(clippy::exhaustive_enums, reason = "a week has seven days")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl From<Weekday> for Day {
    fn from(weekday: Weekday) -> Self {
        match weekday {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

/// A time of day to the minute, `00:00` to `24:00`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Minute(u16);

impl Minute {
    /// `hour:minute`; `None` past `24:00`.
    #[must_use]
    pub const fn new(hour: u8, minute: u8) -> Option<Self> {
        let minutes = hour as u16 * 60 + minute as u16;
        if minute < 60 && minutes <= 24 * 60 {
            Some(Self(minutes))
        } else {
            None
        }
    }
}

/// A text that is no time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time of day: write it as 09:00, up to 24:00")]
#[non_exhaustive]
pub struct NotATime;

impl TryFrom<String> for Minute {
    type Error = NotATime;

    fn try_from(text: String) -> Result<Self, NotATime> {
        let (hour, minute) = text.split_once(':').ok_or(NotATime)?;
        let number = |digits: &str| {
            let plain = (1..=2).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_digit());
            plain.then(|| digits.parse::<u8>().ok()).flatten()
        };
        let minute = number(minute).filter(|_| minute.len() == 2);
        number(hour)
            .zip(minute)
            .and_then(|(hour, minute)| Self::new(hour, minute))
            .ok_or(NotATime)
    }
}

impl From<Minute> for String {
    fn from(minute: Minute) -> Self {
        minute.to_string()
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Debug for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A window that is never open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NeverOpen {
    /// No day.
    #[error("the calling window names no day: give some of mon, tue, wed, thu, fri, sat, sun")]
    NoDay,
    /// The end is not after the start.
    #[error(
        "the calling window ends before it begins: its end must be later than its start on the same day"
    )]
    EndsFirst,
}

impl Window {
    /// Refuses a window that is never open.
    ///
    /// # Errors
    ///
    /// What to change.
    pub fn validate(&self) -> Result<(), NeverOpen> {
        if self.days.is_empty() {
            Err(NeverOpen::NoDay)
        } else if self.end <= self.start {
            Err(NeverOpen::EndsFirst)
        } else {
            Ok(())
        }
    }

    /// Whether somebody may be called at `at` who lives in one of these zones: it must be open in
    /// all of them. Of somebody of whom no zone is known give all zones of the country; with none
    /// at all it is never open.
    #[must_use]
    pub fn is_open(&self, at: Timestamp, zones: &[TimeZone]) -> bool {
        !zones.is_empty() && zones.iter().all(|zone| self.is_open_in(at, zone))
    }

    /// The first moment from `at` on at which it [is open](Self::is_open); `None` when it is not
    /// within three weeks, which is longer than holidays and weekends last.
    #[must_use]
    pub fn next_open(&self, at: Timestamp, zones: &[TimeZone]) -> Option<Timestamp> {
        if self.is_open(at, zones) {
            return Some(at);
        }
        let horizon = at.checked_add(HORIZON_HOURS.hours()).ok()?;
        let mut moments: Vec<Timestamp> = zones
            .iter()
            .flat_map(|zone| self.openings(at, horizon, zone))
            .filter(|moment| (at..=horizon).contains(moment))
            .collect();
        moments.sort_unstable();
        moments
            .into_iter()
            .find(|moment| self.is_open(*moment, zones))
    }

    fn is_open_in(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let local = zone.to_datetime(at);
        let time = local.time();
        // Hours and minutes are never negative.
        let minute = u16::try_from(i16::from(time.hour()) * 60 + i16::from(time.minute()));
        self.is_open_on(local.date())
            && minute.is_ok_and(|minute| (self.start.0..self.end.0).contains(&minute))
    }

    fn is_open_on(&self, date: Date) -> bool {
        self.days.contains(&date.weekday().into()) && federal_holiday(date).is_none()
    }

    /// Where it may begin to be open in one zone: its start on each day, and wherever clocks are
    /// set, which may set them back into it.
    fn openings(&self, from: Timestamp, until: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
        let first = zone.to_datetime(from).date();
        let (hour, minute) = (self.start.0 / 60, self.start.0 % 60);
        let (Ok(hour), Ok(minute)) = (i8::try_from(hour), i8::try_from(minute)) else {
            return Vec::new();
        };
        // A start of 24:00 has no hour of the day, and no window either.
        let starts = first
            .series(1.day())
            .take(usize::from(HORIZON_DAYS) + 2)
            .filter_map(|date| {
                let local = date.to_datetime(jiff::civil::Time::new(hour, minute, 0, 0).ok()?);
                zone.to_timestamp(local).ok()
            });
        let changes = zone
            .following(from)
            .map(|change| change.timestamp())
            .take_while(|change| *change <= until);
        starts.chain(changes).collect()
    }
}

const HORIZON_DAYS: u8 = 21;
const HORIZON_HOURS: i64 = 24 * HORIZON_DAYS as i64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn zones(names: &[&str]) -> Vec<TimeZone> {
        names
            .iter()
            .map(|name| TimeZone::get(name).unwrap())
            .collect()
    }

    #[test]
    fn hours_are_those_of_the_persons_own_clock() {
        let window = Window::default();
        // A Monday in summer: New York is four hours behind, Los Angeles seven.
        let east = zones(&["America/New_York"]);
        let both = zones(&["America/New_York", "America/Los_Angeles"]);
        assert!(!window.is_open(at("2026-06-22T12:59:59Z"), &east));
        assert!(window.is_open(at("2026-06-22T13:00:00Z"), &east));
        assert!(
            !window.is_open(at("2026-06-22T13:00:00Z"), &both),
            "six in the morning in the west"
        );
        assert!(window.is_open(at("2026-06-22T16:00:00Z"), &both));
        assert!(window.is_open(at("2026-06-22T21:59:59Z"), &both));
        assert!(
            !window.is_open(at("2026-06-22T22:00:00Z"), &both),
            "six in the evening in the east"
        );
        assert!(
            !window.is_open(at("2026-06-22T16:00:00Z"), &[]),
            "nobody knows where"
        );
    }

    #[test]
    fn clocks_that_are_set_move_the_window() {
        let window = Window::default();
        let east = zones(&["America/New_York"]);
        // Friday in standard time, Monday in summer time.
        assert!(!window.is_open(at("2026-03-06T13:30:00Z"), &east));
        assert!(window.is_open(at("2026-03-09T13:30:00Z"), &east));
    }

    #[test]
    fn weekends_and_holidays_are_shut() {
        let window = Window::default();
        let east = zones(&["America/New_York"]);
        for shut in [
            "2026-06-20T16:00:00Z",
            "2026-06-21T16:00:00Z",
            "2026-11-26T16:00:00Z",
            "2026-07-03T16:00:00Z",
        ] {
            assert!(!window.is_open(at(shut), &east), "{shut}");
        }
        assert_eq!(
            window.next_open(at("2026-11-25T23:30:00Z"), &east),
            Some(at("2026-11-27T14:00:00Z")),
            "over Thanksgiving"
        );
    }

    #[test]
    fn a_window_is_written_as_people_write_it() {
        let json = r#"{"days":["sat"],"start":"09:30","end":"24:00"}"#;
        let window: Window = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&window).unwrap(), json);
        assert_eq!(
            serde_json::from_str::<Window>("{}").unwrap(),
            Window::default()
        );
        for wrong in ["9", "25:00", "24:01", "09:60", "-1:00", "09:0", "+9:00", ""] {
            let json = format!(r#"{{"start":"{wrong}"}}"#);
            let error = serde_json::from_str::<Window>(&json).unwrap_err();
            assert!(error.to_string().contains("09:00"), "{error}");
        }
        assert!(serde_json::from_str::<Window>(r#"{"days":["monday"]}"#).is_err());
        assert!(serde_json::from_str::<Window>(r#"{"from":"09:00"}"#).is_err());
    }

    #[test]
    fn a_window_that_is_never_open_is_refused() {
        let mut window = Window::default();
        assert_eq!(window.validate(), Ok(()));
        window.end = window.start;
        assert_eq!(window.validate(), Err(NeverOpen::EndsFirst));
        window.days.clear();
        assert_eq!(window.validate(), Err(NeverOpen::NoDay));
        assert_eq!(
            window.next_open(at("2026-06-22T16:00:00Z"), &zones(&["UTC"])),
            None
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Across zones, days on which clocks are set, and holidays.
        #[test]
        fn it_opens_first_when_it_says_so(
            second in 1_767_225_600_i64..1_830_297_600,
            start in 0_u16..1_439,
            length in 1_u16..1_440,
            days in prop::collection::vec(0_usize..7, 1..7),
            names in prop::sample::subsequence(
                &["America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles",
                  "America/Anchorage", "Pacific/Honolulu"][..], 1..4),
        ) {
            const WEEK: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
            let window = Window {
                days: days.into_iter().map(|day| WEEK[day]).collect(),
                start: Minute(start),
                end: Minute((start + length).min(1_440)),
            };
            let zones = zones(&names);
            let from = Timestamp::from_second(second).unwrap();
            let open = window.next_open(from, &zones);
            let until = open.unwrap_or_else(|| from + (HORIZON_HOURS - 48).hours());
            let mut before = from;
            while before < until {
                prop_assert!(!window.is_open(before, &zones), "already at {before}");
                before += 7.minutes();
            }
            if let Some(open) = open {
                prop_assert!(window.is_open(open, &zones));
                prop_assert!(open == from || !window.is_open(open - 1.seconds(), &zones), "a second earlier already");
            }
        }
    }
}
