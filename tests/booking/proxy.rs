//! Stands between a client and a server, and takes one kind of request away.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// Requests to write are taken in and not passed on: the connection ends instead.
    pub(crate) drops_writes: Arc<AtomicBool>,
    /// They are passed on, and the answer is withheld for ever.
    pub(crate) withholds: Arc<AtomicBool>,
    /// An answer is being withheld.
    pub(crate) withheld: Arc<Notify>,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let proxy = Self {
            port: listener.local_addr().expect("an address").port(),
            drops_writes: Arc::default(),
            withholds: Arc::default(),
            withheld: Arc::default(),
        };
        let (drops, withholds) = (
            Arc::clone(&proxy.drops_writes),
            Arc::clone(&proxy.withholds),
        );
        let withheld = Arc::clone(&proxy.withheld);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let flags = (Arc::clone(&drops), Arc::clone(&withholds));
                tokio::spawn(pass(client, server, flags, Arc::clone(&withheld)));
            }
        });
        proxy
    }
}

async fn pass(
    client: TcpStream,
    server: u16,
    (drops, withholds): (Arc<AtomicBool>, Arc<AtomicBool>),
    withheld: Arc<Notify>,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
        let piece = &bytes[..count];
        let is_write = piece.starts_with(b"PUT ") || piece.starts_with(b"DELETE ");
        if is_write && drops.load(Ordering::SeqCst) {
            break;
        }
        if is_write && withholds.load(Ordering::SeqCst) {
            answers.abort();
            to_server.write_all(piece).await.ok();
            withheld.notify_one();
            std::future::pending::<()>().await;
        }
        if to_server.write_all(piece).await.is_err() {
            break;
        }
    }
    answers.abort();
}
