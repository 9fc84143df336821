//! What a whole call costs: through the agent, on providers in memory, and through a real socket.
//!
//! Everything runs on one thread, so a figure is work and not luck with the scheduler. A small
//! server has 20 ms for each frame of each call and direction: 20 µs of them are 0.1 % of a core.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use futures::{SinkExt, StreamExt};
use jiff::Timestamp;
use novavoice::{
    agent::{AgentHandle, Prompt, VoiceAgent},
    audio::{
        AudioFrame, SampleRate,
        vad::{VoiceDetector, default_detector},
    },
    call::{CallId, CallInfo, Direction},
    model::{
        ModelCommand, ModelEvent, ReplyId,
        memory::{OpenedSession, Puppet},
    },
    telephony::{
        CallCommand, CallEvent, Leg, Telephony,
        memory::{Callers, Loopback, RemoteEnd},
        vonage::{self, Vonage, VonageConfig},
    },
    testkit::vonage::speech,
    transcript::MemorySink,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::mpsc,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

const RATE: SampleRate = SampleRate::Hz16000;

/// `call/caller_frame`: one frame from the leg's event through the agent to
/// [`ModelCommand::Audio`], voice detection included, which is most of it. Budget: 30 µs.
fn caller_frame(c: &mut Criterion) {
    let runtime = runtime();
    let (_service, mut call) = runtime.block_on(open());
    let frames = speech_frames();
    let mut next = frames.iter().cycle();
    let mut group = c.benchmark_group("call");
    group.throughput(Throughput::Elements(1));
    group.bench_function("caller_frame", |b| {
        b.iter(|| {
            let frame = next.next().expect("cycles have no end");
            runtime.block_on(async {
                let said = CallEvent::Audio(black_box(frame.clone()));
                call.caller.port.events.send(Ok(said)).await.expect("up");
                let fed = call.session.port.commands.recv().await;
                assert_eq!(fed.as_ref(), Some(&ModelCommand::Audio(frame.clone())));
            });
        });
    });
    group.finish();
}

/// `call/barge_in`: from the model's interrupt, five seconds of reply in the queue, to
/// [`CallCommand::Clear`] at the leg. Budget: 50 µs.
fn barge_in(c: &mut Criterion) {
    let runtime = runtime();
    let (_service, mut call) = runtime.block_on(open());
    let mut replies = 0;
    c.bench_function("call/barge_in", |b| {
        b.iter_custom(|times| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    replies += 1;
                    call.speak(ReplyId(replies), 249).await;
                    call.until(|command| matches!(command, CallCommand::Play(_)))
                        .await;
                    // The silence that the model got while nobody spoke.
                    while call.session.port.commands.try_recv().is_ok() {}
                    let start = now();
                    call.model(ModelEvent::Interrupted).await;
                    call.until(|command| *command == CallCommand::Clear).await;
                    took += start.elapsed();
                }
                took
            })
        });
    });
}

/// `call/short`: a whole call, from the ring to the closed transcript: it opens, the agent greets,
/// the caller says half a second, the agent answers and the caller hangs up. What is said is
/// short enough to go out ahead of the ear, so nothing is waited for. Budget: 2 ms.
fn short(c: &mut Criterion) {
    let runtime = runtime();
    let transcripts = MemorySink::new();
    let mut service = {
        let _inside = runtime.enter();
        Service::start(transcripts.clone())
    };
    let words = speech_frames();
    c.bench_function("call/short", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut call = service.call().await;
                let id = call.session.seed.call.clone();
                let told = call.session.port.commands.recv().await;
                assert_eq!(told, Some(ModelCommand::Text("Greet.".to_owned())));
                call.speak(ReplyId(1), 9).await;
                for frame in &words[..25] {
                    call.said(CallEvent::Audio(frame.clone())).await;
                }
                for _ in 0..25 {
                    let heard = call.session.port.commands.recv().await;
                    assert!(matches!(heard, Some(ModelCommand::Audio(_))), "{heard:?}");
                }
                call.model(ModelEvent::CallerSaid("Hello.".to_owned()))
                    .await;
                call.speak(ReplyId(2), 9).await;
                for _ in 0..18 {
                    call.until(|command| matches!(command, CallCommand::Play(_)))
                        .await;
                }
                call.said(CallEvent::HungUp).await;
                call.finish().await;
                service.over().await;
                assert_eq!(transcripts.lines(&id).len(), 3, "{id}");
                assert!(transcripts.summary(&id).is_some(), "{id}");
            });
        });
    });
}

/// `call/socket_frame`: one frame from a websocket client over loopback TCP, through the Vonage
/// leg, to [`CallEvent::Audio`]; both ends of the connection included. Budget: 60 µs.
fn socket_frame(c: &mut Criterion) {
    let runtime = runtime();
    let (mut socket, mut leg) = runtime.block_on(media_socket());
    let frames = speech_frames();
    let mut next = frames.iter().cycle();
    let mut group = c.benchmark_group("call");
    group.throughput(Throughput::Elements(1));
    group.bench_function("socket_frame", |b| {
        b.iter(|| {
            let frame = next.next().expect("cycles have no end");
            runtime.block_on(async {
                let message = Message::Binary(black_box(frame.pcm().clone()));
                socket.send(message).await.expect("the socket is up");
                let event = leg.duplex.events.recv().await.expect("up");
                assert_eq!(event.expect("up"), CallEvent::Audio(frame.clone()));
            });
        });
    });
    group.finish();
    runtime.block_on(async {
        drop(leg);
        while let Some(Ok(_)) = socket.next().await {}
    });
}

/// An agent that serves, and those who call it and play its model.
struct Service {
    callers: Callers,
    sessions: mpsc::Receiver<OpenedSession>,
    handle: AgentHandle,
}

impl Service {
    fn start(transcripts: MemorySink) -> Self {
        let (telephony, callers) = Loopback::new();
        let (model, sessions) = Puppet::new();
        let agent = VoiceAgent::builder()
            .telephony(telephony)
            .model(model)
            .transcripts(transcripts)
            .prompt(|_, _| Prompt::new("Be brief.").with_greeting("Greet."))
            .voice_detector(|| Box::new(Attentive(default_detector())))
            .build();
        let handle = agent.handle();
        tokio::spawn(async move { agent.serve(std::future::pending()).await });
        Self {
            callers,
            sessions,
            handle,
        }
    }

    async fn call(&mut self) -> Call {
        let id = CallId::random();
        let info = CallInfo::new(id, Direction::Inbound, Timestamp::UNIX_EPOCH, RATE);
        let caller = self.callers.call(info).await;
        let session = self.sessions.recv().await.expect("a session opens");
        Call { caller, session }
    }

    /// Waits until no call is left.
    async fn over(&self) {
        while self.handle.counts().calls > 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// The only call of an agent, up and told to greet.
async fn open() -> (Service, Call) {
    let mut service = Service::start(MemorySink::new());
    let mut call = service.call().await;
    let told = call.session.port.commands.recv().await;
    assert_eq!(told, Some(ModelCommand::Text("Greet.".to_owned())));
    (service, call)
}

/// A call, both of its ends in the bench's hands.
struct Call {
    caller: RemoteEnd,
    session: OpenedSession,
}

impl Call {
    async fn said(&self, event: CallEvent) {
        self.caller.port.events.send(Ok(event)).await.expect("up");
    }

    async fn model(&self, event: ModelEvent) {
        self.session.port.events.send(Ok(event)).await.expect("up");
    }

    /// A reply of one sentence and so many frames, three at a time.
    async fn speak(&self, reply: ReplyId, frames: usize) {
        let text = "Good morning.".to_owned();
        self.model(ModelEvent::Caption(reply, text.clone())).await;
        for _ in 0..frames / 3 {
            let pcm = Bytes::from_static(&[1; 3 * RATE.bytes_per_frame()]);
            let audio = AudioFrame::new(pcm, RATE);
            self.model(ModelEvent::Audio(reply, audio)).await;
        }
        self.model(ModelEvent::AgentSaid(text)).await;
        self.model(ModelEvent::ReplyEnded(reply)).await;
    }

    /// Takes the agent's commands up to the first that `is` it.
    async fn until(&mut self, is: impl Fn(&CallCommand) -> bool) {
        loop {
            let command = self.caller.port.commands.recv().await.expect("up");
            if is(&command) {
                return;
            }
        }
    }

    /// Ends the session by the book, as it is asked to.
    async fn finish(mut self) {
        while let Some(command) = self.session.port.commands.recv().await {
            if command == ModelCommand::Finish {
                return;
            }
        }
    }
}

/// Works like the detector of calls and always hears a voice: frames that come faster than speech
/// would else be left out as surplus.
#[derive(Debug)]
struct Attentive(Box<dyn VoiceDetector>);

impl VoiceDetector for Attentive {
    fn hear(&mut self, frame: &AudioFrame) -> bool {
        black_box(self.0.hear(frame));
        true
    }
}

/// A carrier's socket and the leg at its other end.
async fn media_socket() -> (WebSocketStream<MaybeTlsStream<TcpStream>>, Leg) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let mut config = VonageConfig::new(&url);
    config.allow_unsigned = true;
    let vonage = Vonage::new(config).expect("valid settings");
    let router = vonage::router(&vonage);
    tokio::spawn(axum::serve(listener, router).into_future());

    let asked = json!({
        "from": "447700900000",
        "to": "442079460000",
        "uuid": "63f618634a516f7b86e146edebcf9356",
        "conversation_uuid": "CON-f972836a-550f-45fa-956c-12a2ab5b7d22",
    });
    let answer = reqwest::Client::new()
        .post(format!("{url}/webhooks/answer"))
        .header("content-type", "application/json")
        .body(asked.to_string())
        .send()
        .await
        .expect("an answer");
    let ncco = answer.bytes().await.expect("a body");
    let ncco: Value = serde_json::from_slice(&ncco).expect("JSON");
    let uri = ncco[0]["endpoint"][0]["uri"].as_str().expect("an NCCO");
    let (mut socket, _) = connect_async(uri).await.expect("the upgrade");
    let first = r#"{"event":"websocket:connected","content-type":"audio/l16;rate=16000"}"#;
    socket.send(Message::text(first)).await.expect("up");
    let leg = vonage.answer().await.expect("a leg");
    if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
        stream.set_nodelay(true).expect("a TCP option");
    }
    (socket, leg)
}

/// Two seconds of a voice.
fn speech_frames() -> Vec<AudioFrame> {
    let pcm = speech(2 * SECOND, RATE);
    (0..pcm.len() / RATE.bytes_per_frame())
        .map(|n| n * RATE.bytes_per_frame())
        .map(|at| AudioFrame::new(pcm.slice(at..at + RATE.bytes_per_frame()), RATE))
        .collect()
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}

const SECOND: Duration = Duration::from_secs(1);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    caller_frame(&mut criterion);
    barge_in(&mut criterion);
    short(&mut criterion);
    socket_frame(&mut criterion);
    criterion.final_summary();
}
