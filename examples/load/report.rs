//! What was measured, as a table.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::{Duration, Instant},
};

use novavoice::{audio::FRAME, testkit::bedrock::Mark};

use crate::{
    calls::Talk,
    model::{END_SILENCE, Model, REPLY, ReplyKey},
    service::Memory,
};

/// The service's use of the machine at one moment.
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// Processor time so far: the service's, and this program's.
    pub(crate) cpu: Duration,
    pub(crate) own_cpu: Duration,
    pub(crate) memory: Memory,
}

/// One round of calls.
pub(crate) struct Round {
    pub(crate) talks: Vec<Talk>,
    pub(crate) samples: Vec<Sample>,
    /// From the last call placed to the first one that may hang up.
    pub(crate) steady: (Instant, Instant),
}

/// What goes into the table.
pub(crate) struct Report {
    calls: usize,
    seconds: f64,
    cpu: f64,
    own_cpu: f64,
    before: Memory,
    during: u64,
    after: Vec<Memory>,
    reply_frames: (usize, usize),
    foreign_frames: usize,
    caller_frames: (u64, u64),
    up: Vec<Duration>,
    down: Vec<Duration>,
    answers: Vec<Duration>,
    underruns: u32,
    overflows: u32,
    max_depth: usize,
    unanswered: usize,
    reconnects: u32,
    interruptions: usize,
    violations: BTreeMap<String, usize>,
}

impl Report {
    /// Puts the rounds together. `before` is the service's memory before the first call, `after`
    /// that after each round.
    pub(crate) fn new(rounds: &[Round], model: &Model, before: Memory, after: Vec<Memory>) -> Self {
        let begun = model.begun();
        let sessions = model.sessions();
        let talks = || rounds.iter().flat_map(|round| &round.talks);
        let mut report = Self {
            calls: rounds.first().map_or(0, |round| round.talks.len()),
            seconds: 0.0,
            cpu: 0.0,
            own_cpu: 0.0,
            before,
            during: 0,
            after,
            reply_frames: (begun.len() * frames_of(REPLY), 0),
            foreign_frames: 0,
            caller_frames: (
                talks().map(|talk| talk.sent).sum(),
                sessions.iter().map(|s| s.audio_bytes / FRAME_BYTES).sum(),
            ),
            up: Vec::new(),
            down: Vec::new(),
            answers: Vec::new(),
            underruns: talks().map(|talk| talk.underruns).sum(),
            overflows: talks().map(|talk| talk.overflows).sum(),
            max_depth: talks().map(|talk| talk.max_depth).max().unwrap_or(0),
            unanswered: talks().map(|talk| talk.unanswered).sum(),
            reconnects: talks().map(|talk| talk.reconnects).sum(),
            interruptions: sessions.iter().map(|s| s.interruptions).sum(),
            violations: BTreeMap::new(),
        };
        for round in rounds {
            report.machine(round);
        }
        for talk in talks() {
            report.talk(talk, &begun);
        }
        let said = talks().flat_map(|talk| talk.violations.iter().cloned());
        for violation in said.chain(model.violations()) {
            *report.violations.entry(violation).or_default() += 1;
        }
        for times in [&mut report.up, &mut report.down, &mut report.answers] {
            times.sort_unstable();
        }
        report
    }

    /// Whether no frame was lost, every turn answered and no rule broken.
    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
            && self.dropped_replies() == 0
            && self.dropped_caller() == 0
            && self.overflows == 0
            && self.unanswered == 0
            && self.reconnects == 0
            && !self.answers.is_empty()
    }

    fn machine(&mut self, round: &Round) {
        let (from, to) = round.steady;
        let mut steady = round.samples.iter().filter(|s| s.at >= from && s.at <= to);
        if let Some(first) = steady.next()
            && let Some(last) = steady.next_back()
        {
            let span = (last.at - first.at).as_secs_f64();
            self.seconds = span;
            self.cpu = (last.cpu - first.cpu).as_secs_f64() / span;
            self.own_cpu = (last.own_cpu - first.own_cpu).as_secs_f64() / span;
        }
        let peak = round
            .samples
            .iter()
            .map(|sample| sample.memory.resident)
            .max();
        self.during = self.during.max(peak.unwrap_or(0));
    }

    fn talk(&mut self, talk: &Talk, begun: &HashMap<ReplyKey, Instant>) {
        let mut first: Vec<(ReplyKey, Instant)> = Vec::new();
        let mut frames: HashMap<ReplyKey, usize> = HashMap::new();
        for frame in &talk.arrivals {
            let Some(mark) = Mark::find_all(&frame.head).first().copied() else {
                self.foreign_frames += 1;
                continue;
            };
            let key = (mark.session, mark.reply);
            *frames.entry(key).or_default() += 1;
            if first.last().is_none_or(|(last, _)| *last != key) {
                first.push((key, frame.at));
            }
        }
        // One reply's surplus must not hide another's loss.
        self.reply_frames.1 += frames
            .iter()
            .filter(|(key, _)| begun.contains_key(key))
            .map(|(_, count)| (*count).min(frames_of(REPLY)))
            .sum::<usize>();
        let arrived = |after: Instant| first.iter().find(|(_, at)| *at > after);
        for (key, at) in &first {
            let begun = begun.get(key);
            self.down
                .extend(begun.map(|begun| at.saturating_duration_since(*begun)));
        }
        for (asked, answer) in &talk.answers {
            self.answers.push(answer.saturating_sub(END_SILENCE));
            let begun = arrived(*asked).and_then(|(key, _)| begun.get(key));
            self.up.extend(begun.map(|begun| {
                begun
                    .saturating_duration_since(*asked)
                    .saturating_sub(END_SILENCE)
            }));
        }
    }

    fn dropped_replies(&self) -> usize {
        self.reply_frames.0.saturating_sub(self.reply_frames.1)
    }

    fn dropped_caller(&self) -> u64 {
        let calls = u64::try_from(self.calls * self.after.len()).unwrap_or(u64::MAX);
        let in_flight = calls.saturating_mul(IN_FLIGHT);
        self.caller_frames
            .0
            .saturating_sub(self.caller_frames.1 + in_flight)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls.max(1);
        let mib = |kib: u64| kib as f64 / 1024.0;
        let grown = self.during.saturating_sub(self.before.resident);
        writeln!(f, "| measured | value |\n|---|---|")?;
        writeln!(f, "| calls at once | {} |", self.calls)?;
        writeln!(f, "| all up for | {:.0} s |", self.seconds)?;
        writeln!(
            f,
            "| CPU of the service per call | {:.2} % of a core |",
            self.cpu * 100.0 / calls as f64
        )?;
        writeln!(
            f,
            "| CPU in all | service {:.0} %, this generator {:.0} % of a core |",
            self.cpu * 100.0,
            self.own_cpu * 100.0
        )?;
        let memory = |memory: Memory| {
            let (resident, own) = (mib(memory.resident), mib(memory.own));
            format!("{resident:.1} MiB, {own:.1} of it heap and stacks")
        };
        writeln!(f, "| memory before | {} |", memory(self.before))?;
        writeln!(
            f,
            "| memory during, at most | {:.1} MiB ({:.0} KiB per call) |",
            mib(self.during),
            grown as f64 / calls as f64
        )?;
        for (nth, after) in (1..).zip(&self.after) {
            writeln!(f, "| memory after round {nth} | {} |", memory(*after))?;
        }
        let (expected, received) = self.reply_frames;
        writeln!(
            f,
            "| reply frames | {received} of {expected} heard, {} dropped |",
            self.dropped_replies()
        )?;
        writeln!(f, "| frames from elsewhere | {} |", self.foreign_frames)?;
        let (sent, taken) = self.caller_frames;
        writeln!(
            f,
            "| caller frames | {sent} sent, {taken} at the model, {} dropped |",
            self.dropped_caller()
        )?;
        writeln!(
            f,
            "| playout | {} underruns, {} overflows, {} frames ahead at most |",
            self.underruns, self.overflows, self.max_depth
        )?;
        latency(f, "added latency, model to caller", &self.down)?;
        latency(f, "added latency, caller to model", &self.up)?;
        latency(f, "added latency, there and back", &self.answers)?;
        writeln!(
            f,
            "| turns | {} answered, {} not, {} interrupted |",
            self.answers.len(),
            self.unanswered,
            self.interruptions
        )?;
        writeln!(f, "| sockets lost | {} |", self.reconnects)?;
        let violations: usize = self.violations.values().sum();
        writeln!(f, "| violations | {violations} |")?;
        for (violation, count) in self.violations.iter().take(20) {
            writeln!(f, "\n- {count} × {violation}")?;
        }
        Ok(())
    }
}

fn latency(f: &mut fmt::Formatter<'_>, what: &str, sorted: &[Duration]) -> fmt::Result {
    let Some(last) = sorted.len().checked_sub(1) else {
        return writeln!(f, "| {what} | never measured |");
    };
    let at = |percent: usize| sorted[last * percent / 100].as_secs_f64() * 1000.0;
    writeln!(
        f,
        "| {what} | p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms ({} times) |",
        at(50),
        at(99),
        at(100),
        sorted.len()
    )
}

fn frames_of(duration: Duration) -> usize {
    usize::try_from(duration.as_nanos() / FRAME.as_nanos()).unwrap_or(0)
}

/// A full frame at 16 kHz.
const FRAME_BYTES: u64 = 640;

/// Frames of a call that may be on their way when the caller hangs up: 200 ms.
const IN_FLIGHT: u64 = 10;
