//! The flow of a call: its webhooks in order, and the actions of its NCCO one after another.

mod dial;
pub(super) use dial::{Outbound, dial};

mod keys;
mod room;
pub(super) use room::Rooms;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::{
    AnswerMethod, Carrier, InboundCall, MAX_REPLACED, Opening, PlaceError, Posted, Reply,
    Violation,
    call::{Call, CallEnd, Card, Line},
    media::{self, LegEnd, Refusal},
    ncco::{self, Action, Websocket},
    timestamp,
};
use crate::clock;

/// Places a call and leaves it to a task.
pub(super) async fn place(carrier: Arc<Carrier>, placed: InboundCall) -> Result<Call, PlaceError> {
    let events = carrier.url(&carrier.options.events_path);
    let mut flow = Flow::new(&carrier, placed.clone(), "inbound", events);
    let line = Arc::clone(&flow.line);
    flow.open().await?;
    tokio::spawn(flow.run());
    Ok(Call { line, placed })
}

/// Where a flow comes from.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// It was given, and this is how it was spelt.
    Fixed(Vec<Action>, Value),
    /// It is asked for.
    Ask { url: String, get: bool },
}

struct Flow {
    line: Arc<Line>,
    placed: InboundCall,
    phone: Leg,
    started: Timestamp,
    plan: VecDeque<Action>,
    replaced: u32,
}

/// One party of the conversation, as event webhooks describe it.
struct Leg {
    uuid: String,
    from: String,
    to: String,
    direction: &'static str,
    headers: Map<String, Value>,
    /// Where its events go.
    events: String,
}

/// What follows an action.
enum Next {
    /// The next action of the plan.
    Continue,
    /// The call is over.
    End(CallEnd),
}

impl Flow {
    fn new(
        carrier: &Arc<Carrier>,
        placed: InboundCall,
        direction: &'static str,
        events: String,
    ) -> Self {
        let card = Card {
            uuid: placed.uuid.clone(),
            conversation: placed.conversation.clone(),
            from: placed.from.clone(),
            to: placed.to.clone(),
            direction,
            created: clock::wall(),
        };
        let line = Arc::new(Line::new(Arc::clone(carrier), card));
        carrier
            .book()
            .insert(placed.uuid.clone(), Arc::clone(&line));
        Self {
            line,
            phone: Leg {
                uuid: placed.uuid.clone(),
                from: placed.from.clone(),
                to: placed.to.clone(),
                direction,
                headers: Map::new(),
                events,
            },
            placed,
            started: clock::wall(),
            plan: VecDeque::new(),
            replaced: 0,
        }
    }

    /// Makes a plan the one that is carried out. `Err`: there is none, and the call has ended.
    async fn begin(&mut self, plan: Plan) -> Result<(), PlaceError> {
        match plan {
            Plan::Fixed(actions, ncco) => {
                self.line.lock().ncco = ncco;
                self.plan = actions.into();
                self.line.bump();
                Ok(())
            }
            Plan::Ask { url, get } => {
                let url = self.line.carrier.reach(&url);
                self.answer(&url, get).await
            }
        }
    }

    fn set_status(&self, status: &str) {
        status.clone_into(&mut self.line.lock().status);
        self.line.bump();
    }

    async fn open(&mut self) -> Result<(), PlaceError> {
        let mut steps = self.line.carrier.options.opening.clone();
        if !steps.contains(&Opening::Answer) {
            steps.push(Opening::Answer);
        }
        for step in steps {
            let status = match step {
                Opening::Started => "started",
                Opening::Ringing => "ringing",
                Opening::Answered => "answered",
                Opening::Answer => {
                    let url = self
                        .line
                        .carrier
                        .url(&self.line.carrier.options.answer_path);
                    self.answer(&url, self.placed.answer_method == AnswerMethod::Get)
                        .await?;
                    self.line.lock().answered.get_or_insert_with(clock::wall);
                    self.set_status("answered");
                    continue;
                }
            };
            self.report(&self.phone, status).await;
        }
        Ok(())
    }

    async fn answer(&mut self, url: &str, get: bool) -> Result<(), PlaceError> {
        let mut fields = json!({
            "from": self.placed.from,
            "to": self.placed.to,
            "uuid": self.placed.uuid,
            "conversation_uuid": self.placed.conversation,
            "endpoint_type": "phone",
        });
        let carrier = Arc::clone(&self.line.carrier);
        if let Some(region) = &carrier.options.region_url {
            fields["region_url"] = json!(region);
        }
        let answered = carrier.answer(url, &fields, get).await;
        let taken = answered.and_then(|reply| self.take(&reply).map_err(PlaceError::Unusable));
        if let Err(error) = &taken {
            if let PlaceError::Unusable(reason) = error {
                self.line.violation(Violation::Ncco(reason.clone()));
                self.post(
                    &self.phone.events,
                    json!({
                        "reason": reason,
                        "conversation_uuid": self.placed.conversation,
                        "timestamp": timestamp(clock::wall()),
                    }),
                )
                .await;
            }
            self.finish(CallEnd::Finished).await;
        }
        taken
    }

    /// Makes the NCCO of a response the plan.
    fn take(&mut self, reply: &Reply) -> Result<(), String> {
        let checked = ncco::check(reply.content_type.as_deref(), &reply.body)?;
        for fault in checked.faults {
            self.line.violation(Violation::Ncco(fault));
        }
        self.line.lock().ncco = serde_json::from_slice(&reply.body).unwrap_or_default();
        self.plan = checked.actions.into();
        Ok(())
    }

    async fn run(mut self) {
        let end = loop {
            let ending = self.line.lock().ending;
            if let Some(end) = ending {
                break end;
            }
            let moved = self.line.lock().moved.take();
            if let Some(plan) = moved {
                self.report_transfer().await;
                if self.begin(plan).await.is_err() {
                    return;
                }
                continue;
            }
            let Some(action) = self.plan.pop_front() else {
                break CallEnd::Finished;
            };
            if let Next::End(end) = self.perform(action).await {
                break end;
            }
        };
        self.finish(end).await;
    }

    async fn perform(&mut self, action: Action) -> Next {
        let carrier = Arc::clone(&self.line.carrier);
        let pause = match action {
            Action::Talk(text) => {
                self.speak(text);
                Some(carrier.options.talk)
            }
            Action::Prompt(text) => return self.prompt(text).await,
            Action::Keys(keys) => return Box::pin(self.take_keys(keys)).await,
            Action::Join(join) => return Box::pin(self.join(join)).await,
            Action::Wait(duration) => Some(duration),
            Action::Away => None,
            Action::Other => return Next::Continue,
            Action::Connect(websocket) => return Box::pin(self.connect(websocket)).await,
        };
        let until = pause.map(|pause| clock::now() + carrier.scaled(pause));
        self.line
            .until(|state, now| match state.ending {
                Some(end) => Ok(Next::End(end)),
                None if state.moved.is_some() => Ok(Next::Continue),
                None if until.is_some_and(|until| until <= now) => Ok(Next::Continue),
                None => Err(until),
            })
            .await
    }

    async fn connect(&mut self, websocket: Websocket) -> Next {
        let carrier = Arc::clone(&self.line.carrier);
        let events = websocket.event_url.as_deref();
        let leg = Leg {
            uuid: uuid::Uuid::new_v4().to_string(),
            from: self.placed.to.clone(),
            to: websocket.uri.clone(),
            direction: "outbound",
            headers: websocket.headers.clone(),
            events: events.map_or_else(|| self.phone.events.clone(), |url| carrier.reach(url)),
        };
        let line = Arc::clone(&self.line);
        // What stands after the websocket does not wait for its end.
        let after: Vec<Action> = self.plan.iter().cloned().collect();
        let (up, is_up) = oneshot::channel();
        let media = async {
            let socket = media::dial(&carrier, &websocket).await?;
            for action in after {
                if let Action::Talk(text) = action {
                    self.speak(text);
                }
            }
            // The events beside this future wait for it, unless they are done.
            let _ = up.send(());
            Ok(media::run(&line, socket, &websocket).await)
        };
        let events = async {
            self.report(&leg, "started").await;
            if is_up.await.is_ok() {
                self.report(&leg, "answered").await;
            }
        };
        let (end, ()) = tokio::join!(media, events);
        match end {
            Ok(LegEnd::Ended(end)) => {
                self.report_completed(&leg, end).await;
                Next::End(end)
            }
            Ok(LegEnd::Moved) => {
                self.report_completed(&leg, CallEnd::Released).await;
                Next::Continue
            }
            Ok(LegEnd::Lost) => {
                // What stood after it was carried out when the socket came up.
                self.plan.clear();
                self.follow(&leg, "disconnected", true).await
            }
            Err(refusal) => {
                let status = match refusal {
                    Refusal::Status(status) => {
                        line.lock().refusals.push(status);
                        "failed"
                    }
                    Refusal::Protocol(what) => {
                        line.violation(Violation::Socket(what));
                        "failed"
                    }
                    Refusal::TimedOut => "unanswered",
                };
                self.follow(&leg, status, websocket.synchronous).await
            }
        }
    }

    /// Reports the loss of a socket and carries out the NCCO in the response, if there is one.
    async fn follow(&mut self, leg: &Leg, status: &str, may_replace: bool) -> Next {
        let body = self.body(leg, status);
        let Some(reply) = self.post(&leg.events, body).await else {
            return Next::Continue;
        };
        if !may_replace {
            return Next::Continue;
        }
        self.replace(&reply, status)
    }

    /// Goes on as the response to an event says, where it says anything.
    fn replace(&mut self, reply: &Reply, what: &str) -> Next {
        if reply.body.is_empty() || !(200..300).contains(&reply.status) {
            return Next::Continue;
        }
        self.replaced += 1;
        if self.replaced > MAX_REPLACED {
            self.line.violation(Violation::Endless);
            return Next::End(CallEnd::Finished);
        }
        if let Err(reason) = self.take(reply) {
            self.line.violation(Violation::Webhook(format!(
                "the response to `{what}` is neither empty nor an NCCO: {reason}"
            )));
        }
        Next::Continue
    }

    async fn finish(&self, end: CallEnd) {
        self.set_status("completed");
        self.line.lock().over = Some(clock::wall());
        self.report_completed(&self.phone, end).await;
        self.line.lock().end = Some(end);
        self.line.bump();
    }

    async fn report_transfer(&self) {
        let body = json!({
            "type": "transfer",
            "uuid": self.placed.uuid,
            "conversation_uuid_from": self.placed.conversation,
            "conversation_uuid_to": format!("CON-{}", uuid::Uuid::new_v4()),
            "timestamp": timestamp(clock::wall()),
        });
        self.post(&self.phone.events, body).await;
    }

    fn speak(&self, text: String) {
        self.line.lock().spoken.push(text);
        self.line.bump();
    }

    async fn report(&self, leg: &Leg, status: &str) {
        let mut body = self.body(leg, status);
        if status == "answered" {
            for key in ["start_time", "rate", "network"] {
                body[key] = Value::Null;
            }
        }
        self.post(&leg.events, body).await;
    }

    async fn report_completed(&self, leg: &Leg, end: CallEnd) {
        let ended = clock::wall();
        let seconds = ended.duration_since(self.started).as_secs().max(0);
        let mut body = self.body(leg, "completed");
        // Numbers are texts here (Vonage webhook reference).
        for (key, value) in [
            ("start_time", timestamp(self.started)),
            ("end_time", timestamp(ended)),
            ("duration", json!(seconds.to_string())),
            ("rate", json!("0.00450000")),
            ("price", json!("0.00450000")),
            ("network", json!("31000")),
            ("sip_code", json!(200)),
            (
                "disconnected_by",
                json!(match end {
                    CallEnd::HungUp => "user",
                    CallEnd::Released | CallEnd::Finished | CallEnd::Unanswered => "platform",
                }),
            ),
        ] {
            body[key] = value;
        }
        self.post(&leg.events, body).await;
    }

    fn body(&self, leg: &Leg, status: &str) -> Value {
        json!({
            "from": leg.from,
            "to": leg.to,
            "uuid": leg.uuid,
            "conversation_uuid": self.placed.conversation,
            "status": status,
            "direction": leg.direction,
            "timestamp": timestamp(clock::wall()),
            "headers": leg.headers,
        })
    }

    async fn post(&self, url: &str, body: Value) -> Option<Reply> {
        post(&self.line, url, body).await
    }
}

/// Posts an event and records it, and what is wrong with the response.
async fn post(line: &Line, url: &str, body: Value) -> Option<Reply> {
    let what = ["status", "type"]
        .iter()
        .find_map(|key| body[*key].as_str());
    let what = what.unwrap_or("error").to_owned();
    let reply = line.carrier.event(url, &body).await;
    let (status, took) = match &reply {
        Ok(reply) => (Some(reply.status), reply.took),
        Err(_) => (None, Duration::ZERO),
    };
    let wrong = match status {
        Some(200..300) => None,
        Some(status) => Some(format!("status {status} to event `{what}`")),
        None => Some(format!("no response to event `{what}`")),
    };
    if let Some(wrong) = wrong {
        line.violation(Violation::Webhook(wrong));
    }
    line.lock().events.push(Posted { body, status, took });
    line.bump();
    reply.ok()
}
