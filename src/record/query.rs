//! What is asked of a store, and its answer.

use jiff::Timestamp;

use super::CallRecord;
use crate::{
    call::{CallStatus, Direction, Outcome},
    lead::PhoneNumber,
};

/// Which calls are wanted. Everything that is given must hold. Start from
/// [`CallQuery::default`], which wants all, and assign.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CallQuery {
    /// Of this person.
    pub phone: Option<PhoneNumber>,
    /// Which go on, or ended like this.
    pub status: Option<CallStatus>,
    /// One way.
    pub direction: Option<Direction>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// In which every word of this text was said, in any order, by whomever. Words are runs of
    /// letters and digits; capitals do not count, and the beginning of a word suffices (of a very long one, 32 letters). A text
    /// without any word finds nothing.
    pub text: Option<crate::private::Private<String>>,
    /// Started at this moment or later.
    pub from: Option<Timestamp>,
    /// Started before this moment.
    pub to: Option<Timestamp>,
    /// How many at most. Default: 50.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
}

impl Default for CallQuery {
    fn default() -> Self {
        Self {
            phone: None,
            status: None,
            direction: None,
            outcome: None,
            text: None,
            from: None,
            to: None,
            limit: 50,
            cursor: None,
        }
    }
}

impl CallQuery {
    /// Calls that go on.
    #[must_use]
    pub fn live() -> Self {
        Self {
            status: Some(CallStatus::InProgress),
            ..Self::default()
        }
    }

    /// Calls with this person.
    #[must_use]
    pub fn with(phone: PhoneNumber) -> Self {
        Self {
            phone: Some(phone),
            ..Self::default()
        }
    }

    /// Whether a record is wanted, as far as its fields tell: text and cursor are not looked at.
    pub(crate) fn wants(&self, record: &CallRecord) -> bool {
        let of_phone = |phone: &PhoneNumber| {
            let remote = record.remote.as_ref();
            remote.is_some_and(|remote| PhoneNumber::try_from(remote).as_ref() == Ok(phone))
        };
        self.phone.as_ref().is_none_or(of_phone)
            && self.status.is_none_or(|status| status == record.status)
            && self.direction.is_none_or(|way| way == record.direction)
            && self.outcome.is_none_or(|it| Some(it) == record.outcome)
            && self.from.is_none_or(|from| from <= record.started)
            && self.to.is_none_or(|to| record.started < to)
    }
}

/// Where a page ended. Opaque: it means something only to the store that made it, and is made
/// of letters and digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// What a client has brought back.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What a client is given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One page of calls.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CallPage {
    /// Newest first.
    pub calls: Vec<CallRecord>,
    /// Where the next page begins, if there may be one. A store that limits the work for one
    /// page may answer with fewer calls than were asked for, or none, and a cursor.
    pub next: Option<Cursor>,
    /// Records on the way that could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// A stored record that cannot be read: left out, and named.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// Its key.
    pub key: String,
    /// What is wrong with it, without any of its content.
    pub problem: String,
}

impl Unreadable {
    /// The record at `key` and what is wrong with it.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
        }
    }
}
