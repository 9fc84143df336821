//! Who asks: the bearer token of a request (Vonage guide "Authentication": RS256, claims
//! `application_id`, `iat`, `jti`, `exp`).

use std::{collections::HashMap, io, sync::Mutex, sync::PoisonError};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::ApplicationKey;
use crate::clock;

/// Checks tokens, and remembers their ids.
pub(super) struct Auth {
    key: DecodingKey,
    application: String,
    /// Ids and the tokens that had them.
    seen: Mutex<HashMap<String, String>>,
}

impl Auth {
    pub(super) fn new(key: &ApplicationKey, application: String) -> io::Result<Self> {
        Ok(Self {
            key: key.verifying()?,
            application,
            seen: Mutex::default(),
        })
    }

    /// `Err`: what is wrong with the value of an `Authorization` header.
    pub(super) fn check(&self, authorization: Option<&str>) -> Result<(), String> {
        let token = authorization.ok_or("no Authorization header")?;
        let token = token.strip_prefix("Bearer ").ok_or("no bearer token")?;
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        if header.alg != Algorithm::RS256 || header.typ.as_deref() != Some("JWT") {
            return Err("the token's header is not RS256 and JWT".to_owned());
        }
        let mut validation = Validation::new(Algorithm::RS256);
        validation.required_spec_claims.clear();
        // Times are checked below, and to the second.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &self.key, &validation);
        let claims = claims.map_err(|error| error.to_string())?.claims;
        self.claims(&claims)?;
        let jti = claims
            .get("jti")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen
            .entry(jti.to_owned())
            .or_insert_with(|| token.to_owned());
        match first == token {
            true => Ok(()),
            false => Err("two tokens have the same jti".to_owned()),
        }
    }

    /// How many tokens were used.
    pub(super) fn tokens(&self) -> usize {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn claims(&self, claims: &Map<String, Value>) -> Result<(), String> {
        let number = |key: &str| claims.get(key).and_then(Value::as_i64);
        let text = |key: &str| claims.get(key).and_then(Value::as_str);
        if text("application_id") != Some(&self.application) {
            return Err("application_id is not the application's".to_owned());
        }
        if text("jti").is_none_or(str::is_empty) {
            return Err("jti is missing".to_owned());
        }
        let iat = number("iat").ok_or("iat is missing")?;
        let exp = number("exp").ok_or("exp is missing")?;
        let now = clock::wall().as_second();
        if !(30..=86_400).contains(&(exp - iat)) {
            return Err(format!("the token lives for {} s", exp - iat));
        }
        if iat > now + 5 || exp <= now {
            return Err("the token is of another time".to_owned());
        }
        let known = ["application_id", "iat", "jti", "exp", "nbf", "sub", "acl"];
        match claims.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(format!("unknown claim `{key}`")),
            None => Ok(()),
        }
    }
}
