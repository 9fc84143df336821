//! The body of a request for a call, with everything noted that Vonage would refuse.

use std::time::Duration;

use serde_json::{Map, Value};

use super::super::ncco::{self, Action};

/// A call that was asked for properly.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) to: String,
    pub(super) from: String,
    pub(super) flow: Flow,
    pub(super) events: Option<String>,
    pub(super) detection: Option<Detection>,
    pub(super) ringing: Duration,
    pub(super) longest: Duration,
}

#[derive(Clone, Debug)]
pub(super) enum Flow {
    Ncco(Vec<Action>, Value),
    Ask { url: String, get: bool },
}

/// What is done about machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Detection {
    pub(in super::super) hang_up: bool,
    /// The verdict comes before the flow goes on.
    pub(in super::super) waits: bool,
    pub(in super::super) beep: bool,
}

/// Reads a body, or says which parameters are wrong, and why.
pub(super) fn read(body: &Value) -> Result<Order, Vec<(String, String)>> {
    let Value::Object(fields) = body else {
        return Err(vec![("body".to_owned(), "is no object".to_owned())]);
    };
    let mut check = Check {
        fields,
        wrong: Vec::new(),
    };
    let order = check.order();
    match check.wrong.is_empty() {
        true => Ok(order),
        false => Err(check.wrong),
    }
}

struct Check<'a> {
    fields: &'a Map<String, Value>,
    wrong: Vec<(String, String)>,
}

impl Check<'_> {
    fn order(&mut self) -> Order {
        self.known("", self.fields, KEYS);
        Order {
            to: self.to(),
            from: self.from(),
            flow: self.flow(),
            events: self
                .address("event_url", "event_method", "POST")
                .map(|it| it.0),
            detection: self.detection(),
            ringing: self.seconds("ringing_timer", 1, 120, 60),
            longest: self.seconds("length_timer", 1, 86_400, 7_200),
        }
    }

    fn to(&mut self) -> String {
        let to = self.fields.get("to").and_then(Value::as_array);
        let Some([Value::Object(end)]) = to.map(Vec::as_slice) else {
            self.fault("to", "is not an array of one endpoint");
            return String::new();
        };
        match end.get("type").and_then(Value::as_str) {
            Some("phone") => {
                self.known("to.", end, &["type", "number", "dtmfAnswer", "shaken"]);
                self.number("to", end)
            }
            Some("sip") => {
                let keys = ["type", "uri", "headers", "standard_headers"];
                self.known("to.", end, &keys);
                let uri = end.get("uri").and_then(Value::as_str);
                uri.unwrap_or_default().to_owned()
            }
            _ => {
                self.fault("to", "is neither a phone nor a SIP address");
                String::new()
            }
        }
    }

    fn from(&mut self) -> String {
        let random = self.fields.get("random_from_number");
        match (self.fields.get("from"), random) {
            (Some(Value::Object(end)), None) => {
                self.known("from.", end, &["type", "number"]);
                if end.get("type").and_then(Value::as_str) != Some("phone") {
                    self.fault("from", "is no phone");
                }
                self.number("from", end)
            }
            (None, Some(Value::Bool(true))) => "442079460000".to_owned(),
            _ => {
                self.fault("from", "needs exactly one of from and random_from_number");
                String::new()
            }
        }
    }

    fn number(&mut self, field: &str, end: &Map<String, Value>) -> String {
        let number = end
            .get("number")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let right = number.bytes().all(|b| b.is_ascii_digit());
        if !right || !(7..=15).contains(&number.len()) {
            self.fault(field, "is not 7 to 15 digits");
        }
        number.to_owned()
    }

    fn flow(&mut self) -> Flow {
        let none = Flow::Ncco(Vec::new(), Value::Null);
        match (self.fields.get("ncco"), self.fields.get("answer_url")) {
            (Some(flow), None) => {
                if self.fields.contains_key("answer_method") {
                    self.fault("answer_method", "belongs to answer_url");
                }
                let text = flow.to_string();
                match ncco::check(Some("application/json"), text.as_bytes()) {
                    Ok(checked) => {
                        for fault in checked.faults {
                            self.fault("ncco", &fault);
                        }
                        Flow::Ncco(checked.actions, flow.clone())
                    }
                    Err(error) => {
                        self.fault("ncco", &error);
                        none
                    }
                }
            }
            (None, Some(_)) => match self.address("answer_url", "answer_method", "GET") {
                Some((url, method)) => Flow::Ask {
                    url,
                    get: method == "GET",
                },
                None => none,
            },
            _ => {
                self.fault("ncco", "needs exactly one of ncco and answer_url");
                none
            }
        }
    }

    fn address(&mut self, url: &str, method: &str, usual: &str) -> Option<(String, String)> {
        let how = match self.fields.get(method) {
            None => usual.to_owned(),
            Some(Value::String(how)) if matches!(&**how, "GET" | "POST") => how.clone(),
            Some(_) => {
                self.fault(method, "is neither GET nor POST");
                usual.to_owned()
            }
        };
        let value = self.fields.get(url)?;
        match value.as_array().map(Vec::as_slice) {
            Some([Value::String(address)]) if address.starts_with("http") => {
                Some((address.clone(), how))
            }
            _ => {
                self.fault(url, "is not an array of one address");
                None
            }
        }
    }

    fn detection(&mut self) -> Option<Detection> {
        let basic = self.fields.get("machine_detection").map(|how| how.as_str());
        let basic = basic.map(|how| match how {
            Some("hangup") => true,
            Some("continue") => false,
            _ => {
                self.fault("machine_detection", "is neither continue nor hangup");
                false
            }
        });
        let Some(advanced) = self.fields.get("advanced_machine_detection") else {
            return basic.map(|hang_up| Detection {
                hang_up,
                waits: false,
                beep: false,
            });
        };
        let name = "advanced_machine_detection";
        let Value::Object(advanced) = advanced else {
            self.fault(name, "is no object");
            return None;
        };
        self.known(
            &format!("{name}."),
            advanced,
            &["behavior", "mode", "beep_timeout"],
        );
        let text = |key: &str| advanced.get(key).map(|value| value.as_str());
        let hang_up = match text("behavior") {
            None | Some(Some("continue")) => false,
            Some(Some("hangup")) => true,
            _ => {
                self.fault(name, "behavior is neither continue nor hangup");
                false
            }
        };
        let (waits, beep) = match text("mode") {
            Some(Some("default")) => (false, false),
            None | Some(Some("detect")) => (true, false),
            Some(Some("detect_beep")) => (true, true),
            _ => {
                self.fault(name, "mode is unknown");
                (false, false)
            }
        };
        if let Some(timeout) = advanced.get("beep_timeout")
            && !timeout.as_u64().is_some_and(|t| (45..=120).contains(&t))
        {
            self.fault(name, "beep_timeout is not between 45 and 120");
        }
        Some(Detection {
            hang_up,
            waits,
            beep,
        })
    }

    fn seconds(&mut self, field: &str, from: u64, to: u64, usual: u64) -> Duration {
        let seconds = match self.fields.get(field) {
            None => usual,
            Some(value) => match value.as_u64().filter(|it| (from..=to).contains(it)) {
                Some(seconds) => seconds,
                None => {
                    self.fault(field, &format!("is not between {from} and {to}"));
                    usual
                }
            },
        };
        Duration::from_secs(seconds)
    }

    /// What Vonage does not know it ignores, and the setting is silently lost.
    fn known(&mut self, what: &str, item: &Map<String, Value>, keys: &[&str]) {
        for key in item.keys().filter(|key| !keys.contains(&key.as_str())) {
            self.fault(&format!("{what}{key}"), "is unknown");
        }
    }

    fn fault(&mut self, field: &str, why: &str) {
        self.wrong.push((field.to_owned(), why.to_owned()));
    }
}

/// What a request for a call may hold (Vonage Voice API reference 1.10, `POST /v1/calls`).
const KEYS: &[&str] = &[
    "to",
    "from",
    "random_from_number",
    "ncco",
    "answer_url",
    "answer_method",
    "event_url",
    "event_method",
    "machine_detection",
    "advanced_machine_detection",
    "length_timer",
    "ringing_timer",
];
