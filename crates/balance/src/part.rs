// SPDX-License-Identifier: Apache-2.0
//! The part of each `max_inflight` that is one server's, where several share their limits. Parts of
//! servers that know the same fronts add up to the limit exactly. While fronts come and go a server
//! has the smaller one of its parts before and after, so that none grows before the others have
//! shrunk.

/// Places of a member at a server that is new among the others.
const NEW: u16 = u16::MAX;

/// A server's place among the fronts that are alive, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Rank {
    /// From 0 on.
    at: u16,
    /// How many there are; 0: limits are this server's alone; [`NEW`]: nobody knows yet.
    of: u16,
}

/// See the module. All zero is the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitPart {
    /// Before the last change, as long as that counts; `of` is 0 then.
    before: Rank,
    now: Rank,
}

impl LimitPart {
    /// Limits are this server's alone.
    pub const WHOLE: LimitPart = LimitPart { before: Rank { at: 0, of: 0 }, now: Rank { at: 0, of: 0 } };
    /// Others may be there that nobody has heard of yet: one place at each member.
    pub const NEW: LimitPart = LimitPart { before: Rank { at: 0, of: 0 }, now: Rank { at: 0, of: NEW } };

    /// From the table's word.
    pub fn from_bits(bits: u64) -> Self {
        let rank = |bits: u64| Rank { at: (bits >> 16) as u16, of: bits as u16 };
        LimitPart { before: rank(bits >> 32), now: rank(bits) }
    }

    /// For the table.
    pub fn to_bits(self) -> u64 {
        let bits = |rank: Rank| u64::from(rank.at) << 16 | u64::from(rank.of);
        bits(self.before) << 32 | bits(self.now)
    }

    /// This server is the front `at` (from 0 on) among `of` of them now. The smaller
    /// one of both parts holds until [`LimitPart::settled`].
    #[must_use]
    pub fn among(self, at: usize, of: usize) -> Self {
        let of = of.clamp(1, usize::from(NEW) - 1) as u16;
        let now = Rank { at: at.min(usize::from(of) - 1) as u16, of };
        if now == self.now {
            return self;
        }
        if self == LimitPart::NEW && of == 1 {
            // There is nobody who would have to shrink.
            return LimitPart { before: Rank::default(), now };
        }
        let before = if self.before.of > self.now.of { self.before } else { self.now };
        LimitPart { before, now }
    }

    /// The others have had the time to shrink.
    #[must_use]
    pub fn settled(self) -> Self {
        LimitPart { before: Rank::default(), ..self }
    }

    /// Whether the last change is not over yet.
    pub fn is_settling(self) -> bool {
        self.before.of != 0
    }

    /// Whether it is known how many fronts there are.
    pub fn is_new(self) -> bool {
        self.now.of == NEW
    }

    /// The part of a member's limit, in requests at the same time. Where a limit does not divide
    /// evenly the rest goes to other fronts for other members.
    pub fn of(self, limit: u32, member: &str) -> u32 {
        let before = if self.is_settling() { self.before.of(limit, member) } else { limit };
        before.min(self.now.of(limit, member))
    }
}

impl Rank {
    fn of(self, limit: u32, member: &str) -> u32 {
        match self.of {
            0 => limit,
            NEW => limit.min(1),
            of => {
                let (each, rest) = (limit / u32::from(of), limit % u32::from(of));
                let turned = || (u32::from(self.at) + turn(member) % u32::from(of)) % u32::from(of);
                each + u32::from(rest > 0 && turned() < rest)
            }
        }
    }
}

/// A number that all servers make alike of a member's name (FNV-1a).
fn turn(member: &str) -> u32 {
    member.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) >> 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(parts: &[LimitPart], limit: u32, member: &str) -> u32 {
        parts.iter().map(|part| part.of(limit, member)).sum()
    }

    #[test]
    fn a_new_front_has_one_place_until_the_others_have_shrunk() {
        let new = LimitPart::NEW.among(2, 3);
        assert_eq!((new.of(30, "a"), new.is_settling()), (1, true));
        assert_eq!(new.settled().of(30, "a"), 10);
        let old = LimitPart::WHOLE.among(0, 1).among(0, 3);
        assert_eq!(old.of(30, "a"), 10, "it shrinks at once");
        let left = old.settled().among(0, 2);
        assert_eq!((left.of(30, "a"), left.settled().of(30, "a")), (10, 15));
        assert_eq!(LimitPart::NEW.among(0, 1).of(30, "a"), 30, "alone");
        assert_eq!((LimitPart::WHOLE.of(30, "a"), LimitPart::NEW.of(30, "a")), (30, 1));
    }

    #[test]
    fn a_limit_below_the_number_of_fronts_leaves_members_to_each_of_them() {
        let has = |at: usize, member: &str| LimitPart::WHOLE.among(at, 3).settled().of(1, member) == 1;
        let members: Vec<String> = (0..30).map(|number| format!("10.0.0.{number}:8080")).collect();
        for at in 0..3 {
            let own = members.iter().filter(|member| has(at, member)).count();
            assert!((4..=18).contains(&own), "front {at} has {own}");
        }
    }

    proptest! {
        #[test]
        fn parts_of_fronts_that_know_each_other_are_the_limit(
            (limit, of) in (0u32.., 1..200usize), name in "[a-z0-9.:]{1,20}",
        ) {
            let part = |at| LimitPart::NEW.among(at, of).settled();
            let parts: Vec<LimitPart> = (0..of).map(part).collect();
            prop_assert_eq!(parts.iter().map(|part| u64::from(part.of(limit, &name))).sum::<u64>(), u64::from(limit));
        }

        #[test]
        fn parts_never_exceed_the_limit_by_more_than_one_for_each_new_front(
            limit in 1u32..1000, before in 1..8usize, after in proptest::collection::vec(0..16usize, 1..8),
            told in proptest::collection::vec(any::<bool>(), 16), name in "[a-z]{1,8}",
        ) {
            // Fronts 0 ..= `before` - 1 are there; `after` are, once some have come and gone. One
            // stays: a front that finds nobody begins with the whole.
            let mut after = after;
            after.push(0);
            after.sort_unstable();
            after.dedup();
            let rank = |front: usize| after.iter().position(|known| *known == front);
            let comers = after.iter().filter(|front| **front >= before).count() as u32;
            let parts: Vec<LimitPart> = (0..16)
                .map(|front| {
                    let old = if front < before { LimitPart::NEW.among(front, before).settled() } else { LimitPart::NEW };
                    match rank(front) {
                        // It is known to itself in any case.
                        Some(at) if told[front] || front >= before => old.among(at, after.len()),
                        _ => old,
                    }
                })
                .collect();
            let there = |front: &usize| *front < before || rank(*front).is_some();
            let all: Vec<LimitPart> = (0..16).filter(there).map(|front| parts[front]).collect();
            prop_assert!(sum(&all, limit, &name) <= limit + comers);
            // All have heard; some have settled.
            let heard: Vec<LimitPart> = after
                .iter()
                .enumerate()
                .map(|(at, front)| {
                    let part = parts[*front].among(at, after.len());
                    if told[*front] { part.settled() } else { part }
                })
                .collect();
            prop_assert!(sum(&heard, limit, &name) <= limit);
        }

        #[test]
        fn a_part_is_read_back_as_it_was_written(bits: u64) {
            prop_assert_eq!(LimitPart::from_bits(bits).to_bits(), bits);
        }
    }
}
