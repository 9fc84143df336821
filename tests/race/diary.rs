//! What workers write down, so that others can check what they did: one line for each event, in
//! files that are only appended to.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Something that a worker did, with the times at which it asked and was answered, in
/// microseconds of the machine's clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) phone: String,
    pub(crate) fence: u64,
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) event: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The store gave the lead: the time that it was told, and when the lease runs out, in
    /// milliseconds.
    Claimed { now: i64, until: i64 },
    /// The lease was renewed.
    Renewed { until: i64 },
    /// A write under the fence was taken.
    Wrote,
    /// The last write under the fence was taken.
    Settled,
    /// A write, a renewal or a settlement was refused.
    Refused,
}

/// The diary of one process.
pub(crate) struct Diary {
    file: File,
    began: (Instant, u64),
}

impl Diary {
    pub(crate) fn open(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.expect("after 1970").as_micros();
        Self {
            file: file.expect("the diary opens"),
            began: (Instant::now(), u64::try_from(micros).expect("soon enough")),
        }
    }

    /// Microseconds, which do not go backwards within a process.
    pub(crate) fn clock(&self) -> u64 {
        let (began, micros) = self.began;
        micros + u64::try_from(began.elapsed().as_micros()).expect("soon enough")
    }

    /// One write for each line, so that a kill tears none apart.
    pub(crate) fn note(&self, entry: &Entry) {
        let mut line = serde_json::to_vec(entry).expect("an entry is JSON");
        line.push(b'\n');
        (&self.file)
            .write_all(&line)
            .expect("the diary is writable");
    }
}

/// Everything that was written down in the folder.
pub(crate) fn read(folder: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    for file in fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("a file").path();
        if path
            .extension()
            .is_none_or(|extension| extension != "diary")
        {
            continue;
        }
        let text = fs::read_to_string(path).expect("the diary is readable");
        for line in text.lines() {
            entries.push(serde_json::from_str(line).expect("a whole line"));
        }
    }
    entries
}
