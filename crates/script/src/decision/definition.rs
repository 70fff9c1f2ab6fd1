// SPDX-License-Identifier: Apache-2.0
//! Pools that scripts define.

use balance::member::MemberSpec;
use balance::settings::PoolSettings;

/// A pool that a script defines with `lb.define_pool`.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The pool's name.
    pub name: String,
    /// Its settings.
    pub settings: PoolSettings,
    /// Its members.
    pub members: Vec<MemberSpec>,
}
