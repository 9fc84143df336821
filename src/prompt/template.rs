//! Texts with placeholders: read once where they are written, filled in for each call.

use std::fmt;

use super::{facts::Facts, placeholder::Placeholder};

/// A text and the places that are open in it. See [the module](super) for the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Words(String),
    Place {
        place: Placeholder,
        /// What is said when nothing is known.
        otherwise: String,
    },
}

/// Something in braces that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadPlaceholder {
    /// Where the braces open: a line, from 1.
    pub line: usize,
    /// And a character of the line, from 1.
    pub column: usize,
    /// Why it cannot be.
    pub problem: PlaceholderProblem,
}

/// Why something in braces cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceholderProblem {
    /// There is none of this name.
    Unknown(String),
    /// The braces are not closed on their line.
    Unclosed,
    /// What is said when nothing is known holds a brace or is too long.
    Otherwise(Placeholder),
    /// It stands in words that are spoken and is for instructions alone.
    NotHere(Placeholder),
    /// There are more than a text may have.
    TooMany,
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in order.
    pub fn parse(text: &str) -> Result<Self, Vec<BadPlaceholder>> {
        Self::parse_where(text, |_| true)
    }

    /// Reads a text in which not every placeholder may stand.
    pub(super) fn parse_where(
        text: &str,
        may_stand: impl Fn(Placeholder) -> bool,
    ) -> Result<Self, Vec<BadPlaceholder>> {
        let (mut pieces, mut wrong, mut places) = (Vec::new(), Vec::new(), 0);
        let mut from = 0;
        while let Some(opens) = text[from..].find(OPEN).map(|at| from + at) {
            if opens > from {
                pieces.push(Piece::Words(text[from..opens].to_owned()));
            }
            from = opens + OPEN.len();
            let read = read_place(&text[from..]).and_then(|(place, otherwise, length)| {
                from += length;
                match may_stand(place) {
                    true => Ok(Piece::Place { place, otherwise }),
                    false => Err(PlaceholderProblem::NotHere(place)),
                }
            });
            places += 1;
            match read {
                Ok(_) if places > MOST_PLACES => {
                    wrong.push(BadPlaceholder::at(text, opens, PlaceholderProblem::TooMany));
                    break;
                }
                Ok(place) => pieces.push(place),
                Err(problem) => wrong.push(BadPlaceholder::at(text, opens, problem)),
            }
            if wrong.len() >= MOST_PROBLEMS {
                break;
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        if from < text.len() {
            pieces.push(Piece::Words(text[from..].to_owned()));
        }
        Ok(Self { pieces })
    }

    /// The text of one call.
    #[must_use]
    pub fn render(&self, facts: &Facts) -> String {
        let mut page = Page::default();
        for piece in &self.pieces {
            match piece {
                Piece::Words(words) => page.words(words),
                Piece::Place { place, otherwise } => {
                    page.value(facts.get(*place).unwrap_or(otherwise));
                }
            }
        }
        page.finish()
    }

    /// What it leaves open, in order, and whether something is said when nothing is known.
    pub fn places(&self) -> impl Iterator<Item = (Placeholder, bool)> + '_ {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Words(_) => None,
            Piece::Place { place, otherwise } => Some((*place, !otherwise.is_empty())),
        })
    }

    /// Bytes that it has at the most, whatever is known, where another text that it shows has `own`.
    pub(super) fn longest(&self, own: usize) -> usize {
        let lengths = self.pieces.iter().map(|piece| match piece {
            Piece::Words(words) => words.len(),
            Piece::Place { place, otherwise } => place.kind().longest(own).max(otherwise.len()),
        });
        lengths.sum()
    }
}

/// What stands behind opening braces: the place, what is said otherwise, and how many bytes both
/// take with the closing braces.
fn read_place(rest: &str) -> Result<(Placeholder, String, usize), PlaceholderProblem> {
    let ends = rest.find(CLOSE).ok_or(PlaceholderProblem::Unclosed)?;
    let inside = &rest[..ends];
    if inside.contains('\n') || inside.contains(OPEN) {
        return Err(PlaceholderProblem::Unclosed);
    }
    let (name, otherwise) = inside.split_once('|').unwrap_or((inside, ""));
    let name = name.trim();
    let place = Placeholder::named(name)
        .ok_or_else(|| PlaceholderProblem::Unknown(name.chars().take(LONGEST_NAME).collect()))?;
    let otherwise = otherwise.trim();
    if otherwise.contains(['{', '}']) || otherwise.chars().count() > LONGEST_OTHERWISE {
        return Err(PlaceholderProblem::Otherwise(place));
    }
    Ok((place, otherwise.to_owned(), ends + CLOSE.len()))
}

/// A text as it is filled in, line by line.
#[derive(Default)]
struct Page {
    text: String,
    /// Where the line began that is being written.
    line: usize,
    /// Whether the line held a place, and whether anything is on it.
    open: bool,
    filled: bool,
    /// Nothing was put into the last place: the space around it is one too many.
    gap: bool,
}

impl Page {
    fn words(&mut self, words: &str) {
        let mut lines = words.split('\n');
        if let Some(first) = lines.next() {
            self.rest_of_line(first, lines.clone().next().is_some());
        }
        while let Some(line) = lines.next() {
            self.end_line();
            self.rest_of_line(line, lines.clone().next().is_some());
        }
    }

    fn rest_of_line(&mut self, words: &str, ends: bool) {
        if std::mem::take(&mut self.gap) {
            let next = words.chars().next();
            let closes = match next {
                Some(c) => c == ' ' || CLOSING.contains(c),
                None => ends,
            };
            if closes && self.text[self.line..].ends_with(' ') {
                self.text.pop();
            }
            let begins = self.text.len() == self.line;
            let words = match words.strip_prefix(' ') {
                Some(rest) if begins => rest,
                _ => words,
            };
            self.gap = words.is_empty() && !ends;
            self.push(words);
        } else {
            self.push(words);
        }
    }

    fn value(&mut self, value: &str) {
        self.open = true;
        if value.is_empty() {
            self.gap = true;
        } else {
            self.gap = false;
            self.push(value);
        }
    }

    fn push(&mut self, text: &str) {
        self.filled |= text.chars().any(|c| !c.is_whitespace());
        self.text.push_str(text);
    }

    /// A line on which nothing but places stood, none of them known, is none.
    fn end_line(&mut self) {
        if self.open && !self.filled {
            self.text.truncate(self.line);
        } else {
            self.text.push('\n');
        }
        self.line = self.text.len();
        (self.open, self.filled, self.gap) = (false, false, false);
    }

    fn finish(mut self) -> String {
        if self.open && !self.filled {
            self.text.truncate(self.line);
            if self.text.ends_with('\n') {
                self.text.pop();
            }
        } else if self.gap && self.text.ends_with(' ') {
            self.text.pop();
        }
        self.text
    }
}

impl BadPlaceholder {
    fn at(text: &str, byte: usize, problem: PlaceholderProblem) -> Self {
        let before = &text[..byte];
        let line = before.rfind('\n').map_or(0, |end| end + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line..].chars().count() + 1,
            problem,
        }
    }
}

impl fmt::Display for BadPlaceholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            problem,
        } = self;
        write!(f, "line {line}, column {column}: {problem}")
    }
}

impl std::error::Error for BadPlaceholder {}

impl fmt::Display for PlaceholderProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let known = Placeholder::ALL.map(Placeholder::as_str).join(", ");
                // What somebody wrote must not run through the sentence.
                let name: String = name.chars().filter(|c| !c.is_control()).collect();
                write!(f, "there is no {{{{{name}}}}}; known are {known}")
            }
            Self::Unclosed => write!(f, "what two braces open, two braces close on the same line"),
            Self::Otherwise(place) => write!(
                f,
                "what is said without {place} has no braces and at most {LONGEST_OTHERWISE} characters"
            ),
            Self::NotHere(place) => {
                write!(f, "{{{{{place}}}}} may stand in instructions alone")
            }
            Self::TooMany => write!(f, "a text has at most {MOST_PLACES} placeholders"),
        }
    }
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";
/// What follows a word without a space.
const CLOSING: &str = ",.;:!?)";
const MOST_PLACES: usize = 200;
const MOST_PROBLEMS: usize = 20;
/// Of a wrong name, as it is told.
const LONGEST_NAME: usize = 60;
const LONGEST_OTHERWISE: usize = 100;

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};
    use proptest::prelude::*;

    use super::*;
    use crate::call::Direction;

    fn facts() -> Facts {
        let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        Facts::new(Direction::Inbound, &now)
    }

    fn rendered(text: &str, facts: &Facts) -> String {
        Template::parse(text).unwrap().render(facts)
    }

    #[test]
    fn places_are_filled_with_what_is_known() {
        let facts = facts().with(Placeholder::LeadName, "Pat");
        for (text, expected) in [
            ("", ""),
            ("No place } { }} here", "No place } { }} here"),
            ("{{lead.name}}", "Pat"),
            ("Hello {{ lead.name | there }}!", "Hello Pat!"),
            ("Hello {{lead.company|your church}}!", "Hello your church!"),
            ("{{lead.name}}{{call.direction}}", "Patinbound"),
            (
                "{{today}}: {{lead.name}}}",
                "Thursday, January 1, 1970: Pat}",
            ),
            ("añ {{lead.name}} 通話", "añ Pat 通話"),
        ] {
            assert_eq!(rendered(text, &facts), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_leaves_no_gap() {
        for (text, expected) in [
            (
                "Hello {{lead.name}}, this is Esther.",
                "Hello, this is Esther.",
            ),
            ("Hello {{lead.name}} of {{lead.company}}.", "Hello of."),
            ("Hello {{lead.name}} {{lead.company}} again", "Hello again"),
            ("{{lead.name}} hello", "hello"),
            ("Hello {{lead.name}}", "Hello"),
            ("Hello {{lead.name}}\nagain", "Hello\nagain"),
            ("A:\n{{lead.known}}\nB", "A:\nB"),
            ("A:\n {{lead.known}} {{lead.name}}\nB", "A:\nB"),
            ("A:\n{{lead.known}}", "A:"),
            ("{{lead.known}}\nB", "B"),
            ("{{lead.known}}", ""),
            ("A\n\nB {{lead.name|x}}\n", "A\n\nB x\n"),
        ] {
            assert_eq!(rendered(text, &facts()), expected, "{text}");
        }
    }

    #[test]
    fn lines_stay_lines() {
        let facts = facts().with_lines(Placeholder::LeadKnown, ["One.", "Two."]);
        assert_eq!(
            rendered("A:\n{{lead.known}}\nB", &facts),
            "A:\nOne.\nTwo.\nB"
        );
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_its_place() {
        let text = "Hi {{lead.nmae}}\n\nañ {{Lead.name}} {{ {{lead.name|{x} }} {{}}\n{{today";
        let wrong = Template::parse(text).unwrap_err();
        let places: Vec<_> = wrong.iter().map(|bad| (bad.line, bad.column)).collect();
        assert_eq!(places, [(1, 4), (3, 4), (3, 18), (3, 21), (3, 40), (4, 1)]);
        let told: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        assert!(told[0].contains("there is no {{lead.nmae}}; known are lead.name, lead.company"));
        assert!(told[2].contains("two braces close"), "{told:#?}");
        assert!(told[3].contains("without lead.name"), "{told:#?}");
        assert!(told[4].contains("there is no {{}}"), "{told:#?}");
        let many = "{{today}}".repeat(MOST_PLACES);
        assert!(Template::parse(&many).is_ok());
        let many = Template::parse(&(many + "{{today}}")).unwrap_err();
        assert_eq!(many[0].problem, PlaceholderProblem::TooMany);
    }

    /// Texts that look like templates more often than random ones do.
    fn texts() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "{{",
            "}}",
            "{",
            "}",
            "|",
            "lead.name",
            "today",
            "lead.known",
            "{{lead.name}}",
            "{{lead.company|your church}}",
            "{{today}}",
            "{{voicemail}}",
            " ",
            "\n",
            "Hello, ",
            "añ",
            "\u{1f600}",
            "\0",
        ]);
        prop::collection::vec(pieces, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_text_panics(text in prop_oneof![texts(), any::<String>()], value in any::<String>()) {
            let facts = Facts::default()
                .with(Placeholder::LeadName, &value)
                .with(Placeholder::LeadKnown, &value);
            match Template::parse(&text) {
                Ok(template) => {
                    let rendered = template.render(&facts);
                    prop_assert!(rendered.len() <= template.longest(0));
                    if !text.contains(OPEN) {
                        prop_assert_eq!(rendered, text);
                    }
                }
                Err(wrong) => {
                    prop_assert!(!wrong.is_empty());
                    for bad in wrong {
                        let line = text.split('\n').nth(bad.line - 1).expect("its line");
                        let from: String = line.chars().skip(bad.column - 1).collect();
                        prop_assert!(from.starts_with(OPEN), "{bad}: {from:?}");
                    }
                }
            }
        }

        /// A value stands there as it is, whatever it looks like.
        #[test]
        fn values_are_never_read_as_templates(around in "[a-z ]{0,20}", inside in texts()) {
            let facts = facts()
                .with(Placeholder::LeadName, format!("x {inside}"))
                .with(Placeholder::LeadCompany, "{{lead.name}} {{today}}");
            let name = facts.get(Placeholder::LeadName).expect("a name").to_owned();
            let text = format!("{around}[{{{{lead.name}}}}][{{{{lead.company}}}}]");
            let expected = format!("{around}[{name}][{{{{lead.name}}}} {{{{today}}}}]");
            prop_assert_eq!(rendered(&text, &facts), expected);
        }
    }
}
