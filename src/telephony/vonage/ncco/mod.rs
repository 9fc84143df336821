//! Call control objects: what Vonage does with a call, as the answer to its webhooks.
//!
//! Source: Vonage Voice API "NCCO reference".
//!
//! ```
//! use novavoice::{
//!     audio::SampleRate,
//!     telephony::vonage::ncco::{Authorization, Connect, Ncco, Talk, WebsocketEndpoint},
//! };
//!
//! let socket = WebsocketEndpoint::new("wss://agent.example.com/socket", SampleRate::Hz16000)
//!     .header("uuid", "63f61863-4a51-4f6b-86e1-46edebcf9356")
//!     .authorization(Authorization::Vonage);
//! let ncco = Ncco::builder()
//!     .then(Talk::new("One moment, please."))
//!     .then(Connect::to(socket).synchronous_events())
//!     .build()?;
//! assert!(ncco.to_json().starts_with(r#"[{"action":"talk""#));
//! # Ok::<(), novavoice::telephony::vonage::ncco::NccoError>(())
//! ```

mod talk;
pub use talk::{Stream, Talk, Wait};

mod connect;
pub use connect::{AdvancedMachineDetection, Connect, DetectionMode, OnMachine};

mod endpoint;
pub use endpoint::{Authorization, Endpoint, PhoneEndpoint, SipEndpoint, WebsocketEndpoint};

mod input;
pub use input::{DtmfSettings, Input, SpeechSettings};

mod record;
pub use record::{Record, RecordFormat, Transcription};

mod conversation;
pub use conversation::{Conversation, Transfer};

mod notify;
pub use notify::Notify;

mod check;
pub use check::{Method, NccoError};

use serde::Serialize;

/// A valid call control object: actions that Vonage performs one after the other. The call ends
/// when none is left, so an empty one ends it at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Ncco(Vec<Action>);

impl Ncco {
    /// Starts with no action.
    pub const fn builder() -> NccoBuilder {
        NccoBuilder {
            actions: Vec::new(),
            after_websocket: false,
        }
    }

    /// The actions in order.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.0
    }

    /// The JSON array that Vonage takes, to be served as `application/json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("actions have text keys and no fallible field")
    }
}

/// Puts an [`Ncco`] together.
#[derive(Clone, Debug)]
#[must_use]
pub struct NccoBuilder {
    actions: Vec<Action>,
    after_websocket: bool,
}

impl NccoBuilder {
    /// Adds an action after all others.
    pub fn then(mut self, action: impl Into<Action>) -> Self {
        self.actions.push(action.into());
        self
    }

    /// Allows actions after a connection to a websocket. Vonage performs them as soon as the
    /// socket is up and not when it closes: a farewell placed there greets the caller.
    pub const fn allow_actions_after_websocket(mut self) -> Self {
        self.after_websocket = true;
        self
    }

    /// Checks every action, and all of them in their order.
    ///
    /// # Errors
    ///
    /// The first thing that Vonage would refuse or do differently from what it looks like.
    pub fn build(self) -> Result<Ncco, NccoError> {
        for (index, action) in self.actions.iter().enumerate() {
            let following = &self.actions[index + 1..];
            action.check()?;
            if action.is_websocket() && !following.is_empty() && !self.after_websocket {
                return Err(NccoError::AfterWebsocket);
            }
            if matches!(action, Action::Transfer(_)) && !following.is_empty() {
                return Err(NccoError::AfterTransfer);
            }
            let listens_next = || {
                let next = following
                    .iter()
                    .find(|next| !matches!(next, Action::Talk(_) | Action::Stream(_)));
                matches!(next, Some(Action::Input(_)))
            };
            if action.barges_in() && !listens_next() {
                return Err(NccoError::BargeInWithoutInput);
            }
        }
        Ok(Ncco(self.actions))
    }
}

/// One step of a call.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Action {
    /// Speaks a text.
    Talk(Talk),
    /// Connects the call to somebody or something.
    Connect(Box<Connect>),
    /// Records the call from here on.
    Record(Record),
    /// Joins a named conversation.
    Conversation(Conversation),
    /// Plays audio.
    Stream(Stream),
    /// Takes in keys or speech.
    Input(Input),
    /// Posts an event webhook.
    Notify(Notify),
    /// Waits.
    Wait(Wait),
    /// Moves the call to another conversation. The last action.
    Transfer(Transfer),
}

impl Action {
    fn check(&self) -> Result<(), NccoError> {
        match self {
            Self::Talk(action) => action.check(),
            Self::Connect(action) => action.check(),
            Self::Record(action) => action.check(),
            Self::Conversation(action) => action.check(),
            Self::Stream(action) => action.check(),
            Self::Input(action) => action.check(),
            Self::Notify(action) => action.check(),
            Self::Wait(action) => action.check(),
            Self::Transfer(action) => action.check(),
        }
    }

    fn is_websocket(&self) -> bool {
        matches!(self, Self::Connect(connect) if connect.is_websocket())
    }

    fn barges_in(&self) -> bool {
        match self {
            Self::Talk(talk) => talk.barges_in(),
            Self::Stream(stream) => stream.barges_in(),
            _ => false,
        }
    }
}

macro_rules! from {
    ($($action:ident),+) => {$(
        impl From<$action> for Action {
            fn from(action: $action) -> Self {
                Self::$action(action)
            }
        }
    )+};
}

from!(
    Talk,
    Record,
    Conversation,
    Stream,
    Input,
    Notify,
    Wait,
    Transfer
);

impl From<Connect> for Action {
    fn from(connect: Connect) -> Self {
        Self::Connect(Box::new(connect))
    }
}
