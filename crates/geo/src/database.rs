// SPDX-License-Identifier: Apache-2.0
//! One database in memory.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use maxminddb::geoip2::{Asn, Enterprise};
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use crate::{Location, Problem, Stamp, file};

/// Addresses of each kind that a database is asked for before it is taken.
const SAMPLES: u32 = 1024;

/// The content of one file, as it was when it was read.
pub struct Database {
    path: PathBuf,
    stamp: Stamp,
    reader: Reader<Cow<'static, [u8]>>,
    /// A look-up has failed and was reported.
    reported: AtomicBool,
    /// A look-up has panicked: the content is not looked at again.
    dead: AtomicBool,
}

impl Database {
    /// Reads a file; None while somebody writes it.
    pub fn read(path: &Path) -> Result<Option<Self>, Problem> {
        let Some((stamp, bytes)) = file::read(path)? else { return Ok(None) };
        Self::from_bytes(path, stamp, bytes.into()).map(Some)
    }

    /// Reads a file that takes the place of a database of this kind, and walks through all of it:
    /// what breaks in places is refused as a whole. None while somebody writes it, and when `go_on`
    /// says false.
    pub fn read_successor(
        path: &Path,
        kind: Option<&str>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Self>, Problem> {
        let Some(database) = Self::read(path)? else { return Ok(None) };
        database.check_successor(kind, go_on).map(|whole| whole.then_some(database))
    }

    /// Whether this one may take the place of a database of this kind. Ok(false): it was not asked
    /// to the end.
    pub fn check_successor(&self, kind: Option<&str>, go_on: &dyn Fn() -> bool) -> Result<bool, Problem> {
        if let Some(kind) = kind.filter(|kind| *kind != self.kind()) {
            let own = self.kind();
            let what = format!(
                "is of type {own}; expected {kind} as before: a database of another type needs another name in the configuration"
            );
            return Err(Problem::new(&self.path, what));
        }
        let mut last = None;
        guarded(|| self.walk(go_on, &mut last)).map_err(|reason| {
            let place = last.map(|place| format!(" behind {place}")).unwrap_or_default();
            Problem::new(&self.path, format_args!("is damaged{place} ({reason})"))
        })
    }

    /// Every network, and every record once. `last` is the one that was looked at last.
    fn walk(&self, go_on: &dyn Fn() -> bool, last: &mut Option<String>) -> Result<bool, String> {
        /// Networks between two looks at whether to go on.
        const STEP: u64 = 1024;
        // Each node has two ends; a tree never has more.
        let most = u64::from(self.reader.metadata().node_count) * 2 + 2;
        let (mut seen, mut count) = (HashSet::new(), 0);
        let networks = self.reader.networks(WithinOptions::default()).map_err(|error| error.to_string())?;
        for found in networks {
            let found = found.map_err(|error| error.to_string())?;
            count += 1;
            if count > most {
                return Err("its tree has no end".to_owned());
            }
            if count % STEP == 0 && !go_on() {
                return Ok(false);
            }
            if found.offset().is_some_and(|offset| seen.insert(offset)) {
                *last = found.network().ok().map(|network| network.to_string());
                found.decode::<Enterprise>().map_err(|error| error.to_string())?;
                found.decode::<Asn>().map_err(|error| error.to_string())?;
            }
        }
        Ok(true)
    }

    /// From a file's content. A database that is not whole, or that fails a sample of look-ups, is
    /// refused.
    pub fn from_bytes(path: &Path, stamp: Stamp, bytes: Cow<'static, [u8]>) -> Result<Self, Problem> {
        let length = bytes.len();
        let opened = guarded(|| Reader::from_source(bytes).map_err(|error| error.to_string()));
        let reader = opened.map_err(|reason| {
            let what = format!("is not a whole MaxMind database ({reason}; {length} bytes)");
            Problem::new(path, what)
        })?;
        let database = Database {
            path: path.to_owned(),
            stamp,
            reader,
            reported: AtomicBool::new(false),
            dead: AtomicBool::new(false),
        };
        database.try_samples()?;
        Ok(database)
    }

    /// Name of the layout, such as `GeoLite2-City`.
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// The file's state when it was read.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Ok(None): the address is not in it.
    pub fn lookup(&self, address: IpAddr) -> Result<Option<Location>, Problem> {
        if self.dead.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut died = true;
        let found = guarded(|| {
            let found = self.find(address);
            died = false;
            found.map_err(|error| error.to_string())
        });
        if died {
            self.dead.store(true, Ordering::Relaxed);
        }
        found.map_err(|reason| {
            Problem::new(&self.path, format_args!("is damaged: looking up {address} fails ({reason})"))
        })
    }

    fn find(&self, address: IpAddr) -> Result<Option<Location>, MaxMindDbError> {
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(None);
        }
        let found = self.reader.lookup(address)?;
        let (Some(record), Some(network)) = (found.decode::<Enterprise>()?, found.decode::<Asn>()?) else {
            return Ok(None);
        };
        let place = Location::from_record(&record, &network);
        Ok((!place.is_empty()).then_some(place))
    }

    /// Whether a failed look-up is the first one since the file was read.
    pub(crate) fn is_first_failure(&self) -> bool {
        !self.reported.swap(true, Ordering::Relaxed)
    }

    /// Spread over the address space: what is damaged at large is found here, at the cost of about
    /// a millisecond.
    fn try_samples(&self) -> Result<(), Problem> {
        for n in 0..SAMPLES {
            // Multiples of the golden ratio fall evenly into their range.
            self.lookup(Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b9)).into())?;
            let high = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 3 | 1 << 61;
            self.lookup(Ipv6Addr::from_bits(u128::from(high) << 64 | 1).into())?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({}, {})", self.path.display(), self.kind())
    }
}

/// The file's bytes decide what the reader does: if there is a way to make it panic, it ends here.
fn guarded<T>(body: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // A payload whose own Drop panics ends here as well.
        std::mem::forget(payload);
        Err("its reader fell over".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_panic_of_the_reader_is_an_error() {
        let fell: Result<(), String> = guarded(|| panic!("on purpose"));
        assert_eq!(fell, Err("its reader fell over".to_owned()));
    }
}
