// SPDX-License-Identifier: Apache-2.0
//! Functions of C and of Lua itself, as scripts call them.

pub(crate) mod begin;
pub(crate) mod bounds;
pub(crate) mod cfunctions;
pub(crate) mod chunk;
pub(crate) mod coroutines;
pub(crate) mod hook;
pub(crate) mod shortcuts;
