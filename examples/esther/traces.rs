//! Traces by OTLP: one span for each call, within it one for each turn from the end of the caller's
//! words to the end of the reply, and within that one for each tool, rollover and restart.
//!
//! The agent reports turns with their times once they are over, so spans are put together here, far
//! from any audio, and are the same whatever is logged. They hold no names, numbers or words.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use jiff::Timestamp;
use novavoice::{
    agent::{AgentEvent, EventKind},
    call::{CallId, CallInfo, CallSummary},
    conversation::{Turn, Work, WorkKind},
};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use uuid::Uuid;

/// Makes spans of what the agent reports.
pub(crate) struct Traces {
    spans: mpsc::Sender<SpanData>,
    scope: InstrumentationScope,
    calls: Mutex<HashMap<CallId, CallSpan>>,
}

/// The task that sends them.
pub(crate) struct Sending(JoinHandle<()>);

/// A call that goes on.
struct CallSpan {
    trace: TraceId,
    span: SpanId,
    started: Timestamp,
    attributes: Vec<KeyValue>,
}

impl Traces {
    /// Sends spans to the collector at this address, below `/v1/traces`, until the last sender is
    /// gone. Needs a runtime.
    pub(crate) fn start(endpoint: &str) -> anyhow::Result<(Self, Sending)> {
        let client = opentelemetry_otlp_client()?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(SEND)
            .build()
            .context("traces cannot be sent (OTEL_EXPORTER_OTLP_ENDPOINT)")?;
        exporter.set_resource(&Resource::builder().with_service_name("esther").build());
        let (spans, queue) = mpsc::channel(QUEUE);
        let traces = Self {
            spans,
            scope: InstrumentationScope::builder("novavoice")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
            calls: Mutex::default(),
        };
        Ok((traces, Sending(tokio::spawn(send(exporter, queue)))))
    }

    /// Takes note of a report.
    pub(crate) fn take(&self, event: &AgentEvent) {
        match &event.kind {
            EventKind::Started(info) => self.started(info),
            EventKind::Turn(turn) => self.turn(&event.call, turn),
            EventKind::Work(work) => self.work_alone(&event.call, work),
            EventKind::Ended { summary, .. } => self.ended(&event.call, summary),
            _ => {}
        }
    }

    /// Forgets the calls whose end was missed.
    pub(crate) fn keep_live(&self, live: &[CallId]) {
        self.calls().retain(|call, _| live.contains(call));
    }

    fn started(&self, info: &CallInfo) {
        let span = CallSpan {
            trace: TraceId::from_bytes(Uuid::new_v4().into_bytes()),
            span: new_span(),
            started: info.started,
            attributes: vec![
                KeyValue::new("call.id", info.id.as_str().to_owned()),
                KeyValue::new("call.direction", info.direction.as_str()),
            ],
        };
        self.calls().insert(info.id.clone(), span);
    }

    fn turn(&self, call: &CallId, turn: &Turn) {
        let Some((trace, parent)) = self.place(call) else {
            return;
        };
        let stages = turn.latency.stages().into_iter();
        let stages = stages.filter_map(|(stage, length)| {
            let millis = length?.as_secs_f64() * 1e3;
            Some(KeyValue::new(format!("turn.{stage}_ms"), millis))
        });
        let mut span = self.span("turn", trace, parent, turn.started, turn.length);
        span.attributes = stages.collect();
        span.attributes.push(KeyValue::new("turn.cut", turn.cut));
        let id = span.span_context.span_id();
        self.send(span);
        for work in &turn.work {
            self.work(work, trace, id);
        }
    }

    fn work_alone(&self, call: &CallId, work: &Work) {
        if let Some((trace, parent)) = self.place(call) {
            self.work(work, trace, parent);
        }
    }

    fn work(&self, work: &Work, trace: TraceId, parent: SpanId) {
        let kind = match &work.kind {
            WorkKind::Rollover => "rollover",
            WorkKind::Restart => "restart",
            WorkKind::Tool { .. } => "tool",
            _ => "work",
        };
        let mut span = self.span(kind, trace, parent, work.started, work.length);
        if let WorkKind::Tool { name, .. } = &work.kind {
            span.attributes
                .push(KeyValue::new("tool.name", name.clone()));
        }
        if work.failed {
            span.status = Status::error("it came to nothing");
        }
        self.send(span);
    }

    fn ended(&self, call: &CallId, summary: &CallSummary) {
        let Some(begun) = self.calls().remove(call) else {
            return;
        };
        let length = summary.ended.duration_since(begun.started);
        let length = length.try_into().unwrap_or(summary.duration);
        let mut span = self.span("call", begun.trace, SpanId::INVALID, begun.started, length);
        let id = begun.span;
        span.span_context = context(begun.trace, id);
        span.span_kind = SpanKind::Server;
        span.attributes = begun.attributes;
        let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let usage = summary.usage;
        let sent = usage.input_speech_tokens + usage.input_text_tokens;
        let received = usage.output_speech_tokens + usage.output_text_tokens;
        span.attributes.extend([
            KeyValue::new("call.status", summary.status.as_str()),
            KeyValue::new("call.outcome", summary.outcome.as_str()),
            KeyValue::new("gen_ai.usage.input_tokens", tokens(sent)),
            KeyValue::new("gen_ai.usage.output_tokens", tokens(received)),
        ]);
        let cost = summary.cost_usd;
        span.attributes
            .extend(cost.map(|cost| KeyValue::new("call.cost_usd", cost)));
        if summary.status == novavoice::call::CallStatus::Failed {
            span.status = Status::error("the call failed");
        }
        self.send(span);
    }

    /// The trace of a call, and the span of the call in it.
    fn place(&self, call: &CallId) -> Option<(TraceId, SpanId)> {
        self.calls().get(call).map(|call| (call.trace, call.span))
    }

    fn span(
        &self,
        name: &'static str,
        trace: TraceId,
        parent: SpanId,
        started: Timestamp,
        length: Duration,
    ) -> SpanData {
        let start_time = SystemTime::from(started);
        SpanData {
            span_context: context(trace, new_span()),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time,
            end_time: start_time + length,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }

    fn send(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            tracing::debug!("a span is lost: the collector is too slow");
        }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, CallSpan>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    /// Waits until everything is sent, once all [`Traces`] are gone, and not for ever.
    pub(crate) async fn finish(self) {
        if timeout(LAST_WORDS, self.0).await.is_err() {
            tracing::warn!("the last traces were not taken in time");
        }
    }
}

/// Redirects are not followed, and no proxy is asked: a collector stands nearby.
fn opentelemetry_otlp_client() -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(SEND);
    client.build().context("no client for traces")
}

/// Sends what comes in batches: what has gathered in a second.
async fn send(exporter: SpanExporter, mut queue: mpsc::Receiver<SpanData>) {
    let mut failing = false;
    loop {
        let mut batch = Vec::new();
        if queue.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let gather = async {
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                if queue.recv_many(&mut batch, room).await == 0 {
                    return;
                }
            }
        };
        // Whichever comes first: a full batch, the end, or the second.
        timeout(GATHER, gather).await.ok();
        let count = batch.len();
        match exporter.export(batch).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, count, "traces are lost: the collector does not take them");
            }
            Err(error) => tracing::debug!(%error, count, "traces are lost"),
        }
    }
}

fn context(trace: TraceId, span: SpanId) -> SpanContext {
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
}

fn new_span() -> SpanId {
    let [a, b, c, d, e, f, g, h, ..] = Uuid::new_v4().into_bytes();
    SpanId::from_bytes([a, b, c, d, e, f, g, h])
}

/// Some minutes of a full house.
const QUEUE: usize = 4_096;
const BATCH: usize = 256;
const GATHER: Duration = Duration::from_secs(1);
/// How long one batch may take.
const SEND: Duration = Duration::from_secs(5);
/// How long the end of the process waits for a collector.
const LAST_WORDS: Duration = Duration::from_secs(5);
