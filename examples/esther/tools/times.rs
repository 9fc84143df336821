//! Which of the free times come near what the caller wants. Nothing but arithmetic.

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};
use novavoice::tool::ToolError;

/// What the caller wants, by the caller's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    day: Option<Date>,
    after: Option<Time>,
    before: Option<Time>,
}

impl Wish {
    /// Reads a day such as `2026-06-23` and times such as `14:30`.
    pub(super) fn read(
        day: Option<&str>,
        after: Option<&str>,
        before: Option<&str>,
    ) -> Result<Self, ToolError> {
        let time = |text: Option<&str>| text.map(clock).transpose();
        let day = filled(day).map(|day| {
            let date = day.parse::<Date>();
            date.map_err(|_| ToolError::new("`day` is no date such as 2026-06-23."))
        });
        Ok(Self {
            day: day.transpose()?,
            after: time(filled(after))?,
            before: time(filled(before))?,
        })
    }

    /// Whether a time is one of those that were wanted.
    pub(super) fn allows(&self, start: Timestamp, zone: &TimeZone) -> bool {
        let local = start.to_zoned(zone.clone());
        self.day.is_none_or(|day| local.date() == day)
            && self.after.is_none_or(|after| local.time() >= after)
            && self.before.is_none_or(|before| local.time() < before)
    }

    /// At most [`MOST`] of these slots, earliest first: those that are wanted, otherwise those
    /// that come nearest to it. Without a day, one on each of the next days.
    pub(super) fn choose(&self, slots: &[Timestamp], zone: &TimeZone) -> Vec<Timestamp> {
        let mut chosen: Vec<Timestamp> = match self.moment(zone) {
            Some(moment) => {
                let mut slots = slots.to_vec();
                slots.sort_by_key(|slot| {
                    let apart = slot.duration_since(moment).abs();
                    (!self.allows(*slot, zone), apart)
                });
                slots
            }
            None => {
                let wanted = slots.iter().filter(|slot| self.allows(**slot, zone));
                let mut days = Vec::new();
                wanted
                    .filter(|slot| {
                        let day = slot.to_zoned(zone.clone()).date();
                        let is_first = !days.contains(&day);
                        days.push(day);
                        is_first
                    })
                    .copied()
                    .collect()
            }
        };
        chosen.truncate(MOST);
        chosen.sort_unstable();
        chosen
    }

    fn moment(&self, zone: &TimeZone) -> Option<Timestamp> {
        let noon = Time::constant(12, 0, 0, 0);
        let time = self.after.or(self.before).unwrap_or(noon);
        let local = self.day?.to_datetime(time).to_zoned(zone.clone());
        local.ok().map(|local| local.timestamp())
    }
}

/// A moment as a model writes it: with an offset, or by the clock of `zone`.
pub(super) fn moment(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
    let local = || {
        let local: jiff::civil::DateTime = text.parse().ok()?;
        Some(local.to_zoned(zone.clone()).ok()?.timestamp())
    };
    text.parse().ok().or_else(local)
}

/// The zone of this name: one of IANA's, or as Americans say it.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    let said = name.trim().to_lowercase();
    let said = said.trim_end_matches(" time").trim_end_matches(" standard");
    let name = match said {
        "eastern" | "est" | "edt" | "et" => "America/New_York",
        "central" | "cst" | "cdt" | "ct" => "America/Chicago",
        "mountain" | "mst" | "mdt" | "mt" => "America/Denver",
        "arizona" => "America/Phoenix",
        "pacific" | "pst" | "pdt" | "pt" => "America/Los_Angeles",
        "alaska" => "America/Anchorage",
        "hawaii" | "hst" => "Pacific/Honolulu",
        _ => name.trim(),
    };
    TimeZone::get(name).ok()
}

fn clock(text: &str) -> Result<Time, ToolError> {
    let time = format!("{text:0>5}").parse();
    time.map_err(|_| ToolError::new("`after` and `before` are times such as 09:00 or 14:30."))
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// More times than three nobody remembers on the phone.
const MOST: usize = 3;

#[cfg(test)]
mod tests {
    use novavoice::booking::Hours;

    use super::*;

    /// Two weeks from a Monday, eight in the morning in Chicago.
    fn slots() -> Vec<Timestamp> {
        let now = "2026-06-22T13:00:00Z".parse().expect("a time");
        Hours::new(chicago()).slots(now, &[]).collect()
    }

    fn chicago() -> TimeZone {
        zone("Central").expect("a zone")
    }

    fn chosen(day: &str, after: &str, before: &str, zone: &TimeZone) -> Vec<String> {
        let wish = Wish::read(Some(day), Some(after), Some(before)).expect("it can be read");
        let chosen = wish.choose(&slots(), zone);
        chosen.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_wanted_day_and_hours_come_first() {
        let eastern = zone("eastern time").expect("a zone");
        assert_eq!(
            chosen("2026-06-24", "14:00", "", &eastern),
            [
                "2026-06-24T18:00:00Z",
                "2026-06-24T18:30:00Z",
                "2026-06-24T19:00:00Z"
            ],
            "two in the afternoon in New York"
        );
        assert_eq!(
            chosen("2026-06-24", "9:00", "11:00", &eastern),
            [
                "2026-06-24T14:00:00Z",
                "2026-06-24T14:30:00Z",
                "2026-06-24T15:00:00Z"
            ],
            "one that is wanted, and the next ones"
        );
    }

    #[test]
    fn a_day_without_times_gets_the_nearest() {
        let saturday = chosen("2026-06-27", "09:00", "", &chicago());
        assert_eq!(saturday.len(), 3);
        assert!(
            saturday.iter().all(|time| time.starts_with("2026-06-26")),
            "{saturday:?}"
        );
    }

    #[test]
    fn without_a_day_each_of_the_next_days_has_one() {
        assert_eq!(
            chosen("", "13:00", "", &chicago()),
            [
                "2026-06-22T18:00:00Z",
                "2026-06-23T18:00:00Z",
                "2026-06-24T18:00:00Z"
            ]
        );
        assert_eq!(
            Wish::default().choose(&slots(), &chicago())[0],
            slots()[0],
            "the first"
        );
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (day, after) in [("tomorrow", "9:00"), ("2026-02-30", ""), ("", "noon")] {
            assert!(
                Wish::read(Some(day), Some(after), None).is_err(),
                "{day} {after}"
            );
        }
        let local = moment("2026-06-24T10:00", &chicago());
        assert_eq!(local, moment("2026-06-24T15:00:00Z", &chicago()));
        assert_eq!(moment("soon", &chicago()), None);
        assert!(zone("Mars/Olympus").is_none());
    }
}
