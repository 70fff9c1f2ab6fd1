// SPDX-License-Identifier: Apache-2.0
//! The table's history over restarts: a mapping beside it, with as many rows. A server goes on
//! without one where there is no memory for it.
#![allow(unsafe_code)]

use std::sync::Arc;

use balance::store::{PoolImage, Store};
use table::Table;
use table::history::{FirstReading, History, Moment};

use super::mappings::{Mapping, Mappings};
use crate::httpd::log;
use crate::httpd::memory;
use crate::httpd::retained::Block;

/// The parent's memory over restarts.
static RETAINED: Block<Mappings<1>> = Block::new("mod_lua_balancer history", 1);
const NAME: &str = "history";

/// A table that is kept, with its history: the kept one, or a new one that begins now.
pub fn of_kept(table: Table) -> Table {
    let kept = RETAINED.with(|kept| kept.find(NAME)).flatten();
    // SAFETY: a retained mapping is one of that length that this process made and never gave back.
    let found = kept.and_then(|kept| unsafe { History::attach(kept.base, kept.length, &table.geometry()) });
    if found.is_some() {
        return table.with_history(found);
    }
    let (table, new) = of_new(table);
    begin(&table);
    keep(new);
    table
}

/// A new table, with a history that is still to be kept.
pub fn of_new(table: Table) -> (Table, Option<Mapping>) {
    let geometry = table.geometry();
    match Mapping::new(History::bytes(&geometry)) {
        Ok(mapping) => {
            // SAFETY: a fresh mapping of this length.
            let history = unsafe { History::create(mapping.base, mapping.length, &geometry) };
            (table.with_history(history), Some(mapping))
        }
        Err(error) => {
            let text = format!("no history and no percentiles of the last ten minutes: {error}");
            log::server(messages::starting::NO_HISTORY, &text);
            (table, None)
        }
    }
}

/// Notes what pools and members have counted before their history begins. Of those that have one
/// already this is one reading more.
pub fn begin(table: &Table) {
    let pools = table.pool_names().into_iter().filter_map(|name| table.read_pool(table.find_pool(&name)?));
    let pools: Vec<Arc<PoolImage>> = pools.map(Arc::new).collect();
    let now = Moment { clock_ms: memory::monotonic_ms(), epoch_ms: memory::epoch_ms() };
    table.note_pools(&pools, now, FirstReading::Old);
    table.note_members(&pools, now, FirstReading::Old);
}

/// Keeps a mapping in place of the one before.
pub fn keep(mapping: Option<Mapping>) {
    let Some(mapping) = mapping else { return };
    // SAFETY: a fresh mapping. The one before was an earlier configuration's, whose users in the
    // parent are gone, and so is the handle by which the new one was filled.
    let kept = RETAINED.with(|kept| unsafe { kept.put(NAME, mapping) });
    if let Some(Err(error)) = kept {
        let text = format!("the history will not outlive this configuration: {error}");
        log::server(messages::starting::HISTORY_NOT_KEPT, &text);
    }
}
