//! Calls without a carrier: the telephony to read first, and the one for tests.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::{
    audio::{AudioFrame, FRAME, SampleRate},
    call::{CallId, CallInfo, Direction, Party},
    clock,
    duplex::{Duplex, Port},
    error::{ProviderError, ProviderErrorKind},
    lead::PhoneNumber,
    telephony::{CallCommand, CallEvent, DialOptions, Dialled, Leg, MarkId, Telephony},
};

/// Brings the calls that its [`Callers`] make, inside the process.
///
/// ```
/// use novavoice::{
///     audio::SampleRate,
///     call::{CallId, CallInfo, Direction},
///     telephony::{CallEvent, Telephony, memory::Loopback},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (telephony, callers) = Loopback::new();
/// let start = "2026-06-22T20:35:32Z".parse()?;
/// let info = CallInfo::new(CallId::random(), Direction::Inbound, start, SampleRate::Hz16000);
///
/// let caller = callers.call(info).await;
/// let mut leg = telephony.answer().await?;
/// caller.port.events.send(Ok(CallEvent::Dtmf('5'))).await?;
/// assert!(matches!(leg.duplex.events.recv().await, Some(Ok(CallEvent::Dtmf('5')))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Loopback {
    ringing: tokio::sync::Mutex<mpsc::Receiver<Leg>>,
    dialled: mpsc::Sender<Ringing>,
    calls: mpsc::WeakSender<Leg>,
}

impl Loopback {
    /// A telephony, and where its calls come from.
    #[must_use]
    pub fn new() -> (Self, Callers) {
        let (calls, ringing) = mpsc::channel(RINGING);
        let (dialled, rings) = mpsc::channel(RINGING);
        let loopback = Self {
            ringing: tokio::sync::Mutex::new(ringing),
            dialled,
            calls: calls.downgrade(),
        };
        let rings = Arc::new(tokio::sync::Mutex::new(rings));
        (loopback, Callers { calls, rings })
    }
}

#[async_trait]
impl Telephony for Loopback {
    async fn answer(&self) -> Result<Leg, ProviderError> {
        let leg = self.ringing.lock().await.recv().await;
        leg.ok_or_else(|| {
            ProviderError::new("loopback", ProviderErrorKind::Closed)
                .with_detail("nobody is left who could call")
        })
    }

    fn can_dial(&self) -> bool {
        true
    }

    async fn dial(&self, to: &PhoneNumber, options: DialOptions) -> Result<Dialled, ProviderError> {
        let refused = |kind| ProviderError::new("loopback", kind);
        let Some(calls) = self.calls.upgrade() else {
            let detail = "nobody is left who could be called";
            return Err(refused(ProviderErrorKind::NotFound).with_detail(detail));
        };
        let id = CallId::random();
        let ringing = Ringing {
            id: id.clone(),
            to: to.clone(),
            options,
            calls,
        };
        let rings = self.dialled.try_send(ringing);
        rings.map_err(|_| {
            let kind = ProviderErrorKind::Throttled { retry_after: None };
            refused(kind).with_detail("too many calls ring already")
        })?;
        Ok(Dialled::new(id))
    }
}

/// Calls a [`Loopback`], and is called by it. When all clones are dropped, no more calls come.
#[derive(Clone, Debug)]
pub struct Callers {
    calls: mpsc::Sender<Leg>,
    rings: Arc<tokio::sync::Mutex<mpsc::Receiver<Ringing>>>,
}

impl Callers {
    /// Lets it ring. Waits only while very many calls ring already; where nobody is left to
    /// answer, the line is dead from the start: its port is closed.
    pub async fn call(&self, info: CallInfo) -> RemoteEnd {
        let (duplex, port) = Duplex::pair(DEPTH);
        // An error drops the leg, which is what a dead line is.
        let _ = self.calls.send(Leg { info, duplex }).await;
        RemoteEnd { port }
    }

    /// Waits for the next call that the [`Loopback`] places. `None`: it is gone.
    pub async fn rung(&self) -> Option<Ringing> {
        self.rings.lock().await.recv().await
    }
}

/// A phone that rings because the [`Loopback`] dialled it. Dropped, nobody answers.
#[derive(Debug)]
pub struct Ringing {
    id: CallId,
    to: PhoneNumber,
    options: DialOptions,
    calls: mpsc::Sender<Leg>,
}

impl Ringing {
    /// The call.
    #[must_use]
    pub const fn id(&self) -> &CallId {
        &self.id
    }

    /// Whose phone it is.
    #[must_use]
    pub const fn to(&self) -> &PhoneNumber {
        &self.to
    }

    /// How the call was placed.
    #[must_use]
    pub const fn options(&self) -> &DialOptions {
        &self.options
    }

    /// Answers: the call arrives at the [`Loopback`] as a leg of this rate that can do everything
    /// but show text, which a [`Phone`] can.
    pub async fn pick_up(self, rate: SampleRate) -> RemoteEnd {
        let mut info = CallInfo::new(self.id, Direction::Outbound, clock::wall(), rate);
        info.remote = Some(Party::new(self.to.reveal()));
        info.leg.marks = true;
        (info.leg.transfer, info.leg.dtmf) = (true, true);
        info.instructions = self.options.instructions;
        info.greeting = self.options.greeting;
        let (duplex, port) = Duplex::pair(DEPTH);
        // As in `Callers::call`.
        let _ = self.calls.send(Leg { info, duplex }).await;
        RemoteEnd { port }
    }
}

/// The far end of a call, in the hands of a test: it sees every command and makes up every
/// event. [`into_phone`](Self::into_phone) makes it behave.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a port; tests take it apart")]
pub struct RemoteEnd {
    /// Commands of the agent's side, events of the caller's.
    pub port: Port<CallCommand, CallEvent>,
}

impl RemoteEnd {
    /// A person with a phone in place of the bare port: it plays one frame each 20 ms of tokio's
    /// clock, answers marks, and obeys the other commands. Needs a tokio runtime.
    #[must_use]
    pub fn into_phone(self) -> Phone {
        let (acts, orders) = mpsc::channel(DEPTH);
        let (heard, pressed) = (Arc::default(), Arc::default());
        let line = Line {
            playing: VecDeque::new(),
            saying: VecDeque::new(),
            heard: Arc::clone(&heard),
            pressed: Arc::clone(&pressed),
        };
        tokio::spawn(line.run(self.port, orders));
        Phone {
            acts,
            heard,
            pressed,
        }
    }
}

/// A person at the far end. Dropping it hangs up.
#[derive(Debug)]
pub struct Phone {
    acts: mpsc::Sender<CallEvent>,
    heard: Arc<Mutex<Vec<AudioFrame>>>,
    pressed: Arc<Mutex<String>>,
}

impl Phone {
    /// Says one frame. Waits while the agent's side does not listen; lost once the call is over.
    pub async fn speak(&self, frame: AudioFrame) {
        let _ = self.acts.send(CallEvent::Audio(frame)).await;
    }

    /// Presses a key.
    pub async fn press(&self, key: char) {
        let _ = self.acts.send(CallEvent::Dtmf(key)).await;
    }

    /// Hangs up, after all that was said and pressed before.
    pub async fn hang_up(&self) {
        let _ = self.acts.send(CallEvent::HungUp).await;
    }

    /// Every frame that was played until now, oldest first.
    #[must_use]
    pub fn heard(&self) -> Vec<AudioFrame> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }

    /// The keys that the agent has pressed until now.
    #[must_use]
    pub fn keys_heard(&self) -> String {
        let pressed = self.pressed.lock().unwrap_or_else(PoisonError::into_inner);
        pressed.clone()
    }

    /// Waits for the end of the call, whoever ends it; being transferred is an end, too.
    pub async fn ended(&self) {
        self.acts.closed().await;
    }
}

/// A live call between a leg and a [`Phone`].
struct Line {
    playing: VecDeque<Item>,
    /// Events that the agent's side has not taken yet. They wait here, so that its commands are
    /// obeyed meanwhile.
    saying: VecDeque<CallEvent>,
    heard: Arc<Mutex<Vec<AudioFrame>>>,
    pressed: Arc<Mutex<String>>,
}

enum Item {
    Frame(AudioFrame),
    Mark(MarkId),
}

impl Line {
    async fn run(
        mut self,
        port: Port<CallCommand, CallEvent>,
        mut orders: mpsc::Receiver<CallEvent>,
    ) {
        let Port {
            mut commands,
            events,
        } = port;
        let mut frame_time = interval(FRAME);
        frame_time.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut over = false;
        while !over {
            tokio::select! {
                biased;
                // A full buffer leaves commands in their channel, as a carrier would.
                command = commands.recv(), if self.playing.len() < BUFFER => {
                    let Some(command) = command else { return };
                    over = matches!(
                        command,
                        CallCommand::HangUp { .. }
                            | CallCommand::Transfer { .. }
                            | CallCommand::WarmTransfer { .. }
                    );
                    self.obey(command);
                }
                room = events.reserve(), if !self.saying.is_empty() => {
                    let (Ok(room), Some(event)) = (room, self.saying.pop_front()) else {
                        return;
                    };
                    room.send(Ok(event));
                }
                order = orders.recv(), if self.saying.len() < DEPTH => {
                    let order = order.unwrap_or(CallEvent::HungUp);
                    over = order == CallEvent::HungUp;
                    self.saying.push_back(order);
                }
                _ = frame_time.tick() => self.play(),
            }
        }
        // The line is dead from here on; what was said on it may still be read.
        drop((commands, orders));
        for event in self.saying {
            if events.send(Ok(event)).await.is_err() {
                return;
            }
        }
    }

    fn obey(&mut self, command: CallCommand) {
        match command {
            CallCommand::Play(frame) => self.playing.push_back(Item::Frame(frame)),
            CallCommand::Mark(mark) => self.playing.push_back(Item::Mark(mark)),
            CallCommand::Clear => self.playing.clear(),
            // The other party is not on this line: for it, the call is over.
            CallCommand::Transfer { .. } => self.saying.push_back(CallEvent::HungUp),
            // Whoever is called takes it over.
            CallCommand::WarmTransfer { .. } => {
                self.saying.extend([CallEvent::Taken, CallEvent::HungUp]);
            }
            CallCommand::SendDtmf(keys) => {
                let mut pressed = self.pressed.lock().unwrap_or_else(PoisonError::into_inner);
                pressed.push_str(keys.reveal());
            }
            // A phone has no screen.
            CallCommand::Show(_) => {}
            // Nor a voice of its own, to apologise with.
            CallCommand::HangUp { .. } => self.saying.push_back(CallEvent::HungUp),
        }
    }

    /// The next 20 ms: the frame before them has been played, so its marks are due.
    fn play(&mut self) {
        while let Some(item) = self.playing.pop_front() {
            match item {
                Item::Mark(mark) => self.saying.push_back(CallEvent::Played(mark)),
                Item::Frame(frame) => {
                    let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
                    return heard.push(frame);
                }
            }
        }
    }
}

/// Calls that may ring at once.
const RINGING: usize = 64;
/// Messages that wait in each direction: 1.28 s of audio.
const DEPTH: usize = 64;
/// What a phone buffers: a minute of audio, as much as a carrier takes.
const BUFFER: usize = 3_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audio::SampleRate,
        call::{CallId, Direction},
    };

    fn info(id: &str) -> CallInfo {
        let started = "2026-06-22T20:35:32Z".parse().unwrap();
        CallInfo::new(
            CallId::new(id),
            Direction::Inbound,
            started,
            SampleRate::Hz8000,
        )
    }

    #[tokio::test]
    async fn calls_are_answered_in_the_order_in_which_they_ring() {
        let (telephony, callers) = Loopback::new();
        let _first = callers.call(info("first")).await;
        let _second = callers.call(info("second")).await;
        for id in ["first", "second"] {
            assert_eq!(telephony.answer().await.unwrap().info.id.as_str(), id);
        }
        drop(callers);
        let error = telephony.answer().await.unwrap_err();
        assert_eq!(*error.kind(), ProviderErrorKind::Closed);
    }

    #[tokio::test]
    async fn a_line_that_nobody_can_answer_is_dead() {
        let (telephony, callers) = Loopback::new();
        drop(telephony);
        let mut caller = callers.call(info("a")).await;
        assert_eq!(caller.port.commands.recv().await, None);
        assert!(caller.port.events.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_phone_plays_a_frame_each_twenty_milliseconds() {
        let (telephony, callers) = Loopback::new();
        let phone = callers.call(info("a")).await.into_phone();
        let leg = telephony.answer().await.unwrap();
        for _ in 0..50 {
            let frame = AudioFrame::silence(SampleRate::Hz8000);
            leg.duplex
                .commands
                .send(CallCommand::Play(frame))
                .await
                .unwrap();
        }
        tokio::time::sleep(FRAME * 10).await;
        let heard = phone.heard().len();
        assert!((9..=11).contains(&heard), "{heard} frames in 200 ms");
    }
}
