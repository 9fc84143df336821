//! Calls: which there are, and what is said in them.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event as SseEvent, KeepAlive, Sse},
    },
};
use futures::StreamExt;
use novavoice::call::CallId;
use serde_json::{Value, json};

use super::Problem;
use crate::{
    calls::{Calls, Event, seconds},
    clock::wall,
};

/// `GET /calls/active`
pub(super) async fn active(State(calls): State<Calls>) -> Json<Value> {
    Json(json!({ "activeCalls": calls.active(wall()) }))
}

/// `GET /calls?limit=&cursor=`
pub(super) async fn list(
    State(calls): State<Calls>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let limit = match query.get("limit") {
        None => USUAL_PAGE,
        Some(limit) => number(limit)
            .filter(|limit| (1..=LONGEST_PAGE).contains(limit))
            .ok_or_else(|| bad(format!("`limit` is a number from 1 to {LONGEST_PAGE}.")))?,
    };
    let before = match query.get("cursor") {
        None => None,
        Some(cursor) => Some(number(cursor).ok_or_else(|| {
            bad("`cursor` is what `next` said in the answer before, and nothing else.")
        })?),
    };
    let page = calls.page(before, limit, wall());
    let next = page.next.map(|next| next.to_string());
    Ok(Json(json!({ "calls": page.calls, "next": next })))
}

/// `GET /calls/{uuid}`
pub(super) async fn show(
    State(calls): State<Calls>,
    Path(uuid): Path<String>,
) -> Result<Json<Value>, Problem> {
    let record = calls.get(&CallId::new(uuid), wall());
    record.map(Json).ok_or_else(unknown)
}

/// `GET /calls/{uuid}/events`: server-sent events. Lines carry their `seq` as id, so a follower
/// that comes back is told every line that it has not got.
pub(super) async fn events(
    State(calls): State<Calls>,
    Path(uuid): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id");
    let after = last.and_then(|id| id.to_str().ok()).and_then(number);
    let events = calls.follow(&CallId::new(uuid), after.unwrap_or(0));
    let events = events.ok_or_else(unknown)?;
    let events = events.map(|event| Ok::<_, Infallible>(on_the_wire(&event)));
    let alive = KeepAlive::new().interval(STILL_THERE);
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

fn on_the_wire(event: &Event) -> SseEvent {
    let (name, id, data) = match event {
        Event::Caption { speaker, text } => {
            let text = text.reveal();
            ("caption", None, json!({ "speaker": speaker, "text": text }))
        }
        Event::Utterance(line) => ("utterance", Some(line.seq), json!(line)),
        Event::State { old, new } => (
            "state",
            None,
            json!({ "old": old.as_str(), "new": new.as_str() }),
        ),
        Event::Ended {
            status,
            outcome,
            duration,
        } => (
            "ended",
            None,
            json!({ "status": status, "outcome": outcome, "duration": seconds(*duration) }),
        ),
    };
    let event = SseEvent::default().event(name).data(data.to_string());
    match id {
        Some(id) => event.id(id.to_string()),
        None => event,
    }
}

/// Plain digits only: `parse` alone would take a `+`.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn unknown() -> Problem {
    Problem::not_found("There is no such call.")
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

const USUAL_PAGE: usize = 50;
const LONGEST_PAGE: usize = 200;
/// Shorter than the patience of proxies.
const STILL_THERE: Duration = Duration::from_secs(15);
