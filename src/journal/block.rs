//! The file around the records: a preamble, and blocks that can be checked and sealed.

use std::fmt;

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use uuid::Uuid;

use super::{
    JournalKey,
    error::{JournalError, VERSION},
};

/// Turns records into the bytes of a file, block by block.
pub(crate) struct Sealer {
    preamble: Preamble,
    cipher: Option<XChaCha20Poly1305>,
    next: u64,
}

impl Sealer {
    /// A new file, and the bytes that it begins with. The sixteen random bytes make every nonce
    /// under one key another one.
    pub(crate) fn new(key: Option<&JournalKey>) -> (Self, Vec<u8>) {
        let preamble = Preamble::new(key.is_some(), Uuid::new_v4().into_bytes());
        let sealer = Self {
            preamble,
            cipher: key.map(cipher),
            next: 0,
        };
        (sealer, preamble.0.to_vec())
    }

    /// The next block of the file. `None` where it is too long for one.
    pub(crate) fn seal(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let number = self.next;
        self.next += 1;
        let sealed = match &self.cipher {
            None => payload.to_vec(),
            Some(cipher) => {
                let payload = Payload {
                    msg: payload,
                    aad: &self.preamble.0,
                };
                cipher.encrypt(&self.preamble.nonce(number), payload).ok()?
            }
        };
        let length = u32::try_from(sealed.len())
            .ok()
            .filter(|length| *length <= MAX_BLOCK)?;
        let mut block = Vec::with_capacity(sealed.len() + FRAMING);
        block.extend(length.to_le_bytes());
        block.extend(crc32fast::hash(&sealed).to_le_bytes());
        block.extend(sealed);
        Some(block)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// The blocks of a file, opened one after the other.
pub(super) struct Blocks<'a> {
    preamble: Preamble,
    cipher: Option<XChaCha20Poly1305>,
    rest: &'a [u8],
    next: u64,
}

impl<'a> Blocks<'a> {
    pub(super) fn open(bytes: &'a [u8], key: Option<&JournalKey>) -> Result<Self, JournalError> {
        let Some((preamble, rest)) = bytes.split_first_chunk::<PREAMBLE>() else {
            let is_ours = !bytes.is_empty() && MAGIC.starts_with(&bytes[..bytes.len().min(8)]);
            return Err(if is_ours {
                JournalError::Empty
            } else {
                JournalError::NoJournal
            });
        };
        let preamble = Preamble(*preamble);
        if preamble.0[..8] != MAGIC {
            return Err(JournalError::NoJournal);
        }
        let version = u16::from_le_bytes([preamble.0[8], preamble.0[9]]);
        if version != VERSION {
            return Err(JournalError::Version(version));
        }
        let cipher = match (preamble.0[10], key) {
            (0, _) => None,
            (_, Some(key)) => Some(cipher(key)),
            (_, None) => return Err(JournalError::Sealed),
        };
        Ok(Self {
            preamble,
            cipher,
            rest,
            next: 0,
        })
    }

    /// The number of the block that was opened last.
    pub(super) fn number(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// The next block; `None` at the end of the file, also where that is in the middle of a block.
    pub(super) fn next_block(&mut self) -> Result<Option<Vec<u8>>, JournalError> {
        let Some((framing, rest)) = self.rest.split_first_chunk::<FRAMING>() else {
            return Ok(None);
        };
        let [a, b, c, d, crc @ ..] = *framing;
        let length = u32::from_le_bytes([a, b, c, d]);
        let block = self.next;
        // A file system may keep the length of what it lost: zeros at the end.
        let blank = framing.iter().chain(rest).all(|byte| *byte == 0);
        if blank {
            return Ok(None);
        }
        if length > MAX_BLOCK {
            return Err(JournalError::Damaged { block });
        }
        let Some((sealed, rest)) = rest.split_at_checked(length as usize) else {
            return Ok(None);
        };
        if crc32fast::hash(sealed) != u32::from_le_bytes(crc) {
            // The last block may be half on the disk; any other one was changed.
            return if rest.is_empty() {
                Ok(None)
            } else {
                Err(JournalError::Damaged { block })
            };
        }
        self.rest = rest;
        self.next += 1;
        let Some(cipher) = &self.cipher else {
            return Ok(Some(sealed.to_vec()));
        };
        let payload = Payload {
            msg: sealed,
            aad: &self.preamble.0,
        };
        cipher
            .decrypt(&self.preamble.nonce(block), payload)
            .map(Some)
            .map_err(|_| JournalError::NotOurs { block })
    }
}

/// The bytes before the first block.
#[derive(Clone, Copy)]
struct Preamble([u8; PREAMBLE]);

impl Preamble {
    fn new(sealed: bool, random: [u8; 16]) -> Self {
        let mut bytes = [0; PREAMBLE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = u8::from(sealed);
        bytes[11..].copy_from_slice(&random);
        Self(bytes)
    }

    fn nonce(&self, block: u64) -> XNonce {
        let mut nonce = [0; 24];
        nonce[..16].copy_from_slice(&self.0[11..]);
        nonce[16..].copy_from_slice(&block.to_le_bytes());
        nonce.into()
    }
}

fn cipher(key: &JournalKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.reveal().into())
}

const MAGIC: [u8; 8] = *b"NVjournl";

/// Magic, version, flags, random bytes.
const PREAMBLE: usize = 8 + 2 + 1 + 16;

/// The length and the checksum of a block.
const FRAMING: usize = 8;

/// No block is longer; a length beyond it is no length.
const MAX_BLOCK: u32 = 16 * 1024 * 1024;
