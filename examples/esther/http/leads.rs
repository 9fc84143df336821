//! Leads: looked up, and changed by somebody who has seen them.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use novavoice::{
    ProviderErrorKind,
    lead::{Change, Guard, Lead, LeadCursor, LeadFilter, LeadQuery, PhoneNumber},
};
use serde_json::{Map, Value, json};

use super::{
    App, Problem,
    calls::{bad, bad_cursor, limit},
    problem::Body,
};
use crate::clock::wall;

/// `GET /leads?limit=&cursor=&lead_status=&owner_alias=&call_status=&state=`
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = parse(&query)?;
    let page = app.leads.query(&query).await.map_err(|error| {
        match *error.kind() == ProviderErrorKind::Invalid && query.after.is_some() {
            true => bad_cursor(),
            false => Problem::of_store(&error),
        }
    })?;
    let leads: Vec<_> = page.leads.iter().map(as_json).collect();
    let next = page.next.as_ref().map(LeadCursor::reveal);
    let next = next.map(|next| BASE64_URL_SAFE_NO_PAD.encode(next));
    let mut answer = json!({ "leads": leads, "next": next });
    if !page.problems.is_empty() {
        let bad = page.problems.iter();
        let bad: Vec<_> = bad
            .map(|bad| json!({ "key": bad.key.reveal(), "problem": bad.reason }))
            .collect();
        answer["unreadable"] = bad.into();
    }
    Ok(Json(answer))
}

fn parse(query: &HashMap<String, String>) -> Result<LeadQuery, Problem> {
    let mut wanted = LeadQuery::new(LeadFilter::all());
    for (name, value) in query {
        let filter = wanted.filter.clone();
        match name.as_str() {
            "limit" => wanted.limit = limit(value)?,
            "cursor" => wanted.after = Some(cursor(value).ok_or_else(bad_cursor)?),
            "lead_status" | "leadStatus" => wanted.filter = filter.with_lead_status(value),
            "owner_alias" | "ownerAlias" => wanted.filter = filter.with_owner_alias(value),
            "call_status" | "callStatus" => wanted.filter = filter.with_call_status(value),
            "state" | "state_province" => wanted.filter = filter.with_state(value),
            // As other services do, what is not known is not looked at.
            _ => {}
        }
    }
    Ok(wanted)
}

/// A cursor holds a number: in an address it stands in another alphabet, which needs no escapes.
fn cursor(text: &str) -> Option<LeadCursor> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(LeadCursor::new(String::from_utf8(bytes).ok()?))
}

/// Consent, or its absence, is kept with its time and source: where nobody says more, they are
/// this moment and the API. Whoever takes it out takes out both.
fn with_proof(mut members: Map<String, Value>, now: Timestamp) -> Map<String, Value> {
    let (at, source) = match members.get("consent") {
        Some(Value::Bool(_)) => (json!(now), json!("api")),
        Some(Value::Null) => (Value::Null, Value::Null),
        _ => return members,
    };
    members.entry("consent_at").or_insert(at);
    members.entry("consent_source").or_insert(source);
    members
}

/// `GET /leads/{phone}`
pub(super) async fn show(
    State(app): State<App>,
    Path(phone): Path<String>,
) -> Result<Response, Problem> {
    let phone = parse_phone(&phone)?;
    let lead = app.leads.get(&phone).await;
    let lead = lead.map_err(|error| Problem::of_store(&error))?;
    lead.as_ref().map(with_tag).ok_or_else(unknown)
}

/// `PATCH /leads/{phone}`: members replace, `null` removes (RFC 7396, of the top level).
pub(super) async fn change(
    State(app): State<App>,
    Path(phone): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let phone = parse_phone(&phone)?;
    let guard = guard(&headers)?;
    let Value::Object(members) = body else {
        return Err(refused("The body is a JSON object of fields to change."));
    };
    let members = with_proof(members, wall());
    let change = Change::from(members.into_iter().collect::<novavoice::lead::Fields>());
    match app.leads.update(&phone, change, guard).await {
        Ok(lead) => Ok(with_tag(&lead)),
        Err(error) => Err(match error.kind() {
            ProviderErrorKind::NotFound => match app.leads.get(&phone).await {
                // The table itself is not there.
                Err(error) => Problem::of_store(&error),
                Ok(_) => unknown(),
            },
            ProviderErrorKind::Conflict => Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "The lead has changed meanwhile: read it again, and send its new `ETag` as `If-Match`.",
            ),
            ProviderErrorKind::Invalid => refused(
                error
                    .detail()
                    .unwrap_or("A field does not take this value.")
                    .to_owned(),
            ),
            _ => Problem::of_store(&error),
        }),
    }
}

/// The version that must still hold: `If-Match` with an `ETag`, or `*`, or none for any.
fn guard(headers: &HeaderMap) -> Result<Guard, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(Guard::Any);
    };
    let tag = value.to_str().unwrap_or_default().trim();
    if tag == "*" {
        return Ok(Guard::Any);
    }
    let version = tag
        .strip_prefix('"')
        .and_then(|tag| tag.strip_suffix('"'))
        .unwrap_or(tag);
    let version = version.parse().map_err(|_| {
        // A tag that is none of ours matches nothing.
        Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "`If-Match` is the `ETag` of the lead, which is its version.",
        )
    })?;
    Ok(Guard::Version(version))
}

fn with_tag(lead: &Lead) -> Response {
    let mut response = Json(as_json(lead)).into_response();
    let tag = HeaderValue::try_from(format!("\"{}\"", lead.version));
    // Digits in quotes are a value.
    if let Ok(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Under the names of the table, the number as its key is written.
pub(crate) fn as_json(lead: &Lead) -> Value {
    let mut value = json!(lead);
    value["phone"] = lead.phone.display().into();
    value
}

fn parse_phone(text: &str) -> Result<PhoneNumber, Problem> {
    PhoneNumber::parse(text).map_err(|_| {
        bad("This is not a phone number: give it with the country code, such as +12125550101.")
    })
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

fn unknown() -> Problem {
    Problem::not_found("There is no lead with this number.")
}
