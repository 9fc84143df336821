//! What is kept of calls that are over, in little memory.

use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// A value: at hand while its call goes on, packed away once it is over.
pub(super) enum Packed<T> {
    Open(Box<T>),
    /// As JSON.
    Away(Bytes),
}

impl<T: Serialize + DeserializeOwned + Default> Packed<T> {
    pub(super) fn new(value: T) -> Self {
        Self::Open(Box::new(value))
    }

    /// Shows the value.
    pub(super) fn with<R>(&self, show: impl FnOnce(&T) -> R) -> R {
        match self {
            Self::Open(value) => show(value),
            Self::Away(packed) => show(&unpacked(packed)),
        }
    }

    /// The value, to be changed.
    pub(super) fn open(&mut self) -> &mut T {
        if let Self::Away(packed) = self {
            *self = Self::new(unpacked(packed));
        }
        match self {
            Self::Open(value) => value,
            Self::Away(_) => unreachable!("it was opened just now"),
        }
    }

    /// Hardly anybody will ask for it from now on.
    pub(super) fn pack(&mut self, store: &mut Store) {
        if let Self::Open(value) = self
            && let Ok(packed) = serde_json::to_vec(value)
        {
            *self = Self::Away(store.keep(&packed));
        }
    }
}

fn unpacked<T: DeserializeOwned + Default>(packed: &[u8]) -> T {
    // What `pack` wrote is read back.
    serde_json::from_slice(packed).unwrap_or_default()
}

/// What was packed, side by side in large pieces, each given back with the last of its values.
/// Apart from each other a thousand of them would hold on to most of the memory that a rush of
/// calls gives back, as each keeps the page in which it lies.
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

/// Some twenty calls.
const PIECE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_changes_nothing() {
        let texts = || vec!["\"Pastor\".\n".to_owned(), "Grüß Gott 🙏".to_owned()];
        let mut store = Store::default();
        let mut packed = Packed::new(texts());
        packed.pack(&mut store);
        assert!(matches!(packed, Packed::Away(_)));
        packed.with(|unpacked| assert_eq!(*unpacked, texts()));
        packed.open().push("and more".to_owned());
        packed.pack(&mut store);
        packed.with(|unpacked| assert_eq!(unpacked.len(), 3));
    }

    #[test]
    fn many_values_lie_side_by_side() {
        let mut store = Store::default();
        let mut all: Vec<Packed<String>> = Vec::new();
        for n in 0..1_000 {
            let mut packed = Packed::new("word ".repeat(n % 50));
            packed.pack(&mut store);
            all.push(packed);
        }
        let texts: Vec<&Bytes> = all.iter().filter_map(away).collect();
        let apart = texts.windows(2).filter(|pair| {
            let end = pair[0].as_ptr().wrapping_add(pair[0].len());
            end != pair[1].as_ptr()
        });
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        assert_eq!(texts.len(), 1_000);
        assert!(apart.count() <= bytes / (PIECE / 2));
        for (n, packed) in all.iter().enumerate() {
            packed.with(|text| assert_eq!(text.len(), (n % 50) * 5));
        }
    }

    fn away<T>(packed: &Packed<T>) -> Option<&Bytes> {
        match packed {
            Packed::Open(_) => None,
            Packed::Away(text) => Some(text),
        }
    }
}
