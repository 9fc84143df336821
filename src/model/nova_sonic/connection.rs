//! HTTP clients, each with a connection of its own.
//!
//! An HTTP client keeps one HTTP/2 connection and never opens a second: once the server's limit
//! of streams is reached, further sessions hang without an error, and all sessions of a
//! connection share one receive window. So sessions are counted, starts and ends, and a client
//! with its share is left alone.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use aws_sdk_bedrockruntime::{
    Client,
    config::{Builder, SharedHttpClient},
};

use tokio::{runtime::Handle, task::AbortHandle};

use crate::clock::now;

/// Makes the HTTP client of one more connection.
pub(super) type HttpClients = Box<dyn Fn() -> SharedHttpClient + Send + Sync>;

/// All connections of one model.
pub(super) struct Connections {
    config: Builder,
    /// Signs, finds endpoints and knows the credentials for all of them.
    sdk: OnceLock<Client>,
    http: HttpClients,
    /// How many sessions a client may have at a time.
    share: usize,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    list: Vec<Slot>,
    made: u64,
    /// Whoever lets go of those that have become old; there is none while none is idle.
    watcher: Option<AbortHandle>,
}

struct Slot {
    number: u64,
    http: SharedHttpClient,
    sessions: usize,
    /// Its connection failed somebody: it gets no more sessions.
    spoiled: bool,
    idle_since: Instant,
}

impl Connections {
    /// No connection yet. Each will be an HTTP client of its own and serve up to `share` sessions
    /// at a time; what `config` says counts for all of them.
    pub(super) fn new(config: Builder, http: HttpClients, share: usize) -> Self {
        Self {
            config,
            sdk: OnceLock::new(),
            http,
            share: share.max(1),
            slots: Mutex::default(),
        }
    }

    /// A connection with room for one more session, which the lease stands for.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        let mut slots = self.slots();
        slots.forget_stale();
        let free = slots
            .list
            .iter_mut()
            // The one used last is the likeliest to have a live connection.
            .rev()
            .find(|slot| !slot.spoiled && slot.sessions < self.share);
        let (number, http) = match free {
            Some(slot) => {
                slot.sessions += 1;
                (slot.number, slot.http.clone())
            }
            None => {
                let http = (self.http)();
                slots.made += 1;
                let number = slots.made;
                slots.list.push(Slot {
                    number,
                    http: http.clone(),
                    sessions: 1,
                    spoiled: false,
                    idle_since: now(),
                });
                (number, http)
            }
        };
        drop(slots);
        let sdk = self.sdk.get_or_init(|| {
            // Each request says which connection it takes; this is for what the SDK looks at before.
            let config = self.config.clone().http_client(http.clone());
            Client::from_conf(config.build())
        });
        Lease {
            connections: Arc::clone(self),
            number,
            sdk: sdk.clone(),
            http,
        }
    }

    /// Lets go of connections that nobody has used for a while, until none is idle.
    async fn watch(connections: Weak<Self>) {
        loop {
            let oldest = {
                let Some(connections) = connections.upgrade() else {
                    return;
                };
                let mut slots = connections.slots();
                slots.forget_stale();
                let oldest = slots.idle_since();
                if oldest.is_none() {
                    slots.watcher = None;
                }
                oldest
            };
            let Some(oldest) = oldest else {
                return;
            };
            tokio::time::sleep_until((oldest + MAX_IDLE_AGE + MARGIN).into()).await;
        }
    }

    /// A panic elsewhere leaves counts at worst one too high: better than no more calls.
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    /// Since when the one that nobody has used for longest is idle.
    fn idle_since(&self) -> Option<Instant> {
        let idle = self.list.iter().filter(|slot| slot.sessions == 0);
        idle.map(|slot| slot.idle_since).min()
    }

    /// Lets go of connections that nobody uses: spoiled ones, old ones, and all but a few others.
    fn forget_stale(&mut self) {
        let now = now();
        let mut idle = 0;
        // Newest last, so the newest are counted first.
        let mut at = self.list.len();
        while at > 0 {
            at -= 1;
            let slot = &self.list[at];
            if slot.sessions > 0 {
                continue;
            }
            idle += 1;
            if slot.spoiled || idle > MAX_IDLE || now - slot.idle_since > MAX_IDLE_AGE {
                self.list.remove(at);
            }
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.slots();
        f.debug_struct("Connections")
            .field("made", &slots.list.len())
            .field(
                "sessions",
                &slots.list.iter().map(|slot| slot.sessions).sum::<usize>(),
            )
            .finish_non_exhaustive()
    }
}

/// The right to one session on a connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    connections: Arc<Connections>,
    number: u64,
    sdk: Client,
    http: SharedHttpClient,
}

impl Lease {
    /// What makes requests.
    pub(super) fn client(&self) -> &Client {
        &self.sdk
    }

    /// Settings under which a request goes over this connection.
    pub(super) fn over(&self) -> Builder {
        Builder::new().http_client(self.http.clone())
    }

    /// The connection is not to be trusted, and neither are those that nobody uses just now: what
    /// cut this one may have cut them, too. Later sessions use a new one.
    pub(super) fn spoil(&self) {
        let mut slots = self.connections.slots();
        for slot in &mut slots.list {
            slot.spoiled |= slot.number == self.number || slot.sessions == 0;
        }
    }

    fn with_slot(&self, change: impl FnOnce(&mut Slot)) {
        let mut slots = self.connections.slots();
        if let Some(slot) = slots.list.iter_mut().find(|s| s.number == self.number) {
            change(slot);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.with_slot(|slot| {
            slot.sessions -= 1;
            slot.idle_since = now();
        });
        let mut slots = self.connections.slots();
        slots.forget_stale();
        // One ends with the runtime on which it was started, whatever goes on on another.
        let is_watched = |watcher: &AbortHandle| !watcher.is_finished();
        if !slots.watcher.as_ref().is_some_and(is_watched)
            && slots.idle_since().is_some()
            && let Ok(runtime) = Handle::try_current()
        {
            let watch = Connections::watch(Arc::downgrade(&self.connections));
            slots.watcher = Some(runtime.spawn(watch).abort_handle());
        }
    }
}

/// A burst of calls leaves this many connections behind for the next ones.
const MAX_IDLE: usize = 8;

/// The SDK closes an idle connection after 90 s; one that is about to be closed is a bad start.
const MAX_IDLE_AGE: Duration = Duration::from_secs(60);

/// Old enough is longer than [`MAX_IDLE_AGE`].
const MARGIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_sdk_bedrockruntime::config::{BehaviorVersion, Credentials, Region};

    use super::*;

    fn connections(share: usize) -> (Arc<Connections>, Arc<AtomicUsize>) {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let base = Builder::default()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("a", "s", None, None, "test"));
        let http: HttpClients = Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            aws_smithy_http_client::Builder::new().build_http()
        });
        (Arc::new(Connections::new(base, http, share)), made)
    }

    /// Nova Sonic checklist 7: two sessions at a time never share a connection.
    #[tokio::test(start_paused = true)]
    async fn sessions_at_the_same_time_use_different_connections() {
        let (connections, made) = connections(1);
        let first = connections.lease();
        let second = connections.lease();
        assert_ne!(first.number, second.number);
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_ended_makes_room_on_its_connection() {
        let (connections, made) = connections(1);
        for _ in 0..5 {
            drop(connections.lease());
        }
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_takes_its_share_of_sessions() {
        let (connections, made) = connections(3);
        let leases: Vec<_> = (0..7).map(|_| connections.lease()).collect();
        assert_eq!(made.load(Ordering::Relaxed), 3);
        drop(leases);
    }

    /// Nova Sonic checklist 42: the retry uses a new connection.
    #[tokio::test(start_paused = true)]
    async fn a_spoiled_connection_is_not_used_again() {
        let (connections, made) = connections(2);
        let lease = connections.lease();
        lease.spoil();
        let next = connections.lease();
        assert_ne!(lease.number, next.number);
        drop(lease);
        assert_eq!(connections.slots().list.len(), 1, "and is forgotten");
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }

    /// Nova Sonic checklist 42: one that lay idle is no new connection.
    #[tokio::test(start_paused = true)]
    async fn after_a_failure_the_next_session_uses_a_connection_that_was_never_used() {
        let (connections, made) = connections(1);
        let (busy, idle, lost) = (
            connections.lease(),
            connections.lease(),
            connections.lease(),
        );
        drop(idle);
        lost.spoil();
        drop(lost);
        drop(connections.lease());
        assert_eq!(made.load(Ordering::Relaxed), 4);
        drop(busy);
        drop((connections.lease(), connections.lease()));
        assert_eq!(
            made.load(Ordering::Relaxed),
            4,
            "the one in use is trusted still"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_are_few_and_young() {
        let (connections, _) = connections(1);
        let leases: Vec<_> = (0..20).map(|_| connections.lease()).collect();
        assert_eq!(connections.slots().list.len(), 20);
        drop(leases);
        assert_eq!(connections.slots().list.len(), MAX_IDLE);
        tokio::time::advance(MAX_IDLE_AGE * 2).await;
        drop(connections.lease());
        assert_eq!(connections.slots().list.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_are_let_go_of_in_time_also_when_no_other_call_comes() {
        let (connections, _) = connections(1);
        let busy = connections.lease();
        drop((connections.lease(), connections.lease()));
        tokio::time::sleep(MAX_IDLE_AGE / 2).await;
        drop(connections.lease());
        tokio::time::sleep(MAX_IDLE_AGE / 2 + MARGIN * 2).await;
        assert_eq!(connections.slots().list.len(), 2, "the busy and the young");
        tokio::time::sleep(MAX_IDLE_AGE).await;
        assert_eq!(connections.slots().list.len(), 1);
        assert!(connections.slots().watcher.is_none());
        drop(busy);
        assert!(connections.slots().watcher.is_some());
        tokio::time::sleep(MAX_IDLE_AGE * 2).await;
        assert_eq!(connections.slots().list.len(), 0);
    }
}
