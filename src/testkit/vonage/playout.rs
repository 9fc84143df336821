//! The buffer from which Vonage plays a socket's audio to the phone. Pure: time is an argument.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

/// Messages that Vonage queues at most (Vonage WebSocket guide: 3072 × 20 ms = 61.44 s).
pub(super) const CAPACITY: usize = 3072;

/// A pause shorter than this after the buffer ran dry is a gap in the middle of a reply.
const GAP: Duration = Duration::from_millis(200);

/// Frames wait here and leave towards the phone at one per frame time.
#[derive(Debug)]
pub(super) struct Playout {
    /// How long one frame plays, and below which pause a dry buffer counts as an underrun.
    frame: Duration,
    gap: Duration,
    keep: bool,
    queue: VecDeque<Bytes>,
    /// When the frame that left last has been played.
    free_at: Option<Instant>,
    /// Whether a frame after a short pause would continue what ran dry: not after a clear.
    continues: bool,
    accepted: u64,
    left: u64,
    marks: VecDeque<(u64, usize)>,
    heard: Vec<u8>,
    max_depth: usize,
    underruns: u32,
    overflows: u32,
}

impl Playout {
    /// An empty buffer that plays `time_scale` times faster than real time. With `keep` it
    /// remembers what was heard, otherwise only how much.
    pub(super) fn new(time_scale: f64, keep: bool) -> Self {
        Self {
            frame: crate::audio::FRAME.div_f64(time_scale),
            gap: GAP.div_f64(time_scale),
            keep,
            queue: VecDeque::new(),
            free_at: None,
            continues: false,
            accepted: 0,
            left: 0,
            marks: VecDeque::new(),
            heard: Vec::new(),
            max_depth: 0,
            underruns: 0,
            overflows: 0,
        }
    }

    /// Takes a frame that arrived at `now`. Returns `false` when the buffer is full and the frame
    /// is lost.
    pub(super) fn push(&mut self, now: Instant, frame: Bytes) -> bool {
        self.advance(now);
        if self.queue.len() >= CAPACITY {
            self.overflows += 1;
            return false;
        }
        self.accepted += 1;
        match self.free_at {
            Some(free_at) if free_at > now || !self.queue.is_empty() => {
                self.queue.push_back(frame);
            }
            free_at => {
                let dry = free_at.map(|at| now.saturating_duration_since(at));
                if self.continues && dry.is_some_and(|dry| !dry.is_zero() && dry < self.gap) {
                    self.underruns += 1;
                }
                self.play(&frame, now);
            }
        }
        self.continues = true;
        self.max_depth = self.max_depth.max(self.queue.len());
        true
    }

    /// A marker behind everything that was accepted so far.
    pub(super) fn mark(&mut self, id: usize) {
        self.marks.push_back((self.accepted, id));
    }

    /// The markers that `now` has reached, oldest first.
    pub(super) fn reached(&mut self, now: Instant) -> Vec<usize> {
        self.advance(now);
        let mut reached = Vec::new();
        while self.next_mark_at(now).is_some_and(|at| at <= now) {
            reached.extend(self.marks.pop_front().map(|(_, id)| id));
        }
        reached
    }

    /// When the next marker is reached, should nothing be cleared.
    pub(super) fn next_mark_at(&self, now: Instant) -> Option<Instant> {
        let (position, _) = self.marks.front()?;
        Some(self.played_at(*position).unwrap_or(now))
    }

    /// When `frames` frames in all will have left the buffer; `None` while they are not there.
    pub(super) fn left_at(&self, now: Instant, frames: u64) -> Option<Instant> {
        if frames <= self.left {
            Some(now)
        } else if frames <= self.left + self.queue.len() as u64 {
            self.played_at(frames - 1)
        } else {
            None
        }
    }

    /// Forgets what has not left yet. Returns the markers that this takes with it.
    pub(super) fn clear(&mut self, now: Instant) -> Vec<usize> {
        self.advance(now);
        self.accepted -= self.queue.len() as u64;
        self.queue.clear();
        self.continues = false;
        self.marks.drain(..).map(|(_, id)| id).collect()
    }

    /// Lets everything leave that is due at `now`.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(free_at) = self.free_at
            && free_at <= now
            && let Some(frame) = self.queue.pop_front()
        {
            self.play(&frame, free_at);
        }
    }

    /// The audio that left, in order; empty when it is not kept.
    pub(super) fn heard(&self) -> &[u8] {
        &self.heard
    }

    /// How many frames left.
    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    pub(super) const fn max_depth(&self) -> usize {
        self.max_depth
    }

    pub(super) const fn underruns(&self) -> u32 {
        self.underruns
    }

    pub(super) const fn overflows(&self) -> u32 {
        self.overflows
    }

    fn play(&mut self, frame: &Bytes, at: Instant) {
        self.left += 1;
        self.free_at = Some(at + self.frame);
        if self.keep {
            self.heard.extend_from_slice(frame);
        }
    }

    /// When the first `position` frames have been played to their end.
    fn played_at(&self, position: u64) -> Option<Instant> {
        let ahead = u32::try_from(position.saturating_sub(self.left)).unwrap_or(u32::MAX);
        let free_at = self.free_at?;
        if position < self.left {
            // Played before the frame that left last began.
            return free_at.checked_sub(self.frame);
        }
        Some(free_at + self.frame * ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn start() -> Instant {
        crate::clock::now()
    }

    fn frame(tag: u8) -> Bytes {
        Bytes::from(vec![tag; 640])
    }

    fn fill(playout: &mut Playout, at: Instant, frames: usize) {
        for _ in 0..frames {
            playout.push(at, frame(7));
        }
    }

    #[test]
    fn frames_leave_one_every_twenty_milliseconds_in_order() {
        let t0 = start();
        let mut playout = Playout::new(1.0, true);
        for tag in 0..5 {
            playout.push(t0, frame(tag));
        }
        for elapsed in 0..=100 {
            playout.advance(t0 + MS * elapsed);
            assert_eq!(playout.left(), u64::from(elapsed / 20 + 1).min(5));
        }
        let first: Vec<_> = playout.heard().chunks(640).map(|f| f[0]).collect();
        assert_eq!(first, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_faster_clock_plays_faster() {
        let t0 = start();
        let mut playout = Playout::new(10.0, true);
        fill(&mut playout, t0, 50);
        playout.advance(t0 + MS * 98);
        assert_eq!(playout.left(), 50);
    }

    #[test]
    fn more_than_the_capacity_is_an_overflow_and_is_lost() {
        let t0 = start();
        let mut playout = Playout::new(1.0, false);
        // The first frame leaves at once.
        fill(&mut playout, t0, CAPACITY + 1);
        assert_eq!((playout.overflows(), playout.max_depth()), (0, CAPACITY));
        assert!(!playout.push(t0, frame(1)));
        assert_eq!(playout.overflows(), 1);
        assert!(playout.push(t0 + MS * 20, frame(1)));
    }

    #[test]
    fn a_short_gap_is_an_underrun_and_a_long_one_a_new_reply() {
        let t0 = start();
        let mut playout = Playout::new(1.0, false);
        fill(&mut playout, t0, 2);
        assert_eq!(playout.underruns(), 0);
        fill(&mut playout, t0 + MS * 40, 1); // exactly in time
        assert_eq!(playout.underruns(), 0);
        fill(&mut playout, t0 + MS * 70, 1); // 10 ms dry
        assert_eq!(playout.underruns(), 1);
        fill(&mut playout, t0 + MS * 290, 1); // 200 ms dry
        assert_eq!(playout.underruns(), 1);
    }

    #[test]
    fn clear_empties_the_buffer_and_is_no_underrun() {
        let t0 = start();
        let mut playout = Playout::new(1.0, true);
        fill(&mut playout, t0, 100);
        playout.mark(1);
        assert_eq!(playout.clear(t0 + MS * 50), [1]);
        playout.advance(t0 + MS * 5000);
        assert_eq!((playout.left(), playout.queue.len()), (3, 0));
        fill(&mut playout, t0 + MS * 5010, 1);
        fill(&mut playout, t0 + MS * 5020, 1);
        assert_eq!((playout.left(), playout.underruns()), (4, 0));
    }

    #[test]
    fn a_mark_is_reached_when_the_frame_before_it_was_played() {
        let t0 = start();
        let mut playout = Playout::new(1.0, false);
        fill(&mut playout, t0, 3);
        playout.mark(1);
        fill(&mut playout, t0, 1);
        playout.mark(2);
        assert_eq!(playout.next_mark_at(t0), Some(t0 + MS * 60));
        assert!(playout.reached(t0 + MS * 59).is_empty());
        assert_eq!(playout.reached(t0 + MS * 60), [1]);
        assert_eq!(playout.reached(t0 + MS * 80), [2]);
    }

    #[test]
    fn a_mark_on_an_empty_buffer_is_reached_at_once() {
        let t0 = start();
        let mut playout = Playout::new(1.0, false);
        playout.mark(0);
        assert_eq!(playout.reached(t0).len(), 1);
        fill(&mut playout, t0, 1);
        playout.advance(t0 + MS * 500);
        playout.mark(0);
        assert_eq!(playout.reached(t0 + MS * 500).len(), 1);
    }

    #[test]
    fn marks_after_a_clear_still_count_from_what_was_played() {
        let t0 = start();
        let mut playout = Playout::new(1.0, false);
        fill(&mut playout, t0, 100);
        playout.clear(t0);
        fill(&mut playout, t0, 2);
        playout.mark(2);
        assert!(playout.reached(t0 + MS * 59).is_empty());
        assert_eq!(playout.reached(t0 + MS * 60).len(), 1);
    }

    #[test]
    fn the_time_at_which_audio_will_have_left_is_known_once_it_is_there() {
        let t0 = start();
        let mut playout = Playout::new(1.0, false);
        fill(&mut playout, t0, 3);
        assert_eq!(playout.left_at(t0, 1), Some(t0));
        assert_eq!(playout.left_at(t0, 3), Some(t0 + MS * 40));
        assert_eq!(playout.left_at(t0, 4), None);
    }
}
