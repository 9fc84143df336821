//! Events of a calendar: when they make its owner busy, and how one is moved. Pure.
//!
//! Source: RFC 5545, sections 3.3 and 3.8; RFC 4791, section 7.10 for what counts as busy.

use jiff::{Span, Timestamp, ToSpan, Zoned, civil, tz::TimeZone};

use super::{
    ics::{Component, Property, unfolded},
    zone,
};
use crate::booking::{
    Busy, Meeting,
    invitation::{Lines, moved},
};

/// A stretch of time that an event takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) uid: String,
    pub(super) busy: Busy,
}

/// What the events of one resource take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) taken: Vec<Taken>,
    /// Events whose time nobody can read.
    pub(super) unread: usize,
    /// Some recur by a rule, which the server was to apply.
    pub(super) has_rules: bool,
}

/// What `text` takes; days and times without a zone are those of `local`. `None` when it is no
/// calendar.
pub(super) fn times(text: &str, local: &TimeZone) -> Option<Times> {
    let calendar = Component::parse(text)?;
    let mut times = Times::default();
    for event in calendar.all("VEVENT") {
        let is = |name, value: &str| {
            let found = event.value(name);
            found.is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        if is("STATUS", "CANCELLED") || is("TRANSP", "TRANSPARENT") {
            continue;
        }
        if event.property("RRULE").is_some() || event.property("RDATE").is_some() {
            times.has_rules = true;
            continue;
        }
        match span(event, &calendar, local) {
            // An event without length takes no time.
            Some(busy) if busy.start >= busy.end => {}
            Some(busy) => times.taken.push(Taken {
                uid: event.value("UID").unwrap_or_default().to_owned(),
                busy,
            }),
            None => times.unread += 1,
        }
    }
    Some(times)
}

/// The busy times of a free-busy answer (RFC 4791, section 7.10); `None` when it is none.
pub(super) fn free_busy(text: &str) -> Option<Vec<Busy>> {
    let calendar = Component::parse(text)?;
    let mut busy = Vec::new();
    for answer in calendar.all("VFREEBUSY") {
        for property in &answer.properties {
            if property.name != "FREEBUSY" || property.parameter("FBTYPE") == Some("FREE") {
                continue;
            }
            for period in property.value.split(',') {
                busy.push(self::period(period.trim())?);
            }
        }
    }
    Some(busy)
}

/// A start and an end or a length, in UTC (RFC 5545, section 3.3.9).
fn period(text: &str) -> Option<Busy> {
    let (start, end) = text.split_once('/')?;
    let utc = |text: &str| {
        let time = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
        time.to_zoned(TimeZone::UTC).ok()
    };
    let start = utc(start)?;
    let end = match utc(end) {
        Some(end) => end,
        None => start.checked_add(end.parse::<Span>().ok()?).ok()?,
    };
    Some(Busy {
        start: start.timestamp(),
        end: end.timestamp(),
    })
}

/// From its start to its end, however that is given (RFC 5545, section 3.6.1).
fn span(event: &Component, calendar: &Component, local: &TimeZone) -> Option<Busy> {
    let property = event.property("DTSTART")?;
    let (start, is_day) = moment(property, calendar, local)?;
    let end = match (event.property("DTEND"), event.value("DURATION")) {
        (Some(end), _) => moment(end, calendar, local)?.0,
        (None, Some(length)) => start.checked_add(length.parse::<Span>().ok()?).ok()?,
        (None, None) if is_day => start.checked_add(1.day()).ok()?,
        (None, None) => start.clone(),
    };
    Some(Busy {
        start: start.timestamp(),
        end: end.timestamp(),
    })
}

/// A date or a date with a time, and whether it was a date.
fn moment(property: &Property, calendar: &Component, local: &TimeZone) -> Option<(Zoned, bool)> {
    let text = property.value.trim();
    if let Ok(date) = civil::Date::strptime("%Y%m%d", text) {
        return Some((date.to_zoned(local.clone()).ok()?, true));
    }
    let (text, zone) = match (text.strip_suffix(['Z', 'z']), property.parameter("TZID")) {
        (Some(text), _) => (text, TimeZone::UTC),
        (None, Some(tzid)) => (text, zone::zone(tzid, calendar)?),
        (None, None) => (text, local.clone()),
    };
    let time = civil::DateTime::strptime("%Y%m%dT%H%M%S", text).ok()?;
    Some((time.to_zoned(zone).ok()?, false))
}

/// The text of an event with the times of `meeting`, and with all else that its owner has made of
/// it; `None` when it is not an event of this meeting alone.
pub(super) fn revised(text: &str, meeting: &Meeting, stamp: Timestamp) -> Option<String> {
    let calendar = Component::parse(text)?;
    let mut events = calendar.all("VEVENT");
    let (event, None) = (events.next()?, events.next()) else {
        return None;
    };
    if event.value("UID") != Some(&meeting.uid) || event.property("RRULE").is_some() {
        return None;
    }
    let mut file = Lines::default();
    let mut inside: Vec<String> = Vec::new();
    for line in unfolded(text) {
        let end = line.find([':', ';']).unwrap_or(line.len());
        let name = line[..end].trim().to_ascii_uppercase();
        let in_event = inside.last().is_some_and(|name| name == "VEVENT");
        match name.as_str() {
            "BEGIN" => inside.push(line[end..].trim_matches([':', ' ']).to_ascii_uppercase()),
            "END" => {
                if in_event {
                    for line in moved(meeting, stamp) {
                        file.line(&line);
                    }
                }
                inside.pop();
            }
            _ if in_event && TIMES.contains(&name.as_str()) => continue,
            _ => {}
        }
        file.line(&line);
    }
    Some(file.0)
}

/// What changes when a meeting is moved.
const TIMES: [&str; 5] = ["SEQUENCE", "DTSTAMP", "DTSTART", "DTEND", "DURATION"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{booking::Invitation, lead::PhoneNumber};

    fn chicago() -> TimeZone {
        TimeZone::get("America/Chicago").unwrap()
    }

    fn calendar(lines: &str) -> String {
        format!(
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\n{lines}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        )
    }

    fn taken(lines: &str) -> Vec<(String, String)> {
        let times = times(&calendar(lines), &chicago()).unwrap();
        assert_eq!((times.unread, times.has_rules), (0, false), "{lines}");
        let taken = times.taken.iter();
        taken
            .map(|taken| (taken.busy.start.to_string(), taken.busy.end.to_string()))
            .collect()
    }

    #[test]
    fn every_form_of_a_time_is_read() {
        let one = |start: &str, end: &str| vec![(start.to_owned(), end.to_owned())];
        for (lines, expected) in [
            (
                "DTSTART:20260623T193000Z\r\nDTEND:20260623T194500Z",
                one("2026-06-23T19:30:00Z", "2026-06-23T19:45:00Z"),
            ),
            (
                "DTSTART;TZID=America/New_York:20260623T193000\r\nDURATION:PT1H30M",
                one("2026-06-23T23:30:00Z", "2026-06-24T01:00:00Z"),
            ),
            // Without a zone: the owner's.
            (
                "DTSTART:20260623T090000\r\nDTEND:20260623T100000",
                one("2026-06-23T14:00:00Z", "2026-06-23T15:00:00Z"),
            ),
            (
                "DTSTART;VALUE=DATE:20260623\r\nDTEND;VALUE=DATE:20260625",
                one("2026-06-23T05:00:00Z", "2026-06-25T05:00:00Z"),
            ),
            // The day on which clocks are set back has 25 hours.
            (
                "DTSTART;VALUE=DATE:20261101",
                one("2026-11-01T05:00:00Z", "2026-11-02T06:00:00Z"),
            ),
            (
                "DTSTART;VALUE=DATE:20260308\r\nDURATION:P1D",
                one("2026-03-08T06:00:00Z", "2026-03-09T05:00:00Z"),
            ),
            // A reminder without length, and what is marked so as not to count.
            ("DTSTART:20260623T193000Z", vec![]),
            (
                "DTSTART:20260623T193000Z\r\nDURATION:PT1H\r\nTRANSP:TRANSPARENT",
                vec![],
            ),
            (
                "DTSTART:20260623T193000Z\r\nDURATION:PT1H\r\nSTATUS:cancelled",
                vec![],
            ),
        ] {
            assert_eq!(taken(lines), expected, "{lines}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_counted() {
        for lines in [
            "SUMMARY:no time at all",
            "DTSTART:tomorrow",
            "DTSTART;TZID=Nowhere:20260623T193000",
            "DTSTART:20260623T193000Z\r\nDURATION:long",
        ] {
            let times = times(&calendar(lines), &chicago()).unwrap();
            assert_eq!((times.unread, times.taken.len()), (1, 0), "{lines}");
        }
        let rule = calendar("DTSTART:20260623T193000Z\r\nRRULE:FREQ=DAILY");
        assert!(times(&rule, &chicago()).unwrap().has_rules);
        assert_eq!(times("<html>", &chicago()), None);
    }

    #[test]
    fn busy_times_are_read_from_a_free_busy_answer() {
        let text = "BEGIN:VCALENDAR\r\nBEGIN:VFREEBUSY\r\nFREEBUSY:20260623T120000Z/20260623T130000Z,20260623T150000Z/PT30M\r\nFREEBUSY;FBTYPE=BUSY-TENTATIVE:20260624T120000Z/PT1H\r\nFREEBUSY;FBTYPE=FREE:20260625T120000Z/PT1H\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n";
        let busy = free_busy(text).unwrap();
        let ends: Vec<_> = busy.iter().map(|busy| busy.end.to_string()).collect();
        assert_eq!(
            ends,
            [
                "2026-06-23T13:00:00Z",
                "2026-06-23T15:30:00Z",
                "2026-06-24T13:00:00Z"
            ]
        );
        assert_eq!(free_busy("<html>"), None);
        assert_eq!(free_busy(&text.replace("PT30M", "soon")), None);
    }

    fn meeting(start: Timestamp) -> Meeting {
        Meeting {
            uid: "b5b9a7b6@meetings.example".to_owned(),
            sequence: 1,
            start,
            end: start + 15.minutes(),
            phone: PhoneNumber::parse("+12125550101").unwrap(),
            name: Some("Pastor Grace".to_owned()),
            church: None,
            email: None,
            zone: "America/New_York".to_owned(),
        }
    }

    #[test]
    fn a_moved_event_keeps_what_its_owner_added() {
        let mut meeting = meeting("2026-06-23T19:30:00Z".parse().unwrap());
        let invitation = Invitation {
            host: "Mike Lawrence".to_owned(),
            host_email: "mike@lawrence.example".to_owned(),
            summary: "Gospel outreach".to_owned(),
            description: None,
            location: None,
        };
        let stamp = "2026-06-22T12:00:00Z".parse().unwrap();
        let text = invitation.to_event(&meeting, stamp).replace(
            "END:VEVENT",
            "CATEGORIES:CHURCH\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nDURATION:PT5M\r\nTRIGGER:-PT10M\r\nREPEAT:1\r\nEND:VALARM\r\nEND:VEVENT",
        );
        (meeting.start, meeting.end) = (meeting.start + 1.hour(), meeting.end + 1.hour());
        meeting.sequence = 2;
        let moved = revised(&text, &meeting, stamp).unwrap();
        let found = times(&moved, &chicago()).unwrap().taken;
        let busy = Busy {
            start: meeting.start,
            end: meeting.end,
        };
        assert_eq!(found[0].busy, busy);
        for kept in [
            "SEQUENCE:2\r\n",
            "CATEGORIES:CHURCH\r\n",
            "DURATION:PT5M\r\n",
            "SUMMARY:Gospel outreach: Pastor Grace\r\n",
        ] {
            assert_eq!(moved.matches(kept).count(), 1, "{kept}: {moved}");
        }
        assert_eq!(moved.matches("DTSTART").count(), 1);
        // Another's event is not touched.
        meeting.uid = "other".to_owned();
        assert_eq!(revised(&text, &meeting, stamp), None);
        assert_eq!(revised("", &meeting, stamp), None);
    }

    proptest! {
        #[test]
        fn no_event_is_a_panic(lines in "((DTSTART|DTEND|DURATION|RRULE)(;TZID=UTC|;VALUE=DATE)?:[-PTZMWDHS0-9]{0,16}\r\n){0,4}") {
            drop(times(&calendar(&lines), &chicago()));
            let meeting = meeting(Timestamp::UNIX_EPOCH);
            drop(revised(&calendar(&lines), &meeting, Timestamp::UNIX_EPOCH));
        }
    }
}
