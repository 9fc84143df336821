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

    /// A sentence is planned.
    pub(super) fn planned(&mut self, reply: ReplyId, text: &str) {
        let turn = if reply == self.current() {
            &mut self.current
        } else {
            &mut self.previous
        };
        if turn.sentences.len() < MAX_SENTENCES {
            turn.sentences.push(Sentence {
                text: text.to_owned(),
                said: false,
            });
        }
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
        let begun = |turn: &Turn| turn.sentences.iter().any(|s| s.text.starts_with(text));
        let late = begun(&self.previous) && !begun(&self.current);
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

/// Far more than any reply has.
const MAX_SENTENCES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_sentences_find_the_turn_that_planned_them() {
        let mut turns = Turns::default();
        let first = turns.begin();
        turns.planned(first, "Yes.");
        turns.planned(first, "A long sentence.");
        assert!(turns.end(first));
        let second = turns.begin();
        turns.planned(second, "Yes.");
        assert_eq!(turns.said("Yes."), Some(first));
        assert_eq!(turns.said("Yes."), Some(second));
        assert_eq!(turns.said("Yes."), None);
        assert_eq!(turns.said("A long"), Some(first));
        assert_eq!(turns.said("Something else."), Some(second));
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
