//! A lost session is not a lost call: it is opened again, with history.
//!
//! What may be mended by another try is tried again, at once and then with pauses; restarts go on
//! as long as they open. What the caller says meanwhile is kept and given to the next session.

use std::time::{Duration, Instant};

use super::{
    Action, Conversation, EndReason, Notice, WorkKind,
    link::{Active, Standby},
    timer::Timer,
};
use crate::{error::ProviderErrorKind, telephony::Show};

/// How opening has gone lately.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Opens that failed: there was no session, or it ended at once without a word.
    failed: Row,
    /// Sessions that opened, and broke soon after their first words.
    short: Row,
    /// Losses of a kind that deserves one more try and no second one.
    dubious: u32,
    /// The session that talks, or talked last, has said anything at all.
    pub(super) heard: bool,
    /// The agent was broken off in the middle of a reply.
    pub(super) in_the_middle: bool,
    /// The caller spoke, and the session that was left has given no sign of having heard.
    pub(super) unheard: bool,
}

/// Things that happened in a row.
#[derive(Debug, Default)]
struct Row {
    count: u32,
    since: Option<Instant>,
}

impl Conversation {
    /// The session that talks, or was to talk, is gone without being asked.
    pub(super) fn on_active_lost(&mut self, error: Option<ProviderErrorKind>) {
        let kind = error.unwrap_or(ProviderErrorKind::Closed);
        self.actions
            .push_back(Action::Publish(Notice::Trouble(kind.clone())));
        let opening = match self.links.active {
            Active::Opening { id, .. } => Some(id),
            Active::Open { .. } | Active::Lost => None,
        };
        let (opened, lived) = match std::mem::replace(&mut self.links.active, Active::Lost) {
            Active::Open { since, .. } => (true, self.now.saturating_duration_since(since)),
            Active::Opening { .. } | Active::Lost => (false, Duration::ZERO),
        };
        self.feed.pause();
        self.timers.stop(Timer::Fill);
        self.timers.stop(Timer::Rollover);
        self.attempts.in_the_middle |= self.replies.is_coming();
        self.attempts.lost(opened, lived, &kind, self.now);
        if kind == ProviderErrorKind::Policy {
            self.past.halve();
        }
        self.move_tools(None);
        if self.switch() {
            return;
        }
        self.end_what_was_coming();
        if !self.is_going_on() {
            // Those were the last words.
            return;
        }
        self.turn.forget(&WorkKind::Rollover);
        self.turn.begin(WorkKind::Restart, self.now);
        if let Standby::Opening { id, born } = self.links.standby {
            self.links.standby = Standby::None;
            self.links.active = Active::Opening { id, born };
        } else if !self.wish_failed(opening, Some(&kind)) && self.attempts.is_hopeless(&kind) {
            return self.give_up(kind);
        } else {
            let pause = self.attempts.pause(&kind, self.setup.jitter);
            self.timers.set(Timer::Reopen, self.now + pause);
        }
        self.miss_session();
        self.refresh();
    }

    /// The pause is over: try again.
    pub(super) fn reopen(&mut self) {
        if self.links.active != Active::Lost || !self.is_going_on() {
            return;
        }
        let id = self.links.name();
        self.links.active = Active::Opening { id, born: self.now };
        self.actions.push_back(Action::OpenModel(id));
    }

    /// The session that was asked for is there: tell it what it missed.
    pub(super) fn on_active_opened(&mut self) {
        let Active::Opening { id, born } = self.links.active else {
            return;
        };
        self.links.open_active(id, born, self.now, self.now);
        self.adopt(id);
        self.attempts.heard = false;
        self.session_is_there();
        let first = !self.has_opened;
        self.has_opened = true;
        if !first {
            self.stats.restarts += 1;
            let history = self.history();
            if !history.is_empty() {
                self.actions.push_back(Action::Brief(id, history));
            }
        }
        let in_the_middle = std::mem::take(&mut self.attempts.in_the_middle);
        self.take_over(in_the_middle && !first);
        if let Some(greeting) = self.setup.greeting.take() {
            self.tell(greeting);
        }
        self.end_work(&WorkKind::Restart, false);
        self.schedule_rollover();
        self.refresh();
    }

    /// Nothing helps any more: the caller hears that it is not their fault.
    pub(super) fn give_up(&mut self, kind: ProviderErrorKind) {
        self.timers.stop(Timer::Filler);
        self.timers.stop(Timer::Reopen);
        self.end_work(&WorkKind::Restart, true);
        if self.setup.leg.text {
            self.actions.push_back(Action::Show(Show::Error(format!(
                "The speech model failed: {kind}."
            ))));
        }
        self.hang_up(EndReason::ModelFailed(kind));
    }
}

impl Attempts {
    /// A session is lost that had been open for so long, or never was.
    fn lost(&mut self, opened: bool, lived: Duration, kind: &ProviderErrorKind, now: Instant) {
        if lived >= WINDOW {
            self.dubious = 0;
        }
        if matches!(
            kind,
            ProviderErrorKind::Policy | ProviderErrorKind::Unexpected
        ) {
            self.dubious += 1;
        }
        if !opened || (lived < STEADY && !self.heard) {
            return self.failed.one_more(now);
        }
        self.failed = Row::default();
        if lived < STEADY {
            self.short.one_more(now);
        } else {
            self.short = Row::default();
        }
    }

    /// Whether another try is of no use.
    fn is_hopeless(&self, kind: &ProviderErrorKind) -> bool {
        let in_vain = self.failed.count >= MOST_FAILURES || self.short.count >= MOST_SHORT;
        match kind {
            ProviderErrorKind::Policy | ProviderErrorKind::Unexpected => {
                self.dubious > 1 || in_vain
            }
            kind => !kind.is_retryable() || in_vain,
        }
    }

    /// How long to wait before the next try: calls that lost their sessions together do not come
    /// back together.
    fn pause(&self, kind: &ProviderErrorKind, jitter: f32) -> Duration {
        let pause = match self.failed.count.max(self.short.count) {
            0 | 1 => Duration::ZERO,
            2 => BACK_OFF,
            _ => LONG_BACK_OFF,
        };
        let pause = match kind {
            ProviderErrorKind::Throttled { retry_after } => {
                let asked = retry_after.unwrap_or_default().min(LONGEST_BACK_OFF);
                pause.max(asked).max(BACK_OFF)
            }
            _ => pause,
        };
        pause.mul_f32(1.0 + SPREAD * jitter.clamp(-1.0, 1.0))
    }
}

impl Row {
    fn one_more(&mut self, now: Instant) {
        let since = self.since.unwrap_or(now);
        if now.saturating_duration_since(since) > WINDOW {
            *self = Self::default();
        }
        self.since.get_or_insert(now);
        self.count += 1;
    }
}

/// A session that lived this long did not fail to open.
const STEADY: Duration = Duration::from_secs(5);

/// So many failed opens in a row within [`WINDOW`] are fatal for the call.
const MOST_FAILURES: u32 = 4;
const WINDOW: Duration = Duration::from_secs(60);

/// So many sessions in a row within [`WINDOW`] that opened and broke: a call in shreds is none.
const MOST_SHORT: u32 = 12;

const BACK_OFF: Duration = Duration::from_millis(500);
const LONG_BACK_OFF: Duration = Duration::from_secs(2);
/// A service may ask for more; the caller does not wait for it.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(4);
/// Pauses differ by this share, up and down.
const SPREAD: f32 = 0.25;
