//! A simulated Vonage: it behaves towards a service as the carrier does, over loopback.
//!
//! [`FakeVonage`] posts signed webhooks, fetches and checks the NCCO, opens the media socket and
//! streams a caller's voice at 50 frames a second; what the service plays runs through a playout
//! buffer like Vonage's, so that [`Call::heard`] is what the caller really heard. It knows nothing
//! of this crate's own provider: its wire format is written from Vonage's documentation, so that
//! it finds our mistakes. Whatever it would not forgive is recorded as a [`Violation`].
//!
//! ```no_run
//! # async fn example() -> Result<(), novavoice::testkit::vonage::PlaceError> {
//! use std::time::Duration;
//! use novavoice::{audio::SampleRate, testkit::vonage::{FakeVonage, InboundCall, Options, speech}};
//!
//! let vonage = FakeVonage::new(Options::new("http://127.0.0.1:3000"));
//! let call = vonage.place_inbound(InboundCall::new("12125550142", "442079460000")).await?;
//! call.say(speech(Duration::from_secs(1), SampleRate::Hz16000));
//! call.wait_heard(Duration::from_secs(2)).await;
//! call.hang_up();
//! call.ended().await;
//! assert_eq!(call.violations(), []);
//! # Ok(()) }
//! ```
//!
//! Its REST interface is opened by [`FakeVonage::serve_rest`]: it places the calls that it is asked
//! for, and steers those that go on.
//!
//! Not simulated: TLS, recordings, `stream` actions and speech as `input` beyond the check of their
//! fields, and what those in a named conversation say to each other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;

mod call;
pub use call::{Arrival, Call, CallEnd, Mark};

mod flow;

mod media;

mod ncco;

mod playout;

mod rest;
pub use rest::{
    ApplicationKey, Callee, Failing, Fault, Reaction, Requested, RestOptions, RestServer,
};

mod sign;
pub use sign::{Signer, Token, payload_hash};

mod sound;
pub use sound::{speech, tone};

mod webhook;
pub use webhook::{Posted, Reply};

#[cfg(test)]
mod tests;

/// A carrier that calls one service.
#[derive(Clone, Debug)]
pub struct FakeVonage {
    carrier: Arc<Carrier>,
}

impl FakeVonage {
    /// A carrier; nothing happens until a call is placed.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            carrier: Arc::new(Carrier::new(options)),
        }
    }

    /// A caller dials: posts the first events, fetches the NCCO and starts to carry it out.
    /// Returns once the NCCO is there; the socket is up after [`Call::connected`].
    ///
    /// # Errors
    ///
    /// When there is no usable NCCO. The carrier has then ended the call.
    pub async fn place_inbound(&self, call: InboundCall) -> Result<Call, PlaceError> {
        flow::place(Arc::clone(&self.carrier), call).await
    }

    /// Signs as this carrier does; `None` without a signature secret.
    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        self.carrier.signer.as_ref()
    }

    /// Posts `body` to a path of the service once, with `token` as its bearer token: for forged,
    /// stale, replayed and unsigned requests.
    ///
    /// # Errors
    ///
    /// When no response comes.
    pub async fn deliver(
        &self,
        path: &str,
        body: impl Into<Bytes>,
        token: Option<&str>,
    ) -> Result<Reply, PlaceError> {
        let url = self.carrier.url(path);
        self.carrier
            .post(&url, body.into(), token.map(str::to_owned))
            .await
    }

    /// What the service got wrong, over all calls.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.carrier
            .violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// How the carrier behaves. Start from [`Options::new`] and change what matters with struct
/// update syntax.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built with struct update syntax; the testkit is outside semver"
)]
pub struct Options {
    /// Where the service listens, such as `http://127.0.0.1:3000`.
    pub base_url: String,
    /// The address by which the service names itself; requests to it go to `base_url`, as through
    /// a tunnel. Default: none.
    pub public_url: Option<String>,
    /// Signs webhooks and upgrades. Default: none, and nothing is signed.
    pub signature_secret: Option<crate::private::Private<String>>,
    /// The account in signed tokens.
    pub api_key: String,
    /// The application in signed tokens.
    pub application_id: Option<String>,
    /// How many times faster than real time audio runs. A service that paces its audio in real
    /// time needs 1.0, the default.
    pub time_scale: f64,
    /// Default: `/webhooks/answer`.
    pub answer_path: String,
    /// Default: `/webhooks/events`.
    pub events_path: String,
    /// Sent as `region_url` when set. Default: none, so that no service calls a real host.
    pub region_url: Option<String>,
    /// The first webhooks of a call, in order. An answer that is left out comes last.
    pub opening: Vec<Opening>,
    /// Whether event webhooks are delivered twice.
    pub duplicates: Duplicates,
    /// Whether a GET answer webhook carries the hash of an empty body (undocumented).
    pub hash_get: bool,
    /// How the socket begins.
    pub first_message: FirstMessage,
    /// What the carrier sends while the caller is silent.
    pub silence: Silence,
    /// How the socket ends when the caller hangs up.
    pub closing: Closing,
    /// What becomes of outstanding markers at a `clear` (undocumented).
    pub marks_on_clear: MarksOnClear,
    /// How long a `talk` action takes. Default: no time.
    pub talk: Duration,
    /// Whether what was heard is kept; without it [`Call::heard`] is empty and a call costs little
    /// memory. Default: yes.
    pub keep_audio: bool,
}

impl Options {
    /// A carrier of the service at `base_url`, unsigned, in real time.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into().trim_end_matches('/').to_owned(),
            public_url: None,
            signature_secret: None,
            api_key: "a1b2c3d4".to_owned(),
            application_id: Some("aaaaaaaa-bbbb-cccc-dddd-0123456789ab".to_owned()),
            time_scale: 1.0,
            answer_path: "/webhooks/answer".to_owned(),
            events_path: "/webhooks/events".to_owned(),
            region_url: None,
            opening: vec![
                Opening::Started,
                Opening::Ringing,
                Opening::Answer,
                Opening::Answered,
            ],
            duplicates: Duplicates::None,
            hash_get: false,
            first_message: FirstMessage::Standard,
            silence: Silence::Frames,
            closing: Closing::Clean,
            marks_on_clear: MarksOnClear::Dropped,
            talk: Duration::ZERO,
            keep_audio: true,
        }
    }
}

/// A webhook at the start of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the four of an inbound call")]
pub enum Opening {
    /// The event `started`.
    Started,
    /// The event `ringing`.
    Ringing,
    /// The answer webhook.
    Answer,
    /// The event `answered`.
    Answered,
}

/// Whether event webhooks come twice, as they may after a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "all that Vonage leaves open")]
pub enum Duplicates {
    /// Once.
    None,
    /// Twice with the same token.
    SameToken,
    /// Twice, with a fresh `jti` the second time.
    FreshToken,
}

/// The first text message on a media socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstMessage {
    /// `websocket:connected`, as documented.
    Standard,
    /// With spaces before it, as an old bridge sent it.
    Spaced,
    /// Without the `event` member, as an old bridge sent it.
    WithoutEvent,
    /// Never.
    Missing,
}

/// What the carrier sends while the caller says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it sends frames or it does not")]
pub enum Silence {
    /// Frames of silence.
    Frames,
    /// Nothing.
    Suppressed,
}

/// How the carrier ends a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "with a close frame or without")]
pub enum Closing {
    /// With close code 1000.
    Clean,
    /// By ending the connection.
    Abrupt,
}

/// What happens to markers that a `clear` overtakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they come or they do not")]
pub enum MarksOnClear {
    /// They never come.
    Dropped,
    /// They come at once, before the `cleared`.
    Returned,
}

/// A call to place. Start from [`InboundCall::new`].
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built with struct update syntax; the testkit is outside semver"
)]
pub struct InboundCall {
    /// The caller: digits, or a text such as `anonymous`.
    pub from: String,
    /// The number that they dialled.
    pub to: String,
    /// The id of the caller's leg.
    pub uuid: String,
    /// The id of the conversation.
    pub conversation: String,
    /// How the answer webhook comes.
    pub answer_method: AnswerMethod,
}

impl InboundCall {
    /// A call with fresh ids, answered by POST.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            uuid: uuid::Uuid::new_v4().to_string(),
            conversation: format!("CON-{}", uuid::Uuid::new_v4()),
            answer_method: AnswerMethod::Post,
        }
    }

    /// With an id of 32 hex digits, as Vonage may give to inbound legs.
    #[must_use]
    pub fn without_hyphens(mut self) -> Self {
        self.uuid = self.uuid.replace('-', "");
        self
    }

    /// With the answer webhook by GET, the carrier's default.
    #[must_use]
    pub fn by_get(mut self) -> Self {
        self.answer_method = AnswerMethod::Get;
        self
    }
}

/// How the answer webhook comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the two that Vonage offers")]
pub enum AnswerMethod {
    /// Fields in the query.
    Get,
    /// Fields in a JSON body.
    Post,
}

/// Something that Vonage would not forgive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The NCCO breaks a rule.
    #[error("NCCO: {0}")]
    Ncco(String),
    /// A webhook was not answered as it must be.
    #[error("webhook: {0}")]
    Webhook(String),
    /// A binary message was not one 20 ms frame of the negotiated rate; the socket was aborted.
    #[error("a message of {got} bytes instead of a frame of {expected}")]
    FrameSize {
        /// Bytes of a frame.
        expected: usize,
        /// Bytes of the message.
        got: usize,
    },
    /// A text message was neither `clear` nor `notify`.
    #[error("unknown command: {0}")]
    Command(String),
    /// More audio was sent than Vonage queues (3072 messages).
    #[error("the playout buffer overflowed")]
    Overflow,
    /// The socket could not be opened, or the WebSocket protocol was broken.
    #[error("socket: {0}")]
    Socket(String),
    /// A REST request that breaks a rule.
    #[error("REST: {0}")]
    Rest(String),
    /// NCCO followed NCCO without end.
    #[error("the flow was replaced more than {MAX_REPLACED} times")]
    Endless,
}

/// A call did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// No response.
    #[error("the service does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// A response that is no success.
    #[error("the answer webhook was refused with status {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The body, as far as it is text.
        body: String,
    },
    /// A response that is no NCCO.
    #[error("the NCCO is unusable: {0}")]
    Unusable(String),
}

/// How often one call's flow may be replaced by another NCCO.
const MAX_REPLACED: u32 = 20;

/// What all calls of one carrier share.
#[derive(Debug)]
struct Carrier {
    options: Options,
    client: reqwest::Client,
    signer: Option<Signer>,
    violations: Mutex<Vec<Violation>>,
    /// Every call by the id of the phone's leg, those that are over included.
    lines: Mutex<HashMap<String, Arc<call::Line>>>,
    /// The named conversations.
    rooms: flow::Rooms,
}

impl Carrier {
    fn new(options: Options) -> Self {
        let signer = options.signature_secret.as_ref().map(|secret| {
            Signer::new(
                secret.reveal().as_bytes(),
                options.api_key.clone(),
                options.application_id.clone(),
            )
        });
        Self {
            options,
            client: webhook::client(),
            signer,
            violations: Mutex::new(Vec::new()),
            lines: Mutex::default(),
            rooms: flow::Rooms::default(),
        }
    }

    fn violation(&self, violation: Violation) {
        let violations = self.violations.lock();
        violations
            .unwrap_or_else(PoisonError::into_inner)
            .push(violation);
    }

    fn book(&self) -> MutexGuard<'_, HashMap<String, Arc<call::Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call of an id.
    fn line(&self, uuid: &str) -> Option<Arc<call::Line>> {
        self.book().get(uuid).map(Arc::clone)
    }

    /// Every call.
    fn lines(&self) -> Vec<Arc<call::Line>> {
        self.book().values().map(Arc::clone).collect()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.options.base_url)
    }

    /// Where an address that the service named is really reached.
    fn reach(&self, address: &str) -> String {
        let bare = |url: &str| {
            url.split_once("://")
                .map_or("", |(_, rest)| rest)
                .to_owned()
        };
        let Some(public) = &self.options.public_url else {
            return address.to_owned();
        };
        match bare(address).strip_prefix(bare(public).trim_end_matches('/')) {
            Some(path) if path.is_empty() || path.starts_with(['/', '?']) => {
                let scheme = if address.starts_with("ws") {
                    "ws"
                } else {
                    "http"
                };
                format!("{scheme}://{}{path}", bare(&self.options.base_url))
            }
            _ => address.to_owned(),
        }
    }

    /// A span of simulated time as it passes here.
    fn scaled(&self, duration: Duration) -> Duration {
        duration.div_f64(self.options.time_scale)
    }
}

/// Milliseconds of UTC, as webhooks carry times.
fn timestamp(at: jiff::Timestamp) -> Value {
    Value::String(at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}
