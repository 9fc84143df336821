//! A store that cannot be reached while calls are live.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use novavoice::{
    ProviderError, ProviderErrorKind,
    agent::{AgentConfig, EventKind, Prompt, VoiceAgent},
    audio::{AudioFrame, SampleRate},
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome},
    model::{ModelCommand, ModelEvent, ReplyId, memory::Puppet},
    telephony::{CallCommand, CallEvent, memory::Loopback},
    transcript::{
        DynamoSink, MemorySink, Speaker, Spool, TranscriptSink, Utterance, dynamodb::call_records,
        spool::SpoolConfig,
    },
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use crate::dynamo::Server;

/// A store that is unreachable for a while: nothing is answered, or an error is.
#[derive(Debug, Default)]
struct Far {
    inner: MemorySink,
    down: AtomicBool,
    silent: AtomicBool,
}

impl Far {
    async fn reach(&self) -> Result<(), ProviderError> {
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.down.load(Ordering::Relaxed) {
            return Err(ProviderError::new("far", ProviderErrorKind::Unavailable));
        }
        Ok(())
    }
}

#[async_trait]
impl TranscriptSink for Far {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        self.reach().await?;
        self.inner.start(call).await
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        self.reach().await?;
        self.inner.record(call, line).await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        self.reach().await?;
        self.inner.end(call, summary).await
    }
}

pub(crate) fn info(id: &str) -> CallInfo {
    CallInfo::new(
        CallId::new(id),
        Direction::Inbound,
        Timestamp::UNIX_EPOCH,
        SampleRate::Hz16000,
    )
}

/// What a caller of a call of three minutes heard, and when.
pub(crate) type Heard = Vec<(Duration, AudioFrame)>;

/// Everything that is said in it.
pub(crate) fn said() -> Vec<String> {
    (1..=36)
        .map(|reply| format!("This is sentence {reply}."))
        .collect()
}

/// A live call over `sink`; `halfway` is called ten seconds and 130 seconds after its start.
pub(crate) async fn live_call(
    sink: Arc<dyn TranscriptSink>,
    mut halfway: impl FnMut(bool),
) -> (Heard, Vec<String>) {
    let (telephony, callers) = Loopback::new();
    let (puppet, mut sessions) = Puppet::new();
    let mut config = AgentConfig::default();
    (
        config.conversation.idle.nudge,
        config.conversation.idle.hang_up,
    ) = (None, None);
    config.conversation.no_traffic = Duration::from_secs(3_600);
    let agent = VoiceAgent::builder()
        .telephony(telephony)
        .model(puppet)
        .transcripts(sink)
        .prompt(|_, _| Prompt::new("Talk."))
        .config(config)
        .build();
    let mut events = agent.handle().subscribe();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        agent
            .serve(async {
                let _dropped = stopped.await;
            })
            .await
    });
    let begun = Instant::now();
    let caller = callers.call(info("live")).await;
    let session = sessions.recv().await.expect("a session opens");
    let (mut commands, model) = (session.port.commands, session.port.events);
    let model_task = tokio::spawn(async move {
        while let Some(command) = commands.recv().await {
            if command == ModelCommand::Finish {
                break;
            }
        }
    });
    let (mut heard_by, line) = (caller.port.commands, caller.port.events);
    let listener = tokio::spawn(async move {
        let mut heard = Heard::new();
        while let Some(command) = heard_by.recv().await {
            if let CallCommand::Play(frame) = command {
                heard.push((begun.elapsed(), frame));
            }
        }
        heard
    });
    for reply in 1..=36 {
        match reply {
            3 => halfway(true),
            27 => halfway(false),
            _ => {}
        }
        let said = format!("This is sentence {reply}.");
        let audio = Bytes::from(vec![u8::try_from(reply).expect("small"); 32_000]);
        for event in [
            ModelEvent::Caption(ReplyId(reply), said.clone()),
            ModelEvent::Audio(ReplyId(reply), AudioFrame::new(audio, SampleRate::Hz16000)),
            ModelEvent::ReplyEnded(ReplyId(reply)),
            ModelEvent::AgentSaid(said),
        ] {
            model.send(Ok(event)).await.expect("the session is read");
        }
        sleep(Duration::from_secs(5)).await;
    }
    line.send(Ok(CallEvent::HungUp))
        .await
        .expect("the leg is read");
    let mut published = Vec::new();
    loop {
        match events.recv().await.expect("the agent lives").kind {
            EventKind::Utterance(line) => published.push(line.text),
            EventKind::Ended { .. } => break,
            _ => {}
        }
    }
    drop(stop);
    drop(model);
    serving.await.expect("no panic").expect("no error");
    model_task.await.expect("no panic");
    (listener.await.expect("no panic"), published)
}

/// Two minutes of a call of three, in simulated time.
#[tokio::test(start_paused = true)]
async fn an_outage_of_two_minutes_loses_nothing_and_delays_no_audio() {
    let undisturbed = live_call(Arc::new(MemorySink::new()), |_| {}).await.0;
    assert!(undisturbed.len() >= 36 * 50, "{}", undisturbed.len());
    for silent in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let far = Arc::new(Far::default());
        let spool = Spool::open(dir.path(), Arc::clone(&far), SpoolConfig::default()).await;
        let spool = Arc::new(spool.expect("a journal"));
        let sink: Arc<dyn TranscriptSink> = Arc::clone(&spool) as _;
        let (heard, published) = live_call(sink, |begins| {
            far.down.store(begins, Ordering::Relaxed);
            far.silent.store(begins && silent, Ordering::Relaxed);
            let kept = far.inner.lines(&CallId::new("live")).len();
            assert!(kept <= 3, "the far side has no line of the outage: {kept}");
        })
        .await;
        assert!(heard == undisturbed, "every frame came when it was due");
        assert_eq!(published, said(), "and every line was acknowledged");
        spool.drained().await;
        let kept = far.inner.lines(&CallId::new("live"));
        let texts: Vec<_> = kept.iter().map(|line| line.text.clone()).collect();
        assert_eq!(texts, said());
        assert!(far.inner.summary(&CallId::new("live")).is_some());
    }
}

/// The same over the wire: the server goes away and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_gets_everything_when_it_is_back() {
    let home = tempfile::tempdir().expect("a directory");
    let database = home.path().join("server.sqlite");
    let mut server = Server::start_at(&database);
    let table = server.table("outage");
    let made = server
        .dynamo()
        .create_missing(&[call_records(&table)])
        .await;
    made.expect("a table");
    let mut config = SpoolConfig::default();
    config.linger = Duration::from_millis(20);
    config.longest_pause = Duration::from_millis(300);
    let sink = DynamoSink::new(server.dynamo(), &table);
    let spool = Spool::open(home.path().join("spool"), sink, config).await;
    let spool = spool.expect("a journal");
    let line = |call: &str, seq: u64| Utterance {
        seq,
        at: Timestamp::UNIX_EPOCH,
        speaker: Speaker::Caller,
        text: format!("{call} {seq}"),
        cut: false,
    };
    let calls = ["a", "b", "c"];
    let mut seq = 0;
    for call in calls {
        spool.start(&info(call)).await.expect("started");
    }
    for round in 0..3 {
        for _ in 0..10 {
            seq += 1;
            for call in calls {
                let kept = spool.record(&CallId::new(call), &line(call, seq)).await;
                kept.expect("acknowledged");
            }
        }
        server = if round == 1 {
            server.restarted(&database)
        } else {
            server
        };
        if round == 0 {
            spool.drained().await;
            server.pause();
        }
    }
    let summary = CallSummary::new(
        CallStatus::Completed,
        Outcome::Completed,
        Timestamp::UNIX_EPOCH,
        Duration::ZERO,
    );
    for call in calls {
        spool
            .end(&CallId::new(call), &summary)
            .await
            .expect("ended");
    }
    spool.drained().await;
    let sink = DynamoSink::new(server.dynamo(), &table);
    for call in calls {
        let kept = sink.lines(&CallId::new(call)).await.expect("readable");
        let all: Vec<_> = (1..=30).map(|seq| line(call, seq)).collect();
        assert_eq!(kept, all);
    }
}
