//! The model sessions of one call: opening, live, closing.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, atomic::AtomicUsize},
    task::Poll,
};

use tokio::{
    task::{AbortHandle, JoinError, JoinSet},
    time::timeout,
};
use tracing::{Instrument, warn};

use super::{
    Parts,
    driver::reserve,
    handle::{Counted, Shared},
    quota::{Permit, Turn},
};
use crate::{
    audio::AudioFrame,
    conversation::{Input, OPENING, SessionId},
    error::{ProviderError, ProviderErrorKind},
    model::{ModelCommand, Session, SessionSeed, SpeechModel},
};

/// Sessions by name. Dropping them ends them.
#[derive(Debug)]
pub(super) struct Sessions {
    opening: JoinSet<Answer>,
    asked: Vec<(SessionId, AbortHandle)>,
    live: Vec<Live>,
    /// Sessions that were given up, to be reported.
    gone: VecDeque<SessionId>,
    /// What the last one that was lost said.
    failure: Option<String>,
    open: Arc<AtomicUsize>,
    tasks: Arc<AtomicUsize>,
}

/// How an opening ended.
type Answer = (SessionId, Result<Opened, ProviderError>);

/// A session, and what it holds for as long as it lives.
#[derive(Debug)]
struct Opened {
    session: Session,
    _counted: Counted,
    _permit: Permit,
}

#[derive(Debug)]
struct Live {
    id: SessionId,
    opened: Opened,
}

impl Sessions {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            opening: JoinSet::new(),
            asked: Vec::new(),
            live: Vec::new(),
            gone: VecDeque::new(),
            failure: None,
            open: Arc::clone(&shared.sessions),
            tasks: Arc::clone(&shared.tasks),
        }
    }

    /// Asks for a session; waits its turn where sessions are limited.
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
        let counted = Counted::new(&self.open);
        let turn = match id {
            SessionId(1) => Turn::New,
            SessionId(_) => Turn::Going,
        };
        let opening = async move {
            let _task = task;
            let permit = parts.quota.acquire(turn).await;
            let longest = parts.config.open_timeout.min(OPENING);
            let session = match timeout(longest, parts.model.open(seed)).await {
                Ok(session) => session,
                Err(_) => Err(ProviderError::new("agent", ProviderErrorKind::TimedOut)
                    .with_detail(format!("the model did not open within {longest:?}"))),
            };
            (
                id,
                session.map(|session| Opened {
                    session,
                    _counted: counted,
                    _permit: permit,
                }),
            )
        };
        let handle = self.opening.spawn(opening.in_current_span());
        self.asked.push((id, handle));
    }

    /// Gives the session a frame. `false` when it does not keep up, or is not there.
    pub(super) fn feed(&mut self, id: SessionId, frame: AudioFrame) -> bool {
        let Some(live) = self.find(id) else {
            return false;
        };
        let commands = &live.opened.session.commands;
        commands.capacity() > reserve(commands.max_capacity())
            && commands.try_send(ModelCommand::Audio(frame)).is_ok()
    }

    /// Gives the session a command that must not be lost. One that takes none is lost itself.
    pub(super) fn command(&mut self, id: SessionId, command: ModelCommand) {
        let Some(live) = self.find(id) else { return };
        if live.opened.session.commands.try_send(command).is_err() {
            warn!("the session takes no commands any more and counts as lost");
            self.live.retain(|live| live.id != id);
            self.gone.push_back(id);
        }
    }

    /// Closes by the book, or stops opening.
    pub(super) fn close(&mut self, id: SessionId) {
        if self.find(id).is_some() {
            return self.command(id, ModelCommand::Finish);
        }
        if let Some(at) = self.asked.iter().position(|(asked, _)| *asked == id) {
            let (_, opening) = self.asked.swap_remove(at);
            opening.abort();
            self.gone.push_back(id);
        }
    }

    /// The next thing that a session reports. Cancel safe.
    pub(super) async fn next(&mut self) -> Input {
        if let Some(id) = self.gone.pop_front() {
            return Input::ModelEnded(id, Some(ProviderErrorKind::Unavailable));
        }
        let Self { opening, live, .. } = self;
        let report = poll_fn(|cx| {
            for live in live.iter_mut() {
                if let Poll::Ready(event) = live.opened.session.events.poll_recv(cx) {
                    return Poll::Ready((live.id, event));
                }
            }
            Poll::Pending
        });
        tokio::select! {
            (id, event) = report => match event {
                Some(Ok(event)) => Input::Model(id, event),
                Some(Err(failed)) => self.lost(id, &failed),
                None => {
                    self.live.retain(|live| live.id != id);
                    Input::ModelEnded(id, None)
                }
            },
            Some(opened) = opening.join_next_with_id() => self.opened(opened),
        }
    }

    fn opened(&mut self, opened: Result<(tokio::task::Id, Answer), JoinError>) -> Input {
        match opened {
            Ok((_, (id, result))) => {
                // One that was told to stop opening was reported as gone.
                let known = self.asked.iter().position(|(asked, _)| *asked == id);
                let Some(at) = known else { return Input::Tick };
                self.asked.swap_remove(at);
                match result {
                    Ok(opened) => {
                        self.live.push(Live { id, opened });
                        Input::ModelOpened(id)
                    }
                    Err(failed) => self.lost(id, &failed),
                }
            }
            // An aborted opening was reported as gone; a panic is a bug, and a lost session.
            Err(failed) => match self
                .asked
                .iter()
                .position(|(_, task)| task.id() == failed.id())
            {
                Some(at) => {
                    let (id, _) = self.asked.swap_remove(at);
                    let failed = ProviderError::new("agent", ProviderErrorKind::Unavailable)
                        .with_source(failed);
                    self.lost(id, &failed)
                }
                None => Input::Tick,
            },
        }
    }

    fn lost(&mut self, id: SessionId, failed: &ProviderError) -> Input {
        warn!(
            error = failed as &dyn std::error::Error,
            "the model session is lost"
        );
        self.live.retain(|live| live.id != id);
        self.failure = Some(failed.to_string());
        Input::ModelEnded(id, Some(failed.kind().clone()))
    }

    /// What the last session that was lost said of it.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    fn find(&mut self, id: SessionId) -> Option<&mut Live> {
        self.live.iter_mut().find(|live| live.id == id)
    }
}
