//! Closing the transcripts of calls whose process died. Blocking, like [`disk`].

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    disk::{self, LiveFile, Unlockable},
    error::Error,
    name, record, wire,
};
use crate::{
    call::{CallId, CallStatus, CallSummary, Direction, Outcome, Party},
    error::ProviderError,
    transcript::Utterance,
};

/// One file that [`FileSink::recover`](super::FileSink::recover) had to deal with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Recovered {
    /// The transcript.
    pub path: PathBuf,
    /// The call that is closed now, or why its file was left alone.
    pub result: Result<RecoveredCall, ProviderError>,
}

/// A call that is closed now, as its file tells it: enough to mend what is kept of it elsewhere.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveredCall {
    /// The carrier's id.
    pub id: CallId,
    /// Who called whom.
    pub direction: Direction,
    /// The other party.
    pub remote: Option<Party>,
    /// When the call started.
    pub started: Timestamp,
    /// Every acknowledged line, in the order of `seq`.
    pub lines: Vec<Utterance>,
    /// How it ended: `abandoned`, unless the process died after it wrote the footer and before
    /// it wrote the `.json`.
    pub summary: CallSummary,
}

impl RecoveredCall {
    /// What a transcript with a footer tells.
    pub(super) fn of(document: wire::Document) -> Option<Self> {
        let summary = document.footer?;
        Some(Self {
            id: document.header.call,
            direction: document.header.direction,
            remote: document.header.number,
            started: document.header.started,
            lines: document.lines,
            summary,
        })
    }
}

/// Goes through all transcripts in `dir`. One that cannot be closed stops no other.
pub(super) fn all(dir: &Path, now: Timestamp) -> Result<Vec<Recovered>, Error> {
    let paths = disk::transcripts(dir, |name| name::stem_of(name).is_some())?;
    let recovered = paths.into_iter().filter_map(|path| {
        let result = one(&path, now).transpose()?.map_err(ProviderError::from);
        Some(Recovered { path, result })
    });
    Ok(recovered.collect())
}

/// `None` for a transcript that needs nothing: it is complete, or its process lives.
fn one(path: &Path, now: Timestamp) -> Result<Option<RecoveredCall>, Error> {
    let settled = ends_with_footer(path).map_err(Error::io("read", path))?;
    if settled && record::is_current(path) {
        return Ok(None);
    }
    let about = path.metadata().map_err(Error::io("read", path))?;
    let Some((mut live, document)) = LiveFile::take(path, Unlockable::Fail)? else {
        return Ok(None);
    };
    let summary = match &document.footer {
        Some(summary) => summary.clone(),
        None => {
            let changed = about.modified().ok();
            let changed = changed.and_then(|time| Timestamp::try_from(time).ok());
            let summary = abandoned(
                document.header.started,
                document.lines.iter().map(|line| line.at).max(),
                changed.unwrap_or(now).min(now),
            );
            live.close(&summary)?;
            summary
        }
    };
    record::write(path, &document, &summary)?;
    Ok(RecoveredCall::of(wire::Document {
        footer: Some(summary),
        ..document
    }))
}

/// The file changed for the last time at `changed`, so the process was alive then. The call
/// ended no earlier, unless the clocks disagree: then its own lines are believed.
fn abandoned(started: Timestamp, last: Option<Timestamp>, changed: Timestamp) -> CallSummary {
    let ended = changed.max(last.unwrap_or(started)).max(started);
    let duration = Duration::try_from(ended.duration_since(started)).unwrap_or_default();
    CallSummary::new(CallStatus::Abandoned, Outcome::Abandoned, ended, duration)
}

/// Looks at the end of the file alone, since a directory may hold years of calls.
fn ends_with_footer(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(FOOTER_ROOM)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(wire::ends_with_footer(&tail))
}

/// No footer is longer.
const FOOTER_ROOM: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_call_ends_between_its_last_line_and_the_death() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (started, last, changed, ended) in [
            (100, None, 107, 107),
            (100, Some(105), 107, 107),
            // The clock was set back.
            (100, Some(105), 103, 105),
            (100, None, 20, 100),
        ] {
            let summary = abandoned(at(started), last.map(at), at(changed));
            assert_eq!(summary.ended, at(ended));
            let lasted = u64::try_from(ended - started).unwrap();
            assert_eq!(summary.duration, Duration::from_secs(lasted));
        }
    }
}
