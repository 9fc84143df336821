//! Settings of the carrier's account over the API.

use super::*;

async fn configure(router: &Router, kind: &str, body: impl Into<Body>) -> Answer {
    let request = request("POST", "/configure").header(header::CONTENT_TYPE, kind);
    ask(router, request.body(body.into()).expect("a valid request")).await
}

#[tokio::test]
async fn bodies_that_are_no_settings_are_refused_without_repeating_them() {
    let (_, router) = service(None);
    let json = "application/json";
    let key = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----";
    let cases = [
        (
            "text/plain",
            "{}".to_owned(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            json,
            "{\"apiKey\":\"hush\",".to_owned(),
            StatusCode::BAD_REQUEST,
        ),
        (
            json,
            "[\"hush\"]".to_owned(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json,
            "{\"apiKey\":\"hush\"}".to_owned(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json,
            json!({"apiKey": "hush", "apiSecret": ["hush"]}).to_string(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json,
            json!({"apiKey": "a", "apiSecret": "b", "privateKey": key}).to_string(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json,
            json!({"apiKey": "a", "apiSecret": "b", "privateKey": "/etc/passwd"}).to_string(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json,
            " ".repeat(LARGEST_BODY + 1),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ];
    for (kind, body, status) in cases {
        let answer = configure(&router, kind, body).await;
        answer.is_problem(status);
        assert!(!String::from_utf8_lossy(&answer.body).contains("hush"));
    }
    assert_eq!(
        get_from(&router, "/configure").await.json(),
        json!({"configured": false})
    );
}

#[tokio::test]
async fn the_carriers_account_is_set_and_never_shown() {
    let (app, router) = service(None);
    let body = json!({
        "apiKey": "abcd1234",
        "apiSecret": "hush",
        "applicationId": "78d335fa-323d-0114-9c3d-d6f0d48968cf",
        "fromNumber": "12125550100",
        "privateKey": null,
    });
    let answer = configure(&router, "application/json", body.to_string()).await;
    assert_eq!(answer.json(), json!({"success": true, "configured": true}));
    assert_eq!(
        get_from(&router, "/configure").await.json(),
        json!({"configured": true})
    );
    assert_eq!(app.vonage.credentials().application_ids.len(), 1);
    let account = app.account.lock().expect("whole");
    assert_eq!(account.api_secret.as_ref().expect("set").reveal(), "hush");
    assert!(!format!("{account:?}").contains("hush"));
}
