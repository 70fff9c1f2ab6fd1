// SPDX-License-Identifier: Apache-2.0
//! Where a request is to go: scripts, mod_rewrite's targets and `lb://` URLs become a
//! [`Route`](crate::relay::route::Route).
//!
//! ```text
//! entry ─▶ answer ─▶ mod_lua ─▶ fail ─▶ send
//!    └─▶ rewrite            canon ◀─ mod_proxy
//! ```

pub mod answer;
pub mod canon;
pub mod entry;
pub mod fail;
pub mod mod_lua;
pub mod rewrite;
mod sameness;
pub mod send;
pub mod shadow;
pub mod visit;
