// SPDX-License-Identifier: Apache-2.0
//! What all servers say of members, as a text that all children share: the leading one writes it,
//! any of them shows it.

use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering;

use balance::snapshot::{FrontOpinion, PoolState};
use share::{AllOpinions, StorePlace};
use xxhash_rust::xxh64::xxh64;

use crate::httpd::memory::SharedWords;
use crate::keep::orders::{self, StoreWords};

const WORDS: usize = 1 << 16;
/// Bytes of the text, or more than it may have.
const LENGTH: usize = 0;
/// Its hash, by which a reader knows a whole one.
const HASH: usize = 1;
/// Its first word.
const TEXT: usize = 2;
const TRIES: usize = 3;

/// See the module.
pub struct OpinionText(ManuallyDrop<SharedWords<WORDS>>);

impl OpinionText {
    /// For the store at this place.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn new(place: &StorePlace) -> Result<Self, String> {
        orders::words(StoreWords::Opinions, place.prefix()).map(OpinionText)
    }

    /// Keeps these in place of those before. Where there is no room for all, members that nobody
    /// has anything against are left out; false when even the others are too many.
    pub fn keep(&self, all: &AllOpinions) -> bool {
        let most = (WORDS - TEXT) * 8;
        let mut text = share::opinions_text(all, true);
        if text.len() > most {
            text = share::opinions_text(all, false);
        }
        let fits = text.len() <= most;
        let bytes = if fits { text.as_bytes() } else { &[] };
        for (word, piece) in self.0.iter().skip(TEXT).zip(bytes.chunks(8)) {
            let mut eight = [0; 8];
            eight.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
            word.store(u64::from_le_bytes(eight), Ordering::Release);
        }
        for (at, value) in [(LENGTH, bytes.len() as u64), (HASH, xxh64(bytes, 0))] {
            if let Some(word) = self.0.get(at) {
                word.store(value, Ordering::Release);
            }
        }
        fits
    }

    /// The opinions that were kept last.
    fn read(&self) -> AllOpinions {
        let word = |at: usize| self.0.get(at).map_or(0, |word| word.load(Ordering::Acquire));
        for _ in 0..TRIES {
            let length = usize::try_from(word(LENGTH)).unwrap_or_default().min((WORDS - TEXT) * 8);
            let words = (0..length.div_ceil(8)).flat_map(|at| word(TEXT + at).to_le_bytes());
            let bytes: Vec<u8> = words.take(length).collect();
            if length == 0 {
                break;
            }
            if xxh64(&bytes, 0) == word(HASH) {
                return share::read_opinions(&bytes);
            }
        }
        AllOpinions::new()
    }

    /// Tells the members of pools what is said of them.
    pub fn show(&self, pools: &mut [PoolState]) {
        let mut all = self.read();
        if all.is_empty() {
            return;
        }
        for pool in pools {
            for member in &mut pool.members {
                let of = (pool.name.to_string(), member.spec.name.clone());
                let said = all.remove(&of).unwrap_or_default().into_iter();
                let opinion = |(front, said): (String, share::Opinion)| FrontOpinion {
                    front,
                    state: said.state,
                    since: said.since,
                    reason: said.reason,
                };
                member.opinions = said.map(opinion).collect();
            }
        }
    }
}
