//! What the callee says, and what it says about the callee.

use super::{
    phrases::RULES,
    verdict::{Reason, RuleName, Scales, Weights},
};

/// The callee's words so far, and the rules that they meet.
///
/// A rule counts once. It is tried on each utterance alone, where its anchors mean what they say,
/// and on all of them together: a phrase may be split between two.
#[derive(Default)]
pub(super) struct Words {
    all: Vec<String>,
    met: Vec<usize>,
    utterances: usize,
}

/// A kind of phrase and what it says.
pub(super) struct Rule {
    /// What a [`Reason`] calls it.
    pub(super) name: &'static str,
    pub(super) weights: Weights,
    /// Any of these: see [`is_met`].
    pub(super) phrases: &'static [&'static str],
}

/// What one utterance says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    /// What a person says who has just come to the phone.
    Person,
    Other,
}

impl Words {
    /// Takes the next utterance, or the next part of one.
    pub(super) fn push(&mut self, text: &str) -> Alone {
        let new = normal(text);
        if new.is_empty() || self.all.len() > MOST_WORDS {
            return Alone::Other;
        }
        let alone = met(&new);
        self.all.extend(new);
        self.utterances += 1;
        for rule in alone.iter().copied().chain(met(&self.all)) {
            if !self.met.contains(&rule) {
                self.met.push(rule);
            }
        }
        let person = !alone.is_empty()
            && alone
                .iter()
                .all(|rule| RULES[*rule].weights[0] >= PERSON_FROM);
        if person { Alone::Person } else { Alone::Other }
    }

    /// Forgets what came before the latest utterance, which is this.
    pub(super) fn restart(&mut self, text: &str) {
        *self = Self::default();
        self.push(text);
    }

    /// Whether there are enough to trust them more than the clock.
    pub(super) fn are_telling(&self) -> bool {
        self.all.len() >= TELLING || !self.met.is_empty()
    }

    /// How many utterances were heard.
    pub(super) const fn utterances(&self) -> usize {
        self.utterances
    }

    /// Puts them on the scales.
    pub(super) fn weigh(&self, scales: &mut Scales) {
        for rule in &self.met {
            let rule = &RULES[*rule];
            scales.add(Reason::Words(RuleName(rule.name)), rule.weights);
        }
        let machine = self.met.iter().any(|rule| is_machine(&RULES[*rule]));
        let human = self.met.iter().any(|rule| RULES[*rule].weights[0] > 0.5);
        let words = self.all.len();
        if words > MANY && !human {
            scales.add(Reason::ManyWords, [-0.7, 0.3, 0.3, 0.0, 0.0]);
        } else if (1..=FEW).contains(&words) && !machine {
            scales.add(Reason::FewWords, [1.0, 0.0, 0.0, 0.0, 0.0]);
        } else if (FEW..=MANY).contains(&words) && !machine {
            scales.add(Reason::PlainWords, [0.6, 0.0, 0.0, 0.0, 0.0]);
        }
    }
}

impl std::fmt::Debug for Words {
    /// Without the words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let met: Vec<_> = self.met.iter().map(|rule| RULES[*rule].name).collect();
        f.debug_struct("Words")
            .field("words", &self.all.len())
            .field("met", &met)
            .finish_non_exhaustive()
    }
}

fn is_machine(rule: &Rule) -> bool {
    rule.weights[1..].iter().any(|weight| *weight > 1.0)
}

/// The rules that these words meet.
fn met(words: &[String]) -> Vec<usize> {
    let met = |rule: &Rule| {
        rule.phrases
            .iter()
            .any(|phrase| (0..words.len()).any(|at| is_met(phrase, words, at)))
    };
    (0..RULES.len()).filter(|at| met(&RULES[*at])).collect()
}

/// Whether the phrase stands at this place. In a phrase, `a|b` is either word, `x?` a word that
/// may be missing, `..` up to four words, `#` a number or key, `^` the beginning and `$` the end.
fn is_met(phrase: &str, words: &[String], at: usize) -> bool {
    let (part, rest) = phrase.split_once(' ').unwrap_or((phrase, ""));
    match part {
        "" => true,
        "^" => at == 0 && is_met(rest, words, at),
        "$" => at == words.len() && is_met(rest, words, at),
        ".." => (at..=words.len().min(at + GAP)).any(|at| is_met(rest, words, at)),
        _ => {
            let (part, optional) = part
                .strip_suffix('?')
                .map_or((part, false), |part| (part, true));
            let same = words.get(at).is_some_and(|word| {
                part.split('|').any(|one| match one {
                    "#" => NUMBERS.contains(&word.as_str()),
                    _ => one == word,
                })
            });
            same && is_met(rest, words, at + 1) || optional && is_met(rest, words, at)
        }
    }
}

/// Words in lower case and plain letters, contractions and digits spelled out, so that every
/// recogniser's spelling is one.
fn normal(text: &str) -> Vec<String> {
    let plain: String = text
        .to_lowercase()
        .chars()
        .take(MOST_LETTERS)
        .map(|letter| match letter {
            '’' | '\'' => '\'',
            'á' | 'à' | 'â' => 'a',
            'é' | 'è' | 'ê' => 'e',
            'í' => 'i',
            'ó' | 'ô' => 'o',
            'ú' | 'ü' => 'u',
            'ñ' => 'n',
            '#' | '*' => letter,
            _ if letter.is_alphanumeric() => letter,
            _ => ' ',
        })
        .collect();
    plain.split_whitespace().flat_map(spelled_out).collect()
}

fn spelled_out(word: &str) -> Vec<String> {
    if let Some((_, words)) = WHOLE.iter().find(|(short, _)| *short == word) {
        return words.split(' ').map(str::to_owned).collect();
    }
    let Some((stem, tail)) = word.split_once('\'') else {
        return vec![word.to_owned()];
    };
    let tail = match tail {
        "re" => "are",
        "ve" => "have",
        "m" => "am",
        "ll" => "will",
        "d" => "would",
        "s" if IS.contains(&stem) => "is",
        "t" if stem.ends_with('n') => {
            return vec![stem[..stem.len() - 1].to_owned(), "not".to_owned()];
        }
        _ => return vec![word.replace('\'', "")],
    };
    vec![stem.to_owned(), tail.to_owned()]
}

/// Contractions that do not come apart by rule, and digits.
const WHOLE: &[(&str, &str)] = &[
    ("can't", "cannot"),
    ("won't", "will not"),
    ("ain't", "am not"),
    ("let's", "let us"),
    ("voicemail", "voice mail"),
    ("0", "zero"),
    ("1", "one"),
    ("2", "two"),
    ("3", "three"),
    ("4", "four"),
    ("5", "five"),
    ("6", "six"),
    ("7", "seven"),
    ("8", "eight"),
    ("9", "nine"),
    ("#", "pound"),
    ("*", "star"),
];

/// After these, `'s` is no genitive.
const IS: &[&str] = &[
    "who", "what", "it", "he", "she", "that", "there", "here", "how", "where", "name", "pastor",
    "father", "nobody",
];

const NUMBERS: &[&str] = &[
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "star",
    "pound", "hash", "uno", "dos", "tres", "cuatro", "cinco", "cero",
];

/// The longest gap that `..` stands for.
const GAP: usize = 4;

/// A rule with so much for a person is met by people only.
const PERSON_FROM: f32 = 2.0;

/// So many words say more than how long they took.
const TELLING: usize = 4;

/// "Hello, this is Pam at First Baptist": people say no more than this before they listen.
const FEW: usize = 7;
const MANY: usize = 28;

/// More is not listened to: by then it is a conversation.
const MOST_WORDS: usize = 400;
const MOST_LETTERS: usize = 4_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn says(phrase: &str, text: &str) -> bool {
        let words = normal(text);
        (0..words.len()).any(|at| is_met(phrase, &words, at))
    }

    #[test]
    fn phrases_take_alternatives_options_gaps_numbers_and_anchors() {
        assert!(says("leave .. message", "Please leave us a short message!"));
        assert!(!says(
            "leave .. message",
            "Leave now. Nobody ever takes any message"
        ));
        assert!(says("press|dial #", "for service times, press 1"));
        assert!(says("press|dial #", "dial zero"));
        assert!(says("the? tone|beep", "after beep"));
        assert!(says("^ hello $", "Hello?"));
        assert!(!says("^ hello $", "Hello there"));
    }

    #[test]
    fn every_spelling_is_one() {
        assert_eq!(
            normal("You've reached us; we CAN’T, don't & it's Pam's voicemail: 5 después"),
            "you have reached us we cannot do not it is pams voice mail five despues"
                .split(' ')
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_phrase_may_be_split_between_two_utterances() {
        let mut words = Words::default();
        words.push("Please leave a");
        assert!(!words.met.iter().any(|rule| is_machine(&RULES[*rule])));
        words.push("message after the tone.");
        assert!(words.met.iter().any(|rule| is_machine(&RULES[*rule])));
    }

    #[test]
    fn no_amount_of_text_is_kept_without_bound() {
        let mut words = Words::default();
        for _ in 0..1_000 {
            words.push("and so on and so forth ");
        }
        assert!(words.all.len() <= MOST_WORDS + 10);
        words.push(&"x ".repeat(1_000_000));
        assert!(words.all.len() < MOST_WORDS + MOST_LETTERS);
    }

    #[test]
    fn no_phrase_is_longer_than_what_is_tried_and_all_are_in_plain_spelling() {
        for rule in RULES {
            for phrase in rule.phrases {
                let plain = |c: char| c.is_ascii_lowercase() || " ?.|#^$".contains(c);
                assert!(phrase.chars().all(plain), "{phrase}");
                assert!(!phrase.contains("  "), "{phrase}");
            }
        }
    }

    #[test]
    fn words_are_not_in_debug_output() {
        let mut words = Words::default();
        words.push("This is Melchizedek, please leave a message");
        assert!(!format!("{words:?}").to_lowercase().contains("melchizedek"));
    }
}
