//! Connections: TCP, TLS, HTTP/2, and what a session can do to the one that carries it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::server::{self, Server};

/// Accepts connections until it is dropped; they end with it.
pub(super) async fn accept(server: Arc<Server>, listener: TcpListener, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that died before it was accepted is its peer's affair.
                let Ok((tcp, _)) = accepted else { continue };
                connections.spawn(connect(Arc::clone(&server), tcp, acceptor.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(server: Arc<Server>, tcp: TcpStream, acceptor: TlsAcceptor) {
    let index = server.connections.fetch_add(1, Ordering::Relaxed);
    // Best effort: small frames should not wait for each other.
    let _ = tcp.set_nodelay(true);
    let (commands, mut orders) = mpsc::channel(4);
    let wire = Arc::new(Wire {
        index,
        commands,
        resets: AtomicBool::new(false),
    });
    let socket = Socket {
        tcp,
        wire: Arc::clone(&wire),
    };
    let Ok(tls) = acceptor.accept(socket).await else {
        return;
    };
    let _open = OpenConnection::new(Arc::clone(&server));
    let service = service_fn({
        let (server, wire) = (Arc::clone(&server), Arc::clone(&wire));
        move |request| server::serve(Arc::clone(&server), Arc::clone(&wire), request)
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(server.options.max_concurrent_streams)
        // The protocol's default: a session that is not read stops its client within seconds.
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(4 << 20)
        .serve_connection(TokioIo::new(tls), service);
    tokio::pin!(connection);
    loop {
        tokio::select! {
            // The peer closed, or broke: its sessions know.
            _ = connection.as_mut() => break,
            Some(order) = orders.recv() => match order {
                Order::GoAway => connection.as_mut().graceful_shutdown(),
                Order::Reset => break,
            },
        }
    }
}

/// Counts a connection while it lives, however it ends.
struct OpenConnection(Arc<Server>);

impl OpenConnection {
    fn new(server: Arc<Server>) -> Self {
        server.open_connections.fetch_add(1, Ordering::Relaxed);
        Self(server)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a session can do to its connection.
pub(super) struct Wire {
    pub(super) index: usize,
    commands: mpsc::Sender<Order>,
    resets: AtomicBool,
}

enum Order {
    GoAway,
    Reset,
}

impl Wire {
    pub(super) fn go_away(&self) {
        // A full queue already holds an order that ends the connection.
        let _ = self.commands.try_send(Order::GoAway);
    }

    pub(super) fn reset(&self) {
        self.resets.store(true, Ordering::Relaxed);
        let _ = self.commands.try_send(Order::Reset);
    }
}

/// A TCP stream that ends with a reset when it was told to.
struct Socket {
    tcp: TcpStream,
    wire: Arc<Wire>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.wire.resets.load(Ordering::Relaxed) {
            // Best effort: without it the peer sees an end in place of a reset.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}
