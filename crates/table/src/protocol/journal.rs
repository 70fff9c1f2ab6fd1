// SPDX-License-Identifier: Apache-2.0
//! One change of many rows, written down before any of it is done.
//!
//! The author of such a change has the [`Journal::claim`]. It prepares all that can fail aside,
//! where nobody sees it: rows are *held* ([`super::life::LifePhase::Held`]), texts are filled and
//! not linked. It writes the entries, and makes the sequence odd: from then on the change is made.
//! Each entry may be carried out any number of times, so that the heir of a dead one's claim finds
//! an odd sequence and carries all of them out, or an even one and lets go of the rows that are
//! held. A reader of all rows looks at the sequence before and after.

use super::life::Life;
use crate::primitive::AtomicU64;

/// Words of an entry.
pub const WORDS: usize = 3;

/// 64 bytes.
#[repr(C, align(64))]
pub struct Journal {
    /// The holder of the pen, see [`super::claim`].
    pub claim: AtomicU64,
    /// The pid that has written what is held and unlinked: nobody clears that away, even when the
    /// process is dead. 0 for nobody.
    pub author: AtomicU64,
    /// Odd while entries are carried out.
    pub sequence: AtomicU64,
    /// How many entries there are.
    pub length: AtomicU64,
    /// How often the pen was asked for.
    pub number: AtomicU64,
    /// 1 while a larger table is made in this one's place, 2 once that one counts: then the pen
    /// changes nothing here any more. The parent alone writes it, the 2 with the pen and before it
    /// copies; without the parent the server ends.
    pub succession: AtomicU64,
    pub spare: [AtomicU64; 2],
}

/// The change of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalEntry {
    /// The pool's members have changed.
    Pool {
        /// The pool's row.
        row: u32,
    },
    /// The member goes.
    Retire {
        /// The member's row.
        row: u32,
        /// The incarnation that is meant.
        incarnation: u32,
    },
    /// The held row goes live.
    Raise {
        /// The member's row.
        row: u32,
        /// Its life word.
        held: Life,
    },
    /// Another text is linked.
    Text {
        /// The member's row.
        row: u32,
        /// The incarnation that is meant.
        incarnation: u32,
        /// First chunk of the new text, plus one.
        head: u32,
        /// The chunk's counter.
        counter: u32,
        /// The text word in whose place it was made.
        seen: u64,
    },
    /// The status word changes.
    Status {
        /// The member's row.
        row: u32,
        /// The incarnation that is meant.
        incarnation: u32,
        /// How.
        change: StatusChange,
    },
}

/// How a status word changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusChange {
    /// Failures and checks count from 0.
    pub recount: bool,
    /// Sets exactly these of the flags that somebody may order.
    pub flags: Option<u64>,
    /// Hundredths.
    pub weight: Option<u32>,
    /// The member's slow start.
    pub slow_start_ms: u64,
}

const HAS_WEIGHT: u64 = 1 << 32;
const HAS_FLAGS: u64 = 1 << 33;
const RECOUNT: u64 = 1 << 34;
/// Where flags lie in a status word.
const FLAGS: u64 = 0x7f << 40;

fn first(kind: u64, row: u32, incarnation: u32) -> u64 {
    kind | u64::from(row) << 3 | u64::from(incarnation) << 32
}

impl JournalEntry {
    /// As words.
    pub fn to_words(self) -> [u64; WORDS] {
        match self {
            JournalEntry::Pool { row } => [first(1, row, 0), 0, 0],
            JournalEntry::Retire { row, incarnation } => [first(2, row, incarnation), 0, 0],
            JournalEntry::Raise { row, held } => [first(3, row, 0), held.0, 0],
            JournalEntry::Text { row, incarnation, head, counter, seen } => {
                [first(4, row, incarnation), u64::from(head) | u64::from(counter) << 32, seen]
            }
            JournalEntry::Status { row, incarnation, change } => {
                let StatusChange { recount, flags, weight, slow_start_ms } = change;
                let word = weight.map_or(0, |weight| HAS_WEIGHT | u64::from(weight))
                    | flags.map_or(0, |flags| HAS_FLAGS | flags & FLAGS)
                    | if recount { RECOUNT } else { 0 };
                [first(5, row, incarnation), word, slow_start_ms]
            }
        }
    }

    /// None for words that nobody writes.
    pub fn from_words([first, second, third]: [u64; WORDS]) -> Option<Self> {
        let (row, incarnation) = (first as u32 >> 3, (first >> 32) as u32);
        Some(match first & 7 {
            1 => JournalEntry::Pool { row },
            2 => JournalEntry::Retire { row, incarnation },
            3 => JournalEntry::Raise { row, held: Life(second) },
            4 => {
                let (head, counter) = (second as u32, (second >> 32) as u32);
                JournalEntry::Text { row, incarnation, head, counter, seen: third }
            }
            5 => {
                let change = StatusChange {
                    recount: second & RECOUNT != 0,
                    flags: (second & HAS_FLAGS != 0).then_some(second & FLAGS),
                    weight: (second & HAS_WEIGHT != 0).then_some(second as u32),
                    slow_start_ms: third,
                };
                JournalEntry::Status { row, incarnation, change }
            }
            _ => return None,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::protocol::life::LifePhase;

    #[test]
    fn entries_are_read_back_as_they_were_written() {
        let (row, incarnation) = ((1 << 20) - 1, (1 << 29) - 1);
        let change = |recount, flags, weight| StatusChange { recount, flags, weight, slow_start_ms: 7 };
        for entry in [
            JournalEntry::Pool { row: 65_534 },
            JournalEntry::Retire { row, incarnation },
            JournalEntry::Raise { row, held: Life::new(LifePhase::Held, incarnation, u32::MAX) },
            JournalEntry::Text { row, incarnation, head: u32::MAX, counter: (1 << 30) - 1, seen: u64::MAX },
            JournalEntry::Status { row, incarnation, change: change(true, None, None) },
            JournalEntry::Status { row: 0, incarnation: 0, change: change(false, Some(0), Some(0)) },
            JournalEntry::Status { row, incarnation, change: change(false, Some(FLAGS), Some(u32::MAX)) },
        ] {
            assert_eq!(JournalEntry::from_words(entry.to_words()), Some(entry));
        }
        for words in [[0; 3], [6, 1, 1], [7, 0, 0]] {
            assert_eq!(JournalEntry::from_words(words), None);
        }
    }
}
