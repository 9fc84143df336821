//! The request for a call: `POST /v1/calls`. Pure.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Map, Value, json};

use super::RestError;
use crate::{
    private::Private,
    telephony::vonage::ncco::{
        AdvancedMachineDetection, Endpoint, Method, Ncco, OnMachine, PhoneEndpoint,
    },
};

/// A call to be placed.
#[derive(Clone, Debug)]
#[must_use]
pub struct CreateCall {
    to: Endpoint,
    from: CallerId,
    flow: CallFlow,
    events: Option<(Private<String>, Method)>,
    machines: Option<MachineDetection>,
    longest: Option<Duration>,
    ringing: Option<Duration>,
    pub(super) only_once: bool,
}

/// The number that the callee sees.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "one or the other")]
pub enum CallerId {
    /// One of the account's numbers.
    Number(Private<String>),
    /// One of the application's numbers, chosen by Vonage.
    Random,
}

/// What happens once the call is answered.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "one or the other")]
pub enum CallFlow {
    /// This.
    Ncco(Ncco),
    /// What is said at this address when Vonage asks.
    AnswerUrl(Private<String>, Method),
}

impl CallFlow {
    /// The address that Vonage asks, by `POST`, which its signature covers.
    pub fn ask(url: impl Into<String>) -> Self {
        Self::AnswerUrl(Private::new(url.into()), Method::Post)
    }
}

/// How Vonage finds out whether a machine answered.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum MachineDetection {
    /// The basic detection.
    Basic(OnMachine),
    /// The advanced one.
    Advanced(AdvancedMachineDetection),
}

impl CreateCall {
    /// A call to `to` that shows `from` and does `flow`.
    pub fn new(to: impl Into<Endpoint>, from: CallerId, flow: CallFlow) -> Self {
        Self {
            to: to.into(),
            from,
            flow,
            events: None,
            machines: None,
            longest: None,
            ringing: None,
            only_once: false,
        }
    }

    /// Where its events go, instead of the application's address.
    pub fn events(mut self, url: impl Into<String>, method: Method) -> Self {
        self.events = Some((Private::new(url.into()), method));
        self
    }

    /// Listens for machines.
    pub const fn machine_detection(mut self, detection: MachineDetection) -> Self {
        self.machines = Some(detection);
        self
    }

    /// How long it may last: 1 s to 24 h, by default 2 h.
    pub const fn longest(mut self, longest: Duration) -> Self {
        self.longest = Some(longest);
        self
    }

    /// How long it may ring: 1 to 120 s, by default 60 s.
    pub const fn ringing(mut self, ringing: Duration) -> Self {
        self.ringing = Some(ringing);
        self
    }

    /// Sends the request once, even where it was refused for now: as
    /// [`DialOptions::only_once`](crate::telephony::DialOptions::only_once).
    pub const fn only_once(mut self, once: bool) -> Self {
        self.only_once = once;
        self
    }

    /// The body.
    ///
    /// # Errors
    ///
    /// What Vonage would refuse.
    pub fn to_json(&self) -> Result<Value, RestError> {
        let mut body = Map::new();
        body.insert("to".to_owned(), json!([endpoint(&self.to)?]));
        match &self.from {
            CallerId::Number(number) => {
                let from = Endpoint::Phone(PhoneEndpoint::new(number.reveal()));
                body.insert("from".to_owned(), endpoint(&from)?);
            }
            CallerId::Random => {
                body.insert("random_from_number".to_owned(), json!(true));
            }
        }
        match &self.flow {
            CallFlow::Ncco(ncco) => {
                body.insert("ncco".to_owned(), json!(ncco));
            }
            CallFlow::AnswerUrl(url, method) => {
                body.insert("answer_url".to_owned(), address("answer_url", url)?);
                body.insert("answer_method".to_owned(), json!(method));
            }
        }
        if let Some((url, method)) = &self.events {
            body.insert("event_url".to_owned(), address("event_url", url)?);
            body.insert("event_method".to_owned(), json!(method));
        }
        match &self.machines {
            Some(MachineDetection::Basic(behavior)) => {
                body.insert("machine_detection".to_owned(), json!(behavior));
            }
            Some(MachineDetection::Advanced(detection)) => {
                body.insert("advanced_machine_detection".to_owned(), json!(detection));
            }
            None => {}
        }
        if let Some(longest) = self.longest {
            let seconds = seconds("length_timer", longest, 1..=86_400)?;
            body.insert("length_timer".to_owned(), json!(seconds));
        }
        if let Some(ringing) = self.ringing {
            let seconds = seconds("ringing_timer", ringing, 1..=120)?;
            body.insert("ringing_timer".to_owned(), json!(seconds));
        }
        Ok(Value::Object(body))
    }
}

/// Endpoints are spelt as in call flows, but for one key.
fn endpoint(endpoint: &Endpoint) -> Result<Value, RestError> {
    let checked = endpoint.check();
    checked.map_err(|error| RestError::Argument(error.to_string()))?;
    let mut value = json!(endpoint);
    if let Value::Object(members) = &mut value {
        if let Some(headers) = members.remove("standardHeaders") {
            members.insert("standard_headers".to_owned(), headers);
        }
        if members.contains_key("onAnswer") {
            let error = "`onAnswer` belongs to a `connect` action, not to a call that is placed";
            return Err(RestError::Argument(error.to_owned()));
        }
    }
    Ok(value)
}

fn address(field: &str, url: &Private<String>) -> Result<Value, RestError> {
    match url::Url::parse(url.reveal()) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(json!([url])),
        _ => Err(RestError::Argument(format!(
            "`{field}` must be an http or https address"
        ))),
    }
}

fn seconds(field: &str, time: Duration, range: RangeInclusive<u64>) -> Result<u64, RestError> {
    match range.contains(&time.as_secs()) && time.subsec_nanos() == 0 {
        true => Ok(time.as_secs()),
        false => Err(RestError::Argument(format!(
            "`{field}` must be a whole number of seconds between {} and {}",
            range.start(),
            range.end()
        ))),
    }
}
