//! One node of a voice app, as small as it gets: webhooks, sockets, agent, files.

use std::{sync::Mutex, time::Duration};

use bytes::Bytes;
use novavoice::{
    agent::{AgentConfig, AgentHandle, Prompt, VoiceAgent},
    audio::SampleRate,
    model::nova_sonic::{NovaSonic, NovaSonicConfig},
    private::Private,
    telephony::vonage::{self, Credentials, Vonage, VonageConfig},
    testkit::{
        bedrock::{Dialogue, FakeBedrock, Options, Reply, Script, SessionScript},
        vonage::{FakeVonage, Options as CarrierOptions, speech},
    },
    transcript::FileSink,
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    time::{sleep, timeout},
};

const SECRET: &str = "novavoice-test-signature-secret-0123456789";

pub(crate) struct Node {
    pub(crate) bedrock: FakeBedrock,
    pub(crate) handle: AgentHandle,
    pub(crate) model: NovaSonic,
    url: String,
    transcripts: TempDir,
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl Node {
    /// A node whose Bedrock converses like this.
    pub(crate) async fn start(dialogue: Dialogue) -> Self {
        let options = Options {
            script: Some(Script::new(move |_| {
                SessionScript::converse(dialogue.clone())
            })),
            ..Options::default()
        };
        let bedrock = FakeBedrock::start(options).await.expect("a port is free");
        Self::with(bedrock, NovaSonicConfig::default()).await
    }

    pub(crate) async fn with(bedrock: FakeBedrock, config: NovaSonicConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let mut settings = VonageConfig::new(&url);
        settings.credentials = Credentials {
            signature_secrets: vec![Private::new(SECRET.to_owned())],
            api_key: Some("a1b2c3d4".to_owned()),
            ..Credentials::default()
        };
        let vonage = Vonage::new(settings).expect("valid settings");
        let router = vonage::router(&vonage);
        tokio::spawn(async move { axum::serve(listener, router).await });

        let transcripts = tempfile::tempdir().expect("a directory");
        let model = NovaSonic::with_http_clients(
            config,
            &bedrock.sdk_config().await,
            bedrock.http_clients(),
        );
        let mut config = AgentConfig::default();
        config.drain = Duration::from_millis(500);
        let agent = VoiceAgent::builder()
            .telephony(vonage)
            .model(model.clone())
            .transcripts(FileSink::new(transcripts.path()))
            .prompt(|_, _| {
                Prompt::new("You are Esther.")
                    .with_greeting("The call is connected. Greet the caller.")
            })
            .config(config)
            .build();
        let handle = agent.handle();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(async move {
            agent
                .serve(async {
                    let _dropped = stopped.await;
                })
                .await
        });
        Self {
            bedrock,
            handle,
            model,
            url,
            transcripts,
            stop: Mutex::new(Some(stop)),
        }
    }

    /// A carrier that signs as the node expects.
    pub(crate) fn carrier(
        &self,
        change: impl FnOnce(CarrierOptions) -> CarrierOptions,
    ) -> FakeVonage {
        let options = CarrierOptions::new(&self.url);
        FakeVonage::new(change(CarrierOptions {
            signature_secret: Some(Private::new(SECRET.to_owned())),
            ..options
        }))
    }

    /// Asks the agent to stop.
    pub(crate) fn stop(&self) {
        let stop = self.stop.lock().expect("never poisoned").take();
        stop.expect("stopped once")
            .send(())
            .expect("the agent serves");
    }

    /// Waits until this many sessions were closed and nothing is open.
    pub(crate) async fn over(&self, sessions: usize) {
        let finished = timeout(PATIENCE, self.bedrock.finished(sessions));
        finished.await.expect("the sessions come to their end");
        self.idle().await;
    }

    /// Waits until nothing is open.
    pub(crate) async fn idle(&self) {
        let over = async {
            while self.handle.counts().calls > 0 || self.model.open_sessions() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, over)
            .await
            .expect("the call comes to its end");
    }

    /// The one transcript of a call.
    pub(crate) fn transcript(&self, call: &str) -> String {
        let files: Vec<_> = std::fs::read_dir(self.transcripts.path())
            .expect("a directory")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
            .filter(|path| path.to_string_lossy().contains(call))
            .collect();
        assert_eq!(files.len(), 1, "one file for one call: {files:?}");
        std::fs::read_to_string(&files[0]).expect("readable")
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

/// A greeting of a second and a half, and one question.
pub(crate) fn dialogue() -> Dialogue {
    let mut dialogue = Dialogue::answering([
        Reply::of([("Good morning, this is Esther.", 1_500)]),
        Reply::of([("May I book a meeting?", 1_200)]),
    ]);
    dialogue.caller = vec!["Hello there.".to_owned()];
    dialogue
}

/// What a caller says in a second.
pub(crate) fn caller_speech() -> Bytes {
    speech(Duration::from_secs(1), SampleRate::Hz16000)
}
