//! A circuit breaker: a model that fails to open again and again is left in peace for a moment.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::{
    sync::Notify,
    time::{sleep_until, timeout},
};
use tracing::{info, warn};

use super::{Capabilities, Session, SessionSeed, SpeechModel};
use crate::{
    clock::now,
    error::{ProviderError, ProviderErrorKind},
};

/// Guards one model endpoint: after five failed opens in a row nobody asks it for two seconds,
/// then one opening tries, and its outcome decides for all. Only openings count: a session that
/// breaks later says nothing about the next one.
///
/// An opening that comes meanwhile waits for that one, within seconds: it may be that of a call
/// that goes on. Whoever lets new calls in should ask [`Circuit::is_open`] first, and refuse them
/// politely.
pub struct Breaker<M> {
    model: M,
    circuit: Circuit,
}

impl<M> Breaker<M> {
    /// Guards `model`.
    #[must_use]
    pub fn new(model: M) -> Self {
        Self {
            model,
            circuit: Circuit::default(),
        }
    }

    /// How it stands. Cheap to clone.
    #[must_use]
    pub fn circuit(&self) -> Circuit {
        self.circuit.clone()
    }

    /// The model itself.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.model
    }
}

#[async_trait]
impl<M: SpeechModel> SpeechModel for Breaker<M> {
    fn capabilities(&self) -> Capabilities {
        self.model.capabilities()
    }

    async fn open(&self, seed: SessionSeed) -> Result<Session, ProviderError> {
        let attempt = self.circuit.enter().await?;
        let opened = self.model.open(seed).await;
        attempt.ended(opened.is_ok());
        opened
    }
}

impl<M: fmt::Debug> fmt::Debug for Breaker<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("model", &self.model)
            .field("circuit", &self.circuit)
            .finish()
    }
}

/// Whether a model's endpoint is asked for sessions just now.
#[derive(Clone, Default)]
pub struct Circuit(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// The opening that tries has ended.
    tried: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Failed opens in a row.
    failed: u32,
    last_failure: Option<Instant>,
    /// Nobody asks until then; one may from then on.
    open_until: Option<Instant>,
    /// One does.
    trying: bool,
}

/// What an opening is to do.
enum Entry {
    Go { trying: bool },
    WaitUntil(Instant),
    WaitForTrial,
}

impl Circuit {
    /// Whether nobody may ask for a session right now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let state = self.state();
        state
            .open_until
            .is_some_and(|until| state.trying || now() < until)
    }

    /// Waits until an opening may ask, for as long as somebody listens to nothing.
    async fn enter(&self) -> Result<Attempt<'_>, ProviderError> {
        let waiting = async {
            loop {
                let tried = self.0.tried.notified();
                tokio::pin!(tried);
                tried.as_mut().enable();
                match self.look() {
                    Entry::Go { trying } => return Some(trying),
                    Entry::WaitUntil(until) => sleep_until(until.into()).await,
                    Entry::WaitForTrial => {
                        tried.await;
                        // What it found out holds for everybody.
                        if self.is_open() {
                            return None;
                        }
                    }
                }
            }
        };
        match timeout(PATIENCE, waiting).await {
            Ok(Some(trying)) => Ok(Attempt {
                circuit: self,
                trying,
                over: false,
            }),
            Ok(None) | Err(_) => Err(
                ProviderError::new("breaker", ProviderErrorKind::Unavailable).with_detail(
                    "the model has failed to open too often in a row; it is tried again soon",
                ),
            ),
        }
    }

    fn look(&self) -> Entry {
        let mut state = self.state();
        match state.open_until {
            None => Entry::Go { trying: false },
            Some(until) if now() < until => Entry::WaitUntil(until),
            Some(_) if state.trying => Entry::WaitForTrial,
            Some(_) => {
                state.trying = true;
                Entry::Go { trying: true }
            }
        }
    }

    fn succeeded(&self) {
        let mut state = self.state();
        if state.open_until.is_some() {
            info!("the model opens again");
        }
        *state = State::default();
    }

    fn failed(&self, trying: bool) {
        let (mut state, now) = (self.state(), now());
        if state.last_failure.is_some_and(|last| now - last > FORGET) {
            state.failed = 0;
        }
        state.last_failure = Some(now);
        state.failed = state.failed.saturating_add(1);
        if trying {
            state.trying = false;
        }
        if trying || (state.failed >= MOST && state.open_until.is_none()) {
            warn!(
                failed = state.failed,
                "the model fails to open and is left in peace"
            );
            state.open_until = Some(now + PEACE);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Circuit").field(&*self.state()).finish()
    }
}

/// An opening that was let through. One that is dropped half-way has found out nothing.
struct Attempt<'a> {
    circuit: &'a Circuit,
    trying: bool,
    over: bool,
}

impl Attempt<'_> {
    fn ended(mut self, well: bool) {
        self.over = true;
        if well {
            self.circuit.succeeded();
        } else {
            self.circuit.failed(self.trying);
        }
        self.circuit.0.tried.notify_waiters();
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.over && self.trying {
            self.circuit.state().trying = false;
            self.circuit.0.tried.notify_waiters();
        }
    }
}

/// More than one call tries in a row before it gives up.
const MOST: u32 = 5;

/// How long nobody asks.
const PEACE: Duration = Duration::from_secs(2);

/// Failures that lie so far apart have nothing to do with each other.
const FORGET: Duration = Duration::from_secs(30);

/// How long an opening waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

    use super::*;
    use crate::{
        audio::SampleRate,
        call::CallId,
        model::scripted::{Script, Scripted},
    };

    /// Opens, or not, and counts who asks.
    #[derive(Debug)]
    struct Endpoint {
        well: AtomicBool,
        asked: AtomicUsize,
        takes: Duration,
    }

    #[async_trait]
    impl SpeechModel for Endpoint {
        fn capabilities(&self) -> Capabilities {
            Scripted::new(Script::scheduling()).capabilities()
        }

        async fn open(&self, seed: SessionSeed) -> Result<Session, ProviderError> {
            self.asked.fetch_add(1, Relaxed);
            tokio::time::sleep(self.takes).await;
            if self.well.load(Relaxed) {
                return Scripted::new(Script::scheduling()).open(seed).await;
            }
            Err(ProviderError::new("test", ProviderErrorKind::Unavailable))
        }
    }

    fn endpoint(takes: Duration) -> Breaker<Endpoint> {
        Breaker::new(Endpoint {
            well: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            takes,
        })
    }

    async fn open(breaker: &Breaker<Endpoint>) -> bool {
        let seed = SessionSeed::new(CallId::new("1"), "", SampleRate::Hz16000);
        breaker.open(seed).await.is_ok()
    }

    async fn broken() -> Breaker<Endpoint> {
        let breaker = endpoint(Duration::from_millis(100));
        for _ in 0..MOST {
            assert!(!breaker.circuit().is_open());
            assert!(!open(&breaker).await);
        }
        assert!(breaker.circuit().is_open());
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_fails_again_and_again_is_asked_once_in_two_seconds() {
        let breaker = broken().await;
        let ten = (0..10).map(|_| open(&breaker));
        let opened = futures::future::join_all(ten).await;
        assert!(opened.iter().all(|opened| !opened));
        assert_eq!(breaker.model().asked.load(Relaxed), MOST as usize + 1);
        assert!(breaker.circuit().is_open(), "for another two seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_opens_again_is_everybody_s_at_once() {
        let breaker = broken().await;
        breaker.model().well.store(true, Relaxed);
        let ten = (0..10).map(|_| open(&breaker));
        let opened = futures::future::join_all(ten).await;
        assert!(opened.iter().all(|opened| *opened));
        assert!(!breaker.circuit().is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn after_two_seconds_a_new_call_may_be_let_in_to_try() {
        let breaker = broken().await;
        tokio::time::advance(PEACE).await;
        assert!(!breaker.circuit().is_open());
        breaker.model().well.store(true, Relaxed);
        assert!(open(&breaker).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_opening_that_is_given_up_half_way_lets_another_one_try() {
        let breaker = broken().await;
        tokio::time::advance(PEACE).await;
        let given_up = timeout(Duration::from_millis(50), open(&breaker)).await;
        assert!(given_up.is_err());
        breaker.model().well.store(true, Relaxed);
        assert!(open(&breaker).await);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_now_and_then_break_nothing() {
        let breaker = endpoint(Duration::ZERO);
        for _ in 0..20 {
            assert!(!open(&breaker).await);
            tokio::time::advance(FORGET * 2).await;
        }
        assert!(!breaker.circuit().is_open());
    }
}
