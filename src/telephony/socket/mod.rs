//! Media sockets: who may connect, which dialect each one speaks, and which are open.
//!
//! A socket opens with a token for its channel ([`ChannelTokens`]), or not at all. Its first text
//! message decides what it is: a carrier's leg or a browser. From then on its dialect owns it;
//! what all dialects share (limits, pings, closing by the book) is in here.

mod connection;
mod feed;
mod registry;
mod upgrade;

pub(crate) use connection::{Connection, End, Inbound, Reader, Writer};
pub(crate) use feed::Feed;
pub use registry::{ChannelStatus, SocketStats};

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::get,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use self::{connection::Ws, registry::Registry};
use crate::telephony::{browser::Browser, channel::ChannelTokens};

/// All media sockets of a process, and the dialects that they may speak. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sockets {
    tokens: ChannelTokens,
    config: SocketConfig,
    dialects: Vec<Arc<dyn Dialect>>,
    registry: Arc<Registry>,
}

/// The patience of a media socket.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SocketConfig {
    /// A socket that has not introduced itself by now is closed. Default: 6 s, the time that
    /// Vonage gives a socket to open.
    pub introduction: Duration,
    /// A socket on which nothing has come for so long is closed. On a carrier's socket a pong
    /// counts too, since a muted caller sends nothing else. Default: 5 minutes.
    pub idle: Duration,
    /// How often the peer is pinged; after three unanswered pings in a row, with nothing else
    /// coming, the socket counts as lost. Default: 20 s, because proxies cut at 60.
    pub ping: Duration,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            introduction: Duration::from_secs(6),
            idle: Duration::from_secs(300),
            ping: Duration::from_secs(20),
        }
    }
}

/// The routes of the media sockets: `GET /socket?channel=&token=`, and `/ws`, `/ws/{channel}` for
/// those who spell it so. Serve them with `TCP_NODELAY` set: a frame is far smaller than a packet.
///
/// A request without a good token is refused with 403, before the upgrade.
pub fn router(sockets: Sockets) -> Router {
    Router::new()
        .route("/socket", get(upgrade::upgrade))
        .route("/ws", get(upgrade::upgrade))
        .route("/ws/{*channel}", get(upgrade::upgrade))
        .with_state(sockets)
}

impl Sockets {
    /// Sockets that open with `tokens` and speak no dialect yet.
    #[must_use]
    pub fn new(tokens: ChannelTokens, config: SocketConfig) -> Self {
        Self {
            tokens,
            config,
            dialects: Vec::new(),
            registry: Arc::default(),
        }
    }

    /// Lets sockets be legs of Vonage.
    #[cfg(feature = "vonage")]
    #[must_use]
    pub fn with_vonage(self, vonage: &crate::telephony::vonage::Vonage) -> Self {
        self.with(vonage.clone())
    }

    /// Lets sockets be browsers.
    #[must_use]
    pub fn with_browser(self, browser: &Browser) -> Self {
        self.with(browser.clone())
    }

    /// The channels that have sockets, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<ChannelStatus> {
        self.registry.list()
    }

    /// How many sockets are open.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        self.registry.open_sockets()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        self.registry.counters().snapshot()
    }

    fn with(mut self, dialect: impl Dialect) -> Self {
        self.dialects.push(Arc::new(dialect));
        self
    }

    /// Runs an upgraded socket to its end.
    async fn serve(self, ws: Ws, channel: String, wishes: Wishes) {
        let entry = self.registry.open(&channel);
        let mut connection = Connection::new(ws, entry, self.config);
        let introduction = self.config.introduction;
        let first = self.introduction(&mut connection);
        let first = tokio::time::timeout(introduction, first).await;
        match first {
            Ok(Ok(First::Taken(take, early))) => {
                let visitor = Visitor {
                    connection,
                    channel,
                    wishes,
                    early,
                };
                take(visitor).await;
            }
            Ok(Ok(First::Unsupported(reason))) => {
                connection.close(CloseCode::Unsupported, &reason).await;
            }
            Ok(Err(end)) => connection.finish(end).await,
            Err(_) => {
                let reason = format!("no valid first message within {introduction:?}");
                connection.close(CloseCode::Policy, &reason).await;
            }
        }
    }

    /// Reads up to the first text that a dialect takes. Whatever else comes, readable or not, is
    /// counted and passed over: the deadline deals with peers that never make sense.
    async fn introduction(&self, connection: &mut Connection) -> Result<First, End> {
        let (mut early, mut room) = (Vec::new(), MAX_EARLY);
        let counters = connection.counters();
        let (mut reader, _) = connection.split();
        loop {
            match reader.next().await? {
                Inbound::Binary(pcm) if pcm.len() <= room && early.len() < MAX_EARLY_PIECES => {
                    room -= pcm.len();
                    early.push(pcm);
                }
                Inbound::Binary(_) => counters.audio_dropped(),
                Inbound::Text(text) => {
                    for dialect in &self.dialects {
                        match dialect.greet(text.as_str()) {
                            Greeting::Taken(take) => return Ok(First::Taken(take, early)),
                            Greeting::Unsupported(why) => return Ok(First::Unsupported(why)),
                            Greeting::Unknown => {}
                        }
                    }
                    counters.message_ignored();
                }
            }
        }
    }
}

/// A kind of peer that a socket may turn out to have.
pub(crate) trait Dialect: fmt::Debug + Send + Sync + 'static {
    /// Whether a request with these headers may open a socket at all; an `Err` says why not.
    fn admit(&self, _headers: &HeaderMap) -> Result<(), String> {
        Ok(())
    }

    /// What the first text message means.
    fn greet(&self, text: &str) -> Greeting;
}

/// What a dialect says to a first message.
pub(crate) enum Greeting {
    /// Mine: this runs the socket to its end.
    Taken(Take),
    /// Mine, but it asks for what nobody can do (1003).
    #[cfg_attr(
        not(feature = "vonage"),
        expect(dead_code, reason = "browsers have no use for it")
    )]
    Unsupported(String),
    /// Not mine.
    Unknown,
}

pub(crate) type Take = Box<dyn FnOnce(Visitor) -> BoxFuture<'static, ()> + Send>;

/// A socket that has introduced itself.
pub(crate) struct Visitor {
    pub(crate) connection: Connection,
    /// The channel that its token was made for.
    pub(crate) channel: String,
    pub(crate) wishes: Wishes,
    /// Audio that came before the first text.
    pub(crate) early: Vec<Bytes>,
}

/// What the address of a socket asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    /// `audio=binary`: binary messages instead of base64 in JSON.
    pub(crate) binary_audio: bool,
}

enum First {
    Taken(Take, Vec<Bytes>),
    Unsupported(String),
}

/// The address of the socket of `channel` below `public_url` (`http` or `https`).
pub(crate) fn address(public_url: &str, channel: &str, token: &str) -> String {
    let base = public_url.trim_end_matches('/');
    let base = match base.split_once("://") {
        Some(("https" | "wss", rest)) => format!("wss://{rest}"),
        Some((_, rest)) => format!("ws://{rest}"),
        None => format!("wss://{base}"),
    };
    let channel = escaped(channel);
    format!("{base}/socket?channel={channel}&token={token}")
}

/// `text` as one value of a query: ids come from outside and are opaque.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Answers a request that may not open a socket.
fn refused(detail: &str) -> axum::response::Response {
    crate::telephony::problem::problem(StatusCode::FORBIDDEN, detail)
}

/// One second of a carrier that sends audio before it says who it is, at the highest rate.
const MAX_EARLY: usize = 48_000;
/// The same in frames.
const MAX_EARLY_PIECES: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_socket_derives_from_the_public_url() {
        let cases = [
            (
                "https://agent.example.com/",
                "wss://agent.example.com/socket?channel=a&token=t",
            ),
            (
                "http://127.0.0.1:3000",
                "ws://127.0.0.1:3000/socket?channel=a&token=t",
            ),
            (
                "https://example.com/esther",
                "wss://example.com/esther/socket?channel=a&token=t",
            ),
        ];
        for (public_url, socket) in cases {
            assert_eq!(address(public_url, "a", "t"), socket);
        }
        assert_eq!(
            address("https://a.example", "x&y=ä", "t"),
            "wss://a.example/socket?channel=x%26y%3D%C3%A4&token=t"
        );
    }
}
