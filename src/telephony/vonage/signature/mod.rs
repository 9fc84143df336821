//! The signature of Vonage's webhooks, and of its media socket when the NCCO asks for one: a JWT
//! whose HMAC key is the account's signature secret and whose `payload_hash` seals the body.
//!
//! Source: Vonage "Webhooks" guide, section on signed webhooks. How old a token may be is not
//! published; [`VerifierConfig`] says what is assumed.

mod seen;

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use self::seen::Seen;
use crate::private::Private;

/// Verifies what claims to come from Vonage, and remembers what it has seen.
///
/// HMAC-SHA-256 is the only algorithm that exists here: a token cannot choose another one.
pub struct Verifier {
    config: VerifierConfig,
    seen: Mutex<Seen>,
}

/// Whom to believe, and for how long.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "settings, written with `..Default::default()`"
)]
pub struct VerifierConfig {
    /// The account's signature secrets; two while one replaces the other. Without any, nothing
    /// is believed.
    pub secrets: Vec<Private<String>>,
    /// The account's key. When given, a token must name it.
    pub api_key: Option<String>,
    /// The applications whose webhooks arrive here. When given, a token that names an
    /// application must name one of them.
    pub application_ids: Vec<String>,
    /// How old a token may be, in whole seconds. Default: 300 s, room for a slow retry.
    pub max_age: Duration,
    /// How far ahead of us the carrier's clock may run, in whole seconds. Default: 30 s, far more
    /// than synchronised clocks differ.
    pub max_ahead: Duration,
}

impl Default for VerifierConfig {
    fn default() -> Self {
        Self {
            secrets: Vec::new(),
            api_key: None,
            application_ids: Vec::new(),
            max_age: Duration::from_secs(300),
            max_ahead: Duration::from_secs(30),
        }
    }
}

/// A webhook that Vonage sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The token's id.
    pub jti: String,
    /// SHA-256 of the raw body.
    pub body_hash: [u8; 32],
    /// The same token came before with the same body: the carrier tries again. Answer as before.
    pub repeated: bool,
}

/// Why a request is refused. Never shows a token or a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// No `Authorization` header.
    #[error("unsigned: turn on signed webhooks for the Vonage application")]
    Missing,
    /// An `Authorization` header of another kind.
    #[error("the Authorization header holds no bearer token")]
    NotBearer,
    /// Not a JWT, or one whose claims cannot be read.
    #[error("the token cannot be read")]
    Malformed,
    /// The token wants anything but HS256.
    #[error("the token is not signed with HS256")]
    Algorithm,
    /// We have no secret to compare with.
    #[error("no signature secret is configured")]
    NoSecret,
    /// The signature is not made with one of our secrets.
    #[error("wrong signature: compare the signature secret with the one in the Vonage dashboard")]
    Signature,
    /// Issued by somebody else.
    #[error("the token was not issued by Vonage")]
    Issuer,
    /// Issued for another account, or for none.
    #[error("the token belongs to another Vonage account")]
    ApiKey,
    /// Issued for another application.
    #[error("the token belongs to another Vonage application")]
    Application,
    /// Older than allowed.
    #[error("the token is too old")]
    Stale,
    /// From the future.
    #[error("the token was issued in the future: check the clock")]
    Ahead,
    /// The body is not the signed one, or the token seals none.
    #[error("the body is not the one that was signed")]
    Body,
    /// The token has no id, so that a repetition could not be noticed.
    #[error("the token has no id")]
    NoId,
    /// The token came before, with another body.
    #[error("the token was used before with another body")]
    Reused,
}

impl Verifier {
    /// Believes what `config` says.
    #[must_use]
    pub fn new(mut config: VerifierConfig) -> Self {
        // An empty secret is a forgotten setting; everybody knows how to sign with it.
        config.secrets.retain(|secret| !secret.reveal().is_empty());
        Self {
            config,
            seen: Mutex::new(Seen::new()),
        }
    }

    /// Verifies a webhook: the value of its `Authorization` header and its raw body, empty for a
    /// `GET`. A token that passes is remembered until it is too old.
    ///
    /// # Errors
    ///
    /// See [`SignatureError`]. Every one of them means 401; a refused token leaves no trace.
    pub fn verify(
        &self,
        authorization: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Verified, SignatureError> {
        let claims = self.believe(authorization, now)?;
        let body_hash: [u8; 32] = Sha256::digest(body).into();
        // What Vonage hashes when there is no body is not documented.
        if !body.is_empty() && !claims.seals(&body_hash) {
            return Err(SignatureError::Body);
        }
        let jti = claims
            .jti
            .filter(|jti| !jti.is_empty())
            .ok_or(SignatureError::NoId)?;
        let until = claims.iat.saturating_add(seconds(self.config.max_age));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated = seen.note(&jti, body_hash, until, now.as_second())?;
        Ok(Verified {
            jti,
            body_hash,
            repeated,
        })
    }

    /// Verifies the upgrade request of a media socket. It has no body and its token is not
    /// remembered: the one-time token in the socket's address guards against repetition.
    ///
    /// # Errors
    ///
    /// See [`SignatureError`].
    pub fn verify_upgrade(
        &self,
        authorization: Option<&str>,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        self.believe(authorization, now).map(|_| ())
    }

    /// Everything that holds with and without a body: signature first, claims after.
    fn believe(
        &self,
        authorization: Option<&str>,
        now: Timestamp,
    ) -> Result<Claims, SignatureError> {
        let token = bearer(authorization.ok_or(SignatureError::Missing)?)?;
        let claims = self.open(token)?;
        if claims.iss.as_deref() != Some("Vonage") {
            return Err(SignatureError::Issuer);
        }
        if self.config.api_key.is_some() && claims.api_key != self.config.api_key {
            return Err(SignatureError::ApiKey);
        }
        let ours = &self.config.application_ids;
        if let Some(application) = &claims.application_id
            && !ours.is_empty()
            && !ours.contains(application)
        {
            return Err(SignatureError::Application);
        }
        // Whole seconds, because `iat` has no finer ones.
        let age = now.as_second().saturating_sub(claims.iat);
        if age > seconds(self.config.max_age) {
            return Err(SignatureError::Stale);
        }
        if age.saturating_neg() > seconds(self.config.max_ahead) {
            return Err(SignatureError::Ahead);
        }
        Ok(claims)
    }

    /// The claims of a token, once its signature holds.
    fn open(&self, token: &str) -> Result<Claims, SignatureError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(SignatureError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(SignatureError::Malformed)?;
        let signature = base64(signature)?;
        match json::<Header>(header)?.alg {
            Some(Value::String(alg)) if alg == "HS256" => {}
            _ => return Err(SignatureError::Algorithm),
        }
        if self.config.secrets.is_empty() {
            return Err(SignatureError::NoSecret);
        }
        let holds = |secret: &Private<String>| {
            Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
                .is_ok_and(|mac| mac.chain_update(signed).verify_slice(&signature).is_ok())
        };
        if !self.config.secrets.iter().any(holds) {
            return Err(SignatureError::Signature);
        }
        let mut claims: Claims = json(claims)?;
        claims.iat = claims
            .issued
            .as_ref()
            .and_then(whole_seconds)
            .ok_or(SignatureError::Malformed)?;
        Ok(claims)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(skip)]
    iat: i64,
    #[serde(rename = "iat")]
    issued: Option<Number>,
    iss: Option<String>,
    jti: Option<String>,
    payload_hash: Option<String>,
    api_key: Option<String>,
    application_id: Option<String>,
}

impl Claims {
    fn seals(&self, body_hash: &[u8; 32]) -> bool {
        let ours: String = body_hash.iter().map(|byte| format!("{byte:02x}")).collect();
        self.payload_hash.as_ref().is_some_and(|theirs| {
            theirs
                .to_ascii_lowercase()
                .as_bytes()
                .ct_eq(ours.as_bytes())
                .into()
        })
    }
}

fn bearer(authorization: &str) -> Result<&str, SignatureError> {
    let (scheme, token) = authorization
        .trim()
        .split_once(' ')
        .ok_or(SignatureError::NotBearer)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(SignatureError::NotBearer);
    }
    let token = token.trim_start();
    if token.len() > LONGEST_TOKEN {
        return Err(SignatureError::Malformed);
    }
    Ok(token)
}

fn base64(segment: &str) -> Result<Vec<u8>, SignatureError> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| SignatureError::Malformed)
}

fn json<T: DeserializeOwned>(segment: &str) -> Result<T, SignatureError> {
    serde_json::from_slice(&base64(segment)?).map_err(|_| SignatureError::Malformed)
}

/// A JWT's date may have a fraction.
fn whole_seconds(date: &Number) -> Option<i64> {
    date.as_i64().or_else(|| {
        SignedDuration::try_from_secs_f64(date.as_f64()?)
            .ok()
            .map(|date| date.as_secs())
    })
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

const LONGEST_TOKEN: usize = 8 * 1024;

#[cfg(test)]
mod tests;
