//! Recording and transcribing.

use std::time::Duration;

use serde::Serialize;

use super::check::{
    Address, Method, NccoError, Seconds, event_url, is_false, keys, whole_seconds, within,
};

/// Records the call. Runs beside the actions that follow, unless it has an end of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Record {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<RecordFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_on_silence: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_on_key: Option<char>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_out: Option<Seconds>,
    #[serde(skip_serializing_if = "is_false")]
    beep_start: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_url: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_method: Option<Method>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcription: Option<Transcription>,
}

/// The file that a recording becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RecordFormat {
    /// MP3, the default for up to two channels.
    Mp3,
    /// WAV, the default for more.
    Wav,
    /// Ogg.
    Ogg,
}

impl Record {
    /// Records until the call ends.
    pub fn new() -> Self {
        Self::default()
    }

    /// The kind of file.
    pub const fn format(mut self, format: RecordFormat) -> Self {
        self.format = Some(format);
        self
    }

    /// Keeps the parties apart on this many channels, up to 32.
    pub const fn channels(mut self, channels: u8) -> Self {
        self.split = Some("conversation");
        self.channels = Some(channels);
        self
    }

    /// Ends after this much silence: 3 to 10 s.
    pub const fn end_on_silence(mut self, silence: Duration) -> Self {
        self.end_on_silence = Some(Seconds(silence));
        self
    }

    /// Ends at this key.
    pub const fn end_on_key(mut self, key: char) -> Self {
        self.end_on_key = Some(key);
        self
    }

    /// Ends after this long: 3 s to 2 h.
    pub const fn time_out(mut self, time_out: Duration) -> Self {
        self.time_out = Some(Seconds(time_out));
        self
    }

    /// Beeps at the start.
    pub const fn beep_start(mut self) -> Self {
        self.beep_start = true;
        self
    }

    /// Where the event with the recording's address goes.
    pub fn event_url(mut self, url: impl Into<String>, method: Method) -> Self {
        self.event_url = Some(Address::new(url));
        self.event_method = Some(method);
        self
    }

    /// Also writes down what was said.
    pub fn transcription(mut self, transcription: Transcription) -> Self {
        self.transcription = Some(transcription);
        self
    }

    pub(super) fn check(&self) -> Result<(), NccoError> {
        within("channels", self.channels.map(f64::from), 1.0..=32.0)?;
        whole_seconds("endOnSilence", self.end_on_silence, 3.0..=10.0)?;
        whole_seconds("timeOut", self.time_out, 3.0..=7200.0)?;
        if let Some(key) = self.end_on_key {
            keys("endOnKey", &key.to_string(), "0123456789*#")?;
        }
        if let Some(transcription) = &self.transcription {
            transcription.check()?;
        }
        event_url(self.event_url.as_ref())
    }
}

/// Writes down what was recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Transcription {
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_url: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_method: Option<Method>,
    #[serde(skip_serializing_if = "is_false")]
    sentiment_analysis: bool,
}

impl Transcription {
    /// Transcribes as Vonage does by default.
    pub fn new() -> Self {
        Self::default()
    }

    /// The language (BCP 47).
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.language = Some(language.into());
        self
    }

    /// Where the event with the text's address goes.
    pub fn event_url(mut self, url: impl Into<String>, method: Method) -> Self {
        self.event_url = Some(Address::new(url));
        self.event_method = Some(method);
        self
    }

    /// Also rates the mood.
    pub const fn sentiment_analysis(mut self) -> Self {
        self.sentiment_analysis = true;
        self
    }

    pub(super) fn check(&self) -> Result<(), NccoError> {
        event_url(self.event_url.as_ref())
    }
}
