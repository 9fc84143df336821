//! How sessions end that are told to, and that are simply left.

use novavoice::testkit::bedrock::{Dialogue, Fault, Reply, When};

use super::*;

/// Nova Sonic checklist 45.
#[tokio::test]
async fn a_finished_session_is_closed_by_the_book() {
    let (fake, model) = both(quick()).await;
    let line = Line::open(&model).await;
    line.audio(Duration::from_millis(500), 0).await;
    line.finish().await;
    assert_eq!(model.open_sessions(), 0, "all is free when the events end");
    assert!(soon(fake.finished(1)).await[0].closed_by_the_book());
    assert_eq!(fake.violations(), []);
}

/// Nova Sonic checklist 45: what was said at the end is not lost.
#[tokio::test]
async fn the_last_words_come_after_finish() {
    let (fake, model) = scripted(SessionScript::converse(Dialogue {
        final_lag: Duration::from_secs(60),
        ..Dialogue::answering([Reply::of([("Good bye.", 500)])])
    }))
    .await;
    let mut line = Line::open(&model).await;
    line.speak().await;
    line.until(ended(1)).await;
    let rest = line.finish().await;
    assert_eq!(agent_said(&rest), ["Good bye."]);
    soon(fake.finished(1)).await;
}

/// Nova Sonic checklist 47.
#[tokio::test]
async fn a_session_that_was_never_fed_is_closed_by_the_book() {
    let (fake, model) = both(quick()).await;
    Line::open(&model).await.finish().await;
    assert!(soon(fake.finished(1)).await[0].closed_by_the_book());
    assert_eq!(fake.violations(), []);
}

/// Nova Sonic checklist 45 and 46: a hang-up in the middle of a reply.
#[tokio::test]
async fn a_dropped_session_is_closed_by_the_book_in_the_background() {
    let (fake, model) = scripted(SessionScript::converse(Dialogue::answering([Reply::of([
        ("A long sentence.", 20_000),
    ])])))
    .await;
    let mut line = Line::open(&model).await;
    line.speak().await;
    line.until(|event| matches!(event, ModelEvent::Audio(..)))
        .await;
    drop(line);
    assert!(soon(fake.finished(1)).await[0].closed_by_the_book());
    assert_eq!(fake.violations(), []);
    soon(async {
        while model.open_sessions() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Nova Sonic checklist 44 and 46: only one of the two channels is dropped.
#[tokio::test]
async fn a_session_without_a_listener_is_closed() {
    let (fake, model) = both(quick()).await;
    let line = Line::open(&model).await;
    line.speak().await;
    let Session { commands, events } = line.session;
    drop(events);
    assert!(soon(fake.finished(1)).await[0].closed_by_the_book());
    soon(commands.closed()).await;
}

/// Nova Sonic checklist 45 and 46: a service that does not end the stream is not waited for.
#[tokio::test]
async fn a_service_that_does_not_close_is_cut_off() {
    let fake = FakeBedrock::start(quick().on_session(|_| {
        SessionScript::default().fault(When::Audio(Duration::from_millis(200)), Fault::StallInput)
    }))
    .await
    .unwrap();
    let mut config = config();
    config.close_timeout = Duration::from_millis(300);
    let model = model(&fake, config).await;
    let line = Line::open(&model).await;
    line.audio(Duration::from_millis(400), 0).await;
    line.finish().await;
    assert_eq!(model.open_sessions(), 0);
}

#[tokio::test]
async fn many_sessions_come_and_go_and_leave_nothing() {
    let (fake, model) = both(quick()).await;
    let lines = futures::future::join_all((0..20).map(|_| Line::open(&model))).await;
    assert_eq!(model.open_sessions(), 20);
    for (at, line) in lines.into_iter().enumerate() {
        if at % 2 == 0 {
            line.finish().await;
        } else {
            drop(line);
        }
    }
    let sessions = soon(fake.finished(20)).await;
    assert!(sessions.iter().all(|session| session.closed_by_the_book()));
    assert_eq!(fake.violations(), []);
    assert_eq!(fake.open_sessions(), 0);
}
