// SPDX-License-Identifier: Apache-2.0
//! One file that holds a list, while others write it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;
use xxhash_rust::xxh64::xxh64;

use crate::{KnownEntries, Listed, ListingRules, listing};

/// Largest file, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// For how long something may be wrong before it is told: somebody may just be writing.
const PATIENCE: Duration = Duration::from_millis(300);
/// A file's times may be the same after a change that follows so soon upon another.
const RACY: Duration = Duration::from_secs(1);
/// For how long a file may change all the time before that is told.
const MOST_UNREST: Duration = Duration::from_secs(10);

/// The result of a look.
pub(crate) enum FileLook {
    /// A list, and whether it is another one than last time.
    List(Arc<Listed>, bool),
    /// The error.
    Failed(String),
    /// Something is wrong, or changes: to be looked at again soon.
    Unsure,
}

/// See the module.
pub(crate) struct FileSource {
    pub path: PathBuf,
    rules: ListingRules,
    /// For how long a changed file has to rest before it is read: a list that somebody writes line
    /// by line is a shorter list all the while.
    settle: Duration,
    known: Option<Known>,
    entries: KnownEntries,
    /// Since when something is wrong.
    trouble: Option<Instant>,
    /// The file as it was seen last, and since when.
    resting: Option<(FileStamp, Instant)>,
    /// Since when it does not rest.
    unrest: Option<Instant>,
}

/// The last text.
struct Known {
    stamp: FileStamp,
    /// When it was first read with this stamp.
    since: Instant,
    /// It was read again later.
    is_settled: bool,
    hash: u64,
    /// The list in it, or the error: a text is taken apart once.
    found: Result<Arc<Listed>, String>,
    /// It was told.
    is_told: bool,
}

/// Tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp([i64; 7]);

impl FileStamp {
    fn of(meta: &Metadata) -> Self {
        let place = [meta.dev() as i64, meta.ino() as i64, meta.size() as i64];
        let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
        FileStamp(std::array::from_fn(|at| if at < 3 { place[at] } else { times[at - 3] }))
    }
}

/// Whether a file was last written that long ago, by its own time.
fn is_old(meta: &Metadata, age: Duration) -> bool {
    let written = meta.modified().ok();
    written.and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|known| known >= age)
}

impl FileSource {
    pub(crate) fn new(path: PathBuf, rules: ListingRules, settle: Duration) -> Self {
        let entries = KnownEntries::default();
        FileSource { path, rules, settle, known: None, entries, trouble: None, resting: None, unrest: None }
    }

    /// Looks at the file. `has_changed`: it may have, whatever its times say.
    pub(crate) fn look(&mut self, has_changed: bool, now: Instant) -> FileLook {
        let wrong = match self.read(has_changed, now) {
            Ok(false) => {
                return match now.duration_since(*self.unrest.get_or_insert(now)) < MOST_UNREST {
                    true => FileLook::Unsure,
                    false => FileLook::Failed(format!(
                        "it has been changing for {} s: it is read when it rests for {} ms (settle=)",
                        MOST_UNREST.as_secs(),
                        self.settle.as_millis()
                    )),
                };
            }
            Ok(true) => {
                self.unrest = None;
                let known = self.known.as_mut();
                match known.map(|known| (known.found.clone(), std::mem::replace(&mut known.is_told, true))) {
                    Some((Ok(list), was_told)) => {
                        self.trouble = None;
                        return FileLook::List(list, !was_told);
                    }
                    Some((Err(why), _)) => why,
                    None => return FileLook::Unsure,
                }
            }
            Err(why) => {
                // The same list counts as another one when it comes back.
                if let Some(known) = &mut self.known {
                    known.is_settled = false;
                }
                why
            }
        };
        match now.duration_since(*self.trouble.get_or_insert(now)) < PATIENCE {
            true => FileLook::Unsure,
            false => FileLook::Failed(wrong),
        }
    }

    /// Makes the file's text the known one. False: it does not rest yet.
    fn read(&mut self, has_changed: bool, now: Instant) -> Result<bool, String> {
        let mut file = self.open()?;
        let meta = file.metadata().map_err(unreadable)?;
        let before = FileStamp::of(&meta);
        if let Some(known) = self.known.as_mut().filter(|known| known.stamp == before && !has_changed) {
            if known.is_settled {
                return Ok(true);
            }
            known.is_settled = now.duration_since(known.since) >= RACY;
        }
        if !self.rests(before, &meta, now) {
            return Ok(false);
        }
        let mut bytes = Vec::with_capacity(meta.len().min(MAX_BYTES) as usize + 1);
        file.by_ref().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("it has more than {} MiB", MAX_BYTES >> 20));
        }
        if FileStamp::of(&file.metadata().map_err(unreadable)?) != before {
            return Ok(false);
        }
        let hash = xxh64(&bytes, 0);
        if let Some(known) = self.known.as_mut().filter(|known| known.hash == hash) {
            if known.stamp != before {
                (known.stamp, known.since, known.is_settled) = (before, now, false);
            }
            return Ok(true);
        }
        let found = listing::read_again(&bytes, self.rules, &mut self.entries);
        let found = found.map(Arc::new).map_err(|problem| problem.to_string());
        self.known =
            Some(Known { stamp: before, since: now, is_settled: false, hash, found, is_told: false });
        Ok(true)
    }

    /// Whether size and times have been as they are for long enough.
    fn rests(&mut self, stamp: FileStamp, meta: &Metadata, now: Instant) -> bool {
        let since = match self.resting {
            Some((known, since)) if known == stamp => since,
            _ => {
                self.resting = Some((stamp, now));
                now
            }
        };
        now.duration_since(since) >= self.settle || is_old(meta, self.settle)
    }

    /// Without waiting for anybody at its other end, if it is a pipe.
    fn open(&self) -> Result<File, String> {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(&self.path);
        let file = file.map_err(unreadable)?;
        match file.metadata().map_err(unreadable)?.is_file() {
            true => Ok(file),
            false => Err("it is not a regular file".to_owned()),
        }
    }
}

fn unreadable(error: std::io::Error) -> String {
    format!("it cannot be read: {error}")
}

#[cfg(test)]
mod tests;
