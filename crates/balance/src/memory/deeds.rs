// SPDX-License-Identifier: Apache-2.0
//! Changes of many members. No other process takes part, and nobody dies half way.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use crate::api::{Change, ChangeError};
use crate::lifecycle;
use crate::live::Live;
use crate::member::{Member, MemberSpec};
use crate::memory::{MemoryStore, configured};
use crate::order::Order;
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
        if let Some(spec) = &deed.line {
            let order = deed.order.clone().unwrap_or_else(|| self.order(member.slot));
            self.set_line(member, spec, order.as_ref());
        }
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

    /// Another line; what is ordered of weight and flags holds in place of what it says.
    fn set_line(&self, member: &Member, spec: &MemberSpec, order: Option<&Order>) {
        let mut state = self.state();
        let Some(row) = state.rows.get_mut(member.slot as usize).filter(|row| row.live) else { return };
        let (old, new) = (row.configured, configured(spec).0);
        row.configured = new;
        let mut fields = 0;
        if (old ^ new) & WEIGHT_FIELDS != 0 && order.is_none_or(|order| order.weight.is_none()) {
            fields |= WEIGHT_FIELDS;
        }
        if (old ^ new) & Status::ADMIN != 0 && order.is_none_or(|order| order.admin.is_none()) {
            fields |= Status::ADMIN;
        }
        let before = row.status.load(SeqCst);
        row.status.store(before & !fields | new & fields, SeqCst);
        let pool = row.pool;
        let pool = &mut state.pools[pool];
        if let Some(known) = pool.members.iter_mut().find(|known| known.slot == member.slot) {
            *known = Arc::new(Member::new((known.slot, known.incarnation), known.order, spec.clone()));
        }
        pool.epoch += 1;
        pool.version += 1;
    }
}

/// Weight and lbset, as a status word has them.
const WEIGHT_FIELDS: u64 = 0xffff_ffff;
