//! The reading half of a session: drains the output whatever happens, since an undrained stream
//! would stall the connection, and keeps the session's deadlines.

use std::{fmt, sync::Arc, time::Duration};

use aws_sdk_bedrockruntime::{
    error::SdkError,
    primitives::event_stream::EventReceiver,
    types::{
        InvokeModelWithBidirectionalStreamOutput as Down,
        error::InvokeModelWithBidirectionalStreamOutputError as DownError,
    },
};
use tokio::{
    sync::mpsc::{self, error::SendTimeoutError},
    time::sleep_until,
};
use tracing::warn;

use super::{
    deadline::{Deadlines, Missed},
    decode::Decoder,
    error::{blames_connection, failure, in_stream},
    input::Ear,
    log::{EventLog, Way},
    writer::{Notice, Order, Stop},
};
use crate::{
    clock::now,
    error::{ProviderError, ProviderErrorKind},
    model::ModelEvent,
};

/// Why a session ended that was not told to.
pub(super) struct Ended {
    pub(super) error: ProviderError,
    /// Its connection is not to be used again.
    pub(super) connection: bool,
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

/// The reading half.
pub(super) struct Reader {
    pub(super) body: EventReceiver<Down, DownError>,
    pub(super) decoder: Decoder,
    pub(super) events: mpsc::Sender<Result<ModelEvent, ProviderError>>,
    /// `None` once nobody listens any more, which is what tells the writer so.
    pub(super) orders: Option<mpsc::Sender<Order>>,
    pub(super) notices: Option<mpsc::Receiver<Notice>>,
    pub(super) ear: Arc<Ear>,
    pub(super) log: Arc<EventLog>,
    pub(super) request_id: Option<String>,
    pub(super) stall_timeout: Duration,
    pub(super) deadlines: Deadlines,
    /// The service has said anything at all.
    pub(super) heard: bool,
}

impl Reader {
    /// Reads until the stream ends. `Ok` means that it was told to.
    pub(super) async fn run(&mut self) -> Result<(), Ended> {
        loop {
            let wake = self.deadlines.next();
            tokio::select! {
                // What was asked must be known before the answer is looked at, and a stream that
                // never pauses must not hold up the deadlines.
                biased;
                notice = next(&mut self.notices) => self.on_notice(notice)?,
                () = sleep_until(wake.unwrap_or_else(now).into()), if wake.is_some() => {
                    if self.on_time()? {
                        return Ok(());
                    }
                }
                () = self.events.closed(), if self.orders.is_some() => self.desert(),
                received = self.body.recv() => match received {
                    Ok(Some(down)) => self.on_event(down).await?,
                    Ok(None) if self.deadlines.is_closing() => return Ok(()),
                    Ok(None) => return Err(Ended::new(
                        ProviderErrorKind::Closed,
                        "the service ended the stream",
                    )),
                    // Any error is final: the SDK repeats some for ever and hangs after others.
                    Err(error) => return self.on_error(error),
                },
            }
        }
    }

    async fn on_event(&mut self, down: Down) -> Result<(), Ended> {
        self.heard = true;
        self.deadlines.sign_of_life(now());
        let Down::Chunk(part) = down else {
            return Ok(());
        };
        let Some(json) = part.bytes() else {
            return Ok(());
        };
        self.log.note(Way::Got, json.as_ref());
        // Hardly any document means more than two things, and audio means one.
        let mut events = Vec::with_capacity(1);
        self.decoder
            .decode(json.as_ref(), &mut |event| events.push(event));
        for event in events {
            match &event {
                ModelEvent::CallerSaid(_) => self.deadlines.expect_reply(now()),
                ModelEvent::AgentSaid(_) | ModelEvent::Usage(_) => {}
                ModelEvent::ToolCall(call) => {
                    self.deadlines.replied();
                    // First, so that the result cannot come before it is awaited.
                    let order = Order::AwaitResult(call.id.clone());
                    let orders = self.orders.as_ref();
                    if orders.is_some_and(|orders| orders.try_send(order).is_err()) {
                        return Err(Ended::new(
                            ProviderErrorKind::TimedOut,
                            "the writing half of the session does not keep up",
                        ));
                    }
                }
                _ => self.deadlines.replied(),
            }
            self.forward(event).await?;
        }
        Ok(())
    }

    /// Hands an event to the user, who has a few seconds to make room for it.
    async fn forward(&mut self, event: ModelEvent) -> Result<(), Ended> {
        match self
            .events
            .send_timeout(Ok(event), self.stall_timeout)
            .await
        {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(_)) => Err(Ended::new(
                ProviderErrorKind::TimedOut,
                "the session's events are not being read",
            )),
            Err(SendTimeoutError::Closed(_)) => {
                self.desert();
                Ok(())
            }
        }
    }

    /// Nobody listens any more: has the session closed by the book, and keeps draining meanwhile.
    fn desert(&mut self) {
        self.orders = None;
    }

    fn on_error<R: fmt::Debug + Send + Sync + 'static>(
        &self,
        error: SdkError<DownError, R>,
    ) -> Result<(), Ended> {
        let connection = blames_connection(&error);
        let error = in_stream(error, self.request_id.as_deref());
        let error = self.log.explain(error);
        if self.deadlines.is_closing() {
            warn!(%error, "the session broke while it was being closed");
            return Ok(());
        }
        Err(Ended { error, connection })
    }

    fn on_notice(&mut self, notice: Option<Notice>) -> Result<(), Ended> {
        match notice {
            Some(Notice::Asked(text)) => {
                self.decoder.asked(text);
                self.deadlines.expect_reply(now());
            }
            Some(Notice::Closing) => self.deadlines.close(now()),
            Some(Notice::Stopped(_)) if self.deadlines.is_closing() => {}
            Some(Notice::Stopped(Stop::Refused)) => self.deadlines.lose(now()),
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
                if !self.deadlines.is_closing() && !self.deadlines.is_lost() {
                    return Err(Ended::new(
                        ProviderErrorKind::Closed,
                        "the writing half of the session is gone",
                    ));
                }
            }
        }
        Ok(())
    }

    /// A deadline may have passed: whether the session ends by it, and how.
    fn on_time(&mut self) -> Result<bool, Ended> {
        match self.deadlines.missed(now(), self.ear.last_heard()) {
            None => Ok(false),
            Some(Missed::Close) => {
                warn!("the service did not end the stream in time; it is cut");
                Ok(true)
            }
            Some(Missed::Reason) => Err(Ended::new(
                ProviderErrorKind::Closed,
                "the service takes no more input",
            )),
            Some(Missed::Reply) => Err(Ended::new(
                ProviderErrorKind::TimedOut,
                "a reply was due and nothing came",
            )),
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
