//! The file of a live call, and the directory that it is in. Blocking: for threads that may wait.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    error::Error,
    name,
    wire::{self, Document, Header, Unreadable},
};
use crate::call::{CallId, CallSummary};

/// A transcript that this process alone may write, since it holds the lock.
#[derive(Debug)]
pub(super) struct LiveFile {
    pub(super) path: PathBuf,
    file: File,
    /// The `seq` of the last line on the disk.
    pub(super) last: u64,
    /// Where the next line goes.
    end: u64,
    /// Something of no worth may stand behind `end`.
    soiled: bool,
}

impl LiveFile {
    /// The file of the call in `dir`, found or made, with nothing behind its last whole line.
    pub(super) fn open(dir: &Path, header: &Header) -> Result<Self, Error> {
        make_directory(dir)?;
        if let Some(path) = find(dir, &header.call)? {
            return Self::resume(path, header);
        }
        for stem in name::stems(&header.call) {
            let path = dir.join(name::file_name(&stem, header.started));
            match open_options().create_new(true).open(&path) {
                Ok(file) => return Self::begin(path, file, header),
                // Another call's on a file system that takes both names for one, or this very
                // call's that another process makes right now.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("make", &path)(error)),
            }
        }
        Err(Error::Busy(dir.to_owned()))
    }

    /// Takes over a file: locks and reads it. `None` while another process holds the lock.
    pub(super) fn take(
        path: &Path,
        unlockable: Unlockable,
    ) -> Result<Option<(Self, Document)>, Error> {
        let file = open_options().open(path).map_err(Error::io("open", path))?;
        if !lock(&file, path, unlockable)? {
            return Ok(None);
        }
        let mut live = Self::new(path.to_owned(), file);
        let document = live.read()?;
        live.end = document.lines_end as u64;
        live.last = document.lines.len() as u64;
        live.soiled = true;
        Ok(Some((live, document)))
    }

    /// Writes one line so that no crash takes it away again. After an error, the same line can
    /// be tried once more.
    pub(super) fn append(&mut self, line: &str) -> Result<(), Error> {
        self.put(line)?;
        self.end += line.len() as u64;
        self.last += 1;
        self.soiled = false;
        Ok(())
    }

    /// Writes the footer, durably. Another footer or line written later replaces it.
    pub(super) fn close(&mut self, summary: &CallSummary) -> Result<(), Error> {
        self.put(&wire::footer(summary))
    }

    /// Everything that the file holds.
    pub(super) fn read(&mut self) -> Result<Document, Error> {
        let mut bytes = Vec::new();
        let read = (self.file.seek(SeekFrom::Start(0)))
            .and_then(|_| self.file.read_to_end(&mut bytes))
            .map_err(Error::io("read", &self.path));
        read.and_then(|_| wire::parse(&bytes).map_err(Error::unreadable(&self.path)))
    }

    fn new(path: PathBuf, file: File) -> Self {
        Self {
            path,
            file,
            last: 0,
            end: 0,
            soiled: true,
        }
    }

    fn begin(path: PathBuf, file: File, header: &Header) -> Result<Self, Error> {
        if !lock(&file, &path, Unlockable::GoOn)? {
            return Err(Error::Busy(path));
        }
        let mut live = Self::new(path, file);
        let header = wire::header(header);
        live.put(&header)?;
        live.end = header.len() as u64;
        live.soiled = false;
        if let Some(dir) = live.path.parent() {
            sync_directory(dir)?;
        }
        Ok(live)
    }

    fn resume(path: PathBuf, header: &Header) -> Result<Self, Error> {
        match Self::take(&path, Unlockable::GoOn) {
            Ok(Some((mut live, _))) => {
                live.put("")?;
                live.soiled = false;
                Ok(live)
            }
            Ok(None) => Err(Error::Busy(path)),
            // Its process died while it made the file, so there is nothing in it yet.
            Err(Error::Unreadable {
                why: Unreadable::TornHeader,
                ..
            }) => {
                let file = open_options()
                    .open(&path)
                    .map_err(Error::io("open", &path))?;
                Self::begin(path, file, header)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes `text` all that stands behind `end`.
    fn put(&mut self, text: &str) -> Result<(), Error> {
        let soiled = std::mem::replace(&mut self.soiled, true);
        let written = (|| {
            if soiled {
                self.file.set_len(self.end)?;
            }
            self.file.seek(SeekFrom::Start(self.end))?;
            self.file.write_all(text.as_bytes())?;
            self.file.sync_data()
        })();
        written.map_err(|error| {
            // Readers should not see half a line meanwhile; the next write makes sure.
            let _ = self.file.set_len(self.end);
            Error::io("write to", &self.path)(error)
        })
    }
}

/// What to do on a file system that has no locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unlockable {
    /// Record: whoever wants to recover the file cannot lock it either, and stays away.
    GoOn,
    /// Nobody can tell whether the file is in use.
    Fail,
}

/// Whether the lock was free; it is held until `file` is closed.
fn lock(file: &File, path: &Path, unlockable: Unlockable) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if unlockable == Unlockable::GoOn => {
            tracing::warn!(%error, "transcripts cannot be locked here, so none is recovered");
            Ok(true)
        }
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}

/// The transcript of `call` in `dir`, the latest where a carrier used an id twice.
pub(super) fn find(dir: &Path, call: &CallId) -> Result<Option<PathBuf>, Error> {
    let stems = name::stems(call);
    let is_ours = |name: &str| {
        name::stem_of(name).is_some_and(|stem| stems.iter().any(|ours| ours.as_str() == stem))
    };
    let mut paths = transcripts(dir, is_ours)?;
    while let Some(path) = paths.pop() {
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        match wire::parse(&bytes) {
            Ok(document) if document.header.call == *call => return Ok(Some(path)),
            Ok(_) | Err(Unreadable::Header) => {}
            // By its name it is ours.
            Err(Unreadable::TornHeader | Unreadable::Line(_)) => return Ok(Some(path)),
        }
    }
    Ok(None)
}

/// The regular files in `dir` with a name that passes, in order. None where there is no `dir`.
pub(super) fn transcripts(
    dir: &Path,
    passes: impl Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", dir)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", dir))?;
        let named = entry.file_name().to_str().is_some_and(&passes);
        // A link may lead anywhere: it is none of ours.
        if named && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Replaces the file at `path` by one that holds `bytes`: readers see the old or the new one,
/// and so does whoever comes after a crash.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let draft = path.with_extension("json.tmp");
    let written = (|| {
        let mut options = open_options();
        let mut file = options.create(true).truncate(true).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    })();
    if let Err(error) = written {
        // Half a draft helps nobody, and what could not be removed is overwritten next time.
        let _ = fs::remove_file(&draft);
        return Err(Error::io("write", path)(error));
    }
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes `dir` and what is missing above it, for this user alone.
pub(in crate::transcript) fn make_directory(dir: &Path) -> Result<(), Error> {
    let missing: Vec<_> = dir.ancestors().take_while(|path| !path.is_dir()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(Error::io("make", dir))?;
    for parent in missing.iter().filter_map(|path| path.parent()) {
        sync_directory(parent)?;
    }
    Ok(())
}

/// Makes sure that names made in `dir` outlive a power loss.
pub(in crate::transcript) fn sync_directory(dir: &Path) -> Result<(), Error> {
    // The parent of a bare name is the empty path.
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    // Elsewhere a directory cannot be opened as a file, and its names need no help.
    if cfg!(unix) {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(Error::io("write to", dir))?;
    }
    Ok(())
}

/// To read and write, for this user alone where a file is made.
pub(in crate::transcript) fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{call::Direction, error::ProviderError};

    fn header() -> Header {
        Header {
            call: CallId::new("a"),
            number: None,
            direction: Direction::Inbound,
            started: Timestamp::UNIX_EPOCH,
        }
    }

    fn line(text: &str) -> String {
        format!("\n[1970-01-01T00:00:01.000Z] Human: {text}\n")
    }

    #[test]
    fn a_line_that_failed_halfway_can_be_tried_again_and_is_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut live = LiveFile::open(dir.path(), &header()).unwrap();
        live.append(&line("one")).unwrap();

        let good = live.file.try_clone().unwrap();
        // What a full disk leaves: part of the line, and an error.
        (&good).seek(SeekFrom::End(0)).unwrap();
        (&good)
            .write_all(b"\n[1970-01-01T00:00:01.000Z] Hum")
            .unwrap();
        live.file = File::open(&live.path).unwrap();
        live.append(&line("two")).unwrap_err();
        assert_eq!(live.last, 1);

        live.file = good;
        live.append(&line("two")).unwrap();
        let said: Vec<_> = live.read().unwrap().lines;
        assert_eq!(said.len(), 2);
        assert_eq!(said[1].text, "two");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_called_a_full_disk() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut live = LiveFile::new("/dev/full".into(), full);
        live.soiled = false;
        let error: ProviderError = live.append(&line("one")).unwrap_err().into();
        assert!(error.kind().is_retryable());
        assert!(error.detail().unwrap().contains("free some space"));
    }
}
