//! Which reply a sentence, an end or an interruption belongs to.
//!
//! Nova Sonic names blocks, not turns, and its final text lags its audio by seconds. So the two
//! newest turns keep the sentences that were planned for them, and what comes late is matched.

use crate::model::ReplyId;

/// The two newest turns.
#[derive(Default)]
pub(super) struct Turns {
    current: Turn,
    previous: Turn,
}

#[derive(Default)]
struct Turn {
    /// 0: there was none yet.
    number: u64,
    /// More of it may come.
    open: bool,
    interrupted: bool,
    /// Audio came after the newest sentence.
    sounded: bool,
    sentences: Vec<Sentence>,
}

struct Sentence {
    text: String,
    said: bool,
}

impl Turns {
    /// The newest turn; before the first one, a number that no reply ever has.
    pub(super) fn current(&self) -> ReplyId {
        ReplyId(self.current.number)
    }

    /// The turn that new sentences and audio belong to: the newest, if it has not ended.
    pub(super) fn begin(&mut self) -> ReplyId {
        if !self.current.open {
            let next = Turn {
                number: self.current.number + 1,
                open: true,
                ..Turn::default()
            };
            self.previous = std::mem::replace(&mut self.current, next);
        }
        self.current()
    }

    /// A sentence is planned: whether that is news. The same one again before any audio of it
    /// is not.
    pub(super) fn plan(&mut self, reply: ReplyId, text: &str) -> bool {
        let turn = if reply == self.current() {
            &mut self.current
        } else {
            &mut self.previous
        };
        let again = !turn.sounded && turn.sentences.last().is_some_and(|s| s.text == text);
        if !again && turn.sentences.len() < MAX_SENTENCES {
            turn.sounded = false;
            turn.sentences.push(Sentence {
                text: text.to_owned(),
                said: false,
            });
        }
        !again
    }

    /// Audio begins: of the newest turn, or of a new one.
    pub(super) fn sound(&mut self) -> ReplyId {
        let reply = self.begin();
        self.current.sounded = true;
        reply
    }

    /// Whether `text` is a sentence, or the beginning of one, that was planned lately.
    pub(super) fn knows(&self, text: &str) -> bool {
        [&self.previous, &self.current]
            .into_iter()
            .any(|turn| turn.begins(text))
    }

    /// A sentence counts as said: answers with its reply. `None`: it was counted already, and
    /// is not planned once more.
    pub(super) fn said(&mut self, text: &str) -> Option<ReplyId> {
        let turns = [&mut self.previous, &mut self.current];
        let mut known = false;
        for turn in turns {
            for sentence in turn.sentences.iter_mut().filter(|s| s.text == text) {
                if !sentence.said {
                    sentence.said = true;
                    return Some(ReplyId(turn.number));
                }
                known = true;
            }
        }
        if known {
            return None;
        }
        // Cut short or written differently: its beginning tells, else it is the newest's.
        let late = self.previous.begins(text) && !self.current.begins(text);
        Some(ReplyId(if late {
            self.previous.number
        } else {
            self.current.number
        }))
    }

    /// The audio of `reply` is complete: whether that is news.
    pub(super) fn end(&mut self, reply: ReplyId) -> bool {
        let ends = self.current.open && reply == self.current();
        if ends {
            self.current.open = false;
        }
        ends
    }

    /// The caller spoke over `reply`: whether that is news, and concerns the newest reply. One
    /// that has been succeeded cannot be cut any more without cutting its successor.
    pub(super) fn interrupt(&mut self, reply: ReplyId) -> bool {
        let news = self.current.number > 0 && reply == self.current() && !self.current.interrupted;
        if news {
            self.current.interrupted = true;
            self.current.open = false;
        }
        news
    }
}

impl Turn {
    fn begins(&self, text: &str) -> bool {
        self.sentences.iter().any(|s| s.text.starts_with(text))
    }
}

/// Far more than any reply has.
const MAX_SENTENCES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_sentences_find_the_turn_that_planned_them() {
        let mut turns = Turns::default();
        let first = turns.begin();
        turns.plan(first, "Yes.");
        turns.plan(first, "A long sentence.");
        assert!(turns.end(first));
        let second = turns.begin();
        turns.plan(second, "Yes.");
        assert_eq!(turns.said("Yes."), Some(first));
        assert_eq!(turns.said("Yes."), Some(second));
        assert_eq!(turns.said("Yes."), None);
        assert_eq!(turns.said("A long"), Some(first));
        assert_eq!(turns.said("Something else."), Some(second));
    }

    #[test]
    fn a_sentence_is_planned_again_only_after_it_sounded() {
        let mut turns = Turns::default();
        let reply = turns.begin();
        assert!(turns.plan(reply, "Yes."));
        assert!(!turns.plan(reply, "Yes."));
        assert_eq!(turns.sound(), reply);
        assert!(turns.plan(reply, "Yes."));
        assert!(turns.knows("Yes.") && turns.knows("Ye") && !turns.knows("No."));
    }

    #[test]
    fn a_turn_is_interrupted_once_and_ended_once() {
        let mut turns = Turns::default();
        assert!(!turns.interrupt(turns.current()), "nothing was said yet");
        let first = turns.begin();
        assert!(turns.end(first) && !turns.end(first));
        assert!(turns.interrupt(first) && !turns.interrupt(first));
        let second = turns.begin();
        assert_ne!(first, second);
        assert!(!turns.interrupt(first), "it has a successor");
        assert!(turns.interrupt(second));
        assert!(!turns.end(second));
    }
}
