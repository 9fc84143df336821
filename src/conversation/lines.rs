//! The transcript: lines are recorded once they are certain.

use std::time::Instant;

use jiff::Timestamp;

use super::{Action, Conversation, timer::Timer};
use crate::{
    clock::whole_millis,
    model::Said,
    transcript::{Speaker, Utterance},
};

impl Conversation {
    /// Records the lines of the agent that are certain.
    pub(super) fn commit(&mut self, all: bool) {
        while let Some(line) = self.replies.take_line(self.now, all, &self.config) {
            self.record(line.began, Speaker::Agent, line.text, line.cut);
        }
        match self.replies.certain_at(&self.config) {
            Some(at) => self.timers.set(Timer::FinalText, at),
            None => self.timers.stop(Timer::FinalText),
        }
    }

    pub(super) fn commit_caller(&mut self) {
        self.timers.stop(Timer::CallerText);
        if let Some((began, text)) = self.caller.take() {
            self.record(began, Speaker::Caller, text, false);
        }
    }

    pub(super) fn record(&mut self, began: Instant, speaker: Speaker, text: String, cut: bool) {
        let said = Said {
            speaker,
            text: text.clone(),
        };
        self.past.push(began, said);
        self.seq += 1;
        self.stats.utterances += 1;
        let at = self.wall(began);
        self.actions.push_back(Action::Record(Utterance {
            seq: self.seq,
            at,
            speaker,
            text,
            cut,
        }));
    }

    /// In whole milliseconds, as files keep it: a line has one time wherever it is read.
    pub(super) fn wall(&self, at: Instant) -> Timestamp {
        let since = at.saturating_duration_since(self.epoch);
        let at = self.setup.started.checked_add(since);
        whole_millis(at.unwrap_or(self.setup.started))
    }
}
