//! Signature Version 4, from the verifier's side: the request, then the chain of signed frames.

use aws_smithy_types::event_stream::Message;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::http::request::Parts;
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Whose signatures are accepted, and where.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) access_key: String,
    pub(super) secret: String,
    pub(super) session_token: Option<String>,
    pub(super) region: String,
}

/// Why a request is refused: the service's error type and its message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// Verifies the signature of the request itself and gives its frames' verifier, seeded with it.
pub(super) fn verify_request(parts: &Parts, keys: &Keys, now: Timestamp) -> Result<Chain, Refused> {
    let authorization = header(parts, "authorization").ok_or_else(|| Refused {
        code: "MissingAuthenticationTokenException",
        message: "Missing Authentication Token".into(),
    })?;
    let claim = Claim::parse(&authorization).ok_or_else(|| Refused {
        code: "IncompleteSignatureException",
        message: "Authorization header is not AWS4-HMAC-SHA256 with Credential, SignedHeaders and Signature".into(),
    })?;
    let date = header(parts, "x-amz-date").unwrap_or_default();
    let at = parse_date(&date).ok_or_else(|| incomplete("x-amz-date is missing or malformed"))?;
    if at.duration_since(now).abs() > MAX_SKEW {
        return Err(mismatch(&format!("Signature expired: {date}")));
    }
    if claim.access_key != keys.access_key {
        return Err(invalid_token());
    }
    let token = header(parts, "x-amz-security-token");
    if token.as_deref() != keys.session_token.as_deref() {
        return Err(invalid_token());
    }
    let wanted_scope = scope(&date[..8], &keys.region);
    if claim.scope != wanted_scope {
        return Err(mismatch(&format!(
            "Credential should be scoped to {wanted_scope}"
        )));
    }
    for needed in ["host", "content-type", "x-amz-date"] {
        if !claim.signed_headers.split(';').any(|name| name == needed) {
            return Err(incomplete(&format!("{needed} must be a signed header")));
        }
    }
    if token.is_some()
        && !claim
            .signed_headers
            .split(';')
            .any(|name| name == "x-amz-security-token")
    {
        return Err(incomplete("x-amz-security-token must be a signed header"));
    }
    let canonical = canonical_request(parts, claim.signed_headers)?;
    let string_to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{wanted_scope}\n{}",
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let key = signing_key(&keys.secret, &date[..8], &keys.region);
    let expected = hex(&mac(&key, string_to_sign.as_bytes()));
    if !same(expected.as_bytes(), claim.signature.as_bytes()) {
        return Err(mismatch(
            "The request signature we calculated does not match the signature you provided",
        ));
    }
    Ok(Chain::new(keys, expected))
}

/// The chain of frame signatures: each one covers the one before.
pub(super) struct Chain {
    secret: String,
    region: String,
    previous: String,
    key: Option<(String, [u8; 32])>,
}

impl Chain {
    /// A chain whose first frame follows the signature `seed`, 64 hexadecimal digits.
    pub(super) fn new(keys: &Keys, seed: String) -> Self {
        Self {
            secret: keys.secret.clone(),
            region: keys.region.clone(),
            previous: seed,
            key: None,
        }
    }

    /// Verifies the next frame.
    pub(super) fn verify(&mut self, frame: &Message, now: Timestamp) -> Result<(), String> {
        let mut date = None;
        let mut signature = None;
        for header in frame.headers() {
            match header.name().as_str() {
                ":date" => date = header.value().as_timestamp().ok(),
                ":chunk-signature" => signature = header.value().as_byte_array().ok(),
                other => return Err(format!("unexpected header {other} on a signed frame")),
            }
        }
        let date = date.ok_or("no :date timestamp on a signed frame")?;
        let signature = signature.ok_or("no :chunk-signature bytes on a signed frame")?;
        if date.subsec_nanos() != 0 {
            return Err(":date is not in whole seconds".into());
        }
        let at =
            Timestamp::from_second(date.secs()).map_err(|_| ":date is out of range".to_owned())?;
        if at.duration_since(now).abs() > MAX_SKEW {
            return Err(format!(":date {at} is too far from the present"));
        }
        let expected = self.next(at, frame.payload());
        if !same(&expected, signature) {
            return Err("the event signature does not continue the chain".into());
        }
        Ok(())
    }

    /// The signature of the next frame, which becomes the previous one.
    pub(super) fn next(&mut self, at: Timestamp, payload: &[u8]) -> [u8; 32] {
        let stamp = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &stamp[..8];
        let key = match &self.key {
            Some((of, key)) if of == day => *key,
            _ => {
                let key = signing_key(&self.secret, day, &self.region);
                self.key = Some((day.to_owned(), key));
                key
            }
        };
        let string_to_sign = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{}\n{}\n{}\n{}",
            scope(day, &self.region),
            self.previous,
            hex(&Sha256::digest(date_header(at))),
            hex(&Sha256::digest(payload)),
        );
        let signature = mac(&key, string_to_sign.as_bytes());
        self.previous = hex(&signature);
        signature
    }
}

/// What an `authorization` header claims.
struct Claim<'a> {
    access_key: &'a str,
    scope: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let fields = text.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let (access_key, scope) = field("Credential")?.split_once('/')?;
        Some(Self {
            access_key,
            scope,
            signed_headers: field("SignedHeaders")?,
            signature: field("Signature")?,
        })
    }
}

fn canonical_request(parts: &Parts, signed_headers: &str) -> Result<String, Refused> {
    let mut text = format!("{}\n{}\n", parts.method, encode_path(parts.uri.path()));
    let mut query: Vec<&str> = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .collect();
    query.sort_unstable();
    text.push_str(&query.join("&"));
    text.push('\n');
    for name in signed_headers.split(';') {
        let value = header(parts, name)
            .ok_or_else(|| incomplete(&format!("signed header {name} is missing")))?;
        text.push_str(name);
        text.push(':');
        text.push_str(&value);
        text.push('\n');
    }
    // SDKs differ: the Rust one signs the hash of an empty body and sends no such header,
    // others send and sign the name of the scheme (Amazon Transcribe, streaming set-up).
    let payload = header(parts, "x-amz-content-sha256").unwrap_or_else(|| EMPTY_HASH.to_owned());
    if payload != EMPTY_HASH && payload != EVENTS_HASH {
        return Err(mismatch("x-amz-content-sha256 is of no event stream"));
    }
    text.push('\n');
    text.push_str(signed_headers);
    text.push('\n');
    text.push_str(&payload);
    Ok(text)
}

/// A header as it is signed: trimmed, runs of spaces collapsed, several values joined. HTTP/2
/// sends `host` as `:authority`.
fn header(parts: &Parts, name: &str) -> Option<String> {
    let mut values = parts.headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return match name {
            "host" => parts.uri.authority().map(|a| a.as_str().to_owned()),
            _ => None,
        };
    }
    let values: Vec<String> = values
        .map(|value| {
            String::from_utf8_lossy(value.as_bytes())
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    Some(values.join(","))
}

/// Encodes the path once more than it already is, as every service but S3 signs it.
fn encode_path(path: &str) -> String {
    let mut text = String::with_capacity(path.len() + 8);
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The encoded `:date` header, which a frame's signature covers: name, type 8, milliseconds.
fn date_header(at: Timestamp) -> [u8; 15] {
    let mut bytes = [0; 15];
    bytes[0] = 5;
    bytes[1..6].copy_from_slice(b":date");
    bytes[6] = 8;
    bytes[7..].copy_from_slice(&at.as_millisecond().to_be_bytes());
    bytes
}

fn scope(day: &str, region: &str) -> String {
    format!("{day}/{region}/bedrock/aws4_request")
}

fn signing_key(secret: &str, day: &str, region: &str) -> [u8; 32] {
    [region, "bedrock", "aws4_request"].iter().fold(
        mac(format!("AWS4{secret}").as_bytes(), day.as_bytes()),
        |key, part| mac(&key, part.as_bytes()),
    )
}

fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

fn same(a: &[u8], b: &[u8]) -> bool {
    bool::from(a.ct_eq(b))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    text
}

fn parse_date(text: &str) -> Option<Timestamp> {
    let date = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn mismatch(message: &str) -> Refused {
    Refused {
        code: "InvalidSignatureException",
        message: message.to_owned(),
    }
}

fn incomplete(message: &str) -> Refused {
    Refused {
        code: "IncompleteSignatureException",
        message: message.to_owned(),
    }
}

fn invalid_token() -> Refused {
    Refused {
        code: "UnrecognizedClientException",
        message: "The security token included in the request is invalid.".into(),
    }
}

/// AWS accepts a clock that is five minutes off.
const MAX_SKEW: SignedDuration = SignedDuration::from_mins(5);

const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const EVENTS_HASH: &str = "STREAMING-AWS4-HMAC-SHA256-EVENTS";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::bedrock::wire;
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue};
    use bytes::Bytes;

    fn keys() -> Keys {
        Keys {
            access_key: "AKIDEXAMPLE".into(),
            secret: "SECRETEXAMPLE".into(),
            session_token: None,
            region: "us-east-1".into(),
        }
    }

    fn chain() -> Chain {
        Chain::new(&keys(), "0".repeat(64))
    }

    fn new_year() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn frame(signature: [u8; 32], payload: Bytes) -> Message {
        let date = aws_smithy_types::DateTime::from_secs(new_year().as_second());
        Message::new(payload)
            .add_header(Header::new(
                ":chunk-signature",
                HeaderValue::ByteArray(signature.to_vec().into()),
            ))
            .add_header(Header::new(":date", HeaderValue::Timestamp(date)))
    }

    /// The vector was made with an independent implementation of the recipe.
    #[test]
    fn a_recorded_event_and_the_closing_frame_are_signed_as_recorded() {
        let mut chain = chain();
        let inner = wire::chunk(br#"{"event":{"sessionEnd":{}}}"#, wire::Order::Client);
        assert_eq!(inner.len(), 139);
        let first = chain.next(new_year(), &inner);
        assert_eq!(
            hex(&first),
            "55891b4396a441bc2d4d8b076964c1f48de367f34504ebc2f3f86898a528bd73"
        );
        let mut outer = Vec::new();
        write_message_to(&frame(first, inner), &mut outer).unwrap();
        assert_eq!(outer.len(), 222);
        assert_eq!(hex(&outer[..12]), "000000de00000043bc320e7b");
        assert_eq!(hex(&outer[218..]), "1a36b29d");

        let last = chain.next(new_year(), b"");
        let mut outer = Vec::new();
        write_message_to(&frame(last, Bytes::new()), &mut outer).unwrap();
        assert_eq!(
            hex(&outer),
            "0000005300000043f5447a58103a6368756e6b2d7369676e6174757265060020a0f47051cf1860372853\
             47749a06498808af7545bd87dedbe42062e2e40b52fc053a64617465080000019b76daa8003edcb66a"
        );
    }

    #[test]
    fn a_frame_out_of_its_place_in_the_chain_is_refused() {
        let first = chain().next(new_year(), b"one");
        let frame = frame(first, Bytes::from_static(b"one"));
        let mut chain = chain();
        assert_eq!(chain.verify(&frame, new_year()), Ok(()));
        assert!(chain.verify(&frame, new_year()).is_err());
    }

    #[test]
    fn a_frame_dated_ten_minutes_ago_is_refused() {
        let first = chain().next(new_year(), b"one");
        let frame = frame(first, Bytes::from_static(b"one"));
        let late = new_year() + SignedDuration::from_mins(10);
        assert!(chain().verify(&frame, late).is_err());
    }

    /// Nova checklist 2: what `AWS_BEARER_TOKEN_BEDROCK` makes of a request.
    #[test]
    fn a_bearer_token_is_no_signature() {
        for authorization in ["Bearer key", "AWS4-HMAC-SHA256 Credential=a", ""] {
            let request = hyper::Request::post("https://localhost/model/m/x")
                .header("authorization", authorization)
                .body(())
                .unwrap();
            let refused = verify_request(&request.into_parts().0, &keys(), new_year());
            let refused = refused.err().unwrap();
            assert_eq!(refused.code, "IncompleteSignatureException");
        }
    }

    /// Other SDKs sign the name of the scheme in place of a hash.
    #[test]
    fn a_request_may_sign_the_scheme_and_nothing_but_it() {
        let canonical = |hash| {
            let request = hyper::Request::post("https://localhost:1/model/m%3A0/x")
                .header("x-amz-content-sha256", hash)
                .body(())
                .unwrap();
            canonical_request(&request.into_parts().0, "host;x-amz-content-sha256")
        };
        assert_eq!(
            canonical(EVENTS_HASH).unwrap(),
            "POST\n/model/m%253A0/x\n\nhost:localhost:1\n\
             x-amz-content-sha256:STREAMING-AWS4-HMAC-SHA256-EVENTS\n\n\
             host;x-amz-content-sha256\nSTREAMING-AWS4-HMAC-SHA256-EVENTS"
        );
        assert!(canonical(&"0".repeat(64)).is_err());
    }

    #[test]
    fn an_encoded_path_is_encoded_again() {
        assert_eq!(encode_path("/model/a%3A0/x"), "/model/a%253A0/x");
    }
}
