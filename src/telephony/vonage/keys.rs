//! Ids as keys of tables: of one size, and without memory of their own. Thousands of small texts
//! that outlive a rush of calls would each hold on to a page of what the calls gave back.

use sha2::{Digest as _, Sha256};

/// Half of a SHA-256: nobody finds two texts with the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key([u8; 16]);

impl Key {
    /// The key of a text as it is.
    pub(super) fn of(text: &str) -> Self {
        Self::of_hash(Sha256::digest(text).into())
    }

    /// The key of a leg, whose id Vonage writes with hyphens here and without them there.
    pub(super) fn of_leg(id: &str) -> Self {
        let mut hash = Sha256::new();
        for c in id.bytes().filter(|c| *c != b'-') {
            hash.update([c.to_ascii_lowercase()]);
        }
        Self::of_hash(hash.finalize().into())
    }

    /// The key of what has this SHA-256.
    pub(super) fn of_hash(hash: [u8; 32]) -> Self {
        let (halves, _) = hash.as_chunks();
        Self(halves[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vonage checklist 45: ids with and without hyphens name the same leg.
    #[test]
    fn hyphens_and_case_do_not_make_another_leg() {
        let leg = Key::of_leg("63f61863-4a51-4f6b-86e1-46edebcf9356");
        assert_eq!(leg, Key::of_leg("63F618634A514F6B86E146EDEBCF9356"));
        assert_ne!(leg, Key::of_leg("63f61863-4a51-4f6b-86e1-46edebcf9357"));
        assert_eq!(Key::of("CON-1"), Key::of("CON-1"));
        assert_ne!(Key::of("CON-1"), Key::of("con-1"));
        assert_ne!(Key::of("CON-1"), Key::of("CON1"));
    }
}
