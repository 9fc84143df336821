//! One open socket: reading with limits, writing without getting stuck, closing by the book.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    SocketConfig,
    registry::{Entry, Tally},
};
use crate::clock;

pub(super) type Ws = WebSocketStream<Box<dyn Io>>;

/// What a socket runs on: a connection of the server, or a pipe in tests.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open socket.
pub(crate) struct Connection {
    stream: SplitStream<Ws>,
    sink: SplitSink<Ws, Message>,
    entry: Entry,
    config: SocketConfig,
}

/// A message with content. The opcode alone says which kind it is.
#[derive(Debug)]
pub(crate) enum Inbound {
    Text(Utf8Bytes),
    Binary(Bytes),
}

/// Why nothing more comes from a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer closed it; the answer to its close frame may still be on its way.
    Closed,
    /// The connection broke, or the peer fell silent.
    Lost,
    /// Nothing came for [`SocketConfig::idle`].
    Idle,
    /// The peer broke a rule; the close frame says which.
    Violation(CloseCode, &'static str),
}

impl Connection {
    pub(super) fn new(ws: Ws, entry: Entry, config: SocketConfig) -> Self {
        let (sink, stream) = ws.split();
        Self {
            stream,
            sink,
            entry,
            config,
        }
    }

    /// Both directions, to be used side by side.
    pub(crate) fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        let now = clock::now();
        let reader = Reader {
            stream: &mut self.stream,
            config: self.config,
            pongs_count: false,
            heard: now,
            last_message: now,
        };
        (reader, Writer(&mut self.sink))
    }

    /// How often the peer must be pinged.
    pub(crate) const fn ping_interval(&self) -> Duration {
        self.config.ping
    }

    /// The socket carries a call from now on, or no longer.
    pub(crate) fn set_active(&self, active: bool) {
        self.entry.set_active(active);
    }

    /// What this socket counts into.
    pub(crate) fn counters(&self) -> Tally {
        self.entry.tally()
    }

    /// Closes the socket as its end demands.
    pub(crate) async fn finish(mut self, end: End) {
        match end {
            End::Closed => self.drain().await,
            End::Lost => {}
            End::Idle => {
                self.close(CloseCode::Away, "nothing came for too long")
                    .await
            }
            End::Violation(code, reason) => {
                self.counters().violation();
                self.send_close(code, reason).await;
                self.linger().await;
            }
        }
    }

    /// Closes the socket with `code` and waits a moment for the peer to agree.
    pub(crate) async fn close(mut self, code: CloseCode, reason: &str) {
        self.send_close(code, reason).await;
        self.drain().await;
    }

    async fn send_close(&mut self, code: CloseCode, reason: &str) {
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = Utf8Bytes::from(&reason[..end]);
        let close = Message::Close(Some(CloseFrame { code, reason }));
        // A peer that is gone by now needs no goodbye.
        let _ = timeout(GOODBYE, self.sink.send(close)).await;
    }

    /// Reads up to the end of the closing handshake, which also sends what the library owes.
    async fn drain(&mut self) {
        let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
        let _ = timeout(GOODBYE, rest).await;
    }

    /// After a violation the library reads no further, but a connection that is dropped with
    /// unread bytes is reset, and a reset overtakes the close frame. So end our side, and swallow
    /// what the peer is still sending.
    async fn linger(self) {
        let Ok(mut ws) = self.stream.reunite(self.sink) else {
            return;
        };
        let io = ws.get_mut();
        let swallow = async {
            io.shutdown().await?;
            let mut left = MAX_SWALLOWED;
            let mut sink = [0; 8 * 1024];
            loop {
                match io.read(&mut sink).await? {
                    0 => return std::io::Result::Ok(()),
                    read if read < left => left -= read,
                    _ => return Ok(()),
                }
            }
        };
        let _ = timeout(GOODBYE, swallow).await;
    }
}

/// The reading half.
pub(crate) struct Reader<'a> {
    stream: &'a mut SplitStream<Ws>,
    config: SocketConfig,
    pongs_count: bool,
    heard: Instant,
    last_message: Instant,
}

impl Reader<'_> {
    /// Lets pongs keep the socket open: its peer has times when it has nothing to say.
    #[cfg_attr(
        not(feature = "vonage"),
        expect(dead_code, reason = "browsers have no use for it")
    )]
    pub(crate) const fn count_pongs(&mut self) {
        self.pongs_count = true;
    }

    /// The next message with content. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Inbound, End> {
        loop {
            let message = match timeout_at(self.deadline().into(), self.stream.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return Err(End::from(&error)),
                Ok(None) => return Err(End::Lost),
                Err(_) if self.deadline() == self.silence() => return Err(End::Lost),
                Err(_) => return Err(End::Idle),
            };
            self.heard = clock::now();
            if self.pongs_count {
                self.last_message = self.heard;
            }
            let inbound = match message {
                Message::Text(text) => Inbound::Text(text),
                Message::Binary(bytes) => Inbound::Binary(bytes),
                Message::Close(_) => return Err(End::Closed),
                // The library answers pings by itself and never yields raw frames.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            self.last_message = self.heard;
            return Ok(inbound);
        }
    }

    fn deadline(&self) -> Instant {
        let idle = self.last_message + self.config.idle;
        idle.min(self.silence())
    }

    /// When three pings and a bit have gone unanswered.
    fn silence(&self) -> Instant {
        self.heard + self.config.ping * 7 / 2
    }
}

impl From<&Error> for End {
    fn from(error: &Error) -> Self {
        use tokio_tungstenite::tungstenite::error::ProtocolError;
        match error {
            Error::Capacity(_) => Self::Violation(CloseCode::Size, "the message is over 64 KiB"),
            Error::Utf8(_) => Self::Violation(CloseCode::Invalid, "the text is not UTF-8"),
            Error::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
            ) => Self::Lost,
            Error::Protocol(_) => {
                Self::Violation(CloseCode::Protocol, "that is not the WebSocket protocol")
            }
            _ => Self::Lost,
        }
    }
}

/// The writing half. A peer that takes nothing for ten seconds counts as lost.
pub(crate) struct Writer<'a>(&'a mut SplitSink<Ws, Message>);

impl Writer<'_> {
    /// Queues a message; [`flush`](Self::flush) sends it.
    pub(crate) async fn feed(&mut self, message: Message) -> Result<(), End> {
        patiently(self.0.feed(message)).await
    }

    /// Sends everything queued.
    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        patiently(self.0.flush()).await
    }

    /// Asks the peer whether it is there.
    pub(crate) async fn ping(&mut self) -> Result<(), End> {
        self.feed(Message::Ping(Bytes::new())).await?;
        self.flush().await
    }
}

async fn patiently(sent: impl Future<Output = Result<(), Error>>) -> Result<(), End> {
    match timeout(STALL, sent).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Lost),
    }
}

/// How long a peer may take nothing. The caller has heard silence all the while.
const STALL: Duration = Duration::from_secs(10);
/// How long a closing handshake may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// A close frame has 125 bytes, two of them for the code (RFC 6455, 5.5).
const MAX_REASON: usize = 123;
/// What a peer may still have been sending when it was told to stop.
const MAX_SWALLOWED: usize = 16 * 1024 * 1024;
