//! How a service wants its calls.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use super::{
    Account, EventKeeper, SharedLimit,
    signature::{Verifier, VerifierConfig},
};
use crate::{
    audio::SampleRate,
    call::CallId,
    private::Private,
    telephony::{admission::Admission, channel::ChannelTokens},
};

/// How Vonage reaches the service, and what callers hear before and beside the agent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VonageConfig {
    /// How Vonage reaches this service, `http` or `https`; the addresses of webhooks and sockets
    /// derive from it. Default: `http://127.0.0.1:3000`.
    pub public_url: String,
    /// Whose webhooks are believed; [`Vonage::configure`](super::Vonage::configure) changes it.
    pub credentials: Credentials,
    /// With what calls are placed and steered; [`Vonage::set_account`](super::Vonage::set_account)
    /// changes it. Default: nothing, so calls are only taken.
    pub account: Account,
    /// Takes unsigned webhooks while there is no signature secret. Only for a service that
    /// nobody but the machine itself can reach. Default: no, so without a secret every webhook is
    /// refused.
    pub allow_unsigned: bool,
    /// What opens a socket. Default: tokens of this process alone.
    pub tokens: ChannelTokens,
    /// The rate asked of Vonage. Default: 16 kHz, which Nova Sonic hears and speaks too.
    pub rate: SampleRate,
    /// What Vonage's own voice says before the agent. Default: nothing.
    pub welcome: Option<String>,
    /// Whether there is room for another inbound call. Default: always.
    pub admission: Admission,
    /// What a caller hears when there is none, before the call ends.
    pub busy_message: String,
    /// What a caller hears when the agent has failed or the socket was lost too often, before the
    /// call ends.
    pub apology: String,
    /// How many lost sockets of one call are replaced. Default: 2, so that a broken service
    /// cannot trap a caller.
    pub max_reconnects: u32,
    /// How long a leg whose socket is gone waits for another one, or for the news that the call
    /// is over. Default: 2 s; the caller has usually hung up.
    pub reconnect_grace: Duration,
    /// The same, from the moment when Vonage was told to open another socket. Default: 10 s.
    pub reconnect_patience: Duration,
    /// Asked about calls that this node does not know, when their socket is lost. Default: they
    /// are live, since a service of one node forgets a call only by dying.
    pub liveness: Liveness,
    /// How several nodes keep the account's limit of requests together. Default: each on its own.
    pub shared_limit: Option<Arc<dyn SharedLimit>>,
    /// Where events of placed calls are kept for other nodes. Default: nowhere.
    pub keeper: Option<Arc<dyn EventKeeper>>,
}

impl VonageConfig {
    /// Calls of a service at `public_url`, everything else by default.
    #[must_use]
    pub fn new(public_url: impl Into<String>) -> Self {
        Self {
            public_url: public_url.into(),
            ..Self::default()
        }
    }
}

impl Default for VonageConfig {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:3000".to_owned(),
            credentials: Credentials::default(),
            account: Account::default(),
            allow_unsigned: false,
            tokens: ChannelTokens::default(),
            rate: SampleRate::Hz16000,
            welcome: None,
            admission: Admission::default(),
            busy_message: "Sorry, all lines are busy right now. Please call again in a few \
                           minutes. Goodbye."
                .to_owned(),
            apology: "Sorry, we have a technical problem. Please call again later. Goodbye."
                .to_owned(),
            max_reconnects: 2,
            reconnect_grace: Duration::from_secs(2),
            reconnect_patience: Duration::from_secs(10),
            liveness: Liveness::default(),
            shared_limit: None,
            keeper: None,
        }
    }
}

/// Whose webhooks are believed.
#[derive(Clone, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "settings, written with `..Default::default()`"
)]
pub struct Credentials {
    /// The account's signature secrets; two while one replaces the other.
    pub signature_secrets: Vec<Private<String>>,
    /// The account's key. When given, webhooks must name it.
    pub api_key: Option<String>,
    /// The applications whose webhooks arrive here. When given, a webhook that names an
    /// application must name one of them.
    pub application_ids: Vec<String>,
}

impl Credentials {
    /// Whether there is anything to verify a signature with.
    #[must_use]
    pub fn can_verify(&self) -> bool {
        let mut secrets = self.signature_secrets.iter();
        secrets.any(|secret| !secret.reveal().is_empty())
    }

    pub(super) fn verifier(&self) -> Verifier {
        Verifier::new(VerifierConfig {
            secrets: self.signature_secrets.clone(),
            api_key: self.api_key.clone(),
            application_ids: self.application_ids.clone(),
            ..VerifierConfig::default()
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("signature_secrets", &self.signature_secrets.len())
            .field("api_key", &self.api_key.is_some())
            .field("application_ids", &self.application_ids)
            .finish()
    }
}

/// Knows of calls that live, or have ended, on other nodes.
#[derive(Clone)]
pub struct Liveness(Arc<dyn Fn(CallId) -> BoxFuture<'static, bool> + Send + Sync>);

impl Liveness {
    /// Asks `is_live`. After half a second without an answer the call counts as live.
    pub fn new<F>(is_live: impl Fn(CallId) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self(Arc::new(move |call| Box::pin(is_live(call))))
    }

    pub(super) async fn ask(&self, call: CallId) -> bool {
        let answer = tokio::time::timeout(PATIENCE, (self.0)(call)).await;
        answer.unwrap_or(true)
    }
}

impl Default for Liveness {
    /// Every call is live.
    fn default() -> Self {
        Self::new(|_| std::future::ready(true))
    }
}

impl fmt::Debug for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Liveness").finish_non_exhaustive()
    }
}

/// The carrier waits a second for a webhook's answer.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    /// Vonage checklist 62: secrets are never printed.
    #[test]
    fn no_secret_is_printed() {
        let mut config = VonageConfig::new("https://agent.example.com");
        config.credentials = Credentials {
            signature_secrets: vec![Private::new("hunter2".to_owned())],
            api_key: Some("a1b2c3d4".to_owned()),
            ..Credentials::default()
        };
        let printed = format!("{config:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("a1b2c3d4"));
    }

    #[test]
    fn an_empty_secret_verifies_nothing() {
        let mut credentials = Credentials::default();
        assert!(!credentials.can_verify());
        credentials.signature_secrets = vec![Private::default()];
        assert!(!credentials.can_verify());
        credentials.signature_secrets.push("x".to_owned().into());
        assert!(credentials.can_verify());
    }
}
