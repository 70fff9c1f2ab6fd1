// SPDX-License-Identifier: Apache-2.0
//! The protocols over single words: each is a small function over atomics, so that loom can check
//! it without a mapping. Public for those checks only.

pub mod children;
pub mod claim;
pub mod contest;
pub mod journal;
pub mod lanes;
pub mod lead;
pub mod life;
pub mod noted;
pub mod queue;
pub mod ring;
pub mod scripts;
pub mod segment;
pub mod text;
pub mod trouble;

#[cfg(loom)]
pub use loom::sync::atomic::AtomicU64;
#[cfg(not(loom))]
pub use std::sync::atomic::AtomicU64;
