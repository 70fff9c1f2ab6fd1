// SPDX-License-Identifier: Apache-2.0
//! What several servers have together, as a directive says it.

/// `LuaBalancerShare`. The default is `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shared {
    /// `orders`: an order at one server holds at all.
    pub orders: bool,
    /// `limits`: each server has its part of `max_inflight`.
    pub limits: bool,
}

impl Shared {
    /// Whether anything is shared.
    pub fn is_any(&self) -> bool {
        *self != Shared::default()
    }
}
