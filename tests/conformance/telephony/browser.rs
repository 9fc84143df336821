//! A browser on its socket, in memory and on a paused clock.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use jiff::Timestamp;
use novavoice::{
    audio::{AudioFrame, FRAME},
    telephony::{
        browser::{self, Browser, BrowserConfig},
        channel::ChannelTokens,
    },
    testkit::conformance::{self, telephony::RemoteParty},
};
use serde_json::Value;
use tokio::{sync::mpsc, time::interval};
use tokio_tungstenite::tungstenite::Message;

use crate::line::{Server, Socket};

/// A person with a browser, which plays what comes at the pace of speech.
pub(super) struct Client {
    acts: mpsc::Sender<Message>,
    heard: Arc<Mutex<Vec<i16>>>,
}

#[async_trait]
impl RemoteParty for Client {
    fn has_keys(&self) -> bool {
        false
    }

    async fn speak(&mut self, frame: AudioFrame) {
        self.act(Message::Binary(frame.into_pcm())).await;
    }

    async fn press(&mut self, key: char) {
        unreachable!("a browser has no key {key}");
    }

    async fn hang_up(&mut self) {
        self.act(Message::text(r#"{"type":"stopAudio"}"#)).await;
    }

    async fn heard(&mut self) -> Vec<i16> {
        self.heard.lock().expect("never poisoned").clone()
    }

    async fn ended(&mut self) {
        self.acts.closed().await;
    }
}

impl Client {
    async fn act(&self, message: Message) {
        // Lost once the call is over.
        let _ = self.acts.send(message).await;
    }

    fn on(socket: Socket) -> Self {
        let (acts, orders) = mpsc::channel(1);
        let heard = Arc::default();
        tokio::spawn(run(socket, orders, Arc::clone(&heard)));
        Self { acts, heard }
    }
}

/// Plays, sends and obeys until either side closes the socket.
async fn run(
    Socket(mut socket): Socket,
    mut orders: mpsc::Receiver<Message>,
    heard: Arc<Mutex<Vec<i16>>>,
) {
    let mut playing = VecDeque::new();
    let mut frame_time = interval(FRAME);
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(pcm))) => playing.push_back(pcm),
                Some(Ok(Message::Text(text))) => match Told::read(&text) {
                    Told::Play(pcm) => playing.push_back(pcm),
                    Told::Forget => playing.clear(),
                    Told::Nothing => {}
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            order = orders.recv() => {
                let Some(order) = order else { return };
                if socket.send(order).await.is_err() {
                    return;
                }
            }
            _ = frame_time.tick() => if let Some(pcm) = playing.pop_front() {
                let samples = pcm.chunks_exact(2);
                let samples = samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
                heard.lock().expect("never poisoned").extend(samples);
            },
        }
    }
}

/// What a text message tells a player.
enum Told {
    Play(Bytes),
    Forget,
    Nothing,
}

impl Told {
    fn read(text: &str) -> Self {
        let json: Value = serde_json::from_str(text).expect("JSON");
        let event = &json["event"];
        if let Some(content) = event["audioOutput"]["content"].as_str() {
            return Self::Play(BASE64_STANDARD.decode(content).expect("base64").into());
        }
        match event["textOutput"]["content"].as_str() {
            Some(r#"{ "interrupted" : true }"#) => Self::Forget,
            _ => Self::Nothing,
        }
    }
}

/// A service that a browser calls, and the person at it, who gets audio as binary messages or
/// as text.
pub(super) async fn call(binary: bool) -> (Browser, Client) {
    let config = BrowserConfig::new("https://esther.test", ChannelTokens::random());
    let browser = Browser::new(config);
    let server = Server::start(browser::router(&browser));
    let channel = browser.create_channel(Timestamp::now());
    let wish = if binary { "&audio=binary" } else { "" };
    let url = format!("{}{wish}", channel.url.reveal());
    let mut socket = server.connect(&url).await;
    socket.text(r#"{"type":"audioStart"}"#).await;
    (browser, Client::on(socket))
}

#[tokio::test(start_paused = true)]
async fn browsers_keep_the_contract_with_binary_audio_and_with_base64() {
    for binary in [true, false] {
        conformance::telephony(async || call(binary).await).await;
    }
}
