//! What a person hears before they take a call over: who is calling, from which church, and why.

use novavoice::{
    call::{CallInfo, Direction, Party},
    lead::{Lead, LeadStore, PhoneNumber},
    transcript::{Speaker, Utterance},
};

/// What is known of the caller, and what they said, in words for a voice. A store that does not
/// answer makes it shorter and keeps nobody waiting.
pub(crate) async fn of(call: &CallInfo, leads: &dyn LeadStore, lines: &[Utterance]) -> String {
    let phone = call.remote.as_ref();
    let phone = phone.and_then(|remote| PhoneNumber::try_from(remote).ok());
    let lead = match &phone {
        Some(phone) => leads.get(phone).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "somebody is briefed without the lead");
            None
        }),
        None => None,
    };
    text(call, lead.as_ref(), lines)
}

fn text(call: &CallInfo, lead: Option<&Lead>, lines: &[Utterance]) -> String {
    let field = |name| lead.and_then(|lead| lead.text(name)).map(said);
    let who = match (field("name"), field("company")) {
        (Some(name), Some(church)) => format!("{name} of {church}"),
        (Some(name), None) => name,
        (None, Some(church)) => format!("Somebody from {church}"),
        (None, None) => nameless(call.remote.as_ref()),
    };
    let state = field("state_province").map(|state| format!(", {state},"));
    let way = match call.direction {
        Direction::Inbound => "has called us",
        Direction::Outbound => "was called by us",
    };
    let mut text = format!(
        "This is Esther, the assistant of Mike Lawrence Productions. {who}{} {way} and wants to \
         talk with a person.",
        state.unwrap_or_default()
    );
    let words: Vec<String> = last_words(lines);
    if !words.is_empty() {
        text.push_str(&format!(" Their last words were: {}", words.join(" ")));
        if !text.ends_with(['.', '!', '?']) {
            text.push('.');
        }
    }
    text
}

/// Somebody of whom nothing is known but the end of a number, spelt for the ear.
fn nameless(remote: Option<&Party>) -> String {
    let digits: Vec<char> = remote
        .map_or("", |remote| remote.reveal())
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    match digits.as_slice() {
        [.., a, b, c, d] => format!("Somebody whose number ends in {a} {b} {c} {d}"),
        _ => "Somebody whose number is withheld".to_owned(),
    }
}

/// The last lines of the caller that together are short enough.
fn last_words(lines: &[Utterance]) -> Vec<String> {
    let mut lines: Vec<&Utterance> = lines.iter().collect();
    lines.sort_by_key(|line| line.at);
    let mut room = LONGEST_WORDS;
    let theirs = lines.into_iter().rev();
    let theirs = theirs.filter(|line| line.speaker == Speaker::Caller);
    let mut last: Vec<String> = theirs
        .take(LINES)
        .map(|line| said(&line.text))
        .take_while(|line| {
            let length = line.chars().count();
            let fits = length <= room;
            room = room.saturating_sub(length);
            fits
        })
        .collect();
    last.reverse();
    last
}

/// A value from outside on one line and of modest length.
fn said(value: &str) -> String {
    let words: Vec<_> = value.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST_VALUE).collect()
}

/// Enough to know what it is about.
const LINES: usize = 3;
/// Characters of all of them.
const LONGEST_WORDS: usize = 400;
/// Characters of one value or line.
const LONGEST_VALUE: usize = 200;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use novavoice::{audio::SampleRate, call::CallId};

    use super::*;

    fn call(remote: &str) -> CallInfo {
        let at = Timestamp::UNIX_EPOCH;
        let mut call = CallInfo::new(
            CallId::new("a"),
            Direction::Inbound,
            at,
            SampleRate::Hz16000,
        );
        call.remote = Some(Party::new(remote));
        call
    }

    fn line(seq: u64, speaker: Speaker, text: &str) -> Utterance {
        let at = Timestamp::from_second(i64::try_from(seq).unwrap()).unwrap();
        Utterance {
            seq,
            at,
            speaker,
            text: text.to_owned(),
            cut: false,
        }
    }

    #[test]
    fn it_says_who_is_calling_from_where_and_why() {
        let phone = PhoneNumber::parse("+12125550142").unwrap();
        let lead = Lead::new(phone)
            .with("name", "Pat  Doe")
            .with("company", "Chapel Hill")
            .with("state_province", "NY");
        let lines = [
            line(1, Speaker::Agent, "How may I help?"),
            line(3, Speaker::Caller, "In May, I think"),
            line(2, Speaker::Caller, "We want to talk about the date."),
        ];
        let text = text(&call("12125550142"), Some(&lead), &lines);
        assert_eq!(
            text,
            "This is Esther, the assistant of Mike Lawrence Productions. Pat Doe of Chapel Hill, \
             NY, has called us and wants to talk with a person. Their last words were: We want to \
             talk about the date. In May, I think."
        );
    }

    #[test]
    fn nothing_is_made_up_about_somebody_who_is_not_known() {
        for (remote, who) in [
            (
                "12125550142",
                "Somebody whose number ends in 0 1 4 2 has called us",
            ),
            (
                "anonymous",
                "Somebody whose number is withheld has called us",
            ),
        ] {
            let text = text(&call(remote), None, &[]);
            assert!(text.contains(who) && text.ends_with("a person."), "{text}");
        }
    }

    #[test]
    fn however_much_was_said_it_stays_short() {
        let long = "word ".repeat(500);
        let lines: Vec<_> = (1..=20)
            .map(|seq| line(seq, Speaker::Caller, &long))
            .collect();
        let text = text(&call("12125550142"), None, &lines);
        assert!(text.chars().count() < 800, "{text}");
    }
}
