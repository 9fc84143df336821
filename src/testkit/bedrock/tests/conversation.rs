//! Whole conversations with a conformant client.

use super::*;

fn two_sentences() -> Dialogue {
    Dialogue {
        caller: vec!["Are you open today?".into()],
        ..Dialogue::answering([Reply::of([("Yes.", 400), ("Until six.", 600)])])
    }
}

#[tokio::test]
async fn a_caller_who_asks_is_answered_and_the_session_closes_by_the_book() {
    let fake = scripted(SessionScript::converse(two_sentences())).await;
    let mut raw = Raw::open(&fake).await;
    raw.speak(SHORT).await;
    let events = raw
        .until(|event| event["event"]["textOutput"]["content"] == "Until six.")
        .await;
    let mut events = events;
    events.extend(raw.until(ends_turn).await);
    events.extend(raw.close().await);

    assert_eq!(fake.violations(), []);
    let report = fake.finished(1).await.remove(0);
    assert!(report.closed_by_the_book(), "{report:?}");
    assert_eq!(report.model, NOVA_2);
    let mut outline = outline(&events);
    outline.retain(|line| line != "usageEvent");
    assert_eq!(
        outline[..16],
        [
            "completionStart",
            "USER FINAL",
            "Are you open today?",
            "end TEXT PARTIAL_TURN",
            "ASSISTANT SPECULATIVE",
            "Yes.",
            "end TEXT PARTIAL_TURN",
            "start AUDIO",
            "audioOutput",
            "end AUDIO PARTIAL_TURN",
            "ASSISTANT SPECULATIVE",
            "Until six.",
            "end TEXT PARTIAL_TURN",
            "start AUDIO",
            "audioOutput",
            "end AUDIO END_TURN",
        ]
    );
    assert_eq!(
        outline[16..],
        [
            "ASSISTANT FINAL",
            "Yes.",
            "end TEXT PARTIAL_TURN",
            "ASSISTANT FINAL",
            "Until six.",
            "end TEXT END_TURN",
            "completionEnd",
        ]
    );
    assert_eq!(spoken(&events).len(), 32_000);
}

#[tokio::test]
async fn the_audio_of_a_reply_says_where_it_comes_from() {
    let fake = scripted(SessionScript::converse(two_sentences())).await;
    let mut raw = Raw::open(&fake).await;
    raw.speak(SHORT).await;
    let events = raw.until(ends_turn).await;
    let marks = Mark::find_all(&spoken(&events));
    assert_eq!(marks.len(), 16_000 / 5);
    for (at, mark) in marks.iter().enumerate() {
        assert_eq!((mark.session, mark.reply), (0, 0));
        assert_eq!(mark.position as usize, at * 5);
    }
}

#[tokio::test]
async fn caller_audio_arrives_bit_for_bit() {
    let fake = scripted(SessionScript::by_hand()).await;
    let raw = Raw::open(&fake).await;
    let pcm: Vec<u8> = (0..=255).cycle().take(12_800).collect();
    raw.send_all(pcm.chunks(640).map(audio)).await;
    raw.close().await;
    let session = fake.session(0).await;
    assert_eq!(session.pcm(), pcm);
    assert_eq!(session.report().audio_events, 20);
    let events = session.events();
    assert_eq!(
        events[6],
        json!({ "event": { "audioInput": { "events": 20, "bytes": 12_800 } } })
    );
    assert_eq!(events.len(), 10);
}

#[tokio::test]
async fn a_caller_who_speaks_over_a_reply_interrupts_it() {
    let reply = Reply::of([("A short one.", 1_000), ("A very long one.", 60_000)]);
    let fake = scripted(SessionScript::converse(Dialogue::answering([reply]))).await;
    let mut raw = Raw::open(&fake).await;
    raw.speak(SHORT).await;
    raw.until(says("A very long one.")).await;
    // The FINAL text of the first sentence means that the second is being spoken.
    raw.until(says("A short one.")).await;
    raw.audio(SHORT, 8_000).await;
    let after = raw
        .until(|event| event["event"]["contentEnd"]["stopReason"] == "INTERRUPTED")
        .await;
    let outline = outline(&after);
    assert_eq!(
        outline[outline.len() - 4..],
        [
            "end AUDIO END_TURN",
            "ASSISTANT FINAL",
            "{ \"interrupted\" : true }",
            "end TEXT INTERRUPTED",
        ]
    );
    let rest = raw.close().await;
    assert!(!rest.iter().any(says("A very long one.")));
    assert_eq!(fake.sessions()[0].interruptions, 1);
    assert_eq!(fake.violations(), []);
}

#[tokio::test]
async fn every_way_to_announce_an_interruption_is_the_one_asked_for() {
    let ways = [
        (Interruption::MarkerOnly, vec!["TEXT PARTIAL_TURN"], true),
        (Interruption::TextOnly, vec!["TEXT INTERRUPTED"], false),
        (Interruption::AudioOnly, vec![], false),
        (Interruption::All, vec!["TEXT INTERRUPTED"], true),
    ];
    for (way, text, marker) in ways {
        let fake = scripted(SessionScript::by_hand().quirks(Quirks {
            interruption: way,
            ..Quirks::default()
        }))
        .await;
        let mut raw = Raw::open(&fake).await;
        let session = fake.session(0).await;
        session.say("Long.", Duration::from_secs(60)).await;
        raw.until(|event| !event["event"]["audioOutput"].is_null())
            .await;
        session.interrupt().await;
        let events = raw
            .until(|event| !event["event"]["usageEvent"].is_null())
            .await;
        let stops = |kind: &str| {
            events
                .iter()
                .map(|event| &event["event"]["contentEnd"])
                .filter(|end| end["type"] == kind)
                .map(|end| format!("{kind} {}", end["stopReason"].as_str().unwrap()))
                .collect::<Vec<_>>()
        };
        let audio = match way {
            Interruption::AudioOnly | Interruption::All => "AUDIO INTERRUPTED",
            _ => "AUDIO END_TURN",
        };
        assert_eq!(stops("AUDIO"), [audio], "{way:?}");
        assert_eq!(stops("TEXT"), text, "{way:?}");
        let marked = events.iter().any(|event| {
            event["event"]["textOutput"]["content"]
                .as_str()
                .is_some_and(|text| text.contains("interrupted"))
        });
        assert_eq!(marked, marker, "{way:?}");
    }
}

/// Nova checklist 19
#[tokio::test]
async fn interactive_text_is_answered_after_a_little_audio_and_not_before() {
    let fake = scripted(SessionScript::converse(two_sentences())).await;
    let mut raw = Raw::open(&fake).await;
    raw.send_all(text_block("early", "USER", true, "Greet."))
        .await;
    raw.audio(Duration::from_millis(80), 0).await;
    raw.send_all(text_block("barely", "USER", true, "Greet."))
        .await;
    raw.until(ends_turn).await;
    raw.audio(Duration::from_millis(80), 0).await;
    raw.send_all(text_block("good", "USER", true, "Greet."))
        .await;
    raw.until(ends_turn).await;
    raw.close().await;
    assert_eq!(fake.sessions()[0].replies, 2);
    let rules: Vec<_> = fake.violations().iter().map(|v| v.rule).collect();
    assert_eq!(rules, [Rule::InteractiveText, Rule::InteractiveText]);
}

#[tokio::test]
async fn a_tool_call_waits_for_its_result() {
    let reply = Reply::of([("It is booked.", 200)]).after_tool("book", r#"{"day":"mon"}"#);
    let fake = scripted(SessionScript::converse(Dialogue::answering([reply]))).await;
    let mut raw = Raw::open(&fake).await;
    raw.speak(SHORT).await;
    let events = raw
        .until(|event| event["event"]["contentEnd"]["stopReason"] == "TOOL_USE")
        .await;
    let call = &events[events.len() - 2]["event"]["toolUse"];
    assert_eq!(call["toolName"], "book");
    assert_eq!(call["content"], r#"{"day":"mon"}"#);
    let id = call["toolUseId"].as_str().unwrap();
    raw.send_all(tool_block("t", id, r#"{"ok":true}"#)).await;
    raw.until(ends_turn).await;
    raw.close().await;
    assert_eq!(fake.violations(), []);
}

#[tokio::test]
async fn a_reply_may_be_made_from_the_results_of_its_tools() {
    let told = |results: &[Value]| {
        let at = results[0]["at"].as_str().unwrap_or_default();
        let all = format!("It is booked for {at}, {}.", results[1]["who"]);
        Reply::say(all, Duration::from_millis(200))
    };
    let reply = Reply::default().after_tool("book", "{}");
    let reply = reply.after_tool("look_up", "{}").and_then(told);
    let fake = scripted(SessionScript::converse(Dialogue::answering([reply]))).await;
    let mut raw = Raw::open(&fake).await;
    raw.speak(SHORT).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let events = raw
            .until(|event| event["event"]["contentEnd"]["stopReason"] == "TOOL_USE")
            .await;
        let call = &events[events.len() - 2]["event"]["toolUse"];
        ids.push(call["toolUseId"].as_str().unwrap().to_owned());
    }
    // The last one first: they are told apart all the same.
    raw.send_all(tool_block("t1", &ids[1], r#"{"who":7}"#))
        .await;
    raw.send_all(tool_block("t2", &ids[0], r#"{"at":"noon"}"#))
        .await;
    raw.until(says("It is booked for noon, 7.")).await;
    raw.until(ends_turn).await;
    raw.close().await;
    assert_eq!(fake.violations(), []);
}

#[tokio::test]
async fn a_test_can_play_the_service_by_hand() {
    let fake = scripted(SessionScript::by_hand()).await;
    let mut raw = Raw::open(&fake).await;
    let session = fake.session(0).await;
    session.user_said("Hello?").await;
    session.say("Hello!", Duration::from_millis(100)).await;
    session
        .emit(json!({ "event": { "userSpeechEnd": { "x": 1 } } }))
        .await;
    raw.until(says("Hello?")).await;
    raw.until(says("Hello!")).await;
    raw.until(|event| event["event"]["userSpeechEnd"]["x"] == 1)
        .await;
    raw.audio(SHORT, 0).await;
    raw.close().await;
    assert!(session.finished().await.closed_by_the_book());
    assert_eq!(fake.violations(), []);
}

#[tokio::test]
async fn awkward_habits_are_played_when_asked_for() {
    let fake = scripted(SessionScript::converse(two_sentences()).quirks(Quirks {
        no_completion_end: true,
        no_role: true,
        double_final: true,
        caller_in_pieces: true,
        ..Quirks::default()
    }))
    .await;
    let mut raw = Raw::open(&fake).await;
    raw.speak(SHORT).await;
    let mut events = raw.until(ends_turn).await;
    events.extend(raw.close().await);
    let outputs = |name: &str| {
        events
            .iter()
            .map(|event| event["event"][name].clone())
            .filter(|body| !body.is_null())
            .collect::<Vec<_>>()
    };
    assert!(outputs("completionEnd").is_empty());
    assert!(
        outputs("contentStart")
            .iter()
            .all(|body| body["role"].is_null())
    );
    let texts: Vec<_> = outputs("textOutput")
        .iter()
        .map(|body| body["content"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts[..4], ["Are", "you", "open", "today?"]);
    assert_eq!(texts.iter().filter(|text| *text == "Yes.").count(), 3);
}
