//! What Esther answers over HTTP.

mod access;
mod calls;
mod campaigns;
mod channels;
mod configure;
mod dial;
mod hear_out;
mod leads;
mod page;
mod problem;
mod prompts;
mod status;
#[cfg(test)]
mod tests;
mod totals;
mod transfer;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{FromRef, MatchedPath, Request},
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
    middleware::{from_fn, from_fn_with_state, map_response},
    routing::{get, post},
};
use novavoice::{
    agent::AgentHandle,
    lead::LeadStore,
    model::breaker::Circuit,
    prompt::Prompts,
    record::CallStore,
    telephony::{browser::Browser, socket::Sockets, vonage::Vonage},
};
use tokio::sync::watch;
use tower_http::{
    classify::ServerErrorsFailureClass, limit::RequestBodyLimitLayer,
    set_header::SetResponseHeaderLayer, trace::TraceLayer,
};
use tracing::Span;

pub(crate) use access::Access;
use hear_out::hear_out;
pub(crate) use leads::as_json as lead_as_json;
use problem::Problem;

use crate::{
    calls::Calls,
    config::VonageSettings,
    metrics::Metrics,
    outbound::Outbound,
    permission::Permission,
    speech::{Announcement, StandIn},
    stores::Recording,
};

/// What the routes work with. Cheap to clone; clones share everything.
#[derive(Clone)]
pub(crate) struct App {
    /// Who may come in.
    pub(crate) access: Arc<Access>,
    /// The agent that runs the calls.
    pub(crate) agent: AgentHandle,
    /// The record of calls.
    pub(crate) calls: Calls,
    /// The store of calls.
    pub(crate) store: Arc<dyn CallStore>,
    /// The store of leads.
    pub(crate) leads: Arc<dyn LeadStore>,
    /// Where what is said goes, to see how that is.
    pub(crate) recording: Option<Recording>,
    /// How many calls run at once.
    pub(crate) max_calls: usize,
    /// Which model speaks.
    pub(crate) speech: Announcement,
    /// The model that may take its place in a call.
    pub(crate) stand_in: Option<Arc<StandIn>>,
    /// How the model stands.
    pub(crate) circuit: Option<Circuit>,
    /// Open media sockets.
    pub(crate) sockets: Sockets,
    /// Makes channels for browsers.
    pub(crate) browser: Browser,
    /// The carrier.
    pub(crate) vonage: Vonage,
    /// The account there, as it was given last.
    pub(crate) account: Arc<Mutex<VonageSettings>>,
    /// Whether somebody may be called.
    pub(crate) permission: Permission,
    /// Campaigns.
    pub(crate) outbound: Outbound,
    /// What Esther says, in versions.
    pub(crate) prompts: Prompts,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether new calls are taken.
    pub(crate) readiness: Readiness,
}

/// Whether new calls are taken: until the process is asked to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<watch::Sender<bool>>);

impl Readiness {
    /// No new calls from now on.
    pub(crate) fn drain(&self) {
        self.0.send_replace(true);
    }

    /// Whether the process is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the process is about to end.
    pub(crate) async fn draining(&self) {
        // It is held here: nobody can drop it.
        let _ = self.0.subscribe().wait_for(|draining| *draining).await;
    }
}

/// The whole service: what is open to everybody, what is guarded, and `peers`, the routes of
/// webhooks and media sockets, which check their callers by themselves.
///
/// Every path that is not named as open is guarded, also one that does not exist.
pub(crate) fn app(app: App, peers: Router) -> Router {
    let open = Router::new()
        .route("/health", get(status::health))
        .route("/up", get(status::up))
        .route("/ready", get(status::ready));
    let guarded = Router::new()
        .route("/metrics", get(status::metrics))
        .route("/status", get(status::status))
        .route("/openapi.json", get(status::openapi))
        .route("/calls", get(calls::list))
        .route("/calls/active", get(calls::active))
        .route("/calls/totals", get(totals::totals))
        .route("/calls/{uuid}", get(calls::show))
        .route("/calls/{uuid}/events", get(calls::events))
        .route("/calls/{uuid}/hangup", post(dial::hang_up))
        .route("/calls/{uuid}/transfer", post(transfer::transfer))
        .route("/call/simple", post(dial::simple))
        .route("/call/ai", post(dial::ai))
        .route("/leads", get(leads::list))
        .route("/leads/{phone}", get(leads::show).patch(leads::change))
        .route("/campaigns", get(campaigns::list).post(campaigns::create))
        .route("/campaigns/{id}", get(campaigns::show))
        .route("/campaigns/{id}/preview", post(campaigns::preview))
        .route("/campaigns/{id}/start", post(campaigns::start))
        .route("/campaigns/{id}/pause", post(campaigns::pause))
        .route("/campaigns/{id}/resume", post(campaigns::resume))
        .route("/prompts", get(prompts::list).post(prompts::save))
        .route("/prompts/active", get(prompts::active))
        .route("/prompts/preview", post(prompts::preview))
        .route("/prompts/rollback", post(prompts::roll_back))
        .route("/prompts/{version}", get(prompts::show))
        .route("/prompts/{version}/activate", post(prompts::activate))
        .route("/channels", get(channels::list).post(channels::create))
        .route("/configure", get(configure::show).post(configure::change))
        .merge(page::routes())
        .fallback(async || Problem::not_found("There is nothing at this address."))
        .layer(RequestBodyLimitLayer::new(LARGEST_BODY))
        .layer(from_fn_with_state(Arc::clone(&app.access), access::guard));
    guarded
        .merge(open)
        .with_state(app)
        .merge(peers)
        .layer(from_fn(hear_out))
        .layer(from_fn(problem::uniform))
        .layer(default_header(header::CACHE_CONTROL, "no-store"))
        .layer(default_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(default_header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(default_header(header::REFERRER_POLICY, "no-referrer"))
        .layer(default_header(header::CONTENT_SECURITY_POLICY, NO_CONTENT))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_request(())
                .on_response(answered)
                .on_failure(failed),
        )
}

/// `webhooks`, with their refusals counted.
pub(crate) fn counting_refusals(webhooks: Router, metrics: &Arc<Metrics>) -> Router {
    let metrics = Arc::clone(metrics);
    webhooks.layer(map_response(move |response: axum::response::Response| {
        if response.status() == StatusCode::UNAUTHORIZED {
            metrics.webhook_refused();
        }
        std::future::ready(response)
    }))
}

/// Names the route and not the address: that may hold tokens and phone numbers.
fn span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("unknown", MatchedPath::as_str);
    tracing::info_span!("http", method = %request.method(), route)
}

fn answered<B>(response: &Response<B>, latency: Duration, _: &Span) {
    tracing::debug!(status = response.status().as_u16(), ?latency, "answered");
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that the layer calls"
)]
fn failed(failure: ServerErrorsFailureClass, latency: Duration, _: &Span) {
    // Not ready is an answer, not a failure of ours.
    tracing::debug!(%failure, ?latency, "failed");
}

fn default_header(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

impl FromRef<App> for Calls {
    fn from_ref(app: &App) -> Self {
        app.calls.clone()
    }
}

/// A few settings and a private key.
const LARGEST_BODY: usize = 64 * 1024;
/// What an answer of the API may load when it is looked at in a browser.
const NO_CONTENT: &str = "default-src 'none'; frame-ancestors 'none'";
