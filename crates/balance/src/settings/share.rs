// SPDX-License-Identifier: Apache-2.0
//! What several servers have together, as a directive says it.

/// `LuaBalancerShare`. The default is `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shared {
    /// `orders`: an order at one server holds at all.
    pub orders: bool,
    /// `health`, `health=show` or `health=quorum`. None: each server's checks are its own affair.
    pub health: Option<SharedHealth>,
    /// `limits`: each server has its part of `max_inflight`.
    pub limits: bool,
}

/// The use of what the other servers' checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedHealth {
    /// It is shown.
    Show,
    /// A member is down when most servers say so.
    Quorum,
}

impl Shared {
    /// Whether anything is shared.
    pub fn is_any(&self) -> bool {
        *self != Shared::default()
    }
}
