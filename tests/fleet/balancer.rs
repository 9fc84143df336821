//! What stands before the nodes: gives each connection to any of those that live.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use uuid::Uuid;

/// The addresses of the nodes; `None` for one that takes nothing.
pub(crate) type Nodes = Arc<Mutex<Vec<Option<String>>>>;

/// Who takes connections at this moment, in any order.
pub(crate) fn alive(nodes: &Nodes) -> Vec<String> {
    let nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
    let mut alive: Vec<String> = nodes.iter().flatten().cloned().collect();
    if alive.len() > 1 {
        let shift = usize::from(Uuid::new_v4().as_bytes()[0]) % alive.len();
        alive.rotate_left(shift);
    }
    alive
}

/// Listens for as long as the test runs; answers with `http://127.0.0.1:PORT`.
pub(crate) async fn serve(nodes: Nodes) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((peer, _)) = listener.accept().await {
            let nodes = Arc::clone(&nodes);
            tokio::spawn(async move {
                // Either end may break off: one of them is killed now and then.
                let _ = pass(peer, &nodes).await;
            });
        }
    });
    format!("http://{address}")
}

async fn pass(mut peer: TcpStream, nodes: &Nodes) -> std::io::Result<()> {
    peer.set_nodelay(true)?;
    let head = head(&mut peer).await?;
    for _ in 0..TRIES {
        for address in alive(nodes) {
            let Ok(Ok(mut node)) = timeout(CONNECT, TcpStream::connect(&address)).await else {
                continue;
            };
            node.set_nodelay(true)?;
            node.write_all(&head).await?;
            copy_bidirectional(&mut peer, &mut node).await?;
            return Ok(());
        }
        sleep(PAUSE).await;
    }
    peer.write_all(
        b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    )
    .await
}

/// The head of a request, which asks for a connection of its own: the next one goes elsewhere.
async fn head(peer: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|it| it == b"\r\n\r\n") {
            break at + 2;
        }
        if head.len() > LONGEST || peer.read_buf(&mut head).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let is_socket = String::from_utf8_lossy(&head[..end])
        .to_ascii_lowercase()
        .contains("\r\nupgrade: websocket");
    if !is_socket {
        head.splice(end..end, *b"connection: close\r\n");
    }
    Ok(head)
}

/// Whoever finds nobody alive waits for two seconds.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(1);
const LONGEST: usize = 64 * 1024;
