// SPDX-License-Identifier: Apache-2.0
//! How the sources of members do (`LuaBalancerDiscovery`). The leading child writes it, all
//! children show it, and another leader goes on from there.
//!
//! A source has a row by its pool and name. Its note is written as a whole
//! ([`crate::protocol::noted`]): a leader that dies in between leaves none there, until the next
//! one has looked. A wish (to have it asked, to have its held list taken) is a number that grows;
//! the leader compares it with the number that it has seen to.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use balance::guard::{SourceAsk, SourceStage, SourceStanding};
use balance::snapshot::{PoolState, SourceNote, SourceState};
use xxhash_rust::xxh64::Xxh64;

use crate::Table;
use crate::layout::{SOURCE_WORDS, SourceRow};
use crate::protocol::noted::Noted;

/// Words of a standing.
const STANDING: usize = 8;
/// Bytes of each of the two texts.
const TEXT: usize = (SOURCE_WORDS - STANDING) * 8 / 2;

/// The result of a look at a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceUpdate {
    /// A list was put in service.
    Applied,
    /// A list changed nothing.
    Unchanged,
    /// A list was held.
    Held,
    /// There was no list.
    Failed,
}

fn key(pool: &str, source: &str) -> u64 {
    let mut hash = Xxh64::new(0);
    hash.update(pool.to_ascii_lowercase().as_bytes());
    hash.update(&[0]);
    hash.update(source.as_bytes());
    hash.digest().max(1)
}

fn noted(row: &SourceRow) -> Noted<'_> {
    Noted { stamp: &row.stamp, values: &row.noted }
}

impl Table {
    fn source(&self, row: u32) -> Option<&SourceRow> {
        self.map.sources().get(row as usize)
    }

    /// The row of a source, if it has one.
    pub fn find_source(&self, pool: &str, source: &str) -> Option<u32> {
        let key = key(pool, source);
        self.map.sources().iter().position(|row| row.key.load(SeqCst) == key).map(|at| at as u32)
    }

    /// The row of a source, taken if it had none. None when all are others'.
    pub fn source_row(&self, pool: &str, source: &str) -> Option<u32> {
        let key = key(pool, source);
        self.find_source(pool, source).or_else(|| {
            let free = |row: &SourceRow| row.key.compare_exchange(0, key, SeqCst, SeqCst).is_ok();
            self.map.sources().iter().position(free).map(|at| at as u32)
        })
    }

    /// Empties the rows of all other sources; by the leader alone.
    pub fn retain_sources(&self, known: &[(Arc<str>, String)]) {
        let keys: Vec<u64> = known.iter().map(|(pool, source)| key(pool, source)).collect();
        for row in self.map.sources() {
            let seen = row.key.load(SeqCst);
            if seen != 0 && !keys.contains(&seen) {
                row.stamp.store(0, SeqCst);
                row.asks
                    .iter()
                    .chain(&row.answers)
                    .chain(&row.updates)
                    .for_each(|cell| cell.store(0, SeqCst));
                // Another one may have it from here on.
                row.key.store(0, SeqCst);
            }
        }
    }

    /// Notes how a source does. The error is cut at its room, the names between two of them.
    pub fn note_source(&self, row: u32, note: &SourceNote) {
        let Some(row) = self.source(row) else { return };
        let now = &note.standing;
        let stage = SourceStage::ALL.iter().position(|stage| *stage == now.stage).unwrap_or(0);
        let texts = [fitting(&note.error), whole_words(&note.held)];
        let lengths = texts[0].len() as u64 | (texts[1].len() as u64) << 32;
        let words = [
            stage as u64,
            now.seen_ms,
            now.failing_ms,
            u64::from(now.failures) | u64::from(note.gone) << 32,
            now.held_ms,
            u64::from(now.held_seen) | u64::from(now.listed) << 32,
            now.taken_ms,
            lengths,
        ];
        let words = words.into_iter().chain(texts.iter().flat_map(|text| text_words(text)));
        let stamp = row.number.fetch_add(1, SeqCst) + 1;
        noted(row).write(stamp, words);
    }

    /// How a source did when that was noted last. None: it was not yet.
    pub fn source_note(&self, row: u32) -> Option<SourceNote> {
        let row = self.source(row)?;
        let (_, words) = (0..8).find_map(|_| noted(row).read::<SOURCE_WORDS>())?;
        let stage = SourceStage::ALL.get(usize::try_from(words[0]).ok()?).copied()?;
        let text = |at: usize, length: u64| {
            let bytes: Vec<u8> =
                words[STANDING + at * TEXT / 8..].iter().flat_map(|word| word.to_le_bytes()).collect();
            let length = (length as usize).min(TEXT);
            String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned()
        };
        let standing = SourceStanding {
            stage,
            seen_ms: words[1],
            failing_ms: words[2],
            failures: words[3] as u32,
            held_ms: words[4],
            held_seen: words[5] as u32,
            listed: (words[5] >> 32) as u32,
            taken_ms: words[6],
        };
        let (error, held) = (text(0, words[7] & 0xffff_ffff), text(1, words[7] >> 32));
        Some(SourceNote { standing, error, held, gone: (words[3] >> 32) as u32 })
    }

    /// Counts what became of a look.
    pub fn count_source(&self, row: u32, update: SourceUpdate) {
        if let Some(row) = self.source(row) {
            row.updates[update as usize].fetch_add(1, Relaxed);
        }
    }

    /// Says what somebody wants of a source. Returns the number of the wish.
    pub fn ask_source(&self, row: u32, ask: SourceAsk) -> u64 {
        self.source(row).map_or(0, |row| row.asks[ask as usize].fetch_add(1, SeqCst) + 1)
    }

    /// Whether a wish of that number was seen to.
    pub fn is_source_answered(&self, row: u32, ask: SourceAsk, number: u64) -> bool {
        self.source(row).is_none_or(|row| row.answers[ask as usize].load(SeqCst) >= number)
    }

    /// The number of the last wish, if it was not seen to; by the leader.
    pub fn source_wish(&self, row: u32, ask: SourceAsk) -> Option<u64> {
        let row = self.source(row)?;
        let [asked, answered] = [&row.asks, &row.answers].map(|all| all[ask as usize].load(SeqCst));
        (asked > answered).then_some(asked)
    }

    /// Wishes up to that number are seen to; by the leader.
    pub fn answer_source(&self, row: u32, ask: SourceAsk, number: u64) {
        if let Some(row) = self.source(row) {
            row.answers[ask as usize].store(number, SeqCst);
        }
    }

    /// The sources of these pools, as they do now.
    pub(crate) fn source_states(&self, pools: &[PoolState]) -> Vec<SourceState> {
        let all = pools.iter().flat_map(|pool| pool.settings.discovery.iter().map(move |one| (pool, one)));
        let state = |(pool, settings): (&PoolState, &balance::settings::Discovery)| {
            let row = self.find_source(&pool.name, &settings.name);
            let serves = |member: &&balance::snapshot::MemberState| {
                let is_gone = member.order.as_ref().is_some_and(|order| order.gone.is_some());
                member.spec.discovered.as_deref() == Some(&*settings.name) && !is_gone
            };
            let updates = row.and_then(|row| self.source(row)).map(|row| &row.updates);
            SourceState {
                pool: pool.name.clone(),
                settings: settings.clone(),
                members: pool.members.iter().filter(serves).count(),
                note: row.and_then(|row| self.source_note(row)).unwrap_or_default(),
                updates: std::array::from_fn(|at| updates.map_or(0, |all| all[at].load(Relaxed))),
            }
        };
        all.map(state).collect()
    }

    pub(crate) fn carry_sources(&self, old: &Table) {
        let copy = |from: &std::sync::atomic::AtomicU64, to: &std::sync::atomic::AtomicU64| {
            to.store(from.load(SeqCst), SeqCst);
        };
        for (from, to) in old.map.sources().iter().zip(self.map.sources()) {
            from.noted.iter().zip(&to.noted).for_each(|(from, to)| copy(from, to));
            from.asks.iter().zip(&to.asks).for_each(|(from, to)| copy(from, to));
            from.answers.iter().zip(&to.answers).for_each(|(from, to)| copy(from, to));
            from.updates.iter().zip(&to.updates).for_each(|(from, to)| copy(from, to));
            let last = [(&from.number, &to.number), (&from.stamp, &to.stamp), (&from.key, &to.key)];
            last.into_iter().for_each(|(from, to)| copy(from, to));
        }
    }
}

/// As much of a text as fits.
fn fitting(text: &str) -> &str {
    let mut end = text.len().min(TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// As many of its words as fit.
fn whole_words(text: &str) -> &str {
    let cut = fitting(text);
    let is_between = cut.len() == text.len() || text[cut.len()..].starts_with(' ');
    if is_between { cut } else { &cut[..cut.rfind(' ').unwrap_or(0)] }
}

fn text_words(text: &str) -> impl Iterator<Item = u64> {
    let bytes = text.as_bytes();
    (0..TEXT / 8).map(move |at| {
        let mut word = [0; 8];
        for (byte, from) in word.iter_mut().zip(bytes.iter().skip(at * 8)) {
            *byte = *from;
        }
        u64::from_le_bytes(word)
    })
}
