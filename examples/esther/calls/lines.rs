//! The lines of one call.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use novavoice::transcript::Utterance;

/// The last lines of a call: each at hand while it goes on, packed once it is over.
pub(super) enum Lines {
    Live(VecDeque<Utterance>),
    /// As JSON.
    Packed(Bytes),
}

impl Default for Lines {
    fn default() -> Self {
        Self::Live(VecDeque::new())
    }
}

impl Lines {
    /// One more; of a very long call the first ones are forgotten.
    pub(super) fn push(&mut self, line: Utterance) {
        if let Self::Packed(packed) = self {
            *self = Self::Live(unpacked(packed).into());
        }
        if let Self::Live(lines) = self {
            if lines.len() == LINES_KEPT {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }

    /// Those after the line `seq`.
    pub(super) fn after(&self, seq: u64) -> Vec<Utterance> {
        match self {
            Self::Live(lines) => {
                let later = lines.iter().filter(|line| line.seq > seq);
                later.cloned().collect()
            }
            Self::Packed(packed) => {
                let mut lines = unpacked(packed);
                lines.retain(|line| line.seq > seq);
                lines
            }
        }
    }

    /// The call is over: hardly anybody will ask for them.
    pub(super) fn pack(&mut self, store: &mut Store) {
        if let Self::Live(lines) = self
            && let Ok(packed) = serde_json::to_vec(lines)
        {
            *self = Self::Packed(store.keep(&packed));
        }
    }
}

fn unpacked(packed: &[u8]) -> Vec<Utterance> {
    // What `pack` wrote is read back.
    serde_json::from_slice(packed).unwrap_or_default()
}

/// Packed texts of calls that are over, side by side in large pieces, each given back with the last
/// of its texts. Apart from each other a thousand texts would hold on to most of the memory that a
/// rush of calls gives back, as a text keeps the page in which it lies.
#[derive(Default)]
pub(super) struct Store(BytesMut);

impl Store {
    fn keep(&mut self, text: &[u8]) -> Bytes {
        if self.0.capacity() < text.len() {
            self.0 = BytesMut::with_capacity(text.len().max(PIECE));
        }
        self.0.extend_from_slice(text);
        self.0.split().freeze()
    }
}

/// Hours of talk. Of a longer call the first lines are in its transcript file alone.
const LINES_KEPT: usize = 5_000;
/// The lines of some twenty calls.
const PIECE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::{super::tests::line, *};

    #[test]
    fn packing_changes_nothing() {
        let mut store = Store::default();
        let mut lines = Lines::default();
        lines.push(line(1, "Good morning, \"Pastor\".\n"));
        lines.push(line(2, "Grüß Gott 🙏"));
        let (all, later) = (lines.after(0), lines.after(1));
        lines.pack(&mut store);
        assert!(matches!(lines, Lines::Packed(_)));
        assert_eq!((lines.after(0), lines.after(1)), (all.clone(), later));
        lines.push(line(3, "and more"));
        assert_eq!(lines.after(0)[..2], all);
        assert_eq!(lines.after(2), [line(3, "and more")]);
    }

    #[test]
    fn the_lines_of_many_calls_lie_side_by_side() {
        let mut store = Store::default();
        let mut calls: Vec<Lines> = Vec::new();
        for n in 0..1_000 {
            let mut lines = Lines::default();
            lines.push(line(n, &"word ".repeat(usize::try_from(n % 50).unwrap())));
            lines.pack(&mut store);
            calls.push(lines);
        }
        let texts: Vec<&Bytes> = calls.iter().filter_map(packed).collect();
        let apart = texts.windows(2).filter(|pair| {
            let end = pair[0].as_ptr().wrapping_add(pair[0].len());
            end != pair[1].as_ptr()
        });
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        assert_eq!(texts.len(), 1_000);
        assert!(apart.count() <= bytes / (PIECE / 2));
        for (n, lines) in (0..).zip(&calls) {
            assert_eq!(lines.after(0).len(), usize::from(n > 0));
        }
    }

    fn packed(lines: &Lines) -> Option<&Bytes> {
        match lines {
            Lines::Live(_) => None,
            Lines::Packed(text) => Some(text),
        }
    }

    #[test]
    fn of_a_very_long_call_the_last_lines_are_kept() {
        let mut lines = Lines::default();
        for seq in 1..=6_000 {
            lines.push(line(seq, "and so on"));
        }
        let kept = lines.after(0);
        assert_eq!(kept.len(), LINES_KEPT);
        assert_eq!(kept.last().map(|line| line.seq), Some(6_000));
    }
}
