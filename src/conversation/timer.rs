//! Every deadline of a call, in one table.

use std::time::Instant;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The caller's audio has paused: the model is due for a frame of silence.
    Fill,
    /// The lead has shrunk by a frame: the next reply frame may go out.
    Playout,
    /// The last frame of a reply has been heard, or its mark is overdue.
    Heard,
    /// The caller has spoken long enough over the agent to stop it.
    BargeIn,
    /// Nothing confirmed the barge-in: go on speaking.
    Resume,
    /// No more final text is awaited for the oldest reply.
    FinalText,
    /// No more text is awaited for the caller's utterance.
    CallerText,
    /// No more keys are awaited.
    Keys,
    /// Nothing came from the leg for long.
    Traffic,
    /// The session's age is to be looked at.
    Rollover,
    /// A tool is late, or the line is to be looked at for a moment to speak of one.
    Tools,
    /// A lost session is opened again.
    Reopen,
    /// The caller would notice that nobody is there.
    Filler,
    /// The model should have shown that it heard the caller.
    Sign,
    /// Who answered is to be judged, or waited for long enough.
    Answer,
    /// The caller's silence is to be looked at.
    Idle,
    /// The call comes near its longest.
    Length,
    /// The caller spoke over the agent's last words, and nothing came of it.
    LastChance,
    /// The present step of ending the call has lasted long enough.
    Ending,
}

const TIMERS: usize = Timer::Ending as usize + 1;

/// One optional deadline per [`Timer`].
#[derive(Debug, Default)]
pub(super) struct Timers([Option<Instant>; TIMERS]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    /// Brings a deadline forward, or sets it where there is none.
    pub(super) fn sooner(&mut self, timer: Timer, at: Instant) {
        let sooner = self.0[timer as usize].map_or(at, |set| set.min(at));
        self.set(timer, sooner);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize].is_some()
    }

    /// Whether the deadline has come. A deadline that is looked at and due is disarmed, so that
    /// nothing can be asked to wake up at a time already past.
    pub(super) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        let due = self.0[timer as usize].is_some_and(|at| at <= now);
        if due {
            self.stop(timer);
        }
        due
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }
}
