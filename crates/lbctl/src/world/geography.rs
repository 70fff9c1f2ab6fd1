// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerGeoIP`: where addresses are, as the databases say that the server reads.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::path::PathBuf;

use geo::{Database, DatabaseFile, Databases, Location};

/// The databases of a configuration, read when a script asks first.
#[derive(Default)]
pub struct Geography {
    files: Vec<PathBuf>,
    read: OnceCell<Result<Databases, String>>,
}

impl Geography {
    /// Of these files.
    pub fn of(files: Vec<PathBuf>) -> Self {
        Geography { files, read: OnceCell::new() }
    }

    /// Whether there is any.
    pub fn is_there(&self) -> bool {
        !self.files.is_empty()
    }

    /// The location of an address.
    ///
    /// # Errors
    /// A file that cannot be read, or that holds something else.
    pub fn find(&self, address: IpAddr) -> Result<Option<Location>, String> {
        let all = self.read.get_or_init(|| read(&self.files)).as_ref().map_err(String::clone)?;
        all.lookup(address, &mut |_| ()).map_err(|problem| format!("lb.geo: {problem}"))
    }
}

fn read(files: &[PathBuf]) -> Result<Databases, String> {
    let one = |path: &PathBuf| {
        let database = Database::read(path).map_err(|problem| format!("lb.geo: {problem}"))?;
        let database = database.ok_or_else(|| format!("lb.geo: {}: it is being written", path.display()))?;
        let seen = Some(database.stamp());
        Ok(DatabaseFile { path: path.clone(), database: Some(database), seen })
    };
    files.iter().map(one).collect::<Result<_, String>>().map(Databases::new)
}
