//! Rules that hold for every media socket.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use jiff::Timestamp;
use novavoice::telephony::{
    browser::{Browser, BrowserConfig},
    channel::ChannelTokens,
    socket::{self, SocketConfig, Sockets},
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};
use tower::ServiceExt;

use crate::line::Server;

pub(crate) struct Service {
    pub(crate) tokens: ChannelTokens,
    pub(crate) sockets: Sockets,
    pub(crate) server: Server,
}

pub(crate) fn service() -> Service {
    let tokens = ChannelTokens::random();
    let browser = Browser::new(BrowserConfig::new("https://esther.test", tokens.clone()));
    let sockets = Sockets::new(tokens.clone(), SocketConfig::default()).with_browser(&browser);
    Service {
        tokens,
        server: Server::start(socket::router(sockets.clone())),
        sockets,
    }
}

impl Service {
    pub(crate) fn address(&self, channel: &str) -> String {
        let token = self.tokens.issue(channel, Timestamp::now());
        format!("/socket?channel={channel}&token={token}")
    }

    pub(crate) async fn none_left(&self) {
        while self.sockets.open_sockets() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(self.sockets.list().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_without_a_good_token_is_refused_before_the_upgrade() {
    let service = service();
    let foreign = service.tokens.issue("other", Timestamp::now());
    let old = Timestamp::now() - Duration::from_secs(61);
    let expired = service.tokens.issue("c", old);
    for address in [
        "/socket".to_owned(),
        "/socket?channel=c".to_owned(),
        format!("/socket?token={foreign}"),
        "/socket?channel=c&token=x".to_owned(),
        format!("/socket?channel=c&token={foreign}"),
        format!("/socket?channel=c&token={expired}"),
        format!("/ws?channel=c&token={foreign}"),
        format!("/ws/c?token={foreign}"),
    ] {
        let (status, problem) = service.server.try_connect(&address).await.err().unwrap();
        assert_eq!(status, 403, "{address}");
        assert_eq!(problem["status"], 403);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(service.sockets.stats().refused, 8);
    assert_eq!(service.sockets.stats().opened, 0);
}

/// Vonage checklist 64: the token in the address is refused on its second use.
#[tokio::test(start_paused = true)]
async fn a_token_opens_one_socket() {
    let service = service();
    let address = service.address("c");
    let _socket = service.server.connect(&address).await;
    let (status, problem) = service.server.try_connect(&address).await.err().unwrap();
    assert_eq!(
        (status, problem["detail"].as_str().unwrap()),
        (403, "the token was used before")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_no_websocket_costs_no_token() {
    let service = service();
    let address = service.address("c");
    let router = socket::router(service.sockets.clone());
    let get = Request::get(address.as_str()).body(Body::empty()).unwrap();
    let response = router.oneshot(get).await.unwrap();
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    let _socket = service.server.connect(&address).await;
}

#[tokio::test(start_paused = true)]
async fn every_spelling_of_the_address_opens_a_socket() {
    let service = service();
    for channel in ["c", "a b"] {
        let token = || service.tokens.issue(channel, Timestamp::now());
        let escaped = channel.replace(' ', "%20");
        for address in [
            format!("/socket?channel={escaped}&token={}", token()),
            format!("/ws?token={}&channel={escaped}&x=1", token()),
            format!("/ws/{escaped}?token={}", token()),
            format!("/ws/vonage/x?channel={escaped}&token={}", token()),
        ] {
            let _socket = service.server.connect(&address).await;
            assert_eq!(service.sockets.list()[0].id, channel);
            drop(_socket);
            service.none_left().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_says_nothing_of_sense_is_closed_after_six_seconds() {
    let service = service();
    let started = tokio::time::Instant::now();
    let mut silent = service.server.connect(&service.address("a")).await;
    let mut babbling = service.server.connect(&service.address("b")).await;
    for text in ["{", "[]", "null", r#"{"type":"hello"}"#, r#"{"event":"x"}"#] {
        babbling.text(text).await;
    }
    for _ in 0..60 {
        babbling.audio(vec![0; 640]).await;
    }
    for socket in [&mut silent, &mut babbling] {
        let close = socket.closed().await;
        assert_eq!(close.code, CloseCode::Policy);
        assert!(close.reason.contains("6s"), "{}", close.reason);
    }
    assert!(started.elapsed() >= Duration::from_secs(6));
    assert!(started.elapsed() < Duration::from_secs(7));
    let stats = service.sockets.stats();
    assert_eq!((stats.ignored_messages, stats.dropped_audio), (5, 10));
    service.none_left().await;
}

/// Sends one message to a socket before and after its introduction, and wants the same end.
async fn closes(send: impl AsyncFn(&mut crate::line::Socket), code: CloseCode) {
    let service = service();
    for introduced in [false, true] {
        let mut socket = service.server.connect(&service.address("c")).await;
        if introduced {
            socket.text(r#"{"type":"promptStart"}"#).await;
        }
        send(&mut socket).await;
        assert_eq!(socket.close_code().await, code);
        drop(socket);
        service.none_left().await;
    }
    assert_eq!(service.sockets.stats().violations, 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_over_64_kib_closes_with_1009() {
    closes(async |s| s.audio(vec![0; 65_537]).await, CloseCode::Size).await;
    closes(async |s| s.text(&" ".repeat(65_537)).await, CloseCode::Size).await;
}

#[tokio::test(start_paused = true)]
async fn fragments_count_together() {
    let halves = async |socket: &mut crate::line::Socket| {
        // Two masked fragments of 40,000 bytes each: binary, then final continuation.
        for opcode in [0x02, 0x80] {
            let mut frame = vec![opcode, 0x80 | 126];
            frame.extend_from_slice(&40_000u16.to_be_bytes());
            frame.extend_from_slice(&[0; 4 + 40_000]);
            socket.raw(&frame).await;
        }
    };
    closes(halves, CloseCode::Size).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_of_64_kib_is_fine() {
    let service = service();
    let mut socket = service.server.connect(&service.address("c")).await;
    socket.audio(vec![0; 65_536]).await;
    socket.text(r#"{"type":"stopAudio"}"#).await;
    assert_eq!(socket.close_code().await, CloseCode::Normal);
}

#[tokio::test(start_paused = true)]
async fn broken_protocol_closes_with_1002() {
    // Reserved bits set; an unmasked frame; a reserved opcode; a continuation of nothing.
    for frame in [
        &[0xf1, 0x80, 0, 0, 0, 0][..],
        &[0x81, 0x01, b'x'],
        &[0x83, 0x80, 0, 0, 0, 0],
        &[0x80, 0x80, 0, 0, 0, 0],
    ] {
        closes(async |s| s.raw(frame).await, CloseCode::Protocol).await;
    }
}

#[tokio::test(start_paused = true)]
async fn bad_utf8_closes_with_1007() {
    let text = &[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe];
    closes(async |s| s.raw(text).await, CloseCode::Invalid).await;
}

#[tokio::test(start_paused = true)]
async fn pings_are_sent_and_answered() {
    let service = service();
    let mut socket = service.server.connect(&service.address("c")).await;
    socket.text(r#"{"type":"promptStart"}"#).await;
    let asked = tokio::time::Instant::now();
    assert!(socket.next().await.is_ping());
    assert!(asked.elapsed() <= Duration::from_secs(20));
    // FIN, ping, masked with zeros, "hi".
    socket.raw(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
    assert_eq!(socket.next().await, Message::Pong("hi".into()));
}

#[tokio::test(start_paused = true)]
async fn a_channel_on_which_nothing_comes_is_closed_after_five_minutes() {
    let service = service();
    let mut socket = service.server.connect(&service.address("c")).await;
    let started = tokio::time::Instant::now();
    socket.text(r#"{"type":"promptStart"}"#).await;
    assert_eq!(socket.close_code().await, CloseCode::Away);
    assert_eq!(started.elapsed().as_secs(), 300);
    service.none_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_given_up() {
    let service = service();
    let mut socket = service.server.connect(&service.address("c")).await;
    socket.text(r#"{"type":"promptStart"}"#).await;
    let started = tokio::time::Instant::now();
    service.none_left().await;
    assert_eq!(started.elapsed().as_secs(), 70);
}

/// Vonage checklist 16: a socket that closes without any message leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn a_socket_that_closes_or_breaks_is_forgotten() {
    let service = service();
    let mut polite = service.server.connect(&service.address("a")).await;
    let broken = service.server.connect(&service.address("b")).await;
    assert_eq!(service.sockets.open_sockets(), 2);
    polite.0.close(None).await.unwrap();
    drop(broken);
    service.none_left().await;
}
