//! Named conversations, and moving between conversations.

use serde::Serialize;

use super::{
    Transcription,
    check::{Address, Method, NccoError, event_url, is_false, present},
};

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
        event_url(self.event_url.as_ref())
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
