// SPDX-License-Identifier: Apache-2.0
//! The state file's content, as the table has it.

use balance::snapshot::Extent;
use statefile::{KeptPool, StateDocument, WriteTime};
use table::Table;

use crate::keep::state::{StateBytes, StateFile};

/// The members of the file that no configuration has now.
pub fn left(table: &Table, file: &StateFile, now_s: u64) -> Vec<KeptPool> {
    let StateBytes::Bytes(bytes) = file.read(None) else { return Vec::new() };
    let Ok(document) = statefile::read(&bytes) else { return Vec::new() };
    statefile::left_over(
        &document,
        &balance::snapshot::pools(table, Extent::Standing),
        now_s,
        file.ages.max_age_s,
    )
}

/// The document that is to be written.
pub fn compose(table: &Table, now: WriteTime, left: &[KeptPool]) -> StateDocument {
    let by = concat!("mod_lua_balancer/", env!("CARGO_PKG_VERSION"));
    statefile::compose(&balance::snapshot::pools(table, Extent::Standing), now, by, left)
}
