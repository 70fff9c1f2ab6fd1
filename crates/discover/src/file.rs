// SPDX-License-Identifier: Apache-2.0
//! One file that holds a list, while others write it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use xxhash_rust::xxh64::xxh64;

use crate::{Listed, ListingRules, listing};

/// Largest file, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// For how long something may be wrong before it is told: somebody may just be writing.
const PATIENCE: Duration = Duration::from_millis(300);
/// A file's times may be the same after a change that follows so soon upon another.
const RACY: Duration = Duration::from_secs(1);

/// The result of a look.
pub(crate) enum Look {
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
    known: Option<Known>,
    /// Since when something is wrong.
    trouble: Option<Instant>,
}

/// The last list.
struct Known {
    stamp: FileStamp,
    /// When it was first read with this stamp.
    since: Instant,
    /// It was read again later.
    is_settled: bool,
    hash: u64,
    listed: Arc<Listed>,
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

impl FileSource {
    pub(crate) fn new(path: PathBuf, rules: ListingRules) -> Self {
        FileSource { path, rules, known: None, trouble: None }
    }

    /// Looks at the file. `has_changed`: it may have, whatever its times say.
    pub(crate) fn look(&mut self, has_changed: bool, now: Instant) -> Look {
        match self.read(has_changed, now) {
            Ok(()) => {
                self.trouble = None;
                match &mut self.known {
                    Some(known) => {
                        let is_new = !std::mem::replace(&mut known.is_told, true);
                        Look::List(known.listed.clone(), is_new)
                    }
                    None => Look::Unsure,
                }
            }
            Err(_) if now.duration_since(*self.trouble.get_or_insert(now)) < PATIENCE => Look::Unsure,
            Err(why) => {
                // The same list counts as another one when it comes back.
                if let Some(known) = &mut self.known {
                    known.is_settled = false;
                }
                Look::Failed(why)
            }
        }
    }

    /// Makes the file's list the known one.
    fn read(&mut self, has_changed: bool, now: Instant) -> Result<(), String> {
        let mut file = self.open()?;
        let before = stamp(&file)?;
        if let Some(known) = self.known.as_mut().filter(|known| known.stamp == before && !has_changed) {
            if known.is_settled {
                return Ok(());
            }
            known.is_settled = now.duration_since(known.since) >= RACY;
        }
        let mut bytes = Vec::new();
        file.by_ref().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("it has more than {} MiB", MAX_BYTES >> 20));
        }
        if stamp(&file)? != before {
            return Err("it changes while it is read".to_owned());
        }
        let hash = xxh64(&bytes, 0);
        if let Some(known) = self.known.as_mut().filter(|known| known.hash == hash) {
            if known.stamp != before {
                (known.stamp, known.since, known.is_settled) = (before, now, false);
            }
            return Ok(());
        }
        let listed = listing::read(&bytes, self.rules).map_err(|problem| problem.to_string())?;
        let listed = Arc::new(listed);
        self.known =
            Some(Known { stamp: before, since: now, is_settled: false, hash, listed, is_told: false });
        Ok(())
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

fn stamp(file: &File) -> Result<FileStamp, String> {
    file.metadata().map(|meta| FileStamp::of(&meta)).map_err(unreadable)
}

fn unreadable(error: std::io::Error) -> String {
    format!("it cannot be read: {error}")
}
