//! What the names of time zones in calendars mean. Pure.

use jiff::tz::TimeZone;

use super::ics::Component;

/// The zone that a calendar calls `tzid`: by IANA's database where it is known there, else by its
/// own definition in the calendar (RFC 5545, section 3.6.5).
pub(super) fn zone(tzid: &str, calendar: &Component) -> Option<TimeZone> {
    let mut definitions = calendar.all("VTIMEZONE");
    let definition = definitions.find(|one| one.value("TZID") == Some(tzid));
    let location = definition.and_then(|one| one.value("X-LIC-LOCATION"));
    known(tzid)
        .or_else(|| known(location?))
        .or_else(|| defined(definition?))
}

/// `America/New_York`, also behind what some programs put before it.
fn known(name: &str) -> Option<TimeZone> {
    let starts = std::iter::once(0).chain(name.match_indices('/').map(|(at, _)| at + 1));
    let mut names = starts.map(|start| &name[start..]);
    names.find_map(|name| TimeZone::get(name).ok())
}

/// As the newest rules of a definition say.
fn defined(definition: &Component) -> Option<TimeZone> {
    let newest = |name| {
        let rules = definition.all(name);
        rules.max_by_key(|rule| rule.value("DTSTART").unwrap_or_default().to_owned())
    };
    let standard = newest("STANDARD").or_else(|| newest("DAYLIGHT"))?;
    let base = format!("<STD>{}", offset(standard.value("TZOFFSETTO")?)?);
    let daylight = newest("DAYLIGHT").and_then(|daylight| {
        let offset = offset(daylight.value("TZOFFSETTO")?)?;
        let (from, until) = (change(daylight)?, change(standard)?);
        Some(format!("<DST>{offset},{from},{until}"))
    });
    TimeZone::posix(&(base + &daylight.unwrap_or_default())).ok()
}

/// An offset such as `-0500`, as POSIX writes it: how far to go to UTC.
fn offset(text: &str) -> Option<String> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("-", digits) => ("", digits),
        ("+", digits) => ("-", digits),
        _ => return None,
    };
    let number = |from: usize| digits.get(from..from + 2)?.parse::<u8>().ok();
    let (hours, minutes) = (number(0)?, number(2)?);
    Some(format!("{sign}{hours}:{minutes:02}"))
}

/// When a rule begins to hold each year, such as `M3.2.0/2:00:00`: the second Sunday in March.
fn change(rule: &Component) -> Option<String> {
    let recurs = rule.value("RRULE")?;
    let part = |name: &str| {
        let mut parts = recurs.split(';').filter_map(|part| part.split_once('='));
        let (_, value) = parts.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    };
    if part("UNTIL").is_some() {
        return None;
    }
    let month: u8 = part("BYMONTH")?.parse().ok()?;
    let by_day = part("BYDAY")?;
    let (ordinal, day) = by_day.split_at_checked(by_day.len().checked_sub(2)?)?;
    let weekdays = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"];
    let day = weekdays.iter().position(|known| *known == day)?;
    let week = match ordinal.trim_start_matches('+') {
        "-1" => 5,
        // The eighth and the six days after it are the second week.
        "" => match part("BYMONTHDAY")?.split(',').next()?.parse::<u8>().ok()? {
            25.. => 5,
            first => first.checked_sub(1)? / 7 + 1,
        },
        ordinal => ordinal.parse().ok().filter(|week| (1..=5).contains(week))?,
    };
    let time = rule.value("DTSTART")?.split_once('T')?.1;
    let number = |from: usize| time.get(from..from + 2)?.parse::<u8>().ok();
    let (hour, minute, second) = (number(0)?, number(2)?, number(4)?);
    Some(format!(
        "M{month}.{week}.{day}/{hour}:{minute:02}:{second:02}"
    ))
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, civil::DateTime};

    use super::*;

    const OWN: &str = "BEGIN:VCALENDAR
BEGIN:VTIMEZONE
TZID:Church Office
BEGIN:STANDARD
DTSTART:20071104T020000
RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU
TZOFFSETFROM:-0400
TZOFFSETTO:-0500
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:20070311T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=SU;BYMONTHDAY=8,9,10,11,12,13,14
TZOFFSETFROM:-0500
TZOFFSETTO:-0400
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VTIMEZONE
TZID:Fixed
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:+0530
TZOFFSETTO:+0530
END:STANDARD
END:VTIMEZONE
BEGIN:VTIMEZONE
TZID:Nowhere
END:VTIMEZONE
END:VCALENDAR
";

    fn utc(tzid: &str, local: &str) -> Option<Timestamp> {
        let calendar = Component::parse(OWN).unwrap();
        let local: DateTime = local.parse().unwrap();
        let zoned = local.to_zoned(zone(tzid, &calendar)?).unwrap();
        Some(zoned.timestamp())
    }

    #[test]
    fn a_zone_is_known_by_name_or_by_its_definition() {
        for name in [
            "America/New_York",
            "/freeassociation.sourceforge.net/America/New_York",
            "Church Office",
        ] {
            for (local, expected) in [
                ("2026-03-07T12:00:00", "2026-03-07T17:00:00Z"),
                ("2026-03-08T12:00:00", "2026-03-08T16:00:00Z"),
                ("2026-10-31T12:00:00", "2026-10-31T16:00:00Z"),
                ("2026-11-01T12:00:00", "2026-11-01T17:00:00Z"),
            ] {
                let expected = expected.parse().unwrap();
                assert_eq!(utc(name, local), Some(expected), "{name} {local}");
            }
        }
        let fixed = "2026-06-23T06:30:00Z".parse().unwrap();
        assert_eq!(utc("Fixed", "2026-06-23T12:00:00"), Some(fixed));
        assert_eq!(utc("Nowhere", "2026-06-23T12:00:00"), None);
        assert_eq!(utc("Unknown", "2026-06-23T12:00:00"), None);
    }
}
