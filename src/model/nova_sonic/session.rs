//! One session: how it opens, and the two tasks that keep it moving.
//!
//! The [writer](super::writer) owns the input and turns commands into events; the
//! [reader](super::reader) drains the output. The reader has the last word: when it ends it takes
//! the writer with it, and with both gone everything that the session held is free.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_sdk_bedrockruntime::operation::RequestId;
use tokio::{
    sync::mpsc::{self, OwnedPermit},
    task::JoinHandle,
    time::timeout,
};
use tracing::{Instrument, debug, info_span, warn};

use super::{
    Inner,
    connection::Lease,
    deadline::Deadlines,
    decode::Decoder,
    error::{at_open, blames_connection, failure},
    input::{self, Ear},
    log::{EventLog, Way},
    reader::{Ended, Reader},
    wire::Encoder,
    writer::{self, Order, Writer},
};
use crate::{
    clock::now,
    duplex::Duplex,
    error::{ProviderError, ProviderErrorKind},
    model::{ModelCommand, ModelEvent, Session, SessionSeed},
};

/// Opens a session that knows `seed`.
pub(super) async fn open(model: &Inner, seed: SessionSeed) -> Result<Session, ProviderError> {
    let config = &model.config;
    let held = Arc::new(Held::new(model));
    let encoder = Encoder::new();
    // The service may want to see the opening before it answers, so it is all there from the
    // start: to wait for the answer first would be to wait for ever.
    let opening = encoder.opening(config, model.features, &seed);
    let log = Arc::<EventLog>::default();
    opening.iter().for_each(|event| log.note(Way::Sent, event));
    let (input, body) = input::channel(opening);
    let begun = now();
    let answer = held
        .lease
        .client()
        .invoke_model_with_bidirectional_stream()
        .model_id(&config.model_id)
        .body(body.into())
        .customize()
        .config_override(held.lease.over())
        .send();
    let answer = match timeout(config.open_timeout, Box::pin(answer)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            if blames_connection(&error) {
                held.lease.spoil();
            }
            return Err(log.explain(at_open(error)));
        }
        Err(_) => {
            held.lease.spoil();
            // The request is cancelled now. An input that ended before that is noticed would be
            // an end against the rules, so it ends with the request.
            tokio::spawn(async move {
                let _ = timeout(CANCELLED, input.closed()).await;
            });
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
    let (to_follow, orders) = mpsc::channel(NOTES);
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
        log: Arc::clone(&log),
        notice,
        feed: writer::Feed::default(),
        uses: writer::Uses::default(),
    };
    let writer = tokio::spawn(
        writing(writer, to_writer, orders, Arc::clone(&held)).instrument(span.clone()),
    );
    let reader = Reader {
        body: answer.body,
        decoder: Decoder::new(seed.output_rate),
        events: to_user,
        orders: Some(to_follow),
        notices: Some(notices),
        ear,
        log,
        request_id,
        stall_timeout: config.stall_timeout,
        deadlines: Deadlines::new(config.reply_timeout, config.close_timeout),
        heard: false,
    };
    tokio::spawn(reading(reader, last_word, AbortOnDrop(writer), held).instrument(span));
    Ok(Duplex { commands, events })
}

async fn writing(
    writer: Writer,
    commands: mpsc::Receiver<ModelCommand>,
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

/// How long the connection may take to drop a request that is cancelled; it does so at once.
const CANCELLED: Duration = Duration::from_secs(5);

/// Five seconds of audio: a replay after a switch of sessions fits, a stall shows soon.
const COMMANDS: usize = 256;

/// Audio comes in bursts, faster than real time: some forty seconds of it in 80 ms pieces.
const EVENTS: usize = 512;

/// Between the two tasks hardly anything is ever said.
const NOTES: usize = 16;
