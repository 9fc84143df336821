//! What speaks against a prompt, before anybody hears it. Nothing here keeps one from being used.

use jiff::{Timestamp, tz::TimeZone};
use novavoice::{
    call::Direction,
    prompt::{Facts, Placeholder, PromptVersion},
};
use serde::Deserialize;

/// A line of a caller, what Esther should do about it, and words of the prompt that ask for that.
#[derive(Debug, Deserialize)]
struct Case {
    caller: String,
    behaviour: String,
    asked_for_by: Vec<String>,
}

/// Everything that somebody should look at: lines of callers about which the prompt says nothing,
/// first words that are long, and gaps where a lead lacks something.
pub(crate) fn warnings(version: &PromptVersion) -> Vec<String> {
    let mut warnings = Vec::new();
    for way in ["inboundInstructions", "outboundInstructions"] {
        let told = |text: &str| text == way || text == "systemPrompt";
        let mut places = version.places().filter(|(text, _, _)| told(text));
        if !places.any(|(_, place, _)| CLOCKS.contains(&place)) {
            warnings.push(format!(
                "{way}: nothing says what day it is, as {{{{call.clock}}}} does"
            ));
        }
    }
    let texts = &version.texts;
    for (text, words) in [
        ("inboundFirstWords", &texts.inbound_first_words),
        ("outboundFirstWords", &texts.outbound_first_words),
    ] {
        let length = words.split_whitespace().count();
        if length >= LONGEST_REPLY {
            warnings.push(format!(
                "{text} has {length} words: every reply has fewer than {LONGEST_REPLY}"
            ));
        }
    }
    let spoken = |text: &str| SPOKEN.contains(&text);
    for (text, place, said) in version.places() {
        if spoken(text) && !said && !place.is_always_known() && !HOSTS.contains(&place) {
            warnings.push(format!(
                "{text} leaves a gap where {place} is not known: {{{{{place}|words}}}} fills it"
            ));
        }
    }
    let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let facts = Facts::new(Direction::Outbound, &now);
    let told = plain(&version.render(Direction::Outbound, &facts).system_prompt);
    for case in cases() {
        let missing = case
            .asked_for_by
            .iter()
            .find(|words| !told.contains(&plain(words)));
        if let Some(missing) = missing {
            warnings.push(format!(
                "a caller says {:?}, and nothing says that Esther {}: {missing:?} would",
                case.caller, case.behaviour
            ));
        }
    }
    warnings
}

/// The test set. A test reads it whole.
fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("callers.json")).unwrap_or_default()
}

/// In lower case on one line.
fn plain(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

const LONGEST_REPLY: usize = 25;
const CLOCKS: [Placeholder; 3] = [Placeholder::CallClock, Placeholder::Now, Placeholder::Today];
const HOSTS: [Placeholder; 2] = [Placeholder::HostName, Placeholder::HostCompany];
const SPOKEN: [&str; 4] = [
    "inboundFirstWords",
    "outboundFirstWords",
    "voicemail",
    "screening",
];

#[cfg(test)]
mod tests {
    use novavoice::prompt::Draft;

    use super::*;
    use crate::persona::shipped;

    #[test]
    fn every_case_asks_for_something() {
        let cases = cases();
        assert!(cases.len() >= 20);
        for case in cases {
            assert!(
                !case.asked_for_by.is_empty() && !case.behaviour.is_empty(),
                "{case:?}"
            );
        }
    }

    #[test]
    fn what_is_left_out_is_told() {
        let mut texts = shipped().as_version(0, None).texts;
        texts.system_prompt = texts
            .system_prompt
            .replace("an automated \\\nassistant", "a person")
            .replace("that you are an automated assistant", "your name");
        texts.outbound_instructions = "You rang them.".to_owned();
        texts.outbound_first_words = format!("Hello {{{{lead.name}}}}, {}", "well ".repeat(30));
        let version = Draft::new(texts).expect("right").as_version(1, None);
        let told = warnings(&version).join("\n");
        for expected in [
            "outboundInstructions: nothing says what day it is",
            "outboundFirstWords has 32 words",
            "outboundFirstWords leaves a gap where lead.name is not known",
            "a caller says",
        ] {
            assert!(told.contains(expected), "{expected:?} in {told}");
        }
        assert!(!told.contains("inboundInstructions"), "{told}");
    }
}
