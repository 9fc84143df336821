//! Which model speaks, and how people are told.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use novavoice::{
    ProviderError,
    call::CallId,
    model::{
        Capabilities, Session, SessionSeed, SpeechModel,
        breaker::{Breaker, Circuit},
        nova_sonic::{NovaSonic, NovaSonicConfig},
        price::PriceList,
        scripted::{Script, Scripted},
    },
};

use crate::config::{SpeechChoice, SpeechConfig};

/// The model of this process.
#[derive(Debug)]
pub(crate) struct Speech {
    /// What calls talk with.
    pub(crate) model: Arc<dyn SpeechModel>,
    /// The same, where another one may take its place in a call.
    pub(crate) stand_in: Option<Arc<StandIn>>,
    /// What people are told.
    pub(crate) announcement: Announcement,
    /// How many calls the model can bear, where that is known.
    pub(crate) max_calls: Option<usize>,
    /// How many sessions it opens at once, where that is known.
    pub(crate) max_sessions: Option<usize>,
    /// How it stands, where it may be out of order.
    pub(crate) circuit: Option<Circuit>,
    /// What its tokens cost, where that is known.
    pub(crate) prices: Option<PriceList>,
}

/// What people are told about the model.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    /// A short fixed name.
    pub(crate) name: &'static str,
    /// Whether it understands and speaks.
    pub(crate) real: bool,
    /// A sentence or two.
    pub(crate) notice: String,
}

/// Finds the model that `config` asks for. `auto` answers within two seconds.
pub(crate) async fn choose(config: &SpeechConfig) -> anyhow::Result<Speech> {
    match config.choice {
        SpeechChoice::Local => Ok(local("as SPEECH_MODEL asks for it", AUTO_HELPS)),
        SpeechChoice::NovaSonic => {
            let nova = nova_sonic(config, PATIENCE_WHEN_ASKED_FOR).await;
            let nova = nova.context("SPEECH_MODEL asks for Nova Sonic, which cannot be reached")?;
            Ok(alone(config, nova))
        }
        SpeechChoice::Auto => {
            let nova = nova_sonic(config, PATIENCE_OF_AUTO);
            match tokio::time::timeout(PATIENCE_OF_AUTO, nova).await {
                Ok(Ok(nova)) => {
                    let nova = Breaker::new(nova);
                    let circuit = nova.circuit();
                    let both = StandIn::new(nova, scripted(), circuit.clone());
                    let both = Arc::new(both);
                    Ok(real(config, Arc::clone(&both) as _, Some(both), circuit))
                }
                Ok(Err(problem)) => {
                    tracing::info!(error = format!("{problem:#}"), "Nova Sonic is not used");
                    Ok(local("since no AWS credentials were found", KEYS_HELP))
                }
                Err(_) => Ok(local(
                    "since no AWS credentials were found in time",
                    KEYS_HELP,
                )),
            }
        }
    }
}

/// Nova Sonic as it is reached by `nova`, with nobody to take its place.
pub(crate) fn alone(config: &SpeechConfig, nova: NovaSonic) -> Speech {
    let nova = Breaker::new(nova);
    let circuit = nova.circuit();
    real(config, Arc::new(nova), None, circuit)
}

async fn nova_sonic(config: &SpeechConfig, patience: Duration) -> anyhow::Result<NovaSonic> {
    let mut settings = NovaSonicConfig::default();
    settings.model_id.clone_from(&config.model_id);
    settings.voice.clone_from(&config.voice);
    settings.role_arn.clone_from(&config.role_arn);
    settings.session_limit = config.session_limit;
    settings.check()?;
    let nova = NovaSonic::from_env(settings, config.region.clone()).await;
    nova.credentials_resolve(patience).await?;
    Ok(nova)
}

fn real(
    config: &SpeechConfig,
    model: Arc<dyn SpeechModel>,
    stand_in: Option<Arc<StandIn>>,
    circuit: Circuit,
) -> Speech {
    let known = || PriceList::nova_sonic(&config.model_id);
    Speech {
        announcement: Announcement {
            name: model.capabilities().name,
            real: true,
            notice: format!("Amazon Nova Sonic speaks ({}).", config.model_id),
        },
        model,
        stand_in,
        // One call may roll over at any time, and needs a second session then.
        max_calls: Some(config.max_sessions - SPARE_SESSIONS),
        max_sessions: Some(config.max_sessions),
        circuit: Some(circuit),
        prices: config.prices.clone().or_else(known),
    }
}

fn local(why: &str, help: &str) -> Speech {
    let model = scripted();
    Speech {
        announcement: Announcement {
            name: model.capabilities().name,
            real: false,
            notice: format!(
                "A scripted stand-in answers, {why}: it does not understand words, and speaks in \
                 synthetic tones. {help}"
            ),
        },
        model: Arc::new(model),
        stand_in: None,
        max_calls: None,
        max_sessions: None,
        circuit: None,
        prices: None,
    }
}

fn scripted() -> Scripted {
    Scripted::new(Script::scheduling())
}

/// A model whose calls are taken by another one when it cannot take them at their start.
#[derive(Debug)]
pub(crate) struct StandIn<M = Breaker<NovaSonic>, L = Scripted> {
    model: M,
    local: L,
    /// How the model stands.
    circuit: Circuit,
    /// Who talks in which call.
    calls: Mutex<HashMap<CallId, Talker>>,
    taken: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talker {
    Model,
    Local,
}

impl<M: SpeechModel, L: SpeechModel> StandIn<M, L> {
    fn new(model: M, local: L, circuit: Circuit) -> Self {
        Self {
            model,
            local,
            circuit,
            calls: Mutex::default(),
            taken: AtomicU64::new(0),
        }
    }

    /// How many calls the local model took.
    pub(crate) fn calls_taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// A call is over.
    pub(crate) fn forget(&self, call: &CallId) {
        self.calls().remove(call);
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, Talker>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<M: SpeechModel, L: SpeechModel> SpeechModel for StandIn<M, L> {
    fn capabilities(&self) -> Capabilities {
        self.model.capabilities()
    }

    async fn open(&self, seed: SessionSeed) -> Result<Session, ProviderError> {
        let talker = self.calls().get(&seed.call).copied();
        if talker == Some(Talker::Local) {
            return self.local.open(seed).await;
        }
        let call = seed.call.clone();
        if talker.is_none() && self.circuit.is_open() {
            tracing::warn!(
                call_id = %call,
                "the model is out of order: the scripted stand-in with its tones takes this call"
            );
        } else {
            let error = match self.model.open(seed.clone()).await {
                Ok(session) => {
                    self.calls().insert(call, Talker::Model);
                    return Ok(session);
                }
                Err(error) if talker.is_some() => return Err(error),
                Err(error) => error,
            };
            tracing::warn!(
                call_id = %call,
                error = &error as &dyn std::error::Error,
                "the model cannot take this call: the scripted stand-in with its tones takes it"
            );
        }
        self.taken.fetch_add(1, Relaxed);
        self.calls().insert(call, Talker::Local);
        self.local.open(seed).await
    }
}

/// What to do for a real conversation.
const KEYS_HELP: &str = "With AWS credentials Amazon Nova Sonic speaks instead.";
const AUTO_HELPS: &str =
    "SPEECH_MODEL=auto lets Amazon Nova Sonic speak where AWS credentials are found.";

/// Also where no credentials are set and no metadata service answers.
const PATIENCE_OF_AUTO: Duration = Duration::from_millis(1_900);
/// Longer than the metadata service of a machine that has just started.
const PATIENCE_WHEN_ASKED_FOR: Duration = Duration::from_secs(10);
/// What a rollover takes.
const SPARE_SESSIONS: usize = 2;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use novavoice::{ProviderErrorKind, audio::SampleRate};

    use super::*;
    use crate::config;

    /// A model that can be switched off.
    #[derive(Debug)]
    struct Switched(AtomicBool);

    #[async_trait]
    impl SpeechModel for Switched {
        fn capabilities(&self) -> Capabilities {
            scripted().capabilities()
        }

        async fn open(&self, seed: SessionSeed) -> Result<Session, ProviderError> {
            match self.0.load(Relaxed) {
                true => scripted().open(seed).await,
                false => Err(ProviderError::new(
                    "switched",
                    ProviderErrorKind::Throttled { retry_after: None },
                )),
            }
        }
    }

    fn stand_in(well: bool) -> StandIn<Switched, Scripted> {
        let model = Switched(AtomicBool::new(well));
        StandIn::new(model, scripted(), Circuit::default())
    }

    fn seed(call: &str) -> SessionSeed {
        SessionSeed::new(CallId::new(call), "", SampleRate::Hz16000)
    }

    #[tokio::test]
    async fn a_call_that_the_model_cannot_take_is_taken_by_the_stand_in_to_its_end() {
        let both = stand_in(false);
        assert!(both.open(seed("one")).await.is_ok());
        both.model.0.store(true, Relaxed);
        assert!(
            both.open(seed("one")).await.is_ok(),
            "the voice does not change within a call"
        );
        assert_eq!(both.calls()[&CallId::new("one")], Talker::Local);
        assert_eq!(both.calls_taken(), 1);
        both.forget(&CallId::new("one"));
        assert!(both.calls().is_empty());
    }

    #[tokio::test]
    async fn a_call_that_the_model_has_begun_is_never_taken_over() {
        let both = stand_in(true);
        assert!(both.open(seed("one")).await.is_ok());
        both.model.0.store(false, Relaxed);
        assert!(both.open(seed("one")).await.is_err());
        assert_eq!(both.calls_taken(), 0);
    }

    #[tokio::test]
    async fn the_local_model_is_announced_as_what_it_is() {
        let mut config = config::tests::defaults().speech;
        config.choice = SpeechChoice::Local;
        let speech = choose(&config).await.expect("needs nothing");
        assert!(!speech.announcement.real);
        assert!(speech.announcement.notice.contains("stand-in"));
        assert!(speech.announcement.notice.contains("tones"));
        assert_eq!(speech.max_calls, None);
    }

    #[test]
    fn two_sessions_of_nova_sonic_stay_free() {
        let config = config::tests::defaults().speech;
        let speech = real(&config, Arc::new(scripted()), None, Circuit::default());
        assert_eq!(
            (speech.max_calls, speech.max_sessions),
            (Some(18), Some(20))
        );
    }
}
