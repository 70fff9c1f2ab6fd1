// SPDX-License-Identifier: Apache-2.0
//! The members of a pool, read: those that this process has read before and that are the same are
//! not parsed again, so that a change of one line costs its readers that line.

use std::collections::HashSet;
use std::iter::Peekable;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use balance::live::Slot;
use balance::member::Member;

use crate::place::PoolRef;
use crate::pools::hash;
use crate::protocol::life::{Life, LifePhase};
use crate::protocol::text;
use crate::seen::SeenMember;
use crate::{Table, codec};

impl Table {
    fn read_member(&self, row: usize, life: Life) -> Option<SeenMember> {
        let (text_word, record) = text::read(self.map.chunks(), &self.map.members()[row].text)?;
        if !Life::load(&self.map.keys()[row].life).same_as(life) {
            return None;
        }
        let spec = codec::member(&record.text)?;
        let member = Member::new((row as Slot, life.incarnation()), record.order, spec);
        let member = Arc::new(member.ordered(codec::order(&record.text).is_some()));
        Some(SeenMember { row, life, text_word, order: record.order, member })
    }

    /// The member of a row as it was read before, if it is the same still. `known` goes on by rows.
    fn seen_again<'s>(
        &self,
        known: &mut Peekable<slice::Iter<'s, SeenMember>>,
        (row, life): (usize, Life),
    ) -> Option<&'s SeenMember> {
        while known.next_if(|seen| seen.row < row).is_some() {}
        let text_word = self.map.members()[row].text.load(SeqCst);
        known.next_if(|seen| seen.row == row && seen.life.same_as(life) && seen.text_word == text_word)
    }

    /// The live members of a pool, in configured order.
    pub(crate) fn read_members(&self, pool: PoolRef) -> Arc<[Arc<Member>]> {
        let before = self.seen.of(pool);
        let mut known = before.iter().peekable();
        let rows = self.rows_of(pool, &[LifePhase::Live]).into_iter();
        let seen: Vec<SeenMember> = rows
            .filter_map(|(row, life)| {
                let again = self.seen_again(&mut known, (row, life)).cloned();
                again.or_else(|| self.read_member(row, life))
            })
            .collect();
        // By what stands beside each other: the members themselves lie here and there.
        let mut places: Vec<_> =
            seen.iter().enumerate().map(|(place, seen)| (seen.order, seen.row, place)).collect();
        places.sort_unstable();
        let members = places.iter().map(|(.., place)| seen[*place].member.clone()).collect();
        self.seen.keep(pool, seen);
        members
    }

    /// The live members of a pool that have these names.
    pub(crate) fn read_named(&self, pool: PoolRef, names: &HashSet<&str>) -> Vec<Arc<Member>> {
        let hashes: HashSet<u64> = names.iter().map(|name| hash(name)).collect();
        let keys = self.map.keys();
        let before = self.seen.of(pool);
        let mut known = before.iter().peekable();
        let rows = self.rows_of(pool, &[LifePhase::Live]).into_iter();
        rows.filter(|(row, _)| hashes.contains(&keys[*row].name.load(SeqCst)))
            .filter_map(|(row, life)| {
                let again = self.seen_again(&mut known, (row, life)).map(|seen| seen.member.clone());
                again.or_else(|| Some(self.read_member(row, life)?.member))
            })
            .filter(|member| names.contains(&*member.spec.name))
            .collect()
    }
}
