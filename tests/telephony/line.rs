//! A server on pipes, and clients for it: everything real but the network.

use std::{io, time::Duration};

use axum::{Router, serve::Listener};
use futures::{SinkExt, StreamExt};
use novavoice::telephony::{CallCommand, CallEvent, Leg};
use serde_json::Value;
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::client::Request,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// A server that runs as long as the test.
#[derive(Clone)]
pub(crate) struct Server(mpsc::Sender<DuplexStream>);

struct Pipes(mpsc::Receiver<DuplexStream>);

impl Listener for Pipes {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(pipe) => (pipe, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A client's socket.
pub(crate) struct Socket(pub(crate) WebSocketStream<DuplexStream>);

impl Server {
    pub(crate) fn start(router: Router) -> Self {
        let (dial, pipes) = mpsc::channel(1);
        tokio::spawn(axum::serve(Pipes(pipes), router).into_future());
        Self(dial)
    }

    pub(crate) async fn pipe(&self) -> DuplexStream {
        self.pipe_of(256 * 1024).await
    }

    async fn pipe_of(&self, bytes: usize) -> DuplexStream {
        let (client, server) = tokio::io::duplex(bytes);
        self.0.send(server).await.unwrap();
        client
    }

    /// Connects to `url` over a pipe that holds so many bytes each way.
    pub(crate) async fn connect_over(&self, bytes: usize, url: &str) -> Socket {
        let request = request(url);
        let (socket, _) = client_async(request, self.pipe_of(bytes).await)
            .await
            .expect("the upgrade");
        Socket(socket)
    }

    /// Connects to `url`, whatever its host.
    pub(crate) async fn connect(&self, url: &str) -> Socket {
        self.try_connect(url).await.expect("the upgrade")
    }

    /// Connects to `url`, or says with which status and body that was refused.
    pub(crate) async fn try_connect(&self, url: &str) -> Result<Socket, (u16, Value)> {
        self.try_connect_as(url, None).await
    }

    pub(crate) async fn try_connect_as(
        &self,
        url: &str,
        authorization: Option<&str>,
    ) -> Result<Socket, (u16, Value)> {
        let mut request = request(url);
        if let Some(authorization) = authorization {
            let authorization = authorization.parse().unwrap();
            request.headers_mut().insert("authorization", authorization);
        }
        match client_async(request, self.pipe().await).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(response)) => {
                let kind = response.headers()["content-type"].clone();
                assert_eq!(kind, "application/problem+json");
                let body = response.body().as_deref().unwrap_or_default();
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                Err((response.status().as_u16(), body))
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// An upgrade request for `url`, whatever its host.
fn request(url: &str) -> Request {
    let path = url.split_once("://").map_or(url, |(_, rest)| {
        rest.find('/').map_or("/", |slash| &rest[slash..])
    });
    format!("ws://esther.test{path}")
        .into_client_request()
        .unwrap()
}

impl Socket {
    pub(crate) async fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn audio(&mut self, pcm: impl Into<Vec<u8>>) {
        self.0.send(Message::binary(pcm.into())).await.unwrap();
    }

    /// The next message with content.
    pub(crate) async fn message(&mut self) -> Message {
        loop {
            match self.next().await {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next message, pings included.
    pub(crate) async fn next(&mut self) -> Message {
        let next = tokio::time::timeout(Duration::from_secs(3600), self.0.next());
        next.await.expect("a message").expect("no end").unwrap()
    }

    pub(crate) async fn json(&mut self) -> Value {
        let message = self.message().await;
        let text = message.to_text().expect("a text");
        serde_json::from_str(text).expect("JSON")
    }

    /// Reads up to the close frame.
    pub(crate) async fn closed(&mut self) -> CloseFrame {
        loop {
            if let Message::Close(frame) = self.message().await {
                return frame.expect("a close frame with a code");
            }
        }
    }

    pub(crate) async fn close_code(&mut self) -> CloseCode {
        self.closed().await.code
    }

    /// Writes raw bytes under the WebSocket layer.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        let pipe = self.0.get_mut();
        pipe.write_all(bytes).await.unwrap();
        pipe.flush().await.unwrap();
    }

    /// Everything that comes within the next `span`.
    pub(crate) async fn within(&mut self, span: Duration) -> Vec<Message> {
        let mut messages = Vec::new();
        let end = tokio::time::Instant::now() + span;
        while let Ok(Some(Ok(message))) = tokio::time::timeout_at(end, self.0.next()).await {
            if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                messages.push(message);
            }
        }
        messages
    }
}

/// The next event of a leg; `None` is the end.
pub(crate) async fn event(leg: &mut Leg) -> Option<CallEvent> {
    let next = tokio::time::timeout(Duration::from_secs(3600), leg.duplex.events.recv());
    next.await.expect("an event").map(|event| event.unwrap())
}

pub(crate) async fn command(leg: &Leg, command: CallCommand) {
    leg.duplex.commands.send(command).await.unwrap();
}
