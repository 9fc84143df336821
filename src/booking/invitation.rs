//! Meetings as calendars exchange them: iCalendar (RFC 5545) with scheduling (RFC 5546).

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Meeting;

/// What an invitation says besides the meeting.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the parts of an invitation")]
pub struct Invitation {
    /// The host's name.
    pub host: String,
    /// The host's e-mail address, to which calendars answer; empty where there is none.
    pub host_email: String,
    /// What the meeting is called.
    pub summary: String,
    /// What it is about.
    pub description: Option<String>,
    /// Where it is: the address of the web meeting.
    pub location: Option<String>,
}

/// What a calendar is to do with it (RFC 5546, section 1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "what a host sends about a meeting")]
pub enum Method {
    /// Enter the meeting, or change it to this.
    Request,
    /// Take it out.
    Cancel,
}

impl Method {
    /// The word that calendars use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "REQUEST",
            Self::Cancel => "CANCEL",
        }
    }
}

impl Invitation {
    /// The text of an `.ics` file, written at `stamp`. A meeting keeps its `UID` for good, and a
    /// higher `SEQUENCE` replaces a lower one, so calendars follow each change; what
    /// [`Calendar::cancel`](super::Calendar::cancel) answers with is higher already.
    #[must_use]
    pub fn to_ics(&self, meeting: &Meeting, method: Method, stamp: Timestamp) -> String {
        self.write(meeting, Some(method), stamp)
    }

    /// The meeting as the host's own calendar keeps it, written at `stamp`: without a method (RFC
    /// 4791, section 4.1), with how the guest is reached, and with the wish that the server sends
    /// no invitation of its own (RFC 6638, section 7.1).
    #[must_use]
    pub fn to_event(&self, meeting: &Meeting, stamp: Timestamp) -> String {
        let mut event = self.clone();
        let guest = [
            meeting.name.as_deref(),
            meeting.church.as_deref(),
            Some(meeting.phone.reveal()),
            meeting.email.as_deref(),
        ];
        let guest = guest.into_iter().flatten().collect::<Vec<_>>().join("\n");
        event.description = Some(match &self.description {
            Some(about) => format!("{about}\n\n{guest}"),
            None => guest,
        });
        if let Some(name) = meeting.name.as_deref().or(meeting.church.as_deref()) {
            event.summary = format!("{}: {name}", self.summary);
        }
        event.write(meeting, None, stamp)
    }

    fn write(&self, meeting: &Meeting, method: Option<Method>, stamp: Timestamp) -> String {
        let mut file = Lines::default();
        file.line("BEGIN:VCALENDAR");
        file.line("VERSION:2.0");
        file.line("PRODID:-//novavoice//booking//EN");
        if let Some(method) = method {
            file.line(&format!("METHOD:{}", method.as_str()));
        }
        file.line("BEGIN:VEVENT");
        file.line(&format!("UID:{}", text(&meeting.uid)));
        for line in moved(meeting, stamp) {
            file.line(&line);
        }
        file.line(&format!("SUMMARY:{}", text(&self.summary)));
        for (name, value) in [
            ("DESCRIPTION", &self.description),
            ("LOCATION", &self.location),
        ] {
            if let Some(value) = value {
                file.line(&format!("{name}:{}", text(value)));
            }
        }
        // A meeting that has guests has somebody who invites them.
        if !self.host_email.is_empty() {
            file.line(&format!(
                "ORGANIZER;CN={}:mailto:{}",
                parameter(&self.host),
                address(&self.host_email)
            ));
            if let Some(email) = &meeting.email {
                let name = meeting.name.as_deref().unwrap_or(email);
                let agent = match method {
                    Some(_) => "",
                    None => ";SCHEDULE-AGENT=CLIENT",
                };
                file.line(&format!(
                    "ATTENDEE;CN={};ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE{agent}:mailto:{}",
                    parameter(name),
                    address(email)
                ));
            }
        }
        file.line(match method {
            Some(Method::Request) | None => "STATUS:CONFIRMED",
            Some(Method::Cancel) => "STATUS:CANCELLED",
        });
        file.line("END:VEVENT");
        file.line("END:VCALENDAR");
        file.0
    }
}

/// The lines that differ once a meeting is moved.
pub(super) fn moved(meeting: &Meeting, stamp: Timestamp) -> [String; 4] {
    [
        format!("SEQUENCE:{}", meeting.sequence),
        format!("DTSTAMP:{}", utc(stamp)),
        format!("DTSTART:{}", utc(meeting.start)),
        format!("DTEND:{}", utc(meeting.end)),
    ]
}

/// Content lines, folded (RFC 5545, section 3.1).
#[derive(Default)]
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn line(&mut self, line: &str) {
        let mut width = 0;
        for c in line.chars() {
            if width + c.len_utf8() > WIDTH {
                self.0.push_str("\r\n ");
                width = 1;
            }
            self.0.push(c);
            width += c.len_utf8();
        }
        self.0.push_str("\r\n");
    }
}

/// Bytes of a line, its end not counted.
const WIDTH: usize = 75;

/// A time as `20260623T193000Z` (RFC 5545, section 3.3.5, form 2).
pub(super) fn utc(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A value of the type TEXT (RFC 5545, section 3.3.11).
fn text(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.trim().chars() {
        match c {
            '\\' | ';' | ',' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// The value of a parameter in quotes, which no value may hold (RFC 5545, section 3.2).
fn parameter(value: &str) -> String {
    let plain = value.chars().filter(|c| !c.is_control());
    let plain: String = plain.map(|c| if c == '"' { '\'' } else { c }).collect();
    format!("\"{}\"", plain.trim())
}

/// An e-mail address as a part of a URI: whatever could end it or the line is encoded (RFC 6068,
/// section 2).
fn address(email: &str) -> String {
    let mut encoded = String::with_capacity(email.len());
    for byte in email.trim().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'@' | b'.' | b'-' | b'_' | b'+' | b'~' => {
                encoded.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use icalendar::{Calendar, CalendarComponent, Component, Event};
    use proptest::prelude::*;

    use super::*;
    use crate::lead::PhoneNumber;

    fn meeting() -> Meeting {
        Meeting {
            uid: "b5b9a7b6-4a1c-5b0e-8a53-0a3f1c0d9e11".to_owned(),
            sequence: 2,
            start: "2026-06-23T19:30:00Z".parse().unwrap(),
            end: "2026-06-23T19:45:00Z".parse().unwrap(),
            phone: PhoneNumber::parse("+12125550101").unwrap(),
            name: Some("Pastor Grace".to_owned()),
            church: None,
            email: Some("grace@chapel.example".to_owned()),
            zone: "America/New_York".to_owned(),
        }
    }

    fn invitation() -> Invitation {
        Invitation {
            host: "Mike Lawrence".to_owned(),
            host_email: "mike@lawrence.example".to_owned(),
            summary: "Gospel outreach, with Mike".to_owned(),
            description: Some("An event; at your church.\nBy video.".to_owned()),
            location: Some("https://meet.example/mike".to_owned()),
        }
    }

    fn ics(invitation: &Invitation, meeting: &Meeting, method: Method) -> String {
        invitation.to_ics(meeting, method, "2026-06-22T20:35:32.5Z".parse().unwrap())
    }

    /// As somebody else's program reads it: its one event.
    fn read(file: &str) -> (Calendar, Event) {
        let calendar: Calendar = file.parse().unwrap();
        let [CalendarComponent::Event(event)] = &calendar.components[..] else {
            panic!("not one event: {file}");
        };
        let event = event.clone();
        (calendar, event)
    }

    #[test]
    fn another_program_reads_what_was_meant() {
        let file = ics(&invitation(), &meeting(), Method::Request);
        let (calendar, event) = read(&file);
        assert_eq!(calendar.property_value("METHOD"), Some("REQUEST"));
        assert_eq!(event.get_uid(), Some(&*meeting().uid));
        assert_eq!(event.get_sequence(), Some(2));
        assert_eq!(event.property_value("DTSTAMP"), Some("20260622T203532Z"));
        assert_eq!(event.property_value("DTSTART"), Some("20260623T193000Z"));
        assert_eq!(event.property_value("DTEND"), Some("20260623T194500Z"));
        assert_eq!(event.get_summary(), Some("Gospel outreach, with Mike"));
        assert_eq!(event.property_value("STATUS"), Some("CONFIRMED"));
        assert_eq!(
            event.property_value("ORGANIZER"),
            Some("mailto:mike@lawrence.example")
        );
        assert!(file.contains("DESCRIPTION:An event\\; at your church.\\nBy video.\r\n"));
        let attendees = &event.multi_properties()["ATTENDEE"];
        assert_eq!(attendees[0].value(), "mailto:grace@chapel.example");
        assert_eq!(
            attendees[0]
                .get_param_as("CN", |name| Some(name.to_owned()))
                .unwrap(),
            "Pastor Grace"
        );
    }

    #[test]
    fn a_cancellation_names_the_same_meeting() {
        let (calendar, event) = read(&ics(&invitation(), &meeting(), Method::Cancel));
        assert_eq!(calendar.property_value("METHOD"), Some("CANCEL"));
        assert_eq!(event.property_value("STATUS"), Some("CANCELLED"));
        assert_eq!(event.get_uid(), Some(&*meeting().uid));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        /// What callers say ends up in it: nobody writes a line of their own.
        #[test]
        fn no_value_breaks_out_of_its_line(name in ".{0,120}", email in ".{1,60}", about in "(?s).{0,200}") {
            let mut meeting = meeting();
            meeting.name = Some(format!("{name}\r\nBEGIN:VALARM"));
            meeting.email = Some(format!("{email}\r\nX-EVIL:1"));
            let mut invitation = invitation();
            invitation.summary = format!("{about}\nEND:VEVENT");
            let file = ics(&invitation, &meeting, Method::Request);
            prop_assert!(file.ends_with("END:VCALENDAR\r\n"));
            let mut names = Vec::new();
            for line in file.split_terminator("\r\n") {
                prop_assert!(line.len() <= 75, "{}", line);
                prop_assert!(!line.contains(['\r', '\n']), "{:?}", line);
                if !line.starts_with(' ') {
                    names.push(line.split([':', ';']).next().unwrap_or_default());
                }
            }
            prop_assert_eq!(names, [
                "BEGIN", "VERSION", "PRODID", "METHOD", "BEGIN", "UID", "SEQUENCE", "DTSTAMP",
                "DTSTART", "DTEND", "SUMMARY", "DESCRIPTION", "LOCATION", "ORGANIZER", "ATTENDEE",
                "STATUS", "END", "END",
            ]);
        }
    }
}
