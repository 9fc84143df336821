//! One call: the handle that a test holds, and what it shares with the task that carries it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::{Carrier, InboundCall, Posted, Violation, flow::Plan, playout::Playout};
use crate::{audio::FRAME, clock};

/// A call in progress, seen from the caller's phone. Dropping it hangs up.
///
/// Durations of audio are those of the caller's clock, [`time_scale`](super::Options::time_scale)
/// included; instants are real.
pub struct Call {
    pub(super) line: Arc<Line>,
    pub(super) placed: InboundCall,
}

impl Call {
    /// The id of the caller's leg.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.placed.uuid
    }

    /// The id of the conversation.
    #[must_use]
    pub fn conversation(&self) -> &str {
        &self.placed.conversation
    }

    /// The NCCO that is being carried out, as it came.
    #[must_use]
    pub fn ncco(&self) -> Value {
        self.line.lock().ncco.clone()
    }

    /// The caller speaks: 16-bit little-endian mono PCM at the socket's rate. It is queued behind
    /// what was said before, waits while no socket is up, and goes out in 20 ms frames; the last
    /// one is filled up with silence.
    pub fn say(&self, pcm: impl Into<Bytes>) {
        self.line.lock().caller.push_back(pcm.into());
    }

    /// Waits until everything said so far was sent. `false`: the call ended first.
    pub async fn said(&self) -> bool {
        self.until(|call| call.line.lock().caller.is_empty()).await
    }

    /// The person presses a key: one of `0-9`, `*`, `#`. It goes to the media socket where one is
    /// up, otherwise to the next `input` action.
    pub fn dtmf(&self, digit: char) {
        let mut state = self.line.lock();
        if !state.up {
            state.keypad.push_back(digit);
        }
        drop(state);
        self.line.bump();
        self.send(&json!({"event": "websocket:dtmf", "digit": digit, "duration": 260}));
    }

    /// The carrier stops (`true`) or resumes (`false`) sending the caller's voice.
    pub fn mute(&self, muted: bool) {
        self.line.lock().muted = muted;
        self.send(&json!({
            "event": "websocket:media:update",
            "method": "update",
            "active": !muted,
        }));
    }

    /// Sends any text message, for what a service must tolerate.
    pub fn send_text(&self, text: impl Into<String>) {
        self.line.post(Outgoing::Text(text.into()));
    }

    /// Sends any binary message, for what a service must tolerate.
    pub fn send_binary(&self, bytes: impl Into<Bytes>) {
        self.line.post(Outgoing::Binary(bytes.into()));
    }

    /// The caller hangs up: the socket closes and both legs are reported completed. See
    /// [`ended`](Self::ended).
    pub fn hang_up(&self) {
        self.line.end(CallEnd::HungUp);
    }

    /// The carrier ends the call, as after a REST request: no `disconnected` event.
    pub fn release(&self) {
        self.line.end(CallEnd::Released);
    }

    /// The network between carrier and service fails: the connection ends without a close frame,
    /// the socket's leg is reported `disconnected`, and the NCCO in the response is carried out.
    /// Without an open socket nothing happens.
    pub fn drop_socket(&self) {
        let mut state = self.line.lock();
        state.cut = state.up;
        drop(state);
        self.line.wake.notify_one();
    }

    /// Waits until a media socket is up. `false`: the call ended first.
    pub async fn connected(&self) -> bool {
        self.until(|call| call.line.lock().up).await
    }

    /// How many media sockets were opened so far.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.line.lock().connections
    }

    /// The HTTP statuses with which upgrades were refused, in order.
    #[must_use]
    pub fn refusals(&self) -> Vec<u16> {
        self.line.lock().refusals.clone()
    }

    /// The close codes that the service sent, in order; `None` for a close without a code.
    #[must_use]
    pub fn closes(&self) -> Vec<Option<u16>> {
        self.line.lock().closes.clone()
    }

    /// All audio that left the playout buffer towards the phone, in order: what the caller heard,
    /// without the pauses. Empty when audio is not kept.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        let mut state = self.line.lock();
        state.playout.advance(clock::now());
        state.playout.heard().to_vec()
    }

    /// How much audio left the playout buffer towards the phone.
    #[must_use]
    pub fn heard_for(&self) -> Duration {
        let mut state = self.line.lock();
        state.playout.advance(clock::now());
        span(state.playout.left())
    }

    /// Waits until this much audio was heard in all. `false`: the call ended first.
    pub async fn wait_heard(&self, duration: Duration) -> bool {
        let frames = duration.as_nanos().div_ceil(FRAME.as_nanos());
        let frames = u64::try_from(frames).unwrap_or(u64::MAX);
        self.line
            .until(|state, now| {
                state.playout.advance(now);
                if state.playout.left() >= frames {
                    Ok(true)
                } else if state.end.is_some() {
                    Ok(false)
                } else {
                    Err(state.playout.left_at(now, frames))
                }
            })
            .await
    }

    /// The ids of those whom the person talks with in a named conversation that has begun.
    #[must_use]
    pub fn talks_with(&self) -> Vec<String> {
        self.line.carrier.rooms.others(self.uuid())
    }

    /// The named conversation that the person is in, whether or not it has begun.
    #[must_use]
    pub fn room(&self) -> Option<String> {
        self.line.lock().room.clone()
    }

    /// The keys that the service pressed by REST requests, in order.
    #[must_use]
    pub fn keys(&self) -> String {
        self.line.lock().keys.clone()
    }

    /// The REST requests that steered the call beside hanging up and transfers, in order, such as
    /// `mute` or `PUT talk`.
    #[must_use]
    pub fn steered(&self) -> Vec<String> {
        self.line.lock().steered.clone()
    }

    /// The word that the carrier has for the state of the phone's leg, such as `ringing`.
    #[must_use]
    pub fn status(&self) -> String {
        self.line.lock().status.clone()
    }

    /// The number of the person at this end.
    #[must_use]
    pub fn number(&self) -> &str {
        match self.line.card.direction {
            "outbound" => &self.placed.to,
            _ => &self.placed.from,
        }
    }

    /// What `talk` actions said, in order.
    #[must_use]
    pub fn spoken(&self) -> Vec<String> {
        self.line.lock().spoken.clone()
    }

    /// The `notify` commands that came, in order.
    #[must_use]
    pub fn marks(&self) -> Vec<Mark> {
        self.line.lock().marks.clone()
    }

    /// How many `clear` commands came.
    #[must_use]
    pub fn cleared_count(&self) -> u32 {
        self.line.lock().cleared
    }

    /// How often the playout buffer ran dry in the middle of a reply: the next frame came less
    /// than 200 ms late.
    #[must_use]
    pub fn underruns(&self) -> u32 {
        self.line.lock().playout.underruns()
    }

    /// Frames that were lost because the playout buffer was full.
    #[must_use]
    pub fn overflows(&self) -> u32 {
        self.line.lock().playout.overflows()
    }

    /// The most frames that ever waited in the playout buffer.
    #[must_use]
    pub fn max_depth(&self) -> usize {
        self.line.lock().playout.max_depth()
    }

    /// When each frame of the service arrived, in order.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.line.lock().arrivals.clone()
    }

    /// When each frame of the caller's voice was sent, in order; silence not counted.
    #[must_use]
    pub fn sent(&self) -> Vec<Arrival> {
        self.line.lock().sent.clone()
    }

    /// How many frames were sent to the service, silence included.
    #[must_use]
    pub fn frames_sent(&self) -> u64 {
        self.line.lock().frames_sent
    }

    /// What the service got wrong in this call.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.line.lock().violations.clone()
    }

    /// The event webhooks that were posted and answered, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Posted> {
        self.line.lock().events.clone()
    }

    /// The statuses of the posted events of one leg, in order: the caller's, or the sockets'.
    #[must_use]
    pub fn statuses(&self, of_socket: bool) -> Vec<String> {
        let state = self.line.lock();
        state
            .events
            .iter()
            .filter(|posted| {
                // Verdicts name the phone's leg in a field of their own.
                let names = ["uuid", "call_uuid"].map(|key| &posted.body[key]);
                names.iter().all(|name| **name != self.placed.uuid) == of_socket
            })
            .filter_map(|posted| posted.body["status"].as_str().map(str::to_owned))
            .collect()
    }

    /// Waits for the end of the call, its last events included.
    pub async fn ended(&self) -> CallEnd {
        self.line.until(|state, _| state.end.ok_or(None)).await
    }

    /// Whether the call is over, its last events included.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.line.lock().end.is_some()
    }

    /// Waits until `condition` holds; it is asked again whenever something happened in the call.
    /// `false`: the call ended first.
    pub async fn until(&self, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let mut changed = self.line.changed.subscribe();
        loop {
            // Read before the condition: what happens last may be what it waits for.
            let over = self.line.lock().end.is_some();
            if condition(self) {
                return true;
            }
            if over || changed.changed().await.is_err() {
                return false;
            }
        }
    }

    fn send(&self, event: &Value) {
        self.send_text(event.to_string());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.hang_up();
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("uuid", &self.placed.uuid)
            .finish_non_exhaustive()
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallEnd {
    /// The caller hung up.
    HungUp,
    /// The carrier ended it on request.
    Released,
    /// No action was left.
    Finished,
    /// Nobody answered.
    Unanswered,
}

/// A `notify` command of the service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mark {
    /// What came with it.
    pub payload: Value,
    /// When it came.
    pub at: Instant,
    /// When it was answered: once everything before it was played.
    pub answered: Option<Instant>,
}

/// A frame and its time.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Arrival {
    /// When it was received, or sent.
    pub at: Instant,
    /// Its first ten samples as bytes, to tell tagged frames apart.
    pub head: [u8; 20],
}

impl Arrival {
    pub(super) fn new(at: Instant, frame: &[u8]) -> Self {
        let mut head = [0; 20];
        for (to, from) in head.iter_mut().zip(frame) {
            *to = *from;
        }
        Self { at, head }
    }
}

/// What the handle and the task of a call share.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) carrier: Arc<Carrier>,
    pub(super) card: Card,
    state: Mutex<State>,
    /// Counts changes, for those who wait for one.
    changed: watch::Sender<u64>,
    /// Wakes the sending half.
    pub(super) wake: Notify,
}

/// Who calls whom.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) uuid: String,
    pub(super) conversation: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) direction: &'static str,
    pub(super) created: Timestamp,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) caller: VecDeque<Bytes>,
    pub(super) outbox: VecDeque<Outgoing>,
    pub(super) muted: bool,
    pub(super) up: bool,
    /// The network fails now.
    pub(super) cut: bool,
    /// The call is to end; set once.
    pub(super) ending: Option<CallEnd>,
    pub(super) end: Option<CallEnd>,
    /// A request has replaced the flow.
    pub(super) moved: Option<Plan>,
    /// The state of the phone's leg, in the carrier's word.
    pub(super) status: String,
    pub(super) answered: Option<Timestamp>,
    pub(super) over: Option<Timestamp>,
    pub(super) keys: String,
    /// The person's keys that no action has taken in.
    pub(super) keypad: VecDeque<char>,
    /// The named conversation that the leg is in.
    pub(super) room: Option<String>,
    /// Somebody has ended that conversation for all.
    pub(super) room_over: bool,
    pub(super) steered: Vec<String>,
    pub(super) ncco: Value,
    pub(super) connections: u32,
    pub(super) refusals: Vec<u16>,
    pub(super) closes: Vec<Option<u16>>,
    pub(super) playout: Playout,
    pub(super) spoken: Vec<String>,
    pub(super) marks: Vec<Mark>,
    pub(super) cleared: u32,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) sent: Vec<Arrival>,
    pub(super) frames_sent: u64,
    pub(super) violations: Vec<Violation>,
    pub(super) events: Vec<Posted>,
}

/// A message for the service that is no caller audio.
#[derive(Debug)]
pub(super) enum Outgoing {
    Text(String),
    Binary(Bytes),
}

impl Line {
    pub(super) fn new(carrier: Arc<Carrier>, card: Card) -> Self {
        let options = &carrier.options;
        let playout = Playout::new(options.time_scale, options.keep_audio);
        Self {
            carrier,
            card,
            state: Mutex::new(State {
                caller: VecDeque::new(),
                outbox: VecDeque::new(),
                muted: false,
                up: false,
                cut: false,
                ending: None,
                end: None,
                moved: None,
                status: "started".to_owned(),
                answered: None,
                over: None,
                keys: String::new(),
                keypad: VecDeque::new(),
                room: None,
                room_over: false,
                steered: Vec::new(),
                ncco: Value::Null,
                connections: 0,
                refusals: Vec::new(),
                closes: Vec::new(),
                playout,
                spoken: Vec::new(),
                marks: Vec::new(),
                cleared: 0,
                arrivals: Vec::new(),
                sent: Vec::new(),
                frames_sent: 0,
                violations: Vec::new(),
                events: Vec::new(),
            }),
            changed: watch::Sender::new(0),
            wake: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody who waits that something happened.
    pub(super) fn bump(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Queues a message for the open socket; without one it is lost.
    pub(super) fn post(&self, message: Outgoing) {
        let mut state = self.lock();
        if state.up {
            state.outbox.push_back(message);
        }
        drop(state);
        self.wake.notify_one();
    }

    pub(super) fn end(&self, how: CallEnd) {
        self.lock().ending.get_or_insert(how);
        self.wake.notify_one();
        self.bump();
    }

    /// Replaces the flow, wherever it stands.
    pub(super) fn move_to(&self, plan: Plan) {
        self.lock().moved = Some(plan);
        self.wake.notify_one();
        self.bump();
    }

    pub(super) fn violation(&self, violation: Violation) {
        self.lock().violations.push(violation.clone());
        self.carrier.violation(violation);
        self.bump();
    }

    /// Waits until `check` has a value; an `Err` says when it wants to be asked again at the latest.
    pub(super) async fn until<T>(
        &self,
        mut check: impl FnMut(&mut State, Instant) -> Result<T, Option<Instant>>,
    ) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            let verdict = check(&mut self.lock(), clock::now());
            let again = match verdict {
                Ok(value) => return value,
                Err(again) => again,
            };
            tokio::select! {
                // The sender lives in `self`, so this is never an error.
                _ = changed.changed() => {}
                () = sleep_until(again) => {}
            }
        }
    }
}

/// Sleeps until `at`, or for ever.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn span(frames: u64) -> Duration {
    FRAME.saturating_mul(u32::try_from(frames).unwrap_or(u32::MAX))
}
