//! Another prompt, voice or set of tools in the middle of a call.
//!
//! Models take these once, at the start of a session. So a change is a move to a fresh session,
//! made before the old one is left, as at the session limit.

use std::time::{Duration, Instant};

use super::vocabulary::Reconfigure;
use super::{Action, Conversation, SessionId, link::Active, rollover::Quiet};
use crate::error::ProviderErrorKind;

/// A change that no session has taken over yet.
#[derive(Debug)]
pub(super) struct Wish {
    since: Instant,
    /// Sessions with greater names know it.
    after: SessionId,
    /// How many changes it is made of.
    changes: u32,
    /// The tools that are offered from then on, if they change.
    offered: Option<Vec<String>>,
    /// Sessions that could not be opened with it.
    failures: u32,
}

impl Wish {
    /// How quiet it must be for the call to move because of it.
    pub(super) fn needed(&self, now: Instant) -> Quiet {
        match now.saturating_duration_since(self.since) {
            waited if waited >= HARD => Quiet::Never,
            waited if waited >= FORCED => Quiet::Any,
            waited if waited >= RELAXED => Quiet::Model,
            _ => Quiet::Full,
        }
    }
}

impl Conversation {
    /// Asks for a session that knows the change. One that was warmed up without it is of no use.
    pub(super) fn reconfigure(&mut self, change: Reconfigure) {
        if !self.is_going_on() || change == Reconfigure::default() {
            return;
        }
        let before = self.wish.take();
        self.wish = Some(Wish {
            since: self.now,
            after: self.links.newest(),
            changes: before.as_ref().map_or(0, |wish| wish.changes) + 1,
            offered: change
                .tools
                .clone()
                .or_else(|| before.and_then(|wish| wish.offered)),
            failures: 0,
        });
        self.actions.push_back(Action::Configure(Some(change)));
        self.dismiss_standby();
        self.standby_failed = false;
        if matches!(self.links.active, Active::Open { .. }) {
            self.on_rollover_time();
        }
    }

    /// This session talks now: the change that it was opened with holds.
    pub(super) fn adopt(&mut self, session: SessionId) {
        if let Some(wish) = self.wish.take_if(|wish| session > wish.after)
            && let Some(offered) = wish.offered
        {
            self.tools.offered = Some(offered);
        }
    }

    /// A session that should have known the change could not be opened. `true`: there will be no
    /// other try, and sessions are opened as before.
    pub(super) fn wish_failed(
        &mut self,
        session: Option<SessionId>,
        kind: Option<&ProviderErrorKind>,
    ) -> bool {
        let Some(wish) = &mut self.wish else {
            return false;
        };
        if session.is_none_or(|session| session <= wish.after) {
            return false;
        }
        wish.failures += 1;
        let hopeless = kind.is_some_and(|kind| !kind.is_retryable());
        if !hopeless && wish.failures < MOST_FAILURES {
            return false;
        }
        for _ in 0..wish.changes {
            self.actions.push_back(Action::Configure(None));
        }
        self.wish = None;
        self.trouble(kind.cloned().unwrap_or(ProviderErrorKind::Unavailable));
        true
    }
}

/// The same steps as at the session limit, on a scale at which people wait for a change.
const RELAXED: Duration = Duration::from_secs(5);
const FORCED: Duration = Duration::from_secs(10);
const HARD: Duration = Duration::from_secs(20);

/// A change with which so many sessions cannot be opened is given up.
const MOST_FAILURES: u32 = 4;
