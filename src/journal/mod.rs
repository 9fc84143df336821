//! A call written down so that it can be run again: what the core was told, when, and what it did.
//!
//! A [`Conversation`](crate::conversation::Conversation) has no clock and no randomness, so its
//! inputs with their times, its [`Setup`] and its [`Config`] are the whole call. A journal keeps
//! them to the nanosecond, with every action that was taken. [`replay()`] runs them through the core
//! of this build and answers with the same actions to the byte, or with the first that differs;
//! [`what_if()`] runs them under other settings and says what would have changed.
//!
//! An agent keeps journals where [`AgentConfig::journals`](crate::agent::AgentConfig::journals)
//! says so; a test makes one of any sequence of inputs with a [`Recording`].
//!
//! # Privacy
//!
//! A journal holds every word of a call, both sides, as a transcript does, and where it is asked
//! to, their voices. Treat it as personal data: keep it encrypted ([`JournalFolder::encrypted`]),
//! keep it short, and delete it when the person asks. Without audio only the lengths of frames are
//! kept; that is enough for an exact replay, since the core never looks into samples.
//!
//! # Format
//!
//! ```text
//! magic "NVjournl" · version u16 · flags u8 (1: sealed) · 16 random bytes
//! then blocks: length u32 · CRC-32 of the bytes that follow u32 · bytes
//! ```
//!
//! Numbers are little-endian. The first block is the [`Header`] as JSON, the others are records: a
//! tag, for inputs the nanoseconds since the input before as a LEB128 number, and the rest. Audio,
//! ticks and the detector's word have tags of their own; everything else is JSON, so that a journal
//! outlives changes of the vocabulary. A sealed block is XChaCha20-Poly1305 over its bytes; the nonce
//! is the sixteen random bytes and the block's number, and the bytes before the first block are
//! authenticated with each. A file that ends in the middle of a block, because its process died, is
//! read up to there.

use std::{fs, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    audio::AudioFrame,
    call::CallId,
    conversation::{Config, Input, Setup},
};

mod block;
mod error;
mod folder;
mod key;
mod knob;
mod record;
mod recording;
mod replay;
mod what_if;

pub use error::JournalError;
pub use folder::JournalFolder;
pub use key::{JournalKey, WrongKey};
pub use knob::{WrongKnob, set_knob};
pub use recording::Recording;
pub use replay::{Difference, Report, replay};
pub use what_if::{Change, Changes, Moment, Summary, what_if};

pub(crate) use block::Sealer;
pub(crate) use record::{Encoder, Noted};
pub(crate) use recording::BLOCK;

use record::Record;

/// What a journal says of its call before anything happens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Header {
    /// The version of this crate that recorded it.
    pub recorded_with: String,
    /// The carrier's id of the call.
    pub call: CallId,
    /// What the conversation knew of its call; the filler is kept as its length.
    pub setup: Setup,
    /// How the conversation was to behave.
    pub config: Config,
    /// Whether samples are kept, not just their lengths.
    pub audio: bool,
    filler: Option<Filler>,
}

/// [`Setup::filler`] as a journal keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Filler {
    /// How many samples it has.
    length: usize,
    /// The samples, where they are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    samples: Vec<i16>,
}

impl Header {
    /// The header of a call that begins now, recorded by this build.
    #[must_use]
    pub fn new(call: CallId, setup: Setup, config: Config, audio: bool) -> Self {
        Self {
            recorded_with: env!("CARGO_PKG_VERSION").to_owned(),
            call,
            filler: setup.filler.as_ref().map(|filler| Filler {
                length: filler.samples().count(),
                samples: filler.samples().filter(|_| audio).collect(),
            }),
            setup,
            config,
            audio,
        }
    }

    /// The setup as the conversation had it, up to the samples of the filler.
    fn restore_filler(&mut self) {
        self.setup.filler = self.filler.as_ref().map(|filler| {
            let silence = std::iter::repeat_n(0, filler.length.min(MAX_FILLER));
            let pcm: Vec<u8> = if filler.samples.is_empty() {
                silence.flat_map(i16::to_le_bytes).collect()
            } else {
                let samples = filler.samples.iter();
                samples.flat_map(|sample| sample.to_le_bytes()).collect()
            };
            AudioFrame::new(pcm.into(), self.setup.rate)
        });
    }
}

/// A recorded call.
#[derive(Clone, Debug)]
pub struct Journal {
    header: Header,
    entries: Vec<Entry>,
    ending: Ending,
}

/// One thing of a journal, in the order in which things happened.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// The conversation was told this, so long after its first instant.
    Input(Duration, Input),
    /// It did this.
    Action(Noted),
}

/// How a journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// With the call.
    Complete,
    /// Before the call did: the disk did not keep up, and the rest was not recorded.
    Lost,
    /// In the middle: the process died, or the file was cut.
    Torn,
}

impl Journal {
    /// Reads a journal file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is no journal, is of another format version, is sealed with
    /// another key, or is damaged anywhere but at its end.
    pub fn open(path: impl AsRef<Path>, key: Option<&JournalKey>) -> Result<Self, JournalError> {
        let bytes = fs::read(path).map_err(JournalError::Unreadable)?;
        Self::read(&bytes, key)
    }

    /// Reads a journal from memory.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn read(bytes: &[u8], key: Option<&JournalKey>) -> Result<Self, JournalError> {
        let mut blocks = block::Blocks::open(bytes, key)?;
        let Some(first) = blocks.next_block()? else {
            return Err(JournalError::Empty);
        };
        let mut header: Header = serde_json::from_slice(&first).map_err(JournalError::Header)?;
        header.restore_filler();
        let mut decoder = record::Decoder::new(header.setup.rate, header.audio);
        let mut entries = Vec::new();
        let mut ending = Ending::Torn;
        while let Some(payload) = blocks.next_block()? {
            let number = blocks.number();
            decoder.decode(&payload, number, |record| match record {
                Record::Entry(entry) => entries.push(entry),
                Record::End { complete } => {
                    ending = if complete {
                        Ending::Complete
                    } else {
                        Ending::Lost
                    }
                }
            })?;
        }
        Ok(Self {
            header,
            entries,
            ending,
        })
    }

    /// What it says of its call.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How it ends.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// What the conversation was told, and how long after its first instant.
    pub fn inputs(&self) -> impl Iterator<Item = (Duration, &Input)> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Input(at, input) => Some((*at, input)),
            Entry::Action(_) => None,
        })
    }

    /// When the last input came, counted from the conversation's first instant.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.inputs().last().map_or(Duration::ZERO, |(at, _)| at)
    }
}

/// Far more samples than a filler sound needs: a minute at the highest rate.
const MAX_FILLER: usize = 60 * 24_000;

#[cfg(test)]
mod tests;
