//! The model sessions of one call: opening, live, closing.

use std::{
    future::pending,
    sync::{Arc, atomic::AtomicUsize},
};

use tokio::task::JoinSet;
use tracing::{Instrument, warn};

use super::{
    Parts,
    driver::reserve,
    handle::{Counted, Shared},
};
use crate::{
    audio::AudioFrame,
    conversation::{Input, SessionId},
    error::{ProviderError, ProviderErrorKind},
    model::{ModelCommand, Session, SessionSeed, SpeechModel},
};

/// Sessions by name. Dropping them ends them.
#[derive(Debug)]
pub(super) struct Sessions {
    opening: JoinSet<(SessionId, Result<Session, ProviderError>)>,
    live: Option<Live>,
    /// A session that was given up before it was live.
    gone: Option<SessionId>,
    /// The session that is opening, for the case that its task dies without a word.
    opening_id: Option<SessionId>,
    open: Arc<AtomicUsize>,
    tasks: Arc<AtomicUsize>,
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Live {
    id: SessionId,
    session: Session,
}

impl Sessions {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            opening: JoinSet::new(),
            live: None,
            gone: None,
            opening_id: None,
            open: Arc::clone(&shared.sessions),
            tasks: Arc::clone(&shared.tasks),
            counted: None,
        }
    }

    pub(super) fn open<M, S, L>(
        &mut self,
        id: SessionId,
        parts: Arc<Parts<M, S, L>>,
        seed: SessionSeed,
    ) where
        M: SpeechModel,
        S: Send + Sync + 'static,
        L: Send + Sync + 'static,
    {
        let task = Counted::new(&self.tasks);
        self.counted = Some(Counted::new(&self.open));
        self.opening_id = Some(id);
        let opening = async move {
            let _counted = task;
            (id, parts.model.open(seed).await)
        };
        self.opening.spawn(opening.in_current_span());
    }

    /// Gives the session a frame. `false` when it does not keep up, or is not there.
    pub(super) fn feed(&mut self, id: SessionId, frame: AudioFrame) -> bool {
        let Some(live) = self.live.as_mut().filter(|live| live.id == id) else {
            return false;
        };
        let commands = &live.session.commands;
        commands.capacity() > reserve(commands.max_capacity())
            && commands.try_send(ModelCommand::Audio(frame)).is_ok()
    }

    /// Gives the session a command that must not be lost. One that takes none is lost itself.
    pub(super) fn command(&mut self, id: SessionId, command: ModelCommand) {
        let Some(live) = self.live.as_ref().filter(|live| live.id == id) else {
            return;
        };
        if live.session.commands.try_send(command).is_err() {
            warn!("the session takes no commands any more and counts as lost");
            self.live = None;
            self.gone = Some(id);
        }
    }

    /// Closes by the book, or stops opening.
    pub(super) fn close(&mut self, id: SessionId) {
        if self.live.as_ref().is_some_and(|live| live.id == id) {
            self.command(id, ModelCommand::Finish);
        } else {
            self.opening.abort_all();
            self.gone = Some(id);
        }
    }

    /// The next thing that a session reports. Cancel safe.
    pub(super) async fn next(&mut self) -> Input {
        if let Some(id) = self.gone.take() {
            self.counted = None;
            return Input::ModelEnded(id, Some(ProviderErrorKind::Unavailable));
        }
        let Self { opening, live, .. } = self;
        let report = async {
            match live {
                Some(live) => (live.id, live.session.events.recv().await),
                None => pending().await,
            }
        };
        tokio::select! {
            (id, event) = report => match event {
                Some(Ok(event)) => Input::Model(id, event),
                Some(Err(failed)) => self.lost(id, &failed),
                None => {
                    self.live = None;
                    self.counted = None;
                    Input::ModelEnded(id, None)
                }
            },
            Some(opened) = opening.join_next() => match opened {
                Ok((id, Ok(session))) => {
                    self.live = Some(Live { id, session });
                    Input::ModelOpened(id)
                }
                Ok((id, Err(failed))) => self.lost(id, &failed),
                // An aborted opening was reported as gone; a panic is a bug, and a lost session.
                Err(failed) => match self.opening_id.take().filter(|_| failed.is_panic()) {
                    Some(id) => {
                        let failed = ProviderError::new("agent", ProviderErrorKind::Unavailable).with_source(failed);
                        self.lost(id, &failed)
                    }
                    None => Input::Tick,
                },
            },
        }
    }

    fn lost(&mut self, id: SessionId, failed: &ProviderError) -> Input {
        warn!(
            error = failed as &dyn std::error::Error,
            "the model session is lost"
        );
        self.live = None;
        self.counted = None;
        Input::ModelEnded(id, Some(failed.kind().clone()))
    }
}
