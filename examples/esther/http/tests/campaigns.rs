//! Campaigns over HTTP, without a worker.

use super::*;

async fn send(router: &Router, path: &str, body: &Value) -> Answer {
    let request = request("POST", path).header(header::CONTENT_TYPE, "application/json");
    let body = Body::from(body.to_string());
    ask(router, request.body(body).expect("a valid request")).await
}

#[tokio::test]
async fn a_campaign_is_made_of_its_name_and_steered_without_surprises() {
    let (_, router) = service(None);
    let made = send(&router, "/campaigns", &json!({"name": "Spring"})).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    let id = made["id"].as_str().expect("an id");
    assert_eq!(
        (&made["name"], &made["state"]),
        (&json!("Spring"), &json!("draft"))
    );
    let counts = json!({
        "matched": 0, "refused": 0, "pending": 0, "inProgress": 0, "dialled": 0, "done": 0,
    });
    assert_eq!(made["counts"], counts);
    assert_eq!(
        (&made["outcomes"], &made["refusals"]),
        (&json!({}), &json!({}))
    );
    for (verb, state) in [
        ("pause", "draft"),
        ("resume", "draft"),
        ("start", "running"),
        ("start", "running"),
        ("pause", "paused"),
        ("pause", "paused"),
        ("resume", "running"),
        ("resume", "running"),
    ] {
        let path = format!("/campaigns/{id}/{verb}");
        let answer = ask(&router, empty(request("POST", &path))).await;
        assert_eq!(answer.status, StatusCode::OK, "{verb}");
        assert_eq!(answer.json()["state"], state, "{verb}");
    }
    let shown = get_from(&router, &format!("/campaigns/{id}")).await.json();
    assert_eq!(shown["state"], "running");
    let listed = get_from(&router, "/campaigns").await.json();
    assert_eq!(listed["campaigns"], json!([shown]));
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_plan_is_told_at_once() {
    let (_, router) = service(None);
    let wrong = json!({"name": " ", "attempts": {"total": 0}, "pacing": {"callsPerSecond": 0}});
    let answer = send(&router, "/campaigns", &wrong).await;
    answer.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
    let told = answer.json()["problems"].as_array().map(Vec::len);
    assert_eq!(told, Some(3), "{:?}", answer.json());
    for wrong in [
        json!({}),
        json!([]),
        json!({"name": 7}),
        json!({"name": "x", "colour": "blue"}),
        json!({"name": "x", "filter": {"zodiac": "lion"}}),
        json!({"name": "x", "voicemail": "shout"}),
        json!({"name": "x", "window": {"start": "25:00"}}),
        json!({"name": "x", "retries": {"do_not_call": {"afterMinutes": 1, "max": 1}}}),
    ] {
        let answer = send(&router, "/campaigns", &wrong).await;
        answer.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
    for verb in ["preview", "start", "pause", "resume"] {
        let path = format!("/campaigns/nobody/{verb}");
        let answer = ask(&router, empty(request("POST", &path))).await;
        answer.is_problem(StatusCode::NOT_FOUND);
    }
    let answer = get_from(&router, "/campaigns/nobody").await;
    answer.is_problem(StatusCode::NOT_FOUND);
    assert_eq!(
        get_from(&router, "/campaigns").await.json(),
        json!({"campaigns": []})
    );
}

#[tokio::test]
async fn a_preview_names_every_refusal_over_all_pages() {
    let (app, router) = service(None);
    for n in 0..450 {
        let phone = PhoneNumber::parse(&format!("+1212555{:04}", 100 + n)).expect("a number");
        let status = if n % 3 == 0 {
            "do_not_call"
        } else {
            "not_called"
        };
        let state = if n % 2 == 0 { "NY" } else { "TX" };
        let lead = Lead::new(phone).with("call_status", status);
        let lead = lead.with("state_province", state);
        app.leads.upsert(lead).await.expect("kept");
    }
    // Open on no day that it may be anywhere now.
    let later = crate::clock::wall().to_zoned(jiff::tz::TimeZone::UTC);
    let later = later.checked_add(jiff::Span::new().days(3)).expect("a day");
    let day = later.strftime("%a").to_string().to_lowercase();
    let plan = json!({"name": "x", "filter": {"state": "NY"}, "window": {"days": [day]}});
    let made = send(&router, "/campaigns", &plan).await.json();
    let path = format!("/campaigns/{}/preview", made["id"].as_str().expect("an id"));
    let preview = ask(&router, empty(request("POST", &path))).await.json();
    assert_eq!(
        preview,
        json!({
            "matched": 225, "wouldDial": 0,
            "refusals": {"do_not_call": 75, "outside_window": 225},
        })
    );
}
