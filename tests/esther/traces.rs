//! Traces, as a collector gets them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use novavoice::{
    audio::SampleRate,
    testkit::{
        bedrock::{Dialogue, FakeBedrock, Options, Reply, SessionScript},
        vonage::speech,
    },
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::Span,
};
use prost::Message;
use tokio::net::TcpListener;

use crate::{
    nova::{Nova, carrier},
    service::{CALLED, CALLER, inbound, soon},
};

const SECOND: Duration = Duration::from_secs(1);

/// A collector that takes everything by OTLP over HTTP, as protobuf.
#[derive(Clone, Default)]
struct Collector {
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, address)
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let bodies = self.bodies.lock().expect("never poisoned");
        let decode = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone());
        bodies
            .iter()
            .map(|body| decode(body).expect("protobuf"))
            .collect()
    }

    fn resources(&self) -> Vec<Resource> {
        let requests = self.requests().into_iter();
        let spans = requests.flat_map(|request| request.resource_spans);
        spans.filter_map(|spans| spans.resource).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests().into_iter();
        requests
            .flat_map(|request| request.resource_spans)
            .flat_map(|spans| spans.scope_spans)
            .flat_map(|spans| spans.spans)
            .collect()
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    collector.bodies.lock().expect("never poisoned").push(body);
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn number(span: &Span, key: &str) -> f64 {
    match value(&span.attributes, key) {
        Some(Value::DoubleValue(number)) => *number,
        Some(Value::IntValue(number)) => *number as f64,
        other => panic!("{key} of {span:?} is {other:?}"),
    }
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

/// A service that cuts sessions after eight seconds, and answers each turn.
async fn nova() -> Nova {
    let mut dialogue = Dialogue::answering([
        Reply::of([("Good morning, this is Esther.", 1_200)]),
        Reply::of([("May I book a meeting?", 1_200)]),
    ]);
    dialogue.caller = vec!["Hello there.".to_owned(); 9];
    let options = Options {
        session_limit: 8 * SECOND,
        ..Options::default()
    };
    let script = move |_| SessionScript::converse(dialogue.clone());
    Nova::with(
        FakeBedrock::start(options.on_session(script))
            .await
            .expect("a port"),
    )
}

/// The stages of each turn, the rollovers, tokens and costs; flushed at the end of the process, and
/// nothing of them is personal.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_trace_of_turns_with_what_was_done_in_them() {
    let (collector, address) = Collector::start().await;
    let nova = nova().await;
    let esther = nova
        .launch()
        .set("NOVA_SONIC_SESSION_LIMIT", "8")
        .set("NOVA_SONIC_PRICES", "2026-01-01 1000 1000 1000 1000")
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        .start()
        .await;
    let carrier = carrier(&esther);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    let mut heard = Duration::from_millis(1_200);
    assert!(call.wait_heard(heard).await, "the greeting");
    for _ in 0..3 {
        call.say(speech(SECOND, SampleRate::Hz16000));
        heard += Duration::from_millis(1_200);
        assert!(call.wait_heard(heard).await, "an answer");
        tokio::time::sleep(SECOND / 2).await;
    }
    call.hang_up();
    soon(call.ended()).await;
    esther.idle().await;
    let record = esther.json(&format!("/calls/{}", call.uuid())).await;
    let metrics = esther.get("/metrics").await.body;
    // Straight after the call: what has not been sent yet is sent now.
    esther.stop().await.went_well();

    let spans = collector.spans();
    let by_id: HashMap<_, _> = spans.iter().map(|span| (&span.span_id, span)).collect();
    assert_eq!(by_id.len(), spans.len(), "every span once");
    let named = |name: &str| {
        spans
            .iter()
            .filter(|span| span.name == name)
            .collect::<Vec<_>>()
    };
    let [root] = named("call")[..] else {
        panic!("one span for the call: {spans:#?}")
    };
    assert!(root.parent_span_id.is_empty());
    assert_eq!(text(&root.attributes, "call.id"), call.uuid());
    assert_eq!(text(&root.attributes, "call.status"), "completed");
    for span in &spans {
        assert_eq!(span.trace_id, root.trace_id);
        assert!(root.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(
            span.end_time_unix_nano <= root.end_time_unix_nano,
            "{span:?} {root:?}"
        );
    }
    let turns = named("turn");
    assert_eq!(turns.len(), 3);
    for turn in &turns {
        assert_eq!(turn.parent_span_id, root.span_id);
        let stages = [
            "last_frame",
            "caller_text",
            "first_text",
            "first_audio",
            "first_frame",
        ];
        let reached = stages.map(|stage| number(turn, &format!("turn.{stage}_ms")));
        assert!(reached.is_sorted() && reached[4] < 5_000.0, "{reached:?}");
        let length = turn.end_time_unix_nano - turn.start_time_unix_nano;
        assert!(
            length as f64 / 1e6 >= reached[4] + 1_000.0,
            "it ends when the reply was heard"
        );
    }
    let rollovers = named("rollover");
    assert!(!rollovers.is_empty(), "{spans:#?}");
    for rollover in rollovers {
        let parent = by_id[&rollover.parent_span_id];
        assert!(
            ["call", "turn"].contains(&parent.name.as_str()),
            "{parent:?}"
        );
    }
    for resource in collector.resources() {
        assert_eq!(text(&resource.attributes, "service.name"), "esther");
    }
    let bodies = collector.bodies.lock().expect("never poisoned").concat();
    let sent = String::from_utf8_lossy(&bodies);
    for private in [CALLER, CALLED, "Hello there", "book a meeting"] {
        assert!(!sent.contains(private), "{private}");
    }

    // The same figures wherever they are shown: a tenth of a cent for each token.
    let tokens = record["usage"].as_object().expect("an object").values();
    let tokens: f64 = tokens.filter_map(serde_json::Value::as_f64).sum();
    assert!(tokens > 0.0);
    let cost = record["cost_usd"].as_f64().expect("a number");
    assert!(
        (cost - tokens / 1_000.0).abs() < 1e-9,
        "{cost} for {tokens}"
    );
    assert!((number(root, "call.cost_usd") - cost).abs() < 1e-9);
    let counted =
        number(root, "gen_ai.usage.input_tokens") + number(root, "gen_ai.usage.output_tokens");
    assert_eq!(counted, tokens);
    let latency = &record["latency_ms"]["first_audio"];
    assert_eq!(latency["count"], 3, "{record}");
    assert!(latency["p50"].as_u64() <= latency["p99"].as_u64());
    let metric = |name: &str| {
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
        let mut values = lines.filter_map(|rest| rest.trim().parse::<f64>().ok());
        values
            .next()
            .unwrap_or_else(|| panic!("no {name} in {metrics}"))
    };
    assert!((metric("esther_cost_usd_total ") - cost).abs() < 1e-9);
    assert_eq!(metric("esther_turn_first_audio_seconds_count "), 3.0);
    assert!(metric("esther_rollovers_total ") >= 1.0);
}

/// A collector that is not there costs nothing but its traces.
#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_without_the_collector() {
    let launch = crate::service::Launch::local();
    let launch = launch.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let esther = launch.start().await;
    let carrier = esther.carrier();
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(call.wait_heard(SECOND).await);
    call.hang_up();
    call.ended().await;
    esther.idle().await;
    esther.stop().await.went_well();
}
