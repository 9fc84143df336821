//! The caller's audio on its way to the model: continuous, in real time, and never doubled.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::config::Config;
use crate::audio::{AudioFrame, FRAME, SampleRate};

/// Where the caller's frames go, how much of real time they have covered, and what of them no
/// session has answered yet.
///
/// A model wants a stream without gaps, in real time (Nova Sonic user guide, input events). Callers
/// do not send one: carriers suppress silence, networks stall and then deliver everything at once.
#[derive(Debug)]
pub(super) struct Feed {
    rate: SampleRate,
    /// Whether a session takes frames.
    live: bool,
    /// The caller's last frames: speech that nobody has answered, with what came just before it.
    /// While no session takes frames, everything, within bounds.
    kept: VecDeque<AudioFrame>,
    /// How many of the kept frames a session had already.
    fed: usize,
    /// Whether there is speech among the kept frames.
    speech: bool,
    /// Frames since the last one with voice.
    pause: usize,
    /// What the caller was understood to say and nobody has answered.
    words: String,
    /// The model has the caller's side of the call up to here.
    covered: Instant,
    last_arrival: Instant,
    last_fed: Instant,
    pub(super) stats: FeedStats,
}

/// What happened to the caller's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FeedStats {
    pub(super) received: u64,
    pub(super) fed: u64,
    pub(super) filled: u64,
    pub(super) trimmed: u64,
    pub(super) dropped: u64,
    pub(super) replayed: u64,
}

impl Feed {
    pub(super) fn new(rate: SampleRate, now: Instant) -> Self {
        Self {
            rate,
            live: false,
            kept: VecDeque::with_capacity(PREROLL as usize + 1),
            fed: 0,
            speech: false,
            pause: 0,
            words: String::new(),
            covered: now,
            last_arrival: now,
            last_fed: now,
            stats: FeedStats::default(),
        }
    }

    /// A frame of the caller: what of it the model gets now.
    pub(super) fn take(
        &mut self,
        now: Instant,
        frame: AudioFrame,
        voice: bool,
        config: &Config,
    ) -> Option<AudioFrame> {
        self.stats.received += 1;
        self.last_arrival = now;
        self.speech |= voice;
        self.pause = if voice { 0 } else { self.pause + 1 };
        if !self.live {
            self.keep(frame, config.hold);
            return None;
        }
        if !voice && self.covered > now + config.surplus && now < self.last_fed + KEEP_ALIVE {
            self.stats.trimmed += 1;
            return None;
        }
        let keep = if self.speech {
            config.hold
        } else {
            FRAME * PREROLL
        };
        self.keep(frame.clone(), keep);
        self.fed = self.kept.len();
        // A carrier whose clock runs slow must not build up a debt that silence would pay in the
        // middle of a word.
        let debt = now.checked_sub(config.fill_after).unwrap_or(now);
        self.cover(now, self.covered.max(debt) + frame.duration());
        Some(frame)
    }

    /// Another session takes frames from now on: what it gets first, oldest first. That is what
    /// no session had, and what the session before it had and did not answer: speech, and the last
    /// moment in any case, because a detector hears a voice a moment late, and words may have begun
    /// in it.
    pub(super) fn open(&mut self, now: Instant) -> Vec<AudioFrame> {
        let first: Vec<_> = self.kept.iter().cloned().collect();
        self.stats.replayed += self.fed as u64;
        self.stats.fed += first.len() as u64;
        self.live = true;
        self.fed = self.kept.len();
        self.covered = now;
        self.last_fed = now;
        first
    }

    /// Whether the next session gets more than the last moment.
    pub(super) fn is_behind(&self) -> bool {
        self.speech || self.fed < self.kept.len()
    }

    /// The session that took frames is lost; another one will.
    pub(super) fn pause(&mut self) {
        self.live = false;
    }

    /// The caller was understood to say this.
    pub(super) fn understood(&mut self, text: &str, voice: bool) {
        if !self.words.is_empty() {
            self.words.push(' ');
        }
        self.words.push_str(text);
        if self.live {
            self.forget(voice);
        }
    }

    /// The model answers what the caller has said.
    pub(super) fn answered(&mut self, voice: bool) {
        self.words.clear();
        if self.live && !voice {
            self.forget(voice);
        }
    }

    /// What the caller was understood to say and nobody has answered.
    pub(super) fn unanswered_text(&self) -> Option<String> {
        (!self.words.is_empty()).then(|| self.words.clone())
    }

    /// Whether the caller has said something that nobody has answered.
    pub(super) fn is_unanswered(&self) -> bool {
        self.speech || !self.words.is_empty()
    }

    fn forget(&mut self, voice: bool) {
        self.kept.clear();
        self.fed = 0;
        self.speech = voice;
    }

    fn keep(&mut self, frame: AudioFrame, most: Duration) {
        self.kept.push_back(frame);
        while FRAME * u32::try_from(self.kept.len()).unwrap_or(u32::MAX) > most {
            self.kept.pop_front();
            match self.fed {
                0 => self.stats.dropped += u64::from(!self.live),
                _ => self.fed -= 1,
            }
        }
        // What nobody answered and is long past was no speech.
        self.speech &= self.pause < self.kept.len();
    }

    /// No session will take frames any more: those that waited for one are lost.
    pub(super) fn close(&mut self) {
        self.live = false;
        self.stats.dropped += (self.kept.len() - self.fed) as u64;
        self.forget(false);
    }

    /// A frame that comes after that.
    pub(super) fn refuse(&mut self) {
        self.stats.received += 1;
        self.stats.dropped += 1;
    }

    /// The next frame of silence that is due, if the caller's audio has paused.
    pub(super) fn fill(&mut self, now: Instant, config: &Config) -> Option<AudioFrame> {
        if self.fill_at(config)? > now {
            return None;
        }
        let silence = AudioFrame::silence(self.rate);
        self.stats.filled += 1;
        // After a stall of the whole process the silence that nobody sent is not made up for.
        let floor = now.checked_sub(KEEP_ALIVE).unwrap_or(now);
        self.cover(now, self.covered.max(floor) + FRAME);
        Some(silence)
    }

    /// When the next frame of silence is due. `None` while no session takes frames.
    pub(super) fn fill_at(&self, config: &Config) -> Option<Instant> {
        if !self.live {
            return None;
        }
        let due = (self.covered + FRAME).min(self.last_fed + KEEP_ALIVE);
        Some(due.max(self.last_arrival + config.fill_after))
    }

    fn cover(&mut self, now: Instant, until: Instant) {
        self.covered = until;
        self.last_fed = now;
        self.stats.fed += 1;
    }
}

/// However far ahead the caller's audio is, the model gets a frame this often: services drop a
/// stream that pauses, and half a second is far inside every limit.
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// What is kept of the time before somebody speaks: a detector hears a voice a moment late.
const PREROLL: u32 = 15;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary origin for simulated time"
    )]
    fn open_feed() -> (Feed, Config, Instant) {
        let start = Instant::now();
        let mut feed = Feed::new(SampleRate::Hz16000, start);
        feed.open(start);
        (feed, Config::default(), start)
    }

    /// Runs the feed's own timer up to `until`.
    fn idle(feed: &mut Feed, config: &Config, until: Instant) -> u64 {
        let mut filled = 0;
        while let Some(at) = feed.fill_at(config).filter(|at| *at <= until) {
            while feed.fill(at, config).is_some() {
                filled += 1;
            }
        }
        filled
    }

    /// Nova Sonic checklist 17 and 18, Vonage checklist 32.
    #[test]
    fn a_silent_caller_is_covered_in_real_time() {
        let (mut feed, config, start) = open_feed();
        let filled = idle(&mut feed, &config, start + Duration::from_secs(120));
        assert!(
            (5_980..=6_000).contains(&filled),
            "{filled} frames of silence in 120 s"
        );
    }

    /// Vonage checklist 32: no doubled time.
    #[test]
    fn a_late_burst_is_not_counted_on_top_of_the_silence_that_stood_in_for_it() {
        let (mut feed, config, start) = open_feed();
        let mut fed = 0_u64;
        // Ten minutes of stalls: every second nothing for 500 ms, then it all comes at once.
        for second in 0..600_u32 {
            let base = start + Duration::from_secs(1) * second;
            fed += idle(&mut feed, &config, base + 500 * MS);
            for frame in 0..50 {
                let at = base
                    + 500 * MS
                    + if frame < 25 {
                        Duration::ZERO
                    } else {
                        (frame - 25) * 20 * MS
                    };
                fed += u64::from(
                    feed.take(at, AudioFrame::silence(SampleRate::Hz16000), false, &config)
                        .is_some(),
                );
            }
        }
        let real = 600 * 50;
        assert!(
            fed.abs_diff(real) < real * 2 / 100,
            "{fed} frames for {real}"
        );
    }

    #[test]
    fn speech_is_never_trimmed() {
        let (mut feed, config, start) = open_feed();
        for _ in 0..500 {
            assert!(
                feed.take(
                    start,
                    AudioFrame::silence(SampleRate::Hz16000),
                    true,
                    &config
                )
                .is_some()
            );
        }
    }

    /// Nova Sonic checklist 36: who begins to speak in the instant of a switch is heard from the
    /// first sound on, though the detector does not know yet that it is speech.
    #[test]
    fn the_next_session_gets_the_last_moment_too() {
        let (mut feed, config, start) = open_feed();
        let quiet = || AudioFrame::silence(SampleRate::Hz16000);
        for n in 0..100_u32 {
            feed.take(start + n * FRAME, quiet(), false, &config);
        }
        assert!(!feed.is_behind());
        let first = feed.open(start + 100 * FRAME);
        assert_eq!(first.len(), PREROLL as usize);
        assert_eq!(feed.stats.replayed, u64::from(PREROLL));
    }

    #[test]
    fn a_slow_clock_brings_no_silence_into_the_caller_s_words() {
        let (mut feed, config, start) = open_feed();
        for n in 0..30_000_u32 {
            let at = start + Duration::from_micros(20_400) * n;
            assert_eq!(idle(&mut feed, &config, at), 0);
            feed.take(at, AudioFrame::silence(SampleRate::Hz16000), true, &config);
        }
    }

    #[test]
    fn frames_that_come_before_the_session_wait_for_it_within_bounds() {
        let start = open_feed().2;
        let (mut feed, config) = (Feed::new(SampleRate::Hz8000, start), Config::default());
        for n in 0..200_u32 {
            assert!(
                feed.take(
                    start + n * 20 * MS,
                    AudioFrame::silence(SampleRate::Hz8000),
                    true,
                    &config
                )
                .is_none()
            );
        }
        assert_eq!(feed.open(start + 4_000 * MS).len(), 150);
        assert_eq!(feed.stats.dropped, 50);
    }
}
