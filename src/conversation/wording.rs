//! What a sentence is to say, and what the model counts as said: the same words, more or less.
//!
//! Final text comes in pieces of its own, spelled in its own way, late, twice, in any order or
//! never. So it is matched word by word: letters and digits alone count, each word of a caption
//! takes the final spelling once, and where none comes the caption stands.

use std::{fmt, time::Duration};

/// A sentence and the stretch of the reply's audio that speaks it.
#[derive(Debug)]
pub(super) struct Segment {
    words: Vec<Word>,
    /// Final text that is none of the words: all of it where there is no caption.
    rest: Vec<Token>,
    pub(super) start: Duration,
    pub(super) end: Duration,
}

/// A word of a caption.
struct Word {
    planned: Token,
    /// How the final text spells it. Nothing where it has fewer words.
    said: Option<Vec<Token>>,
}

/// A word with what clings to it, and the same in plain letters.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    written: String,
    plain: String,
}

/// A run of words that may be what a final text means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    from: usize,
    to: usize,
    /// How many of the text's words are there, and how many could be.
    alike: (usize, usize),
    /// Words of the run that have no final text yet.
    unsaid: usize,
    /// How many of its ends are not those of a sentence, or of what was said already.
    loose: usize,
}

impl Segment {
    /// A sentence that begins at this position of the audio; without a caption, `text` is empty.
    pub(super) fn new(text: &str, at: Duration) -> Self {
        let words = tokens(text).into_iter().map(|planned| Word {
            planned,
            said: None,
        });
        Self {
            words: words.collect(),
            rest: Vec::new(),
            start: at,
            end: at,
        }
    }

    /// Whether all of its final text is here.
    pub(super) fn is_settled(&self) -> bool {
        self.words.iter().all(|word| word.said.is_some())
            && !(self.words.is_empty() && self.rest.is_empty())
    }

    /// Whether none of its final text is here.
    pub(super) fn is_unsaid(&self) -> bool {
        self.words.iter().all(|word| word.said.is_none()) && self.rest.is_empty()
    }

    /// Whether nobody announced what it is to say.
    pub(super) fn is_bare(&self) -> bool {
        self.words.is_empty()
    }

    /// Takes final text that no words stand for.
    pub(super) fn append(&mut self, text: &[Token]) {
        self.rest.extend_from_slice(text);
    }

    /// Takes final text for all of its words, whatever they are.
    pub(super) fn replace(&mut self, text: &[Token]) {
        let count = self.words.len();
        for (index, word) in self.words.iter_mut().enumerate() {
            word.said = Some(share(text, index, count).to_vec());
        }
    }

    /// Whether this final text is among what was appended.
    pub(super) fn has(&self, text: &[Token]) -> bool {
        runs(&self.rest, text.len()).any(|run| same(run, text))
    }

    /// Its words in their final spelling, and as planned where there is none.
    pub(super) fn text(&self) -> String {
        written(self.parts().flat_map(|(_, tokens)| tokens))
    }

    /// Word by word: how long it was planned to be, in characters, and its final spelling.
    fn parts(&self) -> impl Iterator<Item = (usize, &[Token])> {
        let words = self.words.iter().map(|word| {
            let said = match &word.said {
                Some(said) => said.as_slice(),
                None => std::slice::from_ref(&word.planned),
            };
            (word.planned.length(), said)
        });
        let rest = self.rest.iter();
        words.chain(rest.map(|token| (token.length(), std::slice::from_ref(token))))
    }

    /// How its words may be known later: as planned, and as said.
    pub(super) fn spellings(&self) -> [Vec<Token>; 2] {
        let planned = self.words.iter().map(|word| word.planned.clone());
        [planned.collect(), tokens(&self.text())]
    }

    /// The words that end before the position `heard`, taking speech as even. Of a sentence whose
    /// audio is not complete, the rest is estimated.
    pub(super) fn heard_part(&self, heard: Duration, complete: bool) -> String {
        if complete && heard >= self.end {
            return self.text();
        }
        let spoken = heard.saturating_sub(self.start).as_secs_f64();
        let known = self.end.saturating_sub(self.start).as_secs_f64();
        let whole: usize = self.parts().map(|(length, _)| length + 1).sum();
        #[expect(clippy::cast_precision_loss, reason = "a sentence has few characters")]
        let whole = whole.saturating_sub(1) as f64;
        let length = if complete {
            known
        } else {
            known.max(whole * SECONDS_PER_CHARACTER)
        };
        if length <= 0.0 {
            return String::new();
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of few characters, not negative"
        )]
        let characters = (spoken / length * whole + 0.5) as usize;
        let mut upto = 0;
        let heard = self.parts().take_while(|(length, _)| {
            let ends = upto + length;
            upto = ends + 1;
            ends <= characters
        });
        written(heard.flat_map(|(_, tokens)| tokens))
    }
}

impl Token {
    fn length(&self) -> usize {
        self.written.chars().count()
    }
}

fn written<'a>(tokens: impl Iterator<Item = &'a Token>) -> String {
    let words: Vec<&str> = tokens.map(|token| token.written.as_str()).collect();
    words.join(" ")
}

/// The best place for a final text in the segments of one reply, if there is one that is at all
/// like it.
pub(super) fn place(segments: &[Segment], text: &[Token]) -> Option<Match> {
    let words: Vec<&Word> = segments.iter().flat_map(|segment| &segment.words).collect();
    let mut borders = vec![0];
    for segment in segments {
        borders.push(borders.last().copied().unwrap_or(0) + segment.words.len());
    }
    let sentences = borders
        .iter()
        .enumerate()
        .flat_map(|(index, from)| borders[index + 1..].iter().map(|to| (*from, *to)));
    let same_length = (0..words.len()).map(|from| (from, from + text.len()));
    let candidates = same_length
        .chain(sentences)
        .filter(|(from, to)| from < to && *to <= words.len())
        .filter(|(from, to)| (to - from) <= 2 * text.len() && text.len() <= 2 * (to - from));
    let matches = candidates.filter_map(|(from, to)| {
        let run = &words[from..to];
        let most = run.len().max(text.len());
        let alike = common(run.iter().map(|word| &word.planned), text);
        let starts = borders.contains(&from) || words[from - 1].said.is_some();
        let ends = borders.contains(&to) || words[to].said.is_some();
        (2 * alike >= most).then_some(Match {
            from,
            to,
            alike: (alike, most),
            unsaid: run.iter().filter(|word| word.said.is_none()).count(),
            loose: usize::from(!starts) + usize::from(!ends),
        })
    });
    matches.reduce(|best, next| if next.beats(&best) { next } else { best })
}

/// Gives the words of a run their final spelling; those that have one keep it.
pub(super) fn settle(segments: &mut [Segment], at: Match, text: &[Token]) {
    let words = segments.iter_mut().flat_map(|segment| &mut segment.words);
    let count = at.to - at.from;
    for (index, word) in words.skip(at.from).take(count).enumerate() {
        if word.said.is_none() {
            word.said = Some(share(text, index, count).to_vec());
        }
    }
}

impl Match {
    /// Whether this is the better place: more alike, then less known, then better bounded.
    pub(super) fn beats(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.alike.0 * other.alike.1, other.alike.0 * self.alike.1);
        let rank = |it: &Self| (it.unsaid > 0, std::cmp::Reverse(it.loose), it.unsaid);
        mine > theirs || mine == theirs && rank(self) > rank(other)
    }

    /// Whether it is less alike than words that were recorded are.
    pub(super) fn is_worse_than(&self, alike: (usize, usize)) -> bool {
        self.alike.0 * alike.1 < alike.0 * self.alike.1
    }
}

/// How much of a final text is in words that were recorded, and how much could be, if they are at
/// all like it.
pub(super) fn resemblance(known: &[Token], text: &[Token]) -> Option<(usize, usize)> {
    let best = runs(known, text.len())
        .chain([known])
        .filter(|run| run.len() <= 2 * text.len() && text.len() <= 2 * run.len())
        .map(|run| (common(run.iter(), text), run.len().max(text.len())))
        .reduce(|best, next| {
            if next.0 * best.1 > best.0 * next.1 {
                next
            } else {
                best
            }
        })?;
    (2 * best.0 >= best.1).then_some(best)
}

/// The words of a text. Signs without letters cling to the word before them.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut all: Vec<Token> = Vec::new();
    for written in text.split_whitespace() {
        let plain: String = written
            .chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect();
        match all.last_mut() {
            Some(last) if plain.is_empty() => {
                last.written.push(' ');
                last.written.push_str(written);
            }
            Some(last) if last.plain.is_empty() => {
                last.written.push(' ');
                last.written.push_str(written);
                last.plain = plain;
            }
            _ => all.push(Token {
                written: written.to_owned(),
                plain,
            }),
        }
    }
    all
}

/// How many words both have in the same order. Of long texts, where that would take long, those
/// in the same places.
fn common<'a>(run: impl ExactSizeIterator<Item = &'a Token>, text: &[Token]) -> usize {
    if text.len() > LONG || run.len() > LONG {
        let places = run.zip(text);
        return places.filter(|(one, two)| one.plain == two.plain).count();
    }
    // The longest common subsequence: for each length of `text`, how much of it is there so far.
    let mut lengths = [0_usize; LONG + 1];
    for token in run {
        let mut before = 0;
        for (index, other) in text.iter().enumerate() {
            let above = lengths[index + 1];
            lengths[index + 1] = match token.plain == other.plain {
                true => before + 1,
                false => above.max(lengths[index]),
            };
            before = above;
        }
    }
    lengths[text.len()]
}

/// All runs of so many words.
fn runs(words: &[Token], length: usize) -> impl Iterator<Item = &[Token]> {
    words.windows(length.max(1))
}

fn same(run: &[Token], text: &[Token]) -> bool {
    run.len() == text.len()
        && run
            .iter()
            .zip(text)
            .all(|(one, two)| one.plain == two.plain)
}

/// What falls to the word at `index` when a text is spread over `count` words.
fn share(text: &[Token], index: usize, count: usize) -> &[Token] {
    &text[index * text.len() / count..(index + 1) * text.len() / count]
}

/// Words are private.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} letters]", self.plain.chars().count())
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, said: {}", self.planned, self.said.is_some())
    }
}

/// More words than a sentence has.
const LONG: usize = 64;

/// English speech at a calm pace: about fifteen characters a second.
const SECONDS_PER_CHARACTER: f64 = 0.065;

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(captions: &[&str]) -> Vec<Segment> {
        let new = |caption: &&str| Segment::new(caption, Duration::ZERO);
        captions.iter().map(new).collect()
    }

    /// The captions after these final texts.
    fn said(captions: &[&str], finals: &[&str]) -> Vec<String> {
        let mut all = segments(captions);
        for text in finals {
            let text = tokens(text);
            if let Some(at) = place(&all, &text) {
                settle(&mut all, at, &text);
            }
        }
        all.iter().map(Segment::text).collect()
    }

    #[test]
    fn final_text_takes_the_place_of_its_words_in_any_pieces_and_order() {
        let captions = ["Good morning.", "This is Esther."];
        let spelled = ["good morning", "THIS is Esther!"];
        for finals in [
            &["good morning", "THIS is Esther!"][..],
            &["THIS is Esther!", "good morning"],
            &["good morning THIS is Esther!"],
            &["is Esther!", "good morning THIS"],
            &["good morning", "good morning THIS is Esther!"],
        ] {
            assert_eq!(said(&captions, finals), spelled, "{finals:?}");
        }
    }

    #[test]
    fn another_wording_is_known_by_most_of_its_words() {
        assert_eq!(
            said(
                &["Shall we say ten o'clock on Tuesday?", "Or on Wednesday?"],
                &["Shall we say 10:00 on Tuesday?"]
            ),
            ["Shall we say 10:00 on Tuesday?", "Or on Wednesday?"]
        );
        assert!(
            place(
                &segments(&["Shall we say ten?"]),
                &tokens("A mint condition")
            )
            .is_none()
        );
    }

    #[test]
    fn a_sentence_is_rather_meant_than_the_same_words_inside_another() {
        assert_eq!(
            said(&["Yes, yes, I see.", "Yes."], &["YES"]),
            ["Yes, yes, I see.", "YES"]
        );
    }

    #[test]
    fn signs_without_letters_are_no_words() {
        assert_eq!(tokens("¿ Sí — sí ?").len(), 2);
        assert_eq!(said(&["Well — yes."], &["Well, yes"]), ["Well, yes"]);
        assert_eq!(tokens("…").len(), 1);
    }

    #[test]
    fn words_are_not_in_debug_output() {
        let debug = format!("{:?}", segments(&["Melchizedek speaking."]));
        assert!(!debug.to_lowercase().contains("melchizedek"));
    }
}
