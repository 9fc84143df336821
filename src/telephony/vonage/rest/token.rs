//! The bearer tokens of REST requests: short-lived, made ahead, renewed before they end.
//!
//! Source: Vonage "Authentication" guide, JSON Web Tokens: RS256, claims `application_id`, `iat`,
//! `jti`, `exp`.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;
use uuid::Uuid;

use super::PrivateKey;

/// Makes the tokens of one application.
pub(super) struct Tokens {
    key: PrivateKey,
    application: String,
    last: Mutex<Option<Made>>,
}

struct Made {
    at: Timestamp,
    token: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    application_id: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
}

impl Tokens {
    pub(super) const fn new(application: String, key: PrivateKey) -> Self {
        Self {
            key,
            application,
            last: Mutex::new(None),
        }
    }

    /// A token that lives for another minute at least.
    pub(super) fn token(&self, now: Timestamp) -> Result<String, jsonwebtoken::errors::Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*last {
            let age = now.duration_since(made.at);
            // A clock that was set back would make it a token from the future.
            if age >= SignedDuration::ZERO && age < FRESH {
                return Ok(made.token.clone());
            }
        }
        let claims = Claims {
            application_id: &self.application,
            iat: now.as_second() - SKEW,
            exp: now.as_second() + LIFE.as_secs(),
            jti: Uuid::new_v4().to_string(),
        };
        let token =
            jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, self.key.encoding())?;
        *last = Some(Made {
            at: now,
            token: token.clone(),
        });
        Ok(token)
    }

    /// The carrier does not take the token: the next request gets another one.
    pub(super) fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// Long enough for a slow request and its repetitions, and of little use to a thief.
const LIFE: SignedDuration = SignedDuration::from_mins(5);
/// Four fifths of its life.
const FRESH: SignedDuration = SignedDuration::from_mins(4);
/// Seconds by which the carrier's clock may be behind ours.
const SKEW: i64 = 3;
