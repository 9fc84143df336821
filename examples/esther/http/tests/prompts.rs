//! Versions of the prompt over HTTP.

use super::*;

async fn send(router: &Router, path: &str, body: &Value, key: Option<&str>) -> Answer {
    let mut request = request("POST", path).header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let body = Body::from(body.to_string());
    ask(router, request.body(body).expect("a valid request")).await
}

#[tokio::test]
async fn a_version_never_changes_and_the_shipped_one_is_always_there() {
    let (_, router) = service(None);
    let shipped = get_from(&router, "/prompts/0").await.json();
    assert_eq!(get_from(&router, "/prompts/active").await.json(), shipped);
    let body = json!({
        "systemPrompt": " Be kind to {{lead.name|them}}.\r\n", "author": "Pat", "note": "kinder",
    });
    let saved = send(&router, "/prompts", &body, None).await;
    assert_eq!(saved.status, StatusCode::CREATED);
    assert_eq!(saved.header(header::LOCATION), "/prompts/1");
    let saved = saved.json();
    assert_eq!(saved["systemPrompt"], "Be kind to {{lead.name|them}}.");
    assert_eq!(saved["voicemail"], shipped["voicemail"], "what is left out");
    assert_eq!(
        (&saved["author"], &saved["note"]),
        (&json!("Pat"), &json!("kinder"))
    );
    assert!(
        saved["warnings"]
            .as_array()
            .is_some_and(|all| all.len() > 10)
    );
    let shown = get_from(&router, "/prompts/1").await.json();
    for (member, value) in shown.as_object().expect("members") {
        assert!(member == "active" || saved[member] == *value, "{member}");
    }
    // What an answer holds can be sent again.
    let mut again = shown;
    again["note"] = "the same".into();
    let again = send(&router, "/prompts", &again, None).await.json();
    assert_eq!(again["version"], 2);
    let listed = get_from(&router, "/prompts").await.json();
    let numbers: Vec<_> = listed["prompts"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|version| version["version"].clone())
        .collect();
    assert_eq!(numbers, [2, 1, 0]);
    assert_eq!(listed["active"]["version"], 0);
    assert_eq!(listed["history"], json!([]));
    let known = listed["placeholders"].as_array().expect("placeholders");
    let name = json!({"name": "lead.name", "type": "text", "field": "name"});
    assert!(known.contains(&name));
}

#[tokio::test]
async fn a_save_that_is_repeated_saves_once() {
    let (_, router) = service(None);
    let body = json!({"systemPrompt": "Be kind."});
    for _ in 0..3 {
        let saved = send(&router, "/prompts", &body, Some("a-key")).await;
        assert_eq!(saved.status, StatusCode::CREATED);
        assert_eq!(saved.json()["version"], 1);
    }
    let other = json!({"systemPrompt": "Be unkind."});
    let refused = send(&router, "/prompts", &other, Some("a-key")).await;
    refused.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
    let other = send(&router, "/prompts", &other, Some("another")).await;
    assert_eq!(other.json()["version"], 2);
    for odd in ["", &"k".repeat(129)] {
        let refused = send(&router, "/prompts", &body, Some(odd)).await;
        refused.is_problem(StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_prompt_is_told_at_once() {
    let (_, router) = service(None);
    let wrong = json!({
        "systemPrompt": "{{lead.nmae}}", "voicemail": 7, "screening": " ", "colour": "blue",
        "author": "x".repeat(101), "inboundFirstWords": "{{lead.known}}",
    });
    let answer = send(&router, "/prompts", &wrong, None).await;
    answer.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
    let told = answer.json()["problems"].as_array().map(Vec::len);
    assert_eq!(told, Some(6), "{:?}", answer.json());
    for wrong in [
        json!({}),
        json!([]),
        json!("Be kind."),
        json!({"voicemail": "Hello."}),
    ] {
        let answer = send(&router, "/prompts", &wrong, None).await;
        answer.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
    for path in [
        "/prompts/1",
        "/prompts/-1",
        "/prompts/+0",
        "/prompts/x",
        "/prompts/99999999999",
    ] {
        get_from(&router, path)
            .await
            .is_problem(StatusCode::NOT_FOUND);
        let path = format!("{path}/activate");
        let answer = ask(&router, empty(request("POST", &path))).await;
        answer.is_problem(StatusCode::NOT_FOUND);
    }
    let listed = get_from(&router, "/prompts").await.json();
    assert_eq!(listed["prompts"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn activating_and_going_back_are_told_and_kept() {
    let (_, router) = service(None);
    for words in ["One.", "Two."] {
        let body = json!({"systemPrompt": words});
        send(&router, "/prompts", &body, None).await;
    }
    let by = json!({"by": "Pat"});
    for (path, body, active) in [
        ("/prompts/1/activate", &by, 1),
        ("/prompts/1/activate", &by, 1),
        ("/prompts/2/activate", &by, 2),
        ("/prompts/rollback", &json!({"from": 1}), 2),
        ("/prompts/rollback", &json!({"from": 2}), 1),
        ("/prompts/rollback", &json!({"from": 2}), 1),
        ("/prompts/rollback", &Value::Null, 0),
    ] {
        let answer = send(&router, path, body, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.body);
        assert_eq!(answer.json()["version"], active, "{path}");
        let shown = get_from(&router, "/prompts/active").await.json();
        assert_eq!(shown["version"], active, "{path}");
    }
    let nowhere = ask(&router, empty(request("POST", "/prompts/rollback"))).await;
    nowhere.is_problem(StatusCode::CONFLICT);
    let history = get_from(&router, "/prompts").await.json()["history"].clone();
    let changes: Vec<_> = history
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| (change["version"].clone(), change["rolledBack"] == true))
        .collect();
    let expected = [(0, true), (1, true), (2, false), (1, false)];
    assert_eq!(
        changes,
        expected.map(|(version, back)| (json!(version), back))
    );
    for (path, wrong) in [
        ("/prompts/1/activate", json!({"by": 7})),
        ("/prompts/1/activate", json!([])),
        ("/prompts/rollback", json!({"from": "x"})),
    ] {
        let answer = send(&router, path, &wrong, None).await;
        answer.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn a_preview_shows_what_a_call_would_be_told() {
    let (app, router) = service(None);
    let phone = PhoneNumber::parse("2125550101").expect("a number");
    let lead = Lead::new(phone).with("name", "Pastor {{today}}\n\"Grace\"");
    app.leads.upsert(lead).await.expect("kept");
    let body = json!({
        "systemPrompt": "You call {{lead.name|them}} of {{lead.company|a church}}.",
        "outboundFirstWords": "Is this {{lead.name|the pastor}}?", "phone": "(212) 555-0101",
    });
    let shown = send(&router, "/prompts/preview", &body, None).await.json();
    let system = shown["systemPrompt"].as_str().expect("text");
    let expected = "You call Pastor {{today}} 'Grace' of a church.\n\nYou rang them.";
    assert!(system.starts_with(expected), "{system}");
    assert_eq!(shown["firstWords"], "Is this Pastor {{today}} 'Grace'?");
    assert_eq!(
        (&shown["version"], &shown["direction"]),
        (&Value::Null, &json!("outbound"))
    );
    assert!(
        shown["unknown"]
            .as_array()
            .is_some_and(|all| all.contains(&json!("lead.company")))
    );
    let sample =
        json!({"lead": {"name": "Pat", "phone": "none"}, "direction": "inbound", "version": 0});
    let shown = send(&router, "/prompts/preview", &sample, None)
        .await
        .json();
    assert_eq!(shown["version"], 0);
    let system = shown["systemPrompt"].as_str().expect("text");
    assert!(system.contains("the person's name: \"Pat\""), "{system}");
    let nobody = ask(&router, empty(request("POST", "/prompts/preview"))).await;
    assert_eq!(nobody.status, StatusCode::OK);
    for (wrong, status) in [
        (json!({"version": 9}), StatusCode::NOT_FOUND),
        (json!({"phone": "2125550199"}), StatusCode::NOT_FOUND),
        (json!({"phone": "nobody"}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"lead": "Pat"}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"direction": "up"}), StatusCode::UNPROCESSABLE_ENTITY),
        (
            json!({"systemPrompt": "{{x}}"}),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (json!({"colour": "blue"}), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = send(&router, "/prompts/preview", &wrong, None).await;
        answer.is_problem(status);
    }
    let listed = get_from(&router, "/prompts").await.json();
    assert_eq!(
        listed["prompts"].as_array().map(Vec::len),
        Some(1),
        "nothing is saved"
    );
}

#[tokio::test]
async fn a_campaign_asks_for_a_version_that_is_there() {
    let (_, router) = service(None);
    send(&router, "/prompts", &json!({"systemPrompt": "One."}), None).await;
    for (version, kept) in [
        (json!(1), "1"),
        (json!("1"), "1"),
        (json!(" 01 "), "1"),
        (json!(0), "0"),
    ] {
        let plan = json!({"name": "Spring", "promptVersion": version});
        let made = send(&router, "/campaigns", &plan, None).await;
        assert_eq!(made.status, StatusCode::CREATED, "{version}");
        assert_eq!(made.json()["plan"]["promptVersion"], kept);
    }
    for version in [
        json!(2),
        json!("spring"),
        json!(""),
        json!("+1"),
        json!(1.5),
        json!({}),
    ] {
        let plan = json!({"name": " ", "promptVersion": version});
        let refused = send(&router, "/campaigns", &plan, None).await;
        refused.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
        let told = refused.json()["detail"].as_str().expect("text").to_owned();
        assert!(told.contains("promptVersion"), "{version}: {told}");
    }
}
