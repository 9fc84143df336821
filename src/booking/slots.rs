//! Which times can be offered for a meeting.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};

use crate::outbound::Window;

/// When the host takes meetings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hours {
    /// The days and hours in which a meeting must lie as a whole, by the host's clock; federal
    /// holidays are off. Default: those of [`Window`].
    pub window: Window,
    /// Where the host lives.
    pub zone: TimeZone,
    /// How long a meeting lasts. Default: 15 minutes.
    pub length: Duration,
    /// How long the host is free before and after each. Default: 15 minutes.
    pub buffer: Duration,
    /// How much sooner than this nothing is offered. Default: 2 hours.
    pub notice: Duration,
    /// How far ahead meetings are offered. Default: 14 days.
    pub ahead: Duration,
}

impl Hours {
    /// The defaults, by the clock of `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self {
            window: Window::default(),
            zone,
            length: Duration::from_secs(15 * 60),
            buffer: Duration::from_secs(15 * 60),
            notice: Duration::from_secs(2 * 60 * 60),
            ahead: Duration::from_secs(14 * 24 * 60 * 60),
        }
    }

    /// Every time at which a meeting may begin, from `now` on, earliest first. Times stand on a
    /// grid, a meeting and a buffer apart, so that two meetings that begin at different times
    /// never meet.
    pub fn slots(&self, now: Timestamp, busy: &[Busy]) -> impl Iterator<Item = Timestamp> {
        let first = now.checked_add(self.notice).unwrap_or(Timestamp::MAX);
        let last = now.checked_add(self.ahead).unwrap_or(Timestamp::MAX);
        let days = self
            .zone
            .to_datetime(first)
            .date()
            .series(1.day())
            .take_while(move |day| *day <= self.zone.to_datetime(last).date());
        days.flat_map(|day| self.starts(day))
            .filter(move |start| (first..=last).contains(start) && self.fits(*start, busy))
    }

    /// Whether a meeting may begin at `start`, which was free a moment ago.
    #[must_use]
    pub fn offers(&self, start: Timestamp, now: Timestamp, busy: &[Busy]) -> bool {
        self.slots(now, busy)
            .take_while(|slot| *slot <= start)
            .any(|slot| slot == start)
    }

    /// When a meeting that begins at `start` is over.
    #[must_use]
    pub fn end(&self, start: Timestamp) -> Timestamp {
        start.checked_add(self.length).unwrap_or(Timestamp::MAX)
    }

    /// The times of the grid on one day, as the host's clock shows them, the day's window long.
    fn starts(&self, day: Date) -> Vec<Timestamp> {
        let step = self.length.saturating_add(self.buffer);
        let zones = [self.zone.clone()];
        let Ok(midnight) = day.to_zoned(self.zone.clone()) else {
            return Vec::new();
        };
        let (Ok(tomorrow), Some(mut at)) = (
            midnight.tomorrow(),
            self.window.next_open(midnight.timestamp(), &zones),
        ) else {
            return Vec::new();
        };
        let mut starts = Vec::new();
        while at < tomorrow.timestamp() && !step.is_zero() {
            if self.is_inside(at) {
                starts.push(at);
            }
            let Ok(next) = at.checked_add(step) else {
                break;
            };
            at = next;
        }
        starts
    }

    /// The whole meeting lies in the window.
    fn is_inside(&self, start: Timestamp) -> bool {
        let zones = std::slice::from_ref(&self.zone);
        let minute = SignedDuration::from_mins(1);
        let last = self.end(start).checked_sub(minute).unwrap_or(start);
        self.window.is_open(start, zones) && self.window.is_open(last, zones)
    }

    fn fits(&self, start: Timestamp, busy: &[Busy]) -> bool {
        let from = start.checked_sub(self.buffer).unwrap_or(Timestamp::MIN);
        let to = self
            .end(start)
            .checked_add(self.buffer)
            .unwrap_or(Timestamp::MAX);
        busy.iter().all(|busy| busy.end <= from || to <= busy.start)
    }
}

/// A stretch of time that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a stretch of time")]
pub struct Busy {
    /// From here.
    pub start: Timestamp,
    /// Until just before here.
    pub end: Timestamp,
}

/// A time as one says it on the phone: `Tuesday, June 23, at 2:30 PM Central time`.
#[must_use]
pub fn spoken(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let clock = if local.minute() == 0 {
        local.strftime("%-I %p")
    } else {
        local.strftime("%-I:%M %p")
    };
    let day = local.strftime("%A, %B %-d");
    format!("{day}, at {clock} {}", zone_name(&local))
}

/// `Eastern time`; the abbreviation where nobody says it so.
fn zone_name(local: &jiff::Zoned) -> String {
    let abbreviation = local.strftime("%Z").to_string();
    let name = match abbreviation.as_str() {
        "EST" | "EDT" => "Eastern time",
        "CST" | "CDT" => "Central time",
        "MST" | "MDT" => "Mountain time",
        "PST" | "PDT" => "Pacific time",
        "AKST" | "AKDT" => "Alaska time",
        "HST" | "HDT" => "Hawaii time",
        _ => return abbreviation,
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours() -> Hours {
        Hours::new(TimeZone::get("America/Chicago").unwrap())
    }

    #[test]
    fn times_stand_on_a_grid_within_the_hosts_day() {
        // A Monday, eight in the morning in Chicago.
        let slots: Vec<_> = hours().slots(at("2026-06-22T13:00:00Z"), &[]).collect();
        assert_eq!(slots[0], at("2026-06-22T15:00:00Z"), "two hours' notice");
        assert_eq!(slots[1], at("2026-06-22T15:30:00Z"));
        let mut monday = slots
            .iter()
            .filter(|slot| **slot < at("2026-06-23T05:00:00Z"));
        assert_eq!(
            monday.next_back(),
            Some(&at("2026-06-22T22:30:00Z")),
            "over before six"
        );
        assert!(
            !slots.iter().any(
                |slot| (at("2026-07-03T05:00:00Z")..at("2026-07-04T05:00:00Z")).contains(slot)
            ),
            "a holiday"
        );
    }

    #[test]
    fn what_is_taken_is_not_offered_nor_what_touches_it() {
        let now = at("2026-06-22T13:00:00Z");
        let busy = [Busy {
            start: at("2026-06-22T15:40:00Z"),
            end: at("2026-06-22T16:00:00Z"),
        }];
        let slots: Vec<_> = hours().slots(now, &busy).take(2).collect();
        assert_eq!(
            slots,
            [at("2026-06-22T15:00:00Z"), at("2026-06-22T16:30:00Z")],
            "a buffer before and after"
        );
        assert!(!hours().offers(at("2026-06-22T15:30:00Z"), now, &busy));
        assert!(
            !hours().offers(at("2026-06-22T15:10:00Z"), now, &[]),
            "not on the grid"
        );
        assert!(hours().offers(at("2026-06-22T15:30:00Z"), now, &[]));
    }

    #[test]
    fn times_are_said_by_the_listeners_clock() {
        let slot = at("2026-06-23T19:30:00Z");
        let said = |zone| spoken(slot, &TimeZone::get(zone).unwrap());
        assert_eq!(
            said("America/Chicago"),
            "Tuesday, June 23, at 2:30 PM Central time"
        );
        assert_eq!(
            said("America/Phoenix"),
            "Tuesday, June 23, at 12:30 PM Mountain time"
        );
        let noon = spoken(
            at("2026-12-01T17:00:00Z"),
            &TimeZone::get("America/New_York").unwrap(),
        );
        assert_eq!(noon, "Tuesday, December 1, at 12 PM Eastern time");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn no_two_offers_meet_and_none_meets_what_is_taken(
            second in 1_767_225_600_i64..1_830_297_600,
            taken in prop::collection::vec((0_i64..14 * 24 * 60, 1_i64..300), 0..6),
        ) {
            let now = Timestamp::from_second(second).unwrap();
            let busy: Vec<Busy> = taken
                .iter()
                .map(|(after, length)| Busy { start: now + after.minutes(), end: now + (after + length).minutes() })
                .collect();
            let hours = hours();
            let slots: Vec<_> = hours.slots(now, &busy).collect();
            for pair in slots.windows(2) {
                prop_assert!(hours.end(pair[0]) + hours.buffer <= pair[1]);
            }
            for slot in &slots {
                prop_assert!(*slot >= now + hours.notice && *slot <= now + hours.ahead);
                let local = slot.to_zoned(hours.zone.clone());
                prop_assert!((9..18).contains(&local.hour()));
                prop_assert!(busy.iter().all(|busy| busy.end + hours.buffer <= *slot || hours.end(*slot) + hours.buffer <= busy.start));
            }
        }
    }
}
