//! All databases of a server.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::{Database, Place, Problem, Stamp};

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
}

/// A file and what could be read of it.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its content, or that of an earlier state of it.
    pub database: Option<Database>,
    /// The file's state that was looked at, be it that it was refused; None: there was no file.
    pub seen: Option<Stamp>,
}

/// What [`Databases::refresh`] found.
#[derive(Debug)]
pub enum Change {
    /// A replaced file is in service; its layout's name.
    Taken(PathBuf, String),
    /// A replaced file is not taken.
    Refused(Problem),
    /// A file is no longer there; what was read from it goes on serving.
    Gone(PathBuf),
}

impl Databases {
    /// What a file holds is looked at again when its state is another than the one seen.
    pub fn new(files: Vec<Source>) -> Self {
        let watched = |file: Source| {
            let watch = Watch { judged: file.seen, gone: file.seen.is_none(), ..Watch::default() };
            Watched {
                path: file.path,
                current: RwLock::new(file.database.map(Arc::new)),
                watch: Mutex::new(watch),
            }
        };
        Databases { files: files.into_iter().map(watched).collect() }
    }

    /// What the databases together know of an address; the first that knows a field counts. A damaged one knows nothing
    /// where its look-up fails; `report` hears of it once for each file and each time it is read. An IPv4 address in IPv6 form
    /// is the IPv4 address. Err: not one database could be read.
    pub fn lookup(
        &self,
        address: IpAddr,
        report: &mut dyn FnMut(&Problem),
    ) -> Result<Option<Place>, Problem> {
        let address = address.to_canonical();
        let mut place = None::<Place>;
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

    /// Takes replaced files; to be called a few times a second, away from requests. Costs a `stat` a file while nothing
    /// changes. A new state of a file is read when it was seen twice, so that most writers are done by then.
    pub fn refresh(&self) -> Vec<Change> {
        self.files.iter().filter_map(Watched::refresh).collect()
    }
}

impl Watched {
    fn refresh(&self) -> Option<Change> {
        let mut watch = self.watch.lock();
        let Some(stamp) = Stamp::of(&self.path) else {
            let told = std::mem::replace(&mut watch.gone, true);
            watch.fresh = None;
            // Between the two steps of a clumsy replacement it is not there either.
            watch.judged = None;
            return (!told).then(|| Change::Gone(self.path.clone()));
        };
        watch.gone = false;
        if watch.judged == Some(stamp) {
            watch.fresh = None;
            return None;
        }
        if watch.fresh.replace(stamp) != Some(stamp) {
            return None;
        }
        match Database::read(&self.path) {
            // Somebody is writing: a new state again, soon.
            Ok(None) => None,
            Ok(Some(database)) => {
                *watch = Watch { judged: Some(database.stamp()), ..Watch::default() };
                let kind = database.kind().to_owned();
                let before = self.current.write().replace(Arc::new(database));
                // The old one goes when its last look-up ends, not under the lock.
                drop(before);
                Some(Change::Taken(self.path.clone(), kind))
            }
            Err(problem) => {
                *watch = Watch { judged: Some(stamp), ..Watch::default() };
                Some(Change::Refused(problem))
            }
        }
    }
}
