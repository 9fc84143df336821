//! What all actions share: limits, addresses, numbers, times.

use std::{ops::RangeInclusive, time::Duration};

use serde::{Serialize, Serializer};
use url::Url;

use crate::private::Private;

/// Why Vonage would not do what an NCCO seems to say, and what to change. Shows no numbers, no
/// addresses and no secrets.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NccoError {
    /// A number outside its limits.
    #[error("`{field}` must lie between {min} and {max}")]
    OutOfRange {
        /// The field as Vonage calls it.
        field: &'static str,
        /// The least that is allowed.
        min: f64,
        /// The most that is allowed.
        max: f64,
    },
    /// A time with a fraction where Vonage takes whole seconds.
    #[error("`{field}` must be a whole number of seconds")]
    NotWhole {
        /// The field as Vonage calls it.
        field: &'static str,
    },
    /// Nothing where something is needed.
    #[error("`{field}` must not be empty")]
    Empty {
        /// The field as Vonage calls it.
        field: &'static str,
    },
    /// Longer than Vonage takes.
    #[error("`{field}` is {length} long, but at most {max} are allowed: shorten it")]
    TooLong {
        /// The field as Vonage calls it.
        field: &'static str,
        /// Its length in characters.
        length: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// Not a phone number.
    #[error("`{field}` must be a phone number with its country code, such as 12125550101")]
    Number {
        /// The field as Vonage calls it.
        field: &'static str,
    },
    /// Not keys of a phone.
    #[error("`{field}` may hold only {allowed}")]
    Keys {
        /// The field as Vonage calls it.
        field: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Not an address that Vonage can reach.
    #[error("`{field}` must be an http or https address")]
    Url {
        /// The field as Vonage calls it.
        field: &'static str,
    },
    /// Not the address of a websocket.
    #[error("the `uri` of a websocket must begin with wss://")]
    WebsocketUri,
    /// A websocket whose audio and token anybody on the way could read.
    #[error("use wss:// for the websocket, or call `insecure` where plain ws:// is meant")]
    InsecureWebsocket,
    /// A metadata key that the first message of the socket needs for itself.
    #[error("`{key}` cannot be used in `headers`: choose another key")]
    ReservedHeader {
        /// The key.
        key: &'static str,
    },
    /// More metadata than Vonage passes on.
    #[error(
        "`headers` take {length} bytes as JSON, but at most {max} are allowed: send an id and look the rest up"
    )]
    HeadersTooLong {
        /// Their size in bytes as JSON.
        length: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// A value that cannot stand in an HTTP header.
    #[error("a custom `authorization` takes 1 to {max} printable ASCII characters")]
    Authorization {
        /// The most characters that are allowed.
        max: usize,
    },
    /// Two ways to choose the caller's number.
    #[error("`from` and `randomFromNumber` exclude each other: choose one")]
    TwoCallers,
    /// Two tones to ring with.
    #[error("set `ringbackTone` on the connection or on its `onAnswer`, not on both")]
    TwoRingbackTones,
    /// Two ways to say who may be heard.
    #[error("`mute` and `canSpeak` exclude each other: choose one")]
    MuteWithCanSpeak,
    /// Something follows the connection to a websocket.
    #[error(
        "nothing may follow a connection to a websocket, since it would run at once: put it before, \
         or call `allow_actions_after_websocket`"
    )]
    AfterWebsocket,
    /// Something follows a transfer.
    #[error("nothing may follow `transfer`, since it would never run")]
    AfterTransfer,
    /// Interruptible speech that nobody listens to.
    #[error("`bargeIn` needs an `input` as the next action that is no `talk` or `stream`")]
    BargeInWithoutInput,
    /// Asynchronous input with anything but bare keys.
    #[error("asynchronous `input` takes keys only, without settings")]
    AsynchronousInput,
    /// Settings for a kind of input that was not asked for.
    #[error("`input` has settings for a type that it does not ask for")]
    UnusedSettings,
}

/// How Vonage calls a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(clippy::exhaustive_enums, reason = "Vonage knows two")]
pub enum Method {
    /// With a query string.
    Get,
    /// With a JSON body, which the signature seals. The default.
    Post,
}

/// One address; an array on the wire. Kept private since it may carry a token.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Address([Private<String>; 1]);

impl Address {
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self([Private::new(url.into())])
    }

    pub(super) fn check(&self, field: &'static str) -> Result<(), NccoError> {
        url(field, self.0[0].reveal())
    }
}

/// A time; a number of seconds on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seconds(pub(super) Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

/// A phone number as Vonage wants it: digits alone.
pub(super) fn digits(number: &str) -> Private<String> {
    let number = number.trim();
    Private::new(
        number
            .strip_prefix('+')
            .unwrap_or(number)
            .chars()
            .filter(|c| !c.is_whitespace() && !"-().".contains(*c))
            .collect(),
    )
}

pub(super) fn number(field: &'static str, digits: &Private<String>) -> Result<(), NccoError> {
    let digits = digits.reveal();
    let fits = (7..=15).contains(&digits.len()) && !digits.starts_with('0');
    if fits && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        Err(NccoError::Number { field })
    }
}

pub(super) fn keys(
    field: &'static str,
    keys: &str,
    allowed: &'static str,
) -> Result<(), NccoError> {
    if !keys.is_empty() && keys.chars().all(|key| allowed.contains(key)) {
        Ok(())
    } else {
        Err(NccoError::Keys { field, allowed })
    }
}

pub(super) fn url(field: &'static str, text: &str) -> Result<(), NccoError> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(()),
        _ => Err(NccoError::Url { field }),
    }
}

pub(super) fn present(field: &'static str, text: &str) -> Result<(), NccoError> {
    if text.trim().is_empty() {
        Err(NccoError::Empty { field })
    } else {
        Ok(())
    }
}

pub(super) fn within(
    field: &'static str,
    value: Option<f64>,
    range: RangeInclusive<f64>,
) -> Result<(), NccoError> {
    // Written so that a NaN is outside too.
    match value {
        Some(value) if !range.contains(&value) => Err(NccoError::OutOfRange {
            field,
            min: *range.start(),
            max: *range.end(),
        }),
        _ => Ok(()),
    }
}

pub(super) fn seconds(
    field: &'static str,
    value: Option<Seconds>,
    range: RangeInclusive<f64>,
) -> Result<(), NccoError> {
    within(field, value.map(|value| value.0.as_secs_f64()), range)
}

pub(super) fn whole_seconds(
    field: &'static str,
    value: Option<Seconds>,
    range: RangeInclusive<f64>,
) -> Result<(), NccoError> {
    seconds(field, value, range)?;
    match value {
        Some(value) if value.0.subsec_nanos() != 0 => Err(NccoError::NotWhole { field }),
        _ => Ok(()),
    }
}

/// Whether a flag may be left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(super) const fn is_false(flag: &bool) -> bool {
    !*flag
}

pub(super) fn event_url(address: Option<&Address>) -> Result<(), NccoError> {
    address.map_or(Ok(()), |address| address.check("eventUrl"))
}
