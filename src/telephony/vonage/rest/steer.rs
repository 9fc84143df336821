//! What can be done to a call that is going on.

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Map, Value, json};
use url::Url;

use super::{Rest, RestError, retry::Repeat, send::Sent};
use crate::{
    call::CallId,
    telephony::vonage::{ncco::Ncco, webhook::region_base},
};

/// What a request to hang up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "one or the other; both are success"
)]
pub enum HungUp {
    /// The call was going on, and ends now.
    Ended,
    /// The call was over, or never was.
    AlreadyEnded,
}

/// Who of a call hears whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the four that Vonage knows")]
pub enum Hearing {
    /// Others do not hear this leg.
    Mute,
    /// Others hear it again.
    Unmute,
    /// This leg does not hear others.
    Earmuff,
    /// It hears them again.
    Unearmuff,
}

/// Something that Vonage's own voice says into a call.
#[derive(Clone, Debug)]
#[must_use]
pub struct Speech(Map<String, Value>);

impl Speech {
    /// Says a text of 1 to 1500 characters, SSML where it is wrapped in `<speak>`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Map::from_iter([("text".to_owned(), json!(text.into()))]))
    }

    /// In this language, such as `en-US`.
    pub fn language(self, language: impl Into<String>) -> Self {
        self.with("language", json!(language.into()))
    }

    /// In this voice of the language, by its number.
    pub fn style(self, style: u32) -> Self {
        self.with("style", json!(style))
    }

    /// In the premium version of the voice.
    pub fn premium(self) -> Self {
        self.with("premium", json!(true))
    }

    /// So many times; 0 goes on until it is stopped.
    pub fn repeated(self, times: u32) -> Self {
        self.with("loop", json!(times))
    }

    /// Louder or softer: -1 to 1.
    pub fn level(self, level: f32) -> Self {
        self.with("level", json!(level.to_string()))
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.to_owned(), value);
        self
    }

    fn to_json(&self) -> Result<Value, RestError> {
        let text = self.0.get("text").and_then(Value::as_str);
        let length = text.map_or(0, |text| text.chars().count());
        if !(1..=1500).contains(&length) {
            return Err(wrong("a spoken text has 1 to 1500 characters"));
        }
        Ok(Value::Object(self.0.clone()))
    }
}

impl Rest {
    /// Ends a call. One that is over counts as success.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn hang_up(&self, call: &CallId) -> Result<HungUp, RestError> {
        match self.act(call, "hangup").await {
            Ok(()) => Ok(HungUp::Ended),
            Err(RestError::Refused(problem))
                if problem.status == 404 || problem.is_about_the_state() =>
            {
                Ok(HungUp::AlreadyEnded)
            }
            Err(error) => Err(error),
        }
    }

    /// Changes who hears whom.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn hearing(&self, call: &CallId, hearing: Hearing) -> Result<(), RestError> {
        let action = match hearing {
            Hearing::Mute => "mute",
            Hearing::Unmute => "unmute",
            Hearing::Earmuff => "earmuff",
            Hearing::Unearmuff => "unearmuff",
        };
        self.act(call, action).await
    }

    /// Replaces the flow of a call by this one. Say
    /// [`Vonage::release`](crate::telephony::vonage::Vonage::release) first where an agent is on
    /// the call: its socket closes.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn transfer(&self, call: &CallId, flow: &Ncco) -> Result<(), RestError> {
        self.transfer_to(call, json!({"type": "ncco", "ncco": flow}))
            .await
    }

    /// Replaces the flow of a call by the one that is served at `url`.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn transfer_to_url(&self, call: &CallId, url: &str) -> Result<(), RestError> {
        web_address(url)?;
        self.transfer_to(call, json!({"type": "ncco", "url": [url]}))
            .await
    }

    async fn transfer_to(&self, call: &CallId, destination: Value) -> Result<(), RestError> {
        let url = self.url(&["calls", call.as_str()])?;
        let sent = Sent::new(Method::PUT, url)
            // Carried out twice, it would call whoever the flow connects twice.
            .repeated(Repeat::Unsafe)
            .with(json!({"action": "transfer", "destination": destination}));
        self.send(sent).await.map(drop)
    }

    /// Says something into a call that was answered.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn talk(&self, call: &CallId, speech: &Speech) -> Result<(), RestError> {
        let sent = Sent::new(Method::PUT, self.url(&["calls", call.as_str(), "talk"])?)
            .repeated(Repeat::Unsafe)
            .with(speech.to_json()?);
        self.send(sent).await.map(drop)
    }

    /// Stops what [`talk`](Self::talk) says.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn stop_talking(&self, call: &CallId) -> Result<(), RestError> {
        let url = self.url(&["calls", call.as_str(), "talk"])?;
        self.send(Sent::new(Method::DELETE, url)).await.map(drop)
    }

    /// Plays the sound at `url` into a call that was answered, `times` times; 0 goes on until it
    /// is stopped.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn stream(&self, call: &CallId, url: &str, times: u32) -> Result<(), RestError> {
        web_address(url)?;
        let sent = Sent::new(Method::PUT, self.url(&["calls", call.as_str(), "stream"])?)
            .repeated(Repeat::Unsafe)
            .with(json!({"stream_url": [url], "loop": times}));
        self.send(sent).await.map(drop)
    }

    /// Stops what [`stream`](Self::stream) plays.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn stop_streaming(&self, call: &CallId) -> Result<(), RestError> {
        let url = self.url(&["calls", call.as_str(), "stream"])?;
        self.send(Sent::new(Method::DELETE, url)).await.map(drop)
    }

    /// Presses keys in a call: `0-9`, `*`, `#`, and `p` for a pause of half a second.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal; [`RestError::Argument`] for other keys.
    pub async fn send_dtmf(&self, call: &CallId, keys: &str) -> Result<(), RestError> {
        let allowed = |key: char| key.is_ascii_digit() || "*#p".contains(key);
        if keys.is_empty() || !keys.chars().all(allowed) {
            return Err(wrong("keys are 0-9, *, #, and p for a pause"));
        }
        let sent = Sent::new(Method::PUT, self.url(&["calls", call.as_str(), "dtmf"])?)
            .repeated(Repeat::Unsafe)
            .with(json!({"digits": keys}));
        self.send(sent).await.map(drop)
    }

    /// Reports every key of the caller to `url` as an event from now on; `None` stops that.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn report_keys(&self, call: &CallId, url: Option<&str>) -> Result<(), RestError> {
        let address = self.url(&["calls", call.as_str(), "input", "dtmf"])?;
        let sent = match url {
            Some(url) => {
                web_address(url)?;
                Sent::new(Method::PUT, address).with(json!({"event_url": [url]}))
            }
            None => Sent::new(Method::DELETE, address),
        };
        self.send(sent).await.map(drop)
    }

    /// Fetches a recording of up to 64 MiB from the address that its event named.
    ///
    /// # Errors
    ///
    /// [`RestError::Argument`] for an address that is not Vonage's own, since whoever gets the
    /// request gets the token; otherwise when there is no answer, or it is a refusal.
    pub async fn recording(&self, url: &str) -> Result<Bytes, RestError> {
        let address = Url::parse(url).ok().filter(|_| region_base(url).is_some());
        let address = address.ok_or_else(|| {
            wrong("recordings are fetched over https from vonage.com and nexmo.com alone")
        })?;
        self.send_for(Sent::new(Method::GET, address), MAX_RECORDING)
            .await
    }

    async fn act(&self, call: &CallId, action: &str) -> Result<(), RestError> {
        let url = self.url(&["calls", call.as_str()])?;
        let sent = Sent::new(Method::PUT, url).with(json!({"action": action}));
        self.send(sent).await.map(drop)
    }
}

fn web_address(url: &str) -> Result<(), RestError> {
    match Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(()),
        _ => Err(wrong("that is no http or https address")),
    }
}

fn wrong(what: &str) -> RestError {
    RestError::Argument(what.to_owned())
}

/// An hour of stereo as MP3.
const MAX_RECORDING: usize = 64 * 1024 * 1024;
