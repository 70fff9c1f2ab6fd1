// SPDX-License-Identifier: Apache-2.0
//! The pool that a member is in, as its row says it.

/// A pool's row and its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolRef {
    pub row: usize,
    pub incarnation: u32,
}

impl PoolRef {
    /// The word that the pool's members carry.
    pub fn place(self) -> u64 {
        1 << 63 | u64::from(self.incarnation) << 16 | self.row as u64 & 0xffff
    }

    /// The other way round.
    pub fn of_place(place: u64) -> Self {
        PoolRef { row: (place & 0xffff) as usize, incarnation: (place >> 16) as u32 & 0x1fff_ffff }
    }
}
