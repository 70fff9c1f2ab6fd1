// SPDX-License-Identifier: Apache-2.0
//! Taking the state over into a bigger table.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use balance::api::ChangeError;
use balance::store::ADDED;

use crate::foreign::{Foreign, MemberLeft};
use crate::history::Owner;
use crate::layout::{MemberRow, PoolRow};
use crate::members::{Inserted, Item, Start};
use crate::place::PoolRef;
use crate::pools::pool_tag;
use crate::protocol::AtomicU64;
use crate::protocol::life::{Life, LifePhase};
use crate::protocol::scripts::COPIES;
use crate::protocol::text;
use crate::{Table, codec, config, counts};

/// The observed words of a member's row, besides its status.
fn observed(row: &MemberRow) -> [&AtomicU64; 6] {
    [&row.latency, &row.outlier, &row.health, &row.requests, &row.failures, &row.since]
}

impl Table {
    /// Copies pools, members with their live state, counts, round robin sequences, scripts, rings
    /// and the generation from another table into this one, which nobody else uses yet. In-flight
    /// counts, children and the lead stay where they are: the children that have them go on with
    /// the old table. That one is superseded first, so that every change with its pen is either
    /// taken along or refused.
    pub fn carry_over(&self, old: &Table) -> Result<(), ChangeError> {
        old.supersede();
        for pool in old.all_pools() {
            self.carry_pool(old, pool)?;
        }
        for (from, to) in old.map.cursors().iter().zip(self.map.cursors()) {
            to.key.store(from.key.load(SeqCst), SeqCst);
            to.next.store(from.next.load(Relaxed), Relaxed);
        }
        for row in 0..old.map.scripts().len() {
            self.carry_script(old, row);
        }
        // The count of leads first: the event of a lead follows it.
        self.map.header().led.store(old.map.header().led.load(SeqCst), SeqCst);
        self.carry_rings(old);
        self.carry_sources(old);
        self.set_generation(old.generation());
        Ok(())
    }

    fn carry_pool(&self, old: &Table, pool: PoolRef) -> Result<(), ChangeError> {
        let Some(name) = old.pool_name(pool) else { return Ok(()) };
        let from = &old.map.pools()[pool.row];
        let here = self.find_or_make_pool(&name, from.origin.load(SeqCst))?;
        let to = &self.map.pools()[here.row];
        if let Some((_, record)) = text::read(old.map.chunks(), &from.text)
            && !self.write_text(&to.text, &record, pool_tag(here.row), &|_| true)?
        {
            return Err(ChangeError::Full { what: "pool's settings" });
        }
        let mut free = 0;
        for (row, life) in old.rows_of(pool, &[LifePhase::Live]) {
            self.carry_member(old, (row, life), here, &mut free)?;
        }
        let words = |row: &PoolRow| {
            [&row.wanted, &row.done, &row.cursor, &row.limit_part].map(|word| word.load(SeqCst))
        };
        let pairs = [&to.wanted, &to.done, &to.cursor, &to.limit_part].into_iter().zip(words(from));
        for (to, word) in pairs {
            to.store(word, SeqCst);
        }
        let [from_counts, to_counts] =
            [(old, pool.row), (self, here.row)].map(|(table, row)| &table.map.pool_counts()[row].words);
        counts::copy(from_counts, to_counts);
        self.carry_pool_history(old, (pool.row, pool.incarnation), (here.row, here.incarnation));
        to.version.fetch_max(from.version.load(SeqCst).wrapping_add(1), SeqCst);
        to.epoch.fetch_max(from.epoch.load(SeqCst).wrapping_add(1), SeqCst);
        Ok(())
    }

    fn carry_member(
        &self,
        old: &Table,
        (row, life): (usize, Life),
        pool: PoolRef,
        free: &mut usize,
    ) -> Result<(), ChangeError> {
        let (key, from) = (&old.map.keys()[row], &old.map.members()[row]);
        let (name, url) = (key.name.load(SeqCst), key.url.load(SeqCst));
        old.apply_config(row);
        let status = from.status.load(SeqCst);
        let Some((_, record)) = text::read(old.map.chunks(), &from.text) else { return Ok(()) };
        if !Life::load(&key.life).same_as(life) {
            return Ok(());
        }
        let observed = observed(from).map(|cell| cell.load(SeqCst));
        let words = &old.map.member_counts()[row].words;
        let counts = words.iter().map(|cell| cell.load(Relaxed)).collect();
        let left = MemberLeft { name, url, record, status, observed, counts };
        if let Some(here) = self.settle_left(pool, left, free)? {
            self.carry_member_history(old, (row, life.incarnation()), here);
        }
        Ok(())
    }

    /// Puts a member of another table into this one, as it was there. Returns its row.
    fn settle_left(
        &self,
        pool: PoolRef,
        left: MemberLeft,
        free: &mut usize,
    ) -> Result<Option<Owner>, ChangeError> {
        let MemberLeft { name, url, record, status, observed: from, counts } = left;
        let inserted = self.insert(pool, &Item { name, url, record, start: Start::FULL }, free, &|| true)?;
        let Inserted::Live { slot, incarnation, .. } = inserted else { return Ok(None) };
        let to = &self.map.members()[slot as usize];
        let own = to.status.load(SeqCst) & config::COUNTERS;
        to.status.store(config::visible(status).0 | own, SeqCst);
        for (from, to) in from.into_iter().zip(observed(to)) {
            to.store(from, SeqCst);
        }
        counts::fill(&counts, &self.map.member_counts()[slot as usize].words);
        Ok(Some((slot as usize, incarnation)))
    }

    /// Takes pools and members over from a table of another layout into this one, which nobody else
    /// uses yet: members by name, with weight, flags, health and counts. Returns how many there
    /// were, and how many of them were added while running and have a line that this module cannot
    /// read. Round robin sequences and scripts begin anew.
    pub fn take_up(&self, old: &Foreign) -> Result<(usize, usize), ChangeError> {
        let (mut taken, mut strange) = (0, 0);
        for left in old.pools() {
            let pool = self.find_or_make_pool(&left.name, left.origin)?;
            let cell = &self.map.pools()[pool.row].text;
            if let Some(record) = left.settings {
                self.write_text(cell, &record, pool_tag(pool.row), &|_| true)?;
            }
            counts::fill(&left.counts, &self.map.pool_counts()[pool.row].words);
            let mut free = 0;
            for mut member in left.members {
                if member.record.order >= ADDED && codec::member(&member.record.text).is_none() {
                    strange += 1;
                    continue;
                }
                member.status = config::apply(member.status, member.record.config);
                self.settle_left(pool, member, &mut free)?;
                taken += 1;
            }
            self.bump_pool(pool);
        }
        Ok((taken, strange))
    }

    fn carry_script(&self, old: &Table, row: usize) {
        let from = &old.map.scripts()[row];
        let key = from.key.load(SeqCst);
        if key == 0 {
            return;
        }
        let Some(here) = self.script_row(key) else { return };
        let to = &self.map.scripts()[here as usize];
        let [from_counts, to_counts] =
            [(old, row), (self, here as usize)].map(|(table, row)| &table.map.script_counts()[row].words);
        counts::copy(from_counts, to_counts);
        self.carry_troubles(old, row as u32, here);
        self.carry_differences(old, row as u32, here);
        for (from, to) in [(&from.trial_calls, &to.trial_calls), (&from.trial, &to.trial)] {
            to.store(from.load(SeqCst), SeqCst);
        }
        if let Some((version, sources)) = old.read_script(row as u32) {
            // The new table's first publication gets version + 1, so that nobody takes it for the
            // old one.
            to.current.store(version << 2 | (COPIES as u64 - 1), SeqCst);
            to.claim.store(u64::from(self.pid as u32) << 32, SeqCst);
            let stamp = from.judged.load(SeqCst);
            if self.publish_script(here, self.pid, stamp, &sources).is_err() {
                to.current.store(0, SeqCst);
                to.claim.store(0, SeqCst);
            }
        }
    }
}
