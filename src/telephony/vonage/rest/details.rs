//! What the REST interface says about calls. Numbers come as text, and several only at the end.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    call::{CallId, Direction, Party},
    telephony::vonage::webhook::{
        Status, StatusEvent,
        field::{id, number, object, party, seconds, text, time, whole},
    },
};

/// A call that the carrier took on: it is being placed, and nobody has answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Created {
    /// The carrier's id of the call.
    pub id: CallId,
    /// The conversation (`CON-…`) that all legs of the call share.
    pub conversation: Option<String>,
    /// Where it stands; usually `started`.
    pub status: Status,
}

impl Created {
    pub(super) fn read(body: &Value) -> Option<Self> {
        let fields = body.as_object()?;
        Some(Self {
            id: id(fields, "uuid")?,
            conversation: text(fields, "conversation_uuid"),
            status: status(fields),
        })
    }
}

/// A call as the carrier remembers it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CallDetails {
    /// The carrier's id of the call.
    pub id: CallId,
    /// The conversation (`CON-…`) that all legs of the call share.
    pub conversation: Option<String>,
    /// Whom it is to.
    pub to: Option<Party>,
    /// Whom it is from.
    pub from: Option<Party>,
    /// Where it stands, or how it ended.
    pub status: Status,
    /// Who called whom.
    pub direction: Option<Direction>,
    /// When it was answered.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How long it was up.
    pub duration: Option<Duration>,
    /// Euros per minute.
    pub rate: Option<f64>,
    /// Euros.
    pub price: Option<f64>,
    /// The network of the number, as mobile country and network code.
    pub network: Option<String>,
}

impl CallDetails {
    pub(super) fn read(body: &Value) -> Option<Self> {
        let fields = body.as_object()?;
        Some(Self {
            id: id(fields, "uuid")?,
            conversation: text(fields, "conversation_uuid"),
            to: end(fields, "to"),
            from: end(fields, "from"),
            status: status(fields),
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
        })
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.as_event().is_final()
    }

    /// The same as an event would say it.
    pub(in crate::telephony::vonage) fn as_event(&self) -> StatusEvent {
        let mut event = StatusEvent::read(self.status.as_str(), &Map::new());
        event.about.leg = Some(self.id.clone());
        event.about.conversation.clone_from(&self.conversation);
        event.about.from.clone_from(&self.from);
        event.about.to.clone_from(&self.to);
        event.about.at = self.ended.or(self.started);
        event.direction = self.direction;
        event.started = self.started;
        event.ended = self.ended;
        event.duration = self.duration;
        event.rate = self.rate;
        event.price = self.price;
        event
    }
}

/// One page of calls.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CallPage {
    /// How many calls there are on all pages.
    pub count: u64,
    /// The place of the first one here.
    pub index: u64,
    /// The calls of this page.
    pub calls: Vec<CallDetails>,
}

impl CallPage {
    pub(super) fn read(body: &Value) -> Option<Self> {
        let fields = body.as_object()?;
        let embedded = object(fields, "_embedded");
        let calls = embedded.get("calls").and_then(Value::as_array);
        let calls = calls.map(|calls| calls.iter().filter_map(CallDetails::read).collect());
        Some(Self {
            count: whole(fields, "count")?,
            index: whole(fields, "record_index").unwrap_or_default(),
            calls: calls.unwrap_or_default(),
        })
    }
}

/// Which calls to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a query, written with `..Default::default()`"
)]
pub struct ListCalls {
    /// Only calls with this status.
    pub status: Option<Status>,
    /// Only calls that began then or later.
    pub since: Option<Timestamp>,
    /// Only calls that began then or earlier.
    pub until: Option<Timestamp>,
    /// Only calls of this conversation.
    pub conversation: Option<String>,
    /// How many calls to a page: 1 to 100. Default: 10.
    pub page_size: Option<u8>,
    /// The place of the first call of the page. Default: 0.
    pub index: u64,
    /// Newest first. Default: no.
    pub newest_first: bool,
}

impl ListCalls {
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        let mut push = |key, value: Option<String>| query.extend(value.map(|value| (key, value)));
        push(
            "status",
            self.status.as_ref().map(|it| it.as_str().to_owned()),
        );
        push("date_start", self.since.map(written));
        push("date_end", self.until.map(written));
        push("conversation_uuid", self.conversation.clone());
        push(
            "page_size",
            self.page_size.map(|size| size.clamp(1, 100).to_string()),
        );
        push(
            "record_index",
            (self.index > 0).then(|| self.index.to_string()),
        );
        push("order", self.newest_first.then(|| "desc".to_owned()));
        query
    }
}

/// ISO 8601 in UTC, with whole seconds.
fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn status(fields: &Map<String, Value>) -> Status {
    text(fields, "status").as_deref().unwrap_or_default().into()
}

/// One end: an object that names its type, an array of one, or the bare text.
fn end(fields: &Map<String, Value>, key: &str) -> Option<Party> {
    let value = match fields.get(key)? {
        Value::Array(ends) => ends.first()?,
        value => value,
    };
    let Value::Object(end) = value else {
        return party(fields, key);
    };
    let names = ["number", "uri", "user", "extension"];
    names.iter().find_map(|name| party(end, name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_read_whether_its_numbers_are_text_or_missing() {
        let call = CallDetails::read(&json!({
            "uuid": "u", "status": "completed", "direction": "outbound",
            "to": {"type": "phone", "number": "12125550101"},
            "from": [{"type": "sip", "uri": "sip:a@b.example"}],
            "rate": "0.0045", "price": 0.009, "duration": "12", "network": null,
            "start_time": "2026-01-01 12:00:00", "end_time": "2026-01-01T12:00:12Z",
        }))
        .unwrap();
        assert_eq!(call.to.unwrap().reveal(), "12125550101");
        assert_eq!(call.from.unwrap().reveal(), "sip:a@b.example");
        assert_eq!((call.rate, call.price), (Some(0.0045), Some(0.009)));
        assert_eq!(call.duration, Some(Duration::from_secs(12)));
        let length = call.ended.unwrap().duration_since(call.started.unwrap());
        assert_eq!(length.as_secs(), 12);
        let bare = CallDetails::read(&json!({"uuid": "u", "to": "12125550101"})).unwrap();
        assert_eq!(bare.to.unwrap().reveal(), "12125550101");
        assert_eq!(bare.status, Status::Other(String::new()));
        assert_eq!(CallDetails::read(&json!({"status": "ringing"})), None);
    }

    /// Vonage checklist 68.
    #[test]
    fn a_call_that_was_taken_on_is_not_answered() {
        let created = Created::read(&json!({
            "uuid": "63f61863", "status": "started", "direction": "outbound",
            "conversation_uuid": "CON-f972836a",
        }))
        .unwrap();
        assert_eq!(created.status, Status::Started);
        assert_eq!(created.conversation.as_deref(), Some("CON-f972836a"));
        assert_eq!(Created::read(&json!({"status": "started"})), None);
        assert_eq!(Created::read(&json!([])), None);
    }
}
