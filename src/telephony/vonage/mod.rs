//! Vonage: calls over its Voice API, and what that API says and wants to hear.
//!
//! [`Vonage`] takes the webhooks and the media sockets of a service and brings the calls as legs.
//! Mount [`router`] in a web service, and answer:
//!
//! ```no_run
//! use novavoice::telephony::{Telephony, vonage::{self, Vonage, VonageConfig}};
//!
//! # async fn service() -> Result<(), Box<dyn std::error::Error>> {
//! let vonage = Vonage::new(VonageConfig::new("https://agent.example.com"))?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! tokio::spawn(axum::serve(listener, vonage::router(&vonage)).into_future());
//! let leg = vonage.answer().await?;
//! # Ok(())
//! # }
//! ```

mod config;
pub use config::{Credentials, Liveness, VonageConfig};

mod router;
pub use router::{router, webhooks};

mod nodes;
pub use nodes::{EventKeeper, LimitInState, SharedLimit, Urgency};

mod replies;

mod account;
pub use account::Account;

mod acts;
mod calls;

mod introductions;
mod keys;
mod warm;

mod placed;

mod dial;

mod look_up;

mod flow;

mod leg;

mod outbox;

pub mod signature;

pub mod webhook;

pub mod ncco;

pub mod rest;

pub mod wire;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::{
    broadcast,
    mpsc::{self, error::TrySendError},
    watch,
};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use self::{
    account::Dialling,
    calls::{Calls, Facts, Place},
    introductions::Introductions,
    leg::{Attachment, LegTask, Signal},
    look_up::LookUps,
    placed::Placed,
    replies::Replies,
    rest::Limiter,
    signature::Verifier,
    webhook::Event,
    wire::{Connected, WireError},
};
use crate::{
    answer::CarrierVerdict,
    call::{CallId, CallInfo, Direction, LegCapabilities, Party},
    clock,
    duplex::Duplex,
    error::ProviderError,
    lead::PhoneNumber,
    telephony::{
        CallEvent, CallProgress, DialOptions, Dialled, Leg, Telephony,
        arrivals::Arrivals,
        socket::{Connection, Dialect, Feed, Greeting, Visitor},
    },
};

/// Callers on the phone, and people to call, by way of Vonage. Cheap to clone.
#[derive(Clone)]
pub struct Vonage(Arc<Inner>);

struct Inner {
    config: VonageConfig,
    trust: RwLock<Trust>,
    calls: Mutex<Calls>,
    replies: Mutex<Replies>,
    arrivals: Arrivals,
    events: broadcast::Sender<Arc<Event>>,
    dialling: RwLock<Dialling>,
    limiter: Arc<Limiter>,
    placed: Mutex<Placed>,
    introductions: Mutex<Introductions>,
    /// How many requests for calls were not answered yet.
    asking: watch::Sender<usize>,
    progress: broadcast::Sender<CallProgress>,
    look_ups: LookUps,
}

/// Whose webhooks are believed; changes with the credentials.
struct Trust {
    credentials: Credentials,
    verifier: Arc<Verifier>,
}

impl Vonage {
    /// Takes calls as `config` says.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ProviderErrorKind::Invalid) when no call flow can be made of the
    /// configuration, with what is wrong.
    pub fn new(config: VonageConfig) -> Result<Self, ProviderError> {
        flow::check(&config)?;
        let credentials = config.credentials.clone();
        let (events, _) = broadcast::channel(EVENTS);
        let limiter = Limiter::new(config.account.limits).shared(config.shared_limit.clone());
        let limiter = Arc::new(limiter);
        let dialling = Dialling::of(config.account.clone(), Arc::clone(&limiter));
        Ok(Self(Arc::new(Inner {
            trust: RwLock::new(Trust {
                verifier: Arc::new(credentials.verifier()),
                credentials,
            }),
            config,
            calls: Mutex::default(),
            replies: Mutex::default(),
            arrivals: Arrivals::new("vonage"),
            events,
            dialling: RwLock::new(dialling),
            limiter,
            placed: Mutex::default(),
            introductions: Mutex::default(),
            asking: watch::Sender::new(0),
            progress: broadcast::Sender::new(EVENTS),
            look_ups: LookUps::default(),
        })))
    }

    /// Replaces the credentials from now on. Webhooks that came before count as never seen when
    /// they are repeated.
    pub fn configure(&self, credentials: Credentials) {
        let verifier = Arc::new(credentials.verifier());
        let mut trust = self.0.trust.write().unwrap_or_else(PoisonError::into_inner);
        *trust = Trust {
            credentials,
            verifier,
        };
    }

    /// The credentials in force.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.trust().0
    }

    /// Replaces what calls are placed and steered with. The rate limits stay those that it was
    /// made with.
    pub fn set_account(&self, account: Account) {
        let dialling = Dialling::of(account, Arc::clone(&self.0.limiter));
        let mut place = self
            .0
            .dialling
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = dialling;
    }

    /// What becomes of calls that were placed, by this node or, where their events come here, by
    /// another: each step once and in order. A receiver that falls a thousand steps behind misses
    /// some and is told so.
    #[must_use]
    pub fn progress(&self) -> broadcast::Receiver<CallProgress> {
        self.0.progress.subscribe()
    }

    /// What event webhooks report from now on, every event at least once and duplicates included.
    /// A receiver that falls a thousand events behind misses some and is told so.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.events.subscribe()
    }

    /// The REST base of the region that `call` lives in, where Vonage named one that may be
    /// trusted.
    #[must_use]
    pub fn region(&self, call: &CallId) -> Option<String> {
        self.calls().region(call.as_str()).map(str::to_owned)
    }

    /// From now on the loss of the call's socket is no accident: it was hung up, or goes to
    /// somebody else. Say so before telling the carrier.
    pub fn release(&self, call: &CallId) {
        self.calls().released(call.as_str());
    }

    /// The agent of the call has failed: what follows the loss of its socket is an apology.
    fn fail(&self, call: &CallId) {
        self.calls().failed(call.as_str());
    }

    /// Takes no further call; calls that wait are still answered, then
    /// [`answer`](Telephony::answer) says [`Closed`](crate::ProviderErrorKind::Closed).
    pub fn close(&self) {
        self.0.arrivals.close();
    }

    /// What it was made with.
    pub(crate) fn config(&self) -> &VonageConfig {
        &self.0.config
    }

    fn dialling(&self) -> Dialling {
        let dialling = self.0.dialling.read();
        dialling.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn placed(&self) -> MutexGuard<'_, Placed> {
        self.0.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trust(&self) -> (Credentials, Arc<Verifier>) {
        let trust = self.0.trust.read().unwrap_or_else(PoisonError::into_inner);
        (trust.credentials.clone(), Arc::clone(&trust.verifier))
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replies(&self) -> MutexGuard<'_, Replies> {
        let replies = self.0.replies.lock();
        replies.unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a leg waits for its next socket: by itself, and once the carrier was told to open
    /// one.
    fn patience(&self) -> (Duration, Duration) {
        let grace = self.0.config.reconnect_grace;
        (grace, grace.max(self.0.config.reconnect_patience))
    }

    /// Whether another socket of the call may come.
    fn is_live(&self, call: &CallId) -> bool {
        self.calls().is_live(call.as_str())
    }

    fn leg_ended(&self, call: &CallId) {
        self.calls().leg_ended(call.as_str(), clock::now());
        self.introductions().caller_left(call);
    }

    fn introductions(&self) -> MutexGuard<'_, Introductions> {
        let open = self.0.introductions.lock();
        open.unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the leg of a call something, as soon as it listens.
    fn signal(&self, call: &str, signal: Signal) {
        if let Some(leg) = self.calls().leg(call) {
            send(leg, signal);
        }
    }

    /// Tells the leg of a call what machine detection says, now or once there is one.
    fn verdict(&self, call: &str, verdict: CarrierVerdict) {
        if let Some(leg) = self.calls().answered_by(call, verdict) {
            send(leg, Signal::Report(CallEvent::AnsweredBy(verdict)));
        }
    }

    /// Gives a socket to the leg of its call, or begins that leg.
    async fn visit(self, visitor: Visitor, connected: Connected) {
        let Visitor {
            connection,
            channel,
            early,
            ..
        } = visitor;
        let facts = introduced(&channel, &connected.custom);
        if connected.rate != self.0.config.rate {
            let (wanted, rate) = (self.0.config.rate, connected.rate);
            tracing::warn!(call = channel, %wanted, %rate, "Vonage chose another sample rate");
        }
        let mut signal = Signal::Attach(Box::new(Attachment {
            connection,
            rate: connected.rate,
            early,
        }));
        loop {
            let place = self.calls().opened(facts.clone(), clock::now());
            match place {
                Place::Join(leg) => match leg.send(signal).await {
                    Ok(()) => return,
                    // It ended that very moment.
                    Err(unsent) => signal = unsent.0,
                },
                Place::Start(signals, facts) => {
                    let Some(attachment) = signal.into_attachment() else {
                        return;
                    };
                    return self.begin(attachment, signals, facts).await;
                }
                Place::Over => {
                    let Some(attachment) = signal.into_attachment() else {
                        return;
                    };
                    let reason = "the call is over";
                    return attachment.connection.close(CloseCode::Normal, reason).await;
                }
            }
        }
    }

    async fn begin(self, attachment: Attachment, signals: mpsc::Receiver<Signal>, facts: Facts) {
        let rate = attachment.rate;
        let mut info = CallInfo::new(facts.id, facts.direction, clock::wall(), rate);
        (info.remote, info.local) = match facts.direction {
            Direction::Inbound => (facts.from, facts.to),
            Direction::Outbound => (facts.to, facts.from),
        };
        if facts.direction == Direction::Outbound {
            let attached = self.attached(&info.id).await;
            (info.instructions, info.greeting) = (attached.instructions, attached.greeting);
        }
        let can_act = self.check_account().is_ok();
        info.leg = LegCapabilities {
            marks: true,
            text: false,
            transfer: can_act,
            dtmf: can_act,
        };
        let id = info.id.clone();
        let (duplex, port) = Duplex::pair(Feed::DEPTH);
        if self.0.arrivals.offer(Leg { info, duplex }).is_err() {
            self.leg_ended(&id);
            return turn_away(attachment.connection).await;
        }
        LegTask::new(self, id, rate, port, signals)
            .run(attachment)
            .await;
    }
}

/// Tells a leg something, as soon as it listens.
fn send(leg: mpsc::Sender<Signal>, signal: Signal) {
    if let Err(TrySendError::Full(signal)) = leg.try_send(signal) {
        tokio::spawn(async move { leg.send(signal).await });
    }
}

async fn turn_away(connection: Connection) {
    let reason = "nobody answers";
    connection.close(CloseCode::Again, reason).await;
}

#[async_trait]
impl Telephony for Vonage {
    async fn answer(&self) -> Result<Leg, ProviderError> {
        self.0.arrivals.answer().await
    }

    fn can_dial(&self) -> bool {
        true
    }

    async fn dial(&self, to: &PhoneNumber, options: DialOptions) -> Result<Dialled, ProviderError> {
        self.dial_agent(to, options).await
    }
}

impl Dialect for Vonage {
    /// The token in the address decides. But whoever claims to be Vonage must be.
    fn admit(&self, headers: &HeaderMap) -> Result<(), String> {
        let Some(authorization) = headers.get(header::AUTHORIZATION) else {
            return Ok(());
        };
        let authorization = authorization.to_str().unwrap_or_default();
        let scheme = authorization.split(' ').next().unwrap_or_default();
        let (credentials, verifier) = self.trust();
        if !scheme.eq_ignore_ascii_case("bearer") || !credentials.can_verify() {
            return Ok(());
        }
        let verified = verifier.verify_upgrade(Some(authorization), clock::wall());
        verified.map_err(|error| error.to_string())
    }

    fn greet(&self, text: &str) -> Greeting {
        match wire::decode(text) {
            Ok(wire::Message::Connected(connected)) => {
                let vonage = self.clone();
                Greeting::Taken(Box::new(move |visitor| {
                    Box::pin(vonage.visit(visitor, connected))
                }))
            }
            Err(error @ (WireError::UnsupportedFormat(_) | WireError::MissingFormat)) => {
                Greeting::Unsupported(error.to_string())
            }
            _ => Greeting::Unknown,
        }
    }
}

impl fmt::Debug for Vonage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vonage")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

/// What a socket says about its call: the channel by its token, the rest by what the NCCO put
/// into `headers`.
fn introduced(channel: &str, custom: &Map<String, Value>) -> Facts {
    let text = |key: &str| match custom.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    if let Some(uuid) = text(flow::UUID)
        && uuid != channel
    {
        tracing::warn!(
            channel,
            "a socket names another call than its token: the token counts"
        );
    }
    Facts {
        id: CallId::new(channel),
        conversation: None,
        direction: match text(flow::DIRECTION).as_deref() {
            Some("outbound") => Direction::Outbound,
            _ => Direction::Inbound,
        },
        from: text(flow::FROM).map(Party::new),
        to: text(flow::TO).map(Party::new),
        region: None,
    }
}

/// The token of a fresh socket.
fn token(config: &VonageConfig, call: &CallId, now: Timestamp) -> String {
    config.tokens.issue(call.as_str(), now)
}

/// Several minutes of a busy node.
const EVENTS: usize = 1024;
