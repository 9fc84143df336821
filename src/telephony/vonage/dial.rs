//! Placing calls, and steering those that no agent holds.

use futures::{StreamExt, stream};

use super::{
    Vonage, flow,
    ncco::{
        AdvancedMachineDetection, Connect, DetectionMode, Endpoint, Method, Ncco, NccoError,
        OnMachine, PhoneEndpoint, SipEndpoint, Talk,
    },
    placed::{Attached, Taken},
    rest::{
        CallDetails, CallFlow, CallerId, CreateCall, HungUp, MachineDetection, Rest, RestError,
    },
};
use crate::{
    answer::CarrierVerdict,
    call::{CallId, Direction, Party},
    clock,
    error::{ProviderError, ProviderErrorKind},
    lead::PhoneNumber,
    private::Private,
    telephony::{CallProgress, DialOptions, Dialled, PlacedEnd},
};

impl Vonage {
    /// Calls somebody and says `message` with Vonage's own voice: no agent, no socket. The call
    /// ends with the message.
    ///
    /// # Errors
    ///
    /// As [`dial`](crate::telephony::Telephony::dial); [`Invalid`](ProviderErrorKind::Invalid) for
    /// a message that is empty or longer than 1500 characters.
    pub async fn announce(
        &self,
        to: &PhoneNumber,
        message: &str,
        options: DialOptions,
    ) -> Result<Dialled, ProviderError> {
        let flow = Ncco::builder().then(Talk::new(message)).build();
        self.place(to, CallFlow::Ncco(flow.map_err(invalid)?), options)
            .await
    }

    /// Ends a call, whether or not an agent talks on it. `false`: it was over, or never was.
    ///
    /// # Errors
    ///
    /// When the account is not ready, or the carrier fails.
    pub async fn hang_up(&self, call: &CallId) -> Result<bool, ProviderError> {
        if self.has_ended(call) {
            return Ok(false);
        }
        let rest = self.rest(Some(call))?;
        self.release(call);
        Ok(rest.hang_up(call).await? == HungUp::Ended)
    }

    /// Passes a call on to somebody else, by their number or SIP address; the agent's leg of it
    /// ends. `false`: it was over, or never was.
    ///
    /// # Errors
    ///
    /// When the account is not ready, or the carrier fails: the agent then keeps the call.
    pub async fn transfer(&self, call: &CallId, to: &Party) -> Result<bool, ProviderError> {
        if self.has_ended(call) {
            return Ok(false);
        }
        let (rest, from) = self.dialling().dialler()?;
        let rest = rest.in_region(self.region(call).as_deref());
        let connect = Connect::to(endpoint(to))
            .from(from.reveal())
            // Whoever takes the call over is no call of its own.
            .event_url(
                flow::events_url(self.config(), Direction::Inbound),
                Method::Post,
            );
        let flow = Ncco::builder().then(connect).build().map_err(invalid)?;
        let undo = self.calls().released(call.as_str());
        match rest.transfer(call, &flow).await {
            Ok(()) => Ok(true),
            Err(error) => {
                if undo && !error.may_have_happened() {
                    self.calls().kept(call.as_str());
                }
                match error.problem() {
                    Some(problem) if problem.status == 404 || problem.is_about_the_state() => {
                        Ok(false)
                    }
                    _ => Err(error.into()),
                }
            }
        }
    }

    /// Ends every call of this node that still rings for its agent: nobody would take it. Says how
    /// many there were.
    ///
    /// # Errors
    ///
    /// The first failure of the carrier, once all were tried.
    pub async fn cancel_ringing(&self) -> Result<usize, ProviderError> {
        let ringing = self.placed().ringing();
        let cancelled = ringing.into_iter().map(|call| {
            let vonage = self.clone();
            async move { vonage.hang_up(&call).await }
        });
        // Few at once: calls that go on, here and on other nodes, are steered in between.
        let cancelled: Vec<_> = stream::iter(cancelled)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let cancelled: Result<Vec<bool>, _> = cancelled.into_iter().collect();
        cancelled.map(|calls| calls.len())
    }

    /// Presses keys in a call: `0-9`, `*`, `#`, and `p` for a pause of half a second.
    ///
    /// # Errors
    ///
    /// When the account is not ready, the keys are others, or the carrier fails.
    pub async fn send_dtmf(&self, call: &CallId, keys: &str) -> Result<(), ProviderError> {
        Ok(self.rest(Some(call))?.send_dtmf(call, keys).await?)
    }

    /// Takes in what the carrier knows of a call that was placed, as if an event had told it: for
    /// calls whose webhooks were lost.
    pub fn settle(&self, found: &CallDetails) {
        let (at, now) = (clock::wall(), clock::now());
        let steps = self.placed().happened(&found.as_event(), true, at, now);
        self.tell(steps);
    }

    /// Takes in who answered a call that is talked on here, as another node was told: a webhook
    /// goes to any of them.
    pub fn answered_by(&self, call: &CallId, machine: bool) {
        let verdict = match machine {
            true => CarrierVerdict::Machine,
            false => CarrierVerdict::Human,
        };
        self.verdict(call.as_str(), verdict);
    }

    /// How a call that was placed ended, and when, as far as events and
    /// [`settle`](Self::settle) told this node.
    #[must_use]
    pub fn end_of(&self, call: &CallId) -> Option<(PlacedEnd, jiff::Timestamp)> {
        self.placed().end_of(call)
    }

    /// The REST interface, in the region that `call` lives in where that is known.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ProviderErrorKind::Invalid) when the account is not ready, with what is missing.
    pub fn rest(&self, call: Option<&CallId>) -> Result<Rest, ProviderError> {
        let region = call.and_then(|call| self.region(call));
        Ok(self.dialling().rest()?.in_region(region.as_deref()))
    }

    /// Whether calls can be placed now.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ProviderErrorKind::Invalid) when the account is not ready, with what is missing.
    pub fn check_account(&self) -> Result<(), ProviderError> {
        self.dialling().dialler().map(drop)
    }

    /// Calls somebody, and connects the agent once they answer.
    pub(super) async fn dial_agent(
        &self,
        to: &PhoneNumber,
        options: DialOptions,
    ) -> Result<Dialled, ProviderError> {
        let base = self.config().public_url.trim_end_matches('/');
        // Not the flow itself: it would carry a token that dies while it rings.
        let flow = CallFlow::ask(format!("{base}/outbound/webhooks/answer"));
        self.place(to, flow, options).await
    }

    async fn place(
        &self,
        to: &PhoneNumber,
        flow: CallFlow,
        options: DialOptions,
    ) -> Result<Dialled, ProviderError> {
        let (rest, from) = self.dialling().dialler()?;
        let attached = Attached {
            for_agent: matches!(flow, CallFlow::AnswerUrl(..)),
            instructions: options.instructions,
            greeting: options.greeting,
        };
        let events = flow::events_url(self.config(), Direction::Outbound);
        let caller = CallerId::Number(Private::new(from.reveal().to_owned()));
        let mut call = CreateCall::new(PhoneEndpoint::new(to.reveal()), caller, flow)
            .events(events, Method::Post)
            .only_once(options.only_once);
        if options.detect_machines {
            // Heard while the call goes on: in the other modes whoever answers hears silence.
            let mode = AdvancedMachineDetection::new(DetectionMode::Default, OnMachine::Continue);
            call = call.machine_detection(MachineDetection::Advanced(mode));
        }
        if let Some(ringing) = options.ringing {
            call = call.ringing(ringing);
        }
        if let Some(longest) = options.longest {
            call = call.longest(longest);
        }
        let (vonage, to) = (self.clone(), to.clone());
        let asking = Asking::begin(self);
        // In a task of its own: whoever waits for it may give up, and the call rings all the same.
        let placed = tokio::spawn(async move {
            let created = rest.create(&call).await?;
            let taken = Taken {
                id: created.id.clone(),
                conversation: created.conversation,
                remote: Some(digits(&to)),
                local: Some(digits(&from)),
            };
            let (at, now) = (clock::wall(), clock::now());
            let step = vonage.placed().taken(taken, attached, at, now);
            vonage.tell(step);
            drop(asking);
            Ok::<_, RestError>(created.id)
        });
        let placed = placed.await.map_err(|error| {
            ProviderError::new("vonage", ProviderErrorKind::Closed)
                .with_detail("the request for a call was given up")
                .with_source(error)
        })?;
        let id = placed?;
        tracing::info!(call = %id, "a call is placed");
        Ok(Dialled::new(id))
    }

    /// Tells whoever follows what became of calls.
    pub(super) fn tell(&self, steps: impl IntoIterator<Item = CallProgress>) {
        for step in steps {
            // Nobody may be listening, and that is fine.
            let _ = self.0.progress.send(step);
        }
    }

    /// What the agent is given along for a call that was placed. A call can be answered faster
    /// than its request: then the request is waited for, for a moment.
    pub(super) async fn attached(&self, call: &CallId) -> Attached {
        let mut asking = self.0.asking.subscribe();
        let known = async {
            loop {
                let attached = self.placed().attached(call).cloned();
                let pending = *asking.borrow_and_update() > 0;
                if attached.is_some() || !pending {
                    return attached.unwrap_or_default();
                }
                if asking.changed().await.is_err() {
                    return Attached::default();
                }
            }
        };
        tokio::time::timeout(ANSWER_PATIENCE, known)
            .await
            .unwrap_or_default()
    }

    fn has_ended(&self, call: &CallId) -> bool {
        self.placed().is_live(call) == Some(false) || self.calls().is_over(call.as_str())
    }
}

/// A request for a call that was not answered yet.
struct Asking(Vonage);

impl Asking {
    fn begin(vonage: &Vonage) -> Self {
        vonage.0.asking.send_modify(|count| *count += 1);
        Self(vonage.clone())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.0.asking.send_modify(|count| *count -= 1);
    }
}

/// Whoever is called: at a SIP address, or at a number.
pub(super) fn endpoint(to: &Party) -> Endpoint {
    let text = to.reveal();
    match text.starts_with("sip:") || text.starts_with("sips:") {
        true => SipEndpoint::uri(text).into(),
        false => PhoneEndpoint::new(text).into(),
    }
}

/// A number as Vonage writes it.
fn digits(number: &PhoneNumber) -> Party {
    Party::new(number.reveal().trim_start_matches('+'))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that `map_err` wants"
)]
pub(super) fn invalid(error: NccoError) -> ProviderError {
    ProviderError::new("vonage", ProviderErrorKind::Invalid).with_detail(error.to_string())
}

/// How many calls are cancelled at the same time.
const AT_ONCE: usize = 4;
/// How long whoever answered may hear nothing for the sake of the right words.
const ANSWER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
