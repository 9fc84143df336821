//! iCalendar text as a tree of components (RFC 5545, sections 3.1 to 3.4). Pure.

/// A component: what stands between `BEGIN` and `END`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Component {
    /// In capitals.
    pub(super) name: String,
    pub(super) properties: Vec<Property>,
    pub(super) components: Vec<Self>,
}

/// A content line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Property {
    /// In capitals.
    pub(super) name: String,
    /// Names in capitals, values without their quotes.
    parameters: Vec<(String, String)>,
    pub(super) value: String,
}

impl Component {
    /// The first `VCALENDAR` of a text; `None` when there is no whole one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut open: Vec<Self> = Vec::new();
        for line in unfolded(text) {
            let Some(property) = Property::parse(&line) else {
                // A line that nobody can read says nothing.
                continue;
            };
            match property.name.as_str() {
                "BEGIN" if open.len() < DEEPEST => open.push(Self {
                    name: property.value.trim().to_ascii_uppercase(),
                    ..Self::default()
                }),
                "BEGIN" => return None,
                "END" => {
                    let closed = open.pop()?;
                    if !closed.name.eq_ignore_ascii_case(property.value.trim()) {
                        return None;
                    }
                    match open.last_mut() {
                        Some(parent) => parent.components.push(closed),
                        None if closed.name == "VCALENDAR" => return Some(closed),
                        None => {}
                    }
                }
                _ => open.last_mut()?.properties.push(property),
            }
        }
        None
    }

    /// The components of this name in it.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.components.iter().filter(move |one| one.name == name)
    }

    /// The first property of this name.
    pub(super) fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|one| one.name == name)
    }

    /// Its value.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        Some(self.property(name)?.value.trim())
    }
}

impl Property {
    /// `NAME;PARAMETER=value;OTHER="a:b":value`
    fn parse(line: &str) -> Option<Self> {
        let (head, value) = split_outside_quotes(line, ':')?;
        let mut parts = Vec::new();
        let mut rest = head;
        while let Some((part, behind)) = split_outside_quotes(rest, ';') {
            parts.push(part);
            rest = behind;
        }
        parts.push(rest);
        let mut parts = parts.into_iter();
        let name = parts.next()?.trim().to_ascii_uppercase();
        let parameters = parts.filter_map(|part| {
            let (name, value) = part.split_once('=')?;
            Some((
                name.trim().to_ascii_uppercase(),
                value.trim().trim_matches('"').to_owned(),
            ))
        });
        (!name.is_empty()).then(|| Self {
            parameters: parameters.collect(),
            name,
            value: value.to_owned(),
        })
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Content lines without their folds.
pub(super) fn unfolded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(more), Some(last)) => last.push_str(more),
            _ if line.is_empty() => {}
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

fn split_outside_quotes(text: &str, at: char) -> Option<(&str, &str)> {
    let mut quoted = false;
    let found = text.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == at && !quoted
    });
    let (index, _) = found?;
    Some((&text[..index], &text[index + at.len_utf8()..]))
}

/// Nobody nests deeper.
const DEEPEST: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_unfolded_and_parameters_may_be_quoted() {
        let text = "BEGIN:vcalendar\r\nBEGIN:VEVENT\r\ndtstart;TZID=\"A:B;C\";X=1:2026\r\n 0623T1\n\t23000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
        let calendar = Component::parse(text).unwrap();
        let event = calendar.all("VEVENT").next().unwrap();
        let start = event.property("DTSTART").unwrap();
        assert_eq!(start.value, "20260623T123000");
        assert_eq!(start.parameter("TZID"), Some("A:B;C"));
        assert_eq!(start.parameter("X"), Some("1"));
        for wrong in ["", "BEGIN:VCALENDAR", "BEGIN:VCALENDAR\nEND:VEVENT", "X:1"] {
            assert_eq!(Component::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "(?s)((BEGIN|END|DTSTART|\\PC{0,5})[:;= \"]\\PC{0,8}\r?\n){0,12}") {
            drop(Component::parse(&text));
        }
    }
}
