// SPDX-License-Identifier: Apache-2.0
//! The shared table over restarts.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use table::{AttachError, Geometry, Needs, Table};

use super::history;
use super::mappings::{Mapping, Mappings};
use crate::httpd::retained::{Block, Plain};
use crate::httpd::{log, memory};

/// The parent's memory over restarts.
#[repr(C)]
struct Retained {
    generation: u32,
    table: Mappings<1>,
}

// SAFETY: fixed layout of numbers and mappings without drop; zeros stand for "no generation yet".
unsafe impl Plain for Retained {}

static RETAINED: Block<Retained> = Block::new("mod_lua_balancer table", 1);
const NAME: &str = "table";

/// Whether an earlier configuration of this process has left a table.
pub fn is_there() -> bool {
    RETAINED.with(|kept| kept.table.find(NAME).is_some()).unwrap_or(false)
}

/// The needs that a new table is made for: more than wanted, so that the next restarts with some
/// members, pools or scripts more find it large enough and all counts go on in one place.
pub fn with_slack(needs: Needs) -> Needs {
    Needs {
        members: needs.members + (needs.members / 2).max(256),
        pools: needs.pools + 64,
        text_bytes: needs.text_bytes * 3 / 2 + 65_536,
        scripts: needs.scripts + 32,
        ..needs
    }
}

/// The table of the last generation when it has room, else a new one with its state. With it the
/// number of the new generation.
pub fn shared_table(needs: Needs) -> Result<(Table, u32), String> {
    RETAINED.with(|kept| kept.open(needs)).ok_or("httpd keeps no retained data")?
}

impl Retained {
    fn open(&mut self, needs: Needs) -> Result<(Table, u32), String> {
        self.generation = self.generation.wrapping_add(1).max(1);
        let before = self.table.find(NAME);
        let old = before.and_then(attach).map(history::of_kept);
        if let Some(old) = &old
            && old.geometry().fits(&Geometry::for_config(needs))
        {
            return Ok((old.clone(), self.generation));
        }
        if let Some(old) = &old {
            old.announce_successor();
        }
        let (table, mapping) = new_table(Geometry::for_config(with_slack(needs)))?;
        let (table, kept) = history::of_new(table);
        match (&old, before) {
            (Some(old), _) => carry_over(&table, old, self.generation),
            (None, Some(before)) => take_up(&table, before, self.generation),
            (None, None) => {}
        }
        // Where nothing was taken over with the counts, they are of an unknown time.
        history::begin(&table);
        drop(old);
        history::keep(kept);
        // SAFETY: a fresh mapping. The one before was made by an earlier generation in this
        // process, whose users in the parent are gone.
        unsafe { self.table.put(NAME, mapping) }?;
        Ok((table, self.generation))
    }
}

/// The table of the last generation. None: it cannot be used, at least not as one of this build.
fn attach(kept: Mapping) -> Option<Table> {
    // SAFETY: a retained mapping is one of that length that this process made and never gave back.
    match unsafe { Table::attach(kept.base, kept.length) } {
        Ok(table) => Some(table),
        Err(AttachError::OtherLayout(_)) => None,
        Err(error) => {
            log::server(
                messages::starting::TABLE_UNUSABLE,
                &format!("the table of the last configuration cannot be used, starting anew: {error}"),
            );
            None
        }
    }
}

fn new_table(geometry: Geometry) -> Result<(Table, Mapping), String> {
    let mapping = Mapping::new(geometry.bytes())?;
    // SAFETY: a fresh mapping of this length.
    let table = unsafe { Table::create(mapping.base, mapping.length, geometry) };
    Ok((table.map_err(|error| error.to_string())?, mapping))
}

/// The time for children to leave the doors: several looks of theirs, and the answers that they are
/// at. A child that was killed is waited for in vain.
const LEAVING: Duration = Duration::from_millis(800);

fn carry_over(table: &Table, old: &Table, generation: u32) {
    // Then nobody is let in who would have to be sent away.
    let until = Instant::now() + LEAVING;
    while old.has_open_children() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    // None of its children takes the lead any more: timers and checks belong to the new ones.
    old.set_generation(generation);
    let old = &old.clone().with_identity(memory::pid(), memory::alive);
    if let Err(error) = table.carry_over(old) {
        let text = format!("not all state of the last configuration could be kept: {error}");
        log::server(messages::starting::TABLE_NOT_WHOLE, &text);
    }
}

/// Another build of the module made the last table, with another layout: what was changed while
/// running goes on by name.
fn take_up(table: &Table, before: Mapping, generation: u32) {
    // SAFETY: the mapping that the parent keeps, of that length; it is given back after this.
    let Some(old) = (unsafe { Table::foreign(before.base, before.length) }) else { return };
    match table.take_up(&old) {
        Ok((taken, strange)) => {
            let lost = match strange {
                0 => String::new(),
                some => {
                    format!("; {some} that were added while running have keys that it does not know")
                }
            };
            let text = format!(
                "the module has another version: {taken} members go on with their weight and state; counts \
                 of requests in flight and round robin sequences begin anew{lost}"
            );
            let message = match strange {
                0 => messages::starting::UPGRADED,
                _ => messages::starting::UPGRADED_WITH_LOSS,
            };
            log::server(message, &text);
        }
        Err(error) => log::server(
            messages::starting::UPGRADE_NOT_WHOLE,
            &format!("not all state of the module's last version could be kept: {error}"),
        ),
    }
    old.set_generation(generation);
}
