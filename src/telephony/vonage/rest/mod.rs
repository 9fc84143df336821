//! The REST interface: calls placed and steered by request.
//!
//! [`Rest`] signs, keeps the account's rate limits, and sends again what may be sent again. A
//! request for a call is never repeated when nobody knows what became of it: look it up first.
//!
//! Source: Vonage Voice API reference 1.10 and its guides on regions, limits and authentication.
//!
//! ```no_run
//! use novavoice::{
//!     call::CallId,
//!     telephony::vonage::rest::{PrivateKey, Rest, RestConfig},
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let key = PrivateKey::load("private.key")?;
//! let rest = Rest::new(RestConfig::new("aaaaaaaa-bbbb-cccc-dddd-0123456789ab", key))?;
//! let call = CallId::new("63f61863-4a51-4f6b-86e1-46edebcf9356");
//! println!("{:?}", rest.get(&call).await?.status);
//! rest.hang_up(&call).await?;
//! # Ok(())
//! # }
//! ```

mod key;
pub use key::{KeyError, PrivateKey};

mod token;

mod limit;
pub(super) use limit::Limiter;
pub use limit::RateLimits;

mod retry;

mod error;
pub use error::{ApiProblem, RestError};

mod create;
pub use create::{CallFlow, CallerId, CreateCall, MachineDetection};

mod details;
pub use details::{CallDetails, CallPage, Created, ListCalls};

mod send;
use send::{Need, Sent};

mod steer;
pub use steer::{Hearing, HungUp, Speech};

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{Client, Method, redirect::Policy};
use url::Url;

use self::{retry::Repeat, token::Tokens};
use super::webhook::region_base;
use crate::{
    call::CallId,
    error::{ProviderError, ProviderErrorKind},
};

/// A client of the REST interface for one application. Cheap to clone; clones share the token and
/// the rate limits.
#[derive(Clone)]
pub struct Rest {
    inner: Arc<Inner>,
    /// Where requests go: `https://` and a host.
    base: Arc<str>,
    /// Whether somebody on the phone waits for all that is asked.
    caller_waits: bool,
}

struct Inner {
    http: Client,
    tokens: Tokens,
    limiter: Arc<Limiter>,
    patience: retry::Patience,
}

/// Whose calls, and how patiently.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestConfig {
    /// The application that places the calls.
    pub application_id: String,
    /// Its private key.
    pub private_key: PrivateKey,
    /// Where requests go: `https`, or `http` on this machine. Default: [`DEFAULT_BASE`].
    pub base_url: String,
    /// The account's rate limits.
    pub limits: RateLimits,
    /// How long one answer may take. Default: 10 s.
    pub timeout: Duration,
    /// The first pause before another attempt; each one is twice as long as the one before, and
    /// what the carrier asks for counts instead. Default: 1 s.
    pub pause: Duration,
    /// How long a request may wait for further attempts in all. Default: 12 s, which leaves
    /// whoever waits for it some patience.
    pub patience: Duration,
}

/// The host of every application that names no region.
pub const DEFAULT_BASE: &str = "https://api.nexmo.com";

impl RestConfig {
    /// Everything else by default.
    #[must_use]
    pub fn new(application_id: impl Into<String>, private_key: PrivateKey) -> Self {
        Self {
            application_id: application_id.into(),
            private_key,
            base_url: DEFAULT_BASE.to_owned(),
            limits: RateLimits::default(),
            timeout: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            patience: Duration::from_secs(12),
        }
    }
}

impl Rest {
    /// A client with rate limits of its own.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ProviderErrorKind::Invalid) when the base is no address that a token may be
    /// sent to.
    pub fn new(config: RestConfig) -> Result<Self, ProviderError> {
        let limiter = Arc::new(Limiter::new(config.limits));
        Self::sharing(config, limiter)
    }

    /// A client that keeps the limits together with others.
    pub(super) fn sharing(
        config: RestConfig,
        limiter: Arc<Limiter>,
    ) -> Result<Self, ProviderError> {
        let invalid = || ProviderError::new("vonage", ProviderErrorKind::Invalid);
        let (base, is_local) = checked(&config.base_url).ok_or_else(|| {
            let detail = "the address of the REST interface must be https, or http on this machine";
            invalid().with_detail(detail)
        })?;
        let client = || {
            let http = Client::builder()
                // Whoever sent us elsewhere would get the token.
                .redirect(Policy::none())
                .connect_timeout(CONNECT)
                .timeout(config.timeout)
                .user_agent(concat!("novavoice/", env!("CARGO_PKG_VERSION")));
            if is_local { http.no_proxy() } else { http }
        };
        let http = client().build().or_else(|error| match is_local {
            // A carrier on this machine is reached also where the machine trusts nobody.
            true => client().tls_certs_only([]).build(),
            false => Err(error),
        });
        let http = http.map_err(|error| {
            invalid()
                .with_detail("the HTTP client cannot be made")
                .with_source(error)
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                http,
                tokens: Tokens::new(config.application_id, config.private_key),
                limiter,
                patience: retry::Patience {
                    pause: config.pause,
                    total: config.patience,
                },
            }),
            base: base.into(),
            caller_waits: false,
        })
    }

    /// The client for calls whose webhooks name this `region_url`: a call lives in one region, and
    /// elsewhere nobody knows it. An address that is not Vonage's own is ignored.
    #[must_use]
    pub fn in_region(&self, region_url: Option<&str>) -> Self {
        let mut rest = self.clone();
        if let Some(base) = region_url.and_then(region_base) {
            rest.base = base.into();
        }
        rest
    }

    /// The client for what somebody on the phone waits for: its look-ups come before others.
    pub(super) fn for_caller(mut self) -> Self {
        self.caller_waits = true;
        self
    }

    /// Places a call. An answer means that Vonage has taken it on; what becomes of it, its event
    /// webhooks say. When [`RestError::may_have_happened`], [`list`](Self::list) before you place
    /// another one.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn create(&self, call: &CreateCall) -> Result<Created, RestError> {
        let body = call.to_json()?;
        let repeat = match call.only_once {
            true => Repeat::Never,
            false => Repeat::Unsafe,
        };
        let sent = Sent::new(Method::POST, self.url(&["calls"])?)
            .of(Need::Call)
            .repeated(repeat)
            .with(body);
        let answer = self.send(sent).await?;
        Created::read(&answer).ok_or(RestError::Answer("it names no call"))
    }

    /// What Vonage knows of a call.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn get(&self, call: &CallId) -> Result<CallDetails, RestError> {
        let sent = Sent::new(Method::GET, self.url(&["calls", call.as_str()])?);
        let answer = self.send(sent).await?;
        CallDetails::read(&answer).ok_or(RestError::Answer("it describes no call"))
    }

    /// One page of calls.
    ///
    /// # Errors
    ///
    /// When there is no answer, or it is a refusal.
    pub async fn list(&self, which: &ListCalls) -> Result<CallPage, RestError> {
        let mut url = self.url(&["calls"])?;
        let query = which.query();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let answer = self.send(Sent::new(Method::GET, url)).await?;
        CallPage::read(&answer).ok_or(RestError::Answer("it lists no calls"))
    }

    fn url(&self, path: &[&str]) -> Result<Url, RestError> {
        let wrong = || RestError::Argument("the address of the REST interface is wrong".to_owned());
        let mut url = Url::parse(&self.base).map_err(|_| wrong())?;
        let mut segments = url.path_segments_mut().map_err(|()| wrong())?;
        // An id that is a path of its own would name something else.
        if path.iter().any(|part| matches!(*part, "" | "." | "..")) {
            let error = "that is no id of a call";
            return Err(RestError::Argument(error.to_owned()));
        }
        segments.pop_if_empty().push("v1").extend(path);
        drop(segments);
        Ok(url)
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// An address to which tokens may go, and whether it is on this machine.
fn checked(base: &str) -> Option<(String, bool)> {
    let url = Url::parse(base.trim()).ok()?;
    let is_local = match url.host()? {
        url::Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
    };
    let plain = url.username().is_empty() && url.password().is_none();
    let plain = plain && url.query().is_none() && url.fragment().is_none();
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_local);
    (plain && safe).then(|| (url.as_str().trim_end_matches('/').to_owned(), is_local))
}

const CONNECT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_travel_encrypted_or_not_at_all() {
        for (base, local) in [
            ("https://api.nexmo.com", false),
            ("https://api.nexmo.com/", false),
            ("http://127.0.0.1:4010", true),
            ("http://localhost:4010/base/", true),
            ("http://[::1]:4010", true),
        ] {
            assert_eq!(checked(base).map(|it| it.1), Some(local), "{base}");
        }
        for base in [
            "http://api.nexmo.com",
            "http://127.0.0.1.evil.tld",
            "ftp://127.0.0.1",
            "api.nexmo.com",
            "https://user:pw@api.nexmo.com",
            "https://api.nexmo.com?x=1",
        ] {
            assert_eq!(checked(base), None, "{base}");
        }
    }
}
