//! What can be asked (Vonage Voice API reference 1.10).

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    Desk,
    order::{self, Flow},
};
use crate::testkit::vonage::{
    CallEnd, InboundCall,
    call::Line,
    flow::{self, Outbound, Plan},
    ncco,
};

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) headers: Vec<(&'static str, String)>,
    /// The id of the call that was placed.
    pub(super) placed: Option<String>,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            body: body.to_string(),
            headers: Vec::new(),
            placed: None,
        }
    }

    const fn empty(status: u16) -> Self {
        Self {
            status,
            body: String::new(),
            headers: Vec::new(),
            placed: None,
        }
    }

    /// A refusal of a body, in the form in which the Voice API says so.
    fn invalid(wrong: &[(String, String)]) -> Self {
        let wrong = wrong
            .iter()
            .map(|(name, reason)| json!({"name": name, "reason": reason}));
        let wrong: Vec<_> = wrong.collect();
        let body = json!({"type": 400, "title": "Bad Request", "invalid_parameters": wrong});
        Self::json(400, &body)
    }

    fn state(detail: &str) -> Self {
        let body = json!({
            "type": "https://developer.vonage.com/api-errors#invalid-state",
            "title": "Invalid call state",
            "detail": detail,
        });
        Self::json(400, &body)
    }
}

/// Answers one request.
pub(super) async fn answer(
    desk: &Desk,
    method: &str,
    target: &str,
    authorization: Option<&str>,
    body: &[u8],
) -> Answer {
    if let Err(wrong) = desk.auth.check(authorization) {
        desk.violation(format!("{method} {target}: {wrong}"));
        let body = json!({"type": "UNAUTHORIZED", "error_title": "Unauthorized"});
        return Answer::json(401, &body);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let creates = method == "POST";
    if !desk.is_slow_enough(creates) {
        desk.violation(format!("{method}: more requests in a second than allowed"));
        let body = json!({"type": "THROTTLED", "error_title": "Too Many Requests"});
        return Answer::json(429, &body);
    }
    let body: Value = match body {
        [] => Value::Null,
        body => serde_json::from_slice(body).unwrap_or_default(),
    };
    let parts: Vec<_> = path.split('/').skip(1).collect();
    match (method, parts.as_slice()) {
        ("POST", ["v1", "calls"]) => create(desk, &body),
        ("GET", ["v1", "calls"]) => list(desk, query),
        (_, ["v1", "calls", uuid, rest @ ..]) => {
            let line = desk.carrier.line(uuid);
            match line {
                None => Answer::empty(404),
                Some(line) => steer(desk, &line, method, rest, &body),
            }
        }
        _ => {
            desk.violation(format!("{method} {path}: there is no such request"));
            Answer::empty(404)
        }
    }
}

fn create(desk: &Desk, body: &Value) -> Answer {
    let order = match order::read(body) {
        Ok(order) => order,
        Err(wrong) => {
            for (name, reason) in &wrong {
                desk.violation(format!("POST /v1/calls: {name} {reason}"));
            }
            return Answer::invalid(&wrong);
        }
    };
    let callee = desk.callee(&order.to);
    let placed = InboundCall {
        uuid: Uuid::new_v4().to_string(),
        ..InboundCall::new(order.from, order.to)
    };
    let body = json!({
        "uuid": placed.uuid,
        "status": "started",
        "direction": "outbound",
        "conversation_uuid": placed.conversation,
    });
    let uuid = placed.uuid.clone();
    let call = flow::dial(
        &desk.carrier,
        placed,
        Outbound {
            callee,
            plan: match order.flow {
                Flow::Ncco(actions, ncco) => Plan::Fixed(actions, ncco),
                Flow::Ask { url, get } => Plan::Ask { url, get },
            },
            events: order.events,
            detection: order.detection,
            ringing: order.ringing,
            longest: order.longest,
            opening: desk.options.opening.clone(),
        },
    );
    let mut book = desk.book();
    book.placed += 1;
    book.calls.push_back(call);
    drop(book);
    desk.changed.send_replace(());
    Answer {
        placed: Some(uuid),
        ..Answer::json(201, &body)
    }
}

fn list(desk: &Desk, query: &str) -> Answer {
    let query: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let value = |name: &str| {
        let found = query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    let mut wrong = Vec::new();
    for (key, _) in &query {
        if !QUERY.contains(&key.as_str()) {
            wrong.push((key.clone(), "is unknown".to_owned()));
        }
    }
    let mut number = |name: &str, usual: usize, most: usize| match value(name).map(str::parse) {
        None => usual,
        Some(Ok(number)) if number <= most => number,
        Some(_) => {
            wrong.push((name.to_owned(), format!("is no number up to {most}")));
            usual
        }
    };
    let size = number("page_size", 10, 100).max(1);
    let index = number("record_index", 0, usize::MAX);
    let mut time = |name: &str| {
        let time: Timestamp = match value(name)?.parse() {
            Ok(time) => time,
            Err(_) => {
                wrong.push((name.to_owned(), "is no time".to_owned()));
                return None;
            }
        };
        Some(time)
    };
    let (start, end) = (time("date_start"), time("date_end"));
    if !wrong.is_empty() {
        for (name, reason) in &wrong {
            desk.violation(format!("GET /v1/calls: {name} {reason}"));
        }
        return Answer::invalid(&wrong);
    }
    let mut lines = desk.carrier.lines();
    lines.retain(|line| {
        let created = line.card.created;
        start.is_none_or(|start| created.as_second() >= start.as_second())
            && end.is_none_or(|end| created <= end)
            && value("conversation_uuid").is_none_or(|it| it == line.card.conversation)
            && value("status").is_none_or(|it| it == line.lock().status)
    });
    lines.sort_by_key(|line| line.card.created);
    if value("order") == Some("desc") {
        lines.reverse();
    }
    let calls: Vec<_> = lines
        .iter()
        .skip(index)
        .take(size)
        .map(|line| described(line))
        .collect();
    let body = json!({
        "count": lines.len(),
        "page_size": size,
        "record_index": index,
        "_links": {"self": {"href": "/v1/calls"}},
        "_embedded": {"calls": calls},
    });
    Answer::json(200, &body)
}

fn described(line: &Line) -> Value {
    let card = &line.card;
    let state = line.lock();
    // As the reference has it: a space instead of the T, and no zone.
    let written = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut call = json!({
        "_links": {"self": {"href": format!("/v1/calls/{}", card.uuid)}},
        "uuid": card.uuid,
        "conversation_uuid": card.conversation,
        "to": {"type": "phone", "number": card.to},
        "from": {"type": "phone", "number": card.from},
        "status": state.status,
        "direction": card.direction,
    });
    if let (Some(start), Some(end)) = (state.answered, state.over) {
        call["start_time"] = json!(written(start));
        call["end_time"] = json!(written(end));
        call["duration"] = json!(end.duration_since(start).as_secs().to_string());
        call["rate"] = json!("0.00450000");
        call["price"] = json!("0.00450000");
        call["network"] = json!("31000");
    }
    call
}

fn steer(desk: &Desk, line: &Line, method: &str, rest: &[&str], body: &Value) -> Answer {
    let (over, answered) = {
        let state = line.lock();
        (
            state.ending.is_some() || state.end.is_some(),
            state.answered.is_some(),
        )
    };
    match (method, rest) {
        ("GET", []) => return Answer::json(200, &described(line)),
        (_, _) if over => return Answer::empty(404),
        ("PUT", []) => return act(desk, line, body),
        _ => {}
    }
    let (verb, message) = match (method, rest) {
        ("PUT", ["talk"]) => ("talk", "Talk started"),
        ("DELETE", ["talk"]) => ("talk", "Talk stopped"),
        ("PUT", ["stream"]) => ("stream", "Stream started"),
        ("DELETE", ["stream"]) => ("stream", "Stream stopped"),
        ("PUT", ["dtmf"]) => ("dtmf", "DTMF sent"),
        ("PUT" | "DELETE", ["input", "dtmf"]) => ("input", "Asynchronous DTMF"),
        _ => {
            desk.violation(format!("{method} {rest:?}: there is no such request"));
            return Answer::empty(404);
        }
    };
    if !answered {
        return Answer::state("The call is not in the state answered.");
    }
    let wrong = match method {
        "PUT" => obey(line, verb, body),
        _ => None,
    };
    if let Some(wrong) = wrong {
        desk.violation(format!("{method} {verb}: {} {}", wrong.0, wrong.1));
        return Answer::invalid(&[wrong]);
    }
    line.lock()
        .steered
        .push(format!("{method} {}", rest.join("/")));
    line.bump();
    Answer::json(200, &json!({"message": message, "uuid": line.card.uuid}))
}

/// Carries out what has a body of its own; says which parameter is wrong.
fn obey(line: &Line, verb: &str, body: &Value) -> Option<(String, String)> {
    let empty = Map::new();
    let fields = body.as_object().unwrap_or(&empty);
    let keys: &[&str] = match verb {
        "talk" => &["text", "language", "style", "premium", "loop", "level"],
        "stream" => &["stream_url", "loop", "level"],
        "dtmf" => &["digits"],
        _ => &["event_url"],
    };
    if let Some(key) = fields.keys().find(|key| !keys.contains(&key.as_str())) {
        return Some((key.clone(), "is unknown".to_owned()));
    }
    let one_address = |key: &str| match fields.get(key).and_then(Value::as_array) {
        Some(urls) => matches!(urls.as_slice(), [Value::String(url)] if url.starts_with("http")),
        None => false,
    };
    let wrong = |key: &str, why: &str| Some((key.to_owned(), why.to_owned()));
    match verb {
        "talk" => match fields.get("text").and_then(Value::as_str) {
            Some(text) if (1..=1500).contains(&text.chars().count()) => {
                line.lock().spoken.push(text.to_owned());
                None
            }
            _ => wrong("text", "has not 1 to 1500 characters"),
        },
        "stream" if one_address("stream_url") => None,
        "stream" => wrong("stream_url", "is not an array of one address"),
        "dtmf" => match fields.get("digits").and_then(Value::as_str) {
            Some(digits) if is_keys(digits) => {
                line.lock().keys.push_str(digits);
                None
            }
            _ => wrong("digits", "are no keys"),
        },
        _ if one_address("event_url") => None,
        _ => wrong("event_url", "is not an array of one address"),
    }
}

fn act(desk: &Desk, line: &Line, body: &Value) -> Answer {
    let members = body.as_object().map_or(0, Map::len);
    let refuse = |name: &str, why: &str| {
        desk.violation(format!("PUT: {name} {why}"));
        Answer::invalid(&[(name.to_owned(), why.to_owned())])
    };
    match (body["action"].as_str(), members) {
        (Some("hangup"), 1) => {
            line.end(CallEnd::Released);
            Answer::empty(204)
        }
        (Some(action @ ("mute" | "unmute" | "earmuff" | "unearmuff")), 1) => {
            line.lock().steered.push(action.to_owned());
            line.bump();
            Answer::empty(204)
        }
        (Some("transfer"), 2) => {
            let to = &body["destination"];
            let keys = to.as_object().map_or(0, Map::len);
            if to["type"] != "ncco" || keys != 2 {
                return refuse("destination", "is no ncco with a url or a flow");
            }
            if let Some([Value::String(url)]) = to["url"].as_array().map(Vec::as_slice)
                && url.starts_with("http")
            {
                line.move_to(Plan::Ask {
                    url: url.clone(),
                    get: true,
                });
                return Answer::empty(204);
            }
            let flow = &to["ncco"];
            match ncco::check(Some("application/json"), flow.to_string().as_bytes()) {
                Ok(checked) => {
                    for fault in checked.faults {
                        desk.violation(format!("transfer: {fault}"));
                    }
                    line.move_to(Plan::Fixed(checked.actions, flow.clone()));
                    Answer::empty(204)
                }
                Err(error) => refuse("ncco", &error),
            }
        }
        _ => refuse("action", "is unknown, or not alone"),
    }
}

fn is_keys(digits: &str) -> bool {
    !digits.is_empty()
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || "*#p".contains(c))
}

const QUERY: &[&str] = &[
    "status",
    "date_start",
    "date_end",
    "page_size",
    "record_index",
    "order",
    "conversation_uuid",
];
