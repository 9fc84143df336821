//! Whose calls are placed and steered: the account, complete or not.

use std::sync::Arc;

use super::rest::{DEFAULT_BASE, Limiter, PrivateKey, RateLimits, Rest, RestConfig};
use crate::{
    error::{ProviderError, ProviderErrorKind},
    lead::PhoneNumber,
    private::Private,
};

/// With what calls are placed and steered. What is missing is refused when it is needed.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "settings, written with `..Default::default()`"
)]
pub struct Account {
    /// The application that places the calls.
    pub application_id: Option<String>,
    /// Its private key as PEM text.
    pub private_key: Option<Private<String>>,
    /// The number that callees see.
    pub from: Option<PhoneNumber>,
    /// Where requests go: `https`, or `http` on this machine. What a webhook names as the region
    /// of its call counts instead, where that is Vonage's own. Default: [`DEFAULT_BASE`].
    pub api_url: String,
    /// The account's rate limits. Those that are there first count for the whole process.
    pub limits: RateLimits,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            application_id: None,
            private_key: None,
            from: None,
            api_url: DEFAULT_BASE.to_owned(),
            limits: RateLimits::default(),
        }
    }
}

/// An account that has been looked at: clients, or what is missing for them.
#[derive(Clone, Debug)]
pub(super) struct Dialling {
    rest: Result<Rest, String>,
    from: Option<PhoneNumber>,
}

impl Dialling {
    pub(super) fn of(account: Account, limiter: Arc<Limiter>) -> Self {
        Self {
            from: account.from.clone(),
            rest: client(account, limiter),
        }
    }

    /// Steers calls.
    pub(super) fn rest(&self) -> Result<Rest, ProviderError> {
        self.rest.clone().map_err(|missing| refused(&missing))
    }

    /// Places calls, and the number that they show.
    pub(super) fn dialler(&self) -> Result<(Rest, PhoneNumber), ProviderError> {
        let mut missing: Vec<&str> = Vec::new();
        missing.extend(self.rest.as_ref().err().map(String::as_str));
        match &self.from {
            Some(from) if missing.is_empty() => Ok((self.rest()?, from.clone())),
            Some(_) => Err(refused(&missing.join(", "))),
            None => {
                missing.push("the number to call from");
                Err(refused(&missing.join(", ")))
            }
        }
    }
}

fn client(account: Account, limiter: Arc<Limiter>) -> Result<Rest, String> {
    let application = account.application_id.filter(|id| !id.is_empty());
    let (application, key) = match (application, account.private_key) {
        (Some(application), Some(key)) => (application, key),
        (application, key) => {
            let mut missing = Vec::new();
            missing.extend(application.is_none().then_some("the application id"));
            missing.extend(key.is_none().then_some("the application's private key"));
            return Err(missing.join(", "));
        }
    };
    let key = PrivateKey::from_pem(key.reveal()).map_err(|error| error.to_string())?;
    let mut config = RestConfig::new(application, key);
    config.base_url = account.api_url;
    config.limits = account.limits;
    Rest::sharing(config, limiter)
        .map_err(|error| error.detail().unwrap_or("no client can be made").to_owned())
}

fn refused(missing: &str) -> ProviderError {
    ProviderError::new("vonage", ProviderErrorKind::Invalid)
        .with_detail(format!("the account is not ready to call: {missing}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(account: Account) -> String {
        let limiter = Arc::new(Limiter::new(RateLimits::default()));
        let error = Dialling::of(account, limiter).dialler().unwrap_err();
        assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
        error.detail().unwrap_or_default().to_owned()
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        assert_eq!(
            told(Account::default()),
            "the account is not ready to call: the application id, the application's private key, \
             the number to call from"
        );
        let account = Account {
            application_id: Some("app".to_owned()),
            private_key: Some(Private::new("hunter2".to_owned())),
            ..Account::default()
        };
        let said = told(account);
        assert!(said.contains("not an RSA private key"), "{said}");
        assert!(!said.contains("hunter2"));
    }
}
