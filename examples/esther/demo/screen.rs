//! What is printed: plain lines where nobody looks, colours and folded lines in a terminal.

use std::io::{self, Write};

use console::{Color, Style, Term};

/// Standard output.
#[derive(Debug)]
pub(crate) struct Screen {
    out: io::Stdout,
    /// Characters in a line; `None` where lines are not folded.
    width: Option<usize>,
}

/// How something looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    /// Beside the matter.
    Faint,
    Heading,
    /// What the person says.
    Human,
    /// What Esther says.
    Esther,
    Good,
    Bad,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let term = Term::stdout();
        let width = term.is_term().then(|| term.size().1.into());
        Self {
            out: io::stdout(),
            width,
        }
    }

    /// A line that is never folded: columns must stay where they are.
    pub(crate) fn columns(&mut self, look: Look, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", look.style().apply_to(text))
    }

    /// A line of its own.
    pub(crate) fn say(&mut self, look: Look, text: &str) -> io::Result<()> {
        self.row("", None, look, text)
    }

    /// A heading, with an empty line before it.
    pub(crate) fn heading(&mut self, text: &str) -> io::Result<()> {
        self.empty()?;
        self.row("", None, Look::Heading, text)
    }

    pub(crate) fn empty(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// A text behind a margin; where it is folded, it stays behind it. Margins of the same `tint`
    /// belong together.
    pub(crate) fn row(
        &mut self,
        margin: &str,
        tint: Option<usize>,
        look: Look,
        text: &str,
    ) -> io::Result<()> {
        let indent = margin.chars().count();
        let room = self.width.map(|width| width.saturating_sub(indent));
        // A column that is narrower helps nobody.
        let room = room.filter(|room| *room >= NARROWEST);
        let style = match tint {
            Some(tint) => Style::new().fg(TINTS[tint % TINTS.len()]),
            None => Style::new().dim(),
        };
        let mut margin = style.apply_to(margin.to_owned());
        for line in folded(text, room) {
            writeln!(self.out, "{margin}{}", look.style().apply_to(line))?;
            margin = Style::new().apply_to(" ".repeat(indent));
        }
        self.out.flush()
    }
}

impl Look {
    const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Faint => Style::new().dim(),
            Self::Heading => Style::new().bold(),
            Self::Human => Style::new().cyan(),
            Self::Esther => Style::new(),
            Self::Good => Style::new().green().bold(),
            Self::Bad => Style::new().yellow(),
        }
    }
}

/// A text in lines of at most `room` characters, if words are no longer; one line at least.
fn folded(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else {
        return vec![text.to_owned()];
    };
    if text.chars().count() <= room {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if used == 0 || used + 1 + length <= room => {
                if used > 0 {
                    line.push(' ');
                    used += 1;
                }
                line.push_str(word);
                used += length;
            }
            _ => {
                lines.push(word.to_owned());
                used = length;
            }
        }
    }
    lines
}

/// Colours that are easily told apart on any ground.
const TINTS: [Color; 6] = [
    Color::Yellow,
    Color::Magenta,
    Color::Blue,
    Color::Green,
    Color::Red,
    Color::Cyan,
];
/// Characters.
const NARROWEST: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_folded_between_words_and_only_where_asked() {
        assert_eq!(folded("one two  three", None), ["one two  three"]);
        assert_eq!(folded("one two three", Some(8)), ["one two", "three"]);
        assert_eq!(folded("", Some(8)), [""]);
        assert_eq!(folded("unfoldable", Some(4)), ["unfoldable"]);
    }
}
