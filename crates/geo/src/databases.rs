// SPDX-License-Identifier: Apache-2.0
//! All databases of a server.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::{Database, Location, Problem, Stamp};

/// The databases in the order of the configuration.
#[derive(Debug, Default)]
pub struct Databases {
    files: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    current: RwLock<Option<Arc<Database>>>,
    watch: Mutex<Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    /// State that was last taken or refused.
    judged: Option<Stamp>,
    /// A new state, seen once.
    fresh: Option<Stamp>,
    gone: bool,
    /// Somebody reads the new state.
    reading: Option<Arc<Mutex<Option<Read>>>>,
    /// The database that serves was tried by samples only.
    unwalked: bool,
    /// Somebody walks through what serves.
    walking: Option<Arc<Mutex<Option<Walk>>>>,
}

/// The result of walking through a database; Ok(false): not to the end.
type Walk = Result<bool, Problem>;

/// The result of reading a file.
type Read = Result<Option<Database>, Problem>;

/// Reads a new state of a file, which may take a second of computing: to be run away from
/// everything that has to go on.
pub type Inspection = Box<dyn FnOnce(&dyn Fn() -> bool) + Send>;

/// A file and what could be read of it.
#[derive(Debug)]
pub struct DatabaseFile {
    /// The file.
    pub path: PathBuf,
    /// Its content, or that of an earlier state of it.
    pub database: Option<Database>,
    /// The file's state that was looked at, be it that it was refused; None: there was no file.
    pub seen: Option<Stamp>,
}

/// The finding of [`Databases::refresh`].
#[derive(Debug)]
pub enum Refresh {
    /// A replaced file is in service; its layout's name.
    Taken(PathBuf, String),
    /// A replaced file is not taken.
    Refused(Problem),
    /// A file is no longer there; what was read from it goes on serving.
    Gone(PathBuf),
    /// The database that serves since the start breaks in places, which count as unknown.
    Damaged(Problem),
}

impl Databases {
    /// A file's content is looked at again when its state is another than the one seen.
    pub fn new(files: Vec<DatabaseFile>) -> Self {
        let watched = |file: DatabaseFile| {
            let watch = Watch { judged: file.seen, gone: file.seen.is_none(), ..Watch::default() };
            Watched {
                path: file.path,
                current: RwLock::new(file.database.map(Arc::new)),
                watch: Mutex::new(watch),
            }
        };
        Databases { files: files.into_iter().map(watched).collect() }
    }

    /// The databases' common knowledge of an address; the first that knows a field counts. A
    /// damaged one knows nothing where its look-up fails; `report` hears of it once for each file
    /// and each time it is read. An IPv4 address in IPv6 form is the IPv4 address. Err: not one
    /// database could be read.
    pub fn lookup(
        &self,
        address: IpAddr,
        report: &mut dyn FnMut(&Problem),
    ) -> Result<Option<Location>, Problem> {
        let address = address.to_canonical();
        let mut place = None::<Location>;
        let mut asked = false;
        for file in &self.files {
            let Some(database) = file.current.read().clone() else { continue };
            asked = true;
            match database.lookup(address) {
                Ok(None) => {}
                Ok(Some(found)) => match &mut place {
                    Some(place) => place.complete(found),
                    None => place = Some(found),
                },
                Err(problem) if database.is_first_failure() => report(&problem),
                Err(_) => {}
            }
        }
        match self.files.first() {
            Some(first) if !asked => Err(Problem::new(&first.path, "no database could be read yet")),
            _ => Ok(place),
        }
    }

    /// Takes replaced files; to be called a few times a second, away from requests. Costs a `stat`
    /// a file while nothing changes. A new state of a file is read when it was seen twice, so that
    /// most writers are done by then, and walked through whole: that is an [`Inspection`] for
    /// `run`, which returns false when it cannot have it run now. The inspection's argument says
    /// whether to go on.
    pub fn refresh_by(&self, run: &mut dyn FnMut(Inspection) -> bool) -> Vec<Refresh> {
        self.files.iter().filter_map(|file| file.refresh(run)).collect()
    }

    /// Says that what serves now was tried by samples only: for [`Databases::walk_by`].
    pub fn mark_unwalked(&self) {
        for file in &self.files {
            file.watch.lock().unwalked = file.current.read().is_some();
        }
    }

    /// Walks through what was not walked through yet, as [`Databases::refresh_by`] reads new files.
    /// Tells of each that is damaged, once; it goes on serving, since what it does not tell counts
    /// as unknown.
    pub fn walk_by(&self, run: &mut dyn FnMut(Inspection) -> bool) -> Vec<Refresh> {
        self.files.iter().filter_map(|file| file.walk(run)).map(Refresh::Damaged).collect()
    }

    /// The same as [`Databases::refresh_by`], which reads at once.
    pub fn refresh(&self) -> Vec<Refresh> {
        self.refresh_by(&mut |job| {
            job(&|| true);
            true
        })
    }
}

impl Watched {
    fn refresh(&self, run: &mut dyn FnMut(Inspection) -> bool) -> Option<Refresh> {
        let mut watch = self.watch.lock();
        if watch.reading.is_none() {
            match self.look(&mut watch) {
                Look::Fresh => self.read(&mut watch, run),
                Look::Same => return None,
                Look::Gone => return Some(Refresh::Gone(self.path.clone())),
            }
        }
        let result = watch.reading.as_ref()?.lock().take();
        match result {
            Some(read) => self.take(&mut watch, read),
            None => {
                // The reader has ended without a word: a new state again.
                if watch.reading.as_ref().is_some_and(|reading| Arc::strong_count(reading) == 1) {
                    watch.reading = None;
                }
                None
            }
        }
    }

    fn walk(&self, run: &mut dyn FnMut(Inspection) -> bool) -> Option<Problem> {
        let mut watch = self.watch.lock();
        if !watch.unwalked {
            return None;
        }
        let Some(place) = watch.walking.clone() else {
            let database = self.current.read().clone()?;
            let place = Arc::new(Mutex::new(None));
            let result = place.clone();
            let job = move |go_on: &dyn Fn() -> bool| {
                *result.lock() = Some(database.check_successor(None, go_on));
            };
            if run(Box::new(job)) {
                watch.walking = Some(place);
            }
            return None;
        };
        let result = place.lock().take();
        match result {
            // Two of them are here: who walked has ended without a word.
            None if Arc::strong_count(&place) > 2 => None,
            None | Some(Ok(false)) => {
                watch.walking = None;
                None
            }
            Some(found) => {
                (watch.unwalked, watch.walking) = (false, None);
                found.err()
            }
        }
    }

    fn look(&self, watch: &mut Watch) -> Look {
        let Some(stamp) = Stamp::of(&self.path) else {
            let told = std::mem::replace(&mut watch.gone, true);
            watch.fresh = None;
            // Between the two steps of a clumsy replacement it is not there either.
            watch.judged = None;
            return if told { Look::Same } else { Look::Gone };
        };
        watch.gone = false;
        if watch.judged == Some(stamp) {
            watch.fresh = None;
            return Look::Same;
        }
        if watch.fresh.replace(stamp) == Some(stamp) { Look::Fresh } else { Look::Same }
    }

    fn read(&self, watch: &mut Watch, run: &mut dyn FnMut(Inspection) -> bool) {
        let place = Arc::new(Mutex::new(None));
        let (path, result) = (self.path.clone(), place.clone());
        let kind = self.current.read().as_ref().map(|database| database.kind().to_owned());
        let job = move |go_on: &dyn Fn() -> bool| {
            let read = Database::read_successor(&path, kind.as_deref(), go_on);
            *result.lock() = Some(read);
        };
        if run(Box::new(job)) {
            watch.reading = Some(place);
        }
    }

    fn take(&self, watch: &mut Watch, read: Read) -> Option<Refresh> {
        watch.reading = None;
        match read {
            // Somebody is writing: a new state again, soon.
            Ok(None) => None,
            Ok(Some(database)) => {
                *watch = Watch { judged: Some(database.stamp()), ..Watch::default() };
                let kind = database.kind().to_owned();
                let before = self.current.write().replace(Arc::new(database));
                // The old one goes when its last look-up ends, not under the lock.
                drop(before);
                Some(Refresh::Taken(self.path.clone(), kind))
            }
            Err(problem) => {
                *watch = Watch { judged: watch.fresh, ..Watch::default() };
                Some(Refresh::Refused(problem))
            }
        }
    }
}

/// The finding of a look at a file's state.
enum Look {
    /// A new state, seen twice.
    Fresh,
    /// Nothing to do.
    Same,
    /// The file is not there any more.
    Gone,
}
