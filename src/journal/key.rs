//! The key of sealed journals.

use crate::private::Private;

/// A key of 256 bits. Yours to keep: a journal cannot be opened without it, nor by anybody who lacks
/// it. Never printed.
#[derive(Clone, Debug)]
pub struct JournalKey(Private<[u8; 32]>);

/// A text that is no key. It says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a journal key has 64 hexadecimal digits")]
#[non_exhaustive]
pub struct WrongKey;

impl JournalKey {
    /// The key of these bytes, which must be random ones.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Private::new(bytes))
    }

    /// The key that is written in 64 hexadecimal digits, as `openssl rand -hex 32` prints one.
    ///
    /// # Errors
    ///
    /// For any other text.
    pub fn from_hex(text: &str) -> Result<Self, WrongKey> {
        let digits = text.trim().as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != bytes.len() * 2 {
            return Err(WrongKey);
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            b'A'..=b'F' => Ok(byte - b'A' + 10),
            _ => Err(WrongKey),
        };
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self::new(bytes))
    }

    pub(super) const fn reveal(&self) -> &[u8; 32] {
        self.0.reveal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_hexadecimal_digits_and_never_printed() {
        let key = JournalKey::from_hex(&"0aF1".repeat(16)).unwrap();
        assert_eq!(key.reveal()[..4], [0x0a, 0xf1, 0x0a, 0xf1]);
        assert_eq!(format!("{key:?}"), "JournalKey([private])");
        for wrong in ["", "0a", &"0g".repeat(32), &"é".repeat(32)] {
            assert_eq!(JournalKey::from_hex(wrong).unwrap_err(), WrongKey);
        }
    }
}
