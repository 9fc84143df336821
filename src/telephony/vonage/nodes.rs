//! What the nodes of one service do together: they keep one account's limit, and an event that
//! reaches one of them may concern another.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{
    sync::Mutex,
    time::{sleep_until, timeout},
};

use super::webhook::StatusEvent;
use crate::{
    clock,
    error::ProviderError,
    outbound::pace::{arrive, take_place_by},
    state::StateStore,
};

/// Keeps the limit of an account's requests for several nodes.
#[async_trait]
pub trait SharedLimit: fmt::Debug + Send + Sync + 'static {
    /// Waits until the account may send another request. Whatever is out of order, it comes back:
    /// soon for one that is urgent. Each node keeps the limit for itself besides.
    async fn request(&self, urgency: Urgency);
}

/// Who waits for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "one or the other")]
pub enum Urgency {
    /// Somebody on the phone does: their call is steered or ended.
    Caller,
    /// Nobody does: a call is looked up.
    Nobody,
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

/// A limit in the state that nodes share: queues in which every request takes a place. Those that a
/// caller waits for have one of their own: however many calls are looked up, nobody waits for that.
#[derive(Debug)]
pub struct LimitInState {
    urgent: Queue,
    others: Queue,
    /// When a look-up may go out that never got its turn.
    alone: Mutex<Instant>,
}

impl LimitInState {
    /// The limit of so many requests in any one second; those of a node are
    /// [`RateLimits::requests`](super::rest::RateLimits::requests).
    pub fn new(state: Arc<dyn StateStore>, requests: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let limit = requests.max(1) as f64;
        let queue = |state, name, share: f64| Queue {
            state,
            name,
            interval: Duration::from_secs_f64(1.0 / (limit * share)),
            asking: Mutex::default(),
        };
        Self {
            urgent: queue(Arc::clone(&state), "steering", STEERING),
            others: queue(state, "look-ups", LOOK_UPS),
            alone: Mutex::new(clock::now()),
        }
    }

    /// Waits until this node may send a look-up that never got its turn, one after another.
    async fn alone(&self) {
        let mut free = self.alone.lock().await;
        sleep_until((*free).into()).await;
        *free = clock::now() + ALONE;
    }
}

#[async_trait]
impl SharedLimit for LimitInState {
    async fn request(&self, urgency: Urgency) {
        match urgency {
            Urgency::Caller => self.urgent.turn(SOON).await,
            Urgency::Nobody => {
                if !self.others.patient_turn(PATIENCE).await {
                    tracing::debug!("a look-up goes out without a turn");
                    self.alone().await;
                }
            }
        }
    }
}

#[derive(Debug)]
struct Queue {
    state: Arc<dyn StateStore>,
    name: &'static str,
    interval: Duration,
    /// Requests of this node ask one after another, so that only nodes race for a place. Until
    /// when nobody asks, since the store was silent.
    asking: Mutex<Option<Instant>>,
}

impl Queue {
    /// Waits for a turn; not at all where the store is silent, or it would come later than that.
    async fn turn(&self, patience: Duration) {
        let latest = later(clock::wall(), patience);
        while let Ok(Some(place)) = self.place(latest).await {
            // Whoever was kept from going on at that time would come in a crowd.
            if arrive(place, clock::wall).await {
                return;
            }
        }
    }

    /// Waits for a turn, and for the store. `false`: it would come later than that.
    async fn patient_turn(&self, patience: Duration) -> bool {
        let (latest, end) = (later(clock::wall(), patience), clock::now() + patience);
        loop {
            match self.place(latest).await {
                Ok(Some(place)) if arrive(place, clock::wall).await => return true,
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(until) if until > end => {
                    sleep_until(end.into()).await;
                    return false;
                }
                Err(until) => sleep_until(until.into()).await,
            }
        }
    }

    /// The next place, unless it is later than that. Where the store does not tell in time, when it
    /// is asked again.
    async fn place(&self, latest: Timestamp) -> Result<Option<Timestamp>, Instant> {
        let mut silent = self.asking.lock().await;
        if let Some(until) = silent.filter(|until| clock::now() < *until) {
            return Err(until);
        }
        let now = clock::wall();
        let place = take_place_by(&*self.state, self.name, self.interval, now, latest);
        let why = match timeout(ASKED, place).await {
            Ok(Ok(place)) => return Ok(place),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the store is silent".to_owned(),
        };
        let until = clock::now() + SILENT;
        tracing::debug!(
            queue = self.name,
            why,
            "nobody can tell when it is a request's turn"
        );
        *silent = Some(until);
        Err(until)
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How much of the limit steering requests use at most, and look-ups. Together not all of it: what
/// goes out evenly may arrive unevenly.
const STEERING: f64 = 0.4;
const LOOK_UPS: f64 = 0.3;

/// How late a request may be that somebody on the phone waits for. A call that is to end does not
/// wait: its socket closes sooner.
const SOON: Duration = Duration::from_secs(5);

/// How long a look-up waits for its turn at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two look-ups of a node that go out without a turn.
const ALONE: Duration = Duration::from_secs(1);

/// How long a store may take for a place.
const ASKED: Duration = Duration::from_secs(1);

/// How long it is not asked again once it was silent.
const SILENT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::now, state::MemoryState};

    #[tokio::test(start_paused = true)]
    async fn three_nodes_together_keep_the_limit_of_one_account() {
        let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let mut sent = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let node = Arc::new(LimitInState::new(Arc::clone(&state), 15));
            for nth in 0..20 {
                let node = Arc::clone(&node);
                let urgency = [Urgency::Nobody, Urgency::Caller][nth % 2];
                sent.spawn(async move {
                    node.request(urgency).await;
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
            _: Timestamp,
        ) -> Result<Option<crate::state::Record>, ProviderError> {
            std::future::pending().await
        }

        async fn list(
            &self,
            _: &str,
            _: &crate::state::IdRange,
            _: usize,
            _: Timestamp,
        ) -> Result<Vec<crate::state::Record>, ProviderError> {
            std::future::pending().await
        }

        async fn apply(
            &self,
            _: Vec<crate::state::Write>,
            _: Timestamp,
        ) -> Result<(), ProviderError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_caller_waits_for_what_is_looked_up() {
        let node = Arc::new(LimitInState::new(Arc::new(MemoryState::new()), 15));
        for _ in 0..1_000 {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.request(Urgency::Nobody).await });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = now();
        node.request(Urgency::Caller).await;
        assert_eq!(now(), began);
    }

    #[tokio::test(start_paused = true)]
    async fn what_gets_no_turn_does_not_come_in_a_crowd() {
        let node = Arc::new(LimitInState::new(Arc::new(MemoryState::new()), 15));
        let requests = (0..100).map(|_| async {
            node.request(Urgency::Nobody).await;
            now()
        });
        let mut times = futures::future::join_all(requests).await;
        times.sort();
        for window in times.windows(8) {
            let span = window[7].duration_since(window[0]);
            assert!(span >= Duration::from_secs(1), "{span:?}");
        }
    }

    async fn with_a_silent_store(urgency: Urgency) -> Duration {
        let node = LimitInState::new(Arc::new(Silent), 15);
        let began = now();
        let requests = (0..3).map(|_| node.request(urgency));
        futures::future::join_all(requests).await;
        now().duration_since(began)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_delays_whom_a_caller_waits_for_once() {
        assert!(with_a_silent_store(Urgency::Caller).await < 2 * ASKED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_is_waited_for_when_nobody_waits_for_the_request() {
        let waited = with_a_silent_store(Urgency::Nobody).await;
        let alone = PATIENCE + 2 * ALONE;
        assert!((alone..alone + ASKED).contains(&waited), "{waited:?}");
    }
}
