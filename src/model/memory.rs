//! A model without a model: the one to read first, and the one for tests.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{
    duplex::{Duplex, Port},
    error::{ProviderError, ProviderErrorKind},
    model::{Capabilities, ModelCommand, ModelEvent, Session, SessionSeed, SpeechModel},
};

/// A model whose every session is played by a test: it sees every command and makes up every
/// event.
///
/// ```
/// use novavoice::{
///     audio::SampleRate,
///     call::CallId,
///     model::{ModelCommand, ModelEvent, SessionSeed, SpeechModel, memory::Puppet},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (model, mut opened) = Puppet::new();
/// let seed = SessionSeed::new(CallId::random(), "Be kind.", SampleRate::Hz16000);
/// let mut session = model.open(seed).await?;
/// let mut played = opened.recv().await.ok_or("one was opened")?;
///
/// session.commands.send(ModelCommand::Text("Say hello".into())).await?;
/// assert_eq!(played.port.commands.recv().await, Some(ModelCommand::Text("Say hello".into())));
/// played.port.events.send(Ok(ModelEvent::AgentSaid("Hello".into()))).await?;
/// assert!(matches!(session.events.recv().await, Some(Ok(ModelEvent::AgentSaid(_)))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Puppet {
    capabilities: Capabilities,
    opened: mpsc::Sender<OpenedSession>,
    failures: Mutex<VecDeque<ProviderError>>,
}

/// A session that was opened, from the model's side.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pair; tests take it apart")]
pub struct OpenedSession {
    /// What it was told.
    pub seed: SessionSeed,
    /// Commands of its user, events of the model. Dropping it without an error or a
    /// [`Finish`](ModelCommand::Finish) is what a real model must never do.
    pub port: Port<ModelCommand, ModelEvent>,
}

impl Puppet {
    /// A model that takes text and never ends a session, and where its sessions come out.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<OpenedSession>) {
        let (opened, sessions) = mpsc::channel(UNPLAYED);
        let puppet = Self {
            capabilities: Capabilities {
                name: NAME,
                text_input: true,
                tools: true,
                max_session: None,
            },
            opened,
            failures: Mutex::default(),
        };
        (puppet, sessions)
    }

    /// The same model, claiming to be able to do something else.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Lets the next open that nobody failed yet fail with `error`. Several fail in this order;
    /// then sessions open again.
    pub fn fail_open(&self, error: ProviderError) {
        self.failures().push_back(error);
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, VecDeque<ProviderError>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SpeechModel for Puppet {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    /// Waits while very many sessions lie in the receiver unplayed, which is how a test makes an
    /// open that hangs.
    async fn open(&self, seed: SessionSeed) -> Result<Session, ProviderError> {
        if let Some(error) = self.failures().pop_front() {
            return Err(error);
        }
        let (session, port) = Duplex::pair(DEPTH);
        let opened = self.opened.send(OpenedSession { seed, port }).await;
        opened.map_err(|_| {
            ProviderError::new(NAME, ProviderErrorKind::Unavailable)
                .with_detail("nobody plays the model any more")
        })?;
        Ok(session)
    }
}

const NAME: &str = "puppet";
/// Sessions that may wait for somebody to play them.
const UNPLAYED: usize = 64;
/// Messages that wait in each direction: 1.28 s of audio.
const DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audio::SampleRate, call::CallId};

    fn seed() -> SessionSeed {
        SessionSeed::new(CallId::new("a"), "", SampleRate::Hz16000)
    }

    #[tokio::test]
    async fn opens_fail_as_often_as_the_test_asks() {
        let (model, _sessions) = Puppet::new();
        for kind in [ProviderErrorKind::Unauthorized, ProviderErrorKind::TimedOut] {
            model.fail_open(ProviderError::new(NAME, kind));
        }
        let first = model.open(seed()).await.unwrap_err();
        assert_eq!(*first.kind(), ProviderErrorKind::Unauthorized);
        let second = model.open(seed()).await.unwrap_err();
        assert_eq!(*second.kind(), ProviderErrorKind::TimedOut);
        assert!(model.open(seed()).await.is_ok());
    }

    #[tokio::test]
    async fn nothing_opens_once_nobody_plays() {
        let (model, sessions) = Puppet::new();
        drop(sessions);
        let error = model.open(seed()).await.unwrap_err();
        assert_eq!(*error.kind(), ProviderErrorKind::Unavailable);
    }
}
