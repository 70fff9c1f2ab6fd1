// SPDX-License-Identifier: Apache-2.0
//! A look over the whole table, for tests and soak runs.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::SeqCst;

use crate::Table;
use crate::place::PoolRef;
use crate::protocol::children::{LanePhase, Owner};
use crate::protocol::lanes::{self, Lane};
use crate::protocol::life::{Life, LifePhase};
use crate::protocol::queue;
use crate::protocol::text;

impl Table {
    /// Checks a table that nobody changes at the moment: no two live rows of one name, no live
    /// member without a pool or line, no row left half done, no chunk without a row and none with
    /// two, nothing counted in lanes that are nobody's, no ticket of a dead process.
    pub fn check(&self) -> Result<(), String> {
        self.check_names()?;
        self.check_rows()?;
        self.check_chunks()?;
        self.check_lanes()?;
        self.check_tickets()?;
        self.check_journal()
    }

    fn check_names(&self) -> Result<(), String> {
        let mut pools = HashMap::new();
        for pool in self.all_pools() {
            let name = self.pool_name(pool).ok_or_else(|| format!("pool {} has no name", pool.row))?;
            if let Some(other) = pools.insert(name.clone(), pool.row) {
                return Err(format!("pool {name} is in rows {other} and {}", pool.row));
            }
        }
        let mut members = HashMap::new();
        for (row, key) in self.map.keys().iter().enumerate() {
            let name = (key.place.load(SeqCst), key.name.load(SeqCst));
            if Life::load(&key.life).is_live()
                && let Some(other) = members.insert(name, row)
            {
                return Err(format!("one member is in rows {other} and {row}"));
            }
        }
        Ok(())
    }

    fn check_rows(&self) -> Result<(), String> {
        for (row, cells) in self.map.pools().iter().enumerate() {
            check_phase("pool", row, Life::load(&cells.life))?;
        }
        for (row, key) in self.map.keys().iter().enumerate() {
            let life = Life::load(&key.life);
            check_phase("member", row, life)?;
            if !life.is_live() {
                continue;
            }
            if row >= self.members_used() {
                return Err(format!("member {row} is live above the high-water mark"));
            }
            if !self.is_pool(PoolRef::of_place(key.place.load(SeqCst))) {
                return Err(format!("member {row} is live and its pool is not"));
            }
            let cells = &self.map.members()[row];
            let Some((_, record)) = text::read(self.map.chunks(), &cells.text) else {
                return Err(format!("member {row} is live and has no line"));
            };
            let status = cells.status.load(SeqCst);
            if crate::config::apply(status, record.config) != status {
                return Err(format!("member {row} has a definition that was not applied"));
            }
        }
        Ok(())
    }

    fn check_chunks(&self) -> Result<(), String> {
        let chunks = self.map.chunks();
        let pools = self.map.pools().iter().map(|row| &row.text);
        let cells = pools.chain(self.map.members().iter().map(|row| &row.text));
        let mut reached = HashSet::new();
        for cell in cells {
            for (index, _) in text::chain(chunks, cell.load(SeqCst)) {
                if !reached.insert(index) {
                    return Err(format!("chunk {index} is in two texts"));
                }
                if !text::is_used(&chunks[index as usize]) {
                    return Err(format!("chunk {index} is in a text and free"));
                }
            }
        }
        let leaked = (0..chunks.len() as u32)
            .find(|index| text::is_used(&chunks[*index as usize]) && !reached.contains(index));
        leaked.map_or(Ok(()), |index| Err(format!("chunk {index} is in use and in no text")))
    }

    fn check_lanes(&self) -> Result<(), String> {
        let geometry = self.geometry();
        let members = geometry.members as usize;
        for (row, child) in self.map.children().iter().enumerate() {
            let owner = Owner::load(&child.owner);
            if owner.phase() == LanePhase::Leaving {
                return Err(format!("lane {row} of pid {} was not emptied to the end", owner.pid()));
            }
            if owner.phase() == LanePhase::Joined {
                continue;
            }
            let lane = Lane::of(row as u32, geometry.lane_bits);
            let cells = &self.map.lanes()[lane.word as usize * members..][..members];
            if let Some(member) = cells.iter().position(|cell| lanes::held(cell, lane) != 0) {
                return Err(format!("lane {row} is nobody's and counts requests at member {member}"));
            }
        }
        Ok(())
    }

    fn check_journal(&self) -> Result<(), String> {
        let journal = self.map.journal();
        let words = [&journal.claim, &journal.author, &journal.sequence].map(|cell| cell.load(SeqCst));
        match words {
            [0, 0, sequence] if sequence.is_multiple_of(2) => Ok(()),
            _ => Err(format!("a larger change was left half done: {words:?}")),
        }
    }

    fn check_tickets(&self) -> Result<(), String> {
        let dead = queue::holders(self.map.tickets()).find(|pid| !(self.alive)(*pid));
        dead.map_or(Ok(()), |pid| Err(format!("pid {pid} is dead and has a ticket of the queue")))
    }
}

fn check_phase(what: &str, row: usize, life: Life) -> Result<(), String> {
    match life.phase() {
        LifePhase::Free | LifePhase::Live | LifePhase::Removed => Ok(()),
        LifePhase::Building | LifePhase::Announced | LifePhase::Held => {
            Err(format!("{what} {row} was left half done by pid {:?}", life.writer()))
        }
    }
}
