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

proptest! {
    #[test]
    fn nothing_that_is_not_signed_gets_in(header in ".{0,200}", body: Vec<u8>) {
        prop_assert!(ours().verify(Some(&header), &body, at(IAT)).is_err());
        let bearer = format!("Bearer {header}");
        prop_assert!(ours().verify(Some(&bearer), &body, at(IAT)).is_err());
    }
}
