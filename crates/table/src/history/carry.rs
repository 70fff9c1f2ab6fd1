// SPDX-License-Identifier: Apache-2.0
//! Taking a history over, when a bigger table has other rows.

use super::History;
use super::series::rings;
use crate::Table;

/// A row and its incarnation.
pub(crate) type Owner = (usize, u32);

impl Table {
    fn both_histories<'t>(&'t self, old: &'t Table) -> Option<(&'t History, &'t History)> {
        Some((old.history.as_ref()?, self.history.as_ref()?))
    }

    /// A member that has a row in each table.
    pub(crate) fn carry_member_history(&self, old: &Table, was: Owner, is: Owner) {
        let Some((from, to)) = self.both_histories(old) else { return };
        if let (Some(from), Some(to)) = (from.window_of_member(was.0), to.window_of_member(is.0)) {
            to.carry(from, (was.1, is.1));
        }
        if let (Some(from), Some(to)) = (from.check_of(was.0), to.check_of(is.0))
            && let Some(report) = from.read(was.1)
        {
            to.write(is.1, &report);
        }
    }

    /// A pool that has a row in each table.
    pub(crate) fn carry_pool_history(&self, old: &Table, was: Owner, is: Owner) {
        let Some((from, to)) = self.both_histories(old) else { return };
        if let (Some(from), Some(to)) = (from.window_of_pool(was.0), to.window_of_pool(is.0)) {
            to.carry(from, (was.1, is.1));
        }
        if let (Some(from), Some(to)) = (from.series_of(was.0), to.series_of(is.0)) {
            for (from, to) in rings(from).into_iter().zip(rings(to)) {
                to.carry(from, (was.1, is.1));
            }
        }
    }
}
