//! Call control objects as Vonage reads them, with everything noted that it would not forgive.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::audio::SampleRate;

/// One action of a call's flow, as far as the fake acts on it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Say a text to the caller.
    Talk(String),
    /// The same, and stop at the first key.
    Prompt(String),
    /// Take in keys, report them, and go on as the answer says.
    Keys(Keys),
    /// Join others.
    Join(Join),
    /// Open a media socket.
    Connect(Websocket),
    /// Do nothing for a while.
    Wait(Duration),
    /// The caller is with somebody else until the end.
    Away,
    /// Carried out without effect on media.
    Other,
}

/// An `input` action for keys (Vonage NCCO reference, `input`).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Keys {
    /// How long to wait after the last key.
    pub(super) time_out: Duration,
    pub(super) most: usize,
    pub(super) submit_on_hash: bool,
    pub(super) event_url: Option<String>,
}

/// A named conversation (Vonage NCCO reference, `conversation`).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Join {
    pub(super) name: String,
    /// Whether it begins with this leg.
    pub(super) starts: bool,
    /// Whether it ends for all when this leg leaves.
    pub(super) ends: bool,
}

/// The endpoint object of a media socket (Vonage NCCO reference, `connect`, type `websocket`).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Websocket {
    pub(super) uri: String,
    pub(super) rate: SampleRate,
    pub(super) headers: Map<String, Value>,
    pub(super) authorization: Authorization,
    pub(super) synchronous: bool,
    pub(super) event_url: Option<String>,
}

/// What the upgrade request carries in its `Authorization` header.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Authorization {
    /// Nothing: the object was left out.
    Omitted,
    /// A token like those of signed webhooks.
    Vonage,
    /// A text of the service's own.
    Custom(String),
}

/// What was read, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Checked {
    pub(super) actions: Vec<Action>,
    pub(super) faults: Vec<String>,
}

/// Reads an NCCO from a response.
///
/// # Errors
///
/// A sentence, when Vonage could not use it at all and would end the call.
pub(super) fn check(content_type: Option<&str>, body: &[u8]) -> Result<Checked, String> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Array(items) = value else {
        return Err("not an array of actions".to_owned());
    };
    let mut check = Check::default();
    let kind = content_type.unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        check.fault(format!("served as `{kind}`, not as application/json"));
    }
    if items.is_empty() {
        check.fault("no action: the call ends at once");
    }
    let mut actions = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let Value::Object(item) = item else {
            return Err(format!("action {at} is not an object"));
        };
        let Some(name) = item.get("action").and_then(Value::as_str) else {
            return Err(format!("action {at} has no name"));
        };
        let next = items[at + 1..].iter().find_map(|item| {
            let name = item.get("action")?.as_str()?;
            (!matches!(name, "talk" | "stream")).then_some(name)
        });
        let action = check.action(name, item, next)?;
        if matches!(action, Action::Connect(_)) && at + 1 < items.len() {
            check.fault("actions after the websocket run as soon as it is up: connect is the last");
        }
        actions.push(action);
    }
    Ok(Checked {
        actions,
        faults: check.faults,
    })
}

#[derive(Default)]
struct Check {
    faults: Vec<String>,
}

type Object = Map<String, Value>;

impl Check {
    fn action(&mut self, name: &str, item: &Object, next: Option<&str>) -> Result<Action, String> {
        let Some((_, keys)) = ACTIONS.iter().find(|(known, _)| *known == name) else {
            return Err(format!("unknown action `{name}`"));
        };
        self.known(name, item, keys);
        for key in ["eventUrl", "streamUrl", "musicOnHoldUrl"] {
            self.url_array(name, item, key);
        }
        if let Some(method) = item.get("eventMethod")
            && !matches!(method.as_str(), Some("GET" | "POST"))
        {
            self.fault(format!("{name}.eventMethod is {method}"));
        }
        if item.get("bargeIn") == Some(&Value::Bool(true)) && next != Some("input") {
            self.fault(format!("{name}.bargeIn without an input after it"));
        }
        match name {
            "talk" => Ok(self.talk(item)),
            "connect" => self.connect(item),
            "stream" => {
                self.level(name, item);
                self.required(name, item, "streamUrl");
                Ok(Action::Other)
            }
            "input" => Ok(self.input(item)),
            "conversation" => Ok(self.conversation(item)),
            "transfer" => {
                self.required(name, item, "conversationId");
                Ok(Action::Away)
            }
            "notify" => {
                self.required(name, item, "eventUrl");
                self.object(name, item, "payload");
                Ok(Action::Other)
            }
            "wait" => {
                self.number(name, item, "timeout", 0.1, 7200.0);
                let seconds = item.get("timeout").and_then(Value::as_f64).unwrap_or(10.0);
                Ok(Action::Wait(Duration::from_secs_f64(
                    seconds.clamp(0.1, 7200.0),
                )))
            }
            _ => Ok(Action::Other),
        }
    }

    fn talk(&mut self, item: &Object) -> Action {
        self.level("talk", item);
        self.number("talk", item, "loop", 0.0, f64::MAX);
        self.number("talk", item, "style", 0.0, f64::MAX);
        for key in ["bargeIn", "premium"] {
            if item.get(key).is_some_and(|value| !value.is_boolean()) {
                self.fault(format!("talk.{key} is not a bool"));
            }
        }
        if item.get("language").is_some_and(|value| !value.is_string()) {
            self.fault("talk.language is not a text");
        }
        let text = item.get("text").and_then(Value::as_str).unwrap_or_default();
        match text.chars().count() {
            0 => self.fault("talk.text is missing or empty"),
            1..=1500 => {}
            long => self.fault(format!("talk.text has {long} characters, more than 1500")),
        }
        match item.get("bargeIn") {
            Some(Value::Bool(true)) => Action::Prompt(text.to_owned()),
            _ => Action::Talk(text.to_owned()),
        }
    }

    fn conversation(&mut self, item: &Object) -> Action {
        let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() {
            self.fault("conversation.name is missing or empty");
        }
        let mut flag = |key: &str, usual: bool| match item.get(key) {
            None => usual,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(format!("conversation.{key} is not a bool"));
                usual
            }
        };
        let (starts, ends) = (flag("startOnEnter", true), flag("endOnExit", false));
        if flag("mute", false) && item.contains_key("canSpeak") {
            self.fault("conversation.mute and conversation.canSpeak exclude each other");
        }
        Action::Join(Join {
            name: name.to_owned(),
            starts,
            ends,
        })
    }

    fn connect(&mut self, item: &Object) -> Result<Action, String> {
        self.number("connect", item, "timeout", 3.0, 7200.0);
        self.number("connect", item, "limit", 1.0, 7200.0);
        if let Some(from) = item.get("from") {
            if !from.as_str().is_some_and(is_digits) {
                self.fault("connect.from is not plain digits");
            }
            if item.contains_key("randomFromNumber") {
                self.fault("connect.from and connect.randomFromNumber exclude each other");
            }
        }
        let synchronous = item.get("eventType").map(Value::as_str);
        if synchronous.is_some_and(|kind| kind != Some("synchronous")) {
            self.fault("connect.eventType is not `synchronous`");
        }
        let Some([Value::Object(endpoint)]) = item
            .get("endpoint")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
        else {
            return Err("connect.endpoint is not an array of one object".to_owned());
        };
        let kind = endpoint.get("type").and_then(Value::as_str);
        match kind {
            Some("websocket") => {}
            Some("phone") => {
                let number = endpoint.get("number").and_then(Value::as_str);
                if !number.is_some_and(is_digits) {
                    self.fault("endpoint.number is not plain digits");
                }
                return Ok(Action::Away);
            }
            Some("app" | "sip" | "vbc") => return Ok(Action::Away),
            _ => return Err("endpoint.type is unknown".to_owned()),
        }
        if synchronous.is_none() {
            self.fault("connect.eventType is missing: a lost socket could not be replaced");
        }
        self.websocket(endpoint).map(|websocket| {
            Action::Connect(Websocket {
                synchronous: synchronous.flatten() == Some("synchronous"),
                event_url: first_url(item, "eventUrl"),
                ..websocket
            })
        })
    }

    fn websocket(&mut self, endpoint: &Object) -> Result<Websocket, String> {
        self.known("endpoint", endpoint, WEBSOCKET);
        let uri = endpoint.get("uri").and_then(Value::as_str).unwrap_or("");
        if !uri.starts_with("ws://") && !uri.starts_with("wss://") {
            return Err("endpoint.uri is neither ws: nor wss:".to_owned());
        }
        if uri.len() > 1024 {
            self.fault(format!("endpoint.uri has {} bytes", uri.len()));
        }
        let kind = endpoint.get("content-type").and_then(Value::as_str);
        let rate = kind
            .and_then(|kind| kind.strip_prefix("audio/l16;rate="))
            .and_then(|rate| rate.parse().ok())
            .and_then(SampleRate::from_hertz)
            .unwrap_or_else(|| {
                self.fault("endpoint.content-type is not one of the three, 16000 is taken");
                SampleRate::Hz16000
            });
        Ok(Websocket {
            uri: uri.to_owned(),
            rate,
            headers: self.headers(endpoint),
            authorization: self.authorization(endpoint),
            synchronous: false,
            event_url: None,
        })
    }

    fn headers(&mut self, endpoint: &Object) -> Object {
        let headers = match endpoint.get("headers") {
            None => return Map::new(),
            Some(Value::Object(headers)) => headers.clone(),
            Some(_) => {
                self.fault("endpoint.headers is not an object");
                return Map::new();
            }
        };
        let size = serde_json::to_vec(&headers).map_or(0, |json| json.len());
        if size > 512 {
            self.fault(format!("endpoint.headers has {size} bytes, more than 512"));
        }
        for (key, value) in &headers {
            if matches!(key.as_str(), "event" | "content-type") {
                self.fault(format!("endpoint.headers uses the reserved key `{key}`"));
            }
            if !value.is_string() {
                self.fault(format!("endpoint.headers.{key} is not a text"));
            }
        }
        headers
    }

    fn authorization(&mut self, endpoint: &Object) -> Authorization {
        let Some(object) = endpoint.get("authorization") else {
            return Authorization::Omitted;
        };
        let kind = object.get("type").map(Value::as_str);
        let value = object.get("value").and_then(Value::as_str);
        match (kind, value) {
            (None, _) if object.is_object() => Authorization::Vonage,
            (Some(Some("vonage")), _) => Authorization::Vonage,
            (Some(Some("custom")), Some(value))
                if value.len() <= 8191 && value.bytes().all(|b| (0x20..0x7f).contains(&b)) =>
            {
                Authorization::Custom(value.to_owned())
            }
            _ => {
                self.fault("endpoint.authorization has no usable type and value");
                Authorization::Omitted
            }
        }
    }

    fn input(&mut self, item: &Object) -> Action {
        let kinds: Vec<_> = match item.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if kinds.is_empty() || kinds.iter().any(|kind| !matches!(*kind, "dtmf" | "speech")) {
            self.fault("input.type is not an array of dtmf and speech");
        }
        if item.get("mode").and_then(Value::as_str) == Some("asynchronous")
            && (kinds != ["dtmf"] || item.contains_key("dtmf"))
        {
            self.fault("asynchronous input takes keys only, without settings");
        }
        if let Some(Value::Object(dtmf)) = item.get("dtmf") {
            self.number("input.dtmf", dtmf, "timeOut", 0.0, 10.0);
            self.number("input.dtmf", dtmf, "maxDigits", 1.0, 20.0);
        }
        if let Some(Value::Object(speech)) = item.get("speech") {
            self.number("input.speech", speech, "endOnSilence", 0.4, 10.0);
            self.number("input.speech", speech, "startTimeout", 1.0, 60.0);
            self.number("input.speech", speech, "maxDuration", 1.0, 60.0);
            self.number("input.speech", speech, "sensitivity", 10.0, 100.0);
        }
        let waits = item.get("mode").and_then(Value::as_str) != Some("asynchronous");
        if kinds != ["dtmf"] || !waits {
            return Action::Other;
        }
        let setting = |key: &str| item.get("dtmf").and_then(|dtmf| dtmf.get(key));
        let seconds = setting("timeOut").and_then(Value::as_f64).unwrap_or(3.0);
        let most = setting("maxDigits").and_then(Value::as_u64).unwrap_or(4);
        Action::Keys(Keys {
            time_out: Duration::from_secs_f64(seconds.clamp(0.0, 10.0)),
            most: usize::try_from(most.clamp(1, 20)).unwrap_or(1),
            submit_on_hash: setting("submitOnHash") == Some(&Value::Bool(true)),
            event_url: first_url(item, "eventUrl"),
        })
    }

    /// Keys that Vonage does not know it ignores, and the setting is silently lost.
    fn known(&mut self, what: &str, item: &Object, keys: &[&str]) {
        for key in item.keys() {
            if !keys.contains(&key.as_str()) {
                self.fault(format!("{what} has the unknown key `{key}`"));
            }
        }
    }

    fn url_array(&mut self, what: &str, item: &Object, key: &str) {
        let one = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([Value::String(url)]) => url.starts_with("http://") || url.starts_with("https://"),
            _ => false,
        };
        if item.get(key).is_some_and(|value| !one(value)) {
            self.fault(format!("{what}.{key} is not an array of one address"));
        }
    }

    fn level(&mut self, what: &str, item: &Object) {
        let level = item.get("level").map(|level| match level {
            Value::String(text) => text.parse().ok(),
            other => other.as_f64(),
        });
        if level.is_some_and(|level: Option<f64>| !level.is_some_and(|l| l.abs() <= 1.0)) {
            self.fault(format!("{what}.level is not between -1 and 1"));
        }
    }

    fn number(&mut self, what: &str, item: &Object, key: &str, from: f64, to: f64) {
        let inside = |value: &Value| value.as_f64().is_some_and(|n| n >= from && n <= to);
        if let Some(value) = item.get(key)
            && !inside(value)
        {
            self.fault(format!("{what}.{key} is {value}"));
        }
    }

    fn required(&mut self, what: &str, item: &Object, key: &str) {
        if !item.contains_key(key) {
            self.fault(format!("{what}.{key} is missing"));
        }
    }

    fn object(&mut self, what: &str, item: &Object, key: &str) {
        if !item.get(key).is_some_and(Value::is_object) {
            self.fault(format!("{what}.{key} is not an object"));
        }
    }

    fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }
}

fn first_url(item: &Object, key: &str) -> Option<String> {
    item.get(key)?.as_array()?.first()?.as_str().map(Into::into)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The actions that Vonage knows, with their keys (Vonage NCCO reference).
const ACTIONS: &[(&str, &[&str])] = &[
    (
        "talk",
        &[
            "action",
            "text",
            "bargeIn",
            "loop",
            "level",
            "language",
            "style",
            "premium",
            "provider",
            "providerOptions",
        ],
    ),
    (
        "connect",
        &[
            "action",
            "endpoint",
            "from",
            "randomFromNumber",
            "eventType",
            "timeout",
            "limit",
            "machineDetection",
            "advancedMachineDetection",
            "eventUrl",
            "eventMethod",
            "ringbackTone",
        ],
    ),
    (
        "stream",
        &["action", "streamUrl", "level", "bargeIn", "loop"],
    ),
    (
        "input",
        &[
            "action",
            "type",
            "mode",
            "dtmf",
            "speech",
            "eventUrl",
            "eventMethod",
        ],
    ),
    (
        "record",
        &[
            "action",
            "format",
            "split",
            "channels",
            "endOnSilence",
            "endOnKey",
            "timeOut",
            "beepStart",
            "eventUrl",
            "eventMethod",
            "transcription",
        ],
    ),
    (
        "conversation",
        &[
            "action",
            "name",
            "musicOnHoldUrl",
            "startOnEnter",
            "endOnExit",
            "record",
            "canSpeak",
            "canHear",
            "mute",
            "transcription",
            "eventUrl",
            "eventMethod",
        ],
    ),
    ("notify", &["action", "payload", "eventUrl", "eventMethod"]),
    ("wait", &["action", "timeout"]),
    (
        "transfer",
        &["action", "conversationId", "canHear", "canSpeak", "mute"],
    ),
];

/// The keys of a websocket endpoint: `content-type` in kebab case, unlike everything around it.
const WEBSOCKET: &[&str] = &["type", "uri", "content-type", "headers", "authorization"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agent() -> Value {
        json!([
            {"action": "talk", "text": "One moment"},
            {"action": "connect", "eventType": "synchronous", "from": "442079460000",
             "eventUrl": ["http://127.0.0.1:3000/webhooks/events"],
             "endpoint": [{"type": "websocket", "uri": "wss://agent.example.com/socket?token=t",
                "content-type": "audio/l16;rate=24000", "headers": {"uuid": "u"},
                "authorization": {"type": "vonage"}}]}
        ])
    }

    fn read(ncco: &Value) -> Result<Checked, String> {
        check(
            Some("application/json; charset=utf-8"),
            ncco.to_string().as_bytes(),
        )
    }

    fn faults_with(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut ncco = agent();
        change(&mut ncco);
        read(&ncco).map(|c| c.faults).unwrap_or_else(|e| vec![e])
    }

    #[track_caller]
    fn faulty(word: &str, change: impl FnOnce(&mut Value)) {
        let faults = faults_with(change);
        assert!(faults.len() == 1 && faults[0].contains(word), "{faults:?}");
    }

    #[test]
    fn the_ncco_of_an_agent_is_read_without_a_fault() {
        let checked = read(&agent()).unwrap();
        assert_eq!(checked.faults, [""; 0]);
        assert_eq!(checked.actions[0], Action::Talk("One moment".to_owned()));
        let Action::Connect(websocket) = &checked.actions[1] else {
            unreachable!("the second action is connect: {checked:?}");
        };
        assert_eq!(websocket.rate, SampleRate::Hz24000);
        assert_eq!(websocket.authorization, Authorization::Vonage);
        assert!(websocket.synchronous);
    }

    /// Vonage checklist 34, 36, 37, 38.
    #[test]
    fn every_mistake_in_a_websocket_is_named() {
        faulty("more than 512", |n| {
            n[1]["endpoint"][0]["headers"]["pad"] = json!("x".repeat(512));
        });
        faulty("reserved", |n| {
            n[1]["endpoint"][0]["headers"]["event"] = json!("x")
        });
        faulty("not a text", |n| {
            n[1]["endpoint"][0]["headers"]["n"] = json!(1)
        });
        faulty("content-type", |n| {
            n[1]["endpoint"][0]["content-type"] = json!("audio/l16;rate=44100");
        });
        faulty("unknown key `contentType`", |n| {
            n[1]["endpoint"][0]["contentType"] = json!("audio/l16;rate=16000");
        });
        faulty("last", |n| {
            n.as_array_mut()
                .unwrap()
                .push(json!({"action": "talk", "text": "Bye"}));
        });
        faulty("authorization", |n| {
            n[1]["endpoint"][0]["authorization"] = json!({"type": "custom"});
        });
        faulty("ws", |n| {
            n[1]["endpoint"][0]["uri"] = json!("https://agent.example.com");
        });
        faulty("eventType is missing", |n| {
            n[1].as_object_mut().unwrap().remove("eventType");
        });
        faulty("synchronous", |n| n[1]["eventType"] = json!("sync"));
    }

    /// Vonage checklist 35, 39, 40, 41.
    #[test]
    fn every_mistake_around_it_is_named() {
        faulty("eventUrl", |n| n[1]["eventUrl"] = json!("http://one"));
        faulty("from", |n| n[1]["from"] = json!("+442079460000"));
        faulty("exclude", |n| n[1]["randomFromNumber"] = json!(true));
        faulty("timeout", |n| n[1]["timeout"] = json!(2));
        faulty("1500", |n| n[0]["text"] = json!("x".repeat(1501)));
        faulty("level", |n| n[0]["level"] = json!("1.5"));
        faulty("bargeIn", |n| n[0]["bargeIn"] = json!(true));
        faulty("unknown action", |n| n[0]["action"] = json!("speak"));
        faulty("not an array", |n| *n = json!({"action": "talk"}));
        faulty("no action", |n| *n = json!([]));
    }

    #[test]
    fn keys_and_rooms_are_read_with_their_usual_values() {
        let url = "http://127.0.0.1:3000/chosen";
        let checked = read(&json!([
            {"action": "talk", "text": "Press 1", "bargeIn": true},
            {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 1}, "eventUrl": [url]},
            {"action": "conversation", "name": "x", "startOnEnter": false},
        ]))
        .unwrap();
        assert_eq!(checked.faults, [""; 0]);
        let keys = Keys {
            time_out: Duration::from_secs(3),
            most: 1,
            submit_on_hash: false,
            event_url: Some(url.to_owned()),
        };
        let join = Join {
            name: "x".to_owned(),
            starts: false,
            ends: false,
        };
        let expected = [
            Action::Prompt("Press 1".to_owned()),
            Action::Keys(keys),
            Action::Join(join),
        ];
        assert_eq!(checked.actions, expected);
        for (conversation, word) in [
            (json!({"action": "conversation"}), "name"),
            (
                json!({"action": "conversation", "name": "x", "endOnExit": "yes"}),
                "endOnExit",
            ),
            (
                json!({"action": "conversation", "name": "x", "mute": true, "canSpeak": []}),
                "mute",
            ),
            (
                json!({"action": "conversation", "name": "x", "music": "y"}),
                "unknown key",
            ),
        ] {
            let faults = read(&json!([conversation])).unwrap().faults;
            assert!(faults.len() == 1 && faults[0].contains(word), "{faults:?}");
        }
    }

    #[test]
    fn a_wrong_content_type_of_the_response_is_a_fault() {
        let body = agent().to_string();
        let faults = check(Some("text/plain"), body.as_bytes()).unwrap().faults;
        assert!(faults[0].contains("text/plain"), "{faults:?}");
    }
}
