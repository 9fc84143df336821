//! A client of the browser's dialect, and of whatever else a socket may have to bear.

use std::{collections::VecDeque, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use novavoice::{audio::SampleRate, testkit::vonage::speech};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::{
    answer::Answer,
    service::{Esther, PATIENCE},
};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A channel for one client, as the service made it.
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) url: String,
}

impl Channel {
    pub(crate) async fn create(esther: &Esther) -> Self {
        Self::from(&esther.post("/channels").await)
    }

    pub(crate) fn from(answer: &Answer) -> Self {
        assert_eq!(answer.status, 201, "{answer:?}");
        let body = answer.json();
        let text = |name: &str| body[name].as_str().expect("a text").to_owned();
        let members = body.as_object().expect("an object").len();
        assert_eq!(members, 3, "{body}");
        Self {
            id: text("id"),
            token: text("token"),
            url: text("url"),
        }
    }
}

/// Opens a socket, or says with which status that was refused.
pub(crate) async fn connect(to: impl IntoClientRequest + Unpin) -> Result<Socket, u16> {
    let connected = timeout(PATIENCE, connect_async(to)).await;
    match connected.expect("an answer in time") {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// Sends what it is given and reads up to the close frame: its code and reason.
pub(crate) async fn closed(mut socket: Socket, messages: Vec<Message>) -> (u16, String) {
    for message in messages {
        // A service that has seen enough reads no further.
        if socket.send(message).await.is_err() {
            break;
        }
    }
    loop {
        let next = timeout(PATIENCE, socket.next()).await;
        match next.expect("a close in time").expect("a close frame") {
            Ok(Message::Close(frame)) => {
                let frame = frame.expect("a code");
                return (frame.code.into(), frame.reason.to_string());
            }
            Ok(_) => {}
            Err(error) => panic!("an end without a close frame: {error}"),
        }
    }
}

/// What a client got, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Got {
    /// A piece of audio, and whether it came as a binary message.
    Audio(Bytes, bool),
    /// `contentStart`, `contentEnd`, `textOutput`, `error` with its body.
    Event(String, Value),
    /// Anything that the dialect does not know.
    Strange(String),
    /// The close frame.
    Closed(u16),
}

/// A person with a microphone: silent unless told to speak.
pub(crate) struct Softphone {
    pub(crate) id: String,
    commands: mpsc::Sender<Order>,
    got: watch::Receiver<Vec<Got>>,
}

enum Order {
    Say(Bytes),
    Text(String),
}

impl Softphone {
    /// Calls, with the microphone in pieces of this many bytes. `wishes` go behind the address.
    pub(crate) async fn call(esther: &Esther, wishes: &str, piece: usize) -> Self {
        Self::call_with(esther, wishes, piece, None).await
    }

    /// The same, with instructions of its own.
    pub(crate) async fn call_with(
        esther: &Esther,
        wishes: &str,
        piece: usize,
        prompt: Option<&str>,
    ) -> Self {
        let channel = Channel::create(esther).await;
        let socket = connect(channel.url + wishes).await.expect("a good token");
        let (commands, orders) = mpsc::channel(16);
        let (log, got) = watch::channel(Vec::new());
        tokio::spawn(talk(socket, piece, orders, log));
        let phone = Self {
            id: channel.id,
            commands,
            got,
        };
        phone.send(json!({"type": "promptStart"}).to_string()).await;
        if let Some(prompt) = prompt {
            let control = json!({"type": "systemPrompt", "data": prompt});
            phone.send(control.to_string()).await;
        }
        phone.send(json!({"type": "audioStart"}).to_string()).await;
        phone
    }

    /// Speaks for so long.
    pub(crate) async fn say(&self, length: Duration) {
        self.order(Order::Say(speech(length, SampleRate::Hz16000)))
            .await;
    }

    pub(crate) async fn send(&self, text: impl Into<String>) {
        self.order(Order::Text(text.into())).await;
    }

    async fn order(&self, order: Order) {
        let sent = self.commands.send(order).await;
        assert!(sent.is_ok(), "the socket is closed");
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.borrow().clone()
    }

    /// Waits until what came, from the message `from` on, has something for which this holds;
    /// gives the number of the message after it.
    pub(crate) async fn until(
        &self,
        what: &str,
        from: usize,
        is: impl Fn(&Got) -> bool + Send + Sync,
    ) -> usize {
        let mut got = self.got.clone();
        let found = async {
            let place = |got: &Vec<Got>| got.iter().skip(from).position(&is);
            let log = got.wait_for(|got| place(got).is_some()).await;
            place(&log.expect("an open socket")).map(|at| from + at + 1)
        };
        match timeout(PATIENCE, found).await {
            Ok(Some(next)) => next,
            _ => panic!("in vain waited for {what}: {:#?}", self.events()),
        }
    }

    /// Waits for this much more audio.
    pub(crate) async fn hears(&self, length: Duration, from: usize) -> usize {
        let frames = length.as_millis() / 20;
        let mut next = from;
        for _ in 0..frames {
            next = self
                .until("audio", next, |got| matches!(got, Got::Audio(..)))
                .await;
        }
        next
    }

    /// What came, audio left out.
    pub(crate) fn events(&self) -> Vec<Got> {
        let mut events = self.got();
        events.retain(|got| !matches!(got, Got::Audio(..)));
        events
    }
}

/// Whether this is a text of `role` that begins like this.
pub(crate) fn text(role: &'static str, begins: &'static str) -> impl Fn(&Got) -> bool {
    move |got| match got {
        Got::Event(name, body) => {
            let content = body["content"].as_str().unwrap_or_default();
            name == "textOutput" && body["role"] == role && content.starts_with(begins)
        }
        Got::Audio(..) | Got::Strange(_) | Got::Closed(_) => false,
    }
}

/// Whether this ends a reply for this reason.
pub(crate) fn reply_end(reason: &'static str) -> impl Fn(&Got) -> bool {
    move |got| match got {
        Got::Event(name, body) => name == "contentEnd" && body["stopReason"] == reason,
        Got::Audio(..) | Got::Strange(_) | Got::Closed(_) => false,
    }
}

async fn talk(
    socket: Socket,
    piece: usize,
    mut orders: mpsc::Receiver<Order>,
    log: watch::Sender<Vec<Got>>,
) {
    let (mut sink, mut stream) = socket.split();
    let mut voice = VecDeque::<u8>::new();
    let mut pending = Vec::new();
    let mut beat = interval(Duration::from_millis(20));
    // A late microphone sends what it has.
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                let spoken = voice.len().min(FRAME);
                pending.extend(voice.drain(..spoken));
                pending.resize(pending.len() + FRAME - spoken, 0);
                while pending.len() >= piece {
                    let rest = pending.split_off(piece);
                    let pcm = std::mem::replace(&mut pending, rest);
                    // The reading half learns of an end.
                    let _ = sink.send(Message::binary(pcm)).await;
                }
            }
            order = orders.recv() => match order {
                Some(Order::Say(pcm)) => voice.extend(pcm),
                Some(Order::Text(text)) => { let _ = sink.send(Message::text(text)).await; }
                None => return,
            },
            message = stream.next() => {
                let Some(Ok(message)) = message else { return };
                if let Some(got) = read(message) {
                    log.send_modify(|log| log.push(got));
                }
            }
        }
    }
}

fn read(message: Message) -> Option<Got> {
    Some(match message {
        Message::Binary(pcm) => Got::Audio(pcm, true),
        Message::Text(text) => event(text.as_str()).unwrap_or(Got::Strange(text.to_string())),
        Message::Close(frame) => Got::Closed(frame.map_or(1005, |frame| frame.code.into())),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return None,
    })
}

/// `{"event":{NAME:{…}}}` and nothing else.
fn event(text: &str) -> Option<Got> {
    let Value::Object(outer) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let Value::Object(event) = outer.get("event").filter(|_| outer.len() == 1)? else {
        return None;
    };
    let (name, body) = event.iter().next().filter(|_| event.len() == 1)?;
    match name.as_str() {
        "audioOutput" => {
            let pcm = BASE64_STANDARD.decode(body["content"].as_str()?).ok()?;
            Some(Got::Audio(pcm.into(), false))
        }
        "textOutput" => {
            body["content"].as_str()?;
            body["role"].as_str()?;
            Some(Got::Event(name.clone(), body.clone()))
        }
        "error" => {
            body["message"].as_str()?;
            Some(Got::Event(name.clone(), body.clone()))
        }
        "contentStart" | "contentEnd" => Some(Got::Event(name.clone(), body.clone())),
        _ => None,
    }
}

/// Bytes of 20 ms at 16 kHz.
const FRAME: usize = 640;
