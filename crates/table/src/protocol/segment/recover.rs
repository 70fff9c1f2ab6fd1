// SPDX-License-Identifier: Apache-2.0
//! Putting a segment right from what can be reached, and checking that it is.

use std::collections::HashSet;

use super::{Link, NEXT, SHAPE, Segment, Shape, TAG, Tag};
use crate::primitive::{AtomicU64, Ordering::*, step};

impl<'a> Segment<'a> {
    /// Makes the free list anew from what cannot be reached. For the holder of the claim; may be
    /// broken off and started again anywhere. Also cuts off what is damaged, which no death leaves
    /// behind.
    pub fn recover(&self) {
        let mut reached = vec![false; self.chunks.len()];
        let mut end = self.used_chunks();
        for bucket in self.buckets {
            let mut cell = bucket;
            loop {
                let link = Link(cell.load(Relaxed));
                let Some(index) = link.index() else { break };
                let Some(last) = self.reach(link, &mut reached) else {
                    cell.store(0, Release);
                    break;
                };
                end = end.max(last + 1);
                cell = &self.chunks[index].words[NEXT];
            }
        }
        self.head.fresh.store(end as u64, Relaxed);
        step();
        let (mut free, mut count) = (0, 0);
        for index in (0..end).rev().filter(|index| !reached[*index]) {
            self.chunks[index].set(TAG, Tag::new(0, false, free).0);
            free = index as u64 + 1;
            count += 1;
            step();
        }
        self.head.free.store(free, Relaxed);
        step();
        self.head.free_count.store(count, Relaxed);
        step();
    }

    /// Marks the chunks of an entry; the highest of them. None when it is damaged.
    fn reach(&self, link: Link, reached: &mut [bool]) -> Option<usize> {
        let head = link.index()?;
        let shape = Shape(self.chunks.get(head)?.get(SHAPE));
        let mut last = 0;
        let mut at = Some(head);
        let mut own = Vec::new();
        while let Some(index) = at {
            let tag = self.chunks.get(index)?.tag();
            let fits = tag.stamp() == link.stamp() && tag.is_head() == (index == head);
            if !fits || reached[index] || own.len() == shape.chunks() {
                return None;
            }
            own.push(index);
            last = last.max(index);
            at = tag.next();
        }
        if own.len() != shape.chunks() {
            return None;
        }
        own.into_iter().for_each(|index| reached[index] = true);
        Some(last)
    }

    /// Checks a segment that nobody changes at the moment: every entry whole and in its bucket, no
    /// key twice, every chunk in one entry, in the free list once, or never used.
    pub fn check(&self) -> Result<(), String> {
        if self.head.claim.load(SeqCst) != 0 {
            return Err(format!("claimed by {:#x}", self.head.claim.load(SeqCst)));
        }
        let mut reached = vec![false; self.chunks.len()];
        for (number, bucket) in self.buckets.iter().enumerate() {
            self.check_bucket(number, bucket, &mut reached)?;
        }
        let mut listed = 0;
        let mut at = (self.head.free.load(SeqCst) as usize).checked_sub(1);
        while let Some(index) = at {
            let chunk = self.chunks.get(index).ok_or_else(|| format!("no chunk {index} to be free"))?;
            if reached[index] || chunk.tag().stamp() != 0 {
                return Err(format!("chunk {index} is free and in use, or free twice"));
            }
            reached[index] = true;
            listed += 1;
            at = chunk.tag().next();
        }
        let counted = self.head.free_count.load(SeqCst);
        let end = self.used_chunks();
        if counted != listed {
            return Err(format!("{listed} chunks are in the free list, {counted} were counted"));
        }
        match reached.iter().enumerate().find(|(index, reached)| **reached != (*index < end)) {
            Some((index, _)) => Err(format!("chunk {index} is lost")),
            None => Ok(()),
        }
    }

    fn check_bucket(&self, number: usize, bucket: &'a AtomicU64, reached: &mut [bool]) -> Result<(), String> {
        let mut keys = HashSet::new();
        let mut problem = None;
        let walked = self.walk(bucket, &mut |_, entry, hash| {
            if self.reach(entry.link, reached).is_none() {
                problem = Some("is not whole");
            } else if !std::ptr::eq(self.bucket(hash), bucket) {
                problem = Some("belongs into another one");
            } else if !keys.insert(entry.key()) {
                problem = Some("has the key of another one");
            }
            problem.is_none()
        });
        match problem.or(walked.is_err().then_some("cannot be read")) {
            Some(problem) => Err(format!("an entry of bucket {number} {problem}")),
            None => Ok(()),
        }
    }
}
