// SPDX-License-Identifier: Apache-2.0
//! The state file. The parent makes its folder, holds its lock and reads it at a start; the leading
//! child writes it.
#![allow(unsafe_code)]

mod files;

use std::io;
use std::os::fd::{IntoRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use config::{StatePath, StateSetting};
use rustix::io::Errno;
use statefile::Ages;
use table::futex;

pub use self::files::{FileMark, Folder, StateBytes};
use super::mappings::{Mapping, Mappings};
use crate::httpd::confine::Account;
use crate::httpd::retained::{Block, Plain};
use crate::httpd::{log, memory, process};

/// The parent's memory over restarts.
#[repr(C)]
struct Retained {
    is_locked: bool,
    lock: RawFd,
    /// The process that has taken the lock.
    owner: i32,
    /// The hash of the path that the lock is for.
    path: u64,
    words: Mappings<1>,
}

// SAFETY: fixed layout of numbers and mappings without drop; zeros stand for "no lock yet".
unsafe impl Plain for Retained {}

static RETAINED: Block<Retained> = Block::new("mod_lua_balancer state file", 2);
const NAME: &str = "words";
/// How long a disk may take before somebody is told.
const DISK_PATIENCE: Duration = Duration::from_secs(30);

/// The children's common knowledge of the file, over restarts.
#[repr(C)]
#[derive(Debug)]
struct Words {
    /// The number of the system's error that writing it has brought last; 0: it was written.
    error: AtomicU64,
    /// Since when that is so: epoch seconds.
    since: AtomicU64,
    /// How often somebody has asked to leave out what no start would take.
    prunes: AtomicU64,
    /// How many of these were done.
    pruned: AtomicU64,
}

/// The state file of this server.
#[derive(Debug, Clone)]
pub struct StateFile {
    folder: PathBuf,
    name: String,
    /// For how long what it says is good.
    pub ages: Ages,
    /// The parent.
    owner: i32,
    words: &'static Words,
}

/// Where the file is by default, if a package has made the folder for it.
pub struct DefaultPlace<'p> {
    /// The folder of the package.
    pub base: &'p Path,
    /// The name of this server's own folder in it.
    pub instance: String,
}

/// The state file that the configuration wants, if it can be had. At a restart the lock stays.
pub fn open(setting: &StateSetting, default: &DefaultPlace<'_>, account: &Account) -> Option<StateFile> {
    let (path, place) = match &setting.path {
        StatePath::None => return give_up(),
        StatePath::Default if !default.base.exists() => return give_up(),
        StatePath::Default => (default.base.join(&default.instance).join("state.json"), None),
        StatePath::At(path, place) => (PathBuf::from(path), Some(place)),
    };
    let opened = match place {
        _ if account.is_confined() => Err("children are within ChrootDir and see other paths".to_owned()),
        None if !is_safe(default.base) => {
            Err(format!("{} is not a folder that root alone can write to", default.base.display()))
        }
        _ => take(&path, setting, account, place.is_none()),
    };
    let failed = |why: String| {
        let from = place.map(|place| format!(" (LuaBalancerStateFile, {place})")).unwrap_or_default();
        // The default one may be out of reach, for example of a server without root.
        let message =
            if place.is_some() { messages::statefile::NONE } else { messages::statefile::NO_DEFAULT };
        log::server(
            message,
            &format!("no state file at {}: {why}; orders end with this server{from}", path.display()),
        );
    };
    opened.map_err(failed).ok().or_else(give_up)
}

/// Whether nobody else can put anything into a folder: no link, of root or of this account.
fn is_safe(base: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    const OTHERS: u32 = 0o022;
    let own = rustix::process::geteuid().as_raw();
    std::fs::symlink_metadata(base)
        .is_ok_and(|found| found.is_dir() && [0, own].contains(&found.uid()) && found.mode() & OTHERS == 0)
}

fn give_up() -> Option<StateFile> {
    RETAINED.with(Retained::release);
    None
}

fn take(path: &Path, setting: &StateSetting, account: &Account, is_own: bool) -> Result<StateFile, String> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err("it is not the path of a file".into());
    };
    let at_folder = |error: io::Error| format!("{}: {error}", folder.display());
    let lock_name = lock_name(name);
    let opened = Folder::made(folder, account, is_own, &[name, &lock_name]).map_err(at_folder)?;
    let taken = RETAINED.with(|kept| {
        kept.lock(&opened, path, account)?;
        kept.words()
    });
    let words = taken.ok_or("httpd keeps no retained data")??;
    let ages = Ages { max_age_s: setting.max_age_s, health_age_s: setting.health_age_s };
    let (folder, name) = (folder.to_owned(), name.to_owned());
    Ok(StateFile { folder, name, ages, owner: memory::pid(), words })
}

fn lock_name(name: &str) -> String {
    format!("{name}.lock")
}

/// A process that httpd has made has its parent hold the lock alone, so that it ends with that one.
pub fn leave_to_parent() {
    RETAINED.with(|kept| {
        if kept.owner != memory::pid() {
            kept.release();
        }
    });
}

impl Retained {
    fn lock(&mut self, folder: &Folder, path: &Path, account: &Account) -> Result<(), String> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let path_hash = hasher.finish();
        if self.is_locked && self.path == path_hash {
            return Ok(());
        }
        self.release();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let taken = folder.lock(&lock_name(name), account).map_err(|error| format!("its lock: {error}"))?;
        let taken = taken.ok_or("another server has it")?;
        (self.is_locked, self.lock, self.path) = (true, taken.into_raw_fd(), path_hash);
        self.owner = memory::pid();
        Ok(())
    }

    fn release(&mut self) {
        if self.is_locked {
            process::close(self.lock);
            self.is_locked = false;
        }
    }

    fn words(&mut self) -> Result<&'static Words, String> {
        let mapping = match self.words.find(NAME) {
            Some(mapping) => mapping,
            None => {
                let mapping = Mapping::new(size_of::<Words>())?;
                // SAFETY: a fresh mapping, and there was none of this name.
                unsafe { self.words.put(NAME, mapping) }?;
                mapping
            }
        };
        // SAFETY: a shared mapping of this size, zeroed when it was made, which is never given
        // back; atomics.
        Ok(unsafe { &*mapping.base.cast::<Words>() })
    }
}

impl StateFile {
    /// Its path.
    pub fn path(&self) -> String {
        self.folder.join(&self.name).display().to_string()
    }

    /// Whether the parent that holds the lock is there.
    pub fn is_held(&self) -> bool {
        let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
        self.owner == memory::pid() || parent == Some(self.owner)
    }

    /// The bytes that are there now. `account`: the owner that it may have, besides root and this
    /// process's own.
    pub fn read(&self, account: Option<&Account>) -> StateBytes {
        match Folder::open(&self.folder) {
            Ok(folder) => folder.read(&self.name, account),
            Err(error) => StateBytes::Unreadable(error.to_string()),
        }
    }

    /// Gives what is there another name, whose path is returned.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn move_aside(&self) -> io::Result<String> {
        let aside = Folder::open(&self.folder)?.move_aside(&self.name)?;
        Ok(self.folder.join(aside).display().to_string())
    }

    /// The mark of the file that is there now.
    pub fn mark(&self) -> Option<FileMark> {
        Folder::open(&self.folder).ok()?.mark(&self.name)
    }

    /// Writes it anew, if `may` still says so when all is written. None: it does not.
    ///
    /// # Errors
    /// It stays as it is.
    pub fn write(&self, text: &str, may: &dyn Fn() -> bool) -> io::Result<Option<FileMark>> {
        Folder::open(&self.folder)?.replace(&self.name, text, may)
    }

    /// Removes what writers have left that were killed.
    pub fn sweep(&self) {
        if let Ok(folder) = Folder::open(&self.folder) {
            folder.sweep(&self.name);
        }
    }

    /// Notes how writing it went. True when that is news.
    pub fn note(&self, failed: Option<&io::Error>, now_s: u64) -> bool {
        let error = match failed {
            None => 0,
            Some(error) => error.raw_os_error().and_then(|error| u64::try_from(error).ok()).unwrap_or(EIO),
        };
        let before = self.words.error.swap(error, Ordering::AcqRel);
        let is_news = (before == 0) != (error == 0);
        if is_news {
            self.words.since.store(now_s, Ordering::Release);
        }
        is_news
    }

    /// Why it cannot be written, and since when: epoch seconds.
    pub fn trouble(&self) -> Option<(String, u64)> {
        let error =
            i32::try_from(self.words.error.load(Ordering::Acquire)).ok().filter(|error| *error != 0)?;
        let why = match Errno::from_raw_os_error(error) {
            Errno::TIMEDOUT => format!("it takes longer than {} s", DISK_PATIENCE.as_secs()),
            errno => io::Error::from(errno).to_string(),
        };
        let text = format!("the state file {} cannot be written: {why}", self.path());
        Some((text, self.words.since.load(Ordering::Acquire)))
    }

    /// Notes that a writing goes on since then, if that is too long. True when that is news.
    pub fn note_under_way(&self, since: Instant, now_s: u64) -> bool {
        since.elapsed() >= DISK_PATIENCE && self.note(Some(&Errno::TIMEDOUT.into()), now_s)
    }

    /// Asks the leader to leave out the parts that no start would take. Returns the number for
    /// [`StateFile::wait_until_pruned`].
    pub fn ask_to_prune(&self) -> u64 {
        self.words.prunes.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Sleeps until that was done, so long at most. False: it was not.
    pub fn wait_until_pruned(&self, asked: u64, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            let done = self.words.pruned.load(Ordering::Acquire);
            let left = until.saturating_duration_since(Instant::now());
            if done >= asked || left.is_zero() {
                return done >= asked;
            }
            futex::wait(&self.words.pruned, done as u32, left);
        }
    }

    /// Whether somebody waits for that: the number for [`StateFile::has_pruned`] then.
    pub fn is_to_prune(&self) -> Option<u64> {
        let asked = self.words.prunes.load(Ordering::Acquire);
        (asked > self.words.pruned.load(Ordering::Acquire)).then_some(asked)
    }

    /// It was done.
    pub fn has_pruned(&self, asked: u64) {
        self.words.pruned.fetch_max(asked, Ordering::AcqRel);
        futex::wake_all(&self.words.pruned);
    }
}

/// Stands for errors that the system has no number for.
const EIO: u64 = 5;
