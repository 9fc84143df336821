//! An invitation as a mail (RFC 6047). Pure.

use jiff::{Timestamp, tz::TimeZone};
use lettre::{
    Address, Message,
    message::{Mailbox, MultiPart, SinglePart, header::ContentType},
};

use crate::booking::{Invitation, Meeting, Method, spoken};

/// There is no address that a mail can go to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsendable;

/// The mail that tells the guest of `meeting`, written at `stamp`: in words, and for their
/// calendar.
pub(super) fn compose(
    from: &Mailbox,
    invitation: &Invitation,
    meeting: &Meeting,
    method: Method,
    stamp: Timestamp,
) -> Result<Message, Unsendable> {
    let to: Address = meeting
        .email
        .as_deref()
        .and_then(|email| email.trim().parse().ok())
        .ok_or(Unsendable)?;
    let name = meeting
        .name
        .as_deref()
        .map(line)
        .filter(|name| !name.is_empty());
    let zone = TimeZone::get(&meeting.zone).unwrap_or(TimeZone::UTC);
    let when = spoken(meeting.start, &zone);
    let host = line(&invitation.host);
    let subject = match (method, meeting.sequence) {
        (Method::Request, 0) => format!("Meeting with {host}: {when}"),
        (Method::Request, _) => format!("Moved: meeting with {host}, now {when}"),
        (Method::Cancel, _) => format!("Cancelled: meeting with {host}, {when}"),
    };
    // The same again if it is sent twice.
    let id = format!(
        "<{}.{}@{}>",
        line(&meeting.uid).replace(['<', '>', '@', ' '], "-"),
        meeting.sequence,
        from.email.domain()
    );
    let calendar = format!("text/calendar; method={}; charset=utf-8", method.as_str());
    let calendar = ContentType::parse(&calendar).map_err(|_| Unsendable)?;
    let mut message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(name.clone(), to))
        .subject(subject)
        .message_id(Some(id))
        .date(stamp.into());
    // Calendars answer the host (RFC 6047, section 2.2.2), and so does whoever writes back.
    if let Ok(address) = invitation.host_email.trim().parse() {
        message = message.reply_to(Mailbox::new(Some(host), address));
    }
    let words = SinglePart::builder().header(ContentType::TEXT_PLAIN);
    let words = words.body(words_of(
        invitation,
        meeting,
        method,
        name.as_deref(),
        &when,
    ));
    let file = SinglePart::builder().header(calendar);
    let file = file.body(invitation.to_ics(meeting, method, stamp));
    let parts = MultiPart::alternative().singlepart(words).singlepart(file);
    message.multipart(parts).map_err(|_| Unsendable)
}

fn words_of(
    invitation: &Invitation,
    meeting: &Meeting,
    method: Method,
    name: Option<&str>,
    when: &str,
) -> String {
    let host = line(&invitation.host);
    let greeting = name.map_or_else(|| "Hello".to_owned(), |name| format!("Hello {name}"));
    let mut lines = vec![format!("{greeting},"), String::new()];
    if method == Method::Cancel {
        lines.push(format!("your meeting with {host} is cancelled: {when}."));
    } else {
        let minutes = meeting.end.duration_since(meeting.start).as_mins();
        let verb = match meeting.sequence {
            0 => "is booked",
            _ => "is moved",
        };
        let to = format!("your meeting with {host} {verb}: {when}, {minutes} minutes.");
        lines.push(to);
        let about = invitation.description.as_deref().map(str::to_owned);
        let place = invitation.location.as_deref();
        lines.extend(about);
        lines.extend(place.map(|place| format!("Where: {}", line(place))));
        lines.push(String::new());
        lines.push("Your calendar can take it from this mail.".to_owned());
    }
    if !invitation.host_email.is_empty() {
        lines.push("If anything is not right, answer this mail.".to_owned());
    }
    lines.join("\r\n") + "\r\n"
}

/// Text as one line of a header: callers say it, so it may hold anything.
fn line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let plain: String = plain.collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lead::PhoneNumber;

    fn invitation() -> Invitation {
        Invitation {
            host: "Mike Lawrence".to_owned(),
            host_email: "mike@lawrence.example".to_owned(),
            summary: "Gospel outreach".to_owned(),
            description: Some("An event at your church.".to_owned()),
            location: None,
        }
    }

    fn meeting() -> Meeting {
        Meeting {
            uid: "b5b9a7b6-4a1c-5b0e-8a53-0a3f1c0d9e11".to_owned(),
            sequence: 0,
            start: "2026-06-23T19:30:00Z".parse().unwrap(),
            end: "2026-06-23T19:45:00Z".parse().unwrap(),
            phone: PhoneNumber::parse("+12125550101").unwrap(),
            name: Some("Pastor Grace".to_owned()),
            church: None,
            email: Some("grace@chapel.example".to_owned()),
            zone: "America/New_York".to_owned(),
        }
    }

    fn mail(meeting: &Meeting, method: Method) -> Result<String, Unsendable> {
        let from = "Esther <esther@office.example>".parse().unwrap();
        let stamp = "2026-06-22T12:00:00Z".parse().unwrap();
        let message = compose(&from, &invitation(), meeting, method, stamp)?;
        Ok(String::from_utf8(message.formatted()).unwrap())
    }

    #[test]
    fn a_mail_says_it_in_words_and_for_the_calendar() {
        let text = mail(&meeting(), Method::Request).unwrap();
        // Unfolded, and without the line ends of quoted-printable.
        let flat = text.replace("\r\n ", " ").replace("=\r\n", "");
        for part in [
            "From: Esther <esther@office.example>\r\n",
            "Reply-To: \"Mike Lawrence\" <mike@lawrence.example>\r\n",
            "To: \"Pastor Grace\" <grace@chapel.example>\r\n",
            "Subject: Meeting with Mike Lawrence: Tuesday, June 23, at 3:30 PM Eastern time\r\n",
            "Date: Mon, 22 Jun 2026 12:00:00 +0000\r\n",
            "Message-ID: <b5b9a7b6-4a1c-5b0e-8a53-0a3f1c0d9e11.0@office.example>\r\n",
            "Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n",
            "is booked: Tuesday, June 23, at 3:30 PM Eastern time, 15 minutes.",
            "UID:b5b9a7b6-4a1c-5b0e-8a53-0a3f1c0d9e11\r\n",
        ] {
            assert!(flat.contains(part), "{part}: {flat}");
        }
        let text = mail(&meeting(), Method::Cancel).unwrap();
        assert!(text.contains("method=CANCEL") && text.contains("STATUS:CANCELLED"));
        let mut nobody = meeting();
        nobody.email = Some("grace at chapel".to_owned());
        assert_eq!(mail(&nobody, Method::Request), Err(Unsendable));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        /// Callers say names and addresses: nobody writes a header of their own.
        #[test]
        fn no_value_becomes_a_header(name in ".{0,80}", uid in ".{0,20}", email in "[a-z]{1,8}@[a-z]{1,8}.example.{0,6}") {
            let mut meeting = meeting();
            meeting.name = Some(format!("{name}\r\nBcc: evil@evil.example\r\n\r\nX"));
            meeting.uid = format!("{uid}\r\nX-Evil: 1");
            meeting.email = Some(email);
            let Ok(text) = mail(&meeting, Method::Request) else { return Ok(()) };
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            let mut names: Vec<_> = head
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .map(|line| line.split(':').next().unwrap_or_default().to_ascii_lowercase())
                .collect();
            names.sort_unstable();
            prop_assert_eq!(names, ["content-type", "date", "from", "message-id", "mime-version", "reply-to", "subject", "to"], "{}", head);
        }
    }
}
