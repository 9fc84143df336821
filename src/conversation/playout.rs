//! The agent's voice on its way to the caller: paced, and known to the frame.
//!
//! Frames leave on a schedule, a small lead ahead of the ear, each from the time when the one
//! before it ends. So the carrier's buffer stays nearly empty, a late wake-up catches up instead
//! of drifting, and what was heard is a matter of arithmetic: everything sent, less what is still
//! in flight. A carrier that reports marks corrects the arithmetic.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::reply::ReplyKey;
use crate::{audio::AudioFrame, telephony::MarkId};

/// What the leg is to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Out {
    Frame(ReplyKey, AudioFrame),
    Mark(MarkId),
}

/// Something in the order of play.
#[derive(Clone, Debug)]
enum Piece {
    /// A frame, and how much of its reply has been played once it has.
    Frame(Heard, AudioFrame),
    /// A point whose passing the carrier reports.
    Mark(Heard),
}

/// Something that is with the carrier: a frame, or a mark that it has not answered.
#[derive(Debug)]
struct Sent<T> {
    what: T,
    at: Heard,
    /// When the caller will have heard it.
    end: Instant,
}

/// A position in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Heard {
    pub(super) reply: ReplyKey,
    pub(super) upto: Duration,
}

#[derive(Debug)]
pub(super) struct Playout {
    lead: Duration,
    marks: bool,
    queue: VecDeque<Piece>,
    flight: VecDeque<Sent<AudioFrame>>,
    unanswered: VecDeque<Sent<MarkId>>,
    /// When the caller will have heard everything that was sent.
    edge: Option<Instant>,
    /// When the frame that was noted as heard last ends.
    sounding: Option<Instant>,
    /// By how much the carrier's marks come later than the schedule says: the least of the last
    /// few, since one may dawdle on its way.
    lag: Duration,
    lags: VecDeque<Duration>,
    paused: Option<Instant>,
    /// Nothing goes out: nobody knows yet whether it is to be heard.
    held: bool,
    next_mark: u64,
    /// What was heard last.
    heard: Option<Heard>,
    /// The reply whose frame went out last, to tell a gap inside a reply from one between two.
    playing: Option<ReplyKey>,
    pub(super) frames: u64,
    pub(super) underruns: u64,
}

impl Playout {
    pub(super) fn new(lead: Duration, marks: bool) -> Self {
        Self {
            lead,
            marks,
            queue: VecDeque::new(),
            flight: VecDeque::new(),
            unanswered: VecDeque::new(),
            edge: None,
            sounding: None,
            lag: Duration::ZERO,
            lags: VecDeque::with_capacity(LAGS + 1),
            paused: None,
            held: false,
            next_mark: 0,
            heard: None,
            playing: None,
            frames: 0,
            underruns: 0,
        }
    }

    /// Puts a full frame at the end of the order of play; `upto` is the position in the reply at
    /// the end of the frame.
    pub(super) fn push(&mut self, reply: ReplyKey, upto: Duration, frame: AudioFrame) {
        self.queue
            .push_back(Piece::Frame(Heard { reply, upto }, frame));
    }

    /// Puts a mark there, if the carrier reports marks.
    pub(super) fn push_mark(&mut self, reply: ReplyKey, upto: Duration) {
        if self.marks {
            self.queue.push_back(Piece::Mark(Heard { reply, upto }));
        }
    }

    /// The next thing to send now, if the lead has room for it.
    pub(super) fn next(&mut self, now: Instant) -> Option<Out> {
        if self.due(now)? > now {
            return None;
        }
        Some(match self.queue.pop_front()? {
            Piece::Frame(at, frame) => {
                if self.playing == Some(at.reply) && self.edge.is_some_and(|edge| edge < now) {
                    self.underruns += 1;
                }
                self.playing = Some(at.reply);
                self.frames += 1;
                let end = self.edge.map_or(now, |edge| edge.max(now)) + frame.duration();
                self.edge = Some(end);
                self.flight.push_back(Sent {
                    what: frame.clone(),
                    at,
                    end,
                });
                Out::Frame(at.reply, frame)
            }
            Piece::Mark(at) => {
                self.next_mark += 1;
                let mark = MarkId(self.next_mark);
                // Behind audio that has long been played, a mark is answered at once.
                let end = self.edge.map_or(now, |edge| edge.max(now));
                self.unanswered.push_back(Sent {
                    what: mark,
                    at,
                    end,
                });
                Out::Mark(mark)
            }
        })
    }

    /// When [`next`](Self::next) has something to send; `None` when it has nothing.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.is_paused() || self.held {
            return None;
        }
        Some(match self.queue.front()? {
            // A frame may go once it and what is before it fit into the lead.
            Piece::Frame(_, frame) => self
                .edge
                .and_then(|edge| (edge + frame.duration()).checked_sub(self.lead))
                .unwrap_or(now),
            Piece::Mark(_) => now,
        })
    }

    /// Takes note of what the caller has heard by `now`. A frame that has begun to sound counts
    /// as heard: carriers play or drop whole messages.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(sent) = self.flight.front()
            && sent.end + self.lag < now + sent.what.duration()
        {
            // What is no reply stands before all of them, and says nothing of any.
            self.heard = self.heard.max(Some(sent.at));
            self.sounding = Some(sent.end);
            self.flight.pop_front();
        }
    }

    /// The carrier has played everything before `mark`: proof, whatever the schedule says.
    /// Answers `false` for a mark of something that was cut meanwhile.
    pub(super) fn played(&mut self, now: Instant, mark: MarkId) -> bool {
        let Some(index) = self.unanswered.iter().position(|sent| sent.what == mark) else {
            return false;
        };
        let Some(sent) = self.unanswered.drain(..=index).next_back() else {
            return false;
        };
        self.lags
            .push_back(now.saturating_duration_since(sent.end).min(MAX_LAG));
        if self.lags.len() > LAGS {
            self.lags.pop_front();
        }
        self.lag = self.lags.iter().min().copied().unwrap_or_default();
        while self
            .flight
            .front()
            .is_some_and(|frame| frame.end <= sent.end)
        {
            self.flight.pop_front();
        }
        if self.heard.is_none_or(|heard| heard < sent.at) {
            self.heard = Some(sent.at);
        }
        if self.flight.is_empty() {
            self.edge = self.edge.map(|edge| edge.min(now));
        }
        true
    }

    /// What the caller heard last.
    pub(super) fn heard(&self) -> Option<Heard> {
        self.heard
    }

    /// Whether the caller hears, or is about to hear, something.
    pub(super) fn is_audible(&self, now: Instant) -> bool {
        !self.is_paused()
            && (!self.queue.is_empty() && !self.held
                || self.drained_at().is_some_and(|end| end > now))
    }

    /// Whether nothing is queued, and everything that was sent was heard.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.flight.is_empty() && self.unanswered.is_empty()
    }

    /// When everything sent will have been heard, as far as the schedule knows.
    pub(super) fn drained_at(&self) -> Option<Instant> {
        self.edge.map(|edge| edge + self.lag)
    }

    /// Whether marks are out that the carrier has not answered.
    pub(super) fn awaits_marks(&self) -> bool {
        !self.unanswered.is_empty()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    pub(super) fn paused_since(&self) -> Option<Instant> {
        self.paused
    }

    /// Stops at once. What the caller has not heard goes back to the front of the queue; the
    /// carrier must be told to forget it.
    pub(super) fn pause(&mut self, now: Instant) {
        self.settle(now);
        self.recall();
        self.paused = Some(now);
    }

    /// Keeps back what is queued and what comes.
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// Lets it go.
    pub(super) fn release(&mut self) {
        self.held = false;
    }

    /// Goes on from the frame after the last one heard.
    pub(super) fn resume(&mut self) {
        self.paused = None;
    }

    /// Forgets everything that was not heard. Answers whether the carrier holds some of it, beyond
    /// the frame that is sounding.
    pub(super) fn cut(&mut self, now: Instant) -> bool {
        self.settle(now);
        let with_carrier = !self.flight.is_empty();
        self.recall();
        self.queue.clear();
        self.paused = None;
        with_carrier
    }

    /// Gives up on marks that the carrier never answered: what they stood for counts as played.
    pub(super) fn give_up_marks(&mut self) {
        if let Some(last) = self.unanswered.drain(..).next_back() {
            self.heard = self.heard.max(Some(last.at));
        }
    }

    /// Puts what is with the carrier back in front of the queue, in its order.
    fn recall(&mut self) {
        loop {
            let frame_is_last = match (self.flight.back(), self.unanswered.back()) {
                (Some(frame), Some(mark)) => frame.end > mark.end,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            if frame_is_last {
                let frame = self
                    .flight
                    .pop_back()
                    .map(|sent| Piece::Frame(sent.at, sent.what));
                frame
                    .into_iter()
                    .for_each(|piece| self.queue.push_front(piece));
            } else {
                let mark = self.unanswered.pop_back().map(|sent| Piece::Mark(sent.at));
                mark.into_iter()
                    .for_each(|piece| self.queue.push_front(piece));
            }
        }
        // The frame that is sounding is played to its end.
        self.edge = self.sounding;
        self.playing = None;
    }
}

/// A mark that comes later than this says more about the carrier's webhooks than about its ear.
const MAX_LAG: Duration = Duration::from_secs(1);

/// So many marks are compared.
const LAGS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{FRAME, SampleRate};

    const REPLY: ReplyKey = ReplyKey(1);
    const LEAD: Duration = Duration::from_millis(400);

    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary origin for simulated time"
    )]
    fn playout(frames: u32) -> (Playout, Instant) {
        let mut playout = Playout::new(LEAD, true);
        for n in 1..=frames {
            playout.push(REPLY, FRAME * n, AudioFrame::silence(SampleRate::Hz16000));
        }
        playout.push_mark(REPLY, FRAME * frames);
        (playout, Instant::now())
    }

    fn drain(playout: &mut Playout, now: Instant) -> usize {
        std::iter::from_fn(|| playout.next(now)).count()
    }

    /// Vonage checklist 22 and 23.
    #[test]
    fn the_lead_goes_out_at_once_and_then_a_frame_each_twenty_milliseconds() {
        let (mut playout, start) = playout(100);
        assert_eq!(drain(&mut playout, start), 20);
        let mut now = start;
        for _ in 0..50 {
            let due = playout.due(now).unwrap();
            assert_eq!(due - now, FRAME);
            now = due;
            assert_eq!(drain(&mut playout, now), 1);
        }
        // A stall of 200 ms is caught up without lasting lag.
        now += Duration::from_millis(200);
        assert_eq!(drain(&mut playout, now), 10);
        assert_eq!(playout.underruns, 0);
    }

    /// Vonage checklist 24.
    #[test]
    fn an_idle_gap_resets_the_clock() {
        let (mut playout, start) = playout(10);
        assert_eq!(drain(&mut playout, start), 11);
        let later = start + Duration::from_secs(5);
        for n in 1..=30 {
            playout.push(
                ReplyKey(2),
                FRAME * n,
                AudioFrame::silence(SampleRate::Hz16000),
            );
        }
        assert_eq!(drain(&mut playout, later), 20);
        assert_eq!(
            playout.underruns, 0,
            "a pause between replies is no underrun"
        );
    }

    /// Vonage checklist 30.
    #[test]
    fn what_was_heard_is_known_to_the_frame() {
        let (mut playout, start) = playout(100);
        drain(&mut playout, start);
        let now = start + Duration::from_millis(110);
        assert!(playout.cut(now), "the carrier holds frames");
        assert_eq!(playout.heard().unwrap().upto, Duration::from_millis(120));
        assert!(playout.is_empty());
        assert!(!playout.cut(now), "a second cut has nothing to clear");
    }

    #[test]
    fn a_pause_goes_on_from_the_frame_after_the_last_one_heard() {
        let (mut playout, start) = playout(100);
        drain(&mut playout, start);
        let now = start + Duration::from_millis(110);
        playout.pause(now);
        assert_eq!(drain(&mut playout, now), 0);
        assert_eq!(playout.queue.len(), 94 + 1, "six frames had begun to sound");
        playout.resume();
        assert_eq!(drain(&mut playout, now + Duration::from_secs(1)), 20);
    }

    /// Found by random schedules: the rest of a reply was still to be sent, and counted as heard.
    #[test]
    fn a_tone_that_is_no_reply_says_nothing_of_replies() {
        let (mut playout, start) = playout(3);
        assert_eq!(drain(&mut playout, start), 4);
        let frame = AudioFrame::silence(SampleRate::Hz16000);
        let now = start + Duration::from_secs(1);
        playout.push(ReplyKey::NONE, FRAME * 50, frame);
        assert_eq!(drain(&mut playout, now), 1);
        playout.settle(now + Duration::from_secs(1));
        let heard = playout.heard().unwrap();
        assert_eq!((heard.reply, heard.upto), (ReplyKey(1), FRAME * 3));
    }

    /// Vonage checklist 28 and 29.
    #[test]
    fn a_mark_is_proof_and_a_cancelled_mark_is_ignored() {
        let (mut playout, start) = playout(3);
        assert_eq!(drain(&mut playout, start), 4);
        assert!(playout.played(start + Duration::from_millis(10), MarkId(1)));
        assert_eq!(playout.heard().unwrap().upto, FRAME * 3);
        assert!(playout.is_empty());

        playout.push(ReplyKey(2), FRAME, AudioFrame::silence(SampleRate::Hz16000));
        playout.push_mark(ReplyKey(2), FRAME);
        drain(&mut playout, start);
        playout.cut(start);
        assert!(!playout.played(start + FRAME, MarkId(2)));
    }
}
