// SPDX-License-Identifier: Apache-2.0
//! The state file as a file: in a folder that somebody else may write to as well.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self as sys, AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

use crate::httpd::confine::Account;
use crate::httpd::memory;

/// Rights of the file and of its lock.
const OWNERS: Mode = Mode::RUSR.union(Mode::WUSR);
/// Ends the name of a file that is being written; before that stand the writer's number and that of
/// the writing.
const NEW: &str = ".new";
static WRITINGS: AtomicU64 = AtomicU64::new(0);

/// How files here are opened that anybody may have made: not through a link, and without waiting
/// for the other end of a pipe.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// The folder that the state file is in. It stays the same, whatever its path leads to later.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// A mark that tells a file from all that have been in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMark {
    device: u64,
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

impl FileMark {
    fn of(found: &Stat) -> Self {
        FileMark {
            device: found.st_dev,
            inode: found.st_ino,
            size: found.st_size,
            changed: (found.st_mtime, i64::try_from(found.st_mtime_nsec).unwrap_or_default()),
        }
    }
}

/// The bytes in the place of the state file.
#[derive(Debug)]
pub enum StateBytes {
    /// Nothing.
    Nothing,
    /// A file with these bytes.
    Bytes(Vec<u8>),
    /// Something else than a state file, and why.
    Strange(String),
    /// Something that cannot be looked at now.
    Unreadable(String),
}

impl Folder {
    /// The folder at a path, whose last part must not be a link.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Folder(sys::open(path, flags, Mode::empty())?))
    }

    /// The same; where there is none it is made, for this account alone. `is_own`: the folder is
    /// this server's, and given to the account that children have now, with the files `names` of
    /// the account that had it before.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn made(path: &Path, account: &Account, is_own: bool, names: &[&str]) -> io::Result<Self> {
        let is_new = match sys::mkdir(path, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            // It may be there, where this process may make none.
            Err(error) => return Self::open(path).map_err(|_| error.into()),
        };
        let folder = Self::open(path)?;
        let found = sys::fstat(&folder.0)?;
        if !geteuid().is_root() {
            return Ok(folder);
        }
        // A new one in a folder of somebody else may be another one by now: one that is root's, but
        // none that holds anything.
        if is_own || is_new && found.st_uid == 0 && folder.is_empty()? {
            give(&folder.0, account)?;
        }
        if is_own && found.st_uid != account.numbers().0 {
            names.iter().for_each(|name| folder.give_file(name, found.st_uid, account));
        }
        Ok(folder)
    }

    fn is_empty(&self) -> io::Result<bool> {
        let mut all = sys::Dir::read_from(&self.0)?.flatten();
        Ok(all.all(|entry| [c".", c".."].contains(&entry.file_name())))
    }

    /// Gives a file to an account, if it belongs to `former` and has no name elsewhere.
    fn give_file(&self, name: &str, former: u32, account: &Account) {
        let Ok(file) = sys::openat(&self.0, name, READ, Mode::empty()) else { return };
        if sys::fstat(&file)
            .is_ok_and(|found| is_file(&found) && found.st_uid == former && found.st_nlink == 1)
        {
            // A file that stays somebody else's is refused, with a line, when it is read.
            let _ = give(&file, account);
        }
    }

    /// Takes the lock that a file of this name is. None: another server has it.
    ///
    /// # Errors
    /// There can be no lock.
    pub fn lock(&self, name: &str, account: &Account) -> io::Result<Option<OwnedFd>> {
        let made = sys::openat(&self.0, name, READ | OFlags::CREATE | OFlags::EXCL, OWNERS);
        let lock = match made {
            Ok(lock) => {
                if geteuid().is_root() {
                    give(&lock, account)?;
                }
                lock
            }
            Err(Errno::EXIST) => sys::openat(&self.0, name, READ, Mode::empty())?,
            Err(error) => return Err(error.into()),
        };
        if !is_file(&sys::fstat(&lock)?) {
            return Err(io::Error::other(format!("{name} is not a regular file")));
        }
        match sys::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(lock)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the file, if it is one: regular, no link, of this account or root, and not too long.
    pub fn read(&self, name: &str, account: Option<&Account>) -> StateBytes {
        let strange = |text: &str| StateBytes::Strange(text.to_owned());
        match sys::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return StateBytes::Nothing,
            Err(error) => return StateBytes::Unreadable(error.to_string()),
            Ok(found) if !is_file(&found) => return StateBytes::Strange(kind(&found)),
            Ok(_) => {}
        }
        // Asked again of what was opened: it may be another one by now.
        let opened = sys::openat(&self.0, name, READ, Mode::empty());
        let (opened, found) = match opened.and_then(|opened| Ok((sys::fstat(&opened)?, opened))) {
            Ok((found, opened)) => (opened, found),
            Err(Errno::NOENT) => return StateBytes::Nothing,
            Err(Errno::LOOP) => return strange("it is a link"),
            Err(error) => return StateBytes::Unreadable(error.to_string()),
        };
        if !is_file(&found) {
            return StateBytes::Strange(kind(&found));
        }
        let owners = [Some(0), Some(geteuid().as_raw()), account.map(|account| account.numbers().0)];
        if !owners.contains(&Some(found.st_uid)) {
            return StateBytes::Strange(format!("it belongs to somebody else, user {}", found.st_uid));
        }
        if found.st_uid == 0 && found.st_nlink > 1 {
            return strange("it is a file of root's that has another name as well");
        }
        let most = statefile::MAX_BYTES as u64;
        let mut bytes = Vec::new();
        match File::from(opened).take(most + 1).read_to_end(&mut bytes) {
            Ok(length) if length as u64 > most => strange("it has more than 64 MiB"),
            Ok(_) => StateBytes::Bytes(bytes),
            Err(error) => StateBytes::Unreadable(error.to_string()),
        }
    }

    /// Gives what is in the file's place another name, which is returned.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn move_aside(&self, name: &str) -> io::Result<String> {
        let aside = format!("{name}.broken");
        let moved = sys::renameat(&self.0, name, &self.0, &aside);
        // A folder is not put in the place of a file, nor the other way round.
        let again = |_| {
            let aside = format!("{aside}-{}", memory::pid());
            sys::renameat(&self.0, name, &self.0, &aside).map(|()| aside)
        };
        Ok(moved.map(|()| aside.clone()).or_else(again)?)
    }

    /// The mark of what is in the file's place now; None: nothing is, or nobody can say.
    pub fn mark(&self, name: &str) -> Option<FileMark> {
        sys::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok().as_ref().map(FileMark::of)
    }

    /// Writes another file in its place, whole or not at all. `may` is asked when all is written.
    /// None: it said no, and the file before stays.
    ///
    /// # Errors
    /// It cannot be written; the file before stays.
    pub fn replace(&self, name: &str, text: &str, may: &dyn Fn() -> bool) -> io::Result<Option<FileMark>> {
        // A thread that had the lead before may be at it still.
        let number = WRITINGS.fetch_add(1, Ordering::Relaxed);
        let beside = format!("{name}.{}-{number}{NEW}", memory::pid());
        let written = self.write(&beside, text).and_then(|mark| {
            if !may() {
                return Ok(None);
            }
            sys::renameat(&self.0, &beside, &self.0, name)?;
            sys::fsync(&self.0)?;
            Ok(Some(mark))
        });
        if !matches!(written, Ok(Some(_))) {
            // Renamed by now, or never made.
            let _ = sys::unlinkat(&self.0, &beside, AtFlags::empty());
        }
        written
    }

    fn write(&self, name: &str, text: &str) -> io::Result<FileMark> {
        // Left by a process that had this number before.
        let _ = sys::unlinkat(&self.0, name, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(sys::openat(&self.0, name, flags, OWNERS)?);
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(FileMark::of(&sys::fstat(&file)?))
    }

    /// Removes the new files of other writers, which were killed, or have lost the lead and with it
    /// the right to put a file in place.
    pub fn sweep(&self, name: &str) {
        let Ok(all) = sys::Dir::read_from(&self.0) else { return };
        let left = all.flatten().filter_map(|entry| {
            let file = entry.file_name().to_str().ok()?.to_owned();
            let writer = file.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(NEW)?;
            let (writer, number) = writer.split_once('-')?;
            let is_ours = writer.parse::<i32>().ok()? == memory::pid();
            (number.parse::<u64>().is_ok() && !is_ours).then_some(file)
        });
        for file in left {
            // Somebody else has removed it.
            let _ = sys::unlinkat(&self.0, file, AtFlags::empty());
        }
    }
}

fn give(what: impl AsFd, account: &Account) -> io::Result<()> {
    let (user, group) = account.numbers();
    Ok(sys::fchown(what, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?)
}

fn is_file(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
}

fn kind(found: &Stat) -> String {
    let what = match FileType::from_raw_mode(found.st_mode) {
        FileType::Symlink => "a link",
        FileType::Directory => "a folder",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        _ => "a device",
    };
    format!("it is {what}")
}
