// SPDX-License-Identifier: Apache-2.0
//! The state file as a file: in a folder that somebody else may write to as well.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

use crate::httpd::confine::Account;
use crate::httpd::memory;

/// Rights of the file and of its lock.
const OWNERS: Mode = Mode::RUSR.union(Mode::WUSR);
/// Ends the name of a file that is being written; before that stands the writer's number.
const NEW: &str = ".new";

/// The folder that the state file is in. It stays the same, whatever its path leads to later.
#[derive(Debug)]
pub struct Folder(OwnedFd);

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
    /// this server's, and given to the account that children have now.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn made(path: &Path, account: &Account, is_own: bool) -> io::Result<Self> {
        let is_new = match sys::mkdir(path, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            // It may be there, where this process may make none.
            Err(error) => return Self::open(path).map_err(|_| error.into()),
        };
        let folder = Self::open(path)?;
        let found = sys::fstat(&folder.0)?;
        let is_roots = geteuid().is_root() && found.st_uid == 0;
        if (is_new || is_own) && geteuid().is_root() && (is_roots || is_own) {
            let (user, group) = account.numbers();
            sys::fchown(&folder.0, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        Ok(folder)
    }

    /// Takes the lock beside the file. None: another server has it.
    ///
    /// # Errors
    /// There can be no lock.
    pub fn lock(&self, name: &str, account: &Account) -> io::Result<Option<OwnedFd>> {
        let name = format!("{name}.lock");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let made = sys::openat(&self.0, &name, flags | OFlags::CREATE | OFlags::EXCL, OWNERS);
        let lock = match made {
            Ok(lock) => {
                if geteuid().is_root() {
                    let (user, group) = account.numbers();
                    sys::fchown(&lock, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
                }
                lock
            }
            Err(Errno::EXIST) => sys::openat(&self.0, &name, flags, Mode::empty())?,
            Err(error) => return Err(error.into()),
        };
        if !is_file(&sys::fstat(&lock)?) {
            return Err(io::Error::other(format!("{name} is no regular file")));
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
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = sys::openat(&self.0, name, flags, Mode::empty());
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

    /// Writes another file in its place, whole or not at all. `may` is asked when all is written;
    /// false: the file before stays.
    ///
    /// # Errors
    /// It cannot be written; the file before stays.
    pub fn replace(&self, name: &str, text: &str, may: &dyn Fn() -> bool) -> io::Result<()> {
        let beside = format!("{name}.{}{NEW}", memory::pid());
        let written = self.write(&beside, text).and_then(|()| {
            if !may() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            sys::renameat(&self.0, &beside, &self.0, name)?;
            Ok(sys::fsync(&self.0)?)
        });
        if written.is_err() {
            // Renamed by now, or never made.
            let _ = sys::unlinkat(&self.0, &beside, AtFlags::empty());
        }
        written
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        // Left by a process that had this number before.
        let _ = sys::unlinkat(&self.0, name, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(sys::openat(&self.0, name, flags, OWNERS)?);
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// Removes what writers have left that were killed.
    pub fn sweep(&self, name: &str) {
        let Ok(all) = sys::Dir::read_from(&self.0) else { return };
        let left = all.flatten().filter_map(|entry| {
            let file = entry.file_name().to_str().ok()?.to_owned();
            let writer = file.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(NEW)?.parse().ok()?;
            (!memory::alive(writer)).then_some(file)
        });
        for file in left {
            // Somebody else has removed it.
            let _ = sys::unlinkat(&self.0, file, AtFlags::empty());
        }
    }
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
