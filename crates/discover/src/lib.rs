// SPDX-License-Identifier: Apache-2.0
//! Sources of a pool's members. Each look at one gives a whole list, or says what is wrong; never a
//! part of a list, never a difference. Whether a list is taken is decided elsewhere
//! ([`balance::guard`]); nothing here knows a pool.
//!
//! A kind of source is a variant of [`SourcePlace`](balance::settings::SourcePlace) with its keys,
//! a [`PolledSource`] here, and a line in [`SourcePlan::of`].
#![forbid(unsafe_code)]

mod asked;
mod bell;
mod consul;
mod dns;
mod etcd;
mod file;
mod hops;
mod http;
mod kubernetes;
mod listing;
mod lookout;
mod lua;
mod problem;
mod source;
mod watcher;
mod web;

use bell::Bell;
#[cfg(fuzzing)]
pub use consul::answer as consul_answer;
#[cfg(fuzzing)]
pub use dns::message as dns_message;
#[cfg(fuzzing)]
pub use kubernetes::slices as endpoint_slices;
#[cfg(fuzzing)]
pub use listing::read_keys;
pub use listing::{KnownEntries, Listed, ListingRules, read, read_again};
pub use lookout::{Lookout, SourcePlan, ThreadBody};
pub use lua::{AskLua, LuaAnswer, LuaQuestion};
pub use problem::ListProblem;
pub use source::{Look, MakeSource, PolledSource, Sighting};
pub use watcher::SourcePath;
