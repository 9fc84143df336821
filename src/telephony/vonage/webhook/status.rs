//! Events about the life of a leg.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    About,
    field::{id, number, object, seconds, text, time, whole},
};
use crate::{call::Direction, private::Private};

/// Something happened to a leg.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StatusEvent {
    /// The leg, its conversation, its ends.
    pub about: About,
    /// What happened.
    pub status: Status,
    /// Who called whom.
    pub direction: Option<Direction>,
    /// When the leg was answered.
    pub started: Option<Timestamp>,
    /// When the leg ended.
    pub ended: Option<Timestamp>,
    /// How long the leg was up.
    pub duration: Option<Duration>,
    /// Euros per minute.
    pub rate: Option<f64>,
    /// Euros.
    pub price: Option<f64>,
    /// The network of the number, as mobile country and network code.
    pub network: Option<String>,
    /// Why the leg was not answered.
    pub detail: Option<Detail>,
    /// The SIP code behind the status.
    pub sip_code: Option<u16>,
    /// Which side ended the leg.
    pub ended_by: Option<EndedBy>,
    /// What a machine that answered is doing.
    pub sub_state: Option<SubState>,
    /// More words on the cause.
    pub reason: Option<String>,
    /// What the NCCO gave a websocket along, echoed.
    pub headers: Private<Map<String, Value>>,
}

impl StatusEvent {
    pub(in crate::telephony::vonage) fn read(status: &str, fields: &Map<String, Value>) -> Self {
        let mut about = About::read(fields);
        // Verdicts of answering-machine detection name their leg in another field.
        about.leg = about.leg.or_else(|| id(fields, "call_uuid"));
        Self {
            about,
            status: status.into(),
            direction: match text(fields, "direction").as_deref() {
                Some("inbound") => Some(Direction::Inbound),
                Some("outbound") => Some(Direction::Outbound),
                _ => None,
            },
            started: time(fields, "start_time"),
            ended: time(fields, "end_time"),
            duration: seconds(fields, "duration"),
            rate: number(fields, "rate"),
            price: number(fields, "price"),
            network: text(fields, "network"),
            detail: text(fields, "detail").as_deref().map(Detail::from),
            sip_code: whole(fields, "sip_code").and_then(|code| code.try_into().ok()),
            ended_by: text(fields, "disconnected_by")
                .as_deref()
                .map(EndedBy::from),
            sub_state: text(fields, "sub_state").as_deref().map(SubState::from),
            reason: text(fields, "reason"),
            headers: Private::new(object(fields, "headers")),
        }
    }

    /// Whether this is the leg of a media socket and not that of a person. Both share a
    /// conversation, and each has a leg id of its own.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        let to = self.about.to.as_ref().map_or("", |to| to.reveal());
        to.starts_with("ws:") || to.starts_with("wss:") || !self.headers.reveal().is_empty()
    }

    /// Whether nothing more can happen to this leg.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self.status {
            Status::Busy
            | Status::Cancelled
            | Status::Unanswered
            | Status::Rejected
            | Status::Failed
            | Status::Timeout
            | Status::Completed => true,
            Status::Disconnected => self.is_websocket(),
            Status::Started
            | Status::Ringing
            | Status::Answered
            | Status::Human
            | Status::Machine
            | Status::Other(_) => false,
        }
    }
}

/// An enum of Vonage's words, and room for words to come.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$inner])* $variant,)+
            /// A word that is not documented.
            Other(String),
        }

        impl $name {
            /// The word on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

words! {
    /// What happened to a leg.
    Status {
        /// Vonage began to place or to take the leg.
        Started = "started",
        /// It rings. May arrive before `started`.
        Ringing = "ringing",
        /// The leg is up.
        Answered = "answered",
        /// The line is busy.
        Busy = "busy",
        /// The caller hung up before an answer.
        Cancelled = "cancelled",
        /// Nobody answered, or nobody could.
        Unanswered = "unanswered",
        /// Refused by the callee or on the way.
        Rejected = "rejected",
        /// Could not be placed.
        Failed = "failed",
        /// Rang or lasted too long.
        Timeout = "timeout",
        /// The media socket was lost.
        Disconnected = "disconnected",
        /// A person answered.
        Human = "human",
        /// A machine answered.
        Machine = "machine",
        /// The leg is over; says how long it was and what it cost.
        Completed = "completed",
    }
}

words! {
    /// Why a leg was not answered.
    Detail {
        /// Unanswered: the callee cannot be reached.
        Unavailable = "unavailable",
        /// Unanswered: it rang too long.
        Timeout = "timeout",
        /// Unanswered: the network gave up.
        CarrierTimeout = "carrier_timeout",
        /// Rejected: there is no such number.
        InvalidNumber = "invalid_number",
        /// Rejected: not allowed.
        Restricted = "restricted",
        /// Rejected: by the callee.
        Declined = "declined",
        /// Failed: no way leads there.
        CannotRoute = "cannot_route",
        /// Failed: the number is dead.
        NumberOutOfService = "number_out_of_service",
        /// Failed: Vonage broke.
        InternalError = "internal_error",
    }
}

impl Detail {
    /// Whether the number itself is to blame, so that calling it again is useless.
    #[must_use]
    pub fn is_bad_number(&self) -> bool {
        matches!(self, Self::InvalidNumber | Self::NumberOutOfService)
    }
}

words! {
    /// Which side ended a leg.
    EndedBy {
        /// Vonage, on our request or by itself.
        Platform = "platform",
        /// The person at the other end.
        User = "user",
    }
}

words! {
    /// What a machine that answered is doing.
    SubState {
        /// It beeped: speak now.
        BeepStart = "beep_start",
        /// No beep came in time.
        BeepTimeout = "beep_timeout",
    }
}
