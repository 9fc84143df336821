//! Calls: which there are, and what is said in them.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event as SseEvent, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use novavoice::{
    ProviderError, ProviderErrorKind,
    call::{CallId, Party},
    lead::PhoneNumber,
    record::{CallQuery, CallRecord, Cursor},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{App, Problem};
use crate::{
    calls::{Event, follow_elsewhere, seconds},
    clock::wall,
};

/// `GET /calls/active`: of this node as they are, of others as their records say.
pub(super) async fn active(State(app): State<App>) -> Json<Value> {
    let now = wall();
    let mut active = app.calls.active(now);
    let mut query = CallQuery::live();
    query.limit = LONGEST_PAGE;
    match app.store.list(&query).await {
        Ok(page) => {
            let elsewhere = page.calls.iter().filter(|call| !app.calls.knows(&call.id));
            active.extend(elsewhere.map(|call| as_active(call, now)));
        }
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "calls of other nodes cannot be looked up"
        ),
    }
    Json(json!({ "activeCalls": active }))
}

fn as_active(call: &CallRecord, now: Timestamp) -> Value {
    json!({
        "id": call.id,
        "status": call.status,
        "duration": seconds(call.duration_at(now)),
        "direction": call.direction,
        "phone": call.remote.as_ref().map(Party::reveal),
        "started": call.started,
        "state": null,
    })
}

/// `GET /calls?limit=&cursor=&q=&status=&outcome=&direction=&phone=&from=&to=`
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = parse(&query)?;
    let page = app.store.list(&query).await.map_err(|error| {
        match *error.kind() == ProviderErrorKind::Invalid && query.cursor.is_some() {
            true => bad_cursor(),
            false => Problem::of_store(&error),
        }
    })?;
    let now = wall();
    let calls: Vec<_> = page
        .calls
        .iter()
        .map(|call| as_known(&app, call, now))
        .collect();
    let mut answer = json!({ "calls": calls, "next": page.next.as_ref().map(Cursor::as_str) });
    if !page.unreadable.is_empty() {
        let bad = page.unreadable.iter();
        let bad: Vec<_> = bad
            .map(|bad| json!({ "key": bad.key, "problem": bad.problem }))
            .collect();
        answer["unreadable"] = bad.into();
    }
    Ok(Json(answer))
}

fn parse(query: &HashMap<String, String>) -> Result<CallQuery, Problem> {
    let mut wanted = CallQuery::default();
    for (name, value) in query {
        match name.as_str() {
            "limit" => wanted.limit = limit(value)?,
            "cursor" => wanted.cursor = Some(Cursor::new(value)),
            "q" => wanted.text = Some(value.clone().into()),
            "status" => wanted.status = Some(word(name, value)?),
            "outcome" => wanted.outcome = Some(word(name, value)?),
            "direction" => wanted.direction = Some(word(name, value)?),
            "from" => wanted.from = Some(time(name, value)?),
            "to" => wanted.to = Some(time(name, value)?),
            "phone" => {
                let phone = PhoneNumber::parse(value);
                wanted.phone = Some(phone.map_err(|_| bad("`phone` is not a phone number."))?);
            }
            // As other services do, what is not known is not looked at.
            _ => {}
        }
    }
    Ok(wanted)
}

/// How many a page has.
pub(super) fn limit(text: &str) -> Result<usize, Problem> {
    number(text)
        .filter(|limit| (1..=LONGEST_PAGE).contains(limit))
        .ok_or_else(|| bad(format!("`limit` is a number from 1 to {LONGEST_PAGE}.")))
}

pub(super) fn word<T: DeserializeOwned>(name: &str, value: &str) -> Result<T, Problem> {
    serde_json::from_value(value.into())
        .map_err(|_| bad(format!("`{name}` is none of the words that calls have.")))
}

pub(super) fn time(name: &str, value: &str) -> Result<Timestamp, Problem> {
    value
        .parse()
        .map_err(|_| bad(format!("`{name}` is a time such as 2026-06-22T20:35:32Z.")))
}

/// A record with what this node knows better: the store of a call that goes on is a little behind.
fn as_known(app: &App, record: &CallRecord, now: Timestamp) -> Value {
    let mut value = json!(record);
    if record.is_live() {
        value["duration_seconds"] = seconds(record.duration_at(now)).into();
    }
    if let Some(Value::Object(ours)) = app.calls.get(&record.id, now) {
        for (name, ours) in ours {
            if !ours.is_null() {
                value[name] = ours;
            }
        }
    }
    value
}

/// `GET /calls/{uuid}`
pub(super) async fn show(
    State(app): State<App>,
    Path(uuid): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (call, now) = (CallId::new(uuid), wall());
    let ours = app.calls.get(&call, now);
    let stored = async {
        let record = app.store.get(&call).await?;
        let lines = app.store.lines(&call, 0).await?;
        Ok::<_, ProviderError>(record.map(|record| (record, lines)))
    };
    let (mut value, mut lines) = match (stored.await, ours) {
        (Ok(Some((record, lines))), _) => (as_known(&app, &record, now), lines),
        (Ok(None), None) => return Err(unknown()),
        (Err(error), None) => return Err(Problem::of_store(&error)),
        // Not in the store yet, or the store is out of order.
        (Ok(None) | Err(_), Some(ours)) => (ours, Vec::new()),
    };
    let told = app.calls.lines(&call);
    let last = lines.last().map_or(0, |line| line.seq);
    lines.extend(told.into_iter().filter(|line| line.seq > last));
    value["utterances"] = json!(lines);
    if let Some(latency) = app.calls.latency_ms(&call) {
        value["latency_ms"] = latency;
    }
    Ok(Json(value))
}

/// `GET /calls/{uuid}/events`: server-sent events. Lines carry their `seq` as id, so a follower
/// that comes back is told every line that it has not got. Any node answers: for a call that it
/// does not carry it follows the store.
pub(super) async fn events(
    State(app): State<App>,
    Path(uuid): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id");
    let after = last.and_then(|id| id.to_str().ok()).and_then(number);
    let (call, after) = (CallId::new(uuid), after.unwrap_or(0));
    if let Some(events) = app.calls.follow(&call, after) {
        return Ok(as_stream(events));
    }
    let events = follow_elsewhere(Arc::clone(&app.store), call, after).await;
    let events = events.map_err(|error| Problem::of_store(&error))?;
    events.map(as_stream).ok_or_else(unknown)
}

fn as_stream(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = events.map(|event| Ok::<_, Infallible>(on_the_wire(&event)));
    let alive = KeepAlive::new().interval(STILL_THERE);
    Sse::new(events).keep_alive(alive).into_response()
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

/// A cursor that no answer gave.
pub(super) fn bad_cursor() -> Problem {
    bad("`cursor` is what `next` said in the answer before, and nothing else.")
}

pub(super) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

const LONGEST_PAGE: usize = 200;
/// Shorter than the patience of proxies.
const STILL_THERE: Duration = Duration::from_secs(15);
