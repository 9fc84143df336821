//! What was said, line by line, kept while the call runs.

mod memory;
pub use memory::MemorySink;

mod discard;
pub use discard::Discard;

pub mod file;
pub use file::FileSink;

pub mod spool;
pub use spool::Spool;

pub mod fan_out;
pub use fan_out::FanOut;

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoSink;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    call::{CallId, CallInfo, CallSummary},
    error::ProviderError,
};

/// Keeps transcripts.
///
/// # Contract
///
/// `start` comes first, then any number of `record`s in the order of `seq`, then `end`, all for
/// one call from one task; calls run side by side. An `Ok` of `record` is an acknowledgement: the
/// line survives the death of the process. Repeating a line (same call, same `seq`) is
/// acknowledged again and kept once. A sink may be slow, since it is never on the audio path.
#[async_trait]
pub trait TranscriptSink: fmt::Debug + Send + Sync + 'static {
    /// A call begins, or goes on after its process or its socket was lost. Answers with the
    /// `seq` of the last line that it already keeps of this call: 0 for a new one.
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError>;

    /// Keeps one line.
    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError>;

    /// The call is over; nothing more comes.
    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError>;

    /// Keeps several lines of one call, in the order of `seq`, as as many `record`s would. After
    /// an error some may be kept; repeating them all is safe. A sink that pays for each write
    /// makes one of it.
    async fn record_all(&self, call: &CallId, lines: &[Utterance]) -> Result<(), ProviderError> {
        for line in lines {
            self.record(call, line).await?;
        }
        Ok(())
    }

    /// The lines that are kept of a call behind the one numbered `after`, in the order of `seq`,
    /// for whoever has to mend another sink; `None` from a sink that cannot be read.
    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        let _ = (call, after);
        Ok(None)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: TranscriptSink + ?Sized> TranscriptSink for Arc<S> {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        (**self).start(call).await
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        (**self).record(call, line).await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        (**self).end(call, summary).await
    }

    async fn record_all(&self, call: &CallId, lines: &[Utterance]) -> Result<(), ProviderError> {
        (**self).record_all(call, lines).await
    }

    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        (**self).read_back(call, after).await
    }
}

/// One line of a transcript.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the schema of files, events and tables"
)]
pub struct Utterance {
    /// Counts from 1 without gaps, in the order of commitment.
    pub seq: u64,
    /// When the words began. Readers sort by it.
    pub at: Timestamp,
    /// Whose words.
    pub speaker: Speaker,
    /// The words; white space collapsed to single spaces.
    pub text: String,
    /// The caller spoke over it: the text ends with the last word that was heard.
    pub cut: bool,
}

impl fmt::Debug for Utterance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Utterance")
            .field("seq", &self.seq)
            .field("at", &self.at)
            .field("speaker", &self.speaker)
            .field(
                "text",
                &format_args!("[{} characters]", self.text.chars().count()),
            )
            .field("cut", &self.cut)
            .finish()
    }
}

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "a call has two sides")]
pub enum Speaker {
    /// The person on the phone; written `Human`.
    #[serde(rename = "Human")]
    Caller,
    /// The agent; written `Assistant`.
    #[serde(rename = "Assistant")]
    Agent,
}

impl Speaker {
    /// `Human` or `Assistant`, as files and the API write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "Human",
            Self::Agent => "Assistant",
        }
    }
}

/// Those of `lines` behind the one numbered `after`.
fn behind(mut lines: Vec<Utterance>, after: u64) -> Vec<Utterance> {
    lines.retain(|line| line.seq > after);
    lines
}

/// `text` with every run of white space collapsed to one space, and none at the ends.
#[must_use]
pub fn collapse_white_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
