//! From one sample rate to another, as a stream.

use std::fmt;

use bytes::Bytes;
use rubato::{
    Async, FixedAsync, Resampler as _, Resizable as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction, audioadapter_buffers::direct::SequentialSlice,
};

use super::{AudioFrame, SampleRate};

/// Converts a stream of audio from one rate to another.
///
/// At equal rates frames pass untouched, bit for bit. Otherwise the output is the same whatever
/// the lengths of the frames that went in, follows the ratio of the rates to the sample, and
/// keeps the place of every sound to within a sample: the first output is short by the delay of
/// the filter (under 5 ms), every later one is as long as its input, and [`flush`](Self::flush)
/// gives what was held back. Put a [`Framer`](super::Framer) behind it where frames must be full.
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    stream: Option<Stream>,
}

impl Resampler {
    /// A converter for a new stream.
    #[must_use]
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        Self {
            from,
            to,
            stream: (from != to).then(|| Stream::new(from, to)),
        }
    }

    /// The next piece of the stream at the new rate; may be empty when `frame` is very short.
    ///
    /// A frame of another rate than the one given to [`new`](Self::new) begins a new stream: what
    /// was held back of the old one is lost.
    pub fn resample(&mut self, frame: &AudioFrame) -> AudioFrame {
        if frame.rate() != self.from {
            *self = Self::new(frame.rate(), self.to);
        }
        match &mut self.stream {
            None => frame.clone(),
            Some(stream) => AudioFrame::new(stream.resample(frame), self.to),
        }
    }

    /// The end of the stream: what was held back, if anything. The next frame begins a new one.
    pub fn flush(&mut self) -> Option<AudioFrame> {
        let tail = self.stream.as_mut()?.flush();
        (!tail.is_empty()).then(|| AudioFrame::new(tail, self.to))
    }

    /// The rate of its output.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.to
    }
}

impl fmt::Debug for Resampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resampler({} to {})", self.from, self.to)
    }
}

/// The filter, and the account of what went in and came out.
struct Stream {
    filter: Filter,
    from: u64,
    to: u64,
    /// Samples that came in.
    taken: u64,
    /// Samples that went out.
    given: u64,
    /// Samples at the start of the filter's output that lie before the first of the input.
    early: usize,
}

impl Stream {
    fn new(from: SampleRate, to: SampleRate) -> Self {
        let filter = Filter::new(from, to, TAPS_PER_MILLISECOND);
        Self {
            early: filter.delay(),
            filter,
            from: from.hertz().into(),
            to: to.hertz().into(),
            taken: 0,
            given: 0,
        }
    }

    fn resample(&mut self, frame: &AudioFrame) -> Bytes {
        self.filter.feed(frame.samples());
        self.taken += frame.pcm().len() as u64 / 2;
        self.skip_early();
        // The filter hands over a sample more or less, as its position happens to round. Holding
        // a few samples back keeps the length of each output exact.
        let held = self.filter.delay() as u64 + self.to.div_ceil(self.from) * 2 + 1;
        let due = (self.taken * self.to / self.from).saturating_sub(held);
        self.take(due)
    }

    fn flush(&mut self) -> Bytes {
        let due = (self.taken * self.to).div_ceil(self.from);
        while self.given + (self.filter.ready().len() as u64) < due {
            self.filter.feed(std::iter::repeat_n(0, BLOCK));
            self.skip_early();
        }
        let tail = self.take(due);
        self.filter.reset();
        self.early = self.filter.delay();
        self.taken = 0;
        self.given = 0;
        tail
    }

    fn skip_early(&mut self) {
        let early = self.early.min(self.filter.ready().len());
        self.filter.consume(early);
        self.early -= early;
    }

    /// All output up to the sample `due`, counted from the start of the stream.
    fn take(&mut self, due: u64) -> Bytes {
        let ready = self.filter.ready();
        let wanted = usize::try_from(due.saturating_sub(self.given)).unwrap_or(usize::MAX);
        let count = wanted.min(ready.len());
        let mut pcm = Vec::with_capacity(count * 2);
        for sample in &ready[..count] {
            pcm.extend_from_slice(&to_sample(*sample).to_le_bytes());
        }
        self.filter.consume(count);
        self.given += count as u64;
        pcm.into()
    }
}

/// A windowed-sinc filter that takes any number of samples at a time, without a word about where
/// its output begins or how much of it comes when.
pub(super) struct Filter {
    sinc: Async<f32>,
    input: Vec<f32>,
    ready: Vec<f32>,
}

impl Filter {
    /// More taps make a steeper filter, cost more and delay by half their length.
    pub(super) fn new(from: SampleRate, to: SampleRate, taps_per_millisecond: usize) -> Self {
        let ratio = f64::from(to.hertz()) / f64::from(from.hertz());
        let taps = taps_per_millisecond * (from.samples_per_frame() / 20);
        // With as many sub-positions as the ratio's numerator has, every output sample falls on
        // one of them: no interpolation between filters is needed.
        let parameters = SincInterpolationParameters::new(taps, WindowFunction::Blackman2)
            .oversampling_factor((to.hertz() / common_divisor(from.hertz(), to.hertz())) as usize)
            .interpolation(SincInterpolationType::Nearest);
        let sinc = Async::new_sinc(ratio, 1.0, &parameters, BLOCK, 1, FixedAsync::Input)
            .expect("the ratio of two rates is positive and finite, and the block not empty");
        Self {
            sinc,
            input: Vec::with_capacity(BLOCK),
            ready: Vec::with_capacity(4 * BLOCK),
        }
    }

    pub(super) fn feed(&mut self, samples: impl Iterator<Item = i16>) {
        for sample in samples {
            self.input.push(f32::from(sample) / FULL_SCALE);
            if self.input.len() == BLOCK {
                self.process();
            }
        }
        if !self.input.is_empty() {
            self.process();
        }
    }

    pub(super) fn ready(&self) -> &[f32] {
        &self.ready
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.ready.drain(..count);
    }

    /// Samples of output before the first sample of the input comes through.
    fn delay(&self) -> usize {
        self.sinc.output_delay()
    }

    fn reset(&mut self) {
        self.sinc.reset();
        self.input.clear();
        self.ready.clear();
    }

    fn process(&mut self) {
        let Self { sinc, input, ready } = self;
        let filled = ready.len();
        sinc.set_chunk_size(input.len())
            .expect("the input has 1 to BLOCK samples");
        let coming = sinc.output_frames_next();
        ready.resize(filled + coming, 0.0);
        let from = SequentialSlice::new(&input[..], 1, input.len())
            .expect("one channel as long as the slice");
        let mut to = SequentialSlice::new_mut(&mut ready[filled..], 1, coming)
            .expect("one channel as long as the slice");
        sinc.process_into_buffer(&from, &mut to, None)
            .expect("both buffers have the lengths that were asked for");
        input.clear();
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").finish_non_exhaustive()
    }
}

/// The nearest 16-bit sample; what is too loud is clipped.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float to integer cast saturates, which is the clipping that is wanted"
)]
pub(super) fn to_sample(value: f32) -> i16 {
    (value * FULL_SCALE).round() as i16
}

fn common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The filter takes at most this many samples at a time: 20 ms at the fastest rate.
const BLOCK: usize = SampleRate::Hz24000.samples_per_frame();

/// 64, 128 or 192 taps: 4 ms of delay, flat to 3.4 kHz where 8 kHz is involved.
const TAPS_PER_MILLISECOND: usize = 8;

const FULL_SCALE: f32 = 32_768.0;

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn pairs() -> impl Iterator<Item = (SampleRate, SampleRate)> {
        SampleRate::ALL
            .into_iter()
            .flat_map(|from| SampleRate::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from != to)
    }

    #[expect(clippy::cast_possible_truncation, reason = "within the range of i16")]
    fn tone(rate: SampleRate, hertz: f64, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|n| (16_000.0 * (TAU * hertz * n as f64 / f64::from(rate.hertz())).sin()) as i16)
            .collect()
    }

    fn frame(samples: &[i16], rate: SampleRate) -> AudioFrame {
        let pcm: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        AudioFrame::new(pcm.into(), rate)
    }

    /// The whole stream, fed in pieces of the given lengths, over and over.
    fn convert(
        samples: &[i16],
        from: SampleRate,
        to: SampleRate,
        lengths: impl IntoIterator<Item = usize>,
    ) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to);
        let mut output = Vec::new();
        let mut rest = samples;
        for length in lengths {
            let (piece, later) = rest.split_at(length.min(rest.len()));
            output.extend(resampler.resample(&frame(piece, from)).samples());
            rest = later;
        }
        output.extend(resampler.resample(&frame(rest, from)).samples());
        output.extend(resampler.flush().iter().flat_map(AudioFrame::samples));
        output
    }

    /// How far a tone stands above everything else in `samples`, in decibels, and its amplitude.
    fn signal_to_noise(samples: &[i16], rate: SampleRate, hertz: f64) -> (f64, f64) {
        let step = TAU * hertz / f64::from(rate.hertz());
        let scale = 2.0 / samples.len() as f64;
        let values = || samples.iter().map(|s| f64::from(*s)).enumerate();
        let re: f64 = values()
            .map(|(n, x)| x * (step * n as f64).cos())
            .sum::<f64>()
            * scale;
        let im: f64 = values()
            .map(|(n, x)| x * (step * n as f64).sin())
            .sum::<f64>()
            * scale;
        let noise: f64 = values()
            .map(|(n, x)| x - re * (step * n as f64).cos() - im * (step * n as f64).sin())
            .map(|rest| rest * rest)
            .sum();
        let tone = (re * re + im * im) * samples.len() as f64 / 2.0;
        (10.0 * (tone / noise).log10(), re.hypot(im))
    }

    #[test]
    fn a_tone_comes_through_clean_and_as_loud_for_every_pair() {
        for (from, to) in pairs() {
            let input = tone(from, 1000.0, from.samples_per_frame() * 50);
            let output = convert(&input, from, to, [from.samples_per_frame(); 50]);
            // Away from the ends, where the tone is switched on and off; whole periods only.
            let middle = &output[to.samples_per_frame() * 5..to.samples_per_frame() * 45];
            let (ratio, amplitude) = signal_to_noise(middle, to, 1000.0);
            assert!(ratio > 60.0, "{from} to {to}: {ratio:.1} dB");
            assert!(
                (amplitude - 16_000.0).abs() < 160.0,
                "{from} to {to}: {amplitude}"
            );
        }
    }

    #[test]
    fn what_the_new_rate_cannot_carry_is_filtered_out() {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            let above = f64::from(to.hertz()) * 0.6;
            let input = tone(from, above, from.samples_per_frame() * 20);
            let output = convert(&input, from, to, []);
            let loudest = output[to.samples_per_frame()..to.samples_per_frame() * 19]
                .iter()
                .map(|s| s.unsigned_abs())
                .max();
            assert!(loudest < Some(16), "{from} to {to}: alias of {loudest:?}");
        }
    }

    #[test]
    fn sounds_keep_their_place() {
        for (from, to) in pairs() {
            let mut input = vec![0; from.samples_per_frame() * 10];
            let click = from.samples_per_frame() * 5;
            input[click] = 20_000;
            let output = convert(&input, from, to, []);
            let loudest = (0..output.len()).max_by_key(|n| output[*n].unsigned_abs());
            let expected = to.samples_per_frame() * 5;
            let off = loudest.map(|at| at.abs_diff(expected));
            // At a lower rate the nearest sample; at a higher one up to one sample of the input.
            assert!(off <= Some(3), "{from} to {to}: off by {off:?}");
        }
    }

    #[test]
    fn after_the_first_every_frame_is_full() {
        for (from, to) in pairs() {
            let mut resampler = Resampler::new(from, to);
            let silence = AudioFrame::silence(from);
            let first = resampler.resample(&silence).pcm().len();
            assert!(first + to.bytes_per_frame() / 4 >= to.bytes_per_frame());
            for _ in 0..5000 {
                assert_eq!(
                    resampler.resample(&silence).pcm().len(),
                    to.bytes_per_frame(),
                    "{from} to {to}"
                );
            }
        }
    }

    #[test]
    fn equal_rates_pass_the_same_bytes() {
        for rate in SampleRate::ALL {
            let frame = frame(&tone(rate, 440.0, 77), rate);
            let mut resampler = Resampler::new(rate, rate);
            let out = resampler.resample(&frame);
            assert_eq!(out.pcm().as_ptr(), frame.pcm().as_ptr());
            assert_eq!(out, frame);
            assert!(resampler.flush().is_none());
        }
    }

    #[test]
    fn a_flushed_resampler_begins_a_new_stream() {
        let (from, to) = (SampleRate::Hz24000, SampleRate::Hz16000);
        let input = frame(&tone(from, 700.0, 2000), from);
        let mut resampler = Resampler::new(from, to);
        let mut whole = || {
            let mut out: Vec<i16> = resampler.resample(&input).samples().collect();
            out.extend(resampler.flush().iter().flat_map(AudioFrame::samples));
            out
        };
        assert_eq!(whole(), whole());
        assert!(resampler.flush().is_none());
    }

    #[test]
    fn a_frame_of_another_rate_begins_a_stream_at_that_rate() {
        let mut resampler = Resampler::new(SampleRate::Hz8000, SampleRate::Hz16000);
        let full = AudioFrame::silence(SampleRate::Hz16000);
        assert_eq!(resampler.resample(&full), full);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// No gap and no click at a border: pieces of any length give what one piece gives, to
        /// the bit, and the duration is kept.
        #[test]
        fn chunking_changes_nothing_and_the_duration_is_kept(
            lengths in vec(0usize..1100, 1..20),
            total in 1usize..6000,
            pair in prop::sample::select(pairs().collect::<Vec<_>>()),
        ) {
            let (from, to) = pair;
            let input = tone(from, 440.0, total);
            let whole = convert(&input, from, to, []);
            prop_assert_eq!(&convert(&input, from, to, lengths), &whole);
            let expected = (total as u64 * u64::from(to.hertz())).div_ceil(from.hertz().into());
            prop_assert_eq!(whole.len() as u64, expected);
        }
    }
}
