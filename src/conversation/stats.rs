//! What a call did, counted.

use super::{StageLatencies, TurnLatency};
use crate::{answer::AnsweredBy, call::TransferOutcome, model::Usage};

/// Figures of one call, complete at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallStats {
    /// Frames that came from the caller.
    pub frames_received: u64,
    /// Frames that the model got, silence included.
    pub frames_fed: u64,
    /// Frames of silence among them, made because the caller's audio paused.
    pub frames_filled: u64,
    /// Frames without voice that were left out because the caller's audio ran ahead of real time.
    pub frames_trimmed: u64,
    /// Frames of the caller that never reached the model: it did not keep up, or was not there.
    pub frames_dropped: u64,
    /// Frames that went to the caller.
    pub frames_played: u64,
    /// Frames for the caller that the leg did not take.
    pub frames_unplayed: u64,
    /// How often a reply ran dry before its end.
    pub underruns: u64,
    /// Replies that the caller cut short.
    pub interruptions: u64,
    /// Times that playout paused for a voice that turned out to be none.
    pub false_interruptions: u64,
    /// Frames that a session got though the one before it had them: speech that it left
    /// unanswered.
    pub frames_replayed: u64,
    /// Times that the call moved to a fresh session before the old one's limit.
    pub rollovers: u64,
    /// Times that a lost session was opened again.
    pub restarts: u64,
    /// Uses of tools that were started.
    pub tools_called: u64,
    /// Of these, how many failed, those that were cancelled or took too long included.
    pub tools_failed: u64,
    /// Of these, how many took too long.
    pub tools_timed_out: u64,
    /// Uses that were refused: tools that do not exist, or too many at once.
    pub tools_refused: u64,
    /// Lines of transcript.
    pub utterances: u64,
    /// Tokens that the model counted.
    pub usage: Usage,
    /// Who or what answered the call, by the last verdict; of calls that we placed.
    pub answered_by: Option<AnsweredBy>,
    /// What came of handing the caller over, the last time that it was tried.
    pub transfer: Option<TransferOutcome>,
    /// How fast the agent answered, turn by turn; the first 1,000 turns.
    pub turns: Vec<TurnLatency>,
    /// How fast it answered over all turns.
    pub latency: StageLatencies,
}
