// SPDX-License-Identifier: Apache-2.0
//! The thread that watches files: their folders tell of changes, and every two seconds it looks all
//! the same.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::file::{FileLook, FileSource};
use crate::source::Sighting;
use crate::{Bell, ListingRules, hops};

/// How often each file is looked at, whatever its folder tells.
const PACE: Duration = Duration::from_secs(2);
/// The same, where the folder tells nothing.
const UNWATCHED: Duration = Duration::from_millis(500);
/// How soon a file is looked at again that somebody seems to be writing.
const SOON: Duration = Duration::from_millis(50);
/// The least time between two looks, however much happens.
const FLOOR: Duration = Duration::from_millis(100);
/// How long a file is left alone whose writer has it open, from one write to the next,
const OPEN: Duration = Duration::from_secs(2);
/// and in all.
const MOST_OPEN: Duration = Duration::from_secs(10);

/// A file that holds a list.
#[derive(Debug, Clone)]
pub struct SourcePath {
    /// An absolute path.
    pub path: PathBuf,
    /// How the list is read.
    pub rules: ListingRules,
    /// For how long it has to rest before it is read.
    pub settle: Duration,
}

/// See the module.
pub(crate) struct Watcher {
    files: Vec<Watched>,
    /// None: there are too many in the system.
    inotify: Option<OwnedFd>,
    /// The files of each watch, by the names that they have in its folder.
    watches: HashMap<i32, Vec<(usize, OsString)>>,
    bell: Bell,
}

struct Watched {
    /// Its place in the list of all sources.
    place: usize,
    source: FileSource,
    /// When it is looked at next,
    due: Instant,
    /// and was last.
    looked: Option<Instant>,
    /// Its times are not trusted by the next look.
    has_changed: bool,
    /// Since when it is being written.
    writing: Option<Instant>,
    is_watched: bool,
}

impl Watcher {
    /// Watches these files, once it runs.
    pub(crate) fn new(sources: Vec<(usize, SourcePath)>, bell: Bell) -> Self {
        let now = Instant::now();
        let file = |(place, SourcePath { path, rules, settle })| Watched {
            place,
            source: FileSource::new(path, rules, settle),
            due: now,
            looked: None,
            has_changed: true,
            writing: None,
            is_watched: false,
        };
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Watcher { files: sources.into_iter().map(file).collect(), inotify, watches: HashMap::new(), bell }
    }

    /// Tells what each look has found, until the bell says that it is over.
    pub(crate) fn run(mut self, tell: &mut dyn FnMut(Sighting)) {
        while !self.bell.has_ended() {
            if self.bell.take_refresh() {
                self.all_changed();
            }
            for at in 0..self.files.len() {
                if self.files[at].due <= Instant::now() {
                    // First, so that nothing happens between look and watch.
                    self.watch(at);
                    tell_of(self.files[at].place, self.look(at), tell);
                }
            }
            self.wait();
        }
    }

    fn all_changed(&mut self) {
        for file in &mut self.files {
            (file.due, file.has_changed) = (Instant::now(), true);
        }
    }

    fn look(&mut self, at: usize) -> FileLook {
        let (now, file) = (Instant::now(), &mut self.files[at]);
        let look = file.source.look(file.has_changed, now);
        file.has_changed = matches!(look, FileLook::Unsure);
        (file.writing, file.looked) = (None, Some(now));
        let pause = match look {
            FileLook::Unsure => SOON,
            _ if file.is_watched => PACE,
            _ => UNWATCHED,
        };
        file.due = now + pause;
        look
    }

    /// Watches the folders on the way of a file as they are now.
    fn watch(&mut self, at: usize) {
        let Some(inotify) = &self.inotify else { return };
        let hops = hops::of(&self.files[at].source.path);
        let all = hops.len();
        let mut found: Vec<(i32, OsString)> = Vec::new();
        for (hop, (folder, name)) in hops.into_iter().enumerate() {
            let mut events = WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::ATTRIB
                | WatchFlags::MASK_ADD
                | WatchFlags::ONLYDIR;
            // Only the file itself is written; folders above it may be busy with others' files.
            if hop + 1 == all {
                events |= WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
            }
            found.extend(inotify::add_watch(inotify, &folder, events).ok().map(|watch| (watch, name)));
        }
        self.files[at].is_watched = found.len() == all;
        for files in self.watches.values_mut() {
            files.retain(|(file, _)| *file != at);
        }
        for (watch, name) in found {
            self.watches.entry(watch).or_default().push((at, name));
        }
        self.watches.retain(|watch, files| {
            // A folder that is gone has taken its watch along.
            let _ = files.is_empty().then(|| inotify::remove_watch(inotify, *watch));
            !files.is_empty()
        });
    }

    /// Waits until something is due, has happened, or was said.
    fn wait(&mut self) {
        let now = Instant::now();
        let next = self.files.iter().map(|file| file.due).min().unwrap_or(now + PACE);
        let pause = next.saturating_duration_since(now);
        let timeout =
            Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) + 1 };
        let heard = match &self.inotify {
            Some(inotify) => {
                let mut fds = [self.bell.as_fd(), inotify.as_fd()]
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
                let _ = poll(&mut fds, Some(&timeout));
                !fds[0].revents().is_empty()
            }
            None => poll(&mut [PollFd::new(&self.bell, PollFlags::IN)], Some(&timeout)).is_ok_and(|n| n > 0),
        };
        if heard {
            self.bell.heard();
        }
        self.hear();
    }

    /// Hears the events of folders.
    fn hear(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        let (now, mut overflow) = (Instant::now(), false);
        while let Ok(event) = reader.next() {
            let (flags, watch) = (event.events(), event.wd());
            overflow |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let Some(files) = self.watches.get(&watch) else { continue };
            for (at, own) in files {
                // Without a name it is about the folder itself.
                if name.is_none_or(|name| name == own)
                    && let Some(file) = self.files.get_mut(*at)
                {
                    file.happened(flags, now);
                }
            }
        }
        if overflow {
            self.all_changed();
        }
    }
}

impl Watched {
    fn happened(&mut self, flags: ReadFlags, now: Instant) {
        self.has_changed = true;
        // A writer in place closes the file at the end.
        let is_open = flags.intersects(ReadFlags::MODIFY) && !flags.contains(ReadFlags::CLOSE_WRITE);
        let soonest = self.looked.map_or(now, |looked| now.max(looked + FLOOR));
        self.due = match is_open {
            false => {
                self.writing = None;
                soonest
            }
            true => (now + OPEN).min(*self.writing.get_or_insert(now) + MOST_OPEN).max(soonest),
        };
    }
}

fn tell_of(source: usize, look: FileLook, tell: &mut dyn FnMut(Sighting)) {
    match look {
        FileLook::List(listed, is_new) => tell(Sighting { source, found: Ok(listed), is_new }),
        FileLook::Failed(why) => tell(Sighting { source, found: Err(why), is_new: false }),
        FileLook::Unsure => {}
    }
}

#[cfg(test)]
mod tests;
