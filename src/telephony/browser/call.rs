//! One browser's socket: what it says before the call, and the call.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{interval_at, timeout},
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use super::{
    Browser,
    wire::{self, Control},
};
use crate::{
    audio::{Framer, SampleRate},
    call::{CallId, CallInfo, Direction, LegCapabilities},
    clock,
    duplex::Duplex,
    telephony::{
        CallCommand, CallEvent, Leg,
        socket::{Connection, End, Feed, Inbound, Reader, Visitor, Wishes, Writer},
    },
};

/// Runs the socket of a browser whose first message was `first`.
pub(super) async fn visit(browser: Browser, visitor: Visitor, first: Control) {
    let Visitor {
        mut connection,
        channel,
        wishes,
        early,
    } = visitor;
    let Some(_taken) = browser.take(&channel) else {
        let reason = "another socket has this channel";
        return connection.close(CloseCode::Policy, reason).await;
    };
    let (instructions, audio) = match prelude(&mut connection, first).await {
        Ok(Prelude::Start {
            instructions,
            audio,
        }) => (instructions, audio),
        Ok(Prelude::Leave) => return connection.close(CloseCode::Normal, "goodbye").await,
        Err(end) => return connection.finish(end).await,
    };
    let early = early.into_iter().chain(audio);
    call(&browser, connection, &channel, wishes, instructions, early).await;
}

enum Prelude {
    Start {
        instructions: Option<String>,
        audio: Option<Bytes>,
    },
    Leave,
}

/// Everything up to the beginning of the call.
async fn prelude(connection: &mut Connection, first: Control) -> Result<Prelude, End> {
    let tally = connection.counters();
    let ping = connection.ping_interval();
    let mut pings = interval_at((clock::now() + ping).into(), ping);
    let (mut reader, mut writer) = connection.split();
    let mut instructions = None;
    let mut control = Some(first);
    loop {
        match control.take() {
            Some(Control::SystemPrompt(Some(text))) if text.len() > MAX_INSTRUCTIONS => {
                let error = wire::error("the system prompt is over 50 KB and was not used");
                writer.feed(Message::text(error)).await?;
                writer.flush().await?;
            }
            Some(Control::SystemPrompt(text)) => instructions = text.or(instructions),
            Some(Control::AudioStart) => {
                let audio = None;
                return Ok(Prelude::Start {
                    instructions,
                    audio,
                });
            }
            Some(Control::StopAudio) => return Ok(Prelude::Leave),
            Some(Control::PromptStart) | None => {}
        }
        tokio::select! {
            inbound = reader.next() => match inbound? {
                Inbound::Binary(pcm) => {
                    let audio = Some(pcm);
                    return Ok(Prelude::Start { instructions, audio });
                }
                Inbound::Text(text) => match Control::read(text.as_str()) {
                    Some(next) => control = Some(next),
                    None => tally.message_ignored(),
                },
            },
            _ = pings.tick() => writer.ping().await?,
        }
    }
}

/// The call itself, from its first frame to its last word.
async fn call(
    browser: &Browser,
    mut connection: Connection,
    channel: &str,
    wishes: Wishes,
    instructions: Option<String>,
    early: impl Iterator<Item = Bytes>,
) {
    let config = &browser.0.config;
    if !config.admission.has_room() {
        return turn_away(connection, &config.busy_message).await;
    }
    let mut info = CallInfo::new(
        CallId::new(channel),
        Direction::Inbound,
        clock::wall(),
        RATE,
    );
    info.leg = LegCapabilities {
        marks: false,
        text: true,
        transfer: false,
        dtmf: false,
    };
    info.instructions = instructions;
    let (duplex, mut port) = Duplex::pair(Feed::DEPTH);
    if browser.0.arrivals.offer(Leg { info, duplex }).is_err() {
        return turn_away(connection, &config.busy_message).await;
    }
    connection.set_active(true);
    let ping = connection.ping_interval();
    let feed = Feed::new(port.events, connection.counters());
    let mut microphone = Microphone::new(feed);
    early.for_each(|pcm| microphone.hear(pcm));
    let mut microphone = Some(microphone);
    let farewell = {
        let (mut reader, mut writer) = connection.split();
        let stopped = AtomicBool::new(false);
        let speak = speak(&mut writer, &mut port.commands, wishes, ping, &stopped);
        tokio::pin!(speak);
        let parting = tokio::select! {
            parting = listen(&mut microphone, &mut reader) => parting,
            ended = &mut speak => ended.map_or_else(Parting::End, |()| Parting::HungUp),
        };
        match parting {
            Parting::Stopped => {
                stopped.store(true, Relaxed);
                let last_words = timeout(LAST_WORDS, speak);
                match tokio::join!(hung_up(microphone.take()), last_words) {
                    ((), Ok(Err(end))) => Err(end),
                    ((), Ok(Ok(())) | Err(_)) => Ok("the call is over"),
                }
            }
            Parting::HungUp => Ok("the agent hung up"),
            Parting::End(end) => Err(end),
        }
    };
    let part = async {
        match farewell {
            Ok(reason) => connection.close(CloseCode::Normal, reason).await,
            Err(end) => connection.finish(end).await,
        }
    };
    tokio::join!(hung_up(microphone), part);
}

/// Tells the agent that the call is over, and ends its events.
async fn hung_up(microphone: Option<Microphone>) {
    if let Some(microphone) = microphone {
        // Nobody listening is as good: the leg was dropped.
        let _ = microphone.feed.control(CallEvent::HungUp).await;
    }
}

enum Parting {
    /// The client sent `stopAudio`.
    Stopped,
    /// The agent hung up, or dropped the leg.
    HungUp,
    /// The socket ended.
    End(End),
}

async fn turn_away(mut connection: Connection, message: &str) {
    let (_, mut writer) = connection.split();
    let told = writer.feed(Message::text(wire::error(message))).await;
    match told {
        Ok(()) => connection.close(CloseCode::Again, "busy").await,
        Err(end) => connection.finish(end).await,
    }
}

/// What the client says, on its way to the agent.
struct Microphone {
    framer: Framer,
    feed: Feed,
}

impl Microphone {
    fn new(feed: Feed) -> Self {
        Self {
            framer: Framer::new(RATE),
            feed,
        }
    }

    fn hear(&mut self, pcm: Bytes) {
        self.framer.push(pcm);
        while let Some(frame) = self.framer.pop() {
            self.feed.audio(frame);
        }
    }
}

/// Passes on what the client says until it stops or its socket ends.
async fn listen(microphone: &mut Option<Microphone>, reader: &mut Reader<'_>) -> Parting {
    let Some(microphone) = microphone else {
        return Parting::Stopped;
    };
    loop {
        match reader.next().await {
            Ok(Inbound::Binary(pcm)) => microphone.hear(pcm),
            Ok(Inbound::Text(text)) => match Control::read(text.as_str()) {
                Some(Control::StopAudio) => {
                    if let Some(frame) = microphone.framer.flush() {
                        microphone.feed.audio(frame);
                    }
                    return Parting::Stopped;
                }
                _ => microphone.feed.message_ignored(),
            },
            Err(end) => return Parting::End(end),
        }
    }
}

/// Writes what the agent plays and shows. `Ok` once it has hung up or dropped the leg.
async fn speak(
    writer: &mut Writer<'_>,
    commands: &mut mpsc::Receiver<CallCommand>,
    wishes: Wishes,
    ping: Duration,
    stopped: &AtomicBool,
) -> Result<(), End> {
    let mut outbox = Outbox::new(wishes);
    let mut batch = Vec::with_capacity(Feed::DEPTH);
    let mut pings = interval_at((clock::now() + ping).into(), ping);
    loop {
        tokio::select! {
            count = commands.recv_many(&mut batch, Feed::DEPTH) => {
                if count == 0 {
                    return Ok(());
                }
            }
            _ = pings.tick() => writer.ping().await?,
        }
        if stopped.load(Relaxed) {
            // Nobody hears it any more.
            batch.retain(|command| !matches!(command, CallCommand::Play(_) | CallCommand::Clear));
        }
        batch.drain(..).for_each(|command| outbox.push(command));
        while let Some(message) = outbox.pop() {
            writer.feed(message).await?;
        }
        writer.flush().await?;
        if outbox.hung_up {
            return Ok(());
        }
    }
}

/// What is to be written, in order; a clear overtakes the audio before it.
#[derive(Debug)]
struct Outbox {
    wishes: Wishes,
    queue: VecDeque<Out>,
    /// Audio was written since the client was last told to forget it.
    heard: bool,
    hung_up: bool,
}

#[derive(Debug)]
enum Out {
    Audio(Bytes),
    Text(String),
}

impl Outbox {
    const fn new(wishes: Wishes) -> Self {
        Self {
            wishes,
            queue: VecDeque::new(),
            heard: false,
            hung_up: false,
        }
    }

    fn push(&mut self, command: CallCommand) {
        if self.hung_up {
            return;
        }
        match command {
            CallCommand::Play(frame) => self.queue.push_back(Out::Audio(frame.into_pcm())),
            CallCommand::Clear => {
                self.queue.retain(|out| matches!(out, Out::Text(_)));
                if std::mem::take(&mut self.heard) {
                    self.queue.push_back(Out::Text(wire::interrupted()));
                }
            }
            CallCommand::Show(show) => {
                let messages = wire::shown(&show);
                self.queue.extend(messages.into_iter().map(Out::Text));
            }
            // What has failed was shown already, and there is nobody who could say it.
            CallCommand::HangUp { .. } => self.hung_up = true,
            // This leg says that it has no marks, and that it can do nothing a carrier does.
            CallCommand::Mark(_)
            | CallCommand::Transfer { .. }
            | CallCommand::WarmTransfer { .. }
            | CallCommand::SendDtmf(_) => {}
        }
    }

    fn pop(&mut self) -> Option<Message> {
        Some(match self.queue.pop_front()? {
            Out::Audio(pcm) => {
                self.heard = true;
                match self.wishes.binary_audio {
                    true => Message::Binary(pcm),
                    false => Message::text(wire::audio_output(&pcm)),
                }
            }
            Out::Text(text) => Message::text(text),
        })
    }
}

/// The rate of the dialect, both ways.
const RATE: SampleRate = SampleRate::Hz16000;
/// More than any prompt that a model takes with profit.
const MAX_INSTRUCTIONS: usize = 50 * 1024;
/// How long the agent may go on showing text after the client hung up.
const LAST_WORDS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audio::AudioFrame, telephony::Show};

    fn written(outbox: &mut Outbox) -> Vec<Message> {
        std::iter::from_fn(|| outbox.pop()).collect()
    }

    fn play() -> CallCommand {
        CallCommand::Play(AudioFrame::silence(RATE))
    }

    #[test]
    fn a_clear_drops_queued_audio_and_keeps_every_word() {
        let mut outbox = Outbox::new(Wishes { binary_audio: true });
        let said = CallCommand::Show(Show::ReplyStarted);
        for command in [play(), said, play(), CallCommand::Clear, play()] {
            outbox.push(command);
        }
        let messages = written(&mut outbox);
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].is_text() && messages[1].is_binary());
    }

    #[test]
    fn a_client_is_told_once_to_forget_what_it_has() {
        let mut outbox = Outbox::new(Wishes::default());
        outbox.push(CallCommand::Clear);
        assert!(written(&mut outbox).is_empty());
        outbox.push(play());
        assert_eq!(written(&mut outbox).len(), 1);
        outbox.push(CallCommand::Clear);
        outbox.push(CallCommand::Clear);
        let messages = written(&mut outbox);
        assert_eq!(messages, [Message::text(wire::interrupted())]);
    }

    #[test]
    fn nothing_is_written_after_the_hang_up() {
        let mut outbox = Outbox::new(Wishes::default());
        for command in [play(), CallCommand::HangUp { apologise: false }, play()] {
            outbox.push(command);
        }
        assert_eq!(written(&mut outbox).len(), 1);
        assert!(outbox.hung_up);
    }
}
