//! What breaks, and what the user of a session learns of it.

use novavoice::{
    ProviderErrorKind as Kind,
    testkit::bedrock::{Dialogue, Exception, Fault, Reply, When},
};
use serde_json::json;

use super::*;

/// Nova Sonic checklist 40, 41 and 44: each exception has its meaning, and ends the session.
#[tokio::test]
async fn an_exception_ends_the_session_with_its_meaning() {
    for (exception, kind) in [
        (Exception::model_timeout(), Kind::Expired),
        (Exception::idle(), Kind::TimedOut),
        (Exception::idle_in_older_words(), Kind::TimedOut),
        (Exception::upstream_reset(), Kind::Unavailable),
        (Exception::instability(), Kind::Unavailable),
        (Exception::tool_parsing(), Kind::Unexpected),
        (Exception::content_filter(), Kind::Policy),
        (Exception::invalid_input(), Kind::Protocol),
        (Exception::history_over_limit(), Kind::Policy),
        (Exception::model_stream_error(), Kind::Unavailable),
        (Exception::internal(), Kind::Unavailable),
        (
            Exception::throttling(),
            Kind::Throttled { retry_after: None },
        ),
        (Exception::unavailable(), Kind::Unavailable),
        (Exception::unknown(), Kind::Unexpected),
    ] {
        let script = SessionScript::default().fault(
            When::Audio(Duration::from_millis(200)),
            Fault::Exception(exception.clone()),
        );
        let (fake, model) = scripted(script).await;
        let mut line = Line::open(&model).await;
        line.hum();
        let (_, error) = line.until_lost().await;
        assert_eq!(*error.kind(), kind, "{exception:?}: {error}");
        let detail = error.detail().unwrap().to_lowercase().replace(' ', "");
        assert!(detail.contains("requestid"), "{error}");
        // Both halves are let go, though the service left the input open.
        soon(fake.finished(1)).await;
        assert_eq!(model.open_sessions(), 0);
        assert_eq!(fake.sessions().len(), 1, "no retry of its own");
    }
}

/// Nova Sonic checklist 40: a broken protocol is nobody's luck, so the error says what went by.
#[tokio::test]
async fn an_error_about_the_protocol_tells_the_last_events_and_no_words() {
    let script = SessionScript::default().fault(
        When::Audio(Duration::from_millis(400)),
        Fault::Exception(Exception::invalid_input()),
    );
    let (_fake, model) = scripted(script).await;
    let mut line = Line::open(&model).await;
    line.hum();
    let (_, error) = line.until_lost().await;
    assert_eq!(*error.kind(), Kind::Protocol);
    let told = error.to_string();
    let order = [
        ">sessionStart",
        ">promptStart",
        ">contentStart(",
        ">textInput(",
        ">audioInput x",
    ];
    let places: Vec<_> = order.iter().map(|event| told.find(event)).collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{told}"
    );
    let (_, log) = told.split_once("received: ").expect("a log");
    let plain = |c: char| c.is_ascii_alphanumeric() || " ><()-_.".contains(c);
    assert!(log.chars().all(plain) && log.len() < 4_000, "{log}");
}

/// Nova Sonic checklist 41 and 44: however the transport breaks.
#[tokio::test]
async fn a_broken_transport_closes_the_session() {
    for fault in [
        Fault::EndStream,
        Fault::ResetStream,
        Fault::ResetTcp,
        Fault::CorruptFrame,
        Fault::TruncatedFrame,
    ] {
        let script =
            SessionScript::default().fault(When::Audio(Duration::from_millis(200)), fault.clone());
        let (fake, model) = scripted(script).await;
        let mut line = Line::open(&model).await;
        line.hum();
        let (_, error) = line.until_lost().await;
        assert_eq!(*error.kind(), Kind::Closed, "{fault:?}: {error}");
        assert_eq!(model.open_sessions(), 0);
        soon(fake.finished(1)).await;
        // The next session does not trust the connection.
        let next = Line::open(&model).await;
        assert_eq!(fake.connections(), 2, "{fault:?}");
        drop(next);
    }
}

/// Nova Sonic checklist 42: headers, and then the end.
#[tokio::test]
async fn a_stream_that_ends_at_once_is_closed_and_its_connection_left() {
    let (fake, model) = both(quick().on_session(|index| match index {
        0 => SessionScript::default().fault(When::Opened, Fault::EndStream),
        _ => SessionScript::default(),
    }))
    .await;
    let (events, error) = Line::open(&model).await.until_lost().await;
    assert_eq!(events, []);
    assert_eq!(*error.kind(), Kind::Closed);
    let mut line = Line::open(&model).await;
    line.speak().await;
    line.until(ended(1)).await;
    line.finish().await;
    let sessions = soon(fake.finished(2)).await;
    assert_ne!(sessions[0].connection, sessions[1].connection);
}

/// Nova Sonic checklist 23.
#[tokio::test]
async fn what_nobody_knows_does_no_harm() {
    let mut script = SessionScript::default();
    for fault in [
        Fault::UnknownEvent,
        Fault::UnknownEventType,
        Fault::Emit(json!({ "event": { "userSpeechEnd": {} } })),
        Fault::Emit(json!({ "event": { "textOutput": 7 } })),
        Fault::Emit(json!({ "no": "event" })),
    ] {
        script = script.fault(When::Audio(Duration::from_millis(200)), fault);
    }
    let (fake, model) = scripted(script).await;
    let mut line = Line::open(&model).await;
    line.speak().await;
    line.hum();
    line.until(ended(1)).await;
    line.finish().await;
    soon(fake.finished(1)).await;
    assert_eq!(fake.violations(), []);
}

/// A graceful GOAWAY: the session goes on, and the next one finds its own way.
#[tokio::test]
async fn a_connection_that_goes_away_is_not_missed() {
    let (fake, model) = both(quick().on_session(|index| match index {
        0 => SessionScript::default().fault(When::Opened, Fault::GoAway),
        _ => SessionScript::default(),
    }))
    .await;
    for _ in 0..2 {
        let mut line = Line::open(&model).await;
        line.speak().await;
        line.hum();
        line.until(ended(1)).await;
        line.finish().await;
    }
    soon(fake.finished(2)).await;
    assert_eq!(fake.violations(), []);
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn input_that_is_not_taken_times_out() {
    let fake = FakeBedrock::start(quick().on_session(|_| {
        SessionScript::default().fault(When::Audio(Duration::from_millis(200)), Fault::StallInput)
    }))
    .await
    .unwrap();
    let mut config = config();
    config.stall_timeout = Duration::from_millis(300);
    let model = model(&fake, config).await;
    let mut line = Line::open(&model).await;
    // As fast as it is taken, to fill the flow-control window.
    let commands = line.session.commands.clone();
    line.hum = Some(tokio::spawn(async move {
        while commands.send(audio(0)).await.is_ok() {}
    }));
    let (_, error) = line.until_lost().await;
    assert_eq!(*error.kind(), Kind::TimedOut, "{error}");
    assert_eq!(model.open_sessions(), 0);
}

#[tokio::test]
async fn a_reply_that_does_not_come_times_out() {
    let fake = FakeBedrock::start(quick().on_session(|_| {
        SessionScript::default().fault(When::Audio(Duration::from_millis(200)), Fault::StallOutput)
    }))
    .await
    .unwrap();
    let mut config = config();
    config.reply_timeout = Duration::from_millis(300);
    let model = model(&fake, config).await;
    let mut line = Line::open(&model).await;
    line.audio(Duration::from_millis(400), 0).await;
    line.text("Say something.").await;
    line.hum();
    let (_, error) = line.until_lost().await;
    assert_eq!(*error.kind(), Kind::TimedOut, "{error}");
    assert_eq!(model.open_sessions(), 0);
}

/// No reply is due to somebody who says nothing.
#[tokio::test]
async fn silence_of_both_sides_is_no_failure() {
    let fake = FakeBedrock::start(quick().on_session(|_| SessionScript::by_hand()))
        .await
        .unwrap();
    let mut config = config();
    config.reply_timeout = Duration::from_millis(100);
    let model = model(&fake, config).await;
    let mut line = Line::open(&model).await;
    let session = soon(fake.session(0)).await;
    line.hum();
    let ten_seconds = 320_000;
    soon(session.wait_until(|report| report.audio_bytes > ten_seconds)).await;
    line.finish().await;
    assert_eq!(fake.violations(), []);
}

#[tokio::test]
async fn words_that_nobody_answers_time_out() {
    let fake = FakeBedrock::start(quick().on_session(|_| SessionScript::by_hand()))
        .await
        .unwrap();
    let mut config = config();
    config.reply_timeout = Duration::from_millis(300);
    let model = model(&fake, config).await;
    let mut line = Line::open(&model).await;
    line.hum();
    let session = soon(fake.session(0)).await;
    session.user_said("Hello?").await;
    let (events, error) = line.until_lost().await;
    assert_eq!(caller_said(&events), ["Hello?"]);
    assert_eq!(*error.kind(), Kind::TimedOut);
}

#[tokio::test]
async fn a_user_who_does_not_listen_loses_the_session() {
    let fake = FakeBedrock::start(quick().on_session(|_| {
        SessionScript::converse(Dialogue {
            burst: 50.0,
            ..Dialogue::answering([Reply::of([("A very long story.", 120_000)])])
        })
    }))
    .await
    .unwrap();
    let mut config = config();
    config.stall_timeout = Duration::from_secs(1);
    let model = model(&fake, config).await;
    let mut line = Line::open(&model).await;
    line.speak().await;
    soon(fake.finished(1)).await;
    assert_eq!(model.open_sessions(), 0);
    // What was heard until then is still there, and the reason behind it.
    let (events, error) = line.until_lost().await;
    assert!(events.len() > 500);
    assert_eq!(*error.kind(), Kind::TimedOut);
}

/// A mistake of the program is named, not papered over.
#[tokio::test]
async fn audio_at_another_rate_than_agreed_is_refused() {
    let (fake, model) = both(quick()).await;
    let mut line = Line::open(&model).await;
    let frame = AudioFrame::silence(SampleRate::Hz8000);
    line.session
        .commands
        .send(ModelCommand::Audio(frame))
        .await
        .unwrap();
    let (_, error) = line.until_lost().await;
    assert_eq!(*error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("8000 Hz"), "{error}");
    soon(fake.finished(1)).await;
}

/// Nova Sonic checklist 40: the age limit.
#[tokio::test]
async fn a_session_that_grows_too_old_has_expired() {
    let (fake, model) = both(Options {
        session_limit: Duration::from_secs(3),
        ..quick()
    })
    .await;
    let mut line = Line::open(&model).await;
    line.hum();
    let (_, error) = line.until_lost().await;
    assert_eq!(*error.kind(), Kind::Expired);
    soon(fake.finished(1)).await;
    assert_eq!(fake.violations(), []);
}
