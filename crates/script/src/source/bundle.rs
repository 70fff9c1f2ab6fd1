// SPDX-License-Identifier: Apache-2.0
//! A script's version: its source and the sources of the modules it wants, in memory and as bytes
//! for shared memory.

use std::path::PathBuf;
use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::source::stamp::Stamp;

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Module name; empty for the script itself.
    pub(crate) name: String,
    /// Where it was read; for messages.
    pub(crate) path: PathBuf,
    /// The text.
    pub(crate) text: Arc<[u8]>,
}

/// A good version of a script: what runs when it runs. Made by [`crate::judge()`], kept in shared
/// memory as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub(crate) stamp: Stamp,
    pub(crate) main: Source,
    pub(crate) modules: Vec<Source>,
    /// Files whose change is a change of the script, missing ones included.
    pub(crate) watch: Vec<PathBuf>,
}

/// Why bytes are not a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Not ours, of another version, cut short or changed.
    #[error(
        "not a kept script (expected one of this version of the module, found {0} other or damaged bytes)"
    )]
    Damaged(usize),
}

const MAGIC: &[u8; 8] = b"LBSCRPT1";

impl Bundle {
    /// State of the files that it was read from.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether another version would run the same, whenever its files were written.
    pub fn has_sources_of(&self, other: &Bundle) -> bool {
        (&self.main, &self.modules) == (&other.main, &other.modules)
    }

    pub(crate) fn module(&self, name: &str) -> Option<&Source> {
        self.modules.iter().find(|module| module.name == name)
    }

    /// The sources and the stamp, with a checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.stamp.0.to_le_bytes());
        put(&mut out, &(self.modules.len() as u64).to_le_bytes());
        for source in std::iter::once(&self.main).chain(&self.modules) {
            put(&mut out, source.name.as_bytes());
            put(&mut out, source.path.as_os_str().as_encoded_bytes());
            put(&mut out, &source.text);
        }
        for path in &self.watch {
            put(&mut out, path.as_os_str().as_encoded_bytes());
        }
        let sum = xxh64(&out, 0);
        out.extend(sum.to_le_bytes());
        out
    }

    /// Reads the bytes of [`Bundle::to_bytes`]. Damaged bytes are an error, never another bundle.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        Bundle::parse(bytes).ok_or(BundleError::Damaged(bytes.len()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        if xxh64(body, 0) != u64::from_le_bytes(*sum) {
            return None;
        }
        let rest = body.strip_prefix(MAGIC)?;
        let (stamp, mut rest) = rest.split_first_chunk::<8>()?;
        let count = u64::from_le_bytes(take(&mut rest)?.try_into().ok()?);
        let main = source(&mut rest)?;
        let mut modules = Vec::new();
        for _ in 0..count {
            modules.push(source(&mut rest)?);
        }
        let mut watch = Vec::new();
        while !rest.is_empty() {
            watch.push(path(take(&mut rest)?));
        }
        Some(Bundle { stamp: Stamp(u64::from_le_bytes(*stamp)), main, modules, watch })
    }
}

fn put(out: &mut Vec<u8>, field: &[u8]) {
    out.extend((field.len() as u64).to_le_bytes());
    out.extend(field);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (field, tail) = tail.split_at_checked(length)?;
    *rest = tail;
    Some(field)
}

fn source(rest: &mut &[u8]) -> Option<Source> {
    let name = String::from_utf8(take(rest)?.to_vec()).ok()?;
    Some(Source { name, path: path(take(rest)?), text: take(rest)?.into() })
}

fn path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Bundle {
        let source = |name: &str, text: &[u8]| Source {
            name: name.into(),
            path: format!("/lua/{name}.lua").into(),
            text: text.into(),
        };
        Bundle {
            stamp: Stamp(42),
            main: source("", b"return 1"),
            modules: vec![source("a", b""), source("b.c", b"\0\xff")],
            watch: vec!["/lua/a.lua".into(), "/lua/missing.lua".into()],
        }
    }

    #[test]
    fn bytes_bring_back_the_same_bundle() {
        assert_eq!(Bundle::from_bytes(&sample().to_bytes()), Ok(sample()));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let bytes = sample().to_bytes();
        for cut in 0..bytes.len() {
            assert!(Bundle::from_bytes(&bytes[..cut]).is_err());
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(Bundle::from_bytes(&bytes).is_err());
        }
    }
}
