//! Every fault reaches the SDK's user as it was measured to.

use aws_sdk_bedrockruntime::error::ProvideErrorMetadata as _;

use super::*;

/// A session that suffers `fault` after its first second of audio.
async fn suffering(fault: Fault) -> (FakeBedrock, Raw) {
    let fake = scripted(SessionScript::by_hand().fault(When::Audio(SHORT), fault)).await;
    let raw = Raw::open(&fake).await;
    raw.audio(SHORT, 0).await;
    (fake, raw)
}

#[tokio::test]
async fn a_refusal_is_a_typed_error_of_the_open() {
    for (refusal, status, code) in [
        (Refusal::access_denied(), 403, "AccessDeniedException"),
        (Refusal::not_found(), 404, "ResourceNotFoundException"),
        (Refusal::validation(), 400, "ValidationException"),
        (
            Refusal::quota_exceeded(),
            400,
            "ServiceQuotaExceededException",
        ),
        (Refusal::throttled(), 429, "ThrottlingException"),
        (Refusal::model_not_ready(), 429, "ModelNotReadyException"),
        (Refusal::model_error(), 424, "ModelErrorException"),
        (Refusal::model_timeout(), 408, "ModelTimeoutException"),
        (Refusal::internal(), 500, "InternalServerException"),
        (Refusal::unavailable(), 503, "ServiceUnavailableException"),
    ] {
        let fake = scripted(SessionScript::refuse(refusal.clone())).await;
        let error = Raw::open_with(&fake, NOVA_2, &opening())
            .await
            .err()
            .unwrap();
        assert_eq!(error.raw_response().unwrap().status().as_u16(), status);
        assert_eq!(error.code(), Some(code));
        assert_eq!(error.message(), Some(refusal.message.as_str()));
        // One attempt: the body cannot be replayed.
        let report = fake.finished(1).await.remove(0);
        assert_eq!(
            (report.refused, report.end),
            (Some(status), Some(End::Refused))
        );
        assert_eq!(fake.sessions().len(), 1);
    }
}

#[tokio::test]
async fn an_exception_is_a_typed_error_of_the_stream_and_then_its_end() {
    for exception in [
        Exception::model_timeout(),
        Exception::idle(),
        Exception::idle_in_older_words(),
        Exception::upstream_reset(),
        Exception::instability(),
        Exception::tool_parsing(),
        Exception::content_filter(),
        Exception::invalid_input(),
        Exception::history_over_limit(),
        Exception::model_stream_error(),
        Exception::internal(),
        Exception::throttling(),
        Exception::unavailable(),
        Exception::unknown(),
    ] {
        let (fake, mut raw) = suffering(Fault::Exception(exception.clone())).await;
        let error = raw.error().await.into_service_error();
        let named = match &error {
            DownError::InternalServerException(_) => "internalServerException",
            DownError::ModelStreamErrorException(error) => {
                assert_eq!(error.original_status_code(), Some(500));
                "modelStreamErrorException"
            }
            DownError::ValidationException(_) => "validationException",
            DownError::ThrottlingException(_) => "throttlingException",
            DownError::ModelTimeoutException(_) => "modelTimeoutException",
            DownError::ServiceUnavailableException(_) => "serviceUnavailableException",
            _ => "brandNewException",
        };
        assert_eq!(named, exception.kind);
        if named != "brandNewException" {
            assert!(error.message().unwrap().contains(&exception.message));
        }
        assert!(matches!(raw.next().await, Ok(None)));
        // The input stays open: the session does too, until the client lets go.
        assert_eq!(fake.open_sessions(), 1);
        drop(raw);
        let report = fake.finished(1).await.remove(0);
        assert_eq!(report.end, Some(End::Exception(exception)));
        assert_eq!(fake.violations(), []);
    }
}

#[tokio::test]
async fn an_early_end_of_the_stream_looks_like_a_normal_one() {
    let (fake, mut raw) = suffering(Fault::EndStream).await;
    raw.until(|event| !event["event"]["completionStart"].is_null())
        .await;
    assert!(matches!(raw.next().await, Ok(None)));
    // The input is refused within a frame or two.
    raw.input.as_ref().unwrap().closed().await;
    assert_eq!(fake.finished(1).await[0].end, Some(End::Fault));
}

#[tokio::test]
async fn a_stream_may_end_before_any_output() {
    let fake = scripted(SessionScript::by_hand().fault(When::Opened, Fault::EndStream)).await;
    let mut raw = Raw::open(&fake).await;
    assert!(matches!(raw.next().await, Ok(None)));
}

#[tokio::test]
async fn a_reset_is_an_io_error_that_repeats() {
    for fault in [Fault::ResetStream, Fault::ResetTcp] {
        let (fake, mut raw) = suffering(fault).await;
        let SdkError::DispatchFailure(error) = raw.error().await else {
            panic!("no dispatch failure")
        };
        assert!(error.is_io());
        assert!(matches!(
            raw.next().await,
            Err(SdkError::DispatchFailure(_))
        ));
        assert_eq!(fake.finished(1).await[0].end, Some(End::Fault));
    }
}

#[tokio::test]
async fn a_reset_may_come_in_place_of_the_headers() {
    let script = SessionScript::by_hand()
        .headers(Headers::Never)
        .fault(When::Inputs(2), Fault::ResetStream);
    let fake = scripted(script).await;
    let error = Raw::open_with(&fake, NOVA_2, &opening())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
}

#[tokio::test]
async fn a_corrupt_frame_is_a_response_error_and_then_silence() {
    let (fake, mut raw) = suffering(Fault::CorruptFrame).await;
    assert!(matches!(raw.error().await, SdkError::ResponseError(_)));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), raw.next())
            .await
            .is_err()
    );
    drop(raw);
    assert_eq!(fake.finished(1).await[0].end, Some(End::Fault));
}

#[tokio::test]
async fn a_truncated_frame_is_a_response_error_and_then_the_end() {
    let (_fake, mut raw) = suffering(Fault::TruncatedFrame).await;
    assert!(matches!(raw.error().await, SdkError::ResponseError(_)));
    assert!(matches!(raw.next().await, Ok(None)));
}

#[tokio::test]
async fn unknown_events_and_event_types_pass_by() {
    let fake = scripted(
        SessionScript::by_hand()
            .fault(When::Inputs(3), Fault::UnknownEvent)
            .fault(When::Inputs(4), Fault::UnknownEventType)
            .fault(
                When::Inputs(5),
                Fault::Emit(json!({ "event": { "mine": {} } })),
            ),
    )
    .await;
    let mut raw = Raw::open(&fake).await;
    let mut seen = raw.until(|event| !event["event"]["mine"].is_null()).await;
    seen.truncate(2);
    assert_eq!(
        seen,
        [
            json!({ "event": { "surpriseEvent": { "level": 3 } } }),
            json!("unknown")
        ]
    );
    raw.audio(SHORT, 0).await;
    raw.close().await;
    assert_eq!(fake.violations(), []);
}

#[tokio::test]
async fn a_session_lives_through_a_goaway_and_the_next_takes_another_connection() {
    let fake = scripted(SessionScript::by_hand().fault(When::Inputs(5), Fault::GoAway)).await;
    let client = Client::new(&fake.sdk_config().await);
    let mut events = opening();
    events.push(audio_start());
    let first = Raw::open_on(&client, NOVA_2, &events).await.unwrap();
    fake.session(0)
        .await
        .wait_until(|report| report.inputs >= 6)
        .await;
    let second = Raw::open_on(&client, NOVA_2, &events).await.unwrap();
    first.audio(SHORT, 0).await;
    first.close().await;
    second.audio(SHORT, 0).await;
    second.close().await;
    let reports = fake.finished(2).await;
    assert!(reports.iter().all(SessionReport::closed_by_the_book));
    assert_eq!(fake.violations(), []);
}

#[tokio::test]
async fn a_stalled_input_fills_up() {
    let (fake, raw) = suffering(Fault::StallInput).await;
    let session = fake.session(0).await;
    let before = session.report().inputs;
    // Far more than windows, channels and buffers hold: it can never all be sent.
    let endless = raw.audio(Duration::from_secs(600), 0);
    assert!(tokio::time::timeout(SHORT, endless).await.is_err());
    assert!(session.report().inputs - before < 100);
}

#[tokio::test]
async fn a_stalled_output_says_nothing_more() {
    let (fake, mut raw) = suffering(Fault::StallOutput).await;
    let session = fake.session(0).await;
    session.user_said("Hello?").await;
    raw.until(|event| !event["event"]["completionStart"].is_null())
        .await;
    assert!(
        tokio::time::timeout(Duration::from_millis(200), raw.next())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_session_ends_at_its_scaled_age_limit() {
    let fake = fake(Options {
        session_limit: Duration::from_secs(8),
        ..quick()
    })
    .await;
    let mut raw = Raw::open(&fake).await;
    assert!(
        raw.error()
            .await
            .into_service_error()
            .is_model_timeout_exception()
    );
    assert_eq!(fake.violations(), []);
    assert!(fake.sessions()[0].duration >= Duration::from_millis(400));
}

#[tokio::test]
async fn a_silent_input_ends_at_the_scaled_idle_limit() {
    let fake = fake(Options {
        idle_limit: Duration::from_secs(4),
        ..quick()
    })
    .await;
    let mut raw = Raw::open(&fake).await;
    raw.audio(SHORT, 0).await;
    let message = raw.validation().await;
    assert!(message.contains("Timed out waiting for audio bytes or interactive content"));
    assert_eq!(fake.violations()[0].rule, Rule::Idle);
}

#[tokio::test]
async fn a_fault_may_strike_at_a_time_at_a_reply_or_after_outputs() {
    for when in [
        When::After(Duration::from_secs(1)),
        When::Outputs(4),
        When::Reply(0),
        When::Opened,
    ] {
        let fake = scripted(
            SessionScript::default().fault(when, Fault::Exception(Exception::instability())),
        )
        .await;
        let mut raw = Raw::open(&fake).await;
        raw.speak(SHORT).await;
        assert!(
            raw.validation()
                .await
                .contains("System instability detected")
        );
    }
}

#[tokio::test]
async fn scripts_differ_by_session() {
    let fake = fake(quick().on_session(|index| match index {
        0 => SessionScript::refuse(Refusal::unavailable()),
        _ => SessionScript::by_hand(),
    }))
    .await;
    assert!(Raw::open_with(&fake, NOVA_2, &opening()).await.is_err());
    assert!(Raw::open_with(&fake, NOVA_2, &opening()).await.is_ok());
}
