//! The carrier's account, set while the service runs. Kept in memory alone: it is gone with the
//! process, and no answer or log ever repeats it.

use std::sync::{MutexGuard, PoisonError};

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Map, Value, json};

use super::{App, Problem, problem::Body};
use crate::config::{
    VonageSettings,
    parse::{applications, pem, phone, secret},
};

/// `GET /configure`
pub(super) async fn show(State(app): State<App>) -> Json<Value> {
    let vonage = lock(&app);
    let configured = vonage.api_key.is_some() && vonage.api_secret.is_some();
    Json(json!({ "configured": configured }))
}

/// `POST /configure`
pub(super) async fn change(
    State(app): State<App>,
    Body(body): Body,
) -> Result<Json<Value>, Problem> {
    let Value::Object(body) = body else {
        return Err(wrong("The body is not a JSON object."));
    };
    let mut problems = Vec::new();
    let changed = read(&body, lock(&app).clone(), &mut problems);
    if !problems.is_empty() {
        return Err(wrong(problems.join(" ")));
    }
    app.vonage.configure(changed.credentials());
    app.vonage.set_account(changed.account());
    *lock(&app) = changed;
    tracing::info!("the carrier's account was set over the API");
    Ok(Json(json!({ "success": true, "configured": true })))
}

/// `settings` with what the body says; problems name members, never values.
fn read(
    body: &Map<String, Value>,
    mut settings: VonageSettings,
    problems: &mut Vec<String>,
) -> VonageSettings {
    let mut members = Members { body, problems };
    settings.api_key = members.needed("apiKey", secret);
    settings.api_secret = members.needed("apiSecret", secret);
    if let Some(ids) = members.optional("applicationId", applications) {
        settings.applications = ids;
    }
    // Text only: a path would let whoever calls this read files of the server.
    if let Some(key) = members.optional("privateKey", pem) {
        settings.private_key = Some(key);
    }
    if let Some(number) = members.optional("fromNumber", phone) {
        settings.from_number = Some(number);
    }
    settings
}

struct Members<'a> {
    body: &'a Map<String, Value>,
    problems: &'a mut Vec<String>,
}

impl Members<'_> {
    fn needed<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        if self.is_absent(name) {
            self.problems.push(format!("`{name}` is missing."));
        }
        self.optional(name, parse)
    }

    fn optional<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        if self.is_absent(name) {
            return None;
        }
        let text = self.body.get(name).and_then(Value::as_str);
        let parsed = text.map_or_else(|| Err("text".to_owned()), |text| parse(text.trim()));
        parsed
            .map_err(|expected| {
                self.problems
                    .push(format!("`{name}` is wrong, expected {expected}."))
            })
            .ok()
    }

    /// Empty text counts as none, as it does in the environment.
    fn is_absent(&self, name: &str) -> bool {
        match self.body.get(name) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.trim().is_empty(),
            Some(_) => false,
        }
    }
}

fn lock(app: &App) -> MutexGuard<'_, VonageSettings> {
    app.account.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}
