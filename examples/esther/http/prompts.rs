//! Versions of the prompt: saved, looked at, made active, taken back.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use novavoice::{
    ProviderError, ProviderErrorKind,
    audio::SampleRate,
    call::{CallId, CallInfo, Direction, Party},
    lead::{Lead, PhoneNumber},
    prompt::{Active, Placeholder, PromptVersion},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{App, Problem, campaigns::refused, problem::Body};
use crate::{
    clock::wall,
    persona,
    prompts::{LONGEST_AUTHOR, draft, remark},
};

/// `GET /prompts`: all versions without their texts, which one is active and was before, and what
/// texts may leave open.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let now = wall();
    let (versions, active, history) = tokio::join!(
        app.prompts.list(now),
        app.prompts.active(now),
        app.prompts.history(HISTORY, now),
    );
    let store = |error: ProviderError| Problem::of_store(&error);
    let (versions, active) = (versions.map_err(store)?, active.map_err(store)?);
    let versions: Vec<_> = versions
        .iter()
        .map(|version| {
            json!({
                "version": version.number,
                "createdAt": version.created,
                "author": version.author,
                "note": version.note,
                "active": version.number == active.version,
            })
        })
        .collect();
    Ok(Json(json!({
        "prompts": versions,
        "active": active,
        "history": history.map_err(store)?,
        "placeholders": placeholders(),
    })))
}

/// `POST /prompts`: a new version, which nobody hears until it is made active.
pub(super) async fn save(
    State(app): State<App>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<(StatusCode, HeaderMap, Json<Value>), Problem> {
    let Value::Object(members) = body else {
        return Err(refused("The body is not a JSON object.", &[]));
    };
    if !members.contains_key("systemPrompt") {
        let missing = "systemPrompt: it is missing".to_owned();
        return Err(refused("The prompt cannot be saved", &[missing]));
    }
    let draft = draft(&members, &app.prompts.shipped().texts)
        .map_err(|wrong| refused("The prompt cannot be saved", &wrong))?;
    let once = once(&headers)?;
    let saved = app.prompts.save(&draft, once.as_deref(), wall()).await;
    let saved = saved.map_err(|error| match error.kind() {
        ProviderErrorKind::Invalid => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "This `Idempotency-Key` was sent before, with another prompt.",
        ),
        ProviderErrorKind::Conflict => Problem::busy("Too many save prompts at once.", 1),
        _ => Problem::of_store(&error),
    })?;
    let mut headers = HeaderMap::new();
    if let Ok(place) = HeaderValue::try_from(format!("/prompts/{}", saved.number)) {
        headers.insert(header::LOCATION, place);
    }
    let mut shown = json!(saved);
    shown["warnings"] = json!(persona::warnings(&saved));
    Ok((StatusCode::CREATED, headers, Json(shown)))
}

/// `GET /prompts/{version}`
pub(super) async fn show(
    State(app): State<App>,
    Path(version): Path<String>,
) -> Result<Json<Value>, Problem> {
    let version = find(&app, &version).await?;
    shown(&app, &version).await
}

/// `GET /prompts/active`
pub(super) async fn active(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let active = app.prompts.active(wall()).await;
    let active = active.map_err(|error| Problem::of_store(&error))?;
    let version = find(&app, &active.version.to_string()).await?;
    shown(&app, &version).await
}

/// `POST /prompts/{version}/activate`: from the next call on, on every node.
pub(super) async fn activate(
    State(app): State<App>,
    Path(version): Path<String>,
    body: Bytes,
) -> Result<Json<Active>, Problem> {
    let members = optional(&body)?;
    let by = by(&members)?;
    let version = find(&app, &version).await?;
    let done = app.prompts.activate(version.number, by.as_deref(), wall());
    changed(done.await)
}

/// `POST /prompts/rollback`: to the version that was active before.
pub(super) async fn roll_back(
    State(app): State<App>,
    body: Bytes,
) -> Result<Json<Active>, Problem> {
    let members = optional(&body)?;
    let by = by(&members)?;
    let from =
        match members.get("from") {
            None | Some(Value::Null) => None,
            Some(from) => Some(number(from).ok_or_else(|| {
                refused("`from` is the number of the version that is active.", &[])
            })?),
        };
    changed(app.prompts.roll_back(from, by.as_deref(), wall()).await)
}

/// `POST /prompts/preview`: what a call would be told: by a version, or by texts that are not saved.
pub(super) async fn preview(State(app): State<App>, body: Bytes) -> Result<Json<Value>, Problem> {
    let mut members = optional(&body)?;
    let direction = match members.remove("direction") {
        None | Some(Value::Null) => Direction::Outbound,
        Some(direction) => Direction::deserialize(&direction)
            .map_err(|_| refused("`direction` is `inbound` or `outbound`.", &[]))?,
    };
    let lead = lead(&app, members.remove("phone"), members.remove("lead")).await?;
    let version = match members.remove("version") {
        None | Some(Value::Null) => {
            let active = app.prompts.active(wall()).await;
            let active = active.map_err(|error| Problem::of_store(&error))?;
            find(&app, &active.version.to_string()).await?
        }
        Some(number) => {
            let number = number
                .as_str()
                .map_or_else(|| number.to_string(), str::to_owned);
            find(&app, &number).await?
        }
    };
    let is_saved = members.is_empty();
    let version = match is_saved {
        true => version,
        false => {
            let draft = draft(&members, &version.texts)
                .map_err(|wrong| refused("The prompt cannot be filled in", &wrong))?;
            Arc::new(draft.as_version(version.number, None))
        }
    };
    let mut call = CallInfo::new(
        CallId::new("preview"),
        direction,
        wall(),
        SampleRate::Hz16000,
    );
    call.remote = lead.as_ref().map(|lead| Party::new(lead.phone.reveal()));
    let facts = persona::facts(&call, lead.as_ref());
    let unknown = version.places().map(|(_, place, _)| place);
    let mut unknown: Vec<_> = unknown
        .filter(|place| !place.is_always_known() && facts.get(*place).is_none())
        .map(Placeholder::as_str)
        .collect();
    unknown.sort_unstable();
    unknown.dedup();
    let mut shown = json!(version.render(direction, &facts));
    shown["version"] = match is_saved {
        true => version.number.into(),
        false => Value::Null,
    };
    shown["direction"] = json!(direction);
    shown["unknown"] = json!(unknown);
    shown["warnings"] = json!(persona::warnings(&version));
    Ok(Json(shown))
}

/// Somebody whom we know, somebody who is described, or nobody in particular.
async fn lead(
    app: &App,
    phone: Option<Value>,
    fields: Option<Value>,
) -> Result<Option<Lead>, Problem> {
    let wrong = || refused("`phone` is no phone number such as +12125550101.", &[]);
    let phone = match phone {
        None | Some(Value::Null) => None,
        Some(phone) => {
            let phone = phone.as_str().ok_or_else(wrong)?;
            Some(PhoneNumber::parse(phone).map_err(|_| wrong())?)
        }
    };
    match (phone, fields) {
        (None, None | Some(Value::Null)) => Ok(None),
        (Some(phone), None | Some(Value::Null)) => {
            let known = app.leads.get(&phone).await;
            let known = known.map_err(|error| Problem::of_store(&error))?;
            known
                .map(Some)
                .ok_or_else(|| Problem::not_found("There is no lead with this number."))
        }
        (phone, Some(Value::Object(fields))) => {
            let sample = PhoneNumber::parse(SAMPLE).map_err(|_| wrong())?;
            let lead = Lead::new(phone.unwrap_or(sample));
            let fields = fields.into_iter().filter(|(name, _)| name != "phone");
            Ok(Some(
                fields.fold(lead, |lead, (name, value)| lead.with(name, value)),
            ))
        }
        (_, Some(_)) => Err(refused("`lead` is an object of fields.", &[])),
    }
}

async fn find(app: &App, version: &str) -> Result<Arc<PromptVersion>, Problem> {
    let unknown = || Problem::not_found("There is no such version of the prompt.");
    let digits = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    let number = version.parse().ok().filter(|_| digits);
    let found = app.prompts.get(number.ok_or_else(unknown)?, wall()).await;
    found
        .map_err(|error| Problem::of_store(&error))?
        .ok_or_else(unknown)
}

/// A version with its texts, and since when it is active if it is.
async fn shown(app: &App, version: &PromptVersion) -> Result<Json<Value>, Problem> {
    let active = app.prompts.active(wall()).await;
    let active = active.map_err(|error| Problem::of_store(&error))?;
    let mut shown = json!(version);
    let is_active = version.number == active.version;
    shown["active"] = is_active.into();
    if is_active {
        shown["since"] = json!(active.since);
    }
    Ok(Json(shown))
}

fn changed(done: Result<Active, ProviderError>) -> Result<Json<Active>, Problem> {
    done.map(Json).map_err(|error| match error.kind() {
        ProviderErrorKind::Conflict | ProviderErrorKind::Invalid => {
            let detail = error.detail().unwrap_or("it changes already");
            Problem::new(
                StatusCode::CONFLICT,
                format!("The active version stays: {detail}."),
            )
        }
        _ => Problem::of_store(&error),
    })
}

/// A body that need not be there.
fn optional(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(refused("The body is not a JSON object.", &[])),
        Err(_) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "The body is not valid JSON.",
        )),
    }
}

/// Who does it, as far as they say.
fn by(members: &Map<String, Value>) -> Result<Option<String>, Problem> {
    let mut wrong = Vec::new();
    let by = members.get("by").unwrap_or(&Value::Null);
    let by = remark("by", by, LONGEST_AUTHOR, &mut wrong);
    match wrong.is_empty() {
        true => Ok(by),
        false => Err(refused("The active version stays", &wrong)),
    }
}

/// What makes a repeated request the same one.
fn once(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = key.to_str().ok().map(str::trim);
    let key = key.filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    key.map(|key| Some(key.to_owned())).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("`Idempotency-Key` has 1 to {LONGEST_KEY} characters of ASCII."),
        )
    })
}

fn number(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64()?.try_into().ok(),
    }
}

fn placeholders() -> Vec<Value> {
    let all = Placeholder::ALL.into_iter();
    all.map(|place| {
        json!({
            "name": place.as_str(),
            "type": place.kind().as_str(),
            "field": place.field(),
        })
    })
    .collect()
}

/// Changes of the active version that are shown.
const HISTORY: usize = 50;
const LONGEST_KEY: usize = 128;
/// The number of somebody who is only described.
const SAMPLE: &str = "+12125550100";
