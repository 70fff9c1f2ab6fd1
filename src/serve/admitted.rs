// SPDX-License-Identifier: Apache-2.0
//! The common knowledge of all children of a configuration about their answers: how many changes
//! somebody has made, and whether something was said already.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use control::rate::MOST;

use crate::httpd::memory::SharedWords;

/// The author of changes stands for one of so many words.
const WORDS: usize = 1024;

/// See the module.
#[derive(Debug)]
pub struct Admitted {
    /// A second in the upper half, how many changes in the lower one. The first has the mark of
    /// [`Admitted::is_news`] instead.
    words: SharedWords<WORDS>,
}

impl Admitted {
    /// For the children that are made from now on.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn new() -> io::Result<Self> {
        Ok(Admitted { words: SharedWords::new()? })
    }

    /// Whether this one may make one more change in this second; counts it. Two that share a word
    /// share their changes.
    pub fn admit(&self, who: &str, second: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        who.hash(&mut hasher);
        let at = 1 + (hasher.finish() % (WORDS as u64 - 1)) as usize;
        self.words.get(at).is_some_and(|word| count(word, second) <= u64::from(MOST))
    }

    /// Notes how it is, and says whether it was otherwise before.
    pub fn is_news(&self, is: bool) -> bool {
        let word = self.words.first();
        word.is_some_and(|word| word.swap(u64::from(is), Ordering::AcqRel) != u64::from(is))
    }
}

/// Counts one more in this second.
fn count(word: &AtomicU64, second: u64) -> u64 {
    const HALF: u64 = u32::MAX as u64;
    let second = second & HALF;
    let next = |before: u64| {
        let count = if before >> 32 == second { before & HALF } else { 0 };
        second << 32 | (count + 1).min(HALF)
    };
    let before = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |before| Some(next(before)));
    next(before.unwrap_or_else(|before| before)) & HALF
}
