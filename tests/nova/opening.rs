//! How sessions open, and how they do not.

use novavoice::{
    ProviderErrorKind,
    model::Said,
    testkit::bedrock::{Headers, Refusal},
    transcript::Speaker,
};

use super::*;

/// Nova Sonic checklist 5.
#[tokio::test]
async fn a_session_opens_whenever_the_service_answers() {
    for headers in [Headers::AtOnce, Headers::FirstFrame, Headers::AfterSystem] {
        let (fake, model) = scripted(SessionScript::default().headers(headers)).await;
        Line::open(&model).await.finish().await;
        soon(fake.finished(1)).await;
        assert_eq!(fake.violations(), [], "{headers:?}");
    }
}

/// Nova Sonic checklist 6, and 46: a stream that is not wanted any more is not left open.
#[tokio::test]
async fn a_service_that_never_answers_is_given_up_in_time() {
    let fake = FakeBedrock::start(
        quick().on_session(|_| SessionScript::default().headers(Headers::Never)),
    )
    .await
    .unwrap();
    let mut config = config();
    config.open_timeout = Duration::from_millis(300);
    let model = model(&fake, config).await;
    let error = soon(model.open(seed())).await.unwrap_err();
    assert_eq!(*error.kind(), ProviderErrorKind::TimedOut);
    assert_eq!(model.open_sessions(), 0);
    assert!(soon(fake.finished(1)).await[0].reset_by_client());
    // The next try does not trust that connection.
    soon(model.open(seed())).await.unwrap_err();
    let sessions = soon(fake.finished(2)).await;
    assert_ne!(sessions[0].connection, sessions[1].connection);
}

/// Nova Sonic checklist 46: a hang-up while the session opens.
#[tokio::test]
async fn an_abandoned_opening_leaves_nothing_behind() {
    let (fake, model) = scripted(SessionScript::default().headers(Headers::Never)).await;
    let opening = tokio::spawn({
        let model = model.clone();
        async move { model.open(seed()).await }
    });
    soon(fake.session(0)).await;
    assert_eq!(model.open_sessions(), 1);
    opening.abort();
    assert!(soon(fake.finished(1)).await[0].reset_by_client());
    assert!(opening.await.unwrap_err().is_cancelled());
    assert_eq!(model.open_sessions(), 0);
}

/// Nova Sonic checklist 7.
#[tokio::test]
async fn two_calls_at_once_succeed_where_a_connection_takes_one_stream() {
    let options = Options {
        max_concurrent_streams: 1,
        ..quick()
    };
    let (fake, model) = both(options).await;
    let first = Line::open(&model).await;
    let second = Line::open(&model).await;
    assert_eq!(fake.connections(), 2);
    first.finish().await;
    second.finish().await;
    // Connections that are free again are used again.
    let third = Line::open(&model).await;
    third.finish().await;
    assert_eq!(fake.connections(), 2);
    assert_eq!(fake.violations(), []);
}

#[tokio::test]
async fn a_connection_is_shared_by_as_many_sessions_as_are_allowed() {
    let fake = FakeBedrock::start(quick()).await.unwrap();
    let mut config = config();
    config.sessions_per_connection = 2;
    let model = model(&fake, config).await;
    let lines = [
        Line::open(&model).await,
        Line::open(&model).await,
        Line::open(&model).await,
    ];
    assert_eq!(fake.connections(), 2);
    assert_eq!(model.open_sessions(), 3);
    for line in lines {
        line.finish().await;
    }
    assert_eq!(fake.violations(), []);
}

/// Nova Sonic checklist 12, 13 and 14: instructions and history of every shape.
#[tokio::test]
async fn history_of_any_shape_is_accepted() {
    let said = |speaker, text: &str| Said {
        speaker,
        text: text.to_owned(),
    };
    let long = "All of this was said before. ".repeat(4_000);
    let (fake, model) = both(quick()).await;
    for history in [
        vec![],
        vec![said(Speaker::Agent, "Good morning.")],
        vec![said(Speaker::Caller, "Hello?")],
        vec![
            said(Speaker::Agent, "Good morning."),
            said(Speaker::Agent, "{ \"interrupted\" : true }"),
            said(Speaker::Caller, "Hello?"),
            said(Speaker::Caller, "Is anyone there? ¿Hola? 你好"),
            said(Speaker::Agent, " "),
        ],
        (0..40)
            .map(|at| {
                let speaker = [Speaker::Caller, Speaker::Agent][at % 2];
                said(speaker, &long)
            })
            .collect(),
    ] {
        let mut seed = seed();
        seed.instructions = "Be kind. Straße €. ".repeat(2_000);
        seed.history = history;
        let line = Line::open_with(&model, seed).await;
        line.audio(Duration::from_millis(200), 0).await;
        line.finish().await;
    }
    soon(fake.finished(5)).await;
    assert_eq!(fake.violations(), []);
    assert!(fake.sessions().iter().all(|s| s.closed_by_the_book()));
}

/// Nova Sonic checklist 9: the first generation.
#[tokio::test]
async fn the_first_generation_is_spoken_to_in_its_own_way() {
    use novavoice::model::nova_sonic::Sensitivity;
    let fake = FakeBedrock::start(quick()).await.unwrap();
    for (id, text) in [
        ("amazon.nova-sonic-v1:0", false),
        ("amazon.nova-2-sonic-v1:0", true),
        ("amazon.nova-2-5-sonic", true),
    ] {
        let mut config = config();
        config.model_id = id.to_owned();
        config.endpointing = Some(Sensitivity::Low);
        let model = model(&fake, config).await;
        assert_eq!(model.capabilities().text_input, text);
        let mut line = Line::open(&model).await;
        line.speak().await;
        line.until(ended(1)).await;
        line.finish().await;
    }
    assert_eq!(fake.violations(), []);
    assert_eq!(fake.sessions()[0].model, "amazon.nova-sonic-v1:0");
}

/// Nova Sonic checklist 43, and 40 at the opening: one request each, and an id to ask Amazon about.
#[tokio::test]
async fn a_refusal_says_what_to_do_and_names_its_request() {
    let throttled = ProviderErrorKind::Throttled { retry_after: None };
    for (refusal, kind) in [
        (Refusal::access_denied(), ProviderErrorKind::Unauthorized),
        (Refusal::not_found(), ProviderErrorKind::NotFound),
        (Refusal::validation(), ProviderErrorKind::Invalid),
        (Refusal::quota_exceeded(), ProviderErrorKind::Invalid),
        (Refusal::throttled(), throttled),
        (Refusal::model_not_ready(), ProviderErrorKind::Unavailable),
        (Refusal::model_error(), ProviderErrorKind::Unavailable),
        (Refusal::model_timeout(), ProviderErrorKind::TimedOut),
        (Refusal::internal(), ProviderErrorKind::Unavailable),
        (Refusal::unavailable(), ProviderErrorKind::Unavailable),
        (
            Refusal::new(403, "UnrecognizedClientException", "The token is invalid."),
            ProviderErrorKind::Unauthorized,
        ),
    ] {
        let (fake, model) = scripted(SessionScript::refuse(refusal.clone())).await;
        let error = soon(model.open(seed())).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{refusal:?}");
        let detail = error.detail().unwrap();
        assert!(detail.contains(&refusal.message), "{detail}");
        assert!(detail.contains("request id"), "{detail}");
        assert_eq!(fake.sessions().len(), 1, "one request");
        assert_eq!(model.open_sessions(), 0);
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    let fake = FakeBedrock::start(quick()).await.unwrap();
    let model = model(&fake, config()).await;
    drop(fake);
    let error = soon(model.open(seed())).await.unwrap_err();
    assert!(error.kind().is_retryable(), "{error}");
    assert_eq!(model.open_sessions(), 0);
}

/// Nova Sonic checklist 2: what is signed with another secret is refused, and not tried again.
#[tokio::test]
async fn wrong_keys_are_unauthorized() {
    let fake = FakeBedrock::start(quick()).await.unwrap();
    let sdk = fake.sdk_config().await;
    let wrong = aws_sdk_bedrockruntime::config::Credentials::new("AK", "SK", None, None, "test");
    let sdk = sdk
        .into_builder()
        .credentials_provider(aws_sdk_bedrockruntime::config::SharedCredentialsProvider::new(wrong))
        .build();
    let model = NovaSonic::new(config(), &sdk);
    let error = soon(model.open(seed())).await.unwrap_err();
    assert_eq!(*error.kind(), ProviderErrorKind::Unauthorized, "{error}");
}

#[tokio::test]
async fn no_credentials_are_unauthorized_without_a_request() {
    let fake = FakeBedrock::start(quick()).await.unwrap();
    let none = aws_config::meta::credentials::CredentialsProviderChain::first_try(
        "nothing",
        aws_config::environment::EnvironmentVariableCredentialsProvider::new(),
    );
    let sdk = fake
        .sdk_config()
        .await
        .into_builder()
        .credentials_provider(aws_sdk_bedrockruntime::config::SharedCredentialsProvider::new(none))
        .build();
    let model = NovaSonic::new(config(), &sdk);
    let error = soon(model.open(seed())).await.unwrap_err();
    assert_eq!(*error.kind(), ProviderErrorKind::Unauthorized, "{error}");
    assert!(
        model
            .credentials_resolve(Duration::from_secs(1))
            .await
            .is_err()
    );
    assert_eq!(fake.sessions().len(), 0);
}

#[tokio::test]
async fn settings_that_the_service_would_refuse_are_refused_before() {
    let fake = FakeBedrock::start(quick()).await.unwrap();
    let mut config = config();
    config.temperature = 7.0;
    let model = model(&fake, config).await;
    let error = soon(model.open(seed())).await.unwrap_err();
    assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
    assert_eq!(fake.connections(), 0);
}
