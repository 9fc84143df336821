//! Items of the table, read and written. Pure.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use tracing::warn;

use crate::{
    call::CallId,
    model::Usage,
    transcript::{Speaker, Utterance},
};

/// An item as it is, whoever wrote it.
#[derive(Debug)]
pub(super) struct Item(pub(super) HashMap<String, AttributeValue>);

impl Item {
    /// How many items hold the transcript.
    pub(super) fn parts(&self) -> u64 {
        self.number("parts").unwrap_or(1).max(1)
    }

    /// The number of the last line in it.
    pub(super) fn last(&self) -> u64 {
        self.number("last_seq").unwrap_or(0)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.contains_key("end_time")
    }

    /// Its lines; what is none is left out, and named.
    pub(super) fn lines(&self) -> Vec<Utterance> {
        lines(&self.0)
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            AttributeValue::N(number) => number.parse().ok(),
            _ => None,
        }
    }
}

/// The lines of an item; what is none is left out, and named.
pub(crate) fn lines(item: &HashMap<String, AttributeValue>) -> Vec<Utterance> {
    let utterances = match item.get("utterances") {
        Some(AttributeValue::L(utterances)) => &utterances[..],
        Some(_) => {
            complain(item, "its utterances are no list");
            &[]
        }
        None => &[],
    };
    let lines = utterances.iter().filter_map(|value| {
        let line = line(value);
        if line.is_none() {
            complain(item, "one of its utterances is none");
        }
        line
    });
    lines.collect()
}

fn complain(item: &HashMap<String, AttributeValue>, what: &str) {
    let key = match item.get(KEY) {
        Some(AttributeValue::S(key)) => key.as_str(),
        _ => "?",
    };
    warn!(key, "a call record is not as it should be: {what}");
}

/// The key of a call's first item.
pub(crate) fn key(call: &CallId) -> String {
    let id = call.as_str();
    if id.contains(['#', '%']) {
        id.replace('%', "%25").replace('#', "%23")
    } else {
        id.to_owned()
    }
}

/// The key of one of a call's continuations: the second item is number 2.
pub(crate) fn part_key(call: &CallId, number: u64) -> String {
    format!("{}#{number}", key(call))
}

/// RFC 3339 with milliseconds, always: the order of texts is the order of times.
pub(super) fn time(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Seconds with as many milliseconds as there are: `93.4`.
pub(super) fn seconds(duration: Duration) -> AttributeValue {
    let text = format!("{}.{:03}", duration.as_secs(), duration.subsec_millis());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    AttributeValue::N(text.to_owned())
}

pub(super) fn usage(usage: Usage) -> AttributeValue {
    let number = |name: &str, number: u64| (name.to_owned(), AttributeValue::N(number.to_string()));
    AttributeValue::M(HashMap::from([
        number("input_speech_tokens", usage.input_speech_tokens),
        number("input_text_tokens", usage.input_text_tokens),
        number("output_speech_tokens", usage.output_speech_tokens),
        number("output_text_tokens", usage.output_text_tokens),
    ]))
}

pub(super) fn utterance(line: &Utterance) -> AttributeValue {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    AttributeValue::M(HashMap::from([
        ("seq".to_owned(), AttributeValue::N(line.seq.to_string())),
        ("at".to_owned(), text(&time(line.at))),
        ("speaker".to_owned(), text(line.speaker.as_str())),
        ("text".to_owned(), text(&line.text)),
        ("cut".to_owned(), AttributeValue::Bool(line.cut)),
    ]))
}

/// Lines as one text, for those who search.
pub(super) fn transcript(lines: &[Utterance]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line.speaker.as_str());
        text.push_str(": ");
        text.push_str(&line.text);
        text.push('\n');
    }
    text
}

/// What a line adds to its item, in bytes and rather too many: the words twice, the names and
/// values around them (DynamoDB developer guide, "Item sizes and formats").
pub(super) fn size(line: &Utterance) -> usize {
    2 * line.text.len() + AROUND
}

fn line(value: &AttributeValue) -> Option<Utterance> {
    let AttributeValue::M(fields) = value else {
        return None;
    };
    let text = |name| fields.get(name)?.as_s().ok();
    let seq = fields.get("seq")?.as_n().ok()?;
    Some(Utterance {
        seq: seq.parse().ok()?,
        at: text("at")?.parse().ok()?,
        speaker: [Speaker::Caller, Speaker::Agent]
            .into_iter()
            .find(|speaker| text("speaker").is_some_and(|word| word == speaker.as_str()))?,
        text: text("text")?.clone(),
        cut: match fields.get("cut") {
            Some(AttributeValue::Bool(cut)) => *cut,
            Some(_) => return None,
            None => false,
        },
    })
}

pub(crate) const KEY: &str = "call_uuid";
const AROUND: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_calls_and_of_continuations_never_meet() {
        let ids = ["a", "a#2", "a%232", "a%2", "a%", "#", "##", "%23"];
        let mut keys: Vec<_> = ids.iter().map(|id| key(&CallId::new(*id))).collect();
        for id in ids {
            keys.extend((2..30).map(|part| part_key(&CallId::new(id), part)));
        }
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
        let uuid = "63f61863-4a51-4f6b-86e1-46edebcf9356";
        assert_eq!(key(&CallId::new(uuid)), uuid);
        assert_eq!(part_key(&CallId::new("a"), 2), "a#2");
    }

    #[test]
    fn seconds_have_no_needless_digits() {
        for (millis, text) in [
            (0, "0"),
            (100_000, "100"),
            (93_400, "93.4"),
            (61_005, "61.005"),
        ] {
            let written = seconds(Duration::from_millis(millis));
            assert_eq!(written, AttributeValue::N(text.to_owned()));
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let mut said = Utterance {
            seq: 7,
            at: "2026-06-22T20:35:34.512Z".parse().unwrap(),
            speaker: Speaker::Agent,
            text: String::new(),
            cut: true,
        };
        assert_eq!(line(&utterance(&said)), Some(said.clone()));
        said.text = "Good morning".to_owned();
        assert_eq!(line(&utterance(&said)), Some(said));
    }

    #[test]
    fn what_others_wrote_is_left_out_and_spoils_nothing() {
        let said = Utterance {
            seq: 1,
            at: Timestamp::UNIX_EPOCH,
            speaker: Speaker::Caller,
            text: "Hello".to_owned(),
            cut: false,
        };
        let odd = [
            AttributeValue::S("?".to_owned()),
            AttributeValue::M(HashMap::new()),
            utterance(&said),
            AttributeValue::M(HashMap::from([(
                "seq".to_owned(),
                AttributeValue::Bool(true),
            )])),
        ];
        let mut item = Item(HashMap::new());
        assert_eq!(
            (item.lines(), item.parts(), item.last()),
            (Vec::new(), 1, 0)
        );
        item.0
            .insert("utterances".to_owned(), AttributeValue::L(odd.to_vec()));
        item.0
            .insert("parts".to_owned(), AttributeValue::S("two".to_owned()));
        assert_eq!(item.lines(), [said]);
        assert_eq!(item.parts(), 1);
    }
}
