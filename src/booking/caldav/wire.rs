//! What is asked of a calendar server and what it answers: WebDAV's XML. Pure.
//!
//! Source: RFC 4918 (WebDAV), section 14; RFC 4791 (CalDAV), sections 7.8 and 9.

use jiff::Timestamp;
use quick_xml::{
    NsReader,
    escape::resolve_predefined_entity,
    events::Event,
    name::{Namespace, ResolveResult},
};

use crate::booking::invitation::utc;

/// The events that touch a stretch of time, recurring ones as their instances in it.
pub(super) fn events_between(from: Timestamp, until: Timestamp) -> String {
    let (from, until) = (utc(from), utc(until));
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
<D:prop><D:getetag/><C:calendar-data><C:expand start="{from}" end="{until}"/></C:calendar-data></D:prop>
<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="{from}" end="{until}"/></C:comp-filter></C:comp-filter></C:filter>
</C:calendar-query>"#
    )
}

/// When the calendar's owner is busy in a stretch of time.
pub(super) fn free_busy(from: Timestamp, until: Timestamp) -> String {
    let (from, until) = (utc(from), utc(until));
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="{from}" end="{until}"/></C:free-busy-query>"#
    )
}

/// What kind of thing stands at an address.
pub(super) const WHAT_IS_IT: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/></D:prop></D:propfind>"#;

/// One thing that an answer tells of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resource {
    /// Its iCalendar text.
    pub(super) data: Option<String>,
    /// Whether it is a calendar.
    pub(super) is_calendar: bool,
}

/// An answer that is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the answer is no XML that can be read")]
    Xml(#[source] quick_xml::Error),
    #[error("the answer is no WebDAV multistatus")]
    NoMultistatus,
    #[error("the server left some events out: there are too many")]
    Truncated,
}

/// The resources of a multistatus with the properties that were found.
pub(super) fn multistatus(xml: &str) -> Result<Vec<Resource>, WireError> {
    let mut reader = NsReader::from_str(xml);
    let mut read = Reading::default();
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(WireError::Xml)?;
        match event {
            Event::Start(start) => {
                let name = Name::of(&namespace, start.local_name().as_ref());
                read.open(name);
            }
            Event::Empty(empty) => {
                let name = Name::of(&namespace, empty.local_name().as_ref());
                read.open(name);
                read.close()?;
            }
            Event::End(_) => read.close()?,
            Event::Text(text) => read.text(&text.decode().map_err(encoding)?),
            Event::CData(text) => read.text(&text.decode().map_err(encoding)?),
            Event::GeneralRef(reference) => {
                let name = reference.decode().map_err(encoding)?;
                match reference.resolve_char_ref().map_err(WireError::Xml)? {
                    Some(c) => read.text(c.encode_utf8(&mut [0; 4])),
                    // Others would have to be declared, and nobody declares any.
                    None => read.text(resolve_predefined_entity(&name).unwrap_or_default()),
                }
            }
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
        }
    }
    match read.is_multistatus && read.path.is_empty() {
        true => Ok(read.resources),
        false => Err(WireError::NoMultistatus),
    }
}

fn encoding(error: quick_xml::encoding::EncodingError) -> WireError {
    WireError::Xml(error.into())
}

/// The elements that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Multistatus,
    Response,
    Propstat,
    Status,
    CalendarData,
    Calendar,
    Other,
}

impl Name {
    fn of(namespace: &ResolveResult<'_>, local: &[u8]) -> Self {
        let ResolveResult::Bound(Namespace(namespace)) = namespace else {
            return Self::Other;
        };
        match (*namespace, local) {
            (b"DAV:", b"multistatus") => Self::Multistatus,
            (b"DAV:", b"response") => Self::Response,
            (b"DAV:", b"propstat") => Self::Propstat,
            (b"DAV:", b"status") => Self::Status,
            (CALDAV, b"calendar-data") => Self::CalendarData,
            (CALDAV, b"calendar") => Self::Calendar,
            _ => Self::Other,
        }
    }
}

#[derive(Default)]
struct Reading {
    path: Vec<Name>,
    text: String,
    is_multistatus: bool,
    resources: Vec<Resource>,
    /// Of the `response` at hand.
    resource: Resource,
    /// Of the `propstat` at hand, which its status comes after.
    found: Resource,
    status: Option<u16>,
}

impl Reading {
    fn open(&mut self, name: Name) {
        match name {
            Name::Multistatus => self.is_multistatus |= self.path.is_empty(),
            Name::Response => self.resource = Resource::default(),
            Name::Propstat => (self.found, self.status) = (Resource::default(), None),
            Name::Status | Name::CalendarData | Name::Calendar | Name::Other => {}
        }
        self.text.clear();
        self.path.push(name);
    }

    fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn close(&mut self) -> Result<(), WireError> {
        let Some(name) = self.path.pop() else {
            return Err(WireError::NoMultistatus);
        };
        match name {
            Name::CalendarData => self.found.data = Some(std::mem::take(&mut self.text)),
            Name::Calendar => self.found.is_calendar = true,
            Name::Status => {
                let code = self.text.split_whitespace().nth(1);
                self.status = code.and_then(|code| code.parse().ok());
                let of_response = self.path.last() == Some(&Name::Response);
                // RFC 4791, section 7.8, and RFC 5323: results were cut short.
                if of_response && self.status == Some(507) {
                    return Err(WireError::Truncated);
                }
            }
            Name::Propstat => {
                if self
                    .status
                    .is_none_or(|status| (200..300).contains(&status))
                {
                    let found = std::mem::take(&mut self.found);
                    self.resource.is_calendar |= found.is_calendar;
                    if found.data.is_some() {
                        self.resource.data = found.data;
                    }
                }
            }
            Name::Response => self.resources.push(std::mem::take(&mut self.resource)),
            Name::Multistatus | Name::Other => {}
        }
        Ok(())
    }
}

const CALDAV: &[u8] = b"urn:ietf:params:xml:ns:caldav";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_are_read_whatever_the_prefixes_and_escapes() {
        let xml = r#"<?xml version="1.0"?>
<multistatus xmlns="DAV:" xmlns:CAL="urn:ietf:params:xml:ns:caldav">
  <response><href>/m/1.ics</href><propstat><prop><getetag>"1"</getetag>
    <CAL:calendar-data>BEGIN:VCALENDAR&#13;
SUMMARY:Bread &amp; wine &lt;3&#x21;</CAL:calendar-data></prop><status>HTTP/1.1 200 OK</status></propstat></response>
  <response><href>/m/2.ics</href>
    <propstat><prop><CAL:calendar-data><![CDATA[A<B]]></CAL:calendar-data></prop><status>HTTP/1.1 200 OK</status></propstat>
    <propstat><prop><CAL:calendar-data/></prop><status>HTTP/1.1 404 Not Found</status></propstat></response>
  <response><href>/m/</href><propstat><prop><resourcetype><collection/><CAL:calendar/></resourcetype></prop><status>HTTP/1.1 200 OK</status></propstat></response>
</multistatus>"#;
        let found = multistatus(xml).unwrap();
        let data: Vec<_> = found.iter().map(|one| one.data.as_deref()).collect();
        assert_eq!(
            data,
            [
                Some("BEGIN:VCALENDAR\r\nSUMMARY:Bread & wine <3!"),
                Some("A<B"),
                None
            ]
        );
        let calendars: Vec<_> = found.iter().map(|one| one.is_calendar).collect();
        assert_eq!(calendars, [false, false, true]);
    }

    #[test]
    fn what_is_no_whole_answer_is_an_error() {
        let cut = r#"<D:multistatus xmlns:D="DAV:"><D:response><D:href>/m/</D:href><D:status>HTTP/1.1 507 Insufficient Storage</D:status></D:response></D:multistatus>"#;
        assert!(matches!(multistatus(cut), Err(WireError::Truncated)));
        for wrong in [
            "",
            "<html><body>Sign in</body></html>",
            r#"<D:multistatus xmlns:D="DAV:"><D:response>"#,
            r#"<D:multistatus xmlns:D="DAV:"></D:response></D:multistatus>"#,
            "BEGIN:VCALENDAR",
            // Another namespace.
            "<multistatus/>",
        ] {
            assert!(multistatus(wrong).is_err(), "{wrong}");
        }
        let none = multistatus(r#"<multistatus xmlns="DAV:"/>"#).unwrap();
        assert_eq!(none, []);
    }

    proptest! {
        #[test]
        fn nothing_that_a_server_sends_is_a_panic(xml in r#"[<>/:a-z"='&;# ]{0,120}"#) {
            drop(multistatus(&xml));
        }
    }
}
