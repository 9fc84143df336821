//! Browsers and other apps that call over a socket of their own: a softphone, a test page.
//!
//! A client gets a channel, connects, and speaks JSON for control and binary messages of 16 kHz
//! L16 for its microphone. The call begins with `audioStart` and ends with `stopAudio` or with
//! the socket.

mod call;
mod wire;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use axum::Router;
use jiff::Timestamp;

use self::wire::Control;
use crate::{
    call::CallId,
    error::ProviderError,
    lead::PhoneNumber,
    private::Private,
    telephony::{
        DialOptions, Dialled, Leg, Telephony,
        admission::Admission,
        arrivals::Arrivals,
        cannot_dial,
        channel::ChannelTokens,
        socket::{self, Dialect, Greeting, SocketConfig, Sockets},
    },
};

/// Callers from browsers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Browser(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: BrowserConfig,
    arrivals: Arrivals,
    /// Channels with a socket that has introduced itself.
    taken: Mutex<HashSet<String>>,
}

/// How browsers reach the service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrowserConfig {
    /// How clients reach this service; socket addresses derive from it. Default:
    /// `http://127.0.0.1:3000`.
    pub public_url: String,
    /// What opens a socket. Default: tokens of this process alone.
    pub tokens: ChannelTokens,
    /// Whether there is room for another call. Default: always.
    pub admission: Admission,
    /// What a client is told when there is none.
    pub busy_message: String,
}

impl BrowserConfig {
    /// Sockets below `public_url` that open with `tokens`.
    #[must_use]
    pub fn new(public_url: impl Into<String>, tokens: ChannelTokens) -> Self {
        Self {
            public_url: public_url.into(),
            tokens,
            ..Self::default()
        }
    }
}

impl Default for BrowserConfig {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:3000".to_owned(),
            tokens: ChannelTokens::default(),
            admission: Admission::default(),
            busy_message: "All lines are busy. Please try again in a moment.".to_owned(),
        }
    }
}

/// Where a client may connect, once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Channel {
    /// The id of the channel, and of the call on it.
    pub id: String,
    /// Opens one socket on it within [`LIFE`](crate::telephony::channel::LIFE).
    pub token: Private<String>,
    /// The address to connect to; contains the token.
    pub url: Private<String>,
}

/// The socket routes of a service that has browsers and no carrier. With a carrier, give both to
/// one [`Sockets`] and mount [`socket::router`].
pub fn router(browser: &Browser) -> Router {
    let tokens = browser.0.config.tokens.clone();
    socket::router(Sockets::new(tokens, SocketConfig::default()).with_browser(browser))
}

impl Browser {
    /// Takes calls as `config` says.
    #[must_use]
    pub fn new(config: BrowserConfig) -> Self {
        Self(Arc::new(Inner {
            config,
            arrivals: Arrivals::new("browser"),
            taken: Mutex::default(),
        }))
    }

    /// A fresh channel for one client.
    #[must_use]
    pub fn create_channel(&self, now: Timestamp) -> Channel {
        let BrowserConfig {
            public_url, tokens, ..
        } = &self.0.config;
        let id = CallId::random().to_string();
        let token = tokens.issue(&id, now);
        let url = socket::address(public_url, &id, &token);
        Channel {
            id,
            token: token.into(),
            url: url.into(),
        }
    }

    /// Takes no further call; calls that wait are still answered, then
    /// [`answer`](Telephony::answer) says [`Closed`](crate::ProviderErrorKind::Closed).
    pub fn close(&self) {
        self.0.arrivals.close();
    }

    /// Reserves a channel, unless another socket has it.
    fn take(&self, channel: &str) -> Option<Taken> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(channel.to_owned()).then(|| Taken {
            browser: self.clone(),
            channel: channel.to_owned(),
        })
    }
}

#[async_trait]
impl Telephony for Browser {
    async fn answer(&self) -> Result<Leg, ProviderError> {
        self.0.arrivals.answer().await
    }

    fn can_dial(&self) -> bool {
        false
    }

    async fn dial(&self, _: &PhoneNumber, _: DialOptions) -> Result<Dialled, ProviderError> {
        Err(cannot_dial("browser"))
    }
}

impl Dialect for Browser {
    fn greet(&self, text: &str) -> Greeting {
        let Some(first) = Control::read(text) else {
            return Greeting::Unknown;
        };
        let browser = self.clone();
        Greeting::Taken(Box::new(move |visitor| {
            Box::pin(call::visit(browser, visitor, first))
        }))
    }
}

/// A channel that is in use for as long as this lives.
struct Taken {
    browser: Browser,
    channel: String,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let taken = self.browser.0.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.channel);
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Taken").field(&self.channel).finish()
    }
}
