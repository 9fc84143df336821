//! Channels: media sockets that are open, and new ones for browsers.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use super::{App, Problem};
use crate::clock::wall;

/// `GET /channels`
pub(super) async fn list(State(app): State<App>) -> Json<Value> {
    let channels: Vec<_> = app
        .sockets
        .list()
        .into_iter()
        .map(|channel| {
            json!({
                "id": channel.id,
                "clientCount": channel.client_count,
                "active": channel.active,
            })
        })
        .collect();
    Json(json!({ "channels": channels }))
}

/// `POST /channels`
pub(super) async fn create(State(app): State<App>) -> Result<(StatusCode, Json<Value>), Problem> {
    if app.readiness.is_draining() {
        return Err(Problem::busy("Esther is about to stop.", LATER));
    }
    if app.agent.counts().calls >= app.max_calls {
        return Err(Problem::busy("All lines are busy.", SOON));
    }
    let channel = app.browser.create_channel(wall());
    let body =
        json!({ "id": channel.id, "token": channel.token.reveal(), "url": channel.url.reveal() });
    Ok((StatusCode::CREATED, Json(body)))
}

/// Seconds: another process has taken over by then.
const LATER: u32 = 30;
/// Seconds: somebody has hung up by then.
const SOON: u32 = 10;
