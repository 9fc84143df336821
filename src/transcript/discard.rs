//! No transcripts.

use async_trait::async_trait;

use crate::{
    call::{CallId, CallInfo, CallSummary},
    error::ProviderError,
    transcript::{TranscriptSink, Utterance},
};

/// Keeps nothing, for agents whose words nobody needs. It is the one sink whose acknowledgement
/// is worth nothing: a line that it took is gone.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing in it")]
pub struct Discard;

#[async_trait]
impl TranscriptSink for Discard {
    async fn start(&self, _: &CallInfo) -> Result<u64, ProviderError> {
        Ok(0)
    }

    async fn record(&self, _: &CallId, _: &Utterance) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn end(&self, _: &CallId, _: &CallSummary) -> Result<(), ProviderError> {
        Ok(())
    }
}
