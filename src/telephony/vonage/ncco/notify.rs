//! Telling us how far a call got.

use serde::Serialize;
use serde_json::{Map, Value};

use super::check::{Address, Method, NccoError};
use crate::private::Private;

/// Posts an event; an NCCO in its answer replaces the rest of this one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Notify {
    payload: Private<Map<String, Value>>,
    event_url: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_method: Option<Method>,
}

impl Notify {
    /// Sends `payload` to `url`.
    pub fn new(payload: Map<String, Value>, url: impl Into<String>) -> Self {
        Self {
            payload: Private::new(payload),
            event_url: Address::new(url),
            event_method: None,
        }
    }

    /// How to call it.
    pub const fn method(mut self, method: Method) -> Self {
        self.event_method = Some(method);
        self
    }

    pub(super) fn check(&self) -> Result<(), NccoError> {
        self.event_url.check("eventUrl")
    }
}
