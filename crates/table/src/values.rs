//! Values by key for scripts (`r:ivm_set`), shared by all children.
//!
//! Buckets of rows. A writer takes its bucket by compare-and-swap of its pid; one that died there is found dead and its claim
//! taken over, and what it was writing has an odd version, which readers take for absent. Readers take no claim.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use xxhash_rust::xxh64::xxh64;

use crate::Table;
use crate::primitive::pause;

/// Words of key and value in a row.
const WORDS: usize = 508;
/// Buckets, each with one claim.
pub(crate) const BUCKETS: usize = 64;
/// Rows of a bucket.
const DEPTH: usize = 16;
/// All rows.
pub(crate) const ROWS: usize = BUCKETS * DEPTH;
/// Attempts at a bucket that another process holds.
const TRIES: u32 = 10_000;

/// Largest key and value together, in bytes.
pub const MAX_VALUE: usize = WORDS * 8;

/// 4096 bytes.
#[repr(C, align(64))]
pub(crate) struct ValueRow {
    /// Pid of the writer of the bucket; used in a bucket's first row only.
    claim: AtomicU64,
    /// Odd while being written.
    version: AtomicU64,
    /// Hash of the key, 0 for an empty row.
    hash: AtomicU64,
    /// Bytes of the key << 32 | bytes of the value.
    lengths: AtomicU64,
    bytes: [AtomicU64; WORDS],
}

const _: () = assert!(size_of::<ValueRow>() == 4096);

/// Why a value was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Key and value are too long.
    #[error("key and value have {0} bytes, at most {MAX_VALUE} fit")]
    TooLong(usize),
    /// All rows of its bucket are other keys'.
    #[error("the store is full ({ROWS} values)")]
    Full,
    /// Another process, stopped perhaps, holds the bucket.
    #[error("another process is writing there and does not end")]
    Busy,
}

impl ValueRow {
    /// Key and value, read without a claim. None for an empty row, or one that is being written.
    fn read(&self, hash: u64) -> Option<(Vec<u8>, Vec<u8>)> {
        for _ in 0..64 {
            let version = self.version.load(Acquire);
            if version % 2 == 1 || self.hash.load(Relaxed) != hash {
                return None;
            }
            let lengths = self.lengths.load(Relaxed);
            let (key, value) = ((lengths >> 32) as usize, lengths as u32 as usize);
            let total = key.saturating_add(value).min(MAX_VALUE);
            let words = self.bytes[..total.div_ceil(8)].iter();
            let mut bytes: Vec<u8> = words.flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
            std::sync::atomic::fence(Acquire);
            if self.version.load(Relaxed) == version {
                bytes.truncate(total);
                let value = bytes.split_off(key.min(total));
                return Some((bytes, value));
            }
            pause();
        }
        None
    }

    fn write(&self, hash: u64, key: &[u8], value: &[u8]) {
        let version = self.version.load(Relaxed) | 1;
        self.version.store(version, SeqCst);
        std::sync::atomic::fence(Release);
        self.hash.store(hash, Relaxed);
        self.lengths.store((key.len() as u64) << 32 | value.len() as u64, Relaxed);
        let bytes = [key, value].concat();
        for (word, piece) in self.bytes.iter().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..piece.len()].copy_from_slice(piece);
            word.store(u64::from_le_bytes(padded), Relaxed);
        }
        self.version.store(version.wrapping_add(1), Release);
    }
}

impl Table {
    fn bucket(&self, key: &[u8]) -> (u64, &[ValueRow]) {
        let hash = xxh64(key, 0).max(1);
        let rows = self.map.values();
        let first = (hash >> 32) as usize % BUCKETS * DEPTH;
        (hash, rows.get(first..first + DEPTH).unwrap_or_default())
    }

    /// The value of a key.
    pub fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        let (hash, rows) = self.bucket(key);
        rows.iter().find_map(|row| row.read(hash).filter(|(known, _)| known == key).map(|(_, value)| value))
    }

    /// Sets or (None) removes a value.
    pub fn set_value(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), ValueError> {
        let size = key.len() + value.map_or(0, <[u8]>::len);
        if size > MAX_VALUE {
            return Err(ValueError::TooLong(size));
        }
        let (hash, rows) = self.bucket(key);
        let Some(claim) = rows.first().map(|row| &row.claim) else { return Err(ValueError::Full) };
        self.claim(claim)?;
        let own = |row: &&ValueRow| row.read(hash).is_some_and(|(known, _)| known == key);
        let free = |row: &&ValueRow| row.hash.load(Relaxed) == 0 || row.version.load(Relaxed) % 2 == 1;
        let place = rows.iter().find(own);
        let result = match (place, value) {
            (None, None) => Ok(()),
            (Some(row), None) => {
                row.write(0, b"", b"");
                Ok(())
            }
            (Some(row), Some(value)) => {
                row.write(hash, key, value);
                Ok(())
            }
            (None, Some(value)) => match rows.iter().find(free) {
                Some(row) => {
                    row.write(hash, key, value);
                    Ok(())
                }
                None => Err(ValueError::Full),
            },
        };
        // Not when another took this claim over, which it does from the dead alone.
        let _ = claim.compare_exchange(self.me(), 0, SeqCst, SeqCst);
        result
    }

    /// Threads of one process have one pid: a claim of the own pid is another thread's.
    fn claim(&self, claim: &AtomicU64) -> Result<(), ValueError> {
        for _ in 0..TRIES {
            let holder = claim.load(SeqCst);
            let stale = holder != 0 && holder != self.me() && !(self.alive)(holder as i32);
            if (holder == 0 || stale) && claim.compare_exchange(holder, self.me(), SeqCst, SeqCst).is_ok() {
                return Ok(());
            }
            pause();
        }
        Err(ValueError::Busy)
    }

    fn me(&self) -> u64 {
        self.pid.unsigned_abs().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Geometry, Needs};

    fn table() -> Table {
        Table::on_heap(Geometry::for_config(Needs { members: 1, children: 1, ..Needs::default() })).unwrap()
    }

    #[test]
    fn values_come_back_and_go() {
        let table = table();
        assert_eq!(table.value(b"k"), None);
        table.set_value(b"k", Some(b"hello")).unwrap();
        table.set_value(b"", Some(&[7; 1000])).unwrap();
        assert_eq!((table.value(b"k"), table.value(b"")), (Some(b"hello".to_vec()), Some(vec![7; 1000])));
        table.set_value(b"k", Some(b"")).unwrap();
        assert_eq!(table.value(b"k"), Some(Vec::new()));
        table.set_value(b"k", None).unwrap();
        table.set_value(b"absent", None).unwrap();
        assert_eq!(table.value(b"k"), None);
        assert_eq!(table.set_value(b"k", Some(&vec![0; MAX_VALUE])), Err(ValueError::TooLong(MAX_VALUE + 1)));
    }

    #[test]
    fn a_full_bucket_says_so_and_removed_values_make_room() {
        let table = table();
        let mut kept = Vec::new();
        let full = (0..100_000u32).find(|n| match table.set_value(&n.to_le_bytes(), Some(b"v")) {
            Ok(()) => {
                kept.push(*n);
                false
            }
            Err(error) => error == ValueError::Full,
        });
        assert!(full.is_some() && kept.len() <= ROWS && kept.len() > ROWS / 4);
        assert!(kept.iter().all(|n| table.value(&n.to_le_bytes()).is_some()));
        kept.iter().for_each(|n| table.set_value(&n.to_le_bytes(), None).unwrap());
        assert_eq!(full.map(|n| table.set_value(&n.to_le_bytes(), Some(b"v"))), Some(Ok(())));
    }

    #[test]
    fn a_dead_writers_claim_and_half_value_are_put_right() {
        let table = table().with_identity(10, |pid| pid == 10);
        table.set_value(b"k", Some(b"old")).unwrap();
        let (hash, rows) = table.bucket(b"k");
        let row = rows.iter().find(|row| row.hash.load(SeqCst) == hash).unwrap();
        row.version.fetch_add(1, SeqCst);
        rows[0].claim.store(99, SeqCst);
        assert_eq!(table.value(b"k"), None);
        table.set_value(b"k", Some(b"new")).unwrap();
        assert_eq!(table.value(b"k"), Some(b"new".to_vec()));
    }

    #[test]
    fn readers_see_whole_values_while_writers_write() {
        let table = table();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for byte in [b'a', b'b'] {
                let (table, done) = (&table, &done);
                scope.spawn(move || {
                    for n in 0..2000usize {
                        table.set_value(b"k", Some(&vec![byte; 1 + n % 300])).unwrap();
                    }
                    done.store(true, SeqCst);
                });
            }
            while !done.load(SeqCst) {
                if let Some(value) = table.value(b"k") {
                    assert!(value.iter().all(|byte| *byte == value[0]), "{value:?}");
                }
            }
        });
    }
}
