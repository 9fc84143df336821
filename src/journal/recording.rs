//! A journal in memory, for tests and simulations.

use std::time::Instant;

use super::{Encoder, Header, JournalKey, Sealer};
use crate::conversation::{Action, Input};

/// Writes one call down in memory. Tell it every input that the conversation is told, with its
/// time, and every action that it takes, in their order.
#[derive(Debug)]
pub struct Recording {
    sealer: Sealer,
    file: Vec<u8>,
    encoder: Encoder,
    block: Vec<u8>,
    /// Something could not be written down; what follows is of no use.
    lost: bool,
}

impl Recording {
    /// A call that begins at `start`, sealed with `key` if there is one.
    #[must_use]
    pub fn new(header: &Header, start: Instant, key: Option<&JournalKey>) -> Self {
        let (sealer, file) = Sealer::new(key);
        let mut recording = Self {
            sealer,
            file,
            encoder: Encoder::new(header.setup.rate, header.audio, start),
            block: Vec::new(),
            lost: false,
        };
        match serde_json::to_vec(header) {
            Ok(header) => recording.seal(&header),
            Err(_) => recording.lost = true,
        }
        recording
    }

    /// The conversation is told this at `now`.
    pub fn input(&mut self, now: Instant, input: &Input) {
        if !self.lost {
            self.lost = self.encoder.input(&mut self.block, now, input).is_err();
            self.seal_when_full();
        }
    }

    /// The conversation does this.
    pub fn action(&mut self, action: &Action) {
        if !self.lost {
            self.lost = self.encoder.action(&mut self.block, action).is_err();
            self.seal_when_full();
        }
    }

    /// The file. The call is over.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let mut block = std::mem::take(&mut self.block);
        Encoder::end(&mut block, !self.lost);
        self.seal(&block);
        self.file
    }

    fn seal_when_full(&mut self) {
        if self.block.len() >= BLOCK {
            let block = std::mem::take(&mut self.block);
            self.seal(&block);
        }
    }

    fn seal(&mut self, payload: &[u8]) {
        match self.sealer.seal(payload) {
            Some(block) => self.file.extend(block),
            None => self.lost = true,
        }
    }
}

/// A block is closed at this size: little is lost with the last one, and little is spent on
/// framing.
pub(crate) const BLOCK: usize = 16 * 1024;
