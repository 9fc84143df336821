//! Callers who are handed over to a person: at once, or once that person has heard who waits.

use std::time::Duration;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use novavoice::{
    ProviderError,
    agent::{AgentEvent, EventKind, LiveCall, TransferRefused},
    call::{CallId, Party},
    conversation::{Command, TransferStep},
    lead::PhoneNumber,
    private::Private,
};
use serde_json::{Value, json};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};

use super::{
    App, Problem,
    dial::{Members, carrier, not_ready, over, wrong},
    problem::Body,
};
use crate::briefing;

/// `POST /calls/{uuid}/transfer`: `{"to", "briefing"?: true | "text"}`. Esther's words are heard to
/// their end first; with a briefing she keeps the call until the person takes it.
pub(super) async fn transfer(
    State(app): State<App>,
    Path(uuid): Path<String>,
    Body(body): Body,
) -> Result<StatusCode, Problem> {
    let body = Members::of(&body)?;
    let to = body.number("to")?;
    let wanted = Briefing::of(&body)?;
    let call = CallId::new(uuid);
    if app.calls.is_over(&call) {
        return Err(over());
    }
    if let Err(error) = app.vonage.check_account() {
        return Err(match app.calls.knows(&call) {
            true => not_ready(&error),
            false => over(),
        });
    }
    let live = app.agent.calls().into_iter();
    let live = live
        .filter(|live| live.info.leg.transfer)
        .find(|live| live.info.id == call);
    let party = Party::new(to.reveal());
    match (live, wanted) {
        (None, Briefing::None) => match app.vonage.transfer(&call, &party).await {
            Ok(true) => Ok(StatusCode::ACCEPTED),
            Ok(false) => Err(over()),
            Err(error) => Err(carrier(error)),
        },
        (None, _) if !app.calls.knows(&call) => Err(over()),
        (None, _) => Err(Problem::new(
            StatusCode::CONFLICT,
            "Esther does not talk on this call, so she can brief nobody about it.",
        )),
        (Some(live), wanted) => {
            may_be_handed_calls(&app, &to).await?;
            // Whoever takes the call over is called at the account's rate like anybody else.
            app.outbound.turn().await.map_err(carrier)?;
            by_agent(&app, &live, party, wanted).await
        }
    }
}

/// What the person is to be told.
enum Briefing {
    /// Nothing: the caller is connected at once.
    None,
    /// What Esther knows.
    Made,
    /// This.
    Given(String),
}

impl Briefing {
    fn of(body: &Members<'_>) -> Result<Self, Problem> {
        match body.0.get("briefing") {
            None | Some(Value::Null | Value::Bool(false)) => Ok(Self::None),
            Some(Value::Bool(true)) => Ok(Self::Made),
            Some(Value::String(_)) => {
                let text = body.text("briefing", LONGEST_BRIEFING)?;
                let text = text.ok_or_else(|| wrong("`briefing` is empty."))?;
                Ok(Self::Given(text))
            }
            Some(_) => Err(wrong("`briefing` is neither true, false nor a text.")),
        }
    }
}

/// The rules about numbers hold for those who take calls over, too; those about hours do not.
async fn may_be_handed_calls(app: &App, to: &PhoneNumber) -> Result<(), Problem> {
    let Err(refusals) = app.permission.to_hand_over(to).await else {
        return Ok(());
    };
    let reasons: Vec<&str> = refusals.iter().map(|reason| reason.as_str()).collect();
    let detail = format!("This number may not be called: {}.", reasons.join(", "));
    Err(Problem::new(StatusCode::CONFLICT, detail).with("reasons", json!(reasons)))
}

async fn by_agent(
    app: &App,
    live: &LiveCall,
    to: Party,
    wanted: Briefing,
) -> Result<StatusCode, Problem> {
    let call = &live.info.id;
    let text = match wanted {
        Briefing::None => None,
        Briefing::Given(text) => Some(text),
        Briefing::Made => Some(briefing::of(&live.info, &*app.leads, &app.calls.lines(call)).await),
    };
    let mut events = app.agent.subscribe();
    let is_briefed = text.is_some();
    match app.agent.transfer(call, to, text.map(Private::new)) {
        Ok(()) => {}
        Err(TransferRefused::Running) => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "The caller is being handed over already.",
            ));
        }
        Err(_) => return Err(over()),
    }
    if is_briefed {
        app.agent.command(call, Command::Tell(CALLING.to_owned()));
    }
    // What fails at once is told at once; the rest is told by the events of the call.
    match timeout(AT_ONCE, outcome(&mut events, call)).await {
        Ok(Some(TransferStep::Failed(kind))) => Err(carrier(ProviderError::new("vonage", kind))),
        Ok(Some(TransferStep::Abandoned)) => Err(over()),
        _ => Ok(StatusCode::ACCEPTED),
    }
}

/// What came of it; `None` where that cannot be told any more.
async fn outcome(events: &mut Receiver<AgentEvent>, call: &CallId) -> Option<TransferStep> {
    loop {
        match events.recv().await {
            Ok(event) if event.call != *call => {}
            Ok(event) => match event.kind {
                EventKind::Transfer(step) if step.outcome().is_some() => return Some(step),
                EventKind::Ended { .. } => return None,
                _ => {}
            },
            Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
        }
    }
}

const CALLING: &str = "(You are calling a person who may take this call over; they are told who \
    is calling. Tell the caller in one short sentence that you are connecting them and that it may \
    take a moment.)";
/// What a voice says in a minute and a half.
const LONGEST_BRIEFING: usize = 1_000;
/// Less than anybody waits for an answer over HTTP.
const AT_ONCE: Duration = Duration::from_secs(2);
