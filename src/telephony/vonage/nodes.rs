//! What the nodes of one service do together: they keep one account's limit, and an event that
//! reaches one of them may concern another.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::timeout;

use super::webhook::StatusEvent;
use crate::{
    clock,
    error::ProviderError,
    outbound::pace::{Turns, arrive},
    state::StateStore,
};

/// Keeps the limit of an account's requests for several nodes.
#[async_trait]
pub trait SharedLimit: fmt::Debug + Send + Sync + 'static {
    /// Waits until the account may send another request. Whatever is out of order, it comes back
    /// before a caller would notice: each node keeps the limit for itself besides.
    async fn request(&self);
}

/// Keeps what events say where all nodes find it.
#[async_trait]
pub trait EventKeeper: fmt::Debug + Send + Sync + 'static {
    /// Called for every event of a placed call before it is acknowledged, so soon return.
    ///
    /// # Errors
    ///
    /// When what must not be lost could not be kept: the event is then answered with 503, and
    /// Vonage sends it once more (Vonage: webhook retries), to another node perhaps.
    async fn keep(&self, event: &StatusEvent) -> Result<(), ProviderError>;
}

/// A limit in the state that nodes share: a queue in which every request takes a place.
#[derive(Clone, Debug)]
pub struct LimitInState(Turns);

impl LimitInState {
    /// The limit of so many requests in any one second; those of a node are
    /// [`RateLimits::requests`](super::rest::RateLimits::requests).
    pub fn new(state: Arc<dyn StateStore>, requests: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let rate = requests as f64 * SHARE;
        Self(Turns::in_queue(state, QUEUE, rate))
    }
}

#[async_trait]
impl SharedLimit for LimitInState {
    async fn request(&self) {
        // A store that is slow must not keep a call from being hung up.
        for _ in 0..TURNS {
            match timeout(ASKED, self.0.take(QUEUED, clock::wall)).await {
                Ok(Ok(place)) if arrive(place, clock::wall).await => return,
                // Kept from going on at that time: late ones would come in a crowd.
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    return tracing::debug!(%error, "a request to the carrier goes out without a turn");
                }
                Err(_) => return tracing::debug!("a request to the carrier waits for no turn"),
            }
        }
    }
}

const QUEUE: &str = "requests";

/// How much of the limit is used: what goes out evenly may arrive unevenly.
const SHARE: f64 = 0.8;

/// How often a turn is taken that may be missed.
const TURNS: usize = 3;

/// How long a store may take for a place.
const ASKED: Duration = Duration::from_secs(1);

/// Longer queues are left to the carrier, which says when to come again.
const QUEUED: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::now, state::MemoryState};

    #[tokio::test(start_paused = true)]
    async fn three_nodes_together_keep_the_limit_of_one_account() {
        let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let mut sent = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let node = LimitInState::new(Arc::clone(&state), 15);
            for _ in 0..20 {
                let node = node.clone();
                sent.spawn(async move {
                    node.request().await;
                    now()
                });
            }
        }
        let mut times = sent.join_all().await;
        times.sort();
        for window in times.windows(16) {
            let span = window[15].duration_since(window[0]);
            assert!(span >= Duration::from_secs(1), "{span:?}");
        }
        let all = times[59].duration_since(times[0]);
        assert!(all < Duration::from_secs(7), "{all:?}");
    }

    #[derive(Debug)]
    struct Silent;

    #[async_trait]
    impl StateStore for Silent {
        async fn get(
            &self,
            _: &crate::state::Key,
            _: jiff::Timestamp,
        ) -> Result<Option<crate::state::Record>, ProviderError> {
            std::future::pending().await
        }

        async fn list(
            &self,
            _: &str,
            _: &crate::state::IdRange,
            _: usize,
            _: jiff::Timestamp,
        ) -> Result<Vec<crate::state::Record>, ProviderError> {
            std::future::pending().await
        }

        async fn apply(
            &self,
            _: Vec<crate::state::Write>,
            _: jiff::Timestamp,
        ) -> Result<(), ProviderError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_delays_every_request_once() {
        let node = LimitInState::new(Arc::new(Silent), 15);
        let began = now();
        let requests = (0..10).map(|_| node.request());
        futures::future::join_all(requests).await;
        assert!(now().duration_since(began) < 2 * ASKED);
    }
}
