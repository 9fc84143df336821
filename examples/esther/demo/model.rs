//! What the simulated model makes of what it hears.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{ToSpan, tz::TimeZone};
use novavoice::testkit::{
    bedrock::{Dialogue, Hearing, Incoming, Reply, SessionScript},
    words,
};
use serde_json::{Map, Value};

use super::{
    people::talking,
    stories::{Stories, Turn},
};
use crate::clock::wall;

/// How one session of the model goes.
pub(super) fn session(stories: &Arc<Stories>) -> SessionScript {
    let mind = Mind {
        stories: Arc::clone(stories),
        memory: Arc::new(Mutex::new(Value::Object(Map::from_iter([(
            "tomorrow".to_owned(),
            Value::String(tomorrow()),
        )])))),
    };
    SessionScript::converse(Dialogue {
        hearing: Some(Hearing::new(move |incoming| match incoming {
            // A beep says nothing, and is not answered.
            Incoming::Speech(sound) => {
                let words = words::read(sound).unwrap_or_default();
                let reply = mind.answer(&words);
                Some((words, reply))
            }
            Incoming::Text(text) => Some((String::new(), mind.obey(text))),
            _ => None,
        })),
        ..Dialogue::default()
    })
}

/// A day by the clock of the first office to open.
fn tomorrow() -> String {
    let zone = TimeZone::get("America/New_York").unwrap_or(TimeZone::UTC);
    let today = wall().to_zoned(zone).date();
    let tomorrow = today.checked_add(1.day()).unwrap_or(today);
    tomorrow.to_string()
}

/// The model in one call.
#[derive(Clone)]
struct Mind {
    stories: Arc<Stories>,
    /// The last result of each tool, under its name.
    memory: Arc<Mutex<Value>>,
}

impl Mind {
    /// The answer to words of the person.
    fn answer(&self, words: &str) -> Reply {
        match self.stories.turn(words) {
            Some(turn) => self.act(turn.clone()),
            None => Reply::default(),
        }
    }

    /// Uses one tool after the other, then speaks.
    fn act(&self, mut turn: Turn) -> Reply {
        if turn.does.is_empty() {
            return match turn.esther.map(|text| self.filled(&text)) {
                Some(Some(text)) => say(text),
                Some(None) => self.give_up(),
                None => Reply::default(),
            };
        }
        let (tool, mut arguments) = turn.does.remove(0);
        for argument in arguments.values_mut() {
            if let Value::String(text) = argument {
                match self.filled(text) {
                    Some(filled) => *text = filled,
                    None => return self.give_up(),
                }
            }
        }
        let mind = self.clone();
        let arguments = Value::Object(arguments).to_string();
        Reply::default()
            .after_tool(tool.as_str(), arguments)
            .and_then(move |results| {
                mind.remember(&tool, results);
                mind.act(turn.clone())
            })
    }

    /// Does what the service asks for in text: to begin, to leave a message, to say who it is.
    fn obey(&self, text: &str) -> Reply {
        let words = match text.split_once("xactly ") {
            Some((_, rest)) => rest.split_once(": ").map_or(rest, |(_, words)| words),
            None => &self.stories.voicemail,
        };
        say(words.to_owned())
    }

    /// A tool gave something else than was expected.
    fn give_up(&self) -> Reply {
        say(self.stories.lost.clone()).after_tool("end_call", "{}")
    }

    fn remember(&self, tool: &str, results: &[Value]) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory[tool] = results.first().cloned().unwrap_or_default();
    }

    /// `text` with what is known in place of each `{tool/member/…}`; `None` where it is not known.
    fn filled(&self, text: &str) -> Option<String> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (path, after) = behind.split_once('}')?;
            filled.push_str(before);
            filled.push_str(memory.pointer(&format!("/{path}"))?.as_str()?);
            rest = after;
        }
        filled.push_str(rest);
        Some(filled)
    }
}

fn say(text: String) -> Reply {
    let duration = talking(&text);
    Reply::say(text, duration)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mind() -> Mind {
        Mind {
            stories: Arc::new(Stories::load().expect("readable")),
            memory: Arc::new(Mutex::new(json!({}))),
        }
    }

    #[test]
    fn what_tools_gave_stands_in_the_answer_and_nothing_else_does() {
        let mind = mind();
        assert_eq!(mind.filled("plain").as_deref(), Some("plain"));
        assert_eq!(mind.filled("{find_times/times/0/say}"), None);
        mind.remember("find_times", &[json!({"times": [{"say": "noon"}]})]);
        let filled = mind.filled("At {find_times/times/0/say}, or not.");
        assert_eq!(filled.as_deref(), Some("At noon, or not."));
        assert_eq!(mind.filled("{find_times/times/1/say}"), None);
    }

    #[test]
    fn a_tool_is_asked_before_the_words_that_need_it() {
        let mind = mind();
        let reply = mind.answer("Some afternoon, after one.");
        assert_eq!(reply.tools[0].name, "find_times");
        assert!(reply.sentences.is_empty() && reply.then.is_some());
        let lost = mind.answer("Yes, that is right.");
        assert_eq!(lost.tools[0].name, "end_call", "no time was ever offered");
        assert_eq!(mind.answer("Something else."), Reply::default());
    }

    #[test]
    fn exact_words_are_said_as_they_are() {
        let reply =
            mind().obey("The call is connected. Open it with exactly these words: Hello: you.");
        assert_eq!(reply.sentences[0].text, "Hello: you.");
        let reply = mind().obey("A call screener answers. Say exactly this once, then wait: I am.");
        assert_eq!(reply.sentences[0].text, "I am.");
    }
}
