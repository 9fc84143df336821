//! What this node knows about calls: enough to tell an accident from an end. Pure: time is an
//! argument.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{keys::Key, leg::Signal};
use crate::{
    answer::CarrierVerdict,
    call::{CallId, Direction, Party},
    telephony::CallEvent,
};

/// The calls of this node, a bounded number of them.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: HashMap<Key, Call>,
    /// From a conversation to its call.
    conversations: HashMap<Key, Key>,
    /// The regions of calls that are over; there are few.
    regions: HashSet<Arc<str>>,
    /// When those that are long past were last forgotten.
    tidied: Option<Instant>,
}

/// What the answer webhook, or the socket, told about a call.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) id: CallId,
    pub(super) conversation: Option<String>,
    pub(super) direction: Direction,
    pub(super) from: Option<Party>,
    pub(super) to: Option<Party>,
    /// The REST base of its region.
    pub(super) region: Option<String>,
}

#[derive(Debug)]
struct Call {
    /// Forgotten once it is over, all but the region.
    facts: Option<Facts>,
    region: Option<Arc<str>>,
    /// Whether there was room for it when it came.
    admitted: bool,
    life: Life,
    /// The lost sockets by their leg ids, and the how-manieth of the call each one was.
    lost: Vec<(String, u32)>,
    leg: Option<mpsc::Sender<Signal>>,
    /// What machine detection said before there was a leg to tell.
    answered_by: Option<CarrierVerdict>,
    touched: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Live,
    /// We hung up or passed it on: its sockets may close.
    Released,
    /// The agent gave up, or too many sockets were lost: the caller hears that we are sorry.
    Failed,
    /// The carrier said that it is over.
    Over,
}

/// What the loss of a socket means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// An accident: connect again. The how-manieth of this call it is, from 1.
    Reconnect(u32),
    /// One accident too many, or the agent has failed: apologise.
    Apologise,
    /// We wanted it, or the call is over.
    Expected,
}

/// What to do with a socket of a call.
#[derive(Debug)]
pub(super) enum Place {
    /// Its leg lives: give the socket to it.
    Join(mpsc::Sender<Signal>),
    /// Start a leg that listens here.
    Start(mpsc::Receiver<Signal>, Facts),
    /// The call is over.
    Over,
}

impl Calls {
    /// An answer webhook came. Says whether there is room, the same however often it is asked.
    pub(super) fn answered(
        &mut self,
        facts: Facts,
        has_room: impl FnOnce() -> bool,
        now: Instant,
    ) -> bool {
        if let Some(call) = self.calls.get_mut(&Key::of_leg(facts.id.as_str())) {
            call.touched = now;
            let admitted = call.admitted;
            if call.life != Life::Over {
                // What a socket alone could not tell.
                call.facts = Some(facts.clone());
                self.index(&facts);
            }
            return admitted;
        }
        let admitted = has_room();
        self.insert(facts, admitted, now);
        admitted
    }

    /// A socket of a call opened. `facts` count where no webhook told this node about the call.
    pub(super) fn opened(&mut self, facts: Facts, now: Instant) -> Place {
        let key = Key::of_leg(facts.id.as_str());
        if !self.calls.contains_key(&key) {
            self.insert(facts, true, now);
        }
        let Some(call) = self.calls.get_mut(&key) else {
            return Place::Over;
        };
        call.touched = now;
        let (Life::Live, Some(facts)) = (call.life, &call.facts) else {
            return Place::Over;
        };
        match &call.leg {
            Some(leg) if !leg.is_closed() => Place::Join(leg.clone()),
            _ => {
                let (leg, signals) = mpsc::channel(SIGNALS);
                if let Some(verdict) = call.answered_by.take() {
                    // A new channel has room.
                    let _ = leg.try_send(Signal::Report(CallEvent::AnsweredBy(verdict)));
                }
                call.leg = Some(leg);
                Place::Start(signals, facts.clone())
            }
        }
    }

    /// The socket leg `leg` of a call was lost, or never opened. `earlier` is how many losses the
    /// lost socket itself knew of; `max` how many are mended.
    pub(super) fn lost(
        &mut self,
        id: &str,
        leg: Option<&str>,
        earlier: u32,
        max: u32,
        now: Instant,
    ) -> Loss {
        let Some(call) = self.calls.get_mut(&Key::of_leg(id)) else {
            return Loss::Expected;
        };
        call.touched = now;
        match call.life {
            Life::Live => {}
            Life::Failed => return Loss::Apologise,
            Life::Released | Life::Over => return Loss::Expected,
        }
        let known = leg.and_then(|leg| call.lost.iter().find(|(known, _)| known == leg));
        let nth = match known {
            Some((_, nth)) => *nth,
            None => {
                let last = call.lost.last().map_or(0, |(_, nth)| *nth);
                let nth = last.max(earlier).saturating_add(1);
                if call.lost.len() > MAX_LOST {
                    call.lost.remove(0);
                }
                call.lost.push((leg.unwrap_or_default().to_owned(), nth));
                nth
            }
        };
        if nth <= max {
            Loss::Reconnect(nth)
        } else {
            call.life = Life::Failed;
            Loss::Apologise
        }
    }

    /// We hung up the call or passed it on: whatever happens to its sockets is no accident. Says
    /// whether it was live.
    pub(super) fn released(&mut self, id: &str) -> bool {
        let Some(call) = self.calls.get_mut(&Key::of_leg(id)) else {
            return false;
        };
        let was_live = call.life == Life::Live;
        if matches!(call.life, Life::Live | Life::Failed) {
            call.life = Life::Released;
        }
        was_live
    }

    /// The call was to be passed on, and stays with us after all.
    pub(super) fn kept(&mut self, id: &str) {
        if let Some(call) = self.calls.get_mut(&Key::of_leg(id))
            && call.life == Life::Released
        {
            call.life = Life::Live;
        }
    }

    /// Whether the carrier has said that a call is over.
    pub(super) fn is_over(&self, id: &str) -> bool {
        let call = self.calls.get(&Key::of_leg(id));
        call.is_some_and(|call| call.life == Life::Over)
    }

    /// The agent of the call has failed: the loss of its sockets is no accident, and the caller
    /// is owed an apology.
    pub(super) fn failed(&mut self, id: &str) {
        if let Some(call) = self.calls.get_mut(&Key::of_leg(id))
            && call.life == Life::Live
        {
            call.life = Life::Failed;
        }
    }

    /// The carrier says that the call is over. No more than that and its region is kept of it.
    pub(super) fn over(&mut self, id: &str, now: Instant) {
        let key = Key::of_leg(id);
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        call.life = Life::Over;
        call.touched = now;
        call.lost = Vec::new();
        let Some(facts) = call.facts.take() else {
            return;
        };
        call.region = facts.region.map(|region| {
            let region: Arc<str> = region.into();
            let known = self.regions.get(&region).cloned();
            known.unwrap_or_else(|| {
                self.regions.insert(Arc::clone(&region));
                region
            })
        });
        let index = facts.conversation.map(|it| Key::of(&it));
        if let Some(index) = index.filter(|index| self.conversations.get(index) == Some(&key)) {
            self.conversations.remove(&index);
        }
    }

    /// Whether a call is neither given up nor released nor over. One that was forgotten is not.
    pub(super) fn is_live(&self, id: &str) -> bool {
        let call = self.calls.get(&Key::of_leg(id));
        call.is_some_and(|call| call.life == Life::Live)
    }

    /// Machine detection has said something of a call. Answers with the leg that is to know; where
    /// there is none yet, the one to come will.
    pub(super) fn answered_by(
        &mut self,
        id: &str,
        verdict: CarrierVerdict,
    ) -> Option<mpsc::Sender<Signal>> {
        let call = self.calls.get_mut(&Key::of_leg(id))?;
        let leg = call.leg.clone().filter(|leg| !leg.is_closed());
        if leg.is_none() {
            call.answered_by = Some(verdict);
        }
        leg
    }

    /// Where the leg of a call takes signals, while it lives.
    pub(super) fn leg(&self, id: &str) -> Option<mpsc::Sender<Signal>> {
        self.calls.get(&Key::of_leg(id))?.leg.clone()
    }

    /// The leg of a call has ended.
    pub(super) fn leg_ended(&mut self, id: &str, now: Instant) {
        if let Some(call) = self.calls.get_mut(&Key::of_leg(id)) {
            call.leg = None;
            call.touched = now;
        }
    }

    /// What is known of a call, until it is over.
    pub(super) fn facts(&self, id: &str) -> Option<&Facts> {
        self.calls.get(&Key::of_leg(id))?.facts.as_ref()
    }

    /// The REST base of the region that a call lives in, or lived in.
    pub(super) fn region(&self, id: &str) -> Option<&str> {
        let call = self.calls.get(&Key::of_leg(id))?;
        match &call.facts {
            Some(facts) => facts.region.as_deref(),
            None => call.region.as_deref(),
        }
    }

    /// The call of a conversation, until it is over.
    pub(super) fn of_conversation(&self, conversation: &str) -> Option<&Facts> {
        let key = self.conversations.get(&Key::of(conversation))?;
        self.calls.get(key)?.facts.as_ref()
    }

    fn insert(&mut self, facts: Facts, admitted: bool, now: Instant) {
        let tidied = *self.tidied.get_or_insert(now);
        if self.calls.len() >= MAX_CALLS || now.saturating_duration_since(tidied) >= AFTERLIFE {
            self.forget(now);
        }
        self.index(&facts);
        let key = Key::of_leg(facts.id.as_str());
        let call = Call {
            admitted,
            life: Life::Live,
            lost: Vec::new(),
            leg: None,
            answered_by: None,
            touched: now,
            facts: Some(facts),
            region: None,
        };
        self.calls.insert(key, call);
    }

    fn index(&mut self, facts: &Facts) {
        if let Some(conversation) = &facts.conversation {
            let key = Key::of_leg(facts.id.as_str());
            self.conversations.insert(Key::of(conversation), key);
        }
    }

    /// What is long past goes, and where there is no room then, the oldest tenth of what has no leg
    /// here.
    fn forget(&mut self, now: Instant) {
        self.tidied = Some(now);
        self.calls.retain(|_, call| {
            let keep = match call.life {
                Life::Live => LONGEST_CALL,
                Life::Released | Life::Failed | Life::Over => AFTERLIFE,
            };
            call.has_leg() || now.saturating_duration_since(call.touched) < keep
        });
        if self.calls.len() >= MAX_CALLS {
            let idle = self.calls.values().filter(|call| !call.has_leg());
            let mut ages: Vec<Instant> = idle.map(|call| call.touched).collect();
            ages.sort_unstable();
            if let Some(line) = ages.get(MAX_CALLS / 10).copied() {
                self.calls
                    .retain(|_, call| call.has_leg() || call.touched > line);
            }
        }
        let Self {
            calls,
            conversations,
            regions,
            ..
        } = self;
        regions.retain(|region| Arc::strong_count(region) > 1);
        conversations.retain(|_, key| calls.contains_key(key));
        calls.shrink_to_fit();
        conversations.shrink_to_fit();
    }
}

impl Call {
    fn has_leg(&self) -> bool {
        self.leg.as_ref().is_some_and(|leg| !leg.is_closed())
    }
}

/// A day of a busy node; some 6 MB where most are over.
const MAX_CALLS: usize = 20_000;
/// A leg signals rarely: losses, sockets, the end.
const SIGNALS: usize = 16;
/// More losses than anybody mends, and few enough to search.
const MAX_LOST: usize = 16;
/// Vonage ends a leg after two hours.
const LONGEST_CALL: Duration = Duration::from_secs(2 * 3600 + 600);
/// How long the last webhooks of a call may take.
const AFTERLIFE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
