// SPDX-License-Identifier: Apache-2.0
//! The decision about a request, and its reasons: hooks, their answers, the pool's pick, and all of
//! it as a document. The command line asks over pools in memory, a server over its own, in which
//! nothing moves.
#![forbid(unsafe_code)]

pub mod document;
pub mod ended;
pub mod ground;
pub mod ruling;
pub mod visit;
pub mod way;
pub mod words;

#[cfg(test)]
mod tests;

pub use self::ended::{Candidates, Settled, Told};
pub use self::ground::{Ground, Hook};
pub use self::ruling::{HookCall, Plan, Ruling, Visited};
pub use self::way::Way;
