//! How the service is: for load balancers, monitors and people.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, header},
};
use novavoice::model::breaker::Circuit;
use serde_json::{Value, json};

use super::{App, Problem};
use crate::clock::wall;

/// `GET /health`
pub(super) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "timestamp": wall() }))
}

/// `GET /up`
pub(super) async fn up() -> Json<Value> {
    Json(json!({ "status": "up" }))
}

/// `GET /ready`
pub(super) async fn ready(State(app): State<App>) -> Result<Json<Value>, Problem> {
    match app.readiness.is_draining() {
        false => Ok(Json(match app.outbound.gate.is_shut() {
            None => json!({ "status": "ready" }),
            // Calls are taken all the same. Everybody may ask: the file is not named.
            Some(_) => json!({ "status": "ready", "dialling": NOBODY }),
        })),
        true => Err(Problem::busy(
            "Esther takes no new calls: it is about to stop.",
            30,
        )),
    }
}

/// `GET /status`: which model speaks, and how busy it is.
pub(super) async fn status(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "model": { "name": app.speech.name, "real": app.speech.real, "notice": app.speech.notice },
        "calls": app.agent.counts().calls,
        "maxCalls": app.max_calls,
        "ready": !app.readiness.is_draining(),
        "dialling": app.outbound.gate.is_shut().map(|why| format!("nobody is called: {why}")),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// `GET /metrics`
pub(super) async fn metrics(State(app): State<App>) -> ([(HeaderName, &'static str); 1], String) {
    let stood_in = app.stand_in.as_ref().map_or(0, |both| both.calls_taken());
    let circuit_open = app.circuit.as_ref().is_some_and(Circuit::is_open);
    let spool = app
        .recording
        .as_ref()
        .and_then(|recording| recording.spool());
    let text = app.metrics.render(
        app.agent.counts(),
        &app.sockets,
        stood_in,
        circuit_open,
        spool.as_ref(),
    );
    ([(header::CONTENT_TYPE, PROMETHEUS)], text)
}

/// `GET /openapi.json`
pub(super) async fn openapi() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

const NOBODY: &str = "nobody is called: the log of decisions was changed or cannot be read; \
                      `esther check` says where";
pub(super) const OPENAPI: &str = include_str!("openapi.json");
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
