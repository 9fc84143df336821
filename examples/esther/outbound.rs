//! Campaigns in this process: the carrier as their worker sees it, and the worker's life.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use novavoice::{
    ProviderError, ProviderErrorKind,
    agent::AgentHandle,
    call::{CallId, CallStatus},
    lead::PhoneNumber,
    outbound::{
        Campaigns, ConsentRule, Desk, Gatekeeper, Line, Order, Placed, Worker, WorkerConfig,
        pace::Turns,
    },
    prompt::Prompts,
    state::StateStore,
    telephony::{
        DialOptions, Telephony,
        vonage::{Vonage, rest::CallDetails},
    },
};

use crate::{
    calls::Calls,
    clock::{real, wall},
    heard,
    http::Readiness,
    stores::{
        Stores,
        answering::{self, Wishes},
    },
};

/// What steers campaigns. Cheap to clone; clones share everything.
#[derive(Clone)]
pub(crate) struct Outbound {
    /// All campaigns.
    pub(crate) campaigns: Campaigns,
    /// What is asked before every call.
    pub(crate) gate: Gatekeeper,
    /// Who must have agreed to be called.
    pub(crate) consent: ConsentRule,
    worker: Option<Worker>,
    turns: Option<Turns>,
}

impl Outbound {
    /// Campaigns that call over `line`.
    pub(crate) fn new(
        stores: &Stores,
        gate: &Gatekeeper,
        line: VonageLine,
        account_rate: usize,
        consent: ConsentRule,
    ) -> Self {
        let mut settings = WorkerConfig::default();
        settings.account_rate = account_rate as f64;
        settings.clock = wall;
        settings.consent = consent;
        let desk = Desk {
            state: Arc::clone(&stores.state),
            leads: Arc::clone(&stores.leads),
            calls: Arc::clone(&stores.calls),
            line: Arc::new(line),
            gate: gate.clone(),
        };
        Self {
            turns: Some(Turns::new(Arc::clone(&stores.state), settings.account_rate)),
            worker: Some(Worker::new(desk, settings)),
            consent,
            ..Self::idle(Campaigns::new(Arc::clone(&stores.state)), gate.clone())
        }
    }

    /// Campaigns that others carry out.
    pub(crate) fn idle(campaigns: Campaigns, gate: Gatekeeper) -> Self {
        Self {
            campaigns,
            gate,
            consent: ConsentRule::None,
            worker: None,
            turns: None,
        }
    }

    /// Waits for the account's turn to place a call by hand.
    ///
    /// # Errors
    ///
    /// When it does not come soon, or nobody can tell; then no call may be placed.
    pub(crate) async fn turn(&self) -> Result<(), ProviderError> {
        match &self.turns {
            Some(turns) => turns.wait(TURN, wall).await,
            None => Ok(()),
        }
    }

    /// There is something to do.
    pub(crate) fn wake(&self) {
        if let Some(worker) = &self.worker {
            worker.wake();
        }
    }

    /// Works, once `vonage` has an account to call with, until `stop` resolves and the calls that
    /// were begun are settled.
    pub(crate) async fn work(self, vonage: Vonage, stop: impl Future<Output = ()> + Send) {
        let Some(worker) = self.worker else { return };
        let mut stop = std::pin::pin!(stop);
        while vonage.check_account().is_err() {
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(NO_ACCOUNT) => {}
            }
        }
        worker.run(stop).await;
    }
}

/// The telephony of Vonage, as whoever places calls sees it.
#[derive(Clone)]
pub(crate) struct VonageLine {
    pub(crate) vonage: Vonage,
    pub(crate) state: Arc<dyn StateStore>,
    pub(crate) prompts: Prompts,
    pub(crate) agent: AgentHandle,
    pub(crate) calls: Calls,
    pub(crate) readiness: Readiness,
    /// How many calls run at once.
    pub(crate) max_calls: usize,
}

impl std::fmt::Debug for VonageLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VonageLine").finish_non_exhaustive()
    }
}

#[async_trait]
impl Line for VonageLine {
    async fn dial(&self, order: &Order) -> Result<CallId, ProviderError> {
        let busy = self.agent.counts().calls + self.calls.waiting() >= self.max_calls;
        if busy || self.readiness.is_draining() {
            return Err(later("there is no free line"));
        }
        self.find_prompt(order).await?;
        let wishes = Wishes {
            voicemail: order.voicemail,
            prompt_version: order.prompt_version.clone(),
        };
        let kept = answering::keep(&*self.state, &order.to, &wishes, wall()).await;
        kept.map_err(|error| later("the store does not answer").with_source(error))?;
        // What is said comes from the prompt, which meets the lead when somebody answers.
        let mut options = DialOptions::default();
        options.detect_machines = true;
        // Whoever asks looks first whether the call may still be placed.
        options.only_once = true;
        let call = self.vonage.dial(&order.to, options).await?.id;
        if self.readiness.is_draining() {
            // It was placed while the others that ring were cancelled.
            if let Err(error) = self.vonage.hang_up(&call).await {
                tracing::warn!(%error, "a call that still rings was not cancelled");
            }
        }
        Ok(call)
    }

    async fn find(&self, to: &PhoneNumber, since: Timestamp) -> Result<Vec<Placed>, ProviderError> {
        let found = self.vonage.look_up(to, since).await?;
        // They come newest first.
        Ok(found.iter().rev().map(|call| self.seen(call)).collect())
    }

    async fn look(&self, call: &CallId) -> Result<Option<Placed>, ProviderError> {
        let placed = match self.known(call) {
            Some(known) => Some(known),
            None => match self.vonage.rest(Some(call))?.get(call).await {
                Ok(found) => Some(self.seen(&found)),
                Err(error) if error.problem().is_some_and(|it| it.status == 404) => None,
                Err(error) => return Err(error.into()),
            },
        };
        let Some(mut placed) = placed else {
            return Ok(None);
        };
        // Some things stood in an event alone, and that may have gone to another node.
        if let Some(end) = &mut placed.end {
            match end.status {
                CallStatus::Voicemail => {}
                CallStatus::Completed => {
                    (end.status, end.outcome) = heard::completed_by(&*self.state, call).await?;
                }
                _ if end.bad_number => {}
                _ => end.bad_number = heard::is_bad_number(&*self.state, call).await?,
            }
        }
        Ok(Some(placed))
    }
}

/// Nothing was placed, and nothing is out of order with the carrier.
fn later(why: &str) -> ProviderError {
    let kind = ProviderErrorKind::Throttled { retry_after: None };
    ProviderError::new("esther", kind).with_detail(why)
}

impl VonageLine {
    /// Reads what the call is to say before it is placed: somebody who answers must not hear
    /// anything else because the store fails then.
    async fn find_prompt(&self, order: &Order) -> Result<(), ProviderError> {
        let Some(version) = &order.prompt_version else {
            return Ok(());
        };
        let found = match version.parse() {
            Ok(number) => self.prompts.get(number, wall()).await,
            Err(_) => Ok(None),
        };
        match found {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(later("the version of the prompt is not there")),
            Err(error) => Err(later("the prompt cannot be read").with_source(error)),
        }
    }

    /// What the carrier says of a call. Its end is taken in, as its webhook would have been.
    fn seen(&self, found: &CallDetails) -> Placed {
        if found.is_over() {
            self.vonage.settle(found);
        }
        self.known(&found.id)
            .unwrap_or_else(|| Placed::live(found.id.clone()))
    }

    /// The end of a call, where this node knows it. Whoever talked knows better what came of it,
    /// and has a moment to say so.
    fn known(&self, call: &CallId) -> Option<Placed> {
        let (end, at) = self.vonage.end_of(call)?;
        let talked = matches!(end.status, CallStatus::Completed | CallStatus::Voicemail);
        if talked && real().duration_since(at) < LAST_WORDS {
            return None;
        }
        Some(Placed::over(
            call.clone(),
            end.status,
            end.outcome,
            at,
            end.bad_number,
        ))
    }
}

/// How long whoever places a call by hand waits for it.
const TURN: Duration = Duration::from_secs(5);
/// How often it is looked whether there is an account by now.
const NO_ACCOUNT: Duration = Duration::from_millis(500);
/// How long the record of a call may take after its end.
const LAST_WORDS: SignedDuration = SignedDuration::from_secs(5);
