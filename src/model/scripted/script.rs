//! What is said, line by line.

use std::sync::Arc;

use crate::{
    model::Said,
    transcript::{Speaker, collapse_white_space},
};

/// The lines of a dialogue, one for each turn of the agent.
///
/// A line may have several sentences; each is shown, played and reported by itself. The default
/// is [`Script::scheduling`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    lines: Arc<[String]>,
    /// Tools to use before a line, by its number: name and arguments.
    tools: Vec<(usize, (String, String))>,
}

impl Script {
    /// A script of these lines; blank ones are left out.
    pub fn new(lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let lines = lines
            .into_iter()
            .map(|line| collapse_white_space(&line.into()))
            .filter(|line| !line.is_empty())
            .collect();
        Self {
            lines,
            tools: Vec::new(),
        }
    }

    /// Esther finds a time for a web meeting between a senior pastor and Mike Lawrence.
    #[must_use]
    pub fn scheduling() -> Self {
        Self::new([
            "Hello, this is Esther, an automated assistant. May I speak with your senior pastor?",
            "Thank you. I am calling for Mike Lawrence, who works with churches like yours. Is \
             this a good moment?",
            "Mike would like to meet the pastor on the web for fifteen minutes. Does this week \
             or next week suit better?",
            "Good. Would the pastor rather meet in the morning or in the afternoon?",
            "Thank you. Which day and time would suit the two of them?",
            "Wonderful. To which email address may Mike send the invitation?",
            "Thank you. Mike's team will confirm the time by email. Is there anything else I can do for you?",
        ])
    }

    /// Uses a tool before the line of this number, counted from 0, and speaks the line once the
    /// result is there. May be said several times for a line. A session that is not offered the
    /// tool goes without.
    #[must_use]
    pub fn with_tool(
        mut self,
        before: usize,
        name: impl Into<String>,
        arguments: &serde_json::Value,
    ) -> Self {
        let used = (name.into(), arguments.to_string());
        self.tools.push((before, used));
        self
    }

    /// The names and arguments of the tools to use before this line.
    pub(super) fn tools_before(&self, line: usize) -> impl Iterator<Item = (&String, &String)> {
        self.tools
            .iter()
            .filter(move |(before, _)| *before == line)
            .map(|(_, (name, arguments))| (name, arguments))
    }

    /// The lines, in order.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The line to speak after all that: the one after the last line of which `history` holds a
    /// part.
    pub(super) fn position_after(&self, history: &[Said]) -> usize {
        history
            .iter()
            .rev()
            .filter(|said| said.speaker == Speaker::Agent)
            .find_map(|said| self.line_of(&said.text))
            .map_or(0, |line| (line + 1) % self.lines.len().max(1))
    }

    fn line_of(&self, text: &str) -> Option<usize> {
        let text = collapse_white_space(text);
        if text.is_empty() {
            return None;
        }
        self.lines
            .iter()
            .rposition(|line| line.contains(&text) || text.contains(line.as_str()))
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::scheduling()
    }
}

/// The sentences of a line, each with the mark that ends it.
pub(super) fn sentences(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let end = rest
            .match_indices(['.', '?', '!'])
            .map(|(at, mark)| at + mark.len())
            .find(|end| rest[*end..].starts_with(' '))
            .unwrap_or(rest.len());
        let (sentence, later) = rest.split_at(end);
        rest = later.trim_start();
        (!sentence.is_empty()).then_some(sentence)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_scheduling_script_is_short_and_asks_one_question() {
        let script = Script::scheduling();
        assert!((6..=7).contains(&script.lines().len()));
        for line in script.lines() {
            assert!(line.split_whitespace().count() < 25, "{line}");
            assert_eq!(line.matches('?').count(), 1, "{line}");
        }
        let text = script.lines().concat();
        for word in [
            "Esther",
            "Mike Lawrence",
            "senior pastor",
            "fifteen minutes",
        ] {
            assert!(text.contains(word), "{word}");
        }
    }

    #[test]
    fn a_line_is_cut_into_its_sentences() {
        let cut = |line| sentences(line).collect::<Vec<_>>();
        assert_eq!(cut("Good. Is 3.30 fine?"), ["Good.", "Is 3.30 fine?"]);
        assert_eq!(cut("No mark"), ["No mark"]);
        assert_eq!(cut("Oh! Well?! Yes."), ["Oh!", "Well?!", "Yes."]);
        assert!(cut("").is_empty());
    }

    #[test]
    fn blank_lines_are_left_out_and_white_space_is_collapsed() {
        let script = Script::new(["  one\n two ", " ", ""]);
        assert_eq!(script.lines(), ["one two"]);
    }

    #[test]
    fn a_history_tells_where_to_go_on() {
        let script = Script::new(["First. Which?", "Second. Which?", "Third?"]);
        let said = |speaker, text: &str| Said {
            speaker,
            text: text.to_owned(),
        };
        assert_eq!(script.position_after(&[]), 0);
        let mut history = vec![said(Speaker::Agent, "First. Which?")];
        assert_eq!(script.position_after(&history), 1);
        history.push(said(Speaker::Caller, "Third?"));
        history.push(said(Speaker::Agent, "Second."));
        history.push(said(Speaker::Agent, ""));
        assert_eq!(script.position_after(&history), 2);
        history.push(said(Speaker::Agent, "Third?"));
        assert_eq!(script.position_after(&history), 0);
    }
}
