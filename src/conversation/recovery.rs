//! A lost session is not a lost call: it is opened again, with history.
//!
//! What may be mended by another try is tried again, at once and then with pauses; restarts go on
//! as long as they open. What the caller says meanwhile is kept and given to the next session.

use std::time::{Duration, Instant};

use super::{
    Action, Conversation, EndReason, Notice,
    link::{Active, Standby},
    timer::Timer,
};
use crate::{
    audio::{FRAME, Framer},
    error::ProviderErrorKind,
    telephony::Show,
};

/// How opening has gone lately.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Failed opens in a row.
    failed: u32,
    /// When the first of them failed.
    since: Option<Instant>,
    /// Refusals of the content.
    refused: u32,
    /// The agent was broken off in the middle of a reply.
    pub(super) in_the_middle: bool,
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
        let lived = match std::mem::replace(&mut self.links.active, Active::Lost) {
            Active::Open { born, .. } => self.now.saturating_duration_since(born),
            Active::Opening { .. } | Active::Lost => Duration::ZERO,
        };
        self.feed.pause();
        self.timers.stop(Timer::Fill);
        self.timers.stop(Timer::Rollover);
        self.attempts.in_the_middle |= self.replies.is_coming();
        if lived >= STEADY {
            self.attempts.failed = 0;
        } else {
            self.attempts.fail(self.now);
        }
        if kind == ProviderErrorKind::Policy {
            self.attempts.refused += 1;
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
        if let Standby::Opening { id, born } = self.links.standby {
            self.links.standby = Standby::None;
            self.links.active = Active::Opening { id, born };
        } else if !self.wish_failed(opening, Some(&kind)) && self.attempts.is_hopeless(&kind) {
            return self.give_up(kind);
        } else {
            self.timers
                .set(Timer::Reopen, self.now + self.attempts.pause());
        }
        if !self.timers.is_set(Timer::Filler) {
            self.timers.set(Timer::Filler, self.now + FILLER_AFTER);
        }
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
        self.links.active = Active::Open { id, born };
        self.adopt(id);
        self.timers.stop(Timer::Filler);
        let first = !self.has_opened;
        self.has_opened = true;
        if !first {
            self.stats.restarts += 1;
            let mut history = self.history();
            if self.attempts.refused > 0 {
                history.drain(..history.len() / 2);
            }
            if !history.is_empty() {
                self.actions.push_back(Action::Brief(id, history));
            }
        }
        let in_the_middle = std::mem::take(&mut self.attempts.in_the_middle);
        self.take_over(in_the_middle && !first);
        if let Some(greeting) = self.setup.greeting.take() {
            self.tell(greeting);
        }
        self.schedule_rollover();
        self.refresh();
    }

    /// Nobody has spoken for long enough to be noticed: a soft sign that the line is alive.
    pub(super) fn on_filler_time(&mut self) {
        if self.links.open().is_some() || !self.is_going_on() {
            return;
        }
        self.timers.set(Timer::Filler, self.now + FILLER_EVERY);
        let Some(sound) = self
            .setup
            .filler
            .clone()
            .filter(|_| !self.playout.is_audible(self.now))
        else {
            return;
        };
        let key = self.replies.name();
        let mut framer = Framer::new(self.setup.rate);
        framer.push(sound.into_pcm());
        let mut upto = Duration::ZERO;
        while let Some(frame) = framer.pop().or_else(|| framer.flush()) {
            upto += FRAME;
            self.playout.push(key, upto, frame);
        }
        self.pump();
    }

    fn give_up(&mut self, kind: ProviderErrorKind) {
        self.timers.stop(Timer::Filler);
        if self.setup.leg.text {
            self.actions.push_back(Action::Show(Show::Error(format!(
                "The speech model failed: {kind}."
            ))));
        }
        self.hang_up(EndReason::ModelFailed(kind));
    }
}

impl Attempts {
    fn fail(&mut self, now: Instant) {
        let old = self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) > WINDOW);
        if old || self.failed == 0 {
            self.failed = 0;
            self.since = Some(now);
        }
        self.failed += 1;
    }

    /// Whether another try is of no use.
    fn is_hopeless(&self, kind: &ProviderErrorKind) -> bool {
        match kind {
            ProviderErrorKind::Policy => self.refused > 1,
            kind => !kind.is_retryable() || self.failed >= MOST_FAILURES,
        }
    }

    fn pause(&self) -> Duration {
        match self.failed {
            0 | 1 => Duration::ZERO,
            2 => Duration::from_millis(500),
            _ => Duration::from_secs(2),
        }
    }
}

/// A session that lived this long did not fail to open.
const STEADY: Duration = Duration::from_secs(5);

/// So many failed opens in a row within [`WINDOW`] are fatal for the call.
const MOST_FAILURES: u32 = 4;
const WINDOW: Duration = Duration::from_secs(60);

/// A pause that people do not notice as one.
const FILLER_AFTER: Duration = Duration::from_secs(2);
const FILLER_EVERY: Duration = Duration::from_secs(4);
