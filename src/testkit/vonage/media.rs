//! A media socket from the carrier's side: its opening, and both directions until its end.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        error::ProtocolError,
        http::{HeaderValue, header},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    Carrier, Closing, FirstMessage, MarksOnClear, Silence, Violation,
    call::{Arrival, CallEnd, Line, Mark, Outgoing, State, sleep_until},
    ncco::{Authorization, Websocket},
};
use crate::{
    audio::{AudioFrame, FRAME, SampleRate},
    clock,
};

type Socket = WebSocketStream<TcpStream>;

/// How a socket ended.
pub(super) enum LegEnd {
    /// With the call.
    Ended(CallEnd),
    /// While the call goes on.
    Lost,
    /// By another flow that takes its place.
    Moved,
}

/// Why a socket did not come up.
pub(super) enum Refusal {
    /// The service answered the upgrade with this HTTP status.
    Status(u16),
    /// No connection, or no proper handshake.
    Protocol(String),
    /// No answer in time.
    TimedOut,
}

/// Opens the socket that the NCCO asks for, within 6 s.
pub(super) async fn dial(carrier: &Carrier, websocket: &Websocket) -> Result<Socket, Refusal> {
    tokio::time::timeout(Duration::from_secs(6), open(carrier, websocket))
        .await
        .unwrap_or(Err(Refusal::TimedOut))
}

/// Runs both directions until the socket or the call ends.
pub(super) async fn run(line: &Line, socket: Socket, websocket: &Websocket) -> LegEnd {
    {
        let mut state = line.lock();
        state.up = true;
        state.cut = false;
        state.connections += 1;
        state.outbox = first_message(line.carrier.options.first_message, websocket);
    }
    line.bump();
    let (mut sink, mut stream) = socket.split();
    let end = tokio::select! {
        end = send(line, &mut sink, websocket.rate) => end,
        () = receive(line, &mut stream, websocket.rate) => LegEnd::Lost,
    };
    {
        let mut state = line.lock();
        state.up = false;
        // What was not played when the socket ended never is.
        state.playout.clear(clock::now());
    }
    line.bump();
    if let (LegEnd::Ended(_) | LegEnd::Moved, Closing::Clean) = (&end, line.carrier.options.closing)
    {
        close(&mut sink, &mut stream).await;
    }
    end
}

async fn open(carrier: &Carrier, websocket: &Websocket) -> Result<Socket, Refusal> {
    let uri = carrier.reach(&websocket.uri);
    let protocol = |error: &dyn std::fmt::Display| Refusal::Protocol(error.to_string());
    let mut request = uri
        .as_str()
        .into_client_request()
        .map_err(|error| protocol(&error))?;
    let token = match &websocket.authorization {
        Authorization::Omitted => None,
        Authorization::Vonage => carrier.upgrade_token().map(|t| format!("Bearer {t}")),
        Authorization::Custom(value) => Some(value.clone()),
    };
    if let Some(token) = token {
        let value = HeaderValue::from_str(&token).map_err(|error| protocol(&error))?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    if request.uri().scheme_str() != Some("ws") {
        return Err(Refusal::Protocol(
            "the fake has no TLS: name a ws: address, or set public_url".to_owned(),
        ));
    }
    let host = request.uri().host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = request.uri().port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| protocol(&error))?;
    stream.set_nodelay(true).map_err(|error| protocol(&error))?;
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(Refusal::Status(response.status().as_u16())),
        Err(error) => Err(protocol(&error)),
    }
}

fn first_message(first: FirstMessage, websocket: &Websocket) -> VecDeque<Outgoing> {
    let mut members: Map<String, Value> = websocket.headers.clone();
    members.insert(
        "content-type".to_owned(),
        json!(content_type(websocket.rate)),
    );
    if first != FirstMessage::WithoutEvent {
        members.insert("event".to_owned(), json!("websocket:connected"));
    }
    let text = Value::Object(members).to_string();
    match first {
        FirstMessage::Missing => None,
        FirstMessage::Spaced => Some(format!("  {text}")),
        FirstMessage::Standard | FirstMessage::WithoutEvent => Some(text),
    }
    .map(Outgoing::Text)
    .into_iter()
    .collect()
}

fn content_type(rate: SampleRate) -> String {
    format!("audio/l16;rate={}", rate.hertz())
}

/// The caller's voice by an absolute schedule, and messages as they come.
async fn send(line: &Line, sink: &mut SplitSink<Socket, Message>, rate: SampleRate) -> LegEnd {
    let period = line.carrier.scaled(FRAME);
    let start = clock::now();
    let mut tick = 0_u32;
    loop {
        let due = start + period * tick;
        let mut on_time = false;
        tokio::select! {
            biased;
            () = line.wake.notified() => {}
            () = sleep_until(Some(due)) => on_time = true,
        }
        let turn = line.turn(on_time, rate);
        if on_time {
            tick += 1;
        }
        if turn.cut {
            return LegEnd::Lost;
        }
        if turn.moved {
            return LegEnd::Moved;
        }
        let sent = write(sink, turn.messages).await;
        if let Some(end) = turn.ending {
            return LegEnd::Ended(end);
        }
        if sent.is_err() {
            // The receiving half learns why.
            return std::future::pending().await;
        }
    }
}

async fn write(sink: &mut SplitSink<Socket, Message>, messages: Vec<Message>) -> Result<(), Error> {
    for message in messages {
        sink.send(message).await?;
    }
    Ok(())
}

/// What the sending half does next.
struct Turn {
    messages: Vec<Message>,
    cut: bool,
    moved: bool,
    ending: Option<CallEnd>,
}

impl Line {
    fn turn(&self, frame_due: bool, rate: SampleRate) -> Turn {
        let mut state = self.lock();
        let mut messages: Vec<Message> = state
            .outbox
            .drain(..)
            .map(|message| match message {
                Outgoing::Text(text) => Message::text(text),
                Outgoing::Binary(bytes) => Message::binary(bytes),
            })
            .collect();
        let mut quiet = false;
        if frame_due {
            let had_voice = !state.caller.is_empty();
            let voice = state.next_voice(rate.bytes_per_frame());
            quiet = had_voice && state.caller.is_empty();
            let silent = self.carrier.options.silence == Silence::Suppressed;
            let frame = match voice {
                _ if state.muted => None,
                Some(voice) => {
                    let sent = Arrival::new(clock::now(), &voice);
                    state.sent.push(sent);
                    Some(voice)
                }
                None if silent => None,
                None => Some(AudioFrame::silence(rate).into_pcm()),
            };
            state.frames_sent += u64::from(frame.is_some());
            messages.extend(frame.map(Message::binary));
        }
        let turn = Turn {
            messages,
            cut: state.cut,
            moved: state.moved.is_some(),
            ending: state.ending,
        };
        drop(state);
        if quiet {
            self.bump();
        }
        turn
    }
}

impl State {
    /// The next frame of what the caller says, filled up at the end of each piece.
    fn next_voice(&mut self, frame: usize) -> Option<Bytes> {
        while self.caller.front().is_some_and(Bytes::is_empty) {
            self.caller.pop_front();
        }
        let piece = self.caller.front_mut()?;
        let voice = piece.split_to(frame.min(piece.len()));
        if piece.is_empty() {
            self.caller.pop_front();
        }
        if voice.len() == frame {
            return Some(voice);
        }
        let mut filled = BytesMut::from(&voice[..]);
        filled.resize(frame, 0);
        Some(filled.freeze())
    }
}

/// Takes what the service sends until the socket ends or breaks a rule that kills it.
async fn receive(line: &Line, stream: &mut SplitStream<Socket>, rate: SampleRate) {
    loop {
        let mark_due = line.lock().playout.next_mark_at(clock::now());
        let message = tokio::select! {
            message = stream.next() => message,
            () = sleep_until(mark_due) => {
                line.answer_marks();
                continue;
            }
        };
        match message {
            Some(Ok(Message::Binary(frame))) => {
                if !line.take_frame(frame, rate.bytes_per_frame()) {
                    return;
                }
            }
            Some(Ok(Message::Text(text))) => line.take_command(&text),
            Some(Ok(Message::Close(frame))) => {
                line.lock().closes.push(frame.map(|f| f.code.into()));
                drain(stream).await;
                return;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => {
                if is_violation(&error) {
                    line.violation(Violation::Socket(error.to_string()));
                }
                return;
            }
            None => return,
        }
    }
}

/// A connection that just ends is the network's fault.
fn is_violation(error: &Error) -> bool {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) => false,
        Error::Protocol(error) => *error != ProtocolError::ResetWithoutClosingHandshake,
        _ => true,
    }
}

impl Line {
    /// Queues a frame for playout. `false`: the message was none, and the socket must go.
    fn take_frame(&self, frame: Bytes, expected: usize) -> bool {
        if frame.len() != expected {
            let got = frame.len();
            self.violation(Violation::FrameSize { expected, got });
            return false;
        }
        let now = clock::now();
        let mut state = self.lock();
        state.arrivals.push(Arrival::new(now, &frame));
        let first_lost = !state.playout.push(now, frame) && state.playout.overflows() == 1;
        drop(state);
        if first_lost {
            self.violation(Violation::Overflow);
        }
        self.bump();
        true
    }

    fn take_command(&self, text: &str) {
        let command = serde_json::from_str(text);
        let members = match &command {
            Ok(Value::Object(members)) => members.len(),
            _ => 0,
        };
        let command: Value = command.unwrap_or_default();
        let action = command["action"].as_str();
        let now = clock::now();
        match (action, members, &command["payload"]) {
            (Some("clear"), 1, _) => self.clear(now),
            (Some("notify"), 2, payload @ Value::Object(_)) => {
                let mut state = self.lock();
                let id = state.marks.len();
                state.marks.push(Mark {
                    payload: payload.clone(),
                    at: now,
                    answered: None,
                });
                state.playout.mark(id);
                drop(state);
                self.answer_marks();
            }
            _ => {
                let shown: String = text.chars().take(200).collect();
                self.violation(Violation::Command(shown));
            }
        }
    }

    fn clear(&self, now: Instant) {
        // What was reached before the command came is answered before it.
        self.answer_marks();
        let mut state = self.lock();
        let overtaken = state.playout.clear(now);
        state.cleared += 1;
        if self.carrier.options.marks_on_clear == MarksOnClear::Returned {
            state.answer(&overtaken, now);
        }
        let cleared = json!({"event": "websocket:cleared"}).to_string();
        state.outbox.push_back(Outgoing::Text(cleared));
        drop(state);
        self.wake.notify_one();
        self.bump();
    }

    fn answer_marks(&self) {
        let now = clock::now();
        let mut state = self.lock();
        let reached = state.playout.reached(now);
        state.answer(&reached, now);
        drop(state);
        self.wake.notify_one();
        self.bump();
    }
}

impl State {
    fn answer(&mut self, marks: &[usize], now: Instant) {
        for id in marks {
            if let Some(mark) = self.marks.get_mut(*id) {
                mark.answered = Some(now);
                let event = json!({"event": "websocket:notify", "payload": mark.payload});
                self.outbox.push_back(Outgoing::Text(event.to_string()));
            }
        }
    }
}

async fn close(sink: &mut SplitSink<Socket, Message>, stream: &mut SplitStream<Socket>) {
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    if sink.send(Message::Close(Some(frame))).await.is_ok() {
        drain(stream).await;
    }
}

/// Reads on until the peer has finished the closing handshake, which also answers it.
async fn drain(stream: &mut SplitStream<Socket>) {
    let to_the_end = async { while let Some(Ok(_)) = stream.next().await {} };
    // A peer that does not finish is left alone.
    let _ = tokio::time::timeout(Duration::from_secs(2), to_the_end).await;
}
