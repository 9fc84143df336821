//! The texts of one version, as they are written, checked and filled in.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    facts::Facts,
    placeholder::{Kind, Placeholder},
    template::{BadPlaceholder, Template},
};
use crate::call::Direction;

/// Everything that an agent is told and says, as it is written: with placeholders.
///
/// The first two kinds are instructions to the model, the others are words that are spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever writes a version writes every text of it"
)]
pub struct Texts {
    /// Who the agent is and what it does, on every call.
    pub system_prompt: String,
    /// What is added to that when they called us. May be empty.
    pub inbound_instructions: String,
    /// What is added to that when we called them. May be empty.
    pub outbound_instructions: String,
    /// The first words to whoever calls us.
    pub inbound_first_words: String,
    /// The first words to whoever we call.
    pub outbound_first_words: String,
    /// The message for a voicemail.
    pub voicemail: String,
    /// The answer to a call screener: who calls, and why.
    pub screening: String,
}

/// Something that is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadText {
    /// Which one, as the API names it.
    pub text: &'static str,
    /// What.
    pub problem: TextProblem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextProblem {
    /// There are no words in it.
    Empty,
    /// It has more characters than this.
    TooLong(usize),
    /// Filled in, it could have more bytes than this.
    TooLongFilled(usize),
    /// It holds a character that steers a device, on this line.
    Control(usize),
    /// A placeholder cannot be.
    Placeholder(BadPlaceholder),
}

/// The texts of one call.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Rendered {
    /// The instructions to the model, of the call's direction.
    pub system_prompt: String,
    /// The first words, of the call's direction.
    pub first_words: String,
    /// The message for a voicemail.
    pub voicemail: String,
    /// The answer to a call screener.
    pub screening: String,
}

/// The texts of a version, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Templates {
    system_prompt: Template,
    instructions: [Template; 2],
    first_words: [Template; 2],
    voicemail: Template,
    screening: Template,
}

impl Texts {
    /// Every text by the name that the API uses.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &str); 7] {
        [
            ("systemPrompt", &self.system_prompt),
            ("inboundInstructions", &self.inbound_instructions),
            ("outboundInstructions", &self.outbound_instructions),
            ("inboundFirstWords", &self.inbound_first_words),
            ("outboundFirstWords", &self.outbound_first_words),
            ("voicemail", &self.voicemail),
            ("screening", &self.screening),
        ]
    }

    /// One of them, to be written anew.
    pub fn text_mut(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "systemPrompt" => &mut self.system_prompt,
            "inboundInstructions" => &mut self.inbound_instructions,
            "outboundInstructions" => &mut self.outbound_instructions,
            "inboundFirstWords" => &mut self.inbound_first_words,
            "outboundFirstWords" => &mut self.outbound_first_words,
            "voicemail" => &mut self.voicemail,
            "screening" => &mut self.screening,
            _ => return None,
        })
    }

    /// The same with ends of lines as they are kept, and without blanks around.
    pub(super) fn tidied(mut self) -> Self {
        for name in Self::default().all().map(|(name, _)| name) {
            if let Some(text) = self.text_mut(name) {
                *text = text.replace("\r\n", "\n").trim().to_owned();
            }
        }
        self
    }

    /// Reads and checks them all.
    pub(super) fn templates(&self) -> Result<Templates, Vec<BadText>> {
        let mut wrong = Vec::new();
        let mut read = |text: &'static str, written: &str, form: Form| {
            let (template, problems) = form.read(written);
            wrong.extend(
                problems
                    .into_iter()
                    .map(|problem| BadText { text, problem }),
            );
            template
        };
        let templates = Templates {
            system_prompt: read("systemPrompt", &self.system_prompt, Form::System),
            instructions: [
                read(
                    "inboundInstructions",
                    &self.inbound_instructions,
                    Form::Added,
                ),
                read(
                    "outboundInstructions",
                    &self.outbound_instructions,
                    Form::Added,
                ),
            ],
            first_words: [
                read("inboundFirstWords", &self.inbound_first_words, Form::Spoken),
                read(
                    "outboundFirstWords",
                    &self.outbound_first_words,
                    Form::Spoken,
                ),
            ],
            voicemail: read("voicemail", &self.voicemail, Form::Spoken),
            screening: read("screening", &self.screening, Form::Spoken),
        };
        if wrong.is_empty() && templates.longest_instructions() > LONGEST_INSTRUCTIONS {
            wrong.push(BadText {
                text: "systemPrompt",
                problem: TextProblem::TooLongFilled(LONGEST_INSTRUCTIONS),
            });
        }
        match wrong.is_empty() {
            true => Ok(templates),
            false => Err(wrong),
        }
    }
}

impl Templates {
    pub(super) fn render(&self, direction: Direction, facts: &Facts) -> Rendered {
        let way = match direction {
            Direction::Inbound => 0,
            Direction::Outbound => 1,
        };
        let (voicemail, screening) = (self.voicemail.render(facts), self.screening.render(facts));
        let mut facts = facts.clone();
        facts.keep(Placeholder::Voicemail, voicemail.clone());
        facts.keep(Placeholder::Screening, screening.clone());
        let mut system_prompt = self.system_prompt.render(&facts);
        let added = self.instructions[way].render(&facts);
        if !added.is_empty() {
            system_prompt.push_str(BETWEEN);
            system_prompt.push_str(&added);
        }
        Rendered {
            system_prompt,
            first_words: self.first_words[way].render(&facts),
            voicemail,
            screening,
        }
    }

    /// Every placeholder that is used, and whether something is said when nothing is known, by the
    /// name of the text.
    pub(super) fn places(&self) -> impl Iterator<Item = (&'static str, Placeholder, bool)> + '_ {
        let all = [
            ("systemPrompt", &self.system_prompt),
            ("inboundInstructions", &self.instructions[0]),
            ("outboundInstructions", &self.instructions[1]),
            ("inboundFirstWords", &self.first_words[0]),
            ("outboundFirstWords", &self.first_words[1]),
            ("voicemail", &self.voicemail),
            ("screening", &self.screening),
        ];
        all.into_iter().flat_map(|(name, template)| {
            let places = template.places();
            places.map(move |(place, otherwise)| (name, place, otherwise))
        })
    }

    fn longest_instructions(&self) -> usize {
        let own = self.voicemail.longest(0).max(self.screening.longest(0));
        let added = self.instructions.iter().map(|added| added.longest(own));
        self.system_prompt.longest(own) + BETWEEN.len() + added.max().unwrap_or(0)
    }
}

/// What a text is for, and so how it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    System,
    Added,
    Spoken,
}

impl Form {
    fn read(self, written: &str) -> (Template, Vec<TextProblem>) {
        let most = match self {
            Self::System => LONGEST_SYSTEM_PROMPT,
            Self::Added => LONGEST_ADDED,
            Self::Spoken => LONGEST_SENTENCE,
        };
        let mut problems = Vec::new();
        if self != Self::Added && written.trim().is_empty() {
            problems.push(TextProblem::Empty);
        }
        if written.chars().count() > most {
            problems.push(TextProblem::TooLong(most));
            return (Template::default(), problems);
        }
        let odd = |c: char| c.is_control() && c != '\n' && c != '\t';
        if let Some(line) = written.split('\n').position(|line| line.contains(odd)) {
            problems.push(TextProblem::Control(line + 1));
        }
        let in_speech = |place: Placeholder| !matches!(place.kind(), Kind::Lines | Kind::Own);
        let read = Template::parse_where(written, |place| self != Self::Spoken || in_speech(place));
        match read {
            Ok(template) => {
                if self == Self::Spoken && template.longest(0) > LONGEST_SENTENCE_FILLED {
                    problems.push(TextProblem::TooLongFilled(LONGEST_SENTENCE_FILLED));
                }
                (template, problems)
            }
            Err(wrong) => {
                problems.extend(wrong.into_iter().map(TextProblem::Placeholder));
                (Template::default(), problems)
            }
        }
    }
}

/// What stands in it is for the person on the phone.
impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendered").finish_non_exhaustive()
    }
}

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            TextProblem::Placeholder(bad) => write!(f, "{}, {bad}", self.text),
            problem => write!(f, "{}: {problem}", self.text),
        }
    }
}

impl std::error::Error for BadText {}

impl fmt::Display for TextProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there are no words in it"),
            Self::TooLong(most) => write!(f, "it has more than {most} characters"),
            Self::TooLongFilled(most) => {
                write!(
                    f,
                    "with all placeholders filled it could exceed {most} bytes"
                )
            }
            Self::Control(line) => write!(f, "line {line} holds a control character"),
            Self::Placeholder(bad) => write!(f, "{bad}"),
        }
    }
}

const BETWEEN: &str = "\n\n";

/// Several pages, as many as a call by hand may bring.
const LONGEST_SYSTEM_PROMPT: usize = 20_000;
const LONGEST_ADDED: usize = 5_000;
/// A minute of talk.
const LONGEST_SENTENCE: usize = 1_500;
const LONGEST_SENTENCE_FILLED: usize = 8_000;
/// What Nova Sonic takes as one text is 50 KB (Nova Sonic user guide, quotas of text input): a
/// little less, so that a history finds its place beside it.
const LONGEST_INSTRUCTIONS: usize = 48 * 1024;

#[cfg(test)]
pub(super) mod tests {
    use jiff::{Timestamp, tz::TimeZone};

    use super::*;

    pub(in crate::prompt) fn texts(system_prompt: &str) -> Texts {
        Texts {
            system_prompt: system_prompt.to_owned(),
            inbound_instructions: "They rang us.".to_owned(),
            outbound_instructions: "You rang {{lead.name|them}}.".to_owned(),
            inbound_first_words: "Hello {{lead.name}}.".to_owned(),
            outbound_first_words: "Hello, am I speaking with {{lead.name|the pastor}}?".to_owned(),
            voicemail: "This is {{host.name|us}}.".to_owned(),
            screening: "To book a meeting.".to_owned(),
        }
    }

    fn render(texts: &Texts, direction: Direction) -> Rendered {
        let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        let facts = Facts::new(direction, &now).with(Placeholder::HostName, "Mike {{today}}");
        texts.templates().unwrap().render(direction, &facts)
    }

    #[test]
    fn each_direction_has_its_own_words() {
        let texts = texts("Be kind. Voicemails hear: {{voicemail}} Screeners: {{screening}}");
        let system =
            "Be kind. Voicemails hear: This is Mike {{today}}. Screeners: To book a meeting.";
        let inbound = render(&texts, Direction::Inbound);
        assert_eq!(inbound.system_prompt, format!("{system}\n\nThey rang us."));
        assert_eq!(inbound.first_words, "Hello.");
        let outbound = render(&texts, Direction::Outbound);
        assert_eq!(
            outbound.system_prompt,
            format!("{system}\n\nYou rang them.")
        );
        assert_eq!(
            outbound.first_words,
            "Hello, am I speaking with the pastor?"
        );
        assert_eq!(outbound.voicemail, "This is Mike {{today}}.");
        assert_eq!(outbound.screening, "To book a meeting.");
        let mut alone = texts;
        alone.inbound_instructions.clear();
        assert_eq!(render(&alone, Direction::Inbound).system_prompt, system);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let mut wrong = texts(" ");
        wrong.inbound_instructions = "x".repeat(LONGEST_ADDED + 1);
        wrong.outbound_instructions = "fine\nnot\u{7}fine".to_owned();
        wrong.inbound_first_words = "Hi {{lead.nmae}}\n{{today".to_owned();
        wrong.outbound_first_words = "{{lead.known}}".to_owned();
        wrong.voicemail = "{{voicemail}}".to_owned();
        wrong.screening = "{{lead.name}}".repeat(51);
        let told = wrong.templates().unwrap_err();
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        let expected = [
            "systemPrompt: there are no words in it",
            "inboundInstructions: it has more than 5000 characters",
            "outboundInstructions: line 2 holds a control character",
            "inboundFirstWords, line 1, column 4: there is no {{lead.nmae}}; known are ",
            "inboundFirstWords, line 2, column 1: what two braces open",
            "outboundFirstWords, line 1, column 1: {{lead.known}} may stand in instructions alone",
            "voicemail, line 1, column 1: {{voicemail}} may stand in instructions alone",
            "screening: with all placeholders filled it could exceed 8000 bytes",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told} / {expected}");
        }
        let many = texts(&"{{lead.known}}\n".repeat(20));
        let told = many.templates().unwrap_err();
        assert_eq!(
            told[0].problem,
            TextProblem::TooLongFilled(LONGEST_INSTRUCTIONS)
        );
    }

    #[test]
    fn every_placeholder_has_its_place_in_instructions() {
        for place in Placeholder::ALL {
            let texts = texts(&format!("Known: {{{{{place}|nothing}}}}."));
            let rendered = render(&texts, Direction::Outbound).system_prompt;
            assert!(rendered.starts_with("Known: ") && !rendered.contains("nothing|"));
            let unknown = rendered.starts_with("Known: nothing.");
            let known = place.is_always_known() || place == Placeholder::HostName;
            assert_eq!(unknown, !known, "{place}: {rendered}");
        }
    }

    #[test]
    fn names_lead_to_texts() {
        let mut texts = Texts::default();
        for (name, _) in Texts::default().all() {
            *texts.text_mut(name).expect("a text") = format!(" {name}\r\n");
        }
        let texts = texts.tidied();
        for (name, text) in texts.all() {
            assert_eq!(name, text);
        }
        assert_eq!(texts.clone().text_mut("note"), None);
        let json = serde_json::to_value(&texts).unwrap();
        for (name, text) in texts.all() {
            assert_eq!(json[name], text);
        }
    }
}
