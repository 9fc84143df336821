//! Words, as searching sees them: runs of letters and digits without capitals.

/// The words of `text`, in order.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// The beginnings of a word by which it is found, the word itself included.
#[cfg(feature = "sqlite")]
pub(super) fn beginnings(word: &str) -> impl Iterator<Item = &str> {
    let ends = word.char_indices().skip(1).map(|(at, _)| at);
    let ends = ends.chain([word.len()]).take(LONGEST_BEGINNING);
    ends.map(|end| &word[..end])
}

/// What a search looks for: every one of these words, or words that begin with them.
#[derive(Clone, Debug)]
pub(super) struct Wanted(Vec<String>);

impl Wanted {
    /// The words of a search. Repeated ones count once, and nobody means more than
    /// [`MOST_WORDS`].
    pub(super) fn new(text: &str) -> Self {
        let mut wanted: Vec<String> = Vec::new();
        for word in words(text) {
            let word = word.chars().take(LONGEST_BEGINNING).collect();
            if !wanted.contains(&word) && wanted.len() < MOST_WORDS {
                wanted.push(word);
            }
        }
        Self(wanted)
    }

    /// Whether there is nothing to look for: then nothing is found.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words.
    #[cfg(feature = "sqlite")]
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether all of them are in these texts together.
    pub(super) fn are_in<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        let mut missing: Vec<_> = self.0.iter().collect();
        for text in texts {
            if missing.is_empty() {
                break;
            }
            for word in words(text) {
                missing.retain(|wanted| !word.starts_with(wanted.as_str()));
            }
        }
        !self.is_empty() && missing.is_empty()
    }
}

/// More than anybody types.
const MOST_WORDS: usize = 16;
/// Letters of a word that count; words of people are shorter.
const LONGEST_BEGINNING: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_word_is_found_by_every_beginning_of_it() {
        assert!(beginnings("añez").eq(["a", "añ", "añe", "añez"]));
        assert!(beginnings("a").eq(["a"]));
        let long = "ñ".repeat(100);
        let all: Vec<_> = beginnings(&long).collect();
        assert_eq!(all.len(), LONGEST_BEGINNING);
        assert!(Wanted::new(&long).iter().eq(all.last().copied()));
        assert!(Wanted::new(&long).are_in([&*long]));
    }

    #[test]
    fn every_word_must_be_there_in_any_order_and_place() {
        let said = ["Good morning, PASTOR Añez!", "We meet at 3:30."];
        for text in [
            "pastor",
            "Pastor morning",
            "meet pastor",
            "añ",
            "30 3",
            "past good-morn",
            "we, WE; we",
        ] {
            assert!(Wanted::new(text).are_in(said), "{text}");
        }
        for text in ["", " ?! ", "astor", "pastor tuesday", "pastors", "330"] {
            assert!(!Wanted::new(text).are_in(said), "{text}");
        }
    }
}
