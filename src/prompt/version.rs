//! A version: texts under a number that never change again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use super::{
    facts::Facts,
    placeholder::Placeholder,
    texts::{BadText, Rendered, Templates, Texts},
};
use crate::{call::Direction, error::ProviderError, error::ProviderErrorKind};

/// Texts that may become a version: all of them can be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub(super) texts: Texts,
    pub(super) templates: Templates,
    pub(super) author: Option<String>,
    pub(super) note: Option<String>,
}

impl Draft {
    /// Checks `texts`. Ends of lines are kept as line feeds, blanks around each text are not.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn new(texts: Texts) -> Result<Self, Vec<BadText>> {
        let texts = texts.tidied();
        let templates = texts.templates()?;
        Ok(Self {
            texts,
            templates,
            author: None,
            note: None,
        })
    }

    /// By whom.
    #[must_use]
    pub fn by(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// And why.
    #[must_use]
    pub fn because(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// As it would be under a number, before it has one: for looking at it.
    #[must_use]
    pub fn as_version(self, number: u32, created: Option<Timestamp>) -> PromptVersion {
        PromptVersion {
            number,
            created,
            author: self.author,
            note: self.note,
            texts: self.texts,
            templates: self.templates,
        }
    }
}

/// Texts under a number. Serialised as the API shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PromptVersion {
    /// Counts from 1; 0 is what the program ships with.
    pub number: u32,
    /// When it was saved; `None` for what the program ships with.
    pub created: Option<Timestamp>,
    /// By whom, as far as they said.
    pub author: Option<String>,
    /// Why, as far as they said.
    pub note: Option<String>,
    /// What it says.
    pub texts: Texts,
    templates: Templates,
}

/// How it is stored, under its number.
#[derive(Serialize, Deserialize)]
struct Kept {
    created: Timestamp,
    author: Option<String>,
    note: Option<String>,
    texts: Texts,
}

impl PromptVersion {
    /// What is said in a call of which this is known.
    #[must_use]
    pub fn render(&self, direction: Direction, facts: &Facts) -> Rendered {
        self.templates.render(direction, facts)
    }

    /// The placeholders that it uses, each with the text in which it stands and whether something
    /// is said when nothing is known.
    pub fn places(&self) -> impl Iterator<Item = (&'static str, Placeholder, bool)> + '_ {
        self.templates.places()
    }

    pub(super) fn to_value(draft: &Draft, created: Timestamp) -> Result<Value, ProviderError> {
        let kept = Kept {
            created,
            author: draft.author.clone(),
            note: draft.note.clone(),
            texts: draft.texts.clone(),
        };
        serde_json::to_value(kept)
            .map_err(|failed| unusable(ProviderErrorKind::Invalid).with_source(failed))
    }

    /// A version that was written by a newer program may hold what this one does not know.
    pub(super) fn read(number: u32, value: Value) -> Result<Self, ProviderError> {
        let unreadable = || {
            unusable(ProviderErrorKind::Protocol)
                .with_detail(format!("the prompt version {number} cannot be read"))
        };
        let kept: Kept =
            serde_json::from_value(value).map_err(|failed| unreadable().with_source(failed))?;
        let draft = Draft::new(kept.texts);
        let mut draft = draft.map_err(|wrong| match wrong.into_iter().next() {
            Some(first) => unreadable().with_source(first),
            None => unreadable(),
        })?;
        (draft.author, draft.note) = (kept.author, kept.note);
        Ok(draft.as_version(number, Some(kept.created)))
    }
}

impl Serialize for PromptVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = self.texts.all();
        let mut members = serializer.serialize_map(Some(texts.len() + 4))?;
        members.serialize_entry("version", &self.number)?;
        members.serialize_entry("createdAt", &self.created)?;
        members.serialize_entry("author", &self.author)?;
        members.serialize_entry("note", &self.note)?;
        for (name, text) in texts {
            members.serialize_entry(name, text)?;
        }
        members.end()
    }
}

fn unusable(kind: ProviderErrorKind) -> ProviderError {
    ProviderError::new("prompts", kind)
}

#[cfg(test)]
mod tests {
    use super::{super::texts::tests::texts, *};

    #[test]
    fn what_was_saved_is_read_again_and_nothing_else() {
        let created = "2026-06-22T20:35:32Z".parse().unwrap();
        let draft = Draft::new(texts("Be kind.\r\n")).unwrap();
        let draft = draft.by("Pat").because("kinder");
        let value = PromptVersion::to_value(&draft, created).unwrap();
        let version = PromptVersion::read(3, value.clone()).unwrap();
        assert_eq!(version, draft.as_version(3, Some(created)));
        assert_eq!(version.texts.system_prompt, "Be kind.");
        let shown = serde_json::to_value(&version).unwrap();
        assert_eq!(shown["version"], 3);
        assert_eq!(shown["author"], "Pat");
        assert_eq!(shown["systemPrompt"], "Be kind.");
        let mut newer = value.clone();
        newer["texts"]["voicemail"] = "Call {{lead.shoe_size}}.".into();
        let mut longer = value;
        longer["texts"]["farewell"] = "Goodbye.".into();
        for unknown in [newer, longer, Value::Null] {
            let failed = PromptVersion::read(3, unknown).unwrap_err();
            assert_eq!(failed.kind(), &ProviderErrorKind::Protocol);
        }
    }
}
