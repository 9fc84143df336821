//! Calls that are placed by hand, and calls that are ended.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use novavoice::{
    ProviderError, ProviderErrorKind,
    call::{CallId, Party},
    lead::PhoneNumber,
    outbound::{Refusal, Tries},
    telephony::{DialOptions, Dialled, Telephony},
};
use serde_json::{Map, Value, json};

use super::{App, Problem, problem::Body};
use crate::{clock::wall, permission::Wish, persona};

/// `POST /call/simple`
pub(super) async fn simple(
    State(app): State<App>,
    Body(body): Body,
) -> Result<Json<Value>, Problem> {
    let body = Members::of(&body)?;
    let to = body.number("to")?;
    let message = body.text("message", LONGEST_MESSAGE)?;
    let message = message.ok_or_else(|| wrong("`message` is missing or empty."))?;
    let wish = may_be_called(&app, to, &body).await?;
    place(app, wish, Speaker::Carrier(message)).await
}

/// `POST /call/ai`
pub(super) async fn ai(State(app): State<App>, Body(body): Body) -> Result<Json<Value>, Problem> {
    let body = Members::of(&body)?;
    let to = body.number("to")?;
    let first_words = body.text("initialMessage", LONGEST_MESSAGE)?;
    let instructions = body.text("systemPrompt", LONGEST_PROMPT)?;
    let wish = may_be_called(&app, to, &body).await?;
    let speaker = Speaker::Esther {
        instructions,
        greeting: first_words.as_deref().map(persona::opening),
    };
    place(app, wish, speaker).await
}

/// Who speaks in a call.
enum Speaker {
    /// The carrier's own voice says this.
    Carrier(String),
    /// Esther, with words of her own unless others are given.
    Esther {
        instructions: Option<String>,
        greeting: Option<String>,
    },
}

impl Speaker {
    async fn dial(&self, app: &App, to: &PhoneNumber) -> Result<Dialled, ProviderError> {
        let mut options = DialOptions::default();
        options.only_once = true;
        match self {
            Self::Carrier(words) => app.vonage.announce(to, words, options).await,
            Self::Esther {
                instructions,
                greeting,
            } => {
                options.instructions.clone_from(instructions);
                options.greeting.clone_from(greeting);
                options.detect_machines = true;
                app.vonage.dial(to, options).await
            }
        }
    }
}

/// `POST /calls/{uuid}/hangup`: Esther says her last words where she talks; any other call ends at
/// once.
pub(super) async fn hang_up(
    State(app): State<App>,
    Path(uuid): Path<String>,
) -> Result<StatusCode, Problem> {
    let call = CallId::new(uuid);
    if app.agent.hang_up(&call) {
        return Ok(StatusCode::ACCEPTED);
    }
    if app.calls.is_over(&call) || app.vonage.rest(None).is_err() {
        return Err(over());
    }
    match app.vonage.hang_up(&call).await {
        Ok(true) => Ok(StatusCode::ACCEPTED),
        Ok(false) => Err(over()),
        Err(error) => Err(carrier(error)),
    }
}

/// What every call by hand goes through, after its own body was understood. It counts as an
/// attempt then.
async fn may_be_called(app: &App, to: PhoneNumber, body: &Members<'_>) -> Result<Wish, Problem> {
    let overrule = body.flag("override")?;
    if app.readiness.is_draining() {
        return Err(Problem::busy("Esther is about to stop.", LATER));
    }
    let wish = Wish::to(to, overrule);
    if let Err(refusals) = app.permission.ask(&wish).await {
        return Err(refused(&refusals));
    }
    if let Err(error) = app.vonage.check_account() {
        app.permission.take_back(&wish).await;
        return Err(not_ready(&error));
    }
    Ok(wish)
}

/// Has the carrier place the call that is allowed, in the account's turn. Whoever asked for it may
/// go away meanwhile: it is placed, or taken back, all the same.
async fn place(app: App, wish: Wish, speaker: Speaker) -> Result<Json<Value>, Problem> {
    let placing = tokio::spawn(async move {
        let placed = try_to_place(&app, &wish, &speaker).await;
        match &placed {
            Ok(call) => app.permission.placed(&wish, call).await,
            Err(failed) if failed.did_nothing => app.permission.take_back(&wish).await,
            Err(_) => {}
        }
        placed
    });
    match placing.await {
        Ok(Ok(call)) => Ok(Json(
            json!({ "success": true, "callId": call, "status": "initiated" }),
        )),
        Ok(Err(failed)) => Err(failed.problem),
        Err(_) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Placing the call broke off.",
        )),
    }
}

/// A call that was not placed, as far as anybody knows.
struct Failed {
    problem: Problem,
    /// It certainly was not.
    did_nothing: bool,
}

impl Failed {
    fn before(problem: Problem) -> Self {
        Self {
            problem,
            did_nothing: true,
        }
    }
}

/// A carrier that does not place the call and may do so soon is asked again, and so are the rules
/// before that.
async fn try_to_place(app: &App, wish: &Wish, speaker: &Speaker) -> Result<CallId, Failed> {
    let mut tries = Tries::begin();
    loop {
        turn(app, wish, speaker).await.map_err(Failed::before)?;
        let error = match speaker.dial(app, &wish.to).await {
            Ok(dialled) => {
                let remote = Party::new(wish.to.reveal().trim_start_matches('+'));
                // Before the answer: whoever has it may ask for the call at once.
                app.calls.placed(&dialled.id, Some(&remote), None, wall());
                return Ok(dialled.id);
            }
            Err(error) => error,
        };
        let Some(pause) = tries.pause(error.kind()) else {
            return Err(Failed {
                did_nothing: error.kind().did_nothing(),
                problem: carrier(error),
            });
        };
        tracing::debug!(%error, ?pause, "the carrier is asked for a call once more");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.readiness.draining() => {}
        }
    }
}

/// Waits for the account's turn: its rate is one for all nodes and campaigns. Meanwhile much may
/// have been said.
async fn turn(app: &App, wish: &Wish, speaker: &Speaker) -> Result<(), Problem> {
    if app.readiness.is_draining() {
        return Err(Problem::busy("Esther is about to stop.", LATER));
    }
    free_line(app, speaker)?;
    if let Err(error) = app.outbound.turn().await {
        tracing::warn!(%error, "a call by hand does not get its turn");
        let wait = match error.kind() {
            ProviderErrorKind::Throttled { retry_after } => retry_after.map(|it| it.as_secs()),
            _ => None,
        };
        let wait = wait
            .and_then(|wait| u32::try_from(wait).ok())
            .unwrap_or(SOON);
        let detail = "The account can begin no further call now.";
        return Err(Problem::busy(detail, wait.max(1)));
    }
    if app.readiness.is_draining() {
        return Err(Problem::busy("Esther is about to stop.", LATER));
    }
    free_line(app, speaker)?;
    let asked = app.permission.ask_again(wish).await;
    asked.map_err(|refusals| refused(&refusals))
}

fn free_line(app: &App, speaker: &Speaker) -> Result<(), Problem> {
    let lines = app.agent.counts().calls + app.calls.waiting();
    if matches!(speaker, Speaker::Esther { .. }) && lines >= app.max_calls {
        return Err(Problem::busy("All lines are busy.", SOON));
    }
    Ok(())
}

fn refused(refusals: &[Refusal]) -> Problem {
    let reasons: Vec<&str> = refusals.iter().map(|reason| reason.as_str()).collect();
    let detail = format!("This number may not be called: {}.", reasons.join(", "));
    Problem::new(StatusCode::CONFLICT, detail).with("reasons", json!(reasons))
}

/// The members of a body, which problems name and never repeat.
pub(super) struct Members<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Members<'a> {
    pub(super) fn of(body: &'a Value) -> Result<Self, Problem> {
        let members = body.as_object();
        members
            .map(Self)
            .ok_or_else(|| wrong("The body is not a JSON object."))
    }

    pub(super) fn number(&self, name: &str) -> Result<PhoneNumber, Problem> {
        let expected = || wrong(format!("`{name}` is no phone number such as +12125550101."));
        let text = self.0.get(name).and_then(Value::as_str);
        let text = text.filter(|text| !text.chars().any(char::is_control));
        PhoneNumber::parse(text.ok_or_else(expected)?).map_err(|_| expected())
    }

    /// Text of at most so many characters; blank text counts as none.
    pub(super) fn text(&self, name: &str, most: usize) -> Result<Option<String>, Problem> {
        let text = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.trim(),
            Some(_) => return Err(wrong(format!("`{name}` is no text."))),
        };
        let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        match text.chars().count() {
            _ if text.chars().any(odd) => Err(wrong(format!("`{name}` holds control characters."))),
            0 => Ok(None),
            length if length <= most => Ok(Some(text.to_owned())),
            _ => Err(wrong(format!("`{name}` is longer than {most} characters."))),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(wrong(format!("`{name}` is neither true nor false."))),
        }
    }
}

/// What the carrier's failure means to whoever asked for a call: never that we broke.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that `map_err` wants"
)]
pub(super) fn carrier(error: ProviderError) -> Problem {
    tracing::warn!(%error, "the carrier failed");
    let detail = format!("The carrier did not do it: {}.", error.kind());
    match error.kind() {
        ProviderErrorKind::Throttled { retry_after } => {
            let seconds = retry_after.map_or(1, |wait| wait.as_secs().max(1));
            Problem::busy(detail, u32::try_from(seconds).unwrap_or(u32::MAX))
        }
        ProviderErrorKind::Unavailable | ProviderErrorKind::Unreachable => {
            Problem::busy(detail, SOON)
        }
        ProviderErrorKind::TimedOut => Problem::new(StatusCode::GATEWAY_TIMEOUT, detail),
        _ => Problem::new(StatusCode::BAD_GATEWAY, detail),
    }
}

/// Settings are missing. Which ones is no secret.
pub(super) fn not_ready(error: &ProviderError) -> Problem {
    let detail = error.detail().unwrap_or("the account is not ready to call");
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("The carrier is not configured: {detail}."),
    )
}

pub(super) fn over() -> Problem {
    Problem::not_found("There is no such call, or it is over.")
}

pub(super) fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// What the carrier's voice says at most.
const LONGEST_MESSAGE: usize = 1_500;
/// Several pages.
const LONGEST_PROMPT: usize = 20_000;
/// Seconds: another process has taken over by then.
const LATER: u32 = 30;
/// Seconds: somebody has hung up by then.
const SOON: u32 = 10;
