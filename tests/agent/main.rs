//! The agent around the core, on a paused clock, with providers that the test plays itself.

mod journal;
mod tools;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use novavoice::{
    ProviderError, ProviderErrorKind,
    agent::{AgentConfig, AgentEvent, AgentHandle, Counts, EventKind, Prompt, VoiceAgent},
    answer::{AnsweredBy, CarrierVerdict},
    audio::{AudioFrame, SampleRate},
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome, Party},
    conversation::{Answering, EndReason},
    lead::{Lead, LeadStore, MemoryLeads, PhoneNumber},
    model::{
        ModelCommand, ModelEvent, ReplyId,
        memory::{OpenedSession, Puppet},
    },
    telephony::{
        CallCommand, CallEvent,
        memory::{Callers, Loopback, RemoteEnd},
    },
    tool::Tools,
    transcript::{MemorySink, TranscriptSink, Utterance},
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};

const SECOND: Duration = Duration::from_secs(1);

/// An agent that serves, and everything around it in the test's hands.
struct Stage {
    callers: Callers,
    sessions: mpsc::Receiver<OpenedSession>,
    model: Arc<Puppet>,
    handle: AgentHandle,
    events: broadcast::Receiver<AgentEvent>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ProviderError>>,
}

impl Stage {
    fn set<S: TranscriptSink>(sink: S, config: AgentConfig) -> Self {
        Self::with_leads(sink, MemoryLeads::new(), config)
    }

    fn with_leads<S: TranscriptSink, L: LeadStore>(sink: S, leads: L, config: AgentConfig) -> Self {
        Self::with_tools(sink, leads, config, Tools::default(), |puppet| puppet)
    }

    fn with_tools<S: TranscriptSink, L: LeadStore>(
        sink: S,
        leads: L,
        config: AgentConfig,
        tools: Tools,
        changed: impl FnOnce(Puppet) -> Puppet,
    ) -> Self {
        let (telephony, callers) = Loopback::new();
        let (puppet, sessions) = Puppet::new();
        let puppet = changed(puppet);
        let model = Arc::new(puppet);
        let agent = VoiceAgent::builder()
            .telephony(telephony)
            .model(Arc::clone(&model))
            .transcripts(sink)
            .leads(leads)
            .tools(tools)
            .prompt(|_, lead| {
                let name = lead
                    .and_then(|lead| lead.text("name"))
                    .unwrap_or("somebody");
                // Calls that come in know nothing of it.
                Prompt::new(format!("You talk with {name}."))
                    .with_greeting("Greet.")
                    .with_answering(Answering::default())
            })
            .config(config)
            .build();
        let handle = agent.handle();
        let events = handle.subscribe();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            agent
                .serve(async {
                    let _dropped = stopped.await;
                })
                .await
        });
        Self {
            callers,
            sessions,
            model,
            handle,
            events,
            stop,
            serving,
        }
    }

    async fn call(&mut self, id: &str) -> (RemoteEnd, OpenedSession) {
        let caller = self.callers.call(info(id)).await;
        let session = self.sessions.recv().await.expect("a session opens");
        (caller, session)
    }

    /// Waits for the end of a call.
    async fn ended(&mut self) -> (EndReason, CallSummary) {
        loop {
            if let EventKind::Ended {
                reason, summary, ..
            } = self.events.recv().await.expect("the agent lives").kind
            {
                return (reason, summary);
            }
        }
    }
}

fn info(id: &str) -> CallInfo {
    let mut info = CallInfo::new(
        CallId::new(id),
        Direction::Inbound,
        Timestamp::UNIX_EPOCH,
        SampleRate::Hz16000,
    );
    info.remote = Some(Party::new("12125550142"));
    info
}

fn audio(length: Duration) -> AudioFrame {
    let bytes = usize::try_from(length.as_millis()).expect("short") * 32;
    AudioFrame::new(Bytes::from(vec![1; bytes]), SampleRate::Hz16000)
}

/// Plays the book: takes commands until told to finish, then ends.
async fn finish(session: &mut OpenedSession) -> usize {
    let mut frames = 0;
    while let Some(command) = session.port.commands.recv().await {
        match command {
            ModelCommand::Audio(_) => frames += 1,
            ModelCommand::Finish => break,
            ModelCommand::Text(_) | ModelCommand::History(_) | ModelCommand::ToolResult(_) => {}
        }
    }
    frames
}

#[tokio::test(start_paused = true)]
async fn a_call_runs_from_the_greeting_to_the_record() {
    let sink = MemorySink::new();
    let leads = MemoryLeads::new();
    let phone = PhoneNumber::parse("+12125550142").expect("a number");
    leads
        .upsert(Lead::new(phone).with("name", "Pat Example"))
        .await
        .expect("stored");
    let sink = Arc::new(sink);
    let mut stage = Stage::with_leads(Arc::clone(&sink), leads, AgentConfig::default());

    let (mut caller, mut session) = stage.call("one").await;
    assert_eq!(session.seed.instructions, "You talk with Pat Example.");
    assert_eq!(
        session.port.commands.recv().await,
        Some(ModelCommand::Text("Greet.".to_owned()))
    );
    for event in [
        ModelEvent::Caption(ReplyId(1), "Good morning.".to_owned()),
        ModelEvent::Audio(ReplyId(1), audio(SECOND)),
        ModelEvent::ReplyEnded(ReplyId(1)),
        ModelEvent::AgentSaid("Good morning.".to_owned()),
    ] {
        session
            .port
            .events
            .send(Ok(event))
            .await
            .expect("the session is read");
    }
    for _ in 0..50 {
        assert!(matches!(
            caller.port.commands.recv().await,
            Some(CallCommand::Play(_))
        ));
    }
    sleep(2 * SECOND).await;
    assert_eq!(stage.handle.counts().calls, 1);
    assert_eq!(stage.handle.calls()[0].info.id, CallId::new("one"));
    caller
        .port
        .events
        .send(Ok(CallEvent::HungUp))
        .await
        .expect("the leg is read");
    assert!(
        finish(&mut session).await > 10,
        "silence was fed all the while"
    );
    drop(session);

    let (reason, summary) = stage.ended().await;
    assert_eq!(reason, EndReason::CallerHungUp);
    assert_eq!(summary.status, CallStatus::Completed);
    let lines = sink.lines(&CallId::new("one"));
    assert_eq!(
        lines
            .iter()
            .map(|line| line.text.as_str())
            .collect::<Vec<_>>(),
        ["Good morning."]
    );
    assert!(sink.summary(&CallId::new("one")).is_some());
    sleep(SECOND).await;
    assert_eq!(
        stage.handle.counts(),
        Counts::default(),
        "nothing is left open"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopping_agent_lets_calls_finish_and_then_closes_them_by_the_book() {
    let mut stage = Stage::set(MemorySink::new(), AgentConfig::default());
    let (mut caller, mut session) = stage.call("one").await;
    stage.stop.send(()).expect("the agent serves");
    #[expect(clippy::disallowed_methods, reason = "the paused clock")]
    let started = tokio::time::Instant::now();
    let hung_up = async {
        while let Some(command) = caller.port.commands.recv().await {
            if matches!(command, CallCommand::HangUp { .. }) {
                let _gone = caller.port.events.send(Ok(CallEvent::HungUp)).await;
                break;
            }
        }
    };
    tokio::join!(hung_up, async {
        finish(&mut session).await;
        drop(session);
    });
    assert!(
        started.elapsed() >= Duration::from_secs(120),
        "the drain time was kept"
    );
    stage.serving.await.expect("no panic").expect("no error");
    assert_eq!(stage.handle.counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ignores_the_book_is_closed_by_force() {
    let mut stage = Stage::set(MemorySink::new(), AgentConfig::default());
    let (caller, session) = stage.call("one").await;
    caller
        .port
        .events
        .send(Ok(CallEvent::HungUp))
        .await
        .expect("the leg is read");
    stage.ended().await;
    session.port.events.closed().await;
    sleep(SECOND).await;
    assert_eq!(stage.handle.counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn a_model_that_cannot_be_reached_ends_the_call_as_failed() {
    let mut stage = Stage::set(MemorySink::new(), AgentConfig::default());
    stage.model.fail_open(ProviderError::new(
        "puppet",
        ProviderErrorKind::Unauthorized,
    ));
    let mut caller = stage.callers.call(info("one")).await;
    while let Some(command) = caller.port.commands.recv().await {
        if let CallCommand::HangUp { apologise } = command {
            assert!(apologise, "the caller is told");
            break;
        }
    }
    drop(caller);
    let (reason, summary) = stage.ended().await;
    assert_eq!(
        reason,
        EndReason::ModelFailed(ProviderErrorKind::Unauthorized)
    );
    assert_eq!(summary.status, CallStatus::Failed);
}

/// A disk that is full for a while.
#[derive(Debug, Default)]
struct Failing {
    inner: MemorySink,
    failures: std::sync::atomic::AtomicU32,
}

#[async_trait]
impl TranscriptSink for Failing {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        self.inner.start(call).await
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        if self
            .failures
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            < 3
        {
            return Err(ProviderError::new(
                "failing",
                ProviderErrorKind::Unavailable,
            ));
        }
        self.inner.record(call, line).await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        self.inner.end(call, summary).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_for_a_while_loses_nothing_and_ends_no_call() {
    let sink = Arc::new(Failing::default());
    let mut stage = Stage::set(Arc::clone(&sink), AgentConfig::default());
    let (caller, mut session) = stage.call("one").await;
    session
        .port
        .events
        .send(Ok(ModelEvent::CallerSaid("First.".to_owned())))
        .await
        .expect("read");
    sleep(3 * SECOND).await;
    session
        .port
        .events
        .send(Ok(ModelEvent::CallerSaid("Second.".to_owned())))
        .await
        .expect("read");
    sleep(10 * SECOND).await;
    assert_eq!(stage.handle.counts().calls, 1);
    caller
        .port
        .events
        .send(Ok(CallEvent::HungUp))
        .await
        .expect("the leg is read");
    finish(&mut session).await;
    drop(session);
    stage.ended().await;
    let lines = sink.inner.lines(&CallId::new("one"));
    let lines: Vec<_> = lines
        .iter()
        .map(|line| (line.seq, line.text.as_str()))
        .collect();
    assert_eq!(lines, [(1, "First."), (2, "Second.")]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_on_after_its_process_died_continues_its_numbers() {
    let sink = Arc::new(MemorySink::new());
    let id = CallId::new("one");
    sink.start(&info("one")).await.expect("started");
    let line = Utterance {
        seq: 1,
        at: Timestamp::UNIX_EPOCH,
        speaker: novavoice::transcript::Speaker::Agent,
        text: "Before.".to_owned(),
        cut: false,
    };
    sink.record(&id, &line).await.expect("kept");
    let mut stage = Stage::set(Arc::clone(&sink), AgentConfig::default());
    let (_caller, session) = stage.call("one").await;
    session
        .port
        .events
        .send(Ok(ModelEvent::CallerSaid("After.".to_owned())))
        .await
        .expect("read");
    sleep(3 * SECOND).await;
    let seq: Vec<u64> = sink.lines(&id).iter().map(|line| line.seq).collect();
    assert_eq!(seq, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_past_the_limit_is_hung_up_and_the_others_go_on() {
    let mut config = AgentConfig::default();
    config.max_calls = 1;
    let mut stage = Stage::set(MemorySink::new(), config);
    let (_caller, _session) = stage.call("one").await;
    let mut second = stage.callers.call(info("two")).await;
    assert_eq!(
        second.port.commands.recv().await,
        Some(CallCommand::HangUp { apologise: true })
    );
    assert_eq!(stage.handle.counts().calls, 1);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_never_looks_slows_no_call() {
    let mut stage = Stage::set(MemorySink::new(), AgentConfig::default());
    let _idle = stage.handle.subscribe();
    let (_caller, session) = stage.call("one").await;
    for n in 0..10_000 {
        session
            .port
            .events
            .send(Ok(ModelEvent::Caption(ReplyId(1), format!("caption {n}"))))
            .await
            .expect("read");
    }
    assert_eq!(stage.handle.counts().calls, 1);
}

#[tokio::test(start_paused = true)]
async fn hanging_up_from_outside_ends_the_call() {
    let mut stage = Stage::set(MemorySink::new(), AgentConfig::default());
    let (mut caller, _session) = stage.call("one").await;
    assert!(!stage.handle.hang_up(&CallId::new("other")));
    assert!(stage.handle.hang_up(&CallId::new("one")));
    while let Some(command) = caller.port.commands.recv().await {
        if matches!(command, CallCommand::HangUp { .. }) {
            return;
        }
    }
    panic!("the leg was dropped without a word");
}

#[tokio::test(start_paused = true)]
async fn caller_audio_that_the_model_does_not_take_is_dropped_and_counted() {
    let mut stage = Stage::set(MemorySink::new(), AgentConfig::default());
    let (caller, session) = stage.call("one").await;
    for _ in 0..1_000 {
        sleep(Duration::from_millis(20)).await;
        let frame = AudioFrame::silence(SampleRate::Hz16000);
        caller
            .port
            .events
            .send(Ok(CallEvent::Audio(frame)))
            .await
            .expect("the leg is read");
    }
    caller
        .port
        .events
        .send(Ok(CallEvent::HungUp))
        .await
        .expect("the leg is read");
    drop(session);
    loop {
        if let EventKind::Ended { stats, .. } =
            stage.events.recv().await.expect("the agent lives").kind
        {
            assert!(stats.frames_dropped > 500, "{stats:?}");
            break;
        }
    }
}

#[test]
fn an_agent_can_be_served_from_any_thread() {
    fn send<T: Send>(_: &T) {}
    let (telephony, _callers) = Loopback::new();
    let (model, _sessions) = Puppet::new();
    let agent = VoiceAgent::builder()
        .telephony(telephony)
        .model(model)
        .build();
    send(&agent.serve(std::future::pending()));
}

#[test]
fn providers_can_be_chosen_at_run_time() {
    let (telephony, _callers) = Loopback::new();
    let (model, _sessions) = Puppet::new();
    let telephony: Arc<dyn novavoice::telephony::Telephony> = Arc::new(telephony);
    let model: Arc<dyn novavoice::model::SpeechModel> = Arc::new(model);
    let agent = VoiceAgent::builder()
        .telephony(telephony)
        .model(model)
        .build();
    assert_eq!(agent.handle().counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_answers_a_call_of_ours_is_told_by_the_carrier_and_kept_in_the_summary() {
    let mut stage = Stage::set(MemorySink::new(), AgentConfig::default());
    let mut call = info("placed");
    call.direction = Direction::Outbound;
    let mut caller = stage.callers.call(call).await;
    let mut session = stage.sessions.recv().await.expect("a session opens");
    let verdict = CallEvent::AnsweredBy(CarrierVerdict::BeepStart);
    caller.port.events.send(Ok(verdict)).await.expect("open");
    let closing = tokio::spawn(async move {
        let mut texts = 0;
        while let Some(command) = session.port.commands.recv().await {
            match command {
                ModelCommand::Text(_) => texts += 1,
                ModelCommand::Finish => break,
                ModelCommand::Audio(_) | ModelCommand::History(_) | ModelCommand::ToolResult(_) => {
                }
            }
        }
        texts
    });
    while let Some(command) = caller.port.commands.recv().await {
        if matches!(command, CallCommand::HangUp { .. }) {
            break;
        }
        assert!(!matches!(command, CallCommand::Play(_)), "not a word");
    }
    caller
        .port
        .events
        .send(Ok(CallEvent::HungUp))
        .await
        .expect("open");
    let mut answered_by = None;
    let summary = loop {
        match stage.events.recv().await.expect("the agent lives").kind {
            EventKind::AnsweredBy(verdict) => answered_by = Some(verdict.answered_by),
            EventKind::Ended { summary, .. } => break summary,
            _ => {}
        }
    };
    assert_eq!(closing.await.ok(), Some(0), "it was told nothing");
    assert_eq!(answered_by, Some(AnsweredBy::MachineVm));
    assert_eq!(summary.status, CallStatus::Voicemail);
    assert_eq!(summary.outcome, Outcome::Voicemail);
}
