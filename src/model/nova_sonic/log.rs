//! The last events of a session, both ways, for errors that say that one side broke the protocol.
//!
//! Names, ids and order alone: never what was said. Audio is counted without a lock and without an
//! allocation, and shows as one entry between two others.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::error::{ProviderError, ProviderErrorKind};

/// Which way an event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the service.
    Sent,
    /// From the service.
    Got,
}

/// The log of one session; both of its halves write it.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    /// How many events of audio went each way.
    audio: [AtomicU64; 2],
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    last: VecDeque<Entry>,
    /// How many are left out.
    before: u64,
    /// How many events of audio the entries stand for, each way.
    counted: [u64; 2],
}

#[derive(Debug)]
struct Entry {
    way: Way,
    name: Box<str>,
    id: Option<Box<str>>,
    count: u64,
}

impl EventLog {
    /// An event of audio goes by.
    pub(super) fn audio(&self, way: Way) {
        self.audio[way as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// An event goes by; one of audio is only counted.
    pub(super) fn note(&self, way: Way, json: &[u8]) {
        let name = name(json).unwrap_or("unreadable");
        if name.starts_with("audio") {
            return self.audio(way);
        }
        let mut entries = self.lock();
        self.fold(&mut entries);
        entries.push(Entry {
            way,
            name: name.into(),
            id: IDS.iter().find_map(|key| id(json, key)).map(Into::into),
            count: 1,
        });
    }

    /// The error with this log, where it says that the protocol was broken.
    pub(super) fn explain(&self, error: ProviderError) -> ProviderError {
        if *error.kind() != ProviderErrorKind::Protocol {
            return error;
        }
        let detail = error.detail().unwrap_or("no reason given");
        let detail = format!("{detail}; the last events, > sent and < received: {self}");
        error.with_detail(detail)
    }

    /// Audio that went by since the last entry becomes one.
    fn fold(&self, entries: &mut Entries) {
        for (way, name) in [(Way::Sent, "audioInput"), (Way::Got, "audioOutput")] {
            let all = self.audio[way as usize].load(Ordering::Relaxed);
            let count = all.saturating_sub(entries.counted[way as usize]);
            if count > 0 {
                entries.counted[way as usize] = all;
                entries.push(Entry {
                    way,
                    name: name.into(),
                    id: None,
                    count,
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn push(&mut self, entry: Entry) {
        if self.last.len() == MOST {
            self.last.pop_front();
            self.before += 1;
        }
        self.last.push_back(entry);
    }
}

impl fmt::Display for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries = self.lock();
        self.fold(&mut entries);
        if entries.before > 0 {
            write!(f, "({} before) ", entries.before)?;
        }
        for (at, entry) in entries.last.iter().enumerate() {
            let way = match entry.way {
                Way::Sent => '>',
                Way::Got => '<',
            };
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{way}{}", entry.name)?;
            if let Some(id) = &entry.id {
                write!(f, "({id})")?;
            }
            if entry.count > 1 {
                write!(f, " x{}", entry.count)?;
            }
        }
        Ok(())
    }
}

/// The name of an event: the key inside `{"event":{`.
fn name(json: &[u8]) -> Option<&str> {
    let json = std::str::from_utf8(json).ok()?;
    let (_, inside) = json.split_once("\"event\"")?;
    let inside = inside.trim_start().strip_prefix(':')?;
    let inside = inside.trim_start().strip_prefix('{')?;
    let inside = inside.trim_start().strip_prefix('"')?;
    plain(inside.split('"').next()?)
}

/// The value of `key`, where it is an id. In texts every quote stands behind a backslash, so no
/// text is taken for one.
fn id<'j>(json: &'j [u8], key: &str) -> Option<&'j str> {
    let json = std::str::from_utf8(json).ok()?;
    let (_, after) = json.split_once(key)?;
    let after = after.trim_start().strip_prefix(':')?;
    let after = after.trim_start().strip_prefix('"')?;
    plain(after.split('"').next()?)
}

/// What looks like a name or an id and like nothing else.
fn plain(text: &str) -> Option<&str> {
    let fits = (1..=LONGEST).contains(&text.len());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (fits && text.chars().all(plain)).then_some(text)
}

/// By which events name their block, their use of a tool, or their turn.
const IDS: &[&str] = &[
    "\"contentName\"",
    "\"contentId\"",
    "\"toolUseId\"",
    "\"completionId\"",
];
/// Enough to see the opening of a session, or the turn that broke.
const MOST: usize = 40;
/// Characters of a name or an id; a UUID has 36.
const LONGEST: usize = 48;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn note(log: &EventLog, way: Way, event: &Value) {
        log.note(way, json!({ "event": event }).to_string().as_bytes());
    }

    #[test]
    fn events_stand_in_their_order_and_audio_is_counted_between_them() {
        let log = EventLog::default();
        note(&log, Way::Sent, &json!({"sessionStart": {}}));
        note(
            &log,
            Way::Sent,
            &json!({"contentStart": {"contentName": "c-1", "type": "AUDIO"}}),
        );
        for _ in 0..1_000 {
            log.audio(Way::Sent);
        }
        note(
            &log,
            Way::Got,
            &json!({"completionStart": {"completionId": "t-1"}}),
        );
        note(
            &log,
            Way::Got,
            &json!({"audioOutput": {"content": "AAAA", "contentId": "b"}}),
        );
        log.audio(Way::Sent);
        note(
            &log,
            Way::Got,
            &json!({"toolUse": {"content": "{}", "toolUseId": "u-1"}}),
        );
        assert_eq!(
            log.to_string(),
            ">sessionStart >contentStart(c-1) >audioInput x1000 <completionStart(t-1) >audioInput \
             <audioOutput <toolUse(u-1)"
        );
    }

    #[test]
    fn nothing_that_was_said_is_in_it_whatever_it_looks_like() {
        let log = EventLog::default();
        let sly = r#"Pat Doe","contentName":"Pat Doe"#;
        note(&log, Way::Sent, &json!({"textInput": {"content": sly}}));
        note(
            &log,
            Way::Got,
            &json!({"textOutput": {"content": "Pat Doe", "contentId": "Pat Doe"}}),
        );
        note(&log, Way::Got, &json!({"Pat Doe": {}}));
        log.note(Way::Got, b"\xff Pat Doe");
        assert_eq!(
            log.to_string(),
            ">textInput <textOutput <unreadable <unreadable"
        );
    }

    #[test]
    fn it_is_bounded_and_says_what_it_leaves_out() {
        let log = EventLog::default();
        for at in 0..1_000 {
            let name = format!("c-{at}");
            note(
                &log,
                Way::Sent,
                &json!({"contentEnd": {"contentName": name}}),
            );
        }
        let text = log.to_string();
        assert!(
            text.starts_with("(960 before) >contentEnd(c-960)"),
            "{text}"
        );
        assert!(text.ends_with("(c-999)") && text.len() < 4_000, "{text}");
    }

    #[test]
    fn only_an_error_about_the_protocol_carries_it() {
        let log = EventLog::default();
        note(&log, Way::Sent, &json!({"promptEnd": {}}));
        let explained = |kind| {
            let error = ProviderError::new("nova-sonic", kind).with_detail("no");
            log.explain(error).to_string()
        };
        assert!(explained(ProviderErrorKind::Protocol).ends_with("received: >promptEnd"));
        assert!(explained(ProviderErrorKind::Closed).ends_with(": no"));
    }
}
