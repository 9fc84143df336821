//! Conversations.

use novavoice::{
    model::Usage,
    testkit::bedrock::{Dialogue, Interruption, Mark, Quirks, Reply},
};

use super::*;

/// Nova Sonic checklist 1 to 4, 8, 10, 12, 13, 15, 20, 22 and 24.
#[tokio::test]
async fn a_caller_is_heard_and_answered() {
    let (fake, model) = scripted(SessionScript::converse(Dialogue {
        caller: vec!["Is it open today?".to_owned()],
        ..Dialogue::answering([Reply::of([("Yes, it is.", 800), ("Until six.", 600)])])
    }))
    .await;
    let mut line = Line::open(&model).await;
    line.speak().await;
    line.hum();
    let mut events = line.until(ended(1)).await;
    events.extend(
        line.until(|e| *e == ModelEvent::AgentSaid("Until six.".to_owned()))
            .await,
    );
    events.extend(line.finish().await);

    assert_eq!(caller_said(&events), ["Is it open today?"]);
    assert_eq!(captions(&events), ["Yes, it is.", "Until six."]);
    assert_eq!(agent_said(&events), ["Yes, it is.", "Until six."]);
    let pcm = heard(&events, 1);
    assert_eq!(RATE.duration_of(pcm.len()), Duration::from_millis(1_400));
    // Bit for bit and in order: the fake's audio says where each piece comes from.
    let marks = Mark::find_all(&pcm);
    assert!(
        marks
            .windows(2)
            .all(|two| two[0].position < two[1].position)
    );
    assert_eq!(marks.len() * 5, pcm.len() / 2);

    let mut used = Usage::default();
    for event in &events {
        if let ModelEvent::Usage(usage) = event {
            used += *usage;
        }
    }
    assert_eq!(used.output_speech_tokens, 1_400 / 40);
    assert!(used.input_speech_tokens >= 2_000 / 40);

    let sessions = soon(fake.finished(1)).await;
    assert_eq!(fake.violations(), []);
    assert!(sessions[0].closed_by_the_book());
    assert_eq!(model.open_sessions(), 0);
}

/// What the caller says arrives as it was said, at every rate.
#[tokio::test]
async fn audio_passes_bit_for_bit_at_every_rate() {
    for rate in SampleRate::ALL {
        let (fake, model) = both(quick()).await;
        let seed = SessionSeed::new(CallId::random(), "Listen.", rate);
        let line = Line::open_with(&model, seed).await;
        let sent: Vec<u8> = (0..rate.bytes_per_frame() * 7)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        for pcm in sent.chunks(rate.bytes_per_frame()) {
            let frame = AudioFrame::new(Bytes::copy_from_slice(pcm), rate);
            line.session
                .commands
                .send(ModelCommand::Audio(frame))
                .await
                .unwrap();
        }
        line.finish().await;
        let session = soon(fake.session(0)).await;
        soon(session.finished()).await;
        assert_eq!(session.pcm(), sent, "{rate}");
        assert_eq!(fake.violations(), []);
    }
}

/// Nova Sonic checklist 16 and 19: the model speaks first, told by text, before any audio came.
#[tokio::test]
async fn the_agent_speaks_first_when_it_is_told_to() {
    let (fake, model) = both(quick()).await;
    let mut line = Line::open(&model).await;
    line.text("Greet the caller.").await;
    let events = line.until(ended(1)).await;
    assert_eq!(captions(&events).len(), 2);
    assert!(!heard(&events, 1).is_empty());
    line.finish().await;
    soon(fake.finished(1)).await;
    assert_eq!(fake.violations(), []);
}

/// Nova Sonic checklist 16: text in the middle of flowing audio.
#[tokio::test]
async fn text_goes_between_two_pieces_of_audio() {
    let (fake, model) = both(quick()).await;
    let mut line = Line::open(&model).await;
    line.hum();
    for reply in 1..=3 {
        line.text(&format!("The caller pressed {reply}.\n\"Done\""))
            .await;
        line.until(ended(reply)).await;
    }
    line.finish().await;
    soon(fake.finished(1)).await;
    assert_eq!(fake.violations(), []);
}

/// Nova Sonic checklist 25, 26 and 28, in each way that the service announces it.
#[tokio::test]
async fn speaking_over_a_reply_interrupts_it_once() {
    for interruption in [
        Interruption::Usual,
        Interruption::MarkerOnly,
        Interruption::TextOnly,
        Interruption::AudioOnly,
        Interruption::All,
    ] {
        let script = SessionScript::converse(Dialogue {
            burst: 1.0,
            ..Dialogue::answering([
                Reply::of([("This takes a long time to say.", 600_000)]),
                Reply::of([("I am listening.", 500)]),
            ])
        })
        .quirks(Quirks {
            interruption,
            ..Quirks::default()
        });
        let (fake, model) = scripted(script).await;
        let mut line = Line::open(&model).await;
        line.speak().await;
        line.hum();
        line.until(|event| matches!(event, ModelEvent::Audio(..)))
            .await;
        line.stop_humming().await;
        line.speak().await;
        line.hum();
        let mut events = line.until(|event| *event == ModelEvent::Interrupted).await;
        let after = line.until(ended(2)).await;
        assert!(heard(&after, 1).is_empty(), "{interruption:?}");
        assert_eq!(
            RATE.duration_of(heard(&after, 2).len()),
            Duration::from_millis(500)
        );
        events.extend(after);
        events.extend(line.finish().await);
        assert_eq!(interruptions(&events), 1, "{interruption:?}");
        assert!(
            agent_said(&events).iter().all(|said| !said.contains('{')),
            "{interruption:?}"
        );
        soon(fake.finished(1)).await;
        assert_eq!(fake.violations(), []);
    }
}

/// Nova Sonic checklist 20, 22 and 23: habits of the service that change nothing.
#[tokio::test]
async fn odd_habits_of_the_service_make_no_difference() {
    for quirks in [
        Quirks {
            no_completion_end: true,
            ..Quirks::default()
        },
        Quirks {
            no_role: true,
            ..Quirks::default()
        },
        Quirks {
            double_final: true,
            ..Quirks::default()
        },
        Quirks {
            double_speculative: true,
            ..Quirks::default()
        },
        Quirks {
            echo_interactive: true,
            ..Quirks::default()
        },
        Quirks {
            caller_in_pieces: true,
            ..Quirks::default()
        },
    ] {
        let script = SessionScript::converse(Dialogue {
            caller: vec!["Good morning.".to_owned()],
            ..Dialogue::answering([Reply::of([("Yes.", 300), ("Yes.", 300)])])
        })
        .quirks(quirks.clone());
        let (fake, model) = scripted(script).await;
        let mut line = Line::open(&model).await;
        line.text("Greet the caller.").await;
        line.hum();
        let mut said = 0;
        let mut events = line
            .until(|event| {
                said += usize::from(matches!(event, ModelEvent::AgentSaid(_)));
                said == 2
            })
            .await;
        line.stop_humming().await;
        line.speak().await;
        line.hum();
        events.extend(line.until(ended(2)).await);
        events.extend(line.finish().await);
        assert_eq!(captions(&events), ["Yes."; 4], "{quirks:?}");
        assert_eq!(
            caller_said(&events).join(" "),
            "Good morning.",
            "{quirks:?}"
        );
        assert!(agent_said(&events)[..2] == ["Yes."; 2], "{quirks:?}");
        assert!(agent_said(&events).len() <= 4, "{quirks:?}");
        soon(fake.finished(1)).await;
        assert_eq!(fake.violations(), [], "{quirks:?}");
    }
}

/// Nova Sonic checklist 17 and 18: in real time, against a service that minds.
#[tokio::test]
async fn audio_in_real_time_goes_on_in_real_time() {
    let (fake, model) = both(Options {
        audio_gap: Duration::from_secs(1),
        ..Options::default()
    })
    .await;
    let line = Line::open(&model).await;
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..100 {
        beat.tick().await;
        line.session.commands.send(audio(0)).await.unwrap();
    }
    line.finish().await;
    let sessions = soon(fake.finished(1)).await;
    assert_eq!(fake.violations(), []);
    assert_eq!(
        RATE.duration_of(usize::try_from(sessions[0].audio_bytes).unwrap()),
        Duration::from_secs(2)
    );
    // Mostly two frames to an event; late beats come together and share one anyhow.
    assert!((50..=60).contains(&sessions[0].audio_events));
}
