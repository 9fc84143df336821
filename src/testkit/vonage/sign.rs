//! Webhook tokens as Vonage signs them, and as forgers do.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::{clock, private::Private};

/// Signs webhook bodies with an account's signature secret (Vonage guide "Signed webhooks":
/// HS256, claims `iat`, `jti`, `iss`, `payload_hash`, `api_key`, `application_id`).
#[derive(Clone, Debug)]
pub struct Signer {
    secret: Private<Vec<u8>>,
    api_key: String,
    application_id: Option<String>,
}

impl Signer {
    /// Signs with `secret` in the name of an account and, where given, an application.
    pub fn new(
        secret: impl Into<Vec<u8>>,
        api_key: impl Into<String>,
        application_id: Option<String>,
    ) -> Self {
        Self {
            secret: Private::new(secret.into()),
            api_key: api_key.into(),
            application_id,
        }
    }

    /// A valid token for `body`, issued now, with a fresh `jti`.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> String {
        self.token(body).build()
    }

    /// A valid token for `body` that can be spoilt before it is built.
    #[must_use]
    pub fn token(&self, body: &[u8]) -> Token {
        Token {
            algorithm: "HS256".to_owned(),
            secret: self.secret.clone(),
            claims: Claims {
                iat: clock::wall().as_second(),
                jti: Some(uuid::Uuid::new_v4().to_string()),
                iss: "Vonage".to_owned(),
                payload_hash: Some(payload_hash(body)),
                api_key: self.api_key.clone(),
                application_id: self.application_id.clone(),
            },
            corrupt: false,
        }
    }
}

/// A webhook token in the making. Everything can be overridden, to forge what a service must
/// refuse; building the same token twice gives the same text, which is a replay.
#[derive(Clone, Debug)]
pub struct Token {
    algorithm: String,
    secret: Private<Vec<u8>>,
    claims: Claims,
    corrupt: bool,
}

impl Token {
    /// Issued at `seconds` since 1970.
    #[must_use]
    pub fn issued_at(mut self, seconds: i64) -> Self {
        self.claims.iat = seconds;
        self
    }

    /// Issued this much earlier (to whole seconds): stale beyond 300 s.
    #[must_use]
    pub fn aged(mut self, by: Duration) -> Self {
        self.claims.iat = self.claims.iat.saturating_sub_unsigned(by.as_secs());
        self
    }

    /// Issued this much later (to whole seconds), as by a carrier whose clock is ahead.
    #[must_use]
    pub fn ahead(mut self, by: Duration) -> Self {
        self.claims.iat = self.claims.iat.saturating_add_unsigned(by.as_secs());
        self
    }

    /// Another `jti`, or none.
    #[must_use]
    pub fn id(mut self, jti: Option<&str>) -> Self {
        self.claims.jti = jti.map(str::to_owned);
        self
    }

    /// Another issuer than `Vonage`.
    #[must_use]
    pub fn issuer(mut self, iss: &str) -> Self {
        iss.clone_into(&mut self.claims.iss);
        self
    }

    /// Another account.
    #[must_use]
    pub fn api_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.claims.api_key);
        self
    }

    /// Another application, or none.
    #[must_use]
    pub fn application(mut self, id: Option<&str>) -> Self {
        self.claims.application_id = id.map(str::to_owned);
        self
    }

    /// Another `payload_hash`, or none.
    #[must_use]
    pub fn payload_hash(mut self, hash: Option<&str>) -> Self {
        self.claims.payload_hash = hash.map(str::to_owned);
        self
    }

    /// Another algorithm: `HS384` and `HS512` are signed truly, `none` not at all, and anything
    /// else carries an HS256 signature under a false name.
    #[must_use]
    pub fn algorithm(mut self, alg: &str) -> Self {
        alg.clone_into(&mut self.algorithm);
        self
    }

    /// Signed with another secret.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.secret = Private::new(secret.into());
        self
    }

    /// With one character of the signature changed.
    #[must_use]
    pub fn corrupt(mut self) -> Self {
        self.corrupt = true;
        self
    }

    /// The token: three base64url segments, without the `Bearer` before them.
    #[must_use]
    pub fn build(&self) -> String {
        let header = format!(r#"{{"alg":"{}","typ":"JWT"}}"#, self.algorithm);
        let claims = serde_json::to_vec(&self.claims).unwrap_or_default();
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let mut signature = self.signature(signed.as_bytes());
        if let (true, Some(first)) = (self.corrupt, signature.first_mut()) {
            *first ^= 0x80;
        }
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn signature(&self, signed: &[u8]) -> Vec<u8> {
        let secret = self.secret.reveal();
        match self.algorithm.as_str() {
            "none" => Vec::new(),
            "HS384" => mac::<Hmac<Sha384>>(secret, signed),
            "HS512" => mac::<Hmac<Sha512>>(secret, signed),
            _ => mac::<Hmac<Sha256>>(secret, signed),
        }
    }
}

/// Lower-case hex SHA-256 of a raw request body.
#[must_use]
pub fn payload_hash(body: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(body)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn mac<M: Mac + KeyInit>(secret: &[u8], signed: &[u8]) -> Vec<u8> {
    // HMAC takes keys of every length.
    <M as KeyInit>::new_from_slice(secret).map_or_else(
        |_| Vec::new(),
        |mut mac| {
            mac.update(signed);
            mac.finalize().into_bytes().to_vec()
        },
    )
}

/// In the order in which Vonage writes them.
#[derive(Clone, Debug, Serialize)]
struct Claims {
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    iss: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hash: Option<String>,
    api_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"from":"447700900000","to":"442079460000","uuid":"63f61863-4a51-4f6b-86e1-46edebcf9356","conversation_uuid":"CON-f972836a-550f-45fa-956c-12a2ab5b7d22","status":"answered","direction":"inbound","timestamp":"2026-01-01T12:00:00.000Z"}"#;
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3NjcyNjg4MDAsImp0aSI6ImM1YmE4ZjI0LTFhMTQtNGMxMC1iZmRmLTNmYmU4Y2U1MTFiNSIsImlzcyI6IlZvbmFnZSIsInBheWxvYWRfaGFzaCI6ImFkZTIxZDU4N2VlNjY2NDFkMGJkMDlmZjBhMWIxYzcwZjU1NDcwYTY5ODkyNGQ0MmZmNzZiZjk0MjM5MjY2NDkiLCJhcGlfa2V5IjoiYTFiMmMzZDQiLCJhcHBsaWNhdGlvbl9pZCI6ImFhYWFhYWFhLWJiYmItY2NjYy1kZGRkLTAxMjM0NTY3ODlhYiJ9.NhPGpPSoShWrjLYtkiZPSfo5J3wpowoI1KujHHSRvWI";

    fn signer() -> Signer {
        Signer::new(
            "novavoice-test-signature-secret-0123456789",
            "a1b2c3d4",
            Some("aaaaaaaa-bbbb-cccc-dddd-0123456789ab".to_owned()),
        )
    }

    fn vector() -> Token {
        signer()
            .token(BODY.as_bytes())
            .issued_at(1_767_268_800)
            .id(Some("c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5"))
    }

    /// Vonage checklist 56.
    #[test]
    fn a_token_equals_the_reference_vector_to_the_letter() {
        assert_eq!(BODY.len(), 233);
        assert_eq!(vector().build(), TOKEN);
    }

    #[test]
    fn a_forged_token_differs_from_the_genuine_one_where_it_says_so() {
        let part = |token: Token, at: usize| token.build().split('.').nth(at).map(str::to_owned);
        let genuine = |at| TOKEN.split('.').nth(at).map(str::to_owned);
        assert_eq!(part(vector().corrupt(), 1), genuine(1));
        assert_ne!(part(vector().corrupt(), 2), genuine(2));
        assert_eq!(part(vector().secret("another"), 1), genuine(1));
        assert_ne!(part(vector().secret("another"), 2), genuine(2));
        assert_eq!(part(vector().algorithm("none"), 2), Some(String::new()));
        assert_eq!(
            part(vector().algorithm("HS384"), 2).map(|s| s.len()),
            Some(64)
        );
        assert_ne!(part(vector().aged(Duration::from_secs(301)), 1), genuine(1));
    }

    #[test]
    fn an_empty_body_has_the_hash_of_nothing() {
        assert_eq!(
            payload_hash(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn a_signer_never_prints_its_secret() {
        assert!(!format!("{:?} {:?}", signer(), vector()).contains("0123456789\""));
        assert!(!format!("{:?}", signer()).contains("signature-secret"));
    }
}
