//! What the caller hears, and what stops it: pacing, marks, barge-in.

use std::time::Duration;

use crate::{answer::Evidence, audio::Framer, telephony::Show};

use super::{Action, Conversation, ending::Phase, ledger::Stage, playout::Out, timer::Timer};

impl Conversation {
    /// The local detector may only pause: a cough must not eat a sentence.
    pub(super) fn on_voice(&mut self, voice: bool) {
        if self.hears_voice() == voice {
            return;
        }
        let since = self.voice;
        self.voice = voice.then_some(self.now);
        self.voice_changed = self.now;
        self.caller_active();
        if voice {
            self.caller_does_not_wait();
            self.caller.voice_started(self.now);
            if let Some(paused) = self.playout.paused_since() {
                // The caller goes on: only the longest pause ends this one now.
                let longest = paused + self.config.barge_in.max_pause;
                self.timers.set(Timer::Resume, longest);
            } else if self.playout.is_audible(self.now) {
                self.suspect_barge_in();
            }
        } else {
            self.caller.voice_stopped(self.now);
            self.open_turn();
            self.owe_answer_to_speech(since);
            self.timers.stop(Timer::BargeIn);
            if self.playout.is_paused() {
                self.timers
                    .set(Timer::Resume, self.now + self.config.barge_in.confirm);
            }
        }
        self.hold.hear(self.now, voice);
        self.on_evidence(Evidence::Voice(voice));
    }

    /// Both speak. A detector that has been wrong must be sure for longer each time: on a line
    /// with an echo the agent would interrupt itself for ever.
    pub(super) fn suspect_barge_in(&mut self) {
        let barge_in = &self.config.barge_in;
        if barge_in.local {
            let sure = barge_in.min * (1 << self.mistrust.min(MAX_MISTRUST));
            self.timers.set(Timer::BargeIn, self.now + sure);
        }
    }

    /// Sends what the lead has room for.
    pub(super) fn pump(&mut self) {
        let now = self.now;
        while let Some(out) = self.playout.next(now) {
            match out {
                Out::Frame(key, frame) => {
                    self.turn.reach(Stage::FirstFrame, now);
                    self.replies.sent(key, now);
                    self.commit_caller();
                    self.actions.push_back(Action::Play(frame));
                }
                Out::Mark(mark) => self.actions.push_back(Action::Mark(mark)),
            }
        }
        match self.playout.due(now) {
            Some(due) => self.timers.set(Timer::Playout, due),
            None => self.timers.stop(Timer::Playout),
        }
        self.schedule_heard();
        self.refresh();
    }

    /// The caller has heard more: close the replies that are through.
    pub(super) fn on_heard(&mut self) {
        let now = self.now;
        self.playout.settle(now);
        let closed = self
            .replies
            .heard(now, self.playout.heard(), self.all_is_heard());
        if closed > 0 {
            if self.setup.leg.text {
                self.actions
                    .push_back(Action::Show(Show::ReplyEnded { interrupted: false }));
            }
            self.close_turn(false);
            self.commit(false);
        }
        self.schedule_heard();
        self.refresh();
        self.end_after_last_words();
    }

    /// Whether everything that came of the model was heard, the beginning of a frame that waits for
    /// its other half included.
    pub(super) fn all_is_heard(&self) -> bool {
        let waits = |framer: &Framer| framer.pending_bytes() > 0;
        let begun = self
            .framer
            .as_ref()
            .is_some_and(|(_, framer, _)| waits(framer));
        self.playout.is_empty() && !self.playout.is_paused() && !begun
    }

    pub(super) fn on_marks_overdue(&mut self) {
        let overdue = self
            .playout
            .drained_at()
            .is_some_and(|end| end + self.config.mark_overdue <= self.now);
        if overdue && self.playout.awaits_marks() {
            self.playout.give_up_marks();
        }
    }

    /// Wakes when the last frame ends, which is when the agent falls silent, and once more when
    /// the carrier's word for it is overdue. What is paused waits for [`Timer::Resume`] instead.
    pub(super) fn schedule_heard(&mut self) {
        let end = self.playout.drained_at();
        let Some(end) = end.filter(|_| !self.playout.is_paused()) else {
            return self.timers.stop(Timer::Heard);
        };
        if end > self.now {
            self.timers.set(Timer::Heard, end);
        } else if self.playout.is_empty() {
            self.timers.stop(Timer::Heard);
        } else {
            let overdue = end + self.config.mark_overdue;
            let soon = self.now + Duration::from_millis(1);
            self.timers.set(Timer::Heard, overdue.max(soon));
        }
    }

    /// Somebody speaks over the agent, perhaps.
    pub(super) fn pause(&mut self) {
        self.playout.pause(self.now);
        self.actions.push_back(Action::ClearPlayback);
        self.timers.stop(Timer::Playout);
        self.timers
            .set(Timer::Resume, self.now + self.config.barge_in.max_pause);
        self.refresh();
    }

    /// The caller speaks over the agent: stop at once, and remember only what was heard.
    pub(super) fn cut(&mut self) {
        let paused = self.playout.is_paused();
        let with_carrier = self.playout.cut(self.now);
        self.timers.stop(Timer::BargeIn);
        self.timers.stop(Timer::Resume);
        self.timers.stop(Timer::Playout);
        self.framer = None;
        self.replies.heard(self.now, self.playout.heard(), false);
        let cut = self.replies.cut(self.now);
        // A pause has cleared the carrier already.
        if with_carrier && !paused {
            self.actions.push_back(Action::ClearPlayback);
        }
        if cut > 0 {
            self.mistrust = 0;
            self.stats.interruptions += cut as u64;
            if self.setup.leg.text {
                self.actions
                    .push_back(Action::Show(Show::ReplyEnded { interrupted: true }));
            }
            self.close_turn(true);
        }
        if matches!(self.phase, Phase::LastWords(_)) {
            self.allow_last_words();
        }
        self.interrupt_tools();
        self.schedule_heard();
        self.commit(false);
        self.refresh();
    }
}

/// Sixteen times [`BargeIn::min`](super::BargeIn::min): longer than an echo lasts without a gap.
const MAX_MISTRUST: u32 = 4;
