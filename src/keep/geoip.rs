// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerGeoIP` and `lb.geo`: the parent reads the databases, children inherit them and take
//! replaced files by themselves.
//!
//! The databases that the parent read stay where they are over restarts, in a list that httpd keeps
//! for the module: a restart reads only files that have changed, and one that finds a broken file
//! goes on with the database that it has.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use config::GeoFile;
use geo::{Database, DatabaseFile, Databases, Inspection, Problem, Refresh, Stamp};
use script::host::{Location, NO_DATABASE};

use crate::httpd::log;
use crate::httpd::retained::{Block, Plain};

/// Reads what the directives name. With it comes what is wrong; a restart has to go on, so there it
/// is logged instead.
pub fn load(files: &[GeoFile], restarting: bool) -> (Option<Arc<Databases>>, Vec<String>) {
    let mut wrong = Vec::new();
    let mut before = Kept::take_all();
    let (mut now, mut sources) = (Vec::new(), Vec::new());
    for file in files {
        let known = before.iter().position(|kept| kept.path() == file.path).map(|at| before.swap_remove(at));
        let Loaded { source, kept, problem } = read(&file.path, known);
        let place = &file.place;
        match problem {
            Some(problem) if restarting => {
                let instead =
                    if kept.is_some() { "the last good one goes on serving" } else { "none serves" };
                let text = format!("{place}: {problem} (not taken, {instead})");
                log::server(messages::addresses::NOT_TAKEN_AT_RESTART, &text);
            }
            Some(problem) => wrong.push(format!("{place}: LuaBalancerGeoIP: {problem}")),
            None => {}
        }
        sources.push(source);
        now.extend(kept);
    }
    Kept::put_all(now);
    let geo = (!sources.is_empty()).then(|| Arc::new(Databases::new(sources)));
    // At a restart the parent has walked through what has changed.
    if let Some(databases) = geo.as_deref().filter(|_| !restarting) {
        databases.mark_unwalked();
    }
    let loaded = geo.as_deref().map_or(std::ptr::null_mut(), |all| std::ptr::from_ref(all).cast_mut());
    IN_FORCE.store(loaded, Ordering::Release);
    (geo, wrong)
}

/// Children inherit it: what the parent read, in each of them.
static IN_FORCE: AtomicPtr<Databases> = AtomicPtr::new(std::ptr::null_mut());

/// pre_config: forgets the last configuration's databases.
pub fn forget() {
    IN_FORCE.store(std::ptr::null_mut(), Ordering::Release);
}

fn databases() -> Option<&'static Databases> {
    // SAFETY: owned by the configuration being read or in force, and by each child, which keeps it
    // to its end; in the parent `forget` runs before the next one is read.
    #[allow(unsafe_code)]
    unsafe {
        IN_FORCE.load(Ordering::Acquire).as_ref()
    }
}

struct Loaded {
    source: DatabaseFile,
    kept: Option<Kept>,
    problem: Option<Problem>,
}

/// The file, or what is known of it when it has not changed or cannot be used.
fn read(path: &Path, known: Option<Kept>) -> Loaded {
    let seen = Stamp::of(path);
    let loaded = |database, kept, seen, problem| Loaded {
        source: DatabaseFile { path: path.to_owned(), database, seen },
        kept,
        problem,
    };
    let reopened = known.as_ref().and_then(|kept| kept.open().ok());
    if reopened.is_some() && known.as_ref().map(|kept| kept.stamp) == seen {
        return loaded(reopened, known, seen, None);
    }
    let fresh = geo::read(path).and_then(|found| match found {
        Some((stamp, bytes)) => {
            let kept = Kept::new(path, stamp, bytes);
            let database = kept.open()?;
            if let Some(before) = &reopened {
                database.check_successor(Some(before.kind()), &|| true)?;
            }
            Ok((database, kept))
        }
        None => {
            let what = "is being written; expected a file at rest".to_owned();
            Err(Problem { path: path.to_owned(), what })
        }
    });
    match fresh {
        Ok((database, kept)) => {
            // Before the bytes that it uses.
            drop(reopened);
            let seen = Some(database.stamp());
            loaded(Some(database), Some(kept), seen, None)
        }
        Err(problem) => {
            let known = known.filter(|_| reopened.is_some());
            loaded(reopened, known, seen, Some(problem))
        }
    }
}

/// Where an address is, as the databases of this configuration say.
pub fn find(address: &str) -> Result<Option<Location>, String> {
    let databases = databases().ok_or(NO_DATABASE)?;
    let place = databases.lookup(parse(address)?, &mut |problem| {
        let text = format!("{problem}; what it does not tell counts as unknown");
        log::server(messages::addresses::LOOKUP_FAILED, &text);
    });
    place.map_err(|problem| format!("lb.geo: {problem}"))
}

/// A link-local address may have its interface behind it.
fn parse(address: &str) -> Result<IpAddr, String> {
    let bare = address.split_once('%').map_or(address, |(bare, _)| bare);
    bare.parse().map_err(|_| {
        format!(
            "lb.geo: '{}' is not an IP address: expected one such as r.useragent_ip",
            address.escape_debug()
        )
    })
}

/// Takes replaced files; a few times a second, in a child's background thread. One child tells.
/// `run` has a thread of its own read a database.
pub fn refresh(databases: &Databases, run: &mut dyn FnMut(Inspection) -> bool, tells: bool) {
    let mut changes = databases.refresh_by(run);
    if tells {
        changes.extend(databases.walk_by(run));
    }
    for change in changes {
        let (message, text) = match change {
            Refresh::Taken(path, kind) => {
                (messages::addresses::TAKEN, format!("{}: a new {kind} is in service", path.display()))
            }
            Refresh::Refused(problem) => (
                messages::addresses::REFUSED,
                format!("{problem} (not taken, the last good one goes on serving)"),
            ),
            Refresh::Damaged(problem) => (
                messages::addresses::DAMAGED,
                format!("{problem}; it goes on serving, and what it does not tell counts as unknown"),
            ),
            Refresh::Gone(path) => (
                messages::addresses::GONE,
                format!("{}: is gone, what was read of it goes on serving", path.display()),
            ),
        };
        match tells {
            true => log::server(message, &text),
            false => log::server_quietly(message, &text),
        }
    }
}

/// The database that the parent read of a file, in an allocation of its own.
#[repr(C)]
struct Kept {
    path: *mut u8,
    path_length: usize,
    bytes: *mut u8,
    length: usize,
    stamp: Stamp,
}

/// The list that httpd keeps.
#[repr(C)]
struct Retained {
    first: *mut Kept,
    count: usize,
}

// SAFETY: fixed layout of a pointer and a number without drop; zeros stand for an empty list.
#[allow(unsafe_code)]
unsafe impl Plain for Retained {}

/// The version tells the layout of [`Kept`] as well.
static RETAINED: Block<Retained> = Block::new("mod_lua_balancer databases", 2);

fn leak(bytes: Vec<u8>) -> (*mut u8, usize) {
    let bytes = Box::leak(bytes.into_boxed_slice());
    (bytes.as_mut_ptr(), bytes.len())
}

#[allow(unsafe_code)]
impl Kept {
    fn new(path: &Path, stamp: Stamp, bytes: Vec<u8>) -> Self {
        let (path, path_length) = leak(path.as_os_str().as_bytes().to_vec());
        let (bytes, length) = leak(bytes);
        Kept { path, path_length, bytes, length, stamp }
    }

    fn path(&self) -> PathBuf {
        // SAFETY: leaked by `new` with this length, given back by `drop` alone.
        let bytes = unsafe { std::slice::from_raw_parts(self.path, self.path_length) };
        PathBuf::from(OsStr::from_bytes(bytes))
    }

    /// A database over these bytes: refused ones are gone when this returns, the others go with
    /// their configuration, which is before the next one is loaded and anything of the list is
    /// dropped.
    fn open(&self) -> Result<Database, Problem> {
        // SAFETY: leaked by `new` with this length, never written; 'static stands for the life
        // described above.
        let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(self.bytes, self.length) };
        Database::from_bytes(&self.path(), self.stamp, Cow::Borrowed(bytes))
    }

    /// The list of the last configuration, whose databases are gone: its pool was cleared before
    /// this one was read.
    fn take_all() -> Vec<Kept> {
        let taken = RETAINED.with(|kept| {
            let first = std::mem::replace(&mut kept.first, std::ptr::null_mut());
            (!first.is_null()).then_some((first, kept.count))
        });
        let Some((first, count)) = taken.flatten() else { return Vec::new() };
        // SAFETY: leaked by `put_all` as a box of this length, and taken out of the block just now.
        unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(first, count)) }.into_vec()
    }

    fn put_all(list: Vec<Kept>) {
        let list = Box::leak(list.into_boxed_slice());
        // Without a place the bytes stay allocated, for the databases that use them.
        let (first, count) = (list.as_mut_ptr(), list.len());
        RETAINED.with(|kept| *kept = Retained { first, count });
    }
}

#[allow(unsafe_code)]
impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: both were leaked by `new` as boxes of these lengths.
        unsafe {
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.path, self.path_length)));
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.bytes, self.length)));
        }
    }
}
