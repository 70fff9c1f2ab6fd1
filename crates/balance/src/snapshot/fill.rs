// SPDX-License-Identifier: Apache-2.0
//! How full a table is.

/// How full the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Rows of members.
    pub members: Room,
    /// Rows of pools.
    pub pools: Room,
    /// Rows of children.
    pub children: Room,
    /// Pieces of text.
    pub text: Room,
    /// Rows of scripts.
    pub scripts: Room,
}

/// How much of something is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Taken.
    pub used: usize,
    /// In all.
    pub of: usize,
}
