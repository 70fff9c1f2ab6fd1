// SPDX-License-Identifier: Apache-2.0
//! The shared table: pools, members, in-flight counts, health, the lead, and the last good scripts,
//! and dictionaries, in memory that several processes use at once.
//!
//! Every word is an atomic and there is no lock. A process may be killed or stopped at any
//! instruction; what it leaves half done is invisible, or is put right by the next one that looks.
//! How is described at the [`protocol`]s, which loom checks.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests measure"))]

mod primitive;
#[doc(hidden)]
pub mod protocol;

#[cfg(not(loom))]
mod carry;
#[cfg(not(loom))]
mod check;
#[cfg(not(loom))]
mod codec;
#[cfg(not(loom))]
mod config;
#[cfg(not(loom))]
mod counting;
#[cfg(not(loom))]
mod counts;
#[cfg(not(loom))]
mod deeds;
#[cfg(not(loom))]
mod define;
#[cfg(not(loom))]
pub mod dict;
#[cfg(not(loom))]
mod ejection;
#[cfg(not(loom))]
mod foreign;
#[cfg(not(loom))]
pub mod futex;
#[cfg(not(loom))]
mod handle;
#[cfg(not(loom))]
pub mod history;
#[cfg(not(loom))]
mod inflight;
#[cfg(not(loom))]
mod layout;
#[cfg(not(loom))]
mod lookup;
#[cfg(not(loom))]
mod mapping;
#[cfg(not(loom))]
mod members;
#[cfg(not(loom))]
mod outline;
#[cfg(not(loom))]
mod pen;
#[cfg(not(loom))]
mod place;
#[cfg(not(loom))]
mod pools;
#[cfg(not(loom))]
mod publish;
#[cfg(not(loom))]
mod queue;
#[cfg(not(loom))]
mod reading;
#[cfg(not(loom))]
pub mod ring;
#[cfg(not(loom))]
mod scripts;
#[cfg(not(loom))]
mod seen;
#[cfg(not(loom))]
mod shadows;
#[cfg(not(loom))]
mod snapshot;
#[cfg(not(loom))]
mod sources;
#[cfg(not(loom))]
mod store;
#[cfg(not(loom))]
mod succession;
#[cfg(not(loom))]
mod sweep;
#[cfg(not(loom))]
mod trials;
#[cfg(not(loom))]
mod trouble;
#[cfg(not(loom))]
mod vitals;
#[cfg(not(loom))]
mod zeroed;

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(not(loom))]
pub use self::{
    define::StalePool,
    foreign::Foreign,
    handle::Table,
    inflight::{ChildLane, ChildrenFull},
    layout::{Geometry, Needs},
    mapping::AttachError,
    protocol::lead::Lead,
    protocol::queue::Wants,
    protocol::scripts::{JUDGEMENT_MS, PublishError},
    queue::{WaitEnd, Waiting},
    sources::SourceUpdate,
    sweep::Swept,
    trouble::Whose,
};
#[cfg(not(loom))]
pub use balance::store::Origin;
