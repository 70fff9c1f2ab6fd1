// SPDX-License-Identifier: Apache-2.0
//! The last good sources of scripts.

use std::sync::atomic::Ordering::SeqCst;

use crate::Table;
use crate::protocol::scripts::{self, PublishError, ScriptRow};

impl Table {
    fn script(&self, row: u32) -> Option<&ScriptRow> {
        self.map.scripts().get(row as usize)
    }

    /// The row of a script by the hash of its name, taken if there was none. None when all rows are
    /// others'.
    pub fn script_row(&self, key_hash: u64) -> Option<u32> {
        let key = key_hash.max(1);
        let rows = self.map.scripts();
        let home = usize::try_from(key % rows.len().max(1) as u64).ok()?;
        (home..rows.len())
            .chain(0..home)
            .find(|&at| match rows[at].key.compare_exchange(0, key, SeqCst, SeqCst) {
                Ok(_) => true,
                Err(found) => found == key,
            })
            .map(|at| at as u32)
    }

    /// The version of the sources in a row: grows with each publication, 0 for none. One load.
    pub fn script_version(&self, row: u32) -> u64 {
        self.script(row).map_or(0, scripts::version)
    }

    /// The last good sources and their version. None when there are none.
    pub fn read_script(&self, row: u32) -> Option<(u64, Vec<u8>)> {
        scripts::read(self.script(row)?, self.map.copies(row as usize))
    }

    /// Takes the judgement of new sources, known by their `stamp` (not 0): true for one process
    /// only, until it publishes or rejects them, dies, or takes longer than [`crate::JUDGEMENT_MS`]
    /// of the monotonic clock `now_ms`. False as well when these sources were judged already.
    pub fn claim_judgement(
        &self,
        row: u32,
        stamp: u64,
        pid: i32,
        now_ms: u64,
        alive: &dyn Fn(i32) -> bool,
    ) -> bool {
        self.script(row).is_some_and(|row| scripts::claim(row, stamp, pid, now_ms, alive))
    }

    /// Takes the judgement from another judge, also of sources that were judged already: for the
    /// process that reads a configuration, whose functions and pools it alone knows. `now_ms` is
    /// that of the monotonic clock.
    pub fn take_over_judgement(&self, row: u32, pid: i32, now_ms: u64) {
        if let Some(row) = self.script(row) {
            scripts::take_over(row, pid, now_ms);
        }
    }

    /// Publishes sources that were judged good. Returns their version.
    pub fn publish_script(
        &self,
        row: u32,
        pid: i32,
        stamp: u64,
        sources: &[u8],
    ) -> Result<u64, PublishError> {
        let cells = self.script(row).ok_or(PublishError::UnknownRow)?;
        let copies = self.map.copies(row as usize);
        scripts::publish(cells, copies, (stamp, sources), pid, &self.alive)
    }

    /// Remembers that these sources are bad, so that nobody judges them again.
    pub fn reject_script(&self, row: u32, pid: i32, stamp: u64) {
        if let Some(row) = self.script(row) {
            scripts::reject(row, stamp, pid);
        }
    }

    /// Gives a judgement back that came to no end: others may take it.
    pub fn give_up_judgement(&self, row: u32, pid: i32) {
        if let Some(row) = self.script(row) {
            scripts::give_up(row, pid);
        }
    }

    /// Has a version not called any more in any child, until there is another one. True for the
    /// first who does so.
    pub fn quarantine_script(&self, row: u32, version: u64) -> bool {
        self.script(row).is_some_and(|row| scripts::quarantine(row, version))
    }

    /// The version that is not called any more, 0 for none. One load.
    pub fn quarantined_version(&self, row: u32) -> u64 {
        self.script(row).map_or(0, |row| row.quarantined.load(SeqCst))
    }

    /// The stamp of the sources that were judged last, good or bad; 0 for none.
    pub fn judged_stamp(&self, row: u32) -> u64 {
        self.script(row).map_or(0, |row| row.judged.load(SeqCst))
    }
}
