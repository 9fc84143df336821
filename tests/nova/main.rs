//! Nova Sonic against the fake Bedrock: real TLS, real HTTP/2, the real SDK.

mod closing;
mod environment;
mod faults;
mod opening;
mod tools;
mod turns;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use novavoice::{
    ProviderError,
    audio::{AudioFrame, SampleRate},
    call::CallId,
    model::{
        ModelCommand, ModelEvent, ReplyId, Session, SessionSeed, SpeechModel,
        nova_sonic::{NovaSonic, NovaSonicConfig},
    },
    testkit::bedrock::{FakeBedrock, Options, SessionScript},
};
use tokio::task::JoinHandle;

const RATE: SampleRate = SampleRate::Hz16000;

/// A fake whose clocks run ten times as fast and which does not mind audio that comes at once.
fn quick() -> Options {
    Options {
        time_scale: 10.0,
        audio_speed: 10.0,
        audio_burst: Duration::from_secs(3_600),
        audio_gap: Duration::from_secs(3_600),
        ..Options::default()
    }
}

/// A quick fake whose sessions all follow `script`, and a model that reaches it.
async fn scripted(script: SessionScript) -> (FakeBedrock, NovaSonic) {
    both(quick().on_session(move |_| script.clone())).await
}

async fn both(options: Options) -> (FakeBedrock, NovaSonic) {
    let fake = FakeBedrock::start(options).await.unwrap();
    let model = model(&fake, config()).await;
    (fake, model)
}

/// The default settings, with less patience.
fn config() -> NovaSonicConfig {
    let mut config = NovaSonicConfig::default();
    config.open_timeout = Duration::from_secs(5);
    config.close_timeout = Duration::from_secs(2);
    config
}

/// A model with a connection for each session, as in production.
async fn model(fake: &FakeBedrock, config: NovaSonicConfig) -> NovaSonic {
    NovaSonic::with_http_clients(config, &fake.sdk_config().await, fake.http_clients())
}

fn seed() -> SessionSeed {
    SessionSeed::new(CallId::random(), "You are Esther.", RATE)
}

/// Whatever is waited for must come soon.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .expect("it comes within 20 s")
}

/// A caller on the line: silent unless told to speak.
struct Line {
    session: Session,
    hum: Option<JoinHandle<()>>,
}

impl Line {
    async fn open(model: &NovaSonic) -> Self {
        Self::open_with(model, seed()).await
    }

    async fn open_with(model: &NovaSonic, seed: SessionSeed) -> Self {
        let session = soon(model.open(seed)).await.unwrap();
        Self { session, hum: None }
    }

    /// Keeps silence flowing from now on, ten times as fast as real time.
    fn hum(&mut self) {
        let commands = self.session.commands.clone();
        self.hum = Some(tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(2));
            while commands.send(audio(0)).await.is_ok() {
                beat.tick().await;
            }
        }));
    }

    async fn audio(&self, length: Duration, level: i16) {
        for _ in 0..length.as_millis() / 20 {
            // A session that is over takes no more audio; the test looks at its events.
            let _ = self.session.commands.send(audio(level)).await;
        }
    }

    /// Speaks for a second and is then silent for a second.
    async fn speak(&self) {
        self.audio(Duration::from_secs(1), 3_000).await;
        self.audio(Duration::from_secs(1), 0).await;
    }

    async fn text(&self, text: &str) {
        let text = ModelCommand::Text(text.to_owned());
        self.session.commands.send(text).await.unwrap();
    }

    async fn next(&mut self) -> Option<Result<ModelEvent, ProviderError>> {
        soon(self.session.events.recv()).await
    }

    /// All events up to the first that `is` it, which is the last.
    async fn until(&mut self, mut is: impl FnMut(&ModelEvent) -> bool) -> Vec<ModelEvent> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.expect("the session goes on").unwrap();
            events.push(event);
            if is(&events[events.len() - 1]) {
                return events;
            }
        }
    }

    /// All events up to the error that ends the session, and that error.
    async fn until_lost(&mut self) -> (Vec<ModelEvent>, ProviderError) {
        let mut events = Vec::new();
        loop {
            match self
                .next()
                .await
                .expect("an end without being asked is an error")
            {
                Ok(event) => events.push(event),
                Err(error) => {
                    assert!(self.next().await.is_none(), "an error is the last word");
                    return (events, error);
                }
            }
        }
    }

    /// Finishes, and gives what still came.
    async fn finish(mut self) -> Vec<ModelEvent> {
        self.stop_humming().await;
        self.session
            .commands
            .send(ModelCommand::Finish)
            .await
            .unwrap();
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event.unwrap());
        }
        events
    }

    async fn stop_humming(&mut self) {
        if let Some(hum) = self.hum.take() {
            hum.abort();
            let _ = hum.await;
        }
    }
}

fn audio(level: i16) -> ModelCommand {
    let pcm = level.to_le_bytes().repeat(RATE.samples_per_frame());
    ModelCommand::Audio(AudioFrame::new(Bytes::from(pcm), RATE))
}

fn ended(reply: u64) -> impl FnMut(&ModelEvent) -> bool {
    move |event| *event == ModelEvent::ReplyEnded(ReplyId(reply))
}

fn captions(events: &[ModelEvent]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| match event {
            ModelEvent::Caption(_, text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn agent_said(events: &[ModelEvent]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| match event {
            ModelEvent::AgentSaid(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn caller_said(events: &[ModelEvent]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| match event {
            ModelEvent::CallerSaid(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// How long the audio of `reply` is, and the bytes of it.
fn heard(events: &[ModelEvent], reply: u64) -> Vec<u8> {
    events
        .iter()
        .filter_map(|event| match event {
            ModelEvent::Audio(of, frame) if of.0 == reply => Some(frame.pcm().to_vec()),
            _ => None,
        })
        .collect::<Vec<_>>()
        .concat()
}

fn interruptions(events: &[ModelEvent]) -> usize {
    events
        .iter()
        .filter(|event| **event == ModelEvent::Interrupted)
        .count()
}
