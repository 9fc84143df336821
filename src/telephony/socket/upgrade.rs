//! From an HTTP request to a socket.

use axum::{
    extract::{FromRequestParts, Query, RawPathParams, Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::server::create_response,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{Sockets, Wishes, connection::Io, refused};
use crate::{clock, telephony::problem::problem};

/// The longest message, in either direction of reading: contract and memory limit at once.
const MAX_MESSAGE: usize = 64 * 1024;

/// Upgrades a request with a good token, and spends the token.
pub(super) async fn upgrade(State(sockets): State<Sockets>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    match prepare(&sockets, &mut parts).await {
        Ok((response, upgrade, channel, wishes)) => {
            tokio::spawn(async move {
                let Ok(upgraded) = upgrade.await else {
                    tracing::debug!("a socket was gone before its upgrade was done");
                    return;
                };
                let io: Box<dyn Io> = Box::new(TokioIo::new(upgraded));
                let limits = WebSocketConfig::default()
                    .read_buffer_size(READ_BUFFER)
                    .write_buffer_size(WRITE_BUFFER)
                    .max_write_buffer_size(MAX_UNSENT)
                    .max_message_size(Some(MAX_MESSAGE))
                    .max_frame_size(Some(MAX_MESSAGE));
                let ws = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await;
                Box::pin(sockets.serve(ws, channel, wishes)).await;
            });
            response
        }
        Err(refusal) => {
            sockets.registry.counters().refused();
            refusal
        }
    }
}

async fn prepare(
    sockets: &Sockets,
    parts: &mut Parts,
) -> Result<(Response, OnUpgrade, String, Wishes), Response> {
    let (channel, token, wishes) = credentials(parts).await?;
    let now = clock::wall();
    sockets
        .tokens
        .check(&token, &channel, now)
        .map_err(|error| refused(&error.to_string()))?;
    for dialect in &sockets.dialects {
        dialect.admit(&parts.headers).map_err(|why| refused(&why))?;
    }
    // From here on everybody is who they say; a plain GET must not cost them their token.
    let not_a_socket = |detail: &str| {
        let mut response = problem(StatusCode::UPGRADE_REQUIRED, detail);
        let websocket = HeaderValue::from_static("websocket");
        response.headers_mut().insert(header::UPGRADE, websocket);
        response
    };
    let Some(on_upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        return Err(not_a_socket("this connection cannot become a websocket"));
    };
    let mut handshake = axum::http::Request::new(());
    *handshake.method_mut() = parts.method.clone();
    *handshake.version_mut() = parts.version;
    *handshake.headers_mut() = parts.headers.clone();
    let response = create_response(&handshake).map_err(|error| not_a_socket(&error.to_string()))?;
    sockets
        .tokens
        .redeem_everywhere(&token, &channel, now)
        .await
        .map_err(|error| refused(&error.to_string()))?;
    let response = response.map(|()| axum::body::Body::empty()).into_response();
    Ok((response, on_upgrade, channel, wishes))
}

#[derive(Deserialize)]
struct Address {
    channel: Option<String>,
    token: Option<String>,
    audio: Option<String>,
}

/// The channel and the token of a request: from the query, the channel also from the path.
async fn credentials(parts: &mut Parts) -> Result<(String, String, Wishes), Response> {
    let Ok(Query(address)) = Query::<Address>::try_from_uri(&parts.uri) else {
        return Err(refused("the query of the socket's address cannot be read"));
    };
    let channel = match address.channel {
        Some(channel) => Some(channel),
        None => RawPathParams::from_request_parts(parts, &())
            .await
            .ok()
            .and_then(|path| path.iter().next().map(|(_, rest)| rest.to_owned())),
    };
    let (Some(channel), Some(token)) = (channel, address.token) else {
        return Err(refused("a socket opens with a channel and a token"));
    };
    let wishes = Wishes {
        binary_audio: address.audio.as_deref() == Some("binary"),
    };
    Ok((channel, token, wishes))
}

/// Six frames; longer messages get the room that they say they need. Frames that wait keep the
/// buffers in which they came: with the library's default, 128 KiB each, these would be most of a
/// socket's memory.
const READ_BUFFER: usize = 4 * 1024;
/// Half a second of frames: what has gone in here no clear can overtake.
const WRITE_BUFFER: usize = 16 * 1024;
/// Answers to the pings of a peer that does not read them end here; without an end they would
/// take all memory. Room for the longest message that anybody writes beside them.
const MAX_UNSENT: usize = 256 * 1024;
