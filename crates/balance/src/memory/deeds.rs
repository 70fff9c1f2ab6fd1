// SPDX-License-Identifier: Apache-2.0
//! Changes of many members. No other process takes part, and nobody dies half way.

use crate::api::{Change, ChangeError};
use crate::lifecycle;
use crate::live::Live;
use crate::memory::MemoryStore;
use crate::status::Status;
use crate::steps::Deed;
use crate::store::Store;

impl MemoryStore {
    pub(super) fn carry_out_one(&self, deed: &Deed) -> Result<(Status, Status), ChangeError> {
        if deed.goes {
            self.remove(deed.pool, &deed.name)?;
        }
        let added = deed.comes.as_ref().map(|spec| self.add(deed.pool, spec)).transpose()?;
        let Some(member) = added.as_ref().or(deed.stays().map(|member| &**member)) else {
            return Ok((Status(0), Status(0)));
        };
        let slow_start_ms = self.slow_start_ms(member);
        let before = self.status(member.slot);
        let mut after = before;
        for change in deed.changes() {
            if change == Change::Recount {
                self.recount(member.slot, member.incarnation);
            }
            let mut apply = |status| lifecycle::changed(status, change, slow_start_ms);
            after = self.update(member.slot, member.incarnation, &mut apply)?.1;
        }
        if let Some(order) = &deed.order {
            self.set_order(member, order.as_ref())?;
        }
        Ok((before, after))
    }
}
