//! One call's leg. It lives above the socket: when the socket is lost the leg waits a moment for
//! the next one, and whoever talks on it need not know.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{interval_at, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{self, protocol::frame::coding::CloseCode};

use super::{
    Vonage,
    acts::{Act, Acts},
    outbox::{HungUp, Marks, Out, Outbox},
    wire,
};
use crate::{
    audio::{Framer, SampleRate},
    call::CallId,
    clock,
    duplex::Port,
    error::ProviderError,
    telephony::{
        CallCommand, CallEvent,
        socket::{Connection, End, Feed, Inbound, Reader, Writer},
    },
};

/// What a leg hears from beside its socket.
pub(super) enum Signal {
    /// Another socket of the call has opened.
    Attach(Box<Attachment>),
    /// The carrier was told to open another socket.
    Reconnecting,
    /// To be passed on to the agent.
    Report(CallEvent),
    /// The call is over.
    Over,
}

impl Signal {
    pub(super) fn into_attachment(self) -> Option<Attachment> {
        match self {
            Self::Attach(attachment) => Some(*attachment),
            Self::Reconnecting | Self::Report(_) | Self::Over => None,
        }
    }
}

/// A socket that has introduced itself as one of the call's.
pub(super) struct Attachment {
    pub(super) connection: Connection,
    pub(super) rate: SampleRate,
    /// Audio that came before the introduction.
    pub(super) early: Vec<Bytes>,
}

/// A leg, from its first socket to its end.
pub(super) struct LegTask {
    vonage: Vonage,
    id: CallId,
    rate: SampleRate,
    port: Port<CallCommand, CallEvent>,
    signals: mpsc::Receiver<Signal>,
    outbox: Outbox,
    acts: Acts,
    /// When the carrier was last told to open another socket.
    reconnecting: Option<Instant>,
}

/// Where what the agent wants goes: to the socket, or past it to the carrier.
struct Mouth<'a> {
    outbox: &'a mut Outbox,
    acts: &'a Acts,
}

enum Parting {
    /// The agent hung up, or dropped the leg.
    HungUp(HungUp),
    /// The call is over.
    Over,
    /// Another socket takes this one's place.
    Replaced(Attachment),
    /// The socket ended by itself.
    Lost(End),
}

impl LegTask {
    pub(super) fn new(
        vonage: Vonage,
        id: CallId,
        rate: SampleRate,
        port: Port<CallCommand, CallEvent>,
        signals: mpsc::Receiver<Signal>,
    ) -> Self {
        Self {
            acts: Acts::new(vonage.clone(), id.clone()),
            vonage,
            id,
            rate,
            port,
            signals,
            outbox: Outbox::new(rate),
            reconnecting: None,
        }
    }

    /// Runs the leg to its end, which it reports last.
    pub(super) async fn run(mut self, first: Attachment) {
        let mut next = Some(first);
        while let Some(mut attachment) = next.take() {
            self.outbox.reset();
            let parting = self.attached(&mut attachment).await;
            let connection = attachment.connection;
            connection.set_active(false);
            match parting {
                Parting::Over => close(connection, "the call is over"),
                Parting::HungUp(hung_up) => {
                    self.let_go(hung_up).await;
                    close(connection, HUNG_UP);
                }
                // A hang-up that was on its way when something else happened is still one.
                Parting::Replaced(attachment) => match self.outbox.hung_up() {
                    Some(hung_up) => {
                        self.let_go(hung_up).await;
                        close(connection, HUNG_UP);
                        close(attachment.connection, HUNG_UP);
                    }
                    None => {
                        close(connection, "another socket of the call took over");
                        next = Some(attachment);
                    }
                },
                Parting::Lost(end) => {
                    tracing::info!(call = %self.id, ?end, "the socket of a call ended");
                    tokio::spawn(connection.finish(end));
                    match self.outbox.hung_up() {
                        Some(hung_up) => self.let_go(hung_up).await,
                        None => next = self.detached().await,
                    }
                }
            }
        }
        self.vonage.leg_ended(&self.id);
        self.signals.close();
        while let Ok(signal) = self.signals.try_recv() {
            match signal {
                Signal::Report(event) => report(&self.port.events, event),
                signal => {
                    if let Some(attachment) = signal.into_attachment() {
                        close(attachment.connection, "the call is over");
                    }
                }
            }
        }
        // Nobody listening is as good: the leg was dropped.
        let _ = self.port.events.send(Ok(CallEvent::HungUp)).await;
    }

    /// The call ends because we want it to, which the carrier's next questions must not undo.
    /// Before the socket closes: its loss is reported at once. Where the carrier can be told, it is;
    /// where not, a call flow without its socket has nothing left to do.
    async fn let_go(&self, hung_up: HungUp) {
        if hung_up.apologise {
            return self.vonage.fail(&self.id);
        }
        self.vonage.release(&self.id);
        let Ok(rest) = self.vonage.rest(Some(&self.id)) else {
            return;
        };
        match timeout(REST_PATIENCE, rest.hang_up(&self.id)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(call = %self.id, %error, "hanging up by request failed: the socket closes");
            }
            Err(_) => {
                tracing::warn!(call = %self.id, "hanging up by request takes too long: the socket closes");
            }
        }
    }

    /// Carries audio, events and commands over one socket for as long as it goes.
    async fn attached(&mut self, attachment: &mut Attachment) -> Parting {
        let early = std::mem::take(&mut attachment.early);
        let connection = &mut attachment.connection;
        connection.set_active(true);
        let ping = connection.ping_interval();
        let tally = connection.counters();
        let feed = Feed::new(self.port.events.clone(), connection.counters());
        let marks = self.outbox.marks();
        let (mut reader, mut writer) = connection.split();
        reader.count_pongs();
        let listen = listen(&mut reader, &feed, &marks, self.rate, early);
        let count_misfits = |misfits: u64| (0..misfits).for_each(|_| tally.misfit());
        let (commands, outbox) = (&mut self.port.commands, &mut self.outbox);
        let mut mouth = Mouth {
            outbox,
            acts: &self.acts,
        };
        let speak = speak(&mut writer, commands, &mut mouth, ping, count_misfits);
        tokio::pin!(listen, speak);
        loop {
            tokio::select! {
                parting = &mut listen => return parting,
                parting = &mut speak => return parting,
                Some(signal) = self.signals.recv() => match signal {
                    Signal::Attach(next) if next.rate == self.rate => {
                        return Parting::Replaced(*next);
                    }
                    Signal::Attach(next) => refuse(*next),
                    Signal::Reconnecting => self.reconnecting = Some(clock::now()),
                    Signal::Report(event) => report(&self.port.events, event),
                    Signal::Over => return Parting::Over,
                },
            }
        }
    }

    /// Waits for the next socket of the call. `None`: there will be none.
    async fn detached(&mut self) -> Option<Attachment> {
        if !self.vonage.is_live(&self.id) {
            return None;
        }
        let (short, long) = self.vonage.patience();
        let mut deadline = clock::now() + short;
        if let Some(told) = self.reconnecting.take() {
            deadline = deadline.max(told + long);
        }
        loop {
            tokio::select! {
                signal = self.signals.recv() => match signal? {
                    Signal::Attach(next) if next.rate == self.rate => {
                        tracing::info!(call = %self.id, "a call goes on over another socket");
                        return Some(*next);
                    }
                    Signal::Attach(next) => refuse(*next),
                    Signal::Reconnecting => deadline = deadline.max(clock::now() + long),
                    Signal::Report(event) => report(&self.port.events, event),
                    Signal::Over => return None,
                },
                command = self.port.commands.recv() => match command {
                    Some(CallCommand::HangUp { apologise }) => {
                        self.let_go(HungUp { apologise }).await;
                        return None;
                    }
                    None => {
                        self.let_go(DROPPED).await;
                        return None;
                    }
                    // Nobody hears it: it is as if the old socket had lost it.
                    Some(
                        CallCommand::Play(_)
                        | CallCommand::Mark(_)
                        | CallCommand::Clear
                        | CallCommand::Show(_),
                    ) => {}
                    Some(CallCommand::Transfer { to }) => self.acts.push(Act::Transfer(to)),
                    Some(CallCommand::WarmTransfer { to, briefing }) => {
                        self.acts.push(Act::Introduce(to, briefing));
                    }
                    Some(CallCommand::SendDtmf(keys)) => self.acts.push(Act::Press(keys)),
                },
                () = sleep_until(deadline.into()) => return None,
            }
        }
    }
}

/// Reads the socket up to its end.
async fn listen(
    reader: &mut Reader<'_>,
    feed: &Feed,
    marks: &Marks,
    rate: SampleRate,
    early: Vec<Bytes>,
) -> Parting {
    let mut framer = Framer::new(rate);
    let mut hear = |pcm| {
        framer.push(pcm);
        while let Some(frame) = framer.pop() {
            feed.audio(frame);
        }
    };
    early.into_iter().for_each(&mut hear);
    loop {
        let text = match reader.next().await {
            Ok(Inbound::Binary(pcm)) => {
                hear(pcm);
                continue;
            }
            Ok(Inbound::Text(text)) => text,
            Err(end) => return Parting::Lost(end),
        };
        if let Some(event) = understand(text.as_str(), feed, marks)
            && feed.control(event).await.is_err()
        {
            return Parting::HungUp(DROPPED);
        }
    }
}

/// What a text message reports; everything else is ignored, and counted where it has no sense.
fn understand(text: &str, feed: &Feed, marks: &Marks) -> Option<CallEvent> {
    match wire::decode(text) {
        Ok(wire::Message::Dtmf { digit, .. }) => Some(CallEvent::Dtmf(digit)),
        Ok(wire::Message::Notify(payload)) => {
            let mark = wire::mark_of(&payload)?;
            marks.played(mark).then_some(CallEvent::Played(mark))
        }
        Ok(wire::Message::MediaUpdate { active }) => Some(CallEvent::Muted(!active)),
        // The close itself is the end, and nobody waits for the answer to a clear.
        Ok(wire::Message::Cleared | wire::Message::Disconnected) => None,
        Ok(wire::Message::Unknown(name)) => {
            tracing::debug!(name, "an unknown message of Vonage is ignored");
            feed.message_ignored();
            None
        }
        Ok(wire::Message::Connected(_)) | Err(_) => {
            feed.message_ignored();
            None
        }
    }
}

/// Writes to the socket what the agent wants, one message after the other.
async fn speak(
    writer: &mut Writer<'_>,
    commands: &mut mpsc::Receiver<CallCommand>,
    mouth: &mut Mouth<'_>,
    ping: Duration,
    count_misfits: impl Fn(u64),
) -> Parting {
    let mut batch = Vec::with_capacity(Feed::DEPTH);
    let mut pings = interval_at((clock::now() + ping).into(), ping);
    loop {
        tokio::select! {
            count = commands.recv_many(&mut batch, Feed::DEPTH) => {
                if count == 0 {
                    return Parting::HungUp(DROPPED);
                }
                batch.drain(..).for_each(|command| mouth.outbox.push(command));
            }
            _ = pings.tick() => {
                if let Err(end) = writer.ping().await {
                    return Parting::Lost(end);
                }
            }
        }
        let emptied = empty(mouth, writer, commands).await;
        count_misfits(mouth.outbox.take_misfits());
        if let Err(end) = emptied {
            return Parting::Lost(end);
        }
        if let Some(hung_up) = mouth.outbox.hung_up() {
            return Parting::HungUp(hung_up);
        }
    }
}

/// Writes the outbox. Where the socket is slow, a clear that comes meanwhile still overtakes.
async fn empty(
    mouth: &mut Mouth<'_>,
    writer: &mut Writer<'_>,
    commands: &mut mpsc::Receiver<CallCommand>,
) -> Result<(), End> {
    while let Some(message) = mouth.outbox.pop() {
        let message = match message {
            Out::Audio(pcm) => tungstenite::Message::Binary(pcm),
            Out::Text(text) => tungstenite::Message::text(text),
            Out::Act(act) => {
                mouth.acts.push(act);
                continue;
            }
        };
        writer.feed(message).await?;
        while mouth.outbox.len() < MAX_QUEUED
            && let Ok(command) = commands.try_recv()
        {
            mouth.outbox.push(command);
        }
    }
    writer.flush().await
}

/// What failed is told where there is room: the events of a call that nobody reads end it anyway.
fn report(events: &mpsc::Sender<Result<CallEvent, ProviderError>>, event: CallEvent) {
    if events.try_send(Ok(event)).is_err() {
        tracing::warn!("nobody takes the news of a request that failed");
    }
}

fn close(connection: Connection, reason: &'static str) {
    tokio::spawn(connection.close(CloseCode::Normal, reason));
}

/// Five seconds of frames: far more than an agent is ahead of the ear, and room to see a clear
/// that waits behind them. Past that the agent has to wait.
const MAX_QUEUED: usize = 256;
/// How long the end of a call may wait for the carrier's word.
const REST_PATIENCE: Duration = Duration::from_secs(3);
const HUNG_UP: &str = "the agent hung up";
/// Whoever drops a leg has nothing to say.
const DROPPED: HungUp = HungUp { apologise: false };

/// Turns away a socket whose rate is not that of its leg, which cannot change.
fn refuse(attachment: Attachment) {
    let rate = attachment.rate;
    tracing::warn!(%rate, "a socket of a live call came with another sample rate");
    tokio::spawn(async move {
        let reason = "the call has another sample rate";
        let connection = attachment.connection;
        connection.close(CloseCode::Unsupported, reason).await;
    });
}
