//! The host: when they take meetings, in which calendar, and how guests are told.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use novavoice::{
    booking::{CalDavCalendar, CalDavConfig, Hours, Invitation, MailConfig, Outbox},
    outbound::{Day, Minute},
    private::Private,
    state::MemoryState,
};

use super::{
    parse,
    reader::{Parsed, Reader, expected},
};

/// Meetings.
#[derive(Clone, Debug)]
pub(crate) struct BookingSettings {
    /// The host's own calendar; the embedded one when `None`.
    pub(crate) calendar: Option<CalendarSettings>,
    /// What sends invitations; nobody when `None`.
    pub(crate) mail: Option<MailSettings>,
    /// Where answers to invitations go.
    pub(crate) host_email: Option<Private<String>>,
    /// Where the meetings are.
    pub(crate) link: Option<Private<String>>,
    /// When the host takes meetings.
    pub(crate) hours: Hours,
}

/// `CALENDAR_…`
#[derive(Clone, Debug)]
pub(crate) struct CalendarSettings {
    pub(crate) url: Private<String>,
    pub(crate) user: Option<Private<String>>,
    pub(crate) password: Option<Private<String>>,
}

/// `SMTP_URL` and `MAIL_FROM`.
#[derive(Clone, Debug)]
pub(crate) struct MailSettings {
    pub(crate) url: Private<String>,
    pub(crate) from: Private<String>,
}

impl BookingSettings {
    pub(super) fn read(read: &mut Reader<'_>) -> Self {
        let zone = read.required("HOST_TIME_ZONE", zone);
        let mut hours = Hours::new(zone);
        hours.window.days = read.required("HOST_DAYS", days);
        (hours.window.start, hours.window.end) = read.required("HOST_HOURS", times);
        hours.buffer = minutes(read.required("HOST_BUFFER_MINUTES", parse::number(0..=240)));
        hours.notice = minutes(60 * read.required("HOST_LEAD_HOURS", parse::number(0..=168)));
        let (user, password) = (
            read.optional("CALENDAR_USER", parse::secret),
            read.optional("CALENDAR_PASSWORD", parse::secret),
        );
        let calendar = read.optional("CALENDAR_URL", calendar_url);
        if user.is_some() || password.is_some() {
            read.needs("CALENDAR_URL", "the address of the calendar itself");
        }
        if password.is_some() {
            read.needs("CALENDAR_USER", "the user whose password is given");
        }
        let server = read.optional("SMTP_URL", mail_server);
        let from = read.optional("MAIL_FROM", sender);
        if server.is_some() {
            read.needs("MAIL_FROM", "an address that mail may come from");
        }
        Self {
            calendar: calendar.map(|url| CalendarSettings {
                url,
                user,
                password,
            }),
            mail: server
                .zip(from)
                .map(|(url, from)| MailSettings { url, from }),
            host_email: read.optional("HOST_EMAIL", address),
            link: read.optional("MEETING_LINK", line),
            hours,
        }
    }
}

fn minutes(minutes: u32) -> Duration {
    Duration::from_secs(60 * u64::from(minutes))
}

/// An IANA name.
fn zone(text: &str) -> Parsed<TimeZone> {
    TimeZone::get(text).or_else(|_| expected("the name of a time zone such as America/Chicago"))
}

/// Weekdays with commas.
fn days(text: &str) -> Parsed<Vec<Day>> {
    let mut days = Vec::new();
    for word in text.split(',') {
        let day = serde_json::from_value(word.trim().into());
        let day = day.or_else(|_| expected("some of mon,tue,wed,thu,fri,sat,sun with commas"))?;
        if !days.contains(&day) {
            days.push(day);
        }
    }
    Ok(days)
}

/// `09:00-18:00`
fn times(text: &str) -> Parsed<(Minute, Minute)> {
    let minute = |text: &str| Minute::try_from(text.trim().to_owned()).ok();
    let parts = text.split_once('-');
    match parts.and_then(|(start, end)| minute(start).zip(minute(end))) {
        Some((start, end)) if start < end => Ok((start, end)),
        _ => expected("two times of one day such as 09:00-18:00, the earlier one first"),
    }
}

/// What the calendar itself takes.
fn calendar_url(text: &str) -> Parsed<Private<String>> {
    let config = CalDavConfig::new(text, TimeZone::UTC, nobody());
    let tried = CalDavCalendar::new(config, Arc::new(MemoryState::new()));
    match tried {
        Ok(_) => Ok(Private::new(text.to_owned())),
        Err(_) => expected(
            "the https address of a calendar (http on this machine alone) without a user, such as \
             https://dav.example.org/mike/work/",
        ),
    }
}

/// What the outbox itself takes.
fn mail_server(text: &str) -> Parsed<Private<String>> {
    match takes_mail(text, "esther@esther.example") {
        true => Ok(Private::new(text.to_owned())),
        false => expected("a mail server such as smtps://user:password@smtp.example.org"),
    }
}

/// Likewise.
fn sender(text: &str) -> Parsed<Private<String>> {
    match takes_mail("smtp://localhost", text) {
        true => Ok(Private::new(text.to_owned())),
        false => expected("an e-mail address such as Esther <esther@example.org>"),
    }
}

/// An address without a name.
fn address(text: &str) -> Parsed<Private<String>> {
    match text.contains(['<', '>', ' ']) || sender(text).is_err() {
        true => expected("an e-mail address such as mike@example.org"),
        false => Ok(Private::new(text.to_owned())),
    }
}

fn takes_mail(url: &str, from: &str) -> bool {
    let config = MailConfig::new(Private::new(url.to_owned()), from, nobody());
    Outbox::new(config, Arc::new(MemoryState::new())).is_ok()
}

fn line(text: &str) -> Parsed<Private<String>> {
    match text.chars().any(char::is_control) {
        true => expected("one line"),
        false => Ok(Private::new(text.to_owned())),
    }
}

fn nobody() -> Invitation {
    Invitation {
        host: String::new(),
        host_email: String::new(),
        summary: String::new(),
        description: None,
        location: None,
    }
}
