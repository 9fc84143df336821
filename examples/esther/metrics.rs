//! Counters in the text format of Prometheus.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use novavoice::{
    agent::Counts,
    call::CallSummary,
    conversation::{CallStats, TurnLatency},
    model::Usage,
    telephony::socket::Sockets,
    transcript::spool::SpoolHealth,
};

/// What was counted since the start. Calls are counted when they end.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Totals>);

#[derive(Debug, Default)]
struct Totals {
    started: u64,
    by_status: BTreeMap<&'static str, u64>,
    by_outcome: BTreeMap<&'static str, u64>,
    troubles: u64,
    webhooks_refused: u64,
    lines: u64,
    interruptions: u64,
    false_interruptions: u64,
    underruns: u64,
    frames: Frames,
    usage: Usage,
    cost_usd: f64,
    rollovers: u64,
    restarts: u64,
    stages: BTreeMap<&'static str, Histogram>,
    reply_latency: Histogram,
    call_duration: Histogram,
}

#[derive(Debug, Default)]
struct Frames {
    received: u64,
    fed: u64,
    filled: u64,
    trimmed: u64,
    dropped: u64,
    played: u64,
    unplayed: u64,
}

impl Metrics {
    /// A call began.
    pub(crate) fn started(&self) {
        self.lock().started += 1;
    }

    /// Something went wrong in a call.
    pub(crate) fn trouble(&self) {
        self.lock().troubles += 1;
    }

    /// A caller was answered.
    pub(crate) fn turn(&self, latency: &TurnLatency) {
        let mut totals = self.lock();
        for (stage, length) in latency.stages() {
            if let Some(length) = length {
                let stage = totals.stages.entry(stage).or_default();
                stage.observe(length, &LATENCIES);
            }
        }
    }

    /// A webhook had no right signature.
    pub(crate) fn webhook_refused(&self) {
        self.lock().webhooks_refused += 1;
    }

    /// A call is over.
    pub(crate) fn ended(&self, summary: &CallSummary, stats: &CallStats) {
        let mut totals = self.lock();
        *totals.by_status.entry(summary.status.as_str()).or_default() += 1;
        *totals
            .by_outcome
            .entry(summary.outcome.as_str())
            .or_default() += 1;
        totals.call_duration.observe(summary.duration, &DURATIONS);
        totals.lines += stats.utterances;
        totals.interruptions += stats.interruptions;
        totals.false_interruptions += stats.false_interruptions;
        totals.underruns += stats.underruns;
        totals.frames.received += stats.frames_received;
        totals.frames.fed += stats.frames_fed;
        totals.frames.filled += stats.frames_filled;
        totals.frames.trimmed += stats.frames_trimmed;
        totals.frames.dropped += stats.frames_dropped;
        totals.frames.played += stats.frames_played;
        totals.frames.unplayed += stats.frames_unplayed;
        totals.usage += stats.usage;
        totals.cost_usd += summary.cost_usd.unwrap_or_default();
        totals.rollovers += stats.rollovers;
        totals.restarts += stats.restarts;
        for latency in stats.turns.iter().filter_map(|turn| turn.first_frame) {
            totals.reply_latency.observe(latency, &LATENCIES);
        }
    }

    /// Everything, as text.
    pub(crate) fn render(
        &self,
        counts: Counts,
        sockets: &Sockets,
        stood_in: u64,
        circuit_open: bool,
        spool: Option<&SpoolHealth>,
    ) -> String {
        let totals = self.lock();
        let stats = sockets.stats();
        let mut text = Text::default();

        text.gauge("calls_active", "Calls that are going on.", counts.calls);
        text.gauge(
            "sessions_active",
            "Open sessions with the model.",
            counts.sessions,
        );
        text.gauge("tasks_active", "Tasks that belong to calls.", counts.tasks);
        text.gauge(
            "sockets_active",
            "Open media sockets.",
            sockets.open_sockets(),
        );

        text.gauge(
            "model_circuit_open",
            "1 while the model is left in peace because it fails to open.",
            u8::from(circuit_open),
        );

        text.counter("calls_started_total", "Calls that began.", totals.started);
        text.counters(
            "calls_total",
            "Calls that ended, by status.",
            "status",
            &totals.by_status,
        );
        text.counters(
            "outcomes_total",
            "Calls that ended, by outcome.",
            "outcome",
            &totals.by_outcome,
        );
        text.counter(
            "stand_in_calls_total",
            "Calls that the local model took because the real one could not.",
            stood_in,
        );
        text.counter(
            "call_troubles_total",
            "Troubles within calls.",
            totals.troubles,
        );
        text.counter(
            "webhooks_refused_total",
            "Webhooks without a right signature.",
            totals.webhooks_refused,
        );
        text.counter("utterances_total", "Lines of transcript.", totals.lines);
        text.counter(
            "interruptions_total",
            "Replies that a caller cut short.",
            totals.interruptions,
        );
        text.counter(
            "false_interruptions_total",
            "Pauses for a voice that was none.",
            totals.false_interruptions,
        );
        text.counter("underruns_total", "Replies that ran dry.", totals.underruns);
        text.counters(
            "frames_total",
            "Audio frames of 20 ms, by what became of them.",
            "kind",
            &BTreeMap::from([
                ("received", totals.frames.received),
                ("fed", totals.frames.fed),
                ("filled", totals.frames.filled),
                ("trimmed", totals.frames.trimmed),
                ("dropped", totals.frames.dropped),
                ("played", totals.frames.played),
                ("unplayed", totals.frames.unplayed),
            ]),
        );
        text.counters(
            "tokens_total",
            "Tokens that the model counted.",
            "kind",
            &BTreeMap::from([
                ("input_speech", totals.usage.input_speech_tokens),
                ("input_text", totals.usage.input_text_tokens),
                ("output_speech", totals.usage.output_speech_tokens),
                ("output_text", totals.usage.output_text_tokens),
            ]),
        );
        text.family(
            "cost_usd_total",
            "counter",
            "What those tokens cost in US dollars, where prices are known.",
        );
        text.line(format_args!("{PREFIX}cost_usd_total {}", totals.cost_usd));
        text.counter(
            "rollovers_total",
            "Moves to a fresh session before the old one's limit.",
            totals.rollovers,
        );
        text.counter(
            "restarts_total",
            "Lost sessions that were opened again.",
            totals.restarts,
        );
        text.counter(
            "sockets_opened_total",
            "Media sockets that opened.",
            stats.opened,
        );
        text.counter(
            "sockets_refused_total",
            "Media sockets refused before they opened.",
            stats.refused,
        );
        text.counter(
            "socket_messages_ignored_total",
            "Socket messages that meant nothing.",
            stats.ignored_messages,
        );
        text.counter(
            "socket_audio_dropped_total",
            "Pieces of caller audio that nobody took in time.",
            stats.dropped_audio,
        );
        text.counter(
            "socket_violations_total",
            "Sockets closed because the peer broke the protocol.",
            stats.violations,
        );
        if let Some(spool) = spool {
            text.gauge(
                "spool_waiting",
                "Starts, lines and ends that the store of calls does not have yet.",
                spool.waiting,
            );
            text.gauge("spool_bytes", "What they take on the disk.", spool.bytes);
            text.counter(
                "spool_refused_total",
                "Of them, what the store refused for good.",
                spool.refused,
            );
        }
        text.histogram(
            "reply_latency_seconds",
            "From the end of the caller's words to the first frame of the reply.",
            &totals.reply_latency,
            &LATENCIES,
        );
        let none = Histogram::default();
        for (stage, _) in TurnLatency::default().stages() {
            text.histogram(
                &format!("turn_{stage}_seconds"),
                "From the end of the caller's words to this stage of the answer.",
                totals.stages.get(stage).unwrap_or(&none),
                &LATENCIES,
            );
        }
        text.histogram(
            "call_duration_seconds",
            "How long calls lasted.",
            &totals.call_duration,
            &DURATIONS,
        );
        text.0
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Histogram {
    /// How many values each bound is the first to hold.
    buckets: [u64; BOUNDS],
    count: u64,
    sum: Duration,
}

impl Histogram {
    fn observe(&mut self, value: Duration, bounds: &Bounds) {
        let place = bounds
            .iter()
            .position(|bound| value.as_secs_f64() <= *bound);
        if let Some(place) = place {
            self.buckets[place] += 1;
        }
        self.count += 1;
        self.sum += value;
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.line(format_args!("{PREFIX}{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.line(format_args!("{PREFIX}{name} {value}"));
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, values: &BTreeMap<&str, u64>) {
        self.family(name, "counter", help);
        for (key, value) in values {
            self.line(format_args!("{PREFIX}{name}{{{label}=\"{key}\"}} {value}"));
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram, bounds: &Bounds) {
        self.family(name, "histogram", help);
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(histogram.buckets) {
            below += count;
            self.line(format_args!(
                "{PREFIX}{name}_bucket{{le=\"{bound}\"}} {below}"
            ));
        }
        let Histogram { count, sum, .. } = histogram;
        self.line(format_args!("{PREFIX}{name}_bucket{{le=\"+Inf\"}} {count}"));
        self.line(format_args!("{PREFIX}{name}_sum {}", sum.as_secs_f64()));
        self.line(format_args!("{PREFIX}{name}_count {count}"));
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {PREFIX}{name} {help}"));
        self.line(format_args!("# TYPE {PREFIX}{name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        writeln!(self.0, "{line}").ok();
    }
}

type Bounds = [f64; BOUNDS];

const BOUNDS: usize = 7;
const PREFIX: &str = "esther_";
/// Seconds. People notice a pause from half a second on, and speak again after two.
const LATENCIES: Bounds = [0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0];
/// Seconds; 480 is the model's stream limit.
const DURATIONS: Bounds = [5.0, 15.0, 30.0, 60.0, 180.0, 480.0, 1_800.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_value_up_to_each_bound() {
        let mut histogram = Histogram::default();
        for millis in [100, 250, 600, 9_000] {
            histogram.observe(Duration::from_millis(millis), &LATENCIES);
        }
        let mut text = Text::default();
        text.histogram("h", "help", &histogram, &LATENCIES);
        let lines: Vec<_> = text.0.lines().collect();
        assert_eq!(
            lines[..2],
            ["# HELP esther_h help", "# TYPE esther_h histogram"]
        );
        assert_eq!(
            lines[2..6],
            [
                r#"esther_h_bucket{le="0.25"} 2"#,
                r#"esther_h_bucket{le="0.5"} 2"#,
                r#"esther_h_bucket{le="0.75"} 3"#,
                r#"esther_h_bucket{le="1"} 3"#,
            ]
        );
        assert_eq!(
            lines[8..],
            [
                r#"esther_h_bucket{le="5"} 3"#,
                r#"esther_h_bucket{le="+Inf"} 4"#,
                "esther_h_sum 9.95",
                "esther_h_count 4",
            ]
        );
    }
}
