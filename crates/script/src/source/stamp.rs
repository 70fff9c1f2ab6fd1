// SPDX-License-Identifier: Apache-2.0
//! Script files: reading them, noticing changes, finding modules on a path.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh64::Xxh64;

/// State of a set of files: equal stamps mean that none was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stamp(pub u64);

/// State of one file. A file written within one tick of the clock still changes its inode, size or
/// change time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn of(meta: &Metadata) -> Self {
        FileStamp {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// None when it is not there, or is not a file.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().filter(Metadata::is_file).map(|meta| FileStamp::of(&meta))
    }
}

/// The stamp of these files as they are now. A missing file counts as well, so that its appearance
/// is a change.
pub(crate) fn stamp_of(paths: &[PathBuf]) -> Stamp {
    combine(paths.iter().map(|path| (path.as_path(), FileStamp::read(path))))
}

/// One stamp for many files.
pub(crate) fn combine<'a>(files: impl Iterator<Item = (&'a Path, Option<FileStamp>)>) -> Stamp {
    let mut hash = Xxh64::new(0);
    for (path, stamp) in files {
        hash.update(path.as_os_str().as_encoded_bytes());
        let words = match stamp {
            None => [0; 6],
            Some(s) => {
                let signed = [s.modified.0, s.modified.1, s.changed.0, s.changed.1];
                let [a, b, c, d] = signed.map(i64::cast_unsigned);
                [s.inode, s.size, a, b, c, d]
            }
        };
        for word in words {
            hash.update(&word.to_le_bytes());
        }
    }
    Stamp(hash.digest())
}

/// Largest script that is read.
const MAX_SOURCE: u64 = 8 << 20;

/// Reads a script with the stamp it had before.
///
/// The file is opened before it is looked at, and not waited for: it may have become a fifo
/// meanwhile. Files of `/proc` say that they are empty, so what is read is bounded as well.
pub(crate) fn read(path: &Path) -> io::Result<(Vec<u8>, FileStamp)> {
    let too_large = || io::Error::other("larger than 8 MiB, too large for a script");
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a file"));
    }
    if meta.len() > MAX_SOURCE {
        return Err(too_large());
    }
    let mut text = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.take(MAX_SOURCE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_SOURCE { Err(too_large()) } else { Ok((text, FileStamp::of(&meta))) }
}

/// The files that `require name` would try, in order. Templates as in `package.path`; relative ones
/// are under `folder`.
pub(crate) fn candidates(path: &str, name: &str, folder: &Path) -> Vec<PathBuf> {
    let inner = name.replace('.', "/");
    path.split(';')
        .map(str::trim)
        .filter(|template| !template.is_empty())
        .map(|template| folder.join(template.replace('?', &inner)))
        .collect()
}

/// A folder as `package.path` templates; a template stays as it is.
pub(crate) fn templates(entry: &str) -> String {
    if entry.contains('?') {
        return entry.to_owned();
    }
    let folder = entry.trim_end_matches('/');
    format!("{folder}/?.lua;{folder}/?/init.lua")
}

/// Names in `require "x"`, `require 'x'`, `require("x")`: what a script will want later, found
/// without running it.
pub(crate) fn required(source: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(source);
    let mut names = Vec::new();
    for (at, _) in text.match_indices("require") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.') {
            continue;
        }
        let line = text[..at].rfind('\n').map_or(0, |start| start + 1);
        if text[line..at].contains("--") {
            continue;
        }
        let rest = text[at + "require".len()..].trim_start_matches([' ', '\t', '(']);
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
        if let Some(end) = rest[1..].find(quote) {
            let name = &rest[1..=end];
            if !name.is_empty() && !name.contains(['\n', '\\']) && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_names_are_found_without_running() {
        let source = br#"local a = require "a.b" ; local c = require('c')
-- require "no"
x.require "no"; prerequire "no"; require(name)
local d = require  ( "d" )"#;
        assert_eq!(required(source), ["a.b", "c", "d"]);
    }

    #[test]
    fn candidates_follow_the_path() {
        let path = format!("{};?.lua", templates("/opt/lua/"));
        let found = candidates(&path, "a.b", Path::new("/etc/x"));
        let found: Vec<_> = found.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(found, ["/opt/lua/a/b.lua", "/opt/lua/a/b/init.lua", "/etc/x/a/b.lua"]);
    }
}
