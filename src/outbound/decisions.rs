//! The log of decisions to call or not to call: appended to, never rewritten, and chained by
//! hashes, so that a line that was changed, left out or put in later is found.
//!
//! Each line is one JSON object: the [`Decision`]'s members, then `previous`, the hash of the line
//! before (64 zeros for the first), and `hash`, the SHA-256 of the line up to there, as hex. A line
//! names whom it is about: the file holds personal data.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Refusal;
use crate::lead::PhoneNumber;

/// That somebody may be called, or may not, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the schema of the log")]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// Whom.
    pub phone: PhoneNumber,
    /// For which campaign; `None` for a call by hand.
    pub campaign: Option<String>,
    /// The rules that spoke against it; empty: the call was allowed.
    pub refusals: Vec<Refusal>,
    /// Those of them that an operator overruled.
    pub overruled: Vec<Refusal>,
}

/// An open log. One process writes to a file.
#[derive(Debug)]
pub struct Decisions {
    file: File,
    last: String,
}

/// A log that cannot be trusted, or not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenLog {
    /// The chain does not hold.
    #[error(
        "line {line} of {} does not follow from the one before: the log was changed. Keep the file, \
         find out by whom, and start a new one",
        path.display()
    )]
    Chain {
        /// The file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: u64,
    },
    /// The file cannot be read or written.
    #[error("cannot use the log of decisions {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Decisions {
    /// Opens the log, or begins one; checks all of it, and cuts off a last line that a crash left
    /// unfinished.
    ///
    /// # Errors
    ///
    /// When the file cannot be used, or its chain does not hold.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BrokenLog> {
        let path = path.as_ref();
        let io = |source| BrokenLog::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = options().open(path).map_err(io)?;
        let checked = check(&file, path)?;
        file.set_len(checked.length).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Self {
            file,
            last: checked.last,
        })
    }

    /// Writes a decision down. Once this returns it is on disk.
    ///
    /// # Errors
    ///
    /// When it could not be written; then nobody may be called.
    pub fn append(&mut self, decision: &Decision) -> io::Result<()> {
        let (line, hash) = seal(decision, &self.last)?;
        let before = self.file.stream_position()?;
        let written = self
            .file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line must not stand before the next one.
            self.file.set_len(before)?;
            self.file.seek(SeekFrom::Start(before))?;
            return Err(error);
        }
        self.last = hash;
        Ok(())
    }

    /// Checks a whole log; answers with the number of its lines.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or its chain does not hold.
    pub fn verify(path: impl AsRef<Path>) -> Result<u64, BrokenLog> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| BrokenLog::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(check(&file, path)?.lines)
    }
}

/// A line as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    decision: Decision,
    previous: String,
    hash: String,
}

struct Checked {
    lines: u64,
    /// In bytes, whole lines alone.
    length: u64,
    last: String,
}

fn check(file: &File, path: &Path) -> Result<Checked, BrokenLog> {
    let io = |source| BrokenLog::Io {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(file);
    let mut checked = Checked {
        lines: 0,
        length: 0,
        last: "0".repeat(64),
    };
    let mut text = Vec::new();
    loop {
        text.clear();
        let length = reader.read_until(b'\n', &mut text).map_err(io)?;
        if !text.ends_with(b"\n") {
            return Ok(checked);
        }
        checked.lines += 1;
        let line: Option<Line> = serde_json::from_slice(&text).ok();
        let sound = line.filter(|line| {
            let again = seal(&line.decision, &checked.last);
            again.is_ok_and(|(written, _)| written.as_bytes() == text)
        });
        let Some(line) = sound else {
            return Err(BrokenLog::Chain {
                path: path.to_owned(),
                line: checked.lines,
            });
        };
        checked.last = line.hash;
        checked.length += u64::try_from(length).unwrap_or(u64::MAX);
    }
}

/// The line for a decision, and its hash.
fn seal(decision: &Decision, previous: &str) -> io::Result<(String, String)> {
    #[derive(Serialize)]
    struct Open<'a> {
        #[serde(flatten)]
        decision: &'a Decision,
        previous: &'a str,
    }
    let open = serde_json::to_string(&Open { decision, previous })?;
    let digest = Sha256::digest(open.as_bytes());
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    // The hash goes into the object that it is of.
    let body = open.trim_end_matches('}');
    Ok((format!("{body},\"hash\":\"{hash}\"}}\n"), hash))
}

/// Readable by its owner alone.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn decision(nth: i64) -> Decision {
        Decision {
            at: Timestamp::from_second(nth).unwrap(),
            phone: PhoneNumber::parse("+12125550101").unwrap(),
            campaign: (nth % 2 == 0).then(|| "fall".to_owned()),
            refusals: vec![Refusal::OutsideWindow, Refusal::TooSoon],
            overruled: Vec::new(),
        }
    }

    fn written(lines: i64) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions.jsonl");
        // Opened anew in the middle, as after a restart.
        for part in [0..lines / 2, lines / 2..lines] {
            let mut log = Decisions::open(&path).unwrap();
            part.for_each(|nth| log.append(&decision(nth)).unwrap());
        }
        (dir, path)
    }

    #[test]
    fn a_log_goes_on_after_a_restart_and_verifies() {
        let (_dir, path) = written(10);
        assert_eq!(Decisions::verify(&path).unwrap(), 10);
    }

    #[test]
    fn every_change_is_found_where_it_was_made() {
        let (_dir, path) = written(6);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let changed = lines[2].replace("too_soon", "no_consent");
        let without: Vec<&str> = [&lines[..2], &lines[3..]].concat();
        let twice: Vec<&str> = [&lines[..3], &lines[2..]].concat();
        let swapped = [&lines[..2], &[lines[3], lines[2]][..], &lines[4..]].concat();
        let edited = [&lines[..2], &[changed.as_str()][..], &lines[3..]].concat();
        for (forged, at) in [(without, 3), (twice, 4), (swapped, 3), (edited, 3)] {
            fs::write(&path, forged.join("\n") + "\n").unwrap();
            for found in [
                Decisions::verify(&path).map(drop),
                Decisions::open(&path).map(drop),
            ] {
                assert!(matches!(found, Err(BrokenLog::Chain { line, .. }) if line == at));
            }
        }
    }

    #[test]
    fn a_line_that_a_crash_left_unfinished_is_cut() {
        let (_dir, path) = written(3);
        let whole = fs::read(&path).unwrap();
        for cut in 1..200 {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let mut log = Decisions::open(&path).unwrap();
            log.append(&decision(7)).unwrap();
            drop(log);
            assert_eq!(Decisions::verify(&path).unwrap(), 3, "cut by {cut}");
        }
    }
}
