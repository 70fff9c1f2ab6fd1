// SPDX-License-Identifier: Apache-2.0
//! Lua 5.4 as a static library, for mlua: its feature `external` leaves building to us. It is the
//! source of the crate `lua-src` with the changes that `build.rs` makes, so that no single step of
//! the interpreter takes long, whatever a script gives it: a hook can end a call only between
//! steps.
#![forbid(unsafe_code)]

/// Its version.
pub const RELEASE: &str = env!("LUA_RELEASE");
