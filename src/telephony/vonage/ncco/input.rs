//! Taking in keys and speech.

use std::time::Duration;

use serde::Serialize;

use super::check::{
    Address, Method, NccoError, Seconds, event_url, is_false, seconds, whole_seconds, within,
};

/// Takes in keys or speech, and posts them as an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Input {
    #[serde(rename = "type")]
    types: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dtmf: Option<DtmfSettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speech: Option<SpeechSettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_url: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_method: Option<Method>,
}

impl Input {
    /// Takes in keys.
    pub const fn dtmf() -> Self {
        Self::of(&["dtmf"])
    }

    /// Takes in speech.
    pub const fn speech() -> Self {
        Self::of(&["speech"])
    }

    /// Takes in keys or speech, whichever comes first.
    pub const fn dtmf_or_speech() -> Self {
        Self::of(&["dtmf", "speech"])
    }

    /// Goes on at once and posts every key by itself. Keys only, without settings.
    pub const fn asynchronous(mut self) -> Self {
        self.mode = Some("asynchronous");
        self
    }

    /// How to take in keys.
    pub const fn dtmf_settings(mut self, settings: DtmfSettings) -> Self {
        self.dtmf = Some(settings);
        self
    }

    /// How to take in speech.
    pub fn speech_settings(mut self, settings: SpeechSettings) -> Self {
        self.speech = Some(settings);
        self
    }

    /// Where the event goes, instead of the application's address.
    pub fn event_url(mut self, url: impl Into<String>, method: Method) -> Self {
        self.event_url = Some(Address::new(url));
        self.event_method = Some(method);
        self
    }

    const fn of(types: &'static [&'static str]) -> Self {
        Self {
            types,
            mode: None,
            dtmf: None,
            speech: None,
            event_url: None,
            event_method: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), NccoError> {
        let bare = self.types == ["dtmf"] && self.dtmf.is_none() && self.speech.is_none();
        if self.mode.is_some() && !bare {
            return Err(NccoError::AsynchronousInput);
        }
        let unused = self.dtmf.is_some() && !self.types.contains(&"dtmf")
            || self.speech.is_some() && !self.types.contains(&"speech");
        if unused {
            return Err(NccoError::UnusedSettings);
        }
        if let Some(dtmf) = &self.dtmf {
            dtmf.check()?;
        }
        if let Some(speech) = &self.speech {
            speech.check()?;
        }
        event_url(self.event_url.as_ref())
    }
}

/// How to take in keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct DtmfSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    time_out: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_digits: Option<u8>,
    #[serde(skip_serializing_if = "is_false")]
    submit_on_hash: bool,
}

impl DtmfSettings {
    /// How long to wait after the last key: up to 10 s, by default 3 s.
    pub const fn time_out(mut self, time_out: Duration) -> Self {
        self.time_out = Some(Seconds(time_out));
        self
    }

    /// How many keys to take: 1 to 20, by default 4.
    pub const fn max_digits(mut self, digits: u8) -> Self {
        self.max_digits = Some(digits);
        self
    }

    /// Ends at `#`.
    pub const fn submit_on_hash(mut self) -> Self {
        self.submit_on_hash = true;
        self
    }

    fn check(&self) -> Result<(), NccoError> {
        whole_seconds("dtmf.timeOut", self.time_out, 0.0..=10.0)?;
        within("dtmf.maxDigits", self.max_digits.map(f64::from), 1.0..=20.0)
    }
}

/// How to take in speech.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct SpeechSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<[String; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_on_silence: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    context: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_timeout: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_duration: Option<Seconds>,
    #[serde(skip_serializing_if = "is_false")]
    save_audio: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensitivity: Option<u8>,
}

impl SpeechSettings {
    /// Which leg to listen to. By default the first one.
    pub fn leg(mut self, uuid: impl Into<String>) -> Self {
        self.uuid = Some([uuid.into()]);
        self
    }

    /// How much silence ends it: 0.4 to 10 s, by default 2 s.
    pub const fn end_on_silence(mut self, silence: Duration) -> Self {
        self.end_on_silence = Some(Seconds(silence));
        self
    }

    /// The language (BCP 47).
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.language = Some(language.into());
        self
    }

    /// Adds words to expect.
    pub fn hint(mut self, words: impl Into<String>) -> Self {
        self.context.push(words.into());
        self
    }

    /// How long to wait for the first word: 1 to 60 s, by default 10 s.
    pub const fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(Seconds(timeout));
        self
    }

    /// How long to listen at most: 1 to 60 s, by default 60 s.
    pub const fn max_duration(mut self, duration: Duration) -> Self {
        self.max_duration = Some(Seconds(duration));
        self
    }

    /// Keeps the audio; the event says where.
    pub const fn save_audio(mut self) -> Self {
        self.save_audio = true;
        self
    }

    /// How readily sound counts as speech: 10 to 100, by default 90.
    pub const fn sensitivity(mut self, sensitivity: u8) -> Self {
        self.sensitivity = Some(sensitivity);
        self
    }

    fn check(&self) -> Result<(), NccoError> {
        seconds("speech.endOnSilence", self.end_on_silence, 0.4..=10.0)?;
        whole_seconds("speech.startTimeout", self.start_timeout, 1.0..=60.0)?;
        whole_seconds("speech.maxDuration", self.max_duration, 1.0..=60.0)?;
        let sensitivity = self.sensitivity.map(f64::from);
        within("speech.sensitivity", sensitivity, 10.0..=100.0)
    }
}
