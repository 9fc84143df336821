//! The shell around the core: takes calls, runs them, and lets others watch.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;
use tracing::{Instrument, error, info, info_span, warn};

use crate::{
    audio::vad::VoiceDetector,
    call::CallInfo,
    conversation::{self, Answering, Command},
    error::{ProviderError, ProviderErrorKind},
    journal::JournalFolder,
    lead::{Lead, LeadStore},
    model::{SpeechModel, price::PriceList},
    telephony::{CallCommand, Leg, Telephony},
    tool::Tools,
    transcript::TranscriptSink,
};

mod builder;
pub use builder::VoiceAgentBuilder;

mod event;
pub use event::{AgentEvent, Counts, EventKind, LiveCall, Tally};

mod driver;
mod handle;
mod journaled;
mod quota;
mod recorder;
mod seeds;
mod sessions;
mod tools;

use handle::Shared;
pub use handle::{AgentHandle, TransferRefused};
use quota::Quota;

/// Runs calls: takes them from a [`Telephony`], lets a [`SpeechModel`] talk, keeps what was said
/// in a [`TranscriptSink`], and knows people from a [`LeadStore`].
///
/// ```
/// use novavoice::{
///     agent::{Prompt, VoiceAgent},
///     model::scripted::{Script, Scripted},
///     telephony::memory::Loopback,
///     transcript::MemorySink,
/// };
///
/// let (telephony, callers) = Loopback::new();
/// let agent = VoiceAgent::builder()
///     .telephony(telephony)
///     .model(Scripted::new(Script::scheduling()))
///     .transcripts(MemorySink::new())
///     .prompt(|_call, _lead| Prompt::new("You book meetings.").with_greeting("Say hello."))
///     .build();
/// # drop((agent, callers));
/// ```
///
/// A missing part does not compile:
///
/// ```compile_fail
/// let agent = novavoice::agent::VoiceAgent::builder().build();
/// ```
pub struct VoiceAgent<T, M, S, L> {
    telephony: T,
    parts: Arc<Parts<M, S, L>>,
}

/// What every call of an agent shares.
struct Parts<M, S, L> {
    model: M,
    transcripts: S,
    leads: L,
    config: AgentConfig,
    prompt: PromptFn,
    tools: Tools,
    detector: DetectorFn,
    shared: Arc<Shared>,
    quota: Arc<Quota>,
}

type PromptFn = Box<dyn Fn(CallInfo, Option<Lead>) -> Prompting + Send + Sync>;
type Prompting = Pin<Box<dyn Future<Output = Prompt> + Send>>;
type DetectorFn = Box<dyn Fn() -> Box<dyn VoiceDetector> + Send + Sync>;

/// How an agent behaves. Start from [`AgentConfig::default`] and assign what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentConfig {
    /// How its conversations behave.
    pub conversation: conversation::Config,
    /// How long live calls may go on once the agent was asked to stop. Default: 2 minutes.
    pub drain: Duration,
    /// How many calls may run at once; a leg past that is hung up at once with an apology, so refuse
    /// earlier and politely where the carrier allows it. Default: 200, what one small machine carries with
    /// room to spare.
    pub max_calls: usize,
    /// How long the call waits for what the lead store knows of the caller. Default: 400 ms;
    /// longer would be heard as silence.
    pub lead_lookup: Duration,
    /// Whether a caller hears a soft tone while a lost session is opened again and the gap would be
    /// noticed. Default: yes; dead air makes people hang up.
    pub filler: bool,
    /// How many model sessions may be open at once over all calls; openings past that wait their
    /// turn. Default: no limit but the calls'. Give the account's quota where there is one:
    /// rollovers are then staggered under it, calls that go on are served before new ones, and two
    /// sessions are left to them.
    pub max_sessions: Option<usize>,
    /// How long a session may take to open, once it is its turn; at most 20 s, which is also the
    /// default. A provider's own limit should be shorter.
    pub open_timeout: Duration,
    /// What tokens cost. Default: unknown, and so are the costs of calls.
    pub prices: Option<PriceList>,
    /// How long the last lines of a call may take to be kept. Default: 10 s.
    pub record_deadline: Duration,
    /// Where calls are written down so that they can be [run again](crate::journal). Default:
    /// nowhere, since a journal holds every word of a call.
    pub journals: Option<JournalFolder>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            conversation: conversation::Config::default(),
            drain: Duration::from_secs(120),
            max_calls: 200,
            lead_lookup: Duration::from_millis(400),
            filler: true,
            max_sessions: None,
            open_timeout: conversation::OPENING,
            prices: None,
            record_deadline: Duration::from_secs(10),
            journals: None,
        }
    }
}

/// What the model is told at the start of a call.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Prompt {
    /// The system prompt.
    pub instructions: String,
    /// What makes the model speak first: it answers these words as if the caller had said them.
    pub greeting: Option<String>,
    /// What is done about whoever answers, on calls that we placed: the agent finds out before it
    /// speaks. `None`: it speaks at once.
    pub answering: Option<Answering>,
    /// The voice, by the model's own name for it. `None`: the one that the model is set to.
    pub voice: Option<String>,
    /// Only these of the agent's tools, by name. `None`: all.
    pub tools: Option<Vec<String>>,
    /// The version of these texts, for the records of calls. `None`: they have none.
    pub version: Option<String>,
}

impl Prompt {
    /// Instructions alone: the agent waits for the caller to speak.
    pub fn new(instructions: impl Into<String>) -> Self {
        Self {
            instructions: instructions.into(),
            greeting: None,
            answering: None,
            voice: None,
            tools: None,
            version: None,
        }
    }

    /// Lets the agent speak first.
    #[must_use]
    pub fn with_greeting(mut self, greeting: impl Into<String>) -> Self {
        self.greeting = Some(greeting.into());
        self
    }

    /// Lets the agent find out who answers a call that we placed, and says what follows.
    #[must_use]
    pub fn with_answering(mut self, answering: Answering) -> Self {
        self.answering = Some(answering);
        self
    }

    /// Lets the agent speak with this voice.
    #[must_use]
    pub fn with_voice(mut self, voice: impl Into<String>) -> Self {
        self.voice = Some(voice.into());
        self
    }

    /// Says which version these texts are of.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Offers only these of the agent's tools.
    #[must_use]
    pub fn with_tools(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tools = Some(names.into_iter().map(Into::into).collect());
        self
    }
}

impl<T, M, S, L> VoiceAgent<T, M, S, L>
where
    T: Telephony,
    M: SpeechModel,
    S: TranscriptSink,
    L: LeadStore,
{
    /// A remote control that outlives [`serve`](Self::serve) and can be cloned.
    #[must_use]
    pub fn handle(&self) -> AgentHandle {
        AgentHandle::new(Arc::clone(&self.parts.shared))
    }

    /// Takes calls until `shutdown` resolves; then takes no more, lets those that run finish
    /// within [`AgentConfig::drain`], and closes the rest by the book. Returns when no call is
    /// left.
    ///
    /// # Errors
    ///
    /// None of a single call. Only when the carrier will never bring calls again.
    pub async fn serve(
        &self,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ProviderError> {
        let mut calls = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let result = loop {
            tokio::select! {
                () = &mut shutdown => break Ok(()),
                Some(done) = calls.join_next() => report(done),
                leg = self.telephony.answer() => match leg {
                    Ok(leg) => self.take(&mut calls, leg),
                    Err(error) if *error.kind() == ProviderErrorKind::Closed => break Err(error),
                    Err(error) => {
                        warn!(error = &error as &dyn std::error::Error, "taking a call failed");
                        tokio::time::sleep(ANSWER_PAUSE).await;
                    }
                },
            }
        };
        self.drain(&mut calls).await;
        result
    }

    fn take(&self, calls: &mut JoinSet<()>, leg: Leg) {
        let id = leg.info.id.clone();
        if calls.len() >= self.parts.config.max_calls {
            warn!(call_id = %id, limit = self.parts.config.max_calls, "refused: too many calls");
            // Dropping the leg hangs up, too; saying so is the polite way.
            let apology = CallCommand::HangUp { apologise: true };
            let _closed = leg.duplex.commands.try_send(apology);
            return;
        }
        let span = info_span!("call", call_id = %id, direction = leg.info.direction.as_str());
        let parts = Arc::clone(&self.parts);
        calls.spawn(Box::pin(driver::run(parts, leg)).instrument(span));
    }

    async fn drain(&self, calls: &mut JoinSet<()>) {
        if calls.is_empty() {
            return;
        }
        info!(calls = calls.len(), "waiting for live calls to finish");
        let shared = &self.parts.shared;
        let all = async {
            while let Some(done) = calls.join_next().await {
                report(done);
            }
        };
        let mut all = pin!(all);
        tokio::select! {
            () = &mut all => return,
            () = tokio::time::sleep(self.parts.config.drain) => {}
            () = shared.aborted() => {}
        }
        shared.command_all(&Command::Abort);
        let config = &self.parts.config;
        let grace = config.conversation.close + config.record_deadline + ABORT_GRACE;
        if tokio::time::timeout(grace, all).await.is_err() {
            error!("some calls did not end in time and are dropped");
        }
    }
}

impl<T: fmt::Debug, M: fmt::Debug, S: fmt::Debug, L: fmt::Debug> fmt::Debug
    for VoiceAgent<T, M, S, L>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoiceAgent")
            .field("telephony", &self.telephony)
            .field("model", &self.parts.model)
            .field("transcripts", &self.parts.transcripts)
            .field("leads", &self.parts.leads)
            .finish_non_exhaustive()
    }
}

fn report(done: Result<(), tokio::task::JoinError>) {
    if let Err(failed) = done {
        error!(
            error = &failed as &dyn std::error::Error,
            "a call's task failed; the other calls go on"
        );
    }
}

/// A carrier that fails is not asked again at once.
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// What an aborted call may take beyond its own deadlines.
const ABORT_GRACE: Duration = Duration::from_secs(5);
