//! What the caller hears: speech, audio, and pauses.

use std::time::Duration;

use serde::Serialize;

use super::check::{Address, NccoError, Seconds, is_false, present, seconds, within};
use crate::private::Private;

/// Speaks a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Talk {
    text: Private<String>,
    #[serde(skip_serializing_if = "is_false")]
    barge_in: bool,
    #[serde(rename = "loop", skip_serializing_if = "Option::is_none")]
    repeat: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<u32>,
    #[serde(skip_serializing_if = "is_false")]
    premium: bool,
}

impl Talk {
    /// Speaks `text`: up to 1500 characters, as SSML when it stands in `<speak>`.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: Private::new(text.into()),
            barge_in: false,
            repeat: None,
            level: None,
            language: None,
            style: None,
            premium: false,
        }
    }

    /// Lets the caller answer before the end. Needs an [`Input`](super::Input) after it.
    pub const fn barge_in(mut self) -> Self {
        self.barge_in = true;
        self
    }

    /// How many times to speak it; 0 means until the call ends. By default once.
    pub const fn repeat(mut self, times: u32) -> Self {
        self.repeat = Some(times);
        self
    }

    /// The volume, -1 to 1.
    pub const fn level(mut self, level: f64) -> Self {
        self.level = Some(level);
        self
    }

    /// The language (BCP 47). By default `en-US`.
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.language = Some(language.into());
        self
    }

    /// Which of the language's voices. By default 0.
    pub const fn style(mut self, style: u32) -> Self {
        self.style = Some(style);
        self
    }

    /// Uses the premium kind of the voice.
    pub const fn premium(mut self) -> Self {
        self.premium = true;
        self
    }

    pub(super) const fn barges_in(&self) -> bool {
        self.barge_in
    }

    pub(super) fn check(&self) -> Result<(), NccoError> {
        let text = self.text.reveal();
        present("text", text)?;
        let length = text.chars().count();
        if length > MAX_TEXT {
            return Err(NccoError::TooLong {
                field: "text",
                length,
                max: MAX_TEXT,
            });
        }
        within("level", self.level, -1.0..=1.0)
    }
}

/// Plays audio.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Stream {
    stream_url: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<f64>,
    #[serde(skip_serializing_if = "is_false")]
    barge_in: bool,
    #[serde(rename = "loop", skip_serializing_if = "Option::is_none")]
    repeat: Option<u32>,
}

impl Stream {
    /// Plays the MP3 or 16-bit WAV file at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            stream_url: Address::new(url),
            level: None,
            barge_in: false,
            repeat: None,
        }
    }

    /// The volume, -1 to 1.
    pub const fn level(mut self, level: f64) -> Self {
        self.level = Some(level);
        self
    }

    /// Lets the caller answer before the end. Needs an [`Input`](super::Input) after it.
    pub const fn barge_in(mut self) -> Self {
        self.barge_in = true;
        self
    }

    /// How many times to play it; 0 means until the call ends. By default once.
    pub const fn repeat(mut self, times: u32) -> Self {
        self.repeat = Some(times);
        self
    }

    pub(super) const fn barges_in(&self) -> bool {
        self.barge_in
    }

    pub(super) fn check(&self) -> Result<(), NccoError> {
        self.stream_url.check("streamUrl")?;
        within("level", self.level, -1.0..=1.0)
    }
}

/// Waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[must_use]
pub struct Wait {
    timeout: Seconds,
}

impl Wait {
    /// Waits this long: 0.1 s to 2 h.
    pub const fn new(timeout: Duration) -> Self {
        Self {
            timeout: Seconds(timeout),
        }
    }

    pub(super) fn check(&self) -> Result<(), NccoError> {
        seconds("timeout", Some(self.timeout), 0.1..=7200.0)
    }
}

const MAX_TEXT: usize = 1500;
