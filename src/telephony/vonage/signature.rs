//! The signature of Vonage's webhooks, and of its media socket when the NCCO asks for one: a JWT
//! whose HMAC key is the account's signature secret and whose `payload_hash` seals the body.
//!
//! Source: Vonage "Webhooks" guide, section on signed webhooks. How old a token may be is not
//! published; [`VerifierConfig`] says what is assumed.

use std::{
    collections::{BTreeSet, HashMap},
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
            seen: Mutex::new(Seen::with_capacity(REMEMBERED)),
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

/// Tokens seen, each until it is too old to be believed anyway. Bounded: only what carries a good
/// signature gets here, and past the capacity the one that dies first is forgotten first.
struct Seen {
    capacity: usize,
    bodies: HashMap<[u8; 32], [u8; 32]>,
    by_death: BTreeSet<(i64, [u8; 32])>,
}

impl Seen {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            bodies: HashMap::new(),
            by_death: BTreeSet::new(),
        }
    }

    /// Whether this token was here before with this body; an error if with another one.
    fn note(
        &mut self,
        jti: &str,
        body: [u8; 32],
        until: i64,
        now: i64,
    ) -> Result<bool, SignatureError> {
        while self.by_death.first().is_some_and(|(dies, _)| *dies < now) {
            self.forget_first();
        }
        // Ids of any length take the same room.
        let id: [u8; 32] = Sha256::digest(jti).into();
        match self.bodies.get(&id) {
            Some(earlier) if *earlier == body => return Ok(true),
            Some(_) => return Err(SignatureError::Reused),
            None => {}
        }
        if self.bodies.len() >= self.capacity {
            self.forget_first();
        }
        self.bodies.insert(id, body);
        self.by_death.insert((until, id));
        Ok(false)
    }

    fn forget_first(&mut self) {
        if let Some((_, id)) = self.by_death.pop_first() {
            self.bodies.remove(&id);
        }
    }
}

const LONGEST_TOKEN: usize = 8 * 1024;

/// Over two hundred webhooks a second for five minutes, in some ten megabytes.
const REMEMBERED: usize = 65_536;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const SECRET: &str = "novavoice-test-signature-secret-0123456789";
    const BODY: &str = r#"{"from":"447700900000","to":"442079460000","uuid":"63f61863-4a51-4f6b-86e1-46edebcf9356","conversation_uuid":"CON-f972836a-550f-45fa-956c-12a2ab5b7d22","status":"answered","direction":"inbound","timestamp":"2026-01-01T12:00:00.000Z"}"#;
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3NjcyNjg4MDAsImp0aSI6ImM1YmE4ZjI0LTFhMTQtNGMxMC1iZmRmLTNmYmU4Y2U1MTFiNSIsImlzcyI6IlZvbmFnZSIsInBheWxvYWRfaGFzaCI6ImFkZTIxZDU4N2VlNjY2NDFkMGJkMDlmZjBhMWIxYzcwZjU1NDcwYTY5ODkyNGQ0MmZmNzZiZjk0MjM5MjY2NDkiLCJhcGlfa2V5IjoiYTFiMmMzZDQiLCJhcHBsaWNhdGlvbl9pZCI6ImFhYWFhYWFhLWJiYmItY2NjYy1kZGRkLTAxMjM0NTY3ODlhYiJ9.NhPGpPSoShWrjLYtkiZPSfo5J3wpowoI1KujHHSRvWI";
    const IAT: i64 = 1_767_268_800;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn verifier(secrets: &[&str]) -> Verifier {
        Verifier::new(VerifierConfig {
            secrets: secrets
                .iter()
                .map(|secret| Private::new((*secret).to_owned()))
                .collect(),
            api_key: Some("a1b2c3d4".to_owned()),
            application_ids: vec![
                "another".to_owned(),
                "aaaaaaaa-bbbb-cccc-dddd-0123456789ab".to_owned(),
            ],
            ..VerifierConfig::default()
        })
    }

    fn ours() -> Verifier {
        verifier(&[SECRET])
    }

    fn claims() -> Value {
        let hash: String = Sha256::digest(BODY)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        json!({"iat": IAT, "jti": "j1", "iss": "Vonage", "payload_hash": hash, "api_key": "a1b2c3d4"})
    }

    fn claims_with(key: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[key] = value;
        claims
    }

    fn claims_without(key: &str) -> Value {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(key);
        claims
    }

    fn signed(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())
            .unwrap()
            .chain_update(&message)
            .finalize();
        format!(
            "Bearer {message}.{}",
            URL_SAFE_NO_PAD.encode(mac.into_bytes())
        )
    }

    fn token(claims: &Value) -> String {
        signed(&json!({"alg": "HS256", "typ": "JWT"}), claims)
    }

    fn check(authorization: &str) -> Result<Verified, SignatureError> {
        ours().verify(Some(authorization), BODY.as_bytes(), at(IAT))
    }

    /// Vonage checklist 56.
    #[test]
    fn the_reference_vector_verifies() {
        assert_eq!(BODY.len(), 233);
        for scheme in ["Bearer", "bearer", "BEARER "] {
            let verified = check(&format!("{scheme} {TOKEN}")).unwrap();
            assert_eq!(verified.jti, "c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5");
            assert_eq!(verified.body_hash[..4], [0xad, 0xe2, 0x1d, 0x58]);
            assert!(!verified.repeated);
        }
    }

    /// Vonage checklist 56 and 57.
    #[test]
    fn any_changed_byte_of_body_or_token_is_refused() {
        let authorization = format!("Bearer {TOKEN}");
        for index in 0..BODY.len() {
            let mut body = BODY.as_bytes().to_vec();
            body[index] ^= 1;
            assert_eq!(
                ours().verify(Some(&authorization), &body, at(IAT)),
                Err(SignatureError::Body)
            );
        }
        let pretty: Value = serde_json::from_str(BODY).unwrap();
        let pretty = serde_json::to_string_pretty(&pretty).unwrap();
        assert_eq!(
            ours().verify(Some(&authorization), pretty.as_bytes(), at(IAT)),
            Err(SignatureError::Body)
        );
        for index in 0..TOKEN.len() {
            let other = if TOKEN.as_bytes()[index] == b'A' {
                "B"
            } else {
                "A"
            };
            let mut changed = TOKEN.to_owned();
            changed.replace_range(index..=index, other);
            assert!(check(&format!("Bearer {changed}")).is_err(), "at {index}");
        }
        assert_eq!(
            verifier(&["another secret"]).verify(Some(&authorization), BODY.as_bytes(), at(IAT)),
            Err(SignatureError::Signature)
        );
    }

    /// Vonage checklist 58.
    #[test]
    fn no_algorithm_but_hs256_exists() {
        for alg in ["none", "None", "RS256", "HS384", "HS512", "hs256", ""] {
            let token = signed(&json!({"alg": alg, "typ": "JWT"}), &claims());
            assert_eq!(check(&token), Err(SignatureError::Algorithm), "{alg}");
        }
        for header in [json!({}), json!({"alg": null}), json!({"alg": ["HS256"]})] {
            assert_eq!(
                check(&signed(&header, &claims())),
                Err(SignatureError::Algorithm)
            );
        }
        let unsigned = token(&claims());
        let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
        assert_eq!(check(unsigned), Err(SignatureError::Signature));
    }

    /// Vonage checklist 59.
    #[test]
    fn a_token_lives_from_thirty_seconds_ahead_to_three_hundred_seconds_behind() {
        let at_age = |age: i64| {
            let late = at(IAT + age) + SignedDuration::from_millis(900);
            ours().verify(Some(&token(&claims())), BODY.as_bytes(), late)
        };
        assert!(at_age(-30).is_ok());
        assert!(at_age(300).is_ok());
        assert_eq!(at_age(-31), Err(SignatureError::Ahead));
        assert_eq!(at_age(301), Err(SignatureError::Stale));
        for iat in [json!(null), json!("1767268800"), json!({})] {
            let token = token(&claims_with("iat", iat));
            assert_eq!(check(&token), Err(SignatureError::Malformed));
        }
        assert!(check(&token(&claims_with("iat", json!(1_767_268_800.5)))).is_ok());
        assert!(check(&token(&claims_with("iat", json!(i64::MIN)))).is_err());
        assert!(check(&token(&claims_with("iat", json!(1e300)))).is_err());
    }

    /// Vonage checklist 60.
    #[test]
    fn issuer_account_and_application_must_be_ours() {
        let wrong = [
            (claims_with("iss", json!("vonage")), SignatureError::Issuer),
            (claims_without("iss"), SignatureError::Issuer),
            (claims_with("api_key", json!("x")), SignatureError::ApiKey),
            (claims_without("api_key"), SignatureError::ApiKey),
            (
                claims_with("application_id", json!("x")),
                SignatureError::Application,
            ),
        ];
        for (claims, error) in wrong {
            assert_eq!(check(&token(&claims)), Err(error));
        }
        assert!(check(&token(&claims())).is_ok(), "without application");
        assert!(check(&token(&claims_with("application_id", json!("another")))).is_ok());

        let open = Verifier::new(VerifierConfig {
            secrets: vec![Private::new(SECRET.to_owned())],
            ..VerifierConfig::default()
        });
        let foreign = token(&claims_with("application_id", json!("x")));
        assert!(
            open.verify(Some(&foreign), BODY.as_bytes(), at(IAT))
                .is_ok()
        );
    }

    /// Vonage checklist 56: the hash in either case; contract: required wherever there is a body.
    #[test]
    fn a_body_needs_a_hash_and_no_body_needs_none() {
        let shouted = claims()["payload_hash"].as_str().unwrap().to_uppercase();
        assert!(check(&token(&claims_with("payload_hash", json!(shouted)))).is_ok());
        let bare = token(&claims_without("payload_hash"));
        assert_eq!(check(&bare), Err(SignatureError::Body));
        assert!(ours().verify(Some(&bare), b"", at(IAT)).is_ok());
    }

    /// Vonage checklist 61.
    #[test]
    fn a_repeated_token_is_a_retry_with_the_same_body_and_refused_with_another() {
        let verifier = ours();
        let first = token(&claims());
        let other = claims_with(
            "payload_hash",
            json!("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        );
        let verify = |token: &str, body: &str, second| {
            verifier
                .verify(Some(token), body.as_bytes(), at(second))
                .map(|verified| verified.repeated)
        };
        assert_eq!(verify(&first, BODY, IAT), Ok(false));
        assert_eq!(verify(&first, BODY, IAT + 300), Ok(true));
        assert_eq!(
            verify(&token(&other), "{}", IAT + 300),
            Err(SignatureError::Reused)
        );
        assert_eq!(
            verify(&first, BODY, IAT),
            Ok(true),
            "unharmed by the refusal"
        );
    }

    /// Contract, webhook refusals.
    #[test]
    fn a_refused_token_leaves_no_trace_and_an_id_is_required() {
        let verifier = ours();
        let good = token(&claims());
        let late = verifier.verify(Some(&good), BODY.as_bytes(), at(IAT + 301));
        assert_eq!(late, Err(SignatureError::Stale));
        let torn = verifier.verify(Some(&good), b"{}", at(IAT));
        assert_eq!(torn, Err(SignatureError::Body));
        let verified = verifier
            .verify(Some(&good), BODY.as_bytes(), at(IAT))
            .unwrap();
        assert!(!verified.repeated);

        assert_eq!(
            check(&token(&claims_without("jti"))),
            Err(SignatureError::NoId)
        );
        assert_eq!(
            check(&token(&claims_with("jti", json!("")))),
            Err(SignatureError::NoId)
        );
    }

    /// Vonage checklist 62.
    #[test]
    fn what_is_no_token_is_refused_and_nothing_prints_token_or_secret() {
        assert_eq!(
            ours().verify(None, BODY.as_bytes(), at(IAT)),
            Err(SignatureError::Missing)
        );
        for header in ["", "Bearer", "Basic YTpi", TOKEN] {
            assert_eq!(check(header), Err(SignatureError::NotBearer), "{header}");
        }
        let long = format!("Bearer {}.{TOKEN}", "A".repeat(LONGEST_TOKEN));
        for header in [
            "Bearer a",
            "Bearer a.b",
            "Bearer a.b.c.d",
            "Bearer ...",
            "Bearer é.ü.ß",
            long.as_str(),
        ] {
            assert_eq!(check(header), Err(SignatureError::Malformed), "{header}");
        }
        let wrong = check(&format!("Bearer {TOKEN}A")).unwrap_err();
        let printed = format!("{wrong} {wrong:?} {:?}", ours());
        assert!(!printed.contains(SECRET) && !printed.contains(&TOKEN[..20]));
    }

    /// Vonage checklist 63.
    #[test]
    fn the_second_secret_counts_while_secrets_rotate_and_an_empty_one_never() {
        let token = format!("Bearer {TOKEN}");
        let rotating = verifier(&["the new one", SECRET]);
        assert!(
            rotating
                .verify(Some(&token), BODY.as_bytes(), at(IAT))
                .is_ok()
        );
        for none in [verifier(&[]), verifier(&[""])] {
            assert_eq!(
                none.verify(Some(&token), BODY.as_bytes(), at(IAT)),
                Err(SignatureError::NoSecret)
            );
        }
    }

    /// Vonage checklist 64: the signature's part of it.
    #[test]
    fn an_upgrade_is_verified_without_a_body_and_spends_nothing() {
        let verifier = ours();
        let token = token(&claims());
        assert_eq!(verifier.verify_upgrade(Some(&token), at(IAT)), Ok(()));
        assert_eq!(verifier.verify_upgrade(Some(&token), at(IAT)), Ok(()));
        let webhook = verifier
            .verify(Some(&token), BODY.as_bytes(), at(IAT))
            .unwrap();
        assert!(!webhook.repeated);
        assert_eq!(
            verifier.verify_upgrade(Some(&token), at(IAT + 301)),
            Err(SignatureError::Stale)
        );
        assert_eq!(
            verifier.verify_upgrade(None, at(IAT)),
            Err(SignatureError::Missing)
        );
    }

    #[test]
    fn memory_is_bounded_in_number_and_in_time() {
        let mut seen = Seen::with_capacity(3);
        for (index, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let until = 100 + i64::try_from(index).unwrap();
            assert_eq!(seen.note(id, [0; 32], until, 0), Ok(false));
        }
        assert_eq!(seen.bodies.len(), 3);
        assert_eq!(
            seen.note("d", [1; 32], 103, 100),
            Err(SignatureError::Reused)
        );
        assert_eq!(
            seen.note("b", [0; 32], 101, 101),
            Ok(true),
            "the last second"
        );
        assert_eq!(seen.note("e", [0; 32], 400, 104), Ok(false));
        assert_eq!(seen.bodies.len(), 1);
        assert_eq!(seen.by_death.len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_that_is_not_signed_gets_in(header in ".{0,200}", body: Vec<u8>) {
            prop_assert!(ours().verify(Some(&header), &body, at(IAT)).is_err());
            prop_assert!(ours().verify(Some(&format!("Bearer {header}")), &body, at(IAT)).is_err());
        }
    }
}
