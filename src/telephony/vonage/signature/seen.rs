//! Which tokens came before.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::{super::keys::Key, SignatureError};

/// Tokens seen, each until it is too old to be believed anyway. Bounded: only what carries a good
/// signature gets here, and past the capacity the one that dies first is forgotten first.
pub(super) struct Seen {
    capacity: usize,
    bodies: HashMap<Key, Key>,
    by_death: BinaryHeap<Reverse<(i64, Key)>>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self::with_capacity(REMEMBERED)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            bodies: HashMap::new(),
            by_death: BinaryHeap::new(),
        }
    }

    /// Whether this token was here before with this body; an error if with another one.
    pub(super) fn note(
        &mut self,
        jti: &str,
        body: [u8; 32],
        until: i64,
        now: i64,
    ) -> Result<bool, SignatureError> {
        while self.by_death.peek().is_some_and(|next| next.0.0 < now) {
            self.forget_first();
        }
        if self.bodies.len() < self.bodies.capacity() / 4 {
            // The rush is over.
            self.bodies.shrink_to_fit();
            self.by_death.shrink_to_fit();
        }
        let (id, body) = (Key::of(jti), Key::of_hash(body));
        match self.bodies.get(&id) {
            Some(earlier) if *earlier == body => return Ok(true),
            Some(_) => return Err(SignatureError::Reused),
            None => {}
        }
        if self.bodies.len() >= self.capacity {
            self.forget_first();
        }
        self.bodies.insert(id, body);
        self.by_death.push(Reverse((until, id)));
        Ok(false)
    }

    fn forget_first(&mut self) {
        if let Some(Reverse((_, id))) = self.by_death.pop() {
            self.bodies.remove(&id);
        }
    }
}

/// Over two hundred webhooks a second for five minutes, in some six megabytes.
const REMEMBERED: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_in_number_and_in_time() {
        let mut seen = Seen::with_capacity(3);
        for (index, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let until = 100 + i64::try_from(index).unwrap();
            assert_eq!(seen.note(id, [0; 32], until, 0), Ok(false));
        }
        assert_eq!(seen.bodies.len(), 3);
        assert_eq!(
            seen.note("d", [1; 32], 103, 100),
            Err(SignatureError::Reused)
        );
        assert_eq!(
            seen.note("b", [0; 32], 101, 101),
            Ok(true),
            "the last second"
        );
        assert_eq!(seen.note("e", [0; 32], 400, 104), Ok(false));
        assert_eq!(seen.bodies.len(), 1);
        assert_eq!(seen.by_death.len(), 1);
    }

    #[test]
    fn a_rush_leaves_no_room_behind() {
        let mut seen = Seen::new();
        for id in 0..10_000 {
            assert_eq!(seen.note(&id.to_string(), [0; 32], 100, 0), Ok(false));
        }
        for id in 10_000..10_010 {
            assert_eq!(seen.note(&id.to_string(), [0; 32], 500, 101), Ok(false));
        }
        assert_eq!(seen.bodies.len(), 10);
        assert!(seen.bodies.capacity() < 100 && seen.by_death.capacity() < 100);
    }
}
