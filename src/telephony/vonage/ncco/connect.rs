//! Connecting a call to somebody or something.

use std::time::Duration;

use serde::Serialize;

use super::{
    Endpoint,
    check::{Address, Method, NccoError, Seconds, digits, number, url, whole_seconds},
};
use crate::private::Private;

/// Connects the call.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Connect {
    endpoint: [Endpoint; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Private<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random_from_number: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine_detection: Option<OnMachine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advanced_machine_detection: Option<AdvancedMachineDetection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_url: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_method: Option<Method>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ringback_tone: Option<Private<String>>,
}

impl Connect {
    /// Connects the call to `endpoint`.
    pub fn to(endpoint: impl Into<Endpoint>) -> Self {
        Self {
            endpoint: [endpoint.into()],
            from: None,
            random_from_number: None,
            event_type: None,
            timeout: None,
            limit: None,
            machine_detection: None,
            advanced_machine_detection: None,
            event_url: None,
            event_method: None,
            ringback_tone: None,
        }
    }

    /// The number to show, one of the account's own; `+`, spaces and punctuation are dropped.
    pub fn from(mut self, number: &str) -> Self {
        self.from = Some(digits(number));
        self
    }

    /// Shows one of the application's numbers, chosen by Vonage.
    pub const fn random_from_number(mut self) -> Self {
        self.random_from_number = Some(true);
        self
    }

    /// Lets the answer to a failed or lost connection's event be an NCCO that replaces the flow.
    pub const fn synchronous_events(mut self) -> Self {
        self.event_type = Some("synchronous");
        self
    }

    /// How long to ring: 3 s to 2 h, by default 60 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(Seconds(timeout));
        self
    }

    /// How long the connection may last: up to 2 h, which is the default.
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(Seconds(limit));
        self
    }

    /// What to do when a machine answers, by the basic detection.
    pub const fn machine_detection(mut self, behavior: OnMachine) -> Self {
        self.machine_detection = Some(behavior);
        self
    }

    /// Uses the advanced detection of answering machines; it wins over the basic one.
    pub const fn advanced_machine_detection(mut self, detection: AdvancedMachineDetection) -> Self {
        self.advanced_machine_detection = Some(detection);
        self
    }

    /// Where events of this connection go, instead of the application's address.
    pub fn event_url(mut self, url: impl Into<String>, method: Method) -> Self {
        self.event_url = Some(Address::new(url));
        self.event_method = Some(method);
        self
    }

    /// Audio that the caller hears while it rings.
    pub fn ringback_tone(mut self, url: impl Into<String>) -> Self {
        self.ringback_tone = Some(Private::new(url.into()));
        self
    }

    /// Where the connection leads.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint[0]
    }

    pub(super) const fn is_websocket(&self) -> bool {
        matches!(self.endpoint(), Endpoint::Websocket(_))
    }

    pub(super) fn check(&self) -> Result<(), NccoError> {
        self.endpoint().check()?;
        if let Some(from) = &self.from {
            if self.random_from_number.is_some() {
                return Err(NccoError::TwoCallers);
            }
            number("from", from)?;
        }
        whole_seconds("timeout", self.timeout, 3.0..=7200.0)?;
        whole_seconds("limit", self.limit, 1.0..=7200.0)?;
        if let Some(address) = &self.event_url {
            address.check("eventUrl")?;
        }
        if let Some(tone) = &self.ringback_tone {
            url("ringbackTone", tone.reveal())?;
            if matches!(self.endpoint(), Endpoint::Phone(phone) if phone.has_ringback_tone()) {
                return Err(NccoError::TwoRingbackTones);
            }
        }
        Ok(())
    }
}

/// What to do when a machine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "Vonage knows two")]
pub enum OnMachine {
    /// Go on; an event says that it is a machine.
    Continue,
    /// Hang up.
    Hangup,
}

/// Settings of the advanced detection of answering machines. REST requests spell it the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[must_use]
pub struct AdvancedMachineDetection {
    behavior: OnMachine,
    mode: DetectionMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    beep_timeout: Option<Seconds>,
}

/// When the verdict of the advanced detection comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "Vonage knows three")]
pub enum DetectionMode {
    /// As an event while the call goes on. The others keep the callee in silence for seconds.
    Default,
    /// Before the call goes on.
    Detect,
    /// Before the call goes on, with a further event at a machine's beep.
    DetectBeep,
}

impl AdvancedMachineDetection {
    /// Detects in `mode` and does as `behavior` says.
    pub const fn new(mode: DetectionMode, behavior: OnMachine) -> Self {
        Self {
            behavior,
            mode,
            beep_timeout: None,
        }
    }

    /// How long to wait for a beep. Held to 45 to 120 s, the range on which Vonage's own
    /// documents and SDKs agree.
    pub fn beep_timeout(mut self, timeout: Duration) -> Self {
        self.beep_timeout = Some(Seconds(Duration::from_secs(
            timeout.as_secs().clamp(45, 120),
        )));
        self
    }
}
