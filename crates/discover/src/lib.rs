// SPDX-License-Identifier: Apache-2.0
//! Sources of a pool's members. Each look at one gives a whole list, or says what is wrong; never a
//! part of a list, never a difference. Whether a list is taken is decided elsewhere
//! ([`balance::guard`]); nothing here knows a pool.
#![forbid(unsafe_code)]

mod bell;
mod file;
mod hops;
mod listing;
mod problem;
mod watcher;

pub use bell::Bell;
pub use listing::{Listed, ListingRules, read};
pub use problem::ListProblem;
pub use watcher::{Sighting, SourcePath, Watcher};
