//! The `.json` beside a transcript; the schema is described in [the module above](super).

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use super::{disk, error::Error, wire::Document};
use crate::{
    call::{CallId, CallStatus, CallSummary, Direction, Outcome, TransferOutcome},
    model::Usage,
    transcript::Utterance,
};

/// Writes the record of a transcript that has ended.
pub(super) fn write(
    transcript: &Path,
    document: &Document,
    summary: &CallSummary,
) -> Result<(), Error> {
    let record = Record {
        call_uuid: &document.header.call,
        phone_number: document.header.number.as_ref().map(|party| party.reveal()),
        direction: document.header.direction,
        status: summary.status,
        outcome: summary.outcome,
        start_time: document.header.started,
        end_time: summary.ended,
        transfer: summary.transfer,
        failure: summary.failure.as_deref(),
        duration_seconds: whole_millis(summary.duration).as_secs_f64(),
        utterances: &document.lines,
        usage: summary.usage,
        prompt_version: summary.prompt_version.as_deref(),
        md_file_path: transcript.display().to_string(),
    };
    let path = transcript.with_extension("json");
    let mut bytes = serde_json::to_vec_pretty(&record)
        .map_err(|error| Error::io("write", &path)(error.into()))?;
    bytes.push(b'\n');
    disk::replace(&path, &bytes)
}

/// Whether the record of a transcript that has ended is there, and not of an earlier end.
pub(super) fn is_current(transcript: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|about| about.modified());
    match (
        changed(&transcript.with_extension("json")),
        changed(transcript),
    ) {
        (Ok(record), Ok(transcript)) => record >= transcript,
        _ => false,
    }
}

#[derive(Serialize)]
struct Record<'a> {
    call_uuid: &'a CallId,
    phone_number: Option<&'a str>,
    direction: Direction,
    status: CallStatus,
    outcome: Outcome,
    start_time: Timestamp,
    end_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer: Option<TransferOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    duration_seconds: f64,
    utterances: &'a [Utterance],
    usage: Usage,
    prompt_version: Option<&'a str>,
    md_file_path: String,
}

fn whole_millis(duration: Duration) -> Duration {
    Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000)
}
