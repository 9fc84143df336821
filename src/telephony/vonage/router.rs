//! The webhooks: what Vonage asks, and what it is told.

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Map, Value};

use super::{
    Vonage,
    calls::{Facts, Loss},
    flow,
    leg::Signal,
    ncco::{Ncco, NccoError},
    replies::{OtherTarget, Reply},
    warm,
    webhook::{AnswerRequest, Event, Status, StatusEvent, SubState, classify, region_base},
};
use crate::{
    answer::CarrierVerdict,
    call::{CallId, Direction},
    clock,
    error::ProviderError,
    telephony::{
        problem::problem,
        socket::{self, SocketConfig, Sockets},
    },
};

/// Everything that a service on Vonage alone needs: the [`webhooks`] and the media sockets. Serve
/// it with `TCP_NODELAY` set: a frame is far smaller than a packet.
///
/// A service with browsers too mounts [`webhooks`] and one [`socket::router`] for both.
pub fn router(vonage: &Vonage) -> Router {
    let sockets = Sockets::new(vonage.config().tokens.clone(), SocketConfig::default());
    webhooks(vonage).merge(socket::router(sockets.with_vonage(vonage)))
}

/// `GET` and `POST /webhooks/answer`, `POST /webhooks/events`, and the same below `/outbound` for
/// calls that we place, and for people whom callers are handed over to. Requests must be signed:
/// what is not is answered 401. An event that [`VonageConfig::keeper`](super::VonageConfig::keeper)
/// could not keep is answered 503.
pub fn webhooks(vonage: &Vonage) -> Router {
    let answer = get(answer_inbound).post(answer_inbound);
    let answer_outbound = get(answer_outbound).post(answer_outbound);
    Router::new()
        .route("/webhooks/answer", answer)
        .route("/outbound/webhooks/answer", answer_outbound)
        .route("/webhooks/events", post(event_inbound))
        .route("/outbound/webhooks/events", post(event_outbound))
        .route("/outbound/webhooks/introduction", post(introduction))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(vonage.clone())
}

type Body = Result<Bytes, BytesRejection>;

/// Why a request is not taken.
pub(super) enum Refusal {
    /// It makes no sense (400), and why.
    Senseless(String),
    /// It shall be sent once more (503).
    Again(ProviderError),
}

async fn answer_inbound(
    State(vonage): State<Vonage>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let decide = async |vonage: &Vonage, body: &[u8]| {
        answer(vonage, Direction::Inbound, &method, &uri, body)
    };
    receive(&vonage, &uri, &headers, body, decide).await
}

async fn answer_outbound(
    State(vonage): State<Vonage>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let decide = async |vonage: &Vonage, body: &[u8]| {
        answer(vonage, Direction::Outbound, &method, &uri, body)
    };
    receive(&vonage, &uri, &headers, body, decide).await
}

async fn event_inbound(
    State(vonage): State<Vonage>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let inbound = Direction::Inbound;
    let decide =
        async |vonage: &Vonage, body: &[u8]| Ok(report(vonage, inbound, classify(body)).await);
    receive(&vonage, &uri, &headers, body, decide).await
}

async fn event_outbound(
    State(vonage): State<Vonage>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let outbound = Direction::Outbound;
    let decide = async |vonage: &Vonage, body: &[u8]| {
        // First: whoever sees what the event brings about may ask for it.
        let event = classify(body);
        let kept = keep(vonage, &event).await;
        let reply = report(vonage, outbound, event).await;
        kept.map(|()| reply)
    };
    receive(&vonage, &uri, &headers, body, decide).await
}

/// Events of somebody who is told who waits, and what they choose.
async fn introduction(
    State(vonage): State<Vonage>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let query = uri.query().unwrap_or_default().to_owned();
    let decide = async |vonage: &Vonage, body: &[u8]| warm::report(vonage, &query, body);
    receive(&vonage, &uri, &headers, body, decide).await
}

/// What every webhook goes through: the limit, the signature over the raw body, and the memory of
/// what was answered to the same request before.
async fn receive(
    vonage: &Vonage,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
    decide: impl AsyncFnOnce(&Vonage, &[u8]) -> Result<Reply, Refusal>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return problem(rejection.status(), "the body cannot be taken in"),
    };
    let (credentials, verifier) = vonage.trust();
    let unsigned = vonage.config().allow_unsigned && !credentials.can_verify();
    let target = uri.to_string();
    let mut jti = None;
    if !unsigned {
        let authorization = headers.get(header::AUTHORIZATION);
        let authorization = authorization.map(|value| value.to_str().unwrap_or_default());
        let verified = match verifier.verify(authorization, &body, clock::wall()) {
            Ok(verified) => verified,
            Err(error) => {
                tracing::warn!(%error, path = uri.path(), "a webhook was refused");
                return problem(StatusCode::UNAUTHORIZED, &error.to_string());
            }
        };
        if verified.repeated {
            match vonage.replies().find(&verified.jti, &target) {
                Some(Ok(reply)) => return reply.into_response(),
                // The signature of a `GET` does not cover its query.
                Some(Err(OtherTarget)) => {
                    let detail = "the token was used before for another request";
                    return problem(StatusCode::UNAUTHORIZED, detail);
                }
                None => {}
            }
        }
        jti = Some(verified.jti);
    }
    match decide(vonage, &body).await {
        Ok(reply) => {
            if let Some(jti) = jti {
                let now = clock::now();
                vonage.replies().keep(&jti, &target, &reply, now);
            }
            reply.into_response()
        }
        Err(Refusal::Senseless(detail)) => problem(StatusCode::BAD_REQUEST, &detail),
        Err(Refusal::Again(error)) => {
            tracing::warn!(%error, "an event could not be kept: it shall come once more");
            let detail = "what the event says could not be kept; send it again";
            problem(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }
}

/// A call arrived, or one that we placed was answered.
fn answer(
    vonage: &Vonage,
    direction: Direction,
    method: &Method,
    uri: &Uri,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let request = match *method == Method::POST {
        true => AnswerRequest::from_json(body),
        false => AnswerRequest::from_query(uri.query().unwrap_or_default()),
    };
    let request = request.map_err(|error| Refusal::Senseless(error.to_string()))?;
    if request.uuid.as_str().len() > MAX_ID {
        return Err(Refusal::Senseless(
            "the id of the call is too long".to_owned(),
        ));
    }
    if let Some(fallback) = &request.fallback {
        let reason = fallback.reason.as_deref().unwrap_or_default();
        tracing::warn!(call = %request.uuid, reason, "Vonage asked the fallback address");
    }
    let region = request.region_url.as_deref().and_then(region_base);
    let facts = Facts {
        conversation: request.conversation.clone(),
        direction,
        from: request.caller().cloned(),
        to: request.to.clone(),
        region,
        id: request.uuid,
    };
    let config = vonage.config();
    let has_room = || match direction {
        Direction::Inbound => config.admission.has_room(),
        // Whoever placed the call has asked before.
        Direction::Outbound => true,
    };
    let admitted = vonage
        .calls()
        .answered(facts.clone(), has_room, clock::now());
    if admitted {
        tracing::info!(call = %facts.id, direction = direction.as_str(), "a call is connected");
        vonage.0.limiter.socket();
        ncco(flow::connect(config, &facts, 0, clock::wall()))
    } else {
        tracing::warn!(call = %facts.id, "a call was turned away: no room");
        ncco(flow::say(&config.busy_message))
    }
}

pub(super) fn ncco(ncco: Result<Ncco, NccoError>) -> Result<Reply, Refusal> {
    ncco.map(|ncco| Reply::Ncco(ncco.to_json()))
        .map_err(|error| {
            // The configuration was checked, so the request is to blame.
            Refusal::Senseless(error.to_string())
        })
}

/// Something happened. Whoever is interested hears of it beside; only the loss of a socket is
/// answered with more than an acknowledgement.
async fn report(vonage: &Vonage, direction: Direction, event: Event) -> Reply {
    let reply = match &event {
        Event::Status(status) => {
            let is_ours = direction == Direction::Outbound;
            let (at, now) = (clock::wall(), clock::now());
            let steps = vonage.placed().happened(status, is_ours, at, now);
            vonage.tell(steps);
            happened(vonage, status).await
        }
        Event::Error(error) => {
            tracing::warn!(
                reason = error.reason,
                "Vonage reports an error in a call flow"
            );
            Reply::Empty
        }
        _ => Reply::Empty,
    };
    // Nobody may be listening, and that is fine.
    let _ = vonage.0.events.send(event.into());
    reply
}

/// Keeps what the nodes must know that do not get this event.
async fn keep(vonage: &Vonage, event: &Event) -> Result<(), Refusal> {
    match (&vonage.config().keeper, event) {
        (Some(keeper), Event::Status(status)) => keeper.keep(status).await.map_err(Refusal::Again),
        _ => Ok(()),
    }
}

async fn happened(vonage: &Vonage, event: &StatusEvent) -> Reply {
    if event.is_websocket() {
        return match event.status {
            Status::Disconnected
            | Status::Failed
            | Status::Unanswered
            | Status::Timeout
            | Status::Busy
            | Status::Rejected => lost(vonage, event).await,
            _ => Reply::Empty,
        };
    }
    if let Some(verdict) = verdict(event)
        && let Some(call) = whose_leg(vonage, event)
    {
        vonage.verdict(call.as_str(), verdict);
    }
    if event.is_final()
        && let Some(call) = whose_leg(vonage, event)
    {
        vonage.calls().over(call.as_str(), clock::now());
        vonage.signal(call.as_str(), Signal::Over);
    }
    Reply::Empty
}

/// What machine detection says of the leg (Vonage: event webhook, statuses `human` and `machine`).
fn verdict(event: &StatusEvent) -> Option<CarrierVerdict> {
    match (&event.status, &event.sub_state) {
        (Status::Human, _) => Some(CarrierVerdict::Human),
        (Status::Machine, Some(SubState::BeepStart)) => Some(CarrierVerdict::BeepStart),
        (Status::Machine, Some(SubState::BeepTimeout)) => Some(CarrierVerdict::BeepTimeout),
        (Status::Machine, _) => Some(CarrierVerdict::Machine),
        _ => None,
    }
}

/// The call that a status is about: that of its leg, or of the conversation when it names no leg.
/// Other legs come and go.
fn whose_leg(vonage: &Vonage, event: &StatusEvent) -> Option<CallId> {
    let calls = vonage.calls();
    let facts = match (&event.about.leg, &event.about.conversation) {
        (Some(leg), _) => calls.facts(leg.as_str()),
        (None, Some(conversation)) => calls.of_conversation(conversation),
        (None, None) => None,
    };
    facts.map(|facts| facts.id.clone())
}

/// A media socket was lost, or could not be opened.
async fn lost(vonage: &Vonage, event: &StatusEvent) -> Reply {
    let Some(facts) = whose(vonage, event).await else {
        return Reply::Empty;
    };
    let id = facts.id.as_str();
    let leg = event.about.leg.as_ref().map(CallId::as_str);
    let earlier = number(event.headers.reveal(), flow::LOST);
    let config = vonage.config();
    let max = config.max_reconnects;
    let loss = vonage.calls().lost(id, leg, earlier, max, clock::now());
    let flow = match loss {
        Loss::Expected => return Reply::Empty,
        Loss::Reconnect(nth) => {
            tracing::warn!(call = %facts.id, nth, "the socket of a live call was lost: connecting again");
            vonage.signal(id, Signal::Reconnecting);
            vonage.0.limiter.socket();
            flow::connect(config, &facts, nth, clock::wall())
        }
        Loss::Apologise => {
            tracing::error!(call = %facts.id, "a caller hears an apology: the agent failed, or too many sockets were lost");
            vonage.signal(id, Signal::Over);
            flow::say(&config.apology)
        }
    };
    match flow {
        Ok(flow) => Reply::Ncco(flow.to_json()),
        Err(error) => {
            tracing::error!(%error, "no call flow for a lost socket");
            Reply::Empty
        }
    }
}

/// The call of a socket's leg: named in the metadata that the socket had, known by its
/// conversation, or, where this node knows nothing of it, live elsewhere.
async fn whose(vonage: &Vonage, event: &StatusEvent) -> Option<Facts> {
    let headers = event.headers.reveal();
    let named = headers.get(flow::UUID).and_then(Value::as_str);
    let known = {
        let calls = vonage.calls();
        if named.is_some_and(|id| calls.is_over(id)) {
            return None;
        }
        let by_name = named.and_then(|id| calls.facts(id));
        let conversation = event.about.conversation.as_deref();
        by_name
            .or_else(|| conversation.and_then(|it| calls.of_conversation(it)))
            .cloned()
    };
    if known.is_some() {
        return known;
    }
    let named = named.filter(|id| (1..=MAX_ID).contains(&id.len()))?;
    let mut facts = super::introduced(named, headers);
    facts.conversation.clone_from(&event.about.conversation);
    if !vonage.config().liveness.ask(facts.id.clone()).await {
        return None;
    }
    vonage
        .calls()
        .answered(facts.clone(), || true, clock::now());
    Some(facts)
}

fn number(headers: &Map<String, Value>, key: &str) -> u32 {
    match headers.get(key) {
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        Some(number) => number.as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0),
        None => 0,
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Ncco(json) => {
                ([(header::CONTENT_TYPE, "application/json")], json).into_response()
            }
            Self::Empty => StatusCode::OK.into_response(),
        }
    }
}

/// Far more than any webhook: the longest carry the results of speech recognition.
const MAX_BODY: usize = 64 * 1024;
/// More than any id of Vonage; fits the metadata of a socket.
pub(super) const MAX_ID: usize = 200;
