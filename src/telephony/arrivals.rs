//! Legs that have opened and wait for somebody to answer them.

use std::sync::{Mutex as SyncMutex, PoisonError};

use tokio::sync::{Mutex, mpsc};

use crate::{
    error::{ProviderError, ProviderErrorKind},
    telephony::Leg,
};

/// A bounded queue of new legs.
#[derive(Debug)]
pub(crate) struct Arrivals {
    provider: &'static str,
    door: SyncMutex<Option<mpsc::Sender<Leg>>>,
    waiting: Mutex<mpsc::Receiver<Leg>>,
}

/// Nobody answers: the queue is full or closed.
#[derive(Debug)]
pub(crate) struct NobodyAnswers;

impl Arrivals {
    pub(crate) fn new(provider: &'static str) -> Self {
        let (door, waiting) = mpsc::channel(MAX_WAITING);
        Self {
            provider,
            door: SyncMutex::new(Some(door)),
            waiting: Mutex::new(waiting),
        }
    }

    /// Queues a leg.
    pub(crate) fn offer(&self, leg: Leg) -> Result<(), NobodyAnswers> {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        let door = door.as_ref().ok_or(NobodyAnswers)?;
        door.try_send(leg).map_err(|_| NobodyAnswers)
    }

    /// The next leg. Cancel safe.
    pub(crate) async fn answer(&self) -> Result<Leg, ProviderError> {
        let leg = self.waiting.lock().await.recv().await;
        leg.ok_or_else(|| {
            ProviderError::new(self.provider, ProviderErrorKind::Closed)
                .with_detail("no more calls are taken")
        })
    }

    /// Takes no further leg; those that wait are still answered.
    pub(crate) fn close(&self) {
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        *door = None;
    }
}

/// Enough for a burst; an agent answers within microseconds.
const MAX_WAITING: usize = 64;
