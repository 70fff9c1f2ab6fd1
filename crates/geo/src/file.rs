// SPDX-License-Identifier: Apache-2.0
//! Reading a file that somebody may be writing.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::Problem;

/// Offsets in a database have 32 bits.
const MAX_BYTES: u64 = 1 << 32;

/// The marks that tell one state of a file from another. Owner and mode count as well: a file that
/// could not be read is looked at again when they change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: [i64; 2],
    changed: [i64; 2],
}

impl Stamp {
    fn new(meta: &Metadata) -> Self {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: [meta.mtime(), meta.mtime_nsec()],
            changed: [meta.ctime(), meta.ctime_nsec()],
        }
    }

    /// The file's state now; None when there is none.
    pub fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|meta| Stamp::new(&meta))
    }
}

/// The whole file, whatever it holds; None when it changes under the reading.
pub fn read(path: &Path) -> Result<Option<(Stamp, Vec<u8>)>, Problem> {
    let refuse = |error: std::io::Error| {
        Problem::new(path, format_args!("cannot be read ({error}); expected a MaxMind database (.mmdb)"))
    };
    // Asked before it is opened: opening a pipe would wait for its writer.
    let meta = fs::metadata(path).map_err(refuse)?;
    if !meta.is_file() {
        return Err(Problem::new(path, "is not a regular file; expected a MaxMind database (.mmdb)"));
    }
    if meta.len() > MAX_BYTES {
        return Err(Problem::new(
            path,
            format_args!("has {} bytes; expected at most {MAX_BYTES}", meta.len()),
        ));
    }
    let file = File::open(path).map_err(refuse)?;
    let stamp = Stamp::new(&file.metadata().map_err(refuse)?);
    let mut bytes = Vec::new();
    let room = usize::try_from(stamp.size).unwrap_or(usize::MAX);
    if bytes.try_reserve_exact(room).is_err() {
        return Err(Problem::new(path, format_args!("there is no memory for its {room} bytes")));
    }
    (&file).take(stamp.size).read_to_end(&mut bytes).map_err(refuse)?;
    let same = Stamp::new(&file.metadata().map_err(refuse)?) == stamp && bytes.len() as u64 == stamp.size;
    Ok(same.then_some((stamp, bytes)))
}
