//! The actions other than `connect`.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::check::{
    Address, Method, NccoError, Seconds, keys, present, seconds, whole_seconds, within,
};
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

    /// Lets the caller answer before the end. Needs an [`Input`] after it.
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

    /// Lets the caller answer before the end. Needs an [`Input`] after it.
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
        check_address(self.event_url.as_ref())
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
        check_address(self.event_url.as_ref())
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

    fn check(&self) -> Result<(), NccoError> {
        check_address(self.event_url.as_ref())
    }
}

/// Joins a named conversation, together with everybody else who does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Conversation {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    music_on_hold_url: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_on_enter: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    end_on_exit: bool,
    #[serde(skip_serializing_if = "is_false")]
    record: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_speak: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_hear: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_false")]
    mute: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcription: Option<Transcription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_url: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_method: Option<Method>,
}

impl Conversation {
    /// Joins the conversation of this name within the application.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            music_on_hold_url: None,
            start_on_enter: None,
            end_on_exit: false,
            record: false,
            can_speak: None,
            can_hear: None,
            mute: false,
            transcription: None,
            event_url: None,
            event_method: None,
        }
    }

    /// Audio for whoever waits.
    pub fn music_on_hold(mut self, url: impl Into<String>) -> Self {
        self.music_on_hold_url = Some(Address::new(url));
        self
    }

    /// Waits for somebody else to start the conversation.
    pub const fn wait_for_start(mut self) -> Self {
        self.start_on_enter = Some(false);
        self
    }

    /// Ends the conversation for all when this leg leaves.
    pub const fn end_on_exit(mut self) -> Self {
        self.end_on_exit = true;
        self
    }

    /// Records it.
    pub const fn record(mut self) -> Self {
        self.record = true;
        self
    }

    /// The legs that hear this one; none means nobody.
    pub fn can_speak(mut self, legs: impl IntoIterator<Item = String>) -> Self {
        self.can_speak = Some(legs.into_iter().collect());
        self
    }

    /// The legs that this one hears; none means nobody.
    pub fn can_hear(mut self, legs: impl IntoIterator<Item = String>) -> Self {
        self.can_hear = Some(legs.into_iter().collect());
        self
    }

    /// Nobody hears this leg.
    pub const fn mute(mut self) -> Self {
        self.mute = true;
        self
    }

    /// Also writes down what was said.
    pub fn transcription(mut self, transcription: Transcription) -> Self {
        self.transcription = Some(transcription);
        self
    }

    /// Where events go, instead of the application's address.
    pub fn event_url(mut self, url: impl Into<String>, method: Method) -> Self {
        self.event_url = Some(Address::new(url));
        self.event_method = Some(method);
        self
    }

    pub(super) fn check(&self) -> Result<(), NccoError> {
        present("name", &self.name)?;
        if self.mute && self.can_speak.is_some() {
            return Err(NccoError::MuteWithCanSpeak);
        }
        if let Some(address) = &self.music_on_hold_url {
            address.check("musicOnHoldUrl")?;
        }
        if let Some(transcription) = &self.transcription {
            transcription.check()?;
        }
        check_address(self.event_url.as_ref())
    }
}

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

/// Moves this leg to another conversation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Transfer {
    conversation_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_hear: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_speak: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_false")]
    mute: bool,
}

impl Transfer {
    /// Moves to the conversation with this id (`CON-…`).
    pub fn new(conversation: impl Into<String>) -> Self {
        Self {
            conversation_id: conversation.into(),
            can_hear: None,
            can_speak: None,
            mute: false,
        }
    }

    /// The legs that this one hears; none means nobody.
    pub fn can_hear(mut self, legs: impl IntoIterator<Item = String>) -> Self {
        self.can_hear = Some(legs.into_iter().collect());
        self
    }

    /// The legs that hear this one; none means nobody.
    pub fn can_speak(mut self, legs: impl IntoIterator<Item = String>) -> Self {
        self.can_speak = Some(legs.into_iter().collect());
        self
    }

    /// Nobody hears this leg.
    pub const fn mute(mut self) -> Self {
        self.mute = true;
        self
    }

    pub(super) fn check(&self) -> Result<(), NccoError> {
        present("conversationId", &self.conversation_id)
    }
}

fn check_address(address: Option<&Address>) -> Result<(), NccoError> {
    address.map_or(Ok(()), |address| address.check("eventUrl"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

const MAX_TEXT: usize = 1500;
