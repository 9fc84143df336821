//! The answer request: a call arrives, or a call that we placed was answered.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::field::{id, party, private, text};
use crate::{
    call::{CallId, Party},
    private::Private,
};

/// Vonage asks what to do with a call. The same value whether it came by `GET` or by `POST`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AnswerRequest {
    /// The leg, byte for byte as Vonage wrote it: with hyphens or without.
    pub uuid: CallId,
    /// The conversation (`CON-…`) that all legs of the call share.
    pub conversation: Option<String>,
    /// Who calls: digits, a SIP address, or a text such as `anonymous`.
    pub from: Option<Party>,
    /// Who calls, when it is a user of a Vonage client application; there is no `from` then.
    pub from_user: Option<Party>,
    /// Whom they called: digits, a SIP address or a user.
    pub to: Option<Party>,
    /// `phone`, `sip`, `app`, …
    pub endpoint_type: Option<String>,
    /// Where REST requests about this call go, unchecked: see [`region_base`](super::region_base).
    pub region_url: Option<String>,
    /// What a Vonage client application sent along. Text that holds JSON is read as JSON.
    pub custom_data: Option<Private<Value>>,
    /// SIP headers of the caller, by their names without `SipHeader_`.
    pub sip_headers: BTreeMap<String, Private<String>>,
    /// Why the fallback address is asked: only in requests to it.
    pub fallback: Option<Fallback>,
}

/// Why Vonage asks the fallback address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fallback {
    /// What went wrong, in Vonage's words.
    pub reason: Option<String>,
    /// The address that failed.
    pub url: Option<Private<String>>,
    /// What was asked there: `answer` or the like.
    pub kind: Option<String>,
}

/// An answer request that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The body is no JSON object.
    #[error("the body of the answer webhook is no JSON object")]
    NotAnObject,
    /// It does not say which call it is about.
    #[error("the answer webhook names no call: `uuid` is missing")]
    MissingUuid,
}

impl AnswerRequest {
    /// Reads the query string of a `GET`, without the question mark.
    ///
    /// # Errors
    ///
    /// When it names no call.
    pub fn from_query(query: &str) -> Result<Self, WebhookError> {
        let fields = form_urlencoded::parse(query.as_bytes())
            .map(|(key, value)| (key.into_owned(), Value::String(value.into_owned())))
            .collect();
        Self::read(&fields)
    }

    /// Reads the body of a `POST`.
    ///
    /// # Errors
    ///
    /// When it is no JSON object or names no call.
    pub fn from_json(body: &[u8]) -> Result<Self, WebhookError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Self::read(&fields),
            _ => Err(WebhookError::NotAnObject),
        }
    }

    /// Whoever calls, whether from a phone or from a client application.
    #[must_use]
    pub fn caller(&self) -> Option<&Party> {
        self.from.as_ref().or(self.from_user.as_ref())
    }

    fn read(fields: &Map<String, Value>) -> Result<Self, WebhookError> {
        Ok(Self {
            uuid: id(fields, "uuid").ok_or(WebhookError::MissingUuid)?,
            conversation: text(fields, "conversation_uuid"),
            from: party(fields, "from"),
            from_user: party(fields, "from_user"),
            to: party(fields, "to"),
            endpoint_type: text(fields, "endpoint_type"),
            region_url: text(fields, "region_url"),
            custom_data: nested(fields, "custom_data").map(Private::new),
            sip_headers: fields
                .keys()
                .filter_map(|key| {
                    let name = key.strip_prefix("SipHeader_")?;
                    Some((name.to_owned(), private(fields, key)?))
                })
                .collect(),
            fallback: Fallback::read(fields),
        })
    }
}

impl Fallback {
    /// `None` when the request went to the first address.
    pub(super) fn read(fields: &Map<String, Value>) -> Option<Self> {
        let original = match nested(fields, "original_request")? {
            Value::Object(original) => original,
            _ => Map::new(),
        };
        Some(Self {
            reason: text(fields, "reason"),
            url: private(&original, "url"),
            kind: text(&original, "type"),
        })
    }
}

/// A value that a query string can carry only as text.
fn nested(fields: &Map<String, Value>, key: &str) -> Option<Value> {
    match fields.get(key)? {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => {
            Some(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())))
        }
        value => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Vonage checklist 44.
    #[test]
    fn get_and_post_say_the_same() {
        let post = AnswerRequest::from_json(
            br#"{"from":"447700900000","to":"442079460000","uuid":"aaaaaaaabbbbccccdddd0123456789ab",
                "conversation_uuid":"CON-f972836a-550f-45fa-956c-12a2ab5b7d22","endpoint_type":"sip",
                "region_url":"https://api-us-3.vonage.com","custom_data":{"a":[1,"two"]},
                "SipHeader_X-Tenant":"Gr\u00fcn & Co","SipHeader_User-to-User":"x;encoding=hex",
                "reason":"timeout","original_request":{"url":"https://a.example/x?y=1","type":"answer"},
                "brand_new":{"ignored":true}}"#,
        )
        .unwrap();
        let get = AnswerRequest::from_query(
            "from=447700900000&to=442079460000&uuid=aaaaaaaabbbbccccdddd0123456789ab\
             &conversation_uuid=CON-f972836a-550f-45fa-956c-12a2ab5b7d22&endpoint_type=sip\
             &region_url=https%3A%2F%2Fapi-us-3.vonage.com&custom_data=%7B%22a%22%3A%5B1%2C%22two%22%5D%7D\
             &SipHeader_X-Tenant=Gr%C3%BCn+%26+Co&SipHeader_User-to-User=x%3Bencoding%3Dhex\
             &reason=timeout&original_request=%7B%22url%22%3A%22https%3A%2F%2Fa.example%2Fx%3Fy%3D1%22%2C%22type%22%3A%22answer%22%7D\
             &brand_new=1",
        )
        .unwrap();
        assert_eq!(get, post);
        assert_eq!(post.sip_headers["X-Tenant"].reveal(), "Grün & Co");
        assert_eq!(
            post.custom_data.unwrap().reveal(),
            &json!({"a": [1, "two"]})
        );
        let fallback = post.fallback.unwrap();
        assert_eq!(fallback.reason.as_deref(), Some("timeout"));
        assert_eq!(fallback.kind.as_deref(), Some("answer"));
    }

    /// Vonage checklist 45.
    #[test]
    fn ids_are_kept_byte_for_byte() {
        for uuid in [
            "aaaaaaaabbbbccccdddd0123456789ab",
            "63F61863-4a51-4f6b-86e1-46edebcf9356",
            "not-a-uuid:at all",
        ] {
            let body = json!({ "uuid": uuid }).to_string();
            let request = AnswerRequest::from_json(body.as_bytes()).unwrap();
            assert_eq!(request.uuid.as_str(), uuid);
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("uuid", uuid)
                .finish();
            assert_eq!(AnswerRequest::from_query(&query).unwrap(), request);
        }
    }

    /// Vonage checklist 46.
    #[test]
    fn callers_need_no_number() {
        for from in ["anonymous", "unknown", "sip:bob@example.com"] {
            let body = json!({"uuid": "u", "from": from}).to_string();
            let request = AnswerRequest::from_json(body.as_bytes()).unwrap();
            assert_eq!(request.caller().unwrap().reveal(), from);
        }
        let user = AnswerRequest::from_query("uuid=u&from_user=alice&from=").unwrap();
        assert_eq!(user.from, None);
        assert_eq!(user.caller().unwrap().reveal(), "alice");
        assert_eq!(AnswerRequest::from_query("uuid=u").unwrap().caller(), None);
    }

    #[test]
    fn a_request_without_a_call_is_refused() {
        for query in ["", "from=1", "uuid=", "%%%&==&"] {
            assert_eq!(
                AnswerRequest::from_query(query),
                Err(WebhookError::MissingUuid)
            );
        }
        for body in ["", "[]", "null", "{", "\"uuid\""] {
            assert_eq!(
                AnswerRequest::from_json(body.as_bytes()),
                Err(WebhookError::NotAnObject)
            );
        }
        assert_eq!(
            AnswerRequest::from_json(br#"{"uuid":null}"#),
            Err(WebhookError::MissingUuid)
        );
    }

    #[test]
    fn nothing_personal_is_printed() {
        let request = AnswerRequest::from_query(
            "uuid=u&from=447700900000&from_user=alice%40example&SipHeader_X-Name=Alice&custom_data=secret",
        )
        .unwrap();
        let printed = format!("{request:?}");
        for personal in ["4477", "alice", "Alice", "secret"] {
            assert!(!printed.contains(personal), "{printed}");
        }
    }
}
