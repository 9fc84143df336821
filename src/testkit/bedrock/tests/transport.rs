//! TLS, HTTP/2, signatures, headers and connections.

use aws_sdk_bedrockruntime::{config::Credentials, error::ProvideErrorMetadata as _};

use super::*;

async fn refused_with(fake: &FakeBedrock, credentials: Credentials) -> String {
    let config = fake
        .sdk_config()
        .await
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    let error = Raw::open_on(&Client::new(&config), NOVA_2, &opening())
        .await
        .err()
        .unwrap();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 403);
    error.code().unwrap().to_owned()
}

/// Nova checklist 2
#[tokio::test]
async fn only_the_right_key_secret_and_token_open_a_session() {
    let fake = fake(Options {
        session_token: Some("token".into()),
        ..quick()
    })
    .await;
    let (key, secret) = fake.credentials();
    let token = Some("token".to_owned());
    let codes = [
        refused_with(
            &fake,
            Credentials::new("other", secret, token.clone(), None, "t"),
        )
        .await,
        refused_with(&fake, Credentials::new(key, "other", token, None, "t")).await,
        refused_with(&fake, Credentials::new(key, secret, None, None, "t")).await,
    ];
    assert_eq!(
        codes,
        [
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "UnrecognizedClientException",
        ]
    );
    assert!(
        fake.violations()
            .iter()
            .all(|v| v.rule == Rule::Authorization)
    );
    assert_eq!(fake.violations().len(), 3);
    let raw = Raw::open(&fake).await;
    raw.audio(SHORT, 0).await;
    raw.close().await;
    assert_eq!(fake.violations().len(), 3);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_fails_to_connect() {
    let (one, other) = (fake(quick()).await, fake(quick()).await);
    let config = one
        .sdk_config()
        .await
        .into_builder()
        .endpoint_url(other.endpoint())
        .build();
    let error = Raw::open_on(&Client::new(&config), NOVA_2, &opening())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, SdkError::DispatchFailure(_)));
    assert!(other.sessions().is_empty());
}

/// Nova checklist 5
#[tokio::test]
async fn headers_may_come_at_once_or_only_after_the_system_block() {
    for headers in [Headers::AtOnce, Headers::FirstFrame, Headers::AfterSystem] {
        let fake = scripted(SessionScript::by_hand().headers(headers)).await;
        let mut events = opening();
        events.push(audio_start());
        let raw = Raw::open_with(&fake, NOVA_2, &events).await.unwrap();
        raw.audio(SHORT, 0).await;
        raw.close().await;
        assert_eq!(fake.violations(), []);
    }
    let fake = scripted(SessionScript::by_hand().headers(Headers::AtOnce)).await;
    assert!(Raw::open_with(&fake, NOVA_2, &[]).await.is_ok());
}

/// Nova checklist 6
#[tokio::test]
async fn without_headers_an_open_waits_until_the_client_gives_up() {
    let fake = scripted(SessionScript::by_hand().headers(Headers::Never)).await;
    let events = opening();
    let open = Raw::open_with(&fake, NOVA_2, &events);
    assert!(tokio::time::timeout(SHORT, open).await.is_err());
    let report = fake.finished(1).await.remove(0);
    assert!(report.reset_by_client());
    assert!(!report.answered);
    assert_eq!(report.inputs, 5);
}

/// Nova checklist 7
#[tokio::test]
async fn past_the_stream_limit_of_a_connection_an_open_hangs() {
    let fake = fake(Options {
        max_concurrent_streams: 1,
        ..quick()
    })
    .await;
    let client = Client::new(&fake.sdk_config().await);
    let _first = Raw::open_on(&client, NOVA_2, &opening()).await.unwrap();
    let events = opening();
    let second = Raw::open_on(&client, NOVA_2, &events);
    assert!(tokio::time::timeout(SHORT, second).await.is_err());
    assert_eq!(fake.connections(), 1);
    assert!(Raw::open_with(&fake, NOVA_2, &opening()).await.is_ok());
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn one_session_more_than_the_quota_is_throttled() {
    let fake = fake(Options {
        max_sessions: Some(1),
        ..quick()
    })
    .await;
    let first = Raw::open(&fake).await;
    let error = Raw::open_with(&fake, NOVA_2, &opening())
        .await
        .err()
        .unwrap();
    assert_eq!(error.code(), Some("ThrottlingException"));
    first.audio(SHORT, 0).await;
    first.close().await;
    fake.finished(2).await;
    assert!(Raw::open_with(&fake, NOVA_2, &opening()).await.is_ok());
}

#[tokio::test]
async fn dropping_both_halves_resets_the_session() {
    let fake = fake(quick()).await;
    let raw = Raw::open(&fake).await;
    assert_eq!(fake.open_sessions(), 1);
    drop(raw);
    let report = fake.finished(1).await.remove(0);
    assert!(!report.closed_by_the_book());
    assert_eq!(fake.open_sessions(), 0);
}

#[tokio::test]
async fn the_written_authority_is_the_one_that_serves() {
    let fake = fake(quick()).await;
    let directory = tempfile::tempdir().unwrap();
    let path = fake.write_ca(directory.path()).unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), fake.ca_pem());
}

#[tokio::test]
async fn dropping_the_fake_ends_its_sessions() {
    let fake = fake(quick()).await;
    let mut raw = Raw::open(&fake).await;
    let session = fake.session(0).await;
    drop(fake);
    assert_eq!(session.finished().await.end, Some(End::Stopped));
    assert!(matches!(raw.error().await, SdkError::DispatchFailure(_)));
}

#[tokio::test]
async fn two_hundred_sessions_at_once_are_carried() {
    let fake = fake(Options {
        keep_audio: false,
        // A busy machine takes its time to open them all; none may count as idle.
        time_scale: 1.0,
        ..quick()
    })
    .await;
    // Few per connection: they share its window.
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::new(&fake.sdk_config().await));
    }
    let mut events = opening();
    events.push(audio_start());
    let calls = (0..200).map(|at| {
        let (client, events) = (&clients[at % 20], &events);
        async move {
            let mut raw = Raw::open_on(client, NOVA_2, events).await.unwrap();
            raw.speak(SHORT).await;
            let heard = raw.until(ends_turn).await;
            raw.close().await;
            heard.len()
        }
    });
    let heard = futures::future::join_all(calls).await;
    assert!(heard.iter().all(|events| *events > 30));
    let reports = fake.finished(200).await;
    assert!(reports.iter().all(SessionReport::closed_by_the_book));
    assert_eq!(fake.violations(), []);
    assert_eq!(fake.open_sessions(), 0);
}

#[tokio::test]
async fn a_client_that_never_reads_is_noted() {
    let fake = scripted(SessionScript::by_hand()).await;
    let raw = Raw::open(&fake).await;
    let session = fake.session(0).await;
    for _ in 0..6 {
        session.say("Endless.", Duration::from_secs(120)).await;
    }
    let noted = async {
        while fake.violations().is_empty() {
            session.user_said("Are you there?").await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), noted)
        .await
        .unwrap();
    assert_eq!(fake.violations()[0].rule, Rule::NotDrained);
    drop(raw);
}
