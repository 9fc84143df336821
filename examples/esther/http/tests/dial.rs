//! Calls by hand: what is asked before the carrier is.

use novavoice::{outbound::Refusal, telephony::PlacedEnd};

use super::*;
use crate::permission::Permission;

const CALLEE: &str = "+12125550101";

/// The service with these rules, and no account.
fn ruled(permission: Permission) -> (App, Router) {
    let mut state = fixture(None);
    state.permission = permission;
    (state.clone(), app(state, Router::new()))
}

async fn place(router: &Router, path: &str, body: &Value) -> Answer {
    let request = request("POST", path).header(header::CONTENT_TYPE, "application/json");
    let body = Body::from(body.to_string());
    ask(router, request.body(body).expect("a valid request")).await
}

#[tokio::test]
async fn a_refusal_names_every_reason_and_only_some_can_be_overruled() {
    let (app, router) = ruled(Permission::by(async |wish| {
        assert_eq!(wish.to.reveal(), CALLEE);
        let reasons = [Refusal::DoNotCall, Refusal::OutsideWindow];
        let stands = |reason: &Refusal| !(wish.overrule && reason.can_be_overruled());
        Err(reasons.into_iter().filter(stands).collect())
    }));
    for path in ["/call/simple", "/call/ai"] {
        for (overrule, reasons) in [
            (json!(null), json!(["do_not_call", "outside_window"])),
            (json!(false), json!(["do_not_call", "outside_window"])),
            (json!(true), json!(["do_not_call"])),
        ] {
            let body = json!({"to": CALLEE, "message": "Hello.", "override": overrule});
            let answer = place(&router, path, &body).await;
            answer.is_problem(StatusCode::CONFLICT);
            assert_eq!(answer.json()["reasons"], reasons);
        }
        let wrong = place(&router, path, &json!({"to": "nobody", "message": "x"})).await;
        wrong.is_problem(StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(app.calls.waiting(), 0);
}

#[tokio::test]
async fn a_service_that_stops_or_has_no_line_places_no_call() {
    let (app, router) = ruled(Permission::always());
    let body = json!({"to": CALLEE, "message": "Hello."});
    let missing = place(&router, "/call/simple", &body).await;
    missing.is_problem(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        missing.header(header::RETRY_AFTER),
        "",
        "waiting does not help"
    );
    // Calls that ring will need their lines.
    for ringing in ["one", "two"] {
        app.calls.placed(&CallId::new(ringing), None, None, NOW);
    }
    assert_eq!(app.calls.waiting(), app.max_calls);
    app.readiness.drain();
    for path in ["/call/simple", "/call/ai"] {
        let stopping = place(&router, path, &body).await;
        stopping.is_problem(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(stopping.header(header::RETRY_AFTER), "30");
    }
}

#[tokio::test]
async fn a_placed_call_is_the_agents_once_it_has_it() {
    let (app, router) = ruled(Permission::always());
    let end = PlacedEnd::new(CallStatus::Busy, Outcome::Busy, "busy");
    for call in ["unanswered", "answered"] {
        app.calls.placed(&CallId::new(call), None, None, NOW);
        app.calls.placed(&CallId::new(call), None, None, NOW);
    }
    app.calls.started(&info("answered"));
    assert_eq!(app.calls.waiting(), 1);
    // A gap in what the agent reports says nothing about calls that it never had.
    app.calls.keep_live(&[], NOW);
    for call in ["unanswered", "answered"] {
        app.calls.placed_ended(&CallId::new(call), &end, NOW);
    }
    let status = async |call: &str| {
        let record = get_from(&router, &format!("/calls/{call}")).await.json();
        (record["status"].clone(), record["direction"].clone())
    };
    assert_eq!(
        status("unanswered").await,
        (json!("busy"), json!("outbound"))
    );
    assert_eq!(status("answered").await.0, "completed");
    assert_eq!(app.calls.waiting(), 0);
    for path in ["/calls/unanswered/hangup", "/calls/unanswered/transfer"] {
        let over = place(&router, path, &json!({"to": CALLEE})).await;
        over.is_problem(StatusCode::NOT_FOUND);
    }
}
