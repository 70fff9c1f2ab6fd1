// SPDX-License-Identifier: Apache-2.0
//! How many changes somebody may make.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Changes a second of one user or address.
pub const MOST: u32 = 200;
/// Most users and addresses that are counted at the same time.
const MAX_KNOWN: usize = 4096;

/// Changes of the second that is running, by who makes them.
#[derive(Debug, Default)]
pub struct Rate(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    second: u64,
    by: HashMap<String, u32>,
}

impl Rate {
    /// Whether this one may make one more change in this second (of any clock); counts it.
    pub fn admit(&self, who: &str, second: u64) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.second != second {
            *counted = Counted { second, by: HashMap::new() };
        }
        if counted.by.len() >= MAX_KNOWN && !counted.by.contains_key(who) {
            return false;
        }
        let count = counted.by.entry(who.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_count_in_each_second() {
        let rate = Rate::default();
        let admitted = |who, second| (0..300).filter(|_| rate.admit(who, second)).count();
        assert_eq!(admitted("alice", 1), 200);
        assert_eq!(admitted("bob", 1), 200);
        assert_eq!(admitted("alice", 2), 200);
    }
}
