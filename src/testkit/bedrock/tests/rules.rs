//! Each rule, broken once: recorded, and answered in the service's words.

use super::*;

/// Sends `events` after a conformant opening and gives the rule that was broken and the answer.
async fn broken_by(events: impl IntoIterator<Item = Value>) -> (Rule, String) {
    let mut all = opening();
    all.extend(events);
    broken_from_the_start(NOVA_2, &all).await
}

async fn broken_from_the_start(model: &str, events: &[Value]) -> (Rule, String) {
    let fake = scripted(SessionScript::by_hand().headers(Headers::AtOnce)).await;
    let mut raw = Raw::open_with(&fake, model, events).await.unwrap();
    let message = raw.validation().await;
    let violations = fake.violations();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_eq!(violations[0].session, Some(0));
    (violations[0].rule, message)
}

/// With an `event` changed by `change` in place of the one of the same name.
fn changed(event: Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut event = event;
    let body = event["event"]
        .as_object_mut()
        .unwrap()
        .values_mut()
        .next()
        .unwrap();
    change(body);
    event
}

/// Nova checklist 8
#[tokio::test]
async fn session_start_and_prompt_start_come_first_and_once() {
    for events in [
        vec![prompt_start()],
        vec![session_start(), session_start()],
        vec![session_start(), audio_start()],
        vec![session_start(), prompt_start(), prompt_start()],
    ] {
        let (rule, message) = broken_from_the_start(NOVA_2, &events).await;
        assert_eq!(rule, Rule::Opening);
        assert!(message.contains("Invalid input request"));
    }
}

/// Nova checklist 9
#[tokio::test]
async fn turn_detection_is_nested_on_nova_2_and_absent_on_v1() {
    let flat = changed(session_start(), |body| {
        body["endpointingSensitivity"] = "HIGH".into();
    });
    let loud = changed(session_start(), |body| {
        body["turnDetectionConfiguration"]["endpointingSensitivity"] = "LOUD".into();
    });
    for (model, event) in [(NOVA_2, flat), (NOVA_2, loud), (NOVA_1, session_start())] {
        let (rule, message) = broken_from_the_start(model, &[event]).await;
        assert_eq!(rule, Rule::TurnDetection);
        assert!(message.contains("Invalid input request"));
    }
}

#[tokio::test]
async fn inference_settings_stay_in_range() {
    for (field, value) in [
        ("maxTokens", json!(0)),
        ("topP", json!(1.5)),
        ("temperature", json!("warm")),
        ("topK", json!(5)),
    ] {
        let event = changed(session_start(), |body| {
            body["inferenceConfiguration"][field] = value;
        });
        let (rule, _) = broken_from_the_start(NOVA_2, &[event]).await;
        assert_eq!(rule, Rule::Opening, "{field}");
    }
}

/// Nova checklist 10
#[tokio::test]
async fn the_output_format_has_seven_fields_with_allowed_values() {
    for (field, value) in [
        ("sampleRateHertz", json!(44_100)),
        ("sampleSizeBits", json!(8)),
        ("channelCount", json!(2)),
        ("encoding", json!("hex")),
        ("audioType", json!("MUSIC")),
        ("mediaType", json!("audio/wav")),
        ("volume", json!(11)),
    ] {
        let event = changed(prompt_start(), |body| {
            body["audioOutputConfiguration"][field] = value;
        });
        let (rule, _) = broken_from_the_start(NOVA_2, &[session_start(), event]).await;
        assert_eq!(rule, Rule::AudioOutput, "{field}");
    }
    let event = changed(prompt_start(), |body| {
        body["audioOutputConfiguration"]["voiceId"] = "hal".into();
    });
    let (rule, message) = broken_from_the_start(NOVA_2, &[session_start(), event]).await;
    assert_eq!(rule, Rule::AudioOutput);
    assert!(message.contains("hal"));
}

fn with_tools(change: impl FnOnce(&mut Value)) -> [Value; 2] {
    let prompt = changed(prompt_start(), |body| {
        body["toolUseOutputConfiguration"] = json!({ "mediaType": "application/json" });
        body["toolConfiguration"] = json!({
            "tools": [{ "toolSpec": {
                "name": "book",
                "description": "Books.",
                "inputSchema": { "json": "{\"type\":\"object\"}" },
            } }],
            "toolChoice": { "auto": {} },
        });
        change(body);
    });
    [session_start(), prompt]
}

/// Nova checklist 11
#[tokio::test]
async fn tools_have_schemas_that_are_texts() {
    let schema = "/toolConfiguration/tools/0/toolSpec/inputSchema/json";
    let broken: [fn(&mut Value, &str); 4] = [
        |body, path| *body.pointer_mut(path).unwrap() = json!({ "type": "object" }),
        |body, path| *body.pointer_mut(path).unwrap() = json!("not json"),
        |body, _| {
            body.as_object_mut()
                .unwrap()
                .remove("toolUseOutputConfiguration");
        },
        |body, _| body["toolConfiguration"]["toolChoice"] = json!({ "none": {} }),
    ];
    for change in broken {
        let events = with_tools(|body| change(body, schema));
        let (rule, _) = broken_from_the_start(NOVA_2, &events).await;
        assert_eq!(rule, Rule::Tools);
    }
    let fake = scripted(SessionScript::by_hand()).await;
    let mut events = with_tools(|_| ()).to_vec();
    events.extend(text_block("system", "SYSTEM", false, "Book."));
    events.push(audio_start());
    let raw = Raw::open_with(&fake, NOVA_2, &events).await.unwrap();
    raw.audio(SHORT, 0).await;
    raw.close().await;
    assert_eq!(fake.violations(), []);
}

/// Nova checklist 12
#[tokio::test]
async fn one_system_block_comes_first() {
    let early = [session_start(), prompt_start(), audio_start()];
    let (rule, message) = broken_from_the_start(NOVA_2, &early).await;
    assert_eq!(rule, Rule::System);
    assert!(message.contains("First content must have SYSTEM role"));

    let (rule, message) = broken_by(text_block("again", "SYSTEM", false, "And be kind.")).await;
    assert_eq!(rule, Rule::System);
    assert!(message.contains("Duplicate SYSTEM content"));
}

/// Nova checklist 13
#[tokio::test]
async fn blocks_have_fresh_names_and_matching_parts() {
    let wrong = |events: Vec<Value>| async move {
        let (rule, message) = broken_by(events).await;
        assert_eq!(rule, Rule::Block);
        assert!(message.contains("Invalid input request"));
    };
    wrong(vec![text_start("system", "USER", false)]).await;
    wrong(vec![text_start("h", "USER", false), text_input("x", "Hi")]).await;
    wrong(vec![text_input("h", "Hi")]).await;
    wrong(vec![content_end("h")]).await;
    wrong(vec![text_start("h", "USER", false), audio_start()]).await;
    wrong(vec![text_start("h", "BOSS", false)]).await;
    wrong(vec![changed(text_start("h", "USER", false), |body| {
        body["promptName"] = "q".into();
    })])
    .await;
}

/// Nova checklist 47
#[tokio::test]
async fn content_without_data_cannot_end() {
    for events in [
        vec![text_start("h", "USER", false), content_end("h")],
        vec![audio_start(), content_end("audio")],
    ] {
        let (rule, message) = broken_by(events).await;
        assert_eq!(rule, Rule::EmptyContent);
        assert!(message.contains("Cannot end content"));
    }
}

/// Nova checklist 14
#[tokio::test]
async fn history_begins_with_the_user_and_stays_within_its_limits() {
    let (rule, message) = broken_by(text_block("h", "ASSISTANT", false, "Hello.")).await;
    assert_eq!(rule, Rule::History);
    assert!(message.contains("First message in chat history should not be Assistant"));

    let (rule, message) = broken_by(text_block("h", "USER", true, "Hello.")).await;
    assert_eq!(rule, Rule::History);
    assert!(message.contains("Invalid input request"));

    let (rule, message) = broken_by(text_block("h", "USER", false, &"x".repeat(51_201))).await;
    assert_eq!(rule, Rule::History);
    assert!(message.contains("Chat history is over max limit"));

    let long = "x".repeat(51_200);
    let five = (0..5).flat_map(|at| {
        let role = if at % 2 == 0 { "USER" } else { "ASSISTANT" };
        text_block(&format!("h{at}"), role, false, &long)
    });
    let (rule, message) = broken_by(five).await;
    assert_eq!(rule, Rule::History);
    assert!(message.contains("Chat history is over max limit"));

    let late = [audio_start(), audio(&[0, 0])]
        .into_iter()
        .chain(text_block("h", "USER", false, "Hello."));
    let (rule, message) = broken_by(late).await;
    assert_eq!(rule, Rule::History);
    assert!(message.contains("Chat history should be sent completely"));
}

/// Nova checklist 14
#[tokio::test]
async fn history_that_the_service_bears_is_noted_all_the_same() {
    let fake = scripted(SessionScript::by_hand()).await;
    let mut events = opening();
    events.extend(text_block("h1", "USER", false, "One."));
    events.extend(text_block("h2", "USER", false, "Two."));
    events.extend(text_block(
        "h3",
        "ASSISTANT",
        false,
        "{\"interrupted\": true}",
    ));
    events.push(audio_start());
    let raw = Raw::open_with(&fake, NOVA_2, &events).await.unwrap();
    raw.audio(SHORT, 0).await;
    raw.close().await;
    let rules: Vec<_> = fake.violations().iter().map(|v| v.rule).collect();
    assert_eq!(rules, [Rule::History, Rule::History]);
}

/// Nova checklist 15
#[tokio::test]
async fn audio_is_one_container_of_whole_samples() {
    let second = changed(audio_start(), |body| body["contentName"] = "more".into());
    let passive = changed(audio_start(), |body| body["interactive"] = false.into());
    let named = changed(audio(&[0, 0]), |body| body["contentName"] = "x".into());
    let noise = changed(audio(&[0, 0]), |body| body["content"] = "%".into());
    for events in [
        vec![audio_start(), second],
        vec![passive],
        vec![audio_start(), audio(&[1, 2, 3])],
        vec![audio_start(), audio(&[])],
        vec![audio_start(), named],
        vec![audio_start(), noise],
    ] {
        let (rule, message) = broken_by(events).await;
        assert_eq!(rule, Rule::AudioContainer);
        assert!(message.contains("Invalid input request"));
    }
    let (rule, message) = broken_by([audio(&[0, 0])]).await;
    assert_eq!(rule, Rule::AudioContainer);
    assert!(message.contains("Chat history should be sent completely"));
}

/// Nova checklist 16
#[tokio::test]
async fn no_audio_comes_inside_a_text_block() {
    let (rule, message) = broken_by([
        audio_start(),
        audio(&[0; 3_200]),
        text_start("x", "USER", true),
        audio(&[0, 0]),
    ])
    .await;
    assert_eq!(rule, Rule::AudioInBlock);
    assert!(message.contains("Chat history should be sent completely"));
}

/// A session that has called a tool, and the id of the call.
async fn calling() -> (FakeBedrock, Raw, String) {
    let fake = scripted(SessionScript::by_hand()).await;
    let mut raw = Raw::open(&fake).await;
    let reply = Reply::of([("Done.", 100)]).after_tool("book", "{}");
    fake.session(0).await.reply(reply).await;
    let events = raw
        .until(|event| event["event"]["contentEnd"]["stopReason"] == "TOOL_USE")
        .await;
    let id = &events[events.len() - 2]["event"]["toolUse"]["toolUseId"];
    let id = id.as_str().unwrap().to_owned();
    (fake, raw, id)
}

/// Nova checklist 30
#[tokio::test]
async fn a_tool_result_is_a_json_object_for_a_known_call_once() {
    for (result, twice, expected) in [
        ("plain text", false, "Tool Response parsing error"),
        ("[1]", false, "Tool Response parsing error"),
        ("{}", true, "Invalid input request"),
    ] {
        let (fake, mut raw, id) = calling().await;
        raw.send_all(tool_block("t1", &id, result)).await;
        if twice {
            raw.send_all(tool_block("t2", &id, result)).await;
        }
        assert!(raw.validation().await.contains(expected), "{result}");
        assert_eq!(fake.violations()[0].rule, Rule::ToolResult);
    }
    let unknown = [audio_start()]
        .into_iter()
        .chain(tool_block("t", "nobody", "{}"));
    let (rule, _) = broken_by(unknown).await;
    assert_eq!(rule, Rule::ToolResult);
}

/// Nova checklist 30
#[tokio::test]
async fn a_call_that_is_never_answered_is_noted_at_the_end() {
    for answer in [true, false] {
        let (fake, raw, id) = calling().await;
        // The service gives a call the time that it needs to reach its client.
        tokio::time::sleep(Duration::from_millis(600)).await;
        if answer {
            raw.send_all(tool_block("t1", &id, "{}")).await;
        }
        raw.send_all([audio(&[0, 0])]).await;
        raw.close().await;
        let rules: Vec<_> = fake.violations().iter().map(|breach| breach.rule).collect();
        assert_eq!(rules.contains(&Rule::ToolResult), !answer, "{rules:?}");
    }
}

/// Nova checklist 45
#[tokio::test]
async fn a_close_out_of_order_is_refused() {
    for (events, expected) in [
        (
            vec![audio_start(), audio(&[0, 0]), prompt_end()],
            "All contents must be closed",
        ),
        (vec![prompt_end()], "At least one audio content"),
        (vec![session_end()], "Invalid input request"),
    ] {
        let (rule, message) = broken_by(events).await;
        assert_eq!(rule, Rule::Close);
        assert!(message.contains(expected), "{message}");
    }
}

/// Nova checklist 45
#[tokio::test]
async fn an_input_that_ends_without_its_closing_events_is_refused() {
    let fake = scripted(SessionScript::by_hand()).await;
    let mut raw = Raw::open(&fake).await;
    raw.audio(SHORT, 0).await;
    raw.input = None;
    assert!(raw.validation().await.contains("were not closed: [p]"));
    assert_eq!(fake.violations()[0].rule, Rule::Close);
    let report = fake.finished(1).await.remove(0);
    assert!(!report.closed_by_the_book());
    assert!(report.closing.end_stream && report.closing.empty_frame);
}

#[tokio::test]
async fn an_event_that_does_not_exist_is_refused() {
    let (rule, _) = broken_by([json!({ "event": { "connectionEnd": {} } })]).await;
    assert_eq!(rule, Rule::Payload);
}

#[tokio::test]
async fn text_during_a_session_is_noted_on_v1() {
    let fake = scripted(SessionScript::by_hand()).await;
    let plain = changed(session_start(), |body| {
        body.as_object_mut()
            .unwrap()
            .remove("turnDetectionConfiguration");
    });
    let mut events = vec![plain, prompt_start()];
    events.extend(text_block("system", "SYSTEM", false, "Speak."));
    events.extend([audio_start(), audio(&[0; 6_400])]);
    events.extend(text_block("x", "USER", true, "Greet."));
    let raw = Raw::open_with(&fake, NOVA_1, &events).await.unwrap();
    raw.close().await;
    assert_eq!(fake.violations().len(), 1);
    assert_eq!(fake.violations()[0].rule, Rule::InteractiveText);
}
