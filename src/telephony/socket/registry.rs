//! Which sockets are open, and what went by.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// A channel with open sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStatus {
    /// The id of the channel: of a carrier's leg, the carrier's id of the call.
    pub id: String,
    /// How many sockets it has.
    pub client_count: usize,
    /// Whether one of them carries a call.
    pub active: bool,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStats {
    /// Sockets that opened.
    pub opened: u64,
    /// Requests that were refused before the upgrade.
    pub refused: u64,
    /// Text messages that meant nothing: unknown, unreadable, or out of place.
    pub ignored_messages: u64,
    /// Pieces of caller audio (frames, or early messages) dropped because nobody took them in time.
    pub dropped_audio: u64,
    /// Frames of the agent that had the wrong length or rate and were not sent: a bug of the caller.
    pub misfits: u64,
    /// Sockets closed because the peer broke the WebSocket protocol or a limit.
    pub violations: u64,
}

/// All open sockets.
#[derive(Debug, Default)]
pub(super) struct Registry {
    open: Mutex<Open>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Open {
    last_id: u64,
    sockets: BTreeMap<u64, Socket>,
}

#[derive(Debug)]
struct Socket {
    channel: Arc<str>,
    active: bool,
}

impl Registry {
    /// Enters a socket, for as long as the entry lives.
    pub(super) fn open(self: &Arc<Self>, channel: &str) -> Entry {
        self.counters.opened.fetch_add(1, Relaxed);
        let mut open = self.lock();
        open.last_id += 1;
        let id = open.last_id;
        let (channel, active) = (Arc::from(channel), false);
        open.sockets.insert(id, Socket { channel, active });
        Entry {
            registry: Arc::clone(self),
            id,
        }
    }

    pub(super) fn list(&self) -> Vec<ChannelStatus> {
        let mut channels: Vec<ChannelStatus> = Vec::new();
        let mut places = BTreeMap::new();
        for socket in self.lock().sockets.values() {
            let place = *places
                .entry(Arc::clone(&socket.channel))
                .or_insert(channels.len());
            match channels.get_mut(place) {
                Some(channel) => {
                    channel.client_count += 1;
                    channel.active |= socket.active;
                }
                None => channels.push(ChannelStatus {
                    id: socket.channel.as_ref().to_owned(),
                    client_count: 1,
                    active: socket.active,
                }),
            }
        }
        channels
    }

    pub(super) fn open_sockets(&self) -> usize {
        self.lock().sockets.len()
    }

    pub(super) const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open socket's place in the registry; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    registry: Arc<Registry>,
    id: u64,
}

impl Entry {
    /// The socket carries a call from now on, or no longer.
    pub(super) fn set_active(&self, active: bool) {
        if let Some(socket) = self.registry.lock().sockets.get_mut(&self.id) {
            socket.active = active;
        }
    }

    /// What this socket counts into.
    pub(super) fn tally(&self) -> Tally {
        Tally(Arc::clone(&self.registry))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.lock().sockets.remove(&self.id);
    }
}

/// A handle on the counters.
#[derive(Clone, Debug)]
pub(crate) struct Tally(Arc<Registry>);

impl std::ops::Deref for Tally {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0.counters
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    opened: AtomicU64,
    refused: AtomicU64,
    ignored_messages: AtomicU64,
    dropped_audio: AtomicU64,
    misfits: AtomicU64,
    violations: AtomicU64,
}

impl Counters {
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn message_ignored(&self) {
        self.ignored_messages.fetch_add(1, Relaxed);
    }

    pub(crate) fn audio_dropped(&self) {
        self.dropped_audio.fetch_add(1, Relaxed);
    }

    #[cfg_attr(
        not(feature = "vonage"),
        expect(dead_code, reason = "browsers have no use for it")
    )]
    pub(crate) fn misfit(&self) {
        self.misfits.fetch_add(1, Relaxed);
    }

    pub(crate) fn violation(&self) {
        self.violations.fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self) -> SocketStats {
        SocketStats {
            opened: self.opened.load(Relaxed),
            refused: self.refused.load(Relaxed),
            ignored_messages: self.ignored_messages.load(Relaxed),
            dropped_audio: self.dropped_audio.load(Relaxed),
            misfits: self.misfits.load(Relaxed),
            violations: self.violations.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_listed_while_it_has_sockets() {
        let registry: Arc<Registry> = Arc::default();
        let one = registry.open("b");
        let two = registry.open("a");
        let three = registry.open("b");
        three.set_active(true);
        let status = |id: &str, client_count, active| ChannelStatus {
            id: id.to_owned(),
            client_count,
            active,
        };
        assert_eq!(
            registry.list(),
            [status("b", 2, true), status("a", 1, false)]
        );
        drop(three);
        assert_eq!(
            registry.list(),
            [status("b", 1, false), status("a", 1, false)]
        );
        drop((one, two));
        assert_eq!(registry.open_sockets(), 0);
        assert_eq!(registry.counters().snapshot().opened, 3);
    }
}
