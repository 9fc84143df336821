//! The remote control of a serving agent, and the state behind it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::{broadcast, mpsc, watch};

use super::event::{AgentEvent, Counts, EventKind, LiveCall, Tally};
use crate::{
    call::{CallId, CallInfo, Direction, Party},
    clock,
    conversation::{AgentState, Command},
    private::Private,
};

/// Watches and steers the calls of an agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AgentHandle {
    shared: Arc<Shared>,
}

impl AgentHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The calls that are going on, the oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<LiveCall> {
        let now = clock::now();
        let mut calls: Vec<_> = self
            .shared
            .live()
            .values()
            .map(|live| LiveCall {
                info: live.info.clone(),
                state: live.state,
                duration: now.saturating_duration_since(live.since),
            })
            .collect();
        calls.sort_by_key(|call| call.info.started);
        calls
    }

    /// Gives a command to a call. `false` when there is no such call, or it does not listen.
    pub fn command(&self, call: &CallId, command: Command) -> bool {
        self.shared
            .live()
            .get(call)
            .is_some_and(|live| live.commands.try_send(command).is_ok())
    }

    /// Hangs up once the agent's last words were heard. `false` when there is no such call.
    pub fn hang_up(&self, call: &CallId) -> bool {
        self.command(call, Command::HangUp)
    }

    /// Hands the caller over to `to`: at once, after the words that are being said, or, with a
    /// `briefing`, once they were called, told it, and have taken the call over. How it goes on is
    /// told by [`EventKind::Transfer`](super::EventKind::Transfer).
    ///
    /// # Errors
    ///
    /// When there is no such call, or its caller is being handed over already.
    pub fn transfer(
        &self,
        call: &CallId,
        to: Party,
        briefing: Option<Private<String>>,
    ) -> Result<(), TransferRefused> {
        let mut live = self.shared.live();
        let live = live.get_mut(call).ok_or(TransferRefused::NoSuchCall)?;
        if live.transferring {
            return Err(TransferRefused::Running);
        }
        let command = match briefing {
            None => Command::Transfer { to },
            Some(briefing) => Command::WarmTransfer { to, briefing },
        };
        let sent = live.commands.try_send(command);
        sent.map_err(|_| TransferRefused::NoSuchCall)?;
        live.transferring = true;
        Ok(())
    }

    /// What happens from now on. A receiver that falls behind loses the oldest events and is told
    /// how many; no call ever waits for one.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<AgentEvent> {
        self.shared.events.subscribe()
    }

    /// How much is open right now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            calls: self.shared.live().len(),
            sessions: self.shared.sessions.load(Ordering::Relaxed),
            tasks: self.shared.tasks.load(Ordering::Relaxed),
        }
    }

    /// How many calls are going on and how many inbound ones have begun so far, both at one moment:
    /// a call is in both figures or in none.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let live = self.shared.live();
        Tally {
            calls: live.len(),
            inbound: self.shared.inbound.load(Ordering::Relaxed),
        }
    }

    /// Cuts a drain short: a stopping agent closes its calls now.
    pub fn abort(&self) {
        self.shared.abort.send_replace(true);
    }
}

/// Why nobody is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferRefused {
    /// The call is over, or never was, or does not listen.
    #[error("there is no such call")]
    NoSuchCall,
    /// Its caller is being handed over already.
    #[error("the caller is being handed over already")]
    Running,
}

/// What the calls of an agent and its handles share. Never locked on the audio path.
#[derive(Debug)]
pub(super) struct Shared {
    live: Mutex<HashMap<CallId, Live>>,
    /// Inbound calls so far; changed with `live` locked.
    inbound: AtomicU64,
    events: broadcast::Sender<AgentEvent>,
    abort: watch::Sender<bool>,
    pub(super) sessions: Arc<AtomicUsize>,
    pub(super) tasks: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Live {
    info: CallInfo,
    state: AgentState,
    /// The caller is being handed over, or somebody has just asked for it.
    transferring: bool,
    since: Instant,
    commands: mpsc::Sender<Command>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            live: Mutex::default(),
            inbound: AtomicU64::new(0),
            events: broadcast::Sender::new(EVENTS),
            abort: watch::Sender::new(false),
            sessions: Arc::default(),
            tasks: Arc::default(),
        }
    }
}

impl Shared {
    /// Puts a call on the list. `None` when one of that id is there already.
    pub(super) fn enter(
        self: &Arc<Self>,
        info: &CallInfo,
    ) -> Option<(Entry, mpsc::Receiver<Command>)> {
        let (commands, received) = mpsc::channel(COMMANDS);
        let mut live = self.live();
        if live.contains_key(&info.id) {
            return None;
        }
        let entry = Live {
            info: info.clone(),
            state: AgentState::Initializing,
            transferring: false,
            since: clock::now(),
            commands,
        };
        live.insert(info.id.clone(), entry);
        if info.direction == Direction::Inbound {
            self.inbound.fetch_add(1, Ordering::Relaxed);
        }
        drop(live);
        Some((
            Entry {
                shared: Arc::clone(self),
                id: info.id.clone(),
            },
            received,
        ))
    }

    pub(super) fn command_all(&self, command: &Command) {
        for live in self.live().values() {
            // A call whose queue is full has commands enough; it is dropped after the grace.
            let _full = live.commands.try_send(command.clone());
        }
    }

    pub(super) async fn aborted(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let mut abort = self.abort.subscribe();
        let _closed = abort.wait_for(|abort| *abort).await;
    }

    fn live(&self) -> MutexGuard<'_, HashMap<CallId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call's place on the list; leaves it when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    shared: Arc<Shared>,
    id: CallId,
}

impl Entry {
    pub(super) fn publish(&self, kind: EventKind) {
        if matches!(kind, EventKind::State { .. } | EventKind::Transfer(_))
            && let Some(live) = self.shared.live().get_mut(&self.id)
        {
            match &kind {
                EventKind::State { new, .. } => live.state = *new,
                EventKind::Transfer(step) => live.transferring = step.outcome().is_none(),
                _ => {}
            }
        }
        // No receiver is no error.
        let _nobody = self.shared.events.send(AgentEvent {
            call: self.id.clone(),
            at: clock::wall(),
            kind,
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.live().remove(&self.id);
    }
}

/// Counts one of something for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Events that a slow observer may be behind: some seconds of 200 busy calls.
const EVENTS: usize = 4_096;

/// Commands that a call may be behind.
const COMMANDS: usize = 16;
