//! The carrier's end of the line: frames sound one after the other, in real time.

use std::{collections::VecDeque, time::Instant};

use super::sound::{self, Heard};
use crate::{audio::AudioFrame, telephony::MarkId};

/// Plays what it is sent, and forgets what has not begun to sound when it is told to.
#[derive(Debug, Default)]
pub(super) struct Ear {
    queue: VecDeque<Sent>,
    marks: VecDeque<(Instant, MarkId)>,
    edge: Option<Instant>,
    /// When the frame ends that began to sound last.
    sounding: Option<Instant>,
}

/// A frame with the carrier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// When it begins to sound.
    pub(super) begins: Instant,
    ends: Instant,
    pub(super) what: Heard,
}

impl Ear {
    pub(super) fn play(&mut self, now: Instant, frame: &AudioFrame) {
        let begins = self.edge.map_or(now, |edge| edge.max(now));
        let ends = begins + frame.duration();
        self.edge = Some(ends);
        self.queue.push_back(Sent {
            begins,
            ends,
            what: sound::read(frame),
        });
    }

    pub(super) fn mark(&mut self, now: Instant, mark: MarkId, delay: std::time::Duration) {
        let played = self.edge.map_or(now, |edge| edge.max(now));
        self.marks.push_back((played + delay, mark));
    }

    /// What has not begun to sound by now never will. Take what has, first.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.marks.clear();
        self.edge = self.sounding;
    }

    /// The next frame that has begun to sound before `now`.
    pub(super) fn sounded(&mut self, now: Instant) -> Option<Sent> {
        let sent = *self.queue.front().filter(|sent| sent.begins < now)?;
        self.queue.pop_front();
        self.sounding = Some(sent.ends);
        Some(sent)
    }

    /// When the next mark is to be reported.
    pub(super) fn mark_at(&self) -> Option<Instant> {
        self.marks.front().map(|(at, _)| *at)
    }

    pub(super) fn take_mark(&mut self) -> Option<MarkId> {
        self.marks.pop_front().map(|(_, mark)| mark)
    }

    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.queue.is_empty() && self.sounding.is_none_or(|end| end <= now)
    }
}
