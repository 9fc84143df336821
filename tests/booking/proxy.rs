//! Stands between a client and a server, and does not pass on all that is asked.

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
    pub(crate) faults: Arc<Faults>,
}

/// What it does wrong.
#[derive(Default)]
pub(crate) struct Faults {
    /// Requests to write are not passed on: the connection ends instead.
    pub(crate) drops_writes: AtomicBool,
    /// They are passed on, and the answer is withheld for ever.
    pub(crate) withholds: AtomicBool,
    /// The wish that recurring events be expanded is left out.
    pub(crate) keeps_rules: AtomicBool,
    /// An answer is being withheld.
    pub(crate) withheld: Notify,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let faults = Arc::<Faults>::default();
        let passing = Arc::clone(&faults);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, Arc::clone(&passing)));
            }
        });
        Self { port, faults }
    }
}

async fn pass(client: TcpStream, server: u16, faults: Arc<Faults>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
        let piece = &mut bytes[..count];
        let is_write = piece.starts_with(b"PUT ") || piece.starts_with(b"DELETE ");
        if is_write && faults.drops_writes.load(Ordering::SeqCst) {
            break;
        }
        if is_write && faults.withholds.load(Ordering::SeqCst) {
            answers.abort();
            to_server.write_all(piece).await.ok();
            faults.withheld.notify_one();
            std::future::pending::<()>().await;
        }
        if faults.keeps_rules.load(Ordering::SeqCst) {
            blank(piece, b"<C:expand", b"/>");
        }
        if to_server.write_all(piece).await.is_err() {
            break;
        }
    }
    answers.abort();
}

/// Makes what is between these spaces, so that it is as long as before.
fn blank(text: &mut [u8], from: &[u8], to: &[u8]) {
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|part| part == what);
    if let Some(start) = find(text, from)
        && let Some(length) = find(&text[start..], to)
    {
        text[start..start + length + to.len()].fill(b' ');
    }
}
