// SPDX-License-Identifier: Apache-2.0
//! Rings of entries, which any process may write at any time.

use table::protocol::ring::{PATIENCE_MS, Ring, RingRead, RingShape};

use super::*;

/// A ring whose entries have two words beside the first.
struct SmallRing(Vec<AtomicU64>, RingShape);

impl SmallRing {
    fn new(entries: usize) -> Arc<Self> {
        let shape = RingShape { entries, bytes: 12 };
        Arc::new(SmallRing((0..shape.words()).map(|_| cell()).collect(), shape))
    }

    fn ring(&self) -> Ring<'_> {
        Ring::over(&self.0, self.1)
    }

    fn append(&self, letter: u8) -> Option<u64> {
        self.ring().append(&[letter; 12], 0)
    }

    /// The letter of an entry, which has no other.
    fn letter(&self, number: u64) -> Option<u8> {
        let RingRead::Entry(bytes) = self.ring().read(number, 0) else { return None };
        assert_eq!(bytes, [bytes[0]; 12], "entry {number} is of several writers");
        Some(bytes[0])
    }
}

/// A reader sees an entry whole or not at all, while others write into its place.
#[test]
fn entries_are_read_whole() {
    model(3, || {
        let ring = SmallRing::new(1);
        let write = |letter: u8| {
            let ring = ring.clone();
            thread::spawn(move || ring.append(letter))
        };
        let writers = [write(b'a'), write(b'b')];
        for number in 0..2 {
            ring.letter(number);
        }
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(ring.ring().next(), 2);
        assert!(ring.letter(1).is_some(), "the last entry is there");
    });
}

/// No two entries have one number, and none is lost while there is room.
#[test]
fn each_entry_has_a_number_of_its_own() {
    model(3, || {
        let ring = SmallRing::new(2);
        let other = {
            let ring = ring.clone();
            thread::spawn(move || ring.append(b'a').expect("room"))
        };
        let mine = ring.append(b'b').expect("room");
        let theirs = other.join().unwrap();
        assert_eq!((mine.min(theirs), mine.max(theirs)), (0, 1));
        assert_eq!((ring.letter(theirs), ring.letter(mine)), (Some(b'a'), Some(b'b')));
    });
}

/// A writer that was stopped while the ring went round takes nothing away from those who wrote
/// meanwhile.
#[test]
fn a_slow_writer_takes_no_newer_entry_away() {
    model(3, || {
        let ring = SmallRing::new(1);
        let slow = {
            let ring = ring.clone();
            thread::spawn(move || ring.append(b'a'))
        };
        let mine = ring.append(b'b');
        let theirs = slow.join().unwrap();
        let last = mine.max(theirs).expect("the last one is kept");
        assert_eq!(last, 1);
        assert_eq!(ring.letter(1), Some(if mine == Some(1) { b'b' } else { b'a' }));
        assert_eq!(ring.ring().read(0, PATIENCE_MS), RingRead::Lost);
    });
}
