//! The segments of a journal on the disk. Blocking: for threads that may wait.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use tracing::{error, warn};

use super::{
    entry::{Entry, What},
    error::Error,
};
use crate::transcript::file::disk::{make_directory, open_options, sync_directory};

/// The journal of one process. Its directory is locked while it is open.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    _lock: File,
    /// Bytes of each segment that is not the last.
    full: BTreeMap<u64, u64>,
    current: Option<Segment>,
    /// The number of the next segment.
    next: u64,
    limits: Limits,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: File,
    length: u64,
    /// Something of no worth may stand behind `length`.
    soiled: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of one segment: what is begun past it goes into the next one.
    pub(super) segment: u64,
    /// Of all together.
    pub(super) total: u64,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    offset: u64,
    length: usize,
}

impl Place {
    pub(super) fn offset(self) -> u64 {
        self.offset
    }
}

impl Journal {
    /// A journal under `root`: one whose process died, or a new one. What other processes left
    /// there when they died is taken over; those that live keep theirs. `found` is told every
    /// entry in order.
    pub(super) fn open(
        root: &Path,
        limits: Limits,
        found: &mut dyn FnMut(Place, Entry),
    ) -> Result<Self, Error> {
        make_directory(root)?;
        let (dir, lock) = own_directory(root)?;
        let mut journal = Self {
            full: BTreeMap::new(),
            current: None,
            next: segments(&dir)?.last().map_or(1, |last| last + 1),
            dir,
            _lock: lock,
            limits,
        };
        journal.adopt(root)?;
        for number in segments(&journal.dir)? {
            let length = journal.replay(number, found)?;
            journal.full.insert(number, length);
        }
        Ok(journal)
    }

    /// Writes `frames` so that no crash takes them away again. `head` makes the first entry of a
    /// new segment. After an error nothing of them is there.
    pub(super) fn append(
        &mut self,
        frames: &[Vec<u8>],
        head: impl FnOnce() -> Entry,
    ) -> Result<Vec<Place>, Error> {
        let bytes: u64 = frames.iter().map(|frame| frame.len() as u64).sum();
        if self.bytes() + bytes > self.limits.total {
            return Err(Error::Full {
                dir: self.dir.clone(),
                mebibytes: self.bytes() >> 20,
            });
        }
        if self
            .current
            .as_ref()
            .is_none_or(|current| current.length >= self.limits.segment)
        {
            self.begin(&head().frame()?)?;
        }
        let Some(current) = &mut self.current else {
            return Err(Error::Dropped);
        };
        let mut places = Vec::with_capacity(frames.len());
        let mut offset = current.length;
        for frame in frames {
            places.push(Place {
                segment: current.number,
                offset,
                length: frame.len(),
            });
            offset += frame.len() as u64;
        }
        let path = path(&self.dir, current.number);
        current
            .put(&frames.concat())
            .map_err(Error::io("write to", &path))?;
        Ok(places)
    }

    /// Removes the segments before `first`, which nobody needs any more.
    pub(super) fn forget(&mut self, first: u64) {
        while let Some(entry) = self.full.first_entry()
            && *entry.key() < first
        {
            let path = path(&self.dir, *entry.key());
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    warn!(%error, path = %path.display(), "a finished segment cannot be removed");
                    return;
                }
                _ => {
                    entry.remove();
                }
            }
        }
    }

    /// All bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |segment| segment.length);
        self.full.values().sum::<u64>() + current
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that is written, exchanged for another.
    #[cfg(test)]
    pub(super) fn swap_file(&mut self, file: File) -> File {
        let current = self.current.as_mut().expect("something was written");
        std::mem::replace(&mut current.file, file)
    }

    /// The number of the segment that is written, or of the next one.
    pub(super) fn current(&self) -> u64 {
        self.current
            .as_ref()
            .map_or(self.next, |segment| segment.number)
    }

    fn begin(&mut self, head: &[u8]) -> Result<(), Error> {
        let number = self.next;
        let path = path(&self.dir, number);
        let file = open_options()
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(Error::io("make", &path))?;
        let mut segment = Segment {
            number,
            file,
            length: 0,
            soiled: false,
        };
        segment.put(head).map_err(Error::io("write to", &path))?;
        sync_directory(&self.dir)?;
        self.next += 1;
        if let Some(before) = self.current.replace(segment) {
            self.full.insert(before.number, before.length);
        }
        Ok(())
    }

    /// Moves the segments of dead processes behind the own ones.
    fn adopt(&mut self, root: &Path) -> Result<(), Error> {
        for other in directories(root)? {
            if other == self.dir {
                continue;
            }
            let Some(_lock) = lock(&other)? else { continue };
            for number in segments(&other)? {
                let (from, to) = (path(&other, number), path(&self.dir, self.next));
                fs::rename(&from, &to).map_err(Error::io("move", &from))?;
                self.next += 1;
            }
            sync_directory(&self.dir)?;
            sync_directory(&other)?;
        }
        Ok(())
    }

    /// Tells every entry of a segment, and cuts off what a crash left behind the last one.
    fn replay(&self, number: u64, found: &mut dyn FnMut(Place, Entry)) -> Result<u64, Error> {
        let path = path(&self.dir, number);
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let (mut at, mut end) = (0, 0);
        while at < bytes.len() {
            let Some((entry, length)) = Entry::read(&bytes[at..]) else {
                at += 1;
                continue;
            };
            if at != end {
                // No crash does that, since whatever is written stands behind whole entries.
                error!(path = %path.display(), from = end, to = at, "a journal is damaged");
            }
            let place = Place {
                segment: number,
                offset: at as u64,
                length,
            };
            found(place, entry);
            at += length;
            end = at;
        }
        if end < bytes.len() {
            let file = open_options()
                .open(&path)
                .map_err(Error::io("open", &path))?;
            file.set_len(end as u64)
                .and_then(|()| file.sync_all())
                .map_err(Error::io("cut the torn end off", &path))?;
        }
        Ok(end as u64)
    }
}

impl Segment {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let soiled = std::mem::replace(&mut self.soiled, true);
        let written = (|| {
            if soiled {
                self.file.set_len(self.length)?;
            }
            self.file.seek(SeekFrom::Start(self.length))?;
            self.file.write_all(bytes)?;
            self.file.sync_data()
        })();
        match written {
            Ok(()) => {
                self.length += bytes.len() as u64;
                self.soiled = false;
            }
            Err(_) => {
                // Nobody may find half an entry; where this fails, the next write makes sure.
                let _ = self.file.set_len(self.length);
            }
        }
        written
    }
}

/// The entries at `places`, in that order.
pub(super) fn read(dir: &Path, places: &[Place]) -> Result<Vec<What>, Error> {
    let mut open: Option<(u64, File)> = None;
    let mut entries = Vec::with_capacity(places.len());
    for place in places {
        let path = path(dir, place.segment);
        let file = match &mut open {
            Some((number, file)) if *number == place.segment => file,
            open => {
                let file = File::open(&path).map_err(Error::io("open", &path))?;
                &mut open.insert((place.segment, file)).1
            }
        };
        let mut bytes = vec![0; place.length];
        file.seek(SeekFrom::Start(place.offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(Error::io("read", &path))?;
        let Some((entry, _)) = Entry::read(&bytes) else {
            return Err(Error::Damaged(path));
        };
        entries.push(entry.what);
    }
    Ok(entries)
}

/// The first directory that no living process uses, made where there is none.
fn own_directory(root: &Path) -> Result<(PathBuf, File), Error> {
    for number in 0.. {
        let dir = root.join(number.to_string());
        make_directory(&dir)?;
        if let Some(lock) = lock(&dir)? {
            return Ok((dir, lock));
        }
    }
    Err(Error::Dropped)
}

/// `None` while another process holds it.
fn lock(dir: &Path) -> Result<Option<File>, Error> {
    let path = dir.join("lock");
    let file = open_options()
        .create(true)
        .open(&path)
        .map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

fn directories(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let named = names(root)?
        .into_iter()
        .filter_map(|name| name.parse::<u64>().ok());
    let dirs = named.map(|number| root.join(number.to_string()));
    Ok(dirs.filter(|dir| dir.is_dir()).collect())
}

/// The numbers of the segments in `dir`, in order.
fn segments(dir: &Path) -> Result<Vec<u64>, Error> {
    let mut numbers: Vec<u64> = names(dir)?
        .iter()
        .filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(dir).map_err(Error::io("read", dir))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", dir))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}{SUFFIX}"))
}

const SUFFIX: &str = ".journal";
