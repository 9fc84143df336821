//! One session: how it opens, and the two tasks that keep it moving.
//!
//! The [writer](super::writer) owns the input and turns commands into events. The reader, here,
//! drains the output whatever happens, since an undrained stream would stall the connection. The
//! reader has the last word: when it ends it takes the writer with it, and with both gone
//! everything that the session held is free.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use aws_sdk_bedrockruntime::{
    error::SdkError,
    operation::RequestId,
    primitives::event_stream::EventReceiver,
    types::{
        InvokeModelWithBidirectionalStreamOutput as Down,
        error::InvokeModelWithBidirectionalStreamOutputError as DownError,
    },
};
use tokio::{
    sync::mpsc::{self, OwnedPermit, error::SendTimeoutError},
    task::JoinHandle,
    time::{sleep_until, timeout},
};
use tracing::{Instrument, debug, info_span, warn};

use super::{
    Inner,
    connection::Lease,
    decode::{Decoder, Output},
    error::{at_open, blames_connection, failure, in_stream},
    input::{self, Ear},
    wire::Encoder,
    writer::{self, Notice, Order, Stop, Writer},
};
use crate::{
    clock::now,
    duplex::Duplex,
    error::{ProviderError, ProviderErrorKind},
    model::{ModelEvent, Session, SessionSeed},
};

/// Opens a session that knows `seed`.
pub(super) async fn open(model: &Inner, seed: SessionSeed) -> Result<Session, ProviderError> {
    let config = &model.config;
    let held = Arc::new(Held::new(model));
    let encoder = Encoder::new();
    // The service may want to see the opening before it answers, so it is all there from the
    // start: to wait for the answer first would be to wait for ever.
    let opening = encoder.opening(config, model.features, &seed);
    let (input, body) = input::channel(opening);
    let begun = now();
    let answer = held
        .lease
        .client()
        .invoke_model_with_bidirectional_stream()
        .model_id(&config.model_id)
        .body(body.into())
        .send();
    let answer = match timeout(config.open_timeout, Box::pin(answer)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            if blames_connection(&error) {
                held.lease.spoil();
            }
            return Err(at_open(error));
        }
        Err(_) => {
            held.lease.spoil();
            return Err(failure(
                ProviderErrorKind::TimedOut,
                format!("no answer within {:?}", config.open_timeout),
            ));
        }
    };
    let request_id = answer.request_id().map(str::to_owned);
    let span = info_span!("nova_sonic", call = %seed.call, request_id);
    span.in_scope(|| debug!(took = ?(now() - begun), "session opened"));

    let (commands, to_writer) = mpsc::channel(COMMANDS);
    let (to_user, events) = mpsc::channel(EVENTS + 1);
    let last_word = to_user
        .clone()
        .try_reserve_owned()
        .expect("a new channel has room");
    let (order, orders) = mpsc::channel(NOTES);
    let (notice, notices) = mpsc::channel(NOTES);
    let ear = Arc::new(Ear::new(now()));
    let writer = Writer {
        input,
        encoder,
        rate: seed.input_rate,
        features: model.features,
        audio_event: config
            .audio_event
            .clamp(writer::SHORTEST_EVENT, writer::LONGEST_EVENT),
        stall_timeout: config.stall_timeout,
        close_timeout: config.close_timeout,
        ear: Arc::clone(&ear),
        notice,
        feed: writer::Feed::default(),
    };
    let writer = tokio::spawn(
        writing(writer, to_writer, orders, Arc::clone(&held)).instrument(span.clone()),
    );
    let reader = Reader {
        body: answer.body,
        decoder: Decoder::new(seed.output_rate),
        events: to_user,
        order,
        notices: Some(notices),
        ear,
        request_id,
        reply_timeout: config.reply_timeout,
        close_timeout: config.close_timeout,
        heard: false,
        closing: None,
        lost: None,
        reply_due: None,
    };
    tokio::spawn(reading(reader, last_word, AbortOnDrop(writer), held).instrument(span));
    Ok(Duplex { commands, events })
}

async fn writing(
    writer: Writer,
    commands: mpsc::Receiver<crate::model::ModelCommand>,
    orders: mpsc::Receiver<Order>,
    held: Arc<Held>,
) {
    writer.run(commands, orders).await;
    drop(held);
}

async fn reading(
    mut reader: Reader,
    last_word: OwnedPermit<Result<ModelEvent, ProviderError>>,
    writer: AbortOnDrop,
    held: Arc<Held>,
) {
    let end = reader.run().await;
    if reader.decoder.malformed() > 0 {
        warn!(
            count = reader.decoder.malformed(),
            "unreadable events were skipped"
        );
    }
    match &end {
        Ok(()) => debug!("session closed"),
        Err(Ended { error, connection }) => {
            debug!(%error, "session lost");
            if *connection || !reader.heard {
                held.lease.spoil();
            }
        }
    }
    // First let go of both halves of the stream, then say so.
    drop(reader);
    writer.stop().await;
    drop(held);
    if let Err(Ended { error, .. }) = end {
        last_word.send(Err(error));
    }
}

/// What a session holds for as long as one of its tasks lives.
struct Held {
    lease: Lease,
    open: Arc<AtomicUsize>,
}

impl Held {
    fn new(model: &Inner) -> Self {
        model.open.fetch_add(1, Ordering::AcqRel);
        Self {
            lease: model.connections.lease(),
            open: Arc::clone(&model.open),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A task that does not outlive its owner.
struct AbortOnDrop(JoinHandle<()>);

impl AbortOnDrop {
    async fn stop(mut self) {
        self.0.abort();
        // An abort shows as an error, which is what was asked for.
        let _ = (&mut self.0).await;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a session ended that was not told to.
struct Ended {
    error: ProviderError,
    /// Its connection is not to be used again.
    connection: bool,
}

impl Ended {
    fn new(kind: ProviderErrorKind, detail: impl Into<String>) -> Self {
        let connection = matches!(
            kind,
            ProviderErrorKind::Closed | ProviderErrorKind::TimedOut
        );
        Self {
            error: failure(kind, detail),
            connection,
        }
    }
}

struct Reader {
    body: EventReceiver<Down, DownError>,
    decoder: Decoder,
    events: mpsc::Sender<Result<ModelEvent, ProviderError>>,
    order: mpsc::Sender<Order>,
    notices: Option<mpsc::Receiver<Notice>>,
    ear: Arc<Ear>,
    request_id: Option<String>,
    reply_timeout: std::time::Duration,
    close_timeout: std::time::Duration,
    /// The service has said anything at all.
    heard: bool,
    /// The session is closing and will be cut at this time.
    closing: Option<Instant>,
    /// The input was refused; the output should tell why by this time.
    lost: Option<Instant>,
    /// Something should have come by this time.
    reply_due: Option<Instant>,
}

impl Reader {
    /// Reads until the stream ends. `Ok` means that it was told to.
    async fn run(&mut self) -> Result<(), Ended> {
        loop {
            let wake = [self.closing, self.lost, self.reply_due]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                // What was asked must be known before the answer is looked at.
                biased;
                notice = next(&mut self.notices) => self.on_notice(notice)?,
                received = self.body.recv() => match received {
                    Ok(Some(down)) => self.on_event(down).await?,
                    Ok(None) if self.closing.is_some() => return Ok(()),
                    Ok(None) => return Err(Ended::new(
                        ProviderErrorKind::Closed,
                        "the service ended the stream",
                    )),
                    // Any error is final: the SDK repeats some for ever and hangs after others.
                    Err(error) => return self.on_error(error),
                },
                () = sleep_until(wake.unwrap_or_else(now).into()), if wake.is_some() => {
                    if self.on_time(now())? {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn on_event(&mut self, down: Down) -> Result<(), Ended> {
        self.heard = true;
        self.reply_due = None;
        let Down::Chunk(part) = down else {
            return Ok(());
        };
        let Some(json) = part.bytes() else {
            return Ok(());
        };
        // Hardly any document means more than two things, and audio means one.
        let mut outputs = Vec::with_capacity(1);
        self.decoder
            .decode(json.as_ref(), &mut |output| outputs.push(output));
        for output in outputs {
            match output {
                Output::Event(event) => {
                    if matches!(event, ModelEvent::CallerSaid(_)) {
                        self.expect_reply();
                    }
                    self.forward(event).await?;
                }
                Output::ToolUse { id, name } => {
                    warn!(
                        tool = name,
                        "the model called a tool that it was not offered"
                    );
                    if self.order.try_send(Order::RefuseTool(id)).is_err() {
                        warn!("the call cannot be answered");
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands an event to the user, who has a few seconds to make room for it.
    async fn forward(&self, event: ModelEvent) -> Result<(), Ended> {
        match self.events.send_timeout(Ok(event), USER_STALL).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(_)) => Err(Ended::new(
                ProviderErrorKind::TimedOut,
                "the session's events are not being read",
            )),
            Err(SendTimeoutError::Closed(_)) => {
                // Nobody listens any more: close by the book, and keep draining meanwhile.
                if self.closing.is_none() {
                    let _ = self.order.try_send(Order::Finish);
                }
                Ok(())
            }
        }
    }

    fn on_error<R: std::fmt::Debug + Send + Sync + 'static>(
        &self,
        error: SdkError<DownError, R>,
    ) -> Result<(), Ended> {
        let connection = blames_connection(&error);
        let error = in_stream(error, self.request_id.as_deref());
        if self.closing.is_some() {
            warn!(%error, "the session broke while it was being closed");
            return Ok(());
        }
        Err(Ended { error, connection })
    }

    fn on_notice(&mut self, notice: Option<Notice>) -> Result<(), Ended> {
        match notice {
            Some(Notice::Asked(text)) => {
                self.decoder.asked(text);
                self.expect_reply();
            }
            Some(Notice::Closing) => {
                self.closing = Some(now() + self.close_timeout);
                self.reply_due = None;
            }
            Some(Notice::Stopped(_)) if self.closing.is_some() => {}
            Some(Notice::Stopped(Stop::Refused)) => self.lost = Some(now() + REASON_DUE),
            Some(Notice::Stopped(Stop::Stalled)) => {
                return Err(Ended::new(
                    ProviderErrorKind::TimedOut,
                    "the connection takes no more input",
                ));
            }
            Some(Notice::Stopped(Stop::WrongRate { got, due })) => {
                return Err(Ended::new(
                    ProviderErrorKind::Invalid,
                    format!("audio at {got} in a session that was opened for {due}"),
                ));
            }
            None => {
                self.notices = None;
                if self.closing.is_none() && self.lost.is_none() {
                    return Err(Ended::new(
                        ProviderErrorKind::Closed,
                        "the writing half of the session is gone",
                    ));
                }
            }
        }
        Ok(())
    }

    /// A deadline has passed: whether the session ends by it, and how.
    fn on_time(&mut self, now: Instant) -> Result<bool, Ended> {
        let passed = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if passed(self.closing) {
            warn!("the service did not end the stream in time; it is cut");
            return Ok(true);
        }
        if passed(self.lost) {
            return Err(Ended::new(
                ProviderErrorKind::Closed,
                "the service takes no more input",
            ));
        }
        if passed(self.reply_due) {
            // Who still speaks gets no reply yet.
            let quiet_until = self.ear.last_heard() + self.reply_timeout;
            if quiet_until <= now {
                return Err(Ended::new(
                    ProviderErrorKind::TimedOut,
                    "a reply was due and nothing came",
                ));
            }
            self.reply_due = Some(quiet_until);
        }
        Ok(false)
    }

    fn expect_reply(&mut self) {
        if self.closing.is_none() {
            self.reply_due = Some(now() + self.reply_timeout);
        }
    }
}

/// The next notice, or for ever nothing once there can be none.
async fn next(notices: &mut Option<mpsc::Receiver<Notice>>) -> Option<Notice> {
    match notices {
        Some(notices) => notices.recv().await,
        None => std::future::pending().await,
    }
}

/// Five seconds of audio: a replay after a switch of sessions fits, a stall shows soon.
const COMMANDS: usize = 256;

/// Audio comes in bursts, faster than real time: some forty seconds of it in 80 ms pieces.
const EVENTS: usize = 512;

/// Between the two tasks hardly anything is ever said.
const NOTES: usize = 16;

/// A user that does not read for this long is taken for dead.
const USER_STALL: std::time::Duration = std::time::Duration::from_secs(5);

/// The reason for a refused input comes on the output side at once, if it comes.
const REASON_DUE: std::time::Duration = std::time::Duration::from_secs(1);
