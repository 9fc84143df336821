//! Which model sessions a call has: the one that talks, the one that is warmed up to follow it,
//! and those that are left and still close.

use std::time::{Duration, Instant};

use super::SessionId;

/// The sessions of a call. At most one talks, at most one stands by.
#[derive(Debug)]
pub(super) struct Links {
    last: u32,
    pub(super) active: Active,
    pub(super) standby: Standby,
    /// Left, and told to close at this time; what they still say of the past counts.
    pub(super) closing: Vec<(SessionId, Instant)>,
}

/// The session that talks, or is to talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Active {
    /// Asked for; nothing can be said yet.
    Opening { id: SessionId, born: Instant },
    /// It hears and speaks.
    Open {
        id: SessionId,
        born: Instant,
        /// Since when it talks, or could.
        since: Instant,
    },
    /// Lost; another one will be asked for.
    Lost,
}

/// The session that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standby {
    None,
    Opening {
        id: SessionId,
        born: Instant,
    },
    Ready {
        id: SessionId,
        born: Instant,
        since: Instant,
    },
}

impl Links {
    /// A call whose first session is asked for now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: 1,
            active: Active::Opening {
                id: SessionId(1),
                born: now,
            },
            standby: Standby::None,
            closing: Vec::new(),
        }
    }

    /// A name for another session.
    pub(super) fn name(&mut self) -> SessionId {
        self.last += 1;
        SessionId(self.last)
    }

    /// The session that was named last.
    pub(super) fn newest(&self) -> SessionId {
        SessionId(self.last)
    }

    /// The session that hears the caller, if one does.
    pub(super) fn open(&self) -> Option<SessionId> {
        match self.active {
            Active::Open { id, .. } => Some(id),
            Active::Opening { .. } | Active::Lost => None,
        }
    }

    /// This session talks from now on. Its age counts from when it was asked for, but for the
    /// time that it stood in a queue: no opening takes longer than [`OPENING`]. It was `opened`
    /// long ago where it has stood by.
    pub(super) fn open_active(
        &mut self,
        id: SessionId,
        born: Instant,
        opened: Instant,
        now: Instant,
    ) {
        let born = born.max(opened.checked_sub(OPENING).unwrap_or(born));
        self.active = Active::Open {
            id,
            born,
            since: now,
        };
    }

    /// Whether this is the session that talks, or is to talk.
    pub(super) fn is_active(&self, session: SessionId) -> bool {
        matches!(self.active, Active::Open { id, .. } | Active::Opening { id, .. } if id == session)
    }

    /// Whether this is the session that stands by.
    pub(super) fn is_standby(&self, session: SessionId) -> bool {
        matches!(self.standby, Standby::Opening { id, .. } | Standby::Ready { id, .. } if id == session)
    }

    /// When the session that talks was asked for.
    pub(super) fn born(&self) -> Option<Instant> {
        match self.active {
            Active::Open { born, .. } => Some(born),
            Active::Opening { .. } | Active::Lost => None,
        }
    }

    /// Whether this session was left and has not ended yet.
    pub(super) fn is_closing(&self, session: SessionId) -> bool {
        self.closing.iter().any(|(id, _)| *id == session)
    }

    /// When the session that was left last was told to close, if any still does.
    pub(super) fn closing_since(&self) -> Option<Instant> {
        self.closing.iter().map(|(_, since)| *since).max()
    }

    /// Takes the session off that stands by, which is told to close.
    pub(super) fn dismiss_standby(&mut self, now: Instant) -> Option<SessionId> {
        match std::mem::replace(&mut self.standby, Standby::None) {
            Standby::Opening { id, .. } | Standby::Ready { id, .. } => {
                self.closing.push((id, now));
                Some(id)
            }
            Standby::None => None,
        }
    }

    /// Takes the active and the standing-by session off; answers with those that live.
    pub(super) fn leave(&mut self, now: Instant) -> Vec<SessionId> {
        let active = match std::mem::replace(&mut self.active, Active::Lost) {
            Active::Open { id, .. } | Active::Opening { id, .. } => Some(id),
            Active::Lost => None,
        };
        self.closing.extend(active.map(|id| (id, now)));
        active
            .into_iter()
            .chain(self.dismiss_standby(now))
            .collect()
    }

    /// A session that was left is gone now.
    pub(super) fn closed(&mut self, session: SessionId) {
        self.closing.retain(|(id, _)| *id != session);
    }

    /// Whether nothing is left of any session.
    pub(super) fn is_empty(&self) -> bool {
        self.active == Active::Lost && self.standby == Standby::None && self.closing.is_empty()
    }
}

/// Longer than any provider lets an opening take, and the agent itself ([`AgentConfig`]'s
/// `open_timeout`).
///
/// [`AgentConfig`]: crate::agent::AgentConfig
pub(crate) const OPENING: Duration = Duration::from_secs(20);
