// SPDX-License-Identifier: Apache-2.0
//! The trait of the values that say where an attempt goes.

use std::hash::{DefaultHasher, Hash, Hasher};

use balance::api::NoMember;
use balance::engine::Now;
use balance::settings::{FailureKinds, PoolSettings};
use table::Wants;

use super::journey::{Goal, Journey, Turn};

/// Says for each attempt of a request where it goes. The default bodies are those of a single
/// target.
pub trait Chooser {
    /// Where the next attempt goes.
    fn next(&mut self, turn: Turn<'_>, journey: &mut Journey) -> Result<Goal, NoMember>;

    /// How the member of the attempt that begins was picked.
    fn method(&self, journey: &Journey, settings: &PoolSettings) -> &'static str;

    /// Goes on to the next of several choices, which has its further attempts for itself. False
    /// when there is none.
    fn go_on(&mut self, _: &mut Journey) -> bool {
        false
    }

    /// An ejected member, when all others have failed this request: it may be back, and cannot do
    /// worse than fail.
    fn last_resort(&self, _: Turn<'_>, _: &Journey) -> Option<Goal> {
        None
    }

    /// Further attempts that a failed one may have.
    fn more(&self, settings: &PoolSettings) -> u32 {
        settings.set.retries
    }

    /// Failures that a further attempt may follow.
    fn retry_on<'s>(&self, settings: &'s PoolSettings) -> &'s FailureKinds {
        &settings.set.retry_on
    }

    /// The members of a pool with a queue that the request may want. None: it never waits.
    fn wants(&self, _: &Journey, _: &Now) -> Option<Wants> {
        None
    }

    /// Whether it looks for the request's session by itself, in the pool that it asks.
    fn looks_for_session(&self) -> bool {
        false
    }

    /// The ad-hoc target, if that is what it chooses.
    fn target(&self) -> Option<&str> {
        None
    }

    /// Why there is nobody, where it knows better than the pool.
    fn explain(&self) -> Option<&str> {
        None
    }
}

/// A hash that is the same in all children: the hasher has fixed keys.
pub fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
