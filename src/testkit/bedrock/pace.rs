//! How steadily caller audio comes: no gaps, no bursts beyond a rollover's replay, real time in
//! the long run.

use std::time::{Duration, Instant};

use super::{
    options::Options,
    report::{Breach, Rule},
};

/// Watches one audio container.
#[derive(Default)]
pub(super) struct Pace {
    first: Option<Instant>,
    last: Option<Instant>,
    heard: Duration,
    is_ahead: bool,
}

impl Pace {
    /// Another `heard` of audio came. At most one breach of each kind at a time.
    pub(super) fn audio(
        &mut self,
        now: Instant,
        heard: Duration,
        options: &Options,
    ) -> Option<Breach> {
        let first = *self.first.get_or_insert(now);
        let gap = self.gap(now, options);
        self.last = Some(now);
        self.heard += heard;
        let elapsed = audio_time(now - first, options);
        let ahead = self.heard.saturating_sub(elapsed + heard);
        let was_ahead = std::mem::replace(&mut self.is_ahead, ahead > options.audio_burst + JITTER);
        gap.or_else(|| {
            (self.is_ahead && !was_ahead).then(|| {
                Breach::noted(
                    Rule::AudioRate,
                    format!("audio runs {ahead:?} ahead of real time"),
                )
            })
        })
    }

    /// The container was closed.
    pub(super) fn end(&self, now: Instant, options: &Options) -> Option<Breach> {
        let elapsed = audio_time(now - self.first?, options);
        // Two in a hundred, and the second that a gap may last.
        let allowed = elapsed.mul_f64(0.02) + options.audio_gap;
        self.gap(now, options).or_else(|| {
            (self.heard + allowed < elapsed).then(|| {
                Breach::noted(
                    Rule::AudioRate,
                    format!("only {:?} of audio came in {elapsed:?}", self.heard),
                )
            })
        })
    }

    /// How much audio came.
    pub(super) fn heard(&self) -> Duration {
        self.heard
    }

    fn gap(&self, now: Instant, options: &Options) -> Option<Breach> {
        let gap = audio_time(now - self.last?, options);
        (gap >= options.audio_gap)
            .then(|| Breach::noted(Rule::AudioGap, format!("no audio for {gap:?}")))
    }
}

fn audio_time(real: Duration, options: &Options) -> Duration {
    real.mul_f64(options.audio_speed)
}

/// A first frame that was held up lets all that follow look early.
const JITTER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    /// Feeds frames at these times, in milliseconds, and gives the rules that were broken.
    fn fed(times: impl IntoIterator<Item = u64>, end: u64, options: &Options) -> Vec<Rule> {
        let start = crate::clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        let mut broken: Vec<_> = times
            .into_iter()
            .filter_map(|ms| pace.audio(at(ms), FRAME, options))
            .collect();
        broken.extend(pace.end(at(end), options));
        broken.into_iter().map(|breach| breach.rule).collect()
    }

    #[test]
    fn steady_audio_breaks_no_rule() {
        let times = (0..60_000).step_by(20);
        assert_eq!(fed(times, 60_000, &Options::default()), []);
    }

    /// Nova checklist 17
    #[test]
    fn a_second_without_audio_is_a_gap() {
        let options = Options::default();
        assert_eq!(fed([0, 999], 999, &options), []);
        assert_eq!(fed([0, 1_000], 1_000, &options), [Rule::AudioGap]);
        assert_eq!(fed([0, 20], 1_020, &options), [Rule::AudioGap]);
    }

    /// Nova checklist 18
    #[test]
    fn a_replay_of_three_seconds_is_allowed_and_of_four_is_not() {
        let options = Options::default();
        let replay = |seconds: usize| vec![0; seconds * 50];
        assert_eq!(fed(replay(3), 0, &options), []);
        assert_eq!(fed(replay(4), 0, &options), [Rule::AudioRate]);
    }

    /// Nova checklist 18
    #[test]
    fn audio_at_ninety_percent_of_real_time_is_too_slow() {
        let times = (0..60_000).step_by(22);
        assert_eq!(fed(times, 60_000, &Options::default()), [Rule::AudioRate]);
    }

    #[test]
    fn fast_audio_is_judged_by_the_fast_clock() {
        let options = Options {
            audio_speed: 10.0,
            ..Options::default()
        };
        assert_eq!(fed((0..6_000).step_by(2), 6_000, &options), []);
        assert_eq!(fed([0, 100], 100, &options), [Rule::AudioGap]);
    }
}
