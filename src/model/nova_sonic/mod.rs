//! Amazon Nova Sonic on Amazon Bedrock.
//!
//! One session is one HTTP/2 stream of the operation `InvokeModelWithBidirectionalStream`: JSON
//! events both ways. [`NovaSonic`] opens them:
//!
//! ```no_run
//! use novavoice::model::nova_sonic::{NovaSonic, NovaSonicConfig};
//!
//! # async fn example() {
//! let mut config = NovaSonicConfig::default();
//! config.voice = "matthew".into();
//! let model = NovaSonic::from_env(config, Some("us-east-1".into())).await;
//! # }
//! ```
//!
//! What is particular to this model: it hears when the caller speaks over it, but says so only by
//! an interruption, so there is no `SpeechStarted`; it speaks first only when it is told to by
//! text; and it ends every stream after eight minutes.

mod capabilities;
mod connection;
mod credentials;
mod deadline;
mod decode;
mod error;
mod history;
mod input;
mod log;
mod reader;
mod session;
mod shapes;
mod turn;
mod wire;
mod writer;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain, profile::region::ProfileFileRegionProvider,
};
use aws_sdk_bedrockruntime::config::{
    self, IdentityCache, SharedCredentialsProvider, SharedHttpClient,
};
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::auth::AuthSchemeId;
use tracing::warn;

use self::{
    capabilities::{Features, SESSION_LIMIT},
    connection::{Connections, HttpClients},
    credentials::RoleOrBase,
    error::{PROVIDER, failure},
};
use super::{Capabilities, Session, SessionSeed, SpeechModel};
use crate::error::{ProviderError, ProviderErrorKind};

/// Opens sessions with Amazon Nova Sonic. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NovaSonic {
    inner: Arc<Inner>,
}

/// What the sessions of one model share.
struct Inner {
    config: NovaSonicConfig,
    features: Features,
    connections: Arc<Connections>,
    credentials: Option<SharedCredentialsProvider>,
    open: Arc<AtomicUsize>,
}

impl NovaSonic {
    /// A model that is reached as `sdk` says: region, credentials, endpoint. Nothing is
    /// connected yet.
    ///
    /// Where `sdk` brings an HTTP client of its own, all sessions share it and so, most likely,
    /// one connection; see [`with_http_clients`](Self::with_http_clients). Without one, each
    /// connection trusts the platform's certificates, or those in `SSL_CERT_FILE` instead.
    #[must_use]
    pub fn new(config: NovaSonicConfig, sdk: &SdkConfig) -> Self {
        match sdk.http_client() {
            Some(shared) => Self::with_http_clients(config, sdk, move || shared.clone()),
            None => Self::with_http_clients(config, sdk, default_http_client),
        }
    }

    /// Like [`new`](Self::new), with `http` making the HTTP client for each connection: for
    /// special trust, for proxies.
    #[must_use]
    pub fn with_http_clients(
        config: NovaSonicConfig,
        sdk: &SdkConfig,
        http: impl Fn() -> SharedHttpClient + Send + Sync + 'static,
    ) -> Self {
        let voice = config.voice.trim().to_lowercase();
        if !capabilities::voice_is_known(&voice) {
            warn!(
                voice,
                "not a voice that is known of Nova Sonic; asking for it all the same"
            );
        }
        let http: HttpClients = Box::new(http);
        let connections = Connections::new(
            service_config(&config, sdk),
            http,
            config.sessions_per_connection,
        );
        Self {
            inner: Arc::new(Inner {
                features: Features::of(&config.model_id),
                connections: Arc::new(connections),
                credentials: sdk.credentials_provider(),
                open: Arc::default(),
                config,
            }),
        }
    }

    /// A model that is reached as the standard AWS environment says: variables, profile,
    /// container and instance credentials. The region is `region`, else that of the environment
    /// or the profile, else `us-east-1`.
    pub async fn from_env(config: NovaSonicConfig, region: Option<String>) -> Self {
        // The SDK's own chain would go on to ask the metadata service for the region, which
        // takes seconds where there is none.
        let region = RegionProviderChain::first_try(region.map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(Region::from_static(DEFAULT_REGION));
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .region(region)
            .load()
            .await;
        Self::new(config, &sdk)
    }

    /// Whether AWS credentials can be had: answers within `timeout`, also where the last link of
    /// the chain, the machine's metadata service, never answers. Says nothing about permissions.
    ///
    /// # Errors
    ///
    /// [`Unauthorized`](ProviderErrorKind::Unauthorized) when there are none, or none in time.
    pub async fn credentials_resolve(&self, timeout: Duration) -> Result<(), ProviderError> {
        credentials::probe(self.inner.credentials.as_ref(), timeout).await
    }

    /// How many sessions hold resources right now: being opened, live, or being closed.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.inner.open.load(Ordering::Acquire)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &NovaSonicConfig {
        &self.inner.config
    }
}

#[async_trait]
impl SpeechModel for NovaSonic {
    fn capabilities(&self) -> Capabilities {
        let Inner {
            config, features, ..
        } = &*self.inner;
        Capabilities {
            name: PROVIDER,
            text_input: features.text_input,
            tools: true,
            max_session: Some(config.session_limit.unwrap_or(SESSION_LIMIT)),
        }
    }

    async fn open(&self, seed: SessionSeed) -> Result<Session, ProviderError> {
        self.inner.config.check()?;
        session::open(&self.inner, seed).await
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("model_id", &self.config.model_id)
            .field("connections", &self.connections)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// How to reach Nova Sonic and how it shall speak. Start from the default and change what differs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NovaSonicConfig {
    /// The model: an id or an ARN; what it can do is derived from it. Default:
    /// `amazon.nova-2-sonic-v1:0`, the generally available one that takes text.
    pub model_id: String,
    /// The voice, in any case. An unknown one is warned about and asked for. Default: `tiffany`,
    /// who speaks all languages of the model.
    pub voice: String,
    /// How soon the model takes a pause for the end of the caller's turn. Default: none, which
    /// leaves it to the service. The first generation cannot be told.
    pub endpointing: Option<Sensitivity>,
    /// The most tokens that a turn may use, 1 to 10000. Default: 4096; with the 1024 of
    /// Amazon's samples, turns that think long have ended without a word.
    pub max_tokens: u32,
    /// Nucleus sampling, 0 to 1. Default: 0.9, Amazon's.
    pub top_p: f32,
    /// Randomness, 0 to 1. Default: 0.7, Amazon's.
    pub temperature: f32,
    /// Says that the service ends streams after another time than the model's 8 minutes.
    /// Reported in [`Capabilities::max_session`], not enforced. Default: none.
    pub session_limit: Option<Duration>,
    /// How much of the caller's audio goes into one event, 20 to 100 ms; other values are
    /// brought into that range. Default: 40 ms, which takes 40 % less work than 20 ms and delays
    /// the caller by 20 ms.
    pub audio_event: Duration,
    /// How long opening may take. Default: 15 s; a cold start takes a few, and the SDK itself
    /// would wait for ever.
    pub open_timeout: Duration,
    /// How long closing may take before the stream is cut. Default: 5 s, enough for the last
    /// words and counts to come.
    pub close_timeout: Duration,
    /// How long nothing may come from the model when a reply is due: after text, or after words
    /// of a caller who has then been quiet. Default: 10 s, more than the slowest first reply
    /// that was reported.
    pub reply_timeout: Duration,
    /// How long the connection may refuse to take input, and the session's user to take events.
    /// Default: 5 s; audio that is older is of no use, and a dead peer is noticed no other way.
    pub stall_timeout: Duration,
    /// How many sessions share a connection. Default: 1. Sessions past a server's limit of
    /// streams hang silently, Bedrock's limit is not published, and idle connections are used
    /// again.
    pub sessions_per_connection: usize,
    /// A role to assume. While it cannot be assumed, the base credentials are used, with a
    /// warning. Default: none.
    pub role_arn: Option<String>,
}

impl Default for NovaSonicConfig {
    fn default() -> Self {
        Self {
            model_id: "amazon.nova-2-sonic-v1:0".to_owned(),
            voice: "tiffany".to_owned(),
            endpointing: None,
            max_tokens: 4096,
            top_p: 0.9,
            temperature: 0.7,
            session_limit: None,
            audio_event: Duration::from_millis(40),
            open_timeout: Duration::from_secs(15),
            close_timeout: Duration::from_secs(5),
            reply_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(5),
            sessions_per_connection: 1,
            role_arn: None,
        }
    }
}

impl NovaSonicConfig {
    /// Finds settings that the service would refuse in the middle of a call.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ProviderErrorKind::Invalid), naming each of them.
    pub fn check(&self) -> Result<(), ProviderError> {
        let mut wrong = Vec::new();
        if self.model_id.trim().is_empty() {
            wrong.push("the model id is empty");
        }
        if self.voice.trim().is_empty() {
            wrong.push("the voice is empty");
        }
        if !(1..=10_000).contains(&self.max_tokens) {
            wrong.push("max_tokens is not between 1 and 10000");
        }
        if !(0.0..=1.0).contains(&self.top_p) {
            wrong.push("top_p is not between 0 and 1");
        }
        if !(0.0..=1.0).contains(&self.temperature) {
            wrong.push("temperature is not between 0 and 1");
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(failure(ProviderErrorKind::Invalid, wrong.join(", ")))
        }
    }
}

/// How soon Nova Sonic takes a pause for the end of the caller's turn (Nova Sonic user guide,
/// turn-taking).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sensitivity {
    /// After about 1.5 s.
    High,
    /// After about 1.75 s.
    Medium,
    /// After about 2 s.
    Low,
}

/// What counts for every connection.
fn service_config(config: &NovaSonicConfig, sdk: &SdkConfig) -> config::Builder {
    let mut service = config::Builder::from(sdk)
        // With AWS_BEARER_TOKEN_BEDROCK in the environment the SDK would send that, which the
        // service does not take for this operation.
        .auth_scheme_preference([AuthSchemeId::from("sigv4")])
        // A stream is signed with the credentials it began with, so they should outlive it: the
        // cache takes off up to half of this at random.
        .identity_cache(
            IdentityCache::lazy()
                .buffer_time(CREDENTIALS_MARGIN)
                .build(),
        );
    if sdk.behavior_version().is_none() {
        service = service.behavior_version(BehaviorVersion::latest());
    }
    if let (Some(arn), Some(base)) = (config.role_arn.clone(), sdk.credentials_provider()) {
        service = service.credentials_provider(RoleOrBase::new(arn, sdk, base));
    }
    service
}

fn default_http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::AwsLc,
        ))
        .build_https()
}

const DEFAULT_REGION: &str = "us-east-1";

/// Twice what a stream may last, and a bit.
const CREDENTIALS_MARGIN: Duration = Duration::from_secs(20 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn model(config: NovaSonicConfig) -> NovaSonic {
        NovaSonic::new(config, &SdkConfig::builder().build())
    }

    #[tokio::test]
    async fn capabilities_follow_the_model_and_the_settings() {
        let nova_2 = model(NovaSonicConfig::default()).capabilities();
        assert!(nova_2.text_input);
        assert_eq!(nova_2.max_session, Some(Duration::from_secs(480)));
        let nova_1 = model(NovaSonicConfig {
            model_id: "amazon.nova-sonic-v1:0".to_owned(),
            session_limit: Some(Duration::from_secs(60)),
            ..NovaSonicConfig::default()
        })
        .capabilities();
        assert!(!nova_1.text_input);
        assert_eq!(nova_1.max_session, Some(Duration::from_secs(60)));
    }

    #[tokio::test]
    async fn wrong_settings_are_all_named() {
        let config = NovaSonicConfig {
            max_tokens: 0,
            top_p: f32::NAN,
            temperature: 2.0,
            voice: " ".to_owned(),
            ..NovaSonicConfig::default()
        };
        let error = config.check().unwrap_err();
        assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
        for word in ["max_tokens", "top_p", "temperature", "voice"] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn the_default_settings_are_right() {
        NovaSonicConfig::default().check().unwrap();
    }
}
