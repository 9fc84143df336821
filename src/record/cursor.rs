//! Positions in lists, as text that survives any address.

use super::Cursor;
use crate::error::{ProviderError, ProviderErrorKind};

/// A cursor that holds these texts.
pub(super) fn pack(parts: &[&str]) -> Cursor {
    let text = parts.join("\0");
    let digits = text.bytes().map(|byte| format!("{byte:02x}"));
    Cursor::new(digits.collect::<String>())
}

/// The texts that a cursor holds, if `provider` made it.
pub(super) fn unpack<const N: usize>(
    provider: &'static str,
    cursor: &Cursor,
) -> Result<[String; N], ProviderError> {
    let parts = || {
        let digits = cursor.as_str().as_bytes();
        if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let bytes = digits.chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        let text = String::from_utf8(bytes.collect::<Option<_>>()?).ok()?;
        let parts: Vec<_> = text.split('\0').map(str::to_owned).collect();
        let whole = parts.iter().all(|part| !part.is_empty());
        parts.try_into().ok().filter(|_| whole)
    };
    parts().ok_or_else(|| foreign(provider))
}

/// The error for a cursor of somebody else.
pub(super) fn foreign(provider: &'static str) -> ProviderError {
    ProviderError::new(provider, ProviderErrorKind::Invalid)
        .with_detail("the cursor is not one of this list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_nothing_is_none_of_ours() {
        assert!(unpack::<2>("test", &Cursor::new("00")).is_err());
    }

    #[test]
    fn a_cursor_holds_any_text_in_letters_and_digits() {
        let parts = ["2026-06-22T20:35:32.000Z", "a/b & ä#2"];
        let cursor = pack(&parts);
        assert!(cursor.as_str().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(unpack("test", &cursor).unwrap(), parts);
        for text in ["", "x", "zz", "123", "ff", "00", "é0"] {
            let foreign = unpack::<3>("test", &Cursor::new(text)).unwrap_err();
            assert_eq!(*foreign.kind(), ProviderErrorKind::Invalid, "{text}");
        }
    }
}
