//! Campaigns: made, looked at, and steered.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use novavoice::{
    ProviderError, ProviderErrorKind,
    outbound::{Campaign, Plan},
};
use serde_json::{Value, json};

use super::{App, Problem, problem::Body};
use crate::{clock::wall, preview::Preview, prompts};

/// `GET /campaigns`
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let campaigns = app.outbound.campaigns.list(wall()).await;
    let campaigns = campaigns.map_err(|error| Problem::of_store(&error))?;
    Ok(Json(json!({ "campaigns": campaigns })))
}

/// `POST /campaigns`: a plan; the campaign calls nobody until it is started.
pub(super) async fn create(
    State(app): State<App>,
    Body(body): Body,
) -> Result<(StatusCode, HeaderMap, Json<Campaign>), Problem> {
    if !body.is_object() {
        return Err(refused("The body is not a JSON object.", &[]));
    }
    let mut plan: Plan = serde_json::from_value(body).map_err(|wrong| {
        let wrong = shortened(&wrong.to_string());
        refused("The campaign cannot be read", &[wrong])
    })?;
    let mut problems: Vec<_> = plan.problems().iter().map(ToString::to_string).collect();
    let version = prompts::problem_of(&app.prompts, &mut plan).await;
    problems.extend(version.map_err(|error| Problem::of_store(&error))?);
    if !problems.is_empty() {
        return Err(refused("The campaign cannot be", &problems));
    }
    let made = app.outbound.campaigns.create(plan, wall()).await;
    let made = made.map_err(|error| Problem::of_store(&error))?;
    let mut headers = HeaderMap::new();
    if let Ok(place) = HeaderValue::try_from(format!("/campaigns/{}", made.id)) {
        headers.insert(header::LOCATION, place);
    }
    Ok((StatusCode::CREATED, headers, Json(made)))
}

/// `GET /campaigns/{id}`
pub(super) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Campaign>, Problem> {
    find(&app, &id).await.map(Json)
}

/// `POST /campaigns/{id}/preview`: whom it would call if every turn came now.
pub(super) async fn preview(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Preview>, Problem> {
    let campaign = find(&app, &id).await?;
    let preview = Preview::of(
        &campaign.plan,
        &*app.leads,
        &app.outbound.gate,
        app.outbound.consent,
        wall(),
    )
    .await;
    preview.map(Json).map_err(|error| Problem::of_store(&error))
}

/// `POST /campaigns/{id}/start`
pub(super) async fn start(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Campaign>, Problem> {
    steered(&app, app.outbound.campaigns.start(&id, wall()).await)
}

/// `POST /campaigns/{id}/pause`
pub(super) async fn pause(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Campaign>, Problem> {
    steered(&app, app.outbound.campaigns.pause(&id, wall()).await)
}

/// `POST /campaigns/{id}/resume`
pub(super) async fn resume(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Campaign>, Problem> {
    steered(&app, app.outbound.campaigns.resume(&id, wall()).await)
}

fn steered(app: &App, done: Result<Campaign, ProviderError>) -> Result<Json<Campaign>, Problem> {
    match done {
        Ok(campaign) => {
            app.outbound.wake();
            Ok(Json(campaign))
        }
        Err(error) if *error.kind() == ProviderErrorKind::NotFound => Err(unknown()),
        // Nodes that read its leads were faster, again and again.
        Err(error) if *error.kind() == ProviderErrorKind::Conflict => {
            Err(Problem::busy("The campaign is being changed.", 1))
        }
        Err(error) => Err(Problem::of_store(&error)),
    }
}

async fn find(app: &App, id: &str) -> Result<Campaign, Problem> {
    let found = app.outbound.campaigns.get(id, wall()).await;
    let found = found.map_err(|error| Problem::of_store(&error))?;
    found.ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::not_found("There is no such campaign.")
}

/// Every problem, in the sentence and by itself.
pub(super) fn refused(what: &str, problems: &[String]) -> Problem {
    let detail = match problems {
        [] => what.to_owned(),
        _ => format!("{what}: {}.", problems.join("; ")),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("problems", json!(problems))
}

/// What the reader says, which repeats what it could not read: of modest length.
fn shortened(message: &str) -> String {
    message.chars().take(LONGEST).collect()
}

const LONGEST: usize = 300;
