//! What only a real network shows: resets, and bytes on their way.

use std::time::Duration;

use axum::serve::ListenerExt;
use futures::{SinkExt, StreamExt};
use jiff::Timestamp;
use novavoice::telephony::{
    Telephony,
    browser::{Browser, BrowserConfig},
    channel::ChannelTokens,
    socket::{self, SocketConfig, Sockets},
    vonage::{self, Vonage, VonageConfig},
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

use crate::carrier::{CALL, claims, credentials, inbound, sign};

/// A listener and its address.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

/// A connection that is dropped with unread bytes is reset, and the reset would overtake the
/// close frame: the client would never learn why.
#[tokio::test]
async fn a_client_that_sends_too_much_is_still_told_why() {
    let (listener, address) = listen().await;
    let tokens = ChannelTokens::random();
    let browser = Browser::new(BrowserConfig::new(address, tokens.clone()));
    let sockets = Sockets::new(tokens, SocketConfig::default()).with_browser(&browser);
    let listener = listener.tap_io(|tcp| tcp.set_nodelay(true).unwrap());
    tokio::spawn(axum::serve(listener, socket::router(sockets)).into_future());
    for megabytes in [1, 4] {
        let channel = browser.create_channel(Timestamp::now());
        let (mut socket, _) = connect_async(channel.url.reveal()).await.unwrap();
        let huge = Message::binary(vec![0; megabytes << 20]);
        socket.send(huge).await.unwrap();
        let close = loop {
            let next = tokio::time::timeout(Duration::from_secs(10), socket.next());
            if let Message::Close(frame) = next.await.unwrap().unwrap().unwrap() {
                break frame.unwrap();
            }
        };
        assert_eq!(close.code, CloseCode::Size);
    }
}

#[tokio::test]
async fn a_whole_call_goes_over_a_real_network() {
    let (listener, address) = listen().await;
    let mut config = VonageConfig::new(address.clone());
    config.credentials = credentials();
    let vonage = Vonage::new(config).unwrap();
    tokio::spawn(axum::serve(listener, vonage::router(&vonage)).into_future());

    let body = inbound().to_string();
    let answer = reqwest::Client::new()
        .post(format!("{address}/webhooks/answer"))
        .header("authorization", sign(&claims(body.as_bytes())))
        .body(body);
    let ncco = answer.send().await.unwrap().bytes().await.unwrap();
    let ncco: Value = serde_json::from_slice(&ncco).unwrap();
    let uri = ncco[0]["endpoint"][0]["uri"].as_str().unwrap();
    let (mut socket, _) = connect_async(uri).await.unwrap();
    let first = r#"{"event":"websocket:connected","content-type":"audio/l16;rate=16000"}"#;
    socket.send(Message::text(first)).await.unwrap();
    let leg = vonage.answer().await.unwrap();
    assert_eq!(leg.info.id.as_str(), CALL);
    drop(leg);
    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else {
        panic!("the socket is closed with the leg");
    };
    assert_eq!(close.code, CloseCode::Normal);
}
