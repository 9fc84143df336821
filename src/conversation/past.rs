//! What was said in the call so far, for a session that was not there.

use std::{collections::VecDeque, time::Instant};

use crate::model::Said;

/// The lines of a call, oldest first, within bounds.
#[derive(Debug, Default)]
pub(super) struct Past {
    lines: VecDeque<(Instant, Said)>,
    bytes: usize,
}

impl Past {
    /// One more line. The oldest go when there is too much: no model takes more.
    pub(super) fn push(&mut self, at: Instant, said: Said) {
        self.bytes += said.text.len();
        self.lines.push_back((at, said));
        self.forget_down_to(MOST);
    }

    /// Forgets the older half.
    pub(super) fn halve(&mut self) {
        self.forget_down_to(self.bytes / 2);
    }

    /// All of it.
    pub(super) fn lines(&self) -> impl Iterator<Item = &(Instant, Said)> {
        self.lines.iter()
    }

    fn forget_down_to(&mut self, most: usize) {
        while self.bytes > most
            && let Some((_, said)) = self.lines.pop_front()
        {
            self.bytes -= said.text.len();
        }
    }
}

/// The most history in bytes that Nova Sonic takes (Nova Sonic user guide, chat history), which is
/// hours of talk.
const MOST: usize = 200 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Speaker;

    fn line(text: String) -> Said {
        Said {
            speaker: Speaker::Caller,
            text,
        }
    }

    #[test]
    fn the_oldest_lines_are_forgotten_first_and_memory_is_bounded() {
        let (mut past, now) = (Past::default(), crate::clock::now());
        for n in 0..1_000 {
            past.push(now, line(format!("{n:01000}")));
        }
        assert_eq!(past.lines().count(), 204);
        past.halve();
        assert_eq!(past.lines().count(), 102);
        assert!(
            past.lines()
                .last()
                .is_some_and(|(_, said)| said.text.ends_with("999"))
        );
        for _ in 0..10 {
            past.halve();
        }
        assert_eq!(past.lines().count(), 0);
    }
}
