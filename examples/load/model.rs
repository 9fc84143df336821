//! The model under the service: a fake Bedrock on threads of its own, and when it spoke.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use novavoice::testkit::bedrock::{
    Behaviour, Dialogue, FakeBedrock, Options, Reply, SessionHandle, SessionReport,
};
use tokio::runtime::Runtime;

use crate::service::now;

/// A reply's session and its number in it, as its audio names them.
pub(crate) type ReplyKey = (u16, u16);

/// A running fake. Dropping it ends its threads.
pub(crate) struct Model {
    fake: Arc<FakeBedrock>,
    begun: Arc<Mutex<HashMap<ReplyKey, Instant>>>,
    runtime: Option<Runtime>,
}

impl Model {
    /// Starts to listen, with replies of [`REPLY`] each.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("model")
            .enable_all()
            .build()?;
        let options = Options {
            keep_audio: false,
            behaviour: Behaviour::Converse(Dialogue {
                end_silence: END_SILENCE,
                think: Duration::ZERO,
                ..Dialogue::answering([Reply::say("This is a reply of the fake.", REPLY)])
            }),
            ..Options::default()
        };
        let fake = runtime
            .block_on(FakeBedrock::start(options))
            .context("the fake Bedrock does not start")?;
        let fake = Arc::new(fake);
        let begun = Arc::default();
        runtime.spawn(watch_all(Arc::clone(&fake), Arc::clone(&begun)));
        Ok(Self {
            fake,
            begun,
            runtime: Some(runtime),
        })
    }

    /// The settings by which the service finds it.
    pub(crate) fn settings(&self, dir: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
        let authority = self.fake.write_ca(dir).context("cannot write the CA")?;
        let (key, secret) = self.fake.credentials();
        let nowhere = dir.join("none").display().to_string();
        Ok(vec![
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", self.fake.endpoint()),
            ("SSL_CERT_FILE", authority.display().to_string()),
            ("AWS_ACCESS_KEY_ID", key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", nowhere.clone()),
            ("AWS_SHARED_CREDENTIALS_FILE", nowhere),
            ("SPEECH_MODEL", "nova-sonic".to_owned()),
        ])
    }

    /// When each reply's first audio was sent.
    pub(crate) fn begun(&self) -> HashMap<ReplyKey, Instant> {
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// All sessions so far.
    pub(crate) fn sessions(&self) -> Vec<SessionReport> {
        self.fake.sessions()
    }

    /// What the service did wrong towards the model.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.fake
            .violations()
            .into_iter()
            .map(|violation| format!("{:?}: {}", violation.rule, violation.detail))
            .collect()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn watch_all(fake: Arc<FakeBedrock>, begun: Arc<Mutex<HashMap<ReplyKey, Instant>>>) {
    for index in 0.. {
        let session = fake.session(index).await;
        tokio::spawn(watch(session, Arc::clone(&begun)));
    }
}

/// Notes the time whenever a session begins a reply, until it is over.
async fn watch(session: SessionHandle, begun: Arc<Mutex<HashMap<ReplyKey, Instant>>>) {
    let mut known = 0;
    session
        .wait_until(|report| {
            for reply in known..report.replies {
                // The marks in the audio wrap in the same way.
                let key = (wrapped(report.index), wrapped(reply));
                begun
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(key, now());
            }
            known = known.max(report.replies);
            !report.is_open()
        })
        .await;
}

/// Modulo 65536.
fn wrapped(count: usize) -> u16 {
    u16::try_from(count & 0xffff).unwrap_or(u16::MAX)
}

/// How long each reply plays: whole frames.
pub(crate) const REPLY: Duration = Duration::from_secs(2);

/// The silence that ends a caller's turn: whole events of 20 or 40 ms.
pub(crate) const END_SILENCE: Duration = Duration::from_millis(480);
