//! Meetings with real calendar and mail servers.
#![allow(
    clippy::disallowed_methods,
    reason = "a test is the shell: it hands the time out"
)]

mod caldav;
mod mail;
mod proxy;

#[path = "../support/mailbox.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod mailbox;
#[path = "../support/python.rs"]
mod python;
#[path = "../support/radicale.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod radicale;

use jiff::Timestamp;
use novavoice::{
    booking::{Invitation, Meeting},
    lead::PhoneNumber,
};

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn invitation() -> Invitation {
    Invitation {
        host: "Mike Lawrence".to_owned(),
        host_email: "mike@lawrence.example".to_owned(),
        summary: "Gospel outreach".to_owned(),
        description: Some("An event at your church.".to_owned()),
        location: None,
    }
}

/// A quarter of an hour with somebody.
fn meeting(number: u32, start: Timestamp) -> Meeting {
    Meeting {
        uid: format!("{number}@meetings.example"),
        sequence: 0,
        start,
        end: start + jiff::SignedDuration::from_mins(15),
        phone: PhoneNumber::parse(&format!("+1212555{:04}", 100 + number)).expect("a number"),
        name: Some(format!("Pastor Grace {number}")),
        church: Some("Chapel Hill".to_owned()),
        email: Some(format!("grace{number}@chapel.example")),
        zone: "America/New_York".to_owned(),
    }
}
