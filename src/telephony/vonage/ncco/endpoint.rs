//! Where a connection leads.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use url::Url;

use super::check::{NccoError, digits, keys, number, present, url};
use crate::{audio::SampleRate, private::Private, telephony::vonage::wire::content_type};

/// The other end of a [`Connect`](super::Connect).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Endpoint {
    /// A phone number.
    Phone(PhoneEndpoint),
    /// A user of a Vonage client application.
    App {
        /// The user's name.
        user: Private<String>,
    },
    /// A media socket.
    Websocket(WebsocketEndpoint),
    /// A SIP address.
    Sip(SipEndpoint),
    /// An extension of Vonage Business Communications.
    Vbc {
        /// The extension.
        extension: Private<String>,
    },
}

impl Endpoint {
    /// A user of a Vonage client application.
    #[must_use]
    pub fn app(user: impl Into<String>) -> Self {
        Self::App {
            user: Private::new(user.into()),
        }
    }

    /// An extension of Vonage Business Communications.
    #[must_use]
    pub fn vbc(extension: impl Into<String>) -> Self {
        Self::Vbc {
            extension: Private::new(extension.into()),
        }
    }

    pub(in crate::telephony::vonage) fn check(&self) -> Result<(), NccoError> {
        match self {
            Self::Phone(endpoint) => endpoint.check(),
            Self::App { user } => present("user", user.reveal()),
            Self::Websocket(endpoint) => endpoint.check(),
            Self::Sip(endpoint) => endpoint.check(),
            Self::Vbc { extension } => present("extension", extension.reveal()),
        }
    }
}

impl From<PhoneEndpoint> for Endpoint {
    fn from(endpoint: PhoneEndpoint) -> Self {
        Self::Phone(endpoint)
    }
}

impl From<WebsocketEndpoint> for Endpoint {
    fn from(endpoint: WebsocketEndpoint) -> Self {
        Self::Websocket(endpoint)
    }
}

impl From<SipEndpoint> for Endpoint {
    fn from(endpoint: SipEndpoint) -> Self {
        Self::Sip(endpoint)
    }
}

/// A phone number.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct PhoneEndpoint {
    number: Private<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dtmf_answer: Option<Private<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_answer: Option<OnAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shaken: Option<Private<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct OnAnswer {
    url: Private<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ringback_tone: Option<Private<String>>,
}

impl PhoneEndpoint {
    /// A number with its country code; a leading `+`, spaces and punctuation are dropped.
    pub fn new(number: &str) -> Self {
        Self {
            number: digits(number),
            dtmf_answer: None,
            on_answer: None,
            shaken: None,
        }
    }

    /// Keys to send once it answers, such as an extension; `p` waits half a second.
    pub fn dtmf_answer(mut self, keys: impl Into<String>) -> Self {
        self.dtmf_answer = Some(Private::new(keys.into()));
        self
    }

    /// Where to fetch an NCCO that only the called party hears before both are connected.
    pub fn on_answer(mut self, url: impl Into<String>) -> Self {
        self.on_answer = Some(OnAnswer {
            url: Private::new(url.into()),
            ringback_tone: None,
        });
        self
    }

    /// The same with a tone that the caller hears meanwhile.
    pub fn on_answer_with_ringback(
        mut self,
        url: impl Into<String>,
        ringback_tone: impl Into<String>,
    ) -> Self {
        self.on_answer = Some(OnAnswer {
            url: Private::new(url.into()),
            ringback_tone: Some(Private::new(ringback_tone.into())),
        });
        self
    }

    /// A STIR/SHAKEN identity, for accounts that sign their own calls.
    pub fn shaken(mut self, identity: impl Into<String>) -> Self {
        self.shaken = Some(Private::new(identity.into()));
        self
    }

    pub(super) fn has_ringback_tone(&self) -> bool {
        self.on_answer
            .as_ref()
            .is_some_and(|on_answer| on_answer.ringback_tone.is_some())
    }

    fn check(&self) -> Result<(), NccoError> {
        number("number", &self.number)?;
        if let Some(answer) = &self.dtmf_answer {
            keys("dtmfAnswer", answer.reveal(), "0123456789*#p")?;
        }
        if let Some(on_answer) = &self.on_answer {
            url("onAnswer.url", on_answer.url.reveal())?;
            if let Some(tone) = &on_answer.ringback_tone {
                url("onAnswer.ringbackTone", tone.reveal())?;
            }
        }
        Ok(())
    }
}

/// A media socket that Vonage opens to us.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[must_use]
pub struct WebsocketEndpoint {
    uri: Private<String>,
    #[serde(rename = "content-type", serialize_with = "as_content_type")]
    rate: SampleRate,
    #[serde(skip_serializing_if = "is_empty")]
    headers: Private<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<Authorization>,
    #[serde(skip)]
    insecure: bool,
}

/// What the upgrade request of a media socket carries as its `Authorization`. Whether it carries
/// anything when this is left out is not documented.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the two kinds that Vonage knows")]
pub enum Authorization {
    /// A token signed like webhooks: see
    /// [`Verifier::verify_upgrade`](crate::telephony::vonage::signature::Verifier::verify_upgrade).
    Vonage,
    /// This value, verbatim.
    Custom(Private<String>),
}

impl WebsocketEndpoint {
    /// The socket at `uri` (`wss://…`), with audio at `rate` both ways.
    pub fn new(uri: impl Into<String>, rate: SampleRate) -> Self {
        Self {
            uri: Private::new(uri.into()),
            rate,
            headers: Private::default(),
            authorization: None,
            insecure: false,
        }
    }

    /// Adds metadata, which comes back in the socket's first message and in its events. It is
    /// not an HTTP header and no secret.
    pub fn header(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let mut headers = self.headers.reveal().clone();
        headers.insert(key.into(), value.into());
        self.headers = Private::new(headers);
        self
    }

    /// Makes Vonage prove who it is when it opens the socket.
    pub fn authorization(mut self, authorization: Authorization) -> Self {
        self.authorization = Some(authorization);
        self
    }

    /// Allows plain `ws://`, for tests on one machine: audio and tokens go unencrypted.
    pub const fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    fn check(&self) -> Result<(), NccoError> {
        let uri = Url::parse(self.uri.reveal()).map_err(|_| NccoError::WebsocketUri)?;
        match uri.scheme() {
            "wss" => {}
            "ws" if self.insecure => {}
            "ws" => return Err(NccoError::InsecureWebsocket),
            _ => return Err(NccoError::WebsocketUri),
        }
        let headers = self.headers.reveal();
        for key in ["event", "content-type"] {
            if headers.contains_key(key) {
                return Err(NccoError::ReservedHeader { key });
            }
        }
        let length = serde_json::to_string(headers).map_or(usize::MAX, |json| json.len());
        if length > MAX_HEADERS {
            let max = MAX_HEADERS;
            return Err(NccoError::HeadersTooLong { length, max });
        }
        match &self.authorization {
            Some(Authorization::Custom(value)) => check_custom(value.reveal()),
            Some(Authorization::Vonage) | None => Ok(()),
        }
    }
}

fn check_custom(value: &str) -> Result<(), NccoError> {
    let printable = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    if printable && (1..=MAX_AUTHORIZATION).contains(&value.len()) {
        Ok(())
    } else {
        let max = MAX_AUTHORIZATION;
        Err(NccoError::Authorization { max })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn as_content_type<S: Serializer>(rate: &SampleRate, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(content_type(*rate))
}

/// A SIP address.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct SipEndpoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<Private<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Private<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(skip_serializing_if = "is_empty")]
    headers: Private<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "is_empty")]
    standard_headers: Private<BTreeMap<String, String>>,
}

impl SipEndpoint {
    /// An address such as `sip:desk@sip.example.com;transport=tls`.
    pub fn uri(uri: impl Into<String>) -> Self {
        Self {
            uri: Some(Private::new(uri.into())),
            user: None,
            domain: None,
            headers: Private::default(),
            standard_headers: Private::default(),
        }
    }

    /// A user of a programmable SIP domain.
    pub fn user(user: impl Into<String>, domain: impl Into<String>) -> Self {
        Self {
            uri: None,
            user: Some(Private::new(user.into())),
            domain: Some(domain.into()),
            headers: Private::default(),
            standard_headers: Private::default(),
        }
    }

    /// Adds a SIP header, sent as `X-` and its name.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let mut headers = self.headers.reveal().clone();
        headers.insert(name.into(), value.into());
        self.headers = Private::new(headers);
        self
    }

    /// Adds the `User-to-User` header.
    pub fn user_to_user(mut self, value: impl Into<String>) -> Self {
        self.standard_headers =
            Private::new(BTreeMap::from([("User-to-User".to_owned(), value.into())]));
        self
    }

    fn check(&self) -> Result<(), NccoError> {
        let reveal = |text: &Option<Private<String>>| {
            text.as_ref()
                .map_or_else(String::new, |text| text.reveal().clone())
        };
        if let Some(domain) = &self.domain {
            present("user", &reveal(&self.user))?;
            present("domain", domain)
        } else {
            present("uri", &reveal(&self.uri))
        }
    }
}

fn is_empty(headers: &Private<BTreeMap<String, String>>) -> bool {
    headers.reveal().is_empty()
}

/// Documented in 2021; today's limit is not published.
const MAX_HEADERS: usize = 512;

/// What Vonage's own Java SDK allows.
const MAX_AUTHORIZATION: usize = 8191;
