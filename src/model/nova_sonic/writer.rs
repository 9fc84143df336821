//! The writing half of a session: the only one who puts events into the stream, so that they
//! come in the order that the protocol wants.
//!
//! Text and tool results are written as whole blocks between two pieces of audio. The audio
//! container opens right before the first piece, so that none is ever open and unfed; once open
//! it stays open to the end.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{self, error::SendTimeoutError},
    time::{sleep_until, timeout},
};
use tracing::{debug, warn};

use super::{
    capabilities::Features,
    input::Ear,
    log::{EventLog, Way},
    wire::Encoder,
};
use crate::{
    audio::{AudioFrame, FRAME, SampleRate},
    clock::now,
    model::{ModelCommand, Said},
    tool::{ToolCallId, ToolResult},
};

/// What the reader asks of the writer. The end of the orders is one, too: close, for nobody
/// listens any more.
#[derive(Debug)]
pub(super) enum Order {
    /// The model waits for the result of this use of a tool.
    AwaitResult(ToolCallId),
}

/// What the writer tells the reader.
#[derive(Debug)]
pub(super) enum Notice {
    /// The model is sent this text, and will answer it.
    Asked(String),
    /// The session is being closed: the end of the stream is expected from now on.
    Closing,
    /// Nothing more can be written.
    Stopped(Stop),
}

/// Why nothing more can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The connection takes nothing for too long.
    Stalled,
    /// The stream is closed; the reading side knows why.
    Refused,
    /// The user broke the agreement about the rate.
    WrongRate { got: SampleRate, due: SampleRate },
}

/// The writing half.
pub(super) struct Writer {
    pub(super) input: mpsc::Sender<Vec<u8>>,
    pub(super) encoder: Encoder,
    pub(super) rate: SampleRate,
    pub(super) features: Features,
    pub(super) audio_event: Duration,
    pub(super) stall_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) ear: Arc<Ear>,
    pub(super) log: Arc<EventLog>,
    pub(super) notice: mpsc::Sender<Notice>,
    pub(super) feed: Feed,
    /// The uses of tools that the model waits for.
    pub(super) uses: Uses,
}

/// How far the audio container has come.
#[derive(Default)]
pub(super) struct Feed {
    /// Audio that waits for more to share an event with.
    pending: Vec<u8>,
    /// When it goes out at the latest.
    due: Option<Instant>,
    /// How much the container has been fed; `None`: it is not open.
    fed: Option<Duration>,
}

/// The uses of tools that the model has asked for, and whether each was answered.
#[derive(Debug, Default)]
pub(super) struct Uses(VecDeque<(ToolCallId, bool)>);

impl Uses {
    /// The model asks, perhaps for the second time.
    fn asked(&mut self, id: ToolCallId) {
        if self.0.iter().any(|(known, _)| *known == id) {
            return;
        }
        if self.0.len() >= MAX_USES {
            self.0.pop_front();
        }
        self.0.push_back((id, false));
    }

    /// A result is there: whether it is waited for.
    fn answered(&mut self, id: &ToolCallId) -> bool {
        self.0
            .iter_mut()
            .find(|(known, answered)| known == id && !answered)
            .is_some_and(|(_, answered)| !mem::replace(answered, true))
    }
}

impl Writer {
    /// Obeys until it is told to finish, then closes by the book.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<ModelCommand>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        if let Err(stop) = self.obey(&mut commands, &mut orders).await {
            debug!(?stop, "no more can be written");
            let _ = self.notice.send(Notice::Stopped(stop)).await;
            return;
        }
        // What is still queued will not be obeyed; whoever waits for room shall know.
        commands.close();
        let _ = self.notice.send(Notice::Closing).await;
        match timeout(self.close_timeout, self.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(stop)) => debug!(?stop, "the session could not be closed by the book"),
            Err(_) => debug!("closing the session by the book takes too long"),
        }
    }

    async fn obey(
        &mut self,
        commands: &mut mpsc::Receiver<ModelCommand>,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Result<(), Stop> {
        loop {
            let due = self.feed.due;
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::AwaitResult(id)) => self.uses.asked(id),
                    None => return Ok(()),
                },
                command = commands.recv() => match command {
                    Some(ModelCommand::Audio(frame)) => self.audio(&frame).await?,
                    Some(ModelCommand::History(said)) => self.history(&said).await?,
                    Some(ModelCommand::Text(text)) => self.text(text.trim()).await?,
                    Some(ModelCommand::ToolResult(result)) => self.tool_result(&result).await?,
                    Some(ModelCommand::Finish) | None => return Ok(()),
                },
                () = sleep_until(due.unwrap_or_else(now).into()), if due.is_some() => {
                    self.flush().await?;
                }
            }
        }
    }

    async fn audio(&mut self, frame: &AudioFrame) -> Result<(), Stop> {
        if frame.rate() != self.rate {
            return Err(Stop::WrongRate {
                got: frame.rate(),
                due: self.rate,
            });
        }
        let now = now();
        self.ear.listen(frame, now);
        self.feed.pending.extend_from_slice(frame.pcm());
        if self.rate.duration_of(self.feed.pending.len()) >= self.audio_event {
            return self.flush().await;
        }
        if self.feed.due.is_none() && !self.feed.pending.is_empty() {
            self.feed.due = Some(now + self.audio_event);
        }
        Ok(())
    }

    /// The service takes history only before the first audio (Nova Sonic user guide, chat
    /// history).
    async fn history(&self, said: &[Said]) -> Result<(), Stop> {
        if self.feed.fed.is_some() || !self.feed.pending.is_empty() {
            warn!(
                "history comes too late: the model has heard the caller already; nothing is sent"
            );
            return Ok(());
        }
        for event in self.encoder.history(self.features, said) {
            self.send(event).await?;
        }
        Ok(())
    }

    async fn text(&mut self, text: &str) -> Result<(), Stop> {
        if text.is_empty() {
            return Ok(());
        }
        if !self.features.text_input {
            warn!("this model takes no text during a session; nothing is sent");
            return Ok(());
        }
        self.flush().await?;
        // The model answers text only once it has been fed a little audio.
        let missing = PRIMING.saturating_sub(self.feed.fed.unwrap_or_default());
        if !missing.is_zero() {
            self.feed_silence(missing).await?;
        }
        // First, since the service may report the text before its block is closed.
        let _ = self.notice.send(Notice::Asked(text.to_owned())).await;
        for event in self.encoder.interactive_text(text) {
            self.send(event).await?;
        }
        Ok(())
    }

    /// The service ends the stream over a result that it does not wait for, be it of a use that
    /// it does not know or for the second time.
    async fn tool_result(&mut self, result: &ToolResult) -> Result<(), Stop> {
        if !self.uses.answered(&result.id) {
            warn!(
                id = result.id.as_str(),
                "nobody waits for the result of this use of a tool; nothing is sent"
            );
            return Ok(());
        }
        self.flush().await?;
        for event in self.encoder.tool_result(result) {
            self.send(event).await?;
        }
        Ok(())
    }

    /// Sends what waits. Each event has whole samples, and no more than the longest one.
    async fn flush(&mut self) -> Result<(), Stop> {
        self.feed.due = None;
        let mut pending = mem::take(&mut self.feed.pending);
        let longest = self.rate.bytes_per_frame() * LONGEST_FRAMES;
        for pcm in pending.chunks(longest) {
            self.feed(pcm).await?;
        }
        pending.clear();
        self.feed.pending = pending;
        Ok(())
    }

    async fn feed_silence(&mut self, at_least: Duration) -> Result<(), Stop> {
        let frames = at_least.as_millis().div_ceil(FRAME.as_millis());
        let silence = AudioFrame::silence(self.rate);
        for _ in 0..frames {
            self.feed.pending.extend_from_slice(silence.pcm());
        }
        self.flush().await
    }

    async fn feed(&mut self, pcm: &[u8]) -> Result<(), Stop> {
        if self.feed.fed.is_none() {
            self.send(self.encoder.audio_start(self.rate)).await?;
        }
        self.log.audio(Way::Sent);
        self.hand_over(self.encoder.audio(pcm)).await?;
        *self.feed.fed.get_or_insert_default() += self.rate.duration_of(pcm.len());
        Ok(())
    }

    /// The end by the book; the stream ends when the writer is dropped.
    async fn close(&mut self) -> Result<(), Stop> {
        self.flush().await?;
        if self.feed.fed.is_none() {
            // A prompt without audio cannot be ended, nor can a container without data.
            self.feed_silence(FRAME).await?;
        }
        for event in self.encoder.closing() {
            self.send(event).await?;
        }
        Ok(())
    }

    async fn send(&self, event: Vec<u8>) -> Result<(), Stop> {
        self.log.note(Way::Sent, &event);
        self.hand_over(event).await
    }

    async fn hand_over(&self, event: Vec<u8>) -> Result<(), Stop> {
        match self.input.send_timeout(event, self.stall_timeout).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(_)) => Err(Stop::Stalled),
            Err(SendTimeoutError::Closed(_)) => Err(Stop::Refused),
        }
    }
}

/// The least audio in an event: one frame.
pub(super) const SHORTEST_EVENT: Duration = FRAME;

/// The most: nothing longer is known to be accepted in steady state.
pub(super) const LONGEST_EVENT: Duration = Duration::from_millis(100);

const LONGEST_FRAMES: usize = 5;

/// Uses of tools that are remembered; older ones do not come again.
const MAX_USES: usize = 256;

/// What the container must have been fed before text: about 70 ms were found to suffice.
const PRIMING: Duration = Duration::from_millis(100);

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
