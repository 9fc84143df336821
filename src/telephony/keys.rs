//! Keys that the agent presses.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Keys to press on a call: `0-9`, `*`, `#`, and `,` for a pause of half a second. They may be
/// somebody's code, so they are never printed.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Keys(Arc<str>);

impl Keys {
    /// How many there may be at once.
    pub const MAX: usize = 64;

    /// The keys as they were written. Keep them away from logs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Keys {
    type Err = InvalidKeys;

    /// White space and hyphens, which people write between digits, are left out.
    fn from_str(text: &str) -> Result<Self, InvalidKeys> {
        let keys: String = text
            .chars()
            .filter(|key| !key.is_whitespace() && *key != '-')
            .collect();
        let known = |key: char| matches!(key, '0'..='9' | '*' | '#' | ',');
        let pressed = keys.chars().any(|key| key != ',');
        if pressed && keys.len() <= Self::MAX && keys.chars().all(known) {
            Ok(Self(keys.into()))
        } else {
            Err(InvalidKeys)
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

/// A text that is no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to {} keys of 0-9, * and #, with commas for pauses", Keys::MAX)]
#[non_exhaustive]
pub struct InvalidKeys;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_a_telephone() {
        let keys: Keys = "1 2-3,*#".parse().unwrap();
        assert_eq!(keys.reveal(), "123,*#");
        let long = "1".repeat(Keys::MAX + 1);
        for wrong in ["", " ", ",,", "12a", "+1", "１", long.as_str()] {
            assert_eq!(wrong.parse::<Keys>(), Err(InvalidKeys), "{wrong}");
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let keys: Keys = "4711#".parse().unwrap();
        assert_eq!(format!("{keys:?}"), "Keys(…)");
    }
}
