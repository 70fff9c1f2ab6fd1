// SPDX-License-Identifier: Apache-2.0
//! Things that belong to members and cost something to make, such as workers with their
//! connections: found again by a key as long as anybody needs them, and given up some time after
//! their last member has gone, so that there are as many as members, however many come and go.

use std::collections::HashMap;
use std::hash::Hash;

use crate::live::Slot;

/// A member's row and its incarnation.
pub type ServedMember = (Slot, u32);

/// So few are kept in any case.
const FEW: usize = 64;
/// How many are looked at for each new one: as long as there are more than one, those that nobody
/// needs stay a part of all.
const LOOKS: usize = 4;
/// Members that one thing may have served before it is looked at which of them are still there.
const MANY_SERVED: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Belongings<K, T> {
    numbers: HashMap<K, usize>,
    entries: Vec<Option<Entry<K, T>>>,
    free: Vec<usize>,
    /// Where the next look begins.
    hand: usize,
    most: usize,
}

#[derive(Debug)]
struct Entry<K, T> {
    key: K,
    thing: T,
    served: Vec<ServedMember>,
    /// Members that are served by another one now, while requests may be there since before.
    left: Vec<ServedMember>,
}

/// Whether a thing is over.
pub trait Over<T> {
    /// A member has gone, and no request of this process is there.
    fn gone(&self, member: ServedMember) -> bool;
    /// No request of this process is at a member just now, whether it is there or not.
    fn away(&self, member: ServedMember) -> bool;
    /// The thing itself is in nobody's hand.
    fn idle(&self, thing: &T) -> bool;
}

/// A thing that nobody needs any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Disposed<T> {
    /// Its number, which another one may get.
    pub number: usize,
    /// The thing.
    pub thing: T,
}

impl<K: Clone + Eq + Hash, T: Copy> Belongings<K, T> {
    /// Keeps at most so many. Their numbers are below that.
    pub fn new(most: usize) -> Self {
        Belongings { numbers: HashMap::new(), entries: Vec::new(), free: Vec::new(), hand: 0, most }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The thing of this key, and its number. It serves this member as well from now on.
    pub fn find(&mut self, key: &K, member: ServedMember, over: &impl Over<T>) -> Option<(usize, T)> {
        let number = *self.numbers.get(key)?;
        let entry = self.entries.get_mut(number)?.as_mut()?;
        entry.left.retain(|left| *left != member);
        if !entry.served.contains(&member) {
            if entry.served.len() >= MANY_SERVED {
                entry.served.retain(|served| !over.gone(*served));
            }
            entry.served.push(member);
        }
        Some((number, entry.thing))
    }

    /// Makes room for another one: returns its number, and one that is to be given up. No number:
    /// so many are needed now as there may be.
    pub fn make_room(&mut self, over: &impl Over<T>) -> (Option<usize>, Option<Disposed<T>>) {
        let is_full = self.numbers.len() >= self.most;
        let looks = if is_full { self.entries.len() } else { LOOKS };
        let given_up = if is_full { self.look_at(looks, over) } else { self.look(looks, over) };
        let has_room = self.numbers.len() < self.most;
        (has_room.then(|| self.free.last().copied().unwrap_or(self.entries.len())), given_up)
    }

    /// A member is served by another thing from now on: requests that have come before may have
    /// this one in their hands until there is none at the member.
    pub fn leave(&mut self, number: usize, member: ServedMember) {
        if let Some(entry) = self.entries.get_mut(number).and_then(Option::as_mut) {
            entry.served.retain(|served| *served != member);
            if !entry.left.contains(&member) {
                entry.left.push(member);
            }
        }
    }

    /// The same for all things of a member whose keys are such.
    pub fn leave_where(&mut self, member: ServedMember, is_such: impl Fn(&K) -> bool) {
        let entries = self.entries.iter().enumerate();
        let of_member = |entry: &Entry<K, T>| entry.served.contains(&member) && is_such(&entry.key);
        let such = entries.filter(|(_, entry)| entry.as_ref().is_some_and(of_member));
        let numbers: Vec<usize> = such.map(|(number, _)| number).collect();
        numbers.into_iter().for_each(|number| self.leave(number, member));
    }

    /// Looks at so many at most, and returns the first that is to be given up. Where there are few,
    /// none is.
    pub fn look(&mut self, looks: usize, over: &impl Over<T>) -> Option<Disposed<T>> {
        if self.numbers.len() < FEW { None } else { self.look_at(looks, over) }
    }

    fn look_at(&mut self, looks: usize, over: &impl Over<T>) -> Option<Disposed<T>> {
        for _ in 0..looks {
            self.hand = if self.hand < self.entries.len() { self.hand } else { 0 };
            let number = self.hand;
            self.hand += 1;
            let Some(place) = self.entries.get_mut(number) else { break };
            let Some(entry) = place else { continue };
            entry.served.retain(|served| !over.gone(*served));
            entry.left.retain(|left| !over.away(*left) && !over.gone(*left));
            if entry.served.is_empty()
                && entry.left.is_empty()
                && over.idle(&entry.thing)
                && let Some(Entry { key, thing, .. }) = place.take()
            {
                self.numbers.remove(&key);
                self.free.push(number);
                return Some(Disposed { number, thing });
            }
        }
        None
    }

    /// Keeps a new one under a number that [`Belongings::make_room`] has named last.
    pub fn keep(&mut self, number: usize, key: K, thing: T, member: ServedMember) {
        if self.free.last() == Some(&number) {
            self.free.pop();
        } else if number != self.entries.len() {
            return;
        }
        let entry = Some(Entry { key: key.clone(), thing, served: vec![member], left: Vec::new() });
        match self.entries.get_mut(number) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        self.numbers.insert(key, number);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    /// Members of which some are there, and things of which some are in use.
    #[derive(Default)]
    struct World {
        there: RefCell<HashSet<ServedMember>>,
        used: RefCell<HashSet<u32>>,
        /// Members with requests.
        asked: RefCell<HashSet<ServedMember>>,
    }

    impl Over<u32> for World {
        fn gone(&self, member: ServedMember) -> bool {
            !self.there.borrow().contains(&member)
        }

        fn away(&self, member: ServedMember) -> bool {
            !self.asked.borrow().contains(&member)
        }

        fn idle(&self, thing: &u32) -> bool {
            !self.used.borrow().contains(thing)
        }
    }

    impl World {
        /// A request at a member, whose URL is `url`. None: there is no room.
        fn serve(&self, kept: &mut Belongings<u32, u32>, url: u32, member: ServedMember) -> Option<usize> {
            self.there.borrow_mut().insert(member);
            if let Some((number, thing)) = kept.find(&url, member, self) {
                assert_eq!(thing, url, "another one's");
                return Some(number);
            }
            let (number, given_up) = kept.make_room(self);
            if let Some(Disposed { thing, .. }) = given_up {
                assert!(!self.used.borrow().contains(&thing), "in use");
            }
            kept.keep(number?, url, url, member);
            number
        }

        fn gone(&self, member: ServedMember) {
            self.there.borrow_mut().remove(&member);
        }
    }

    #[test]
    fn a_hundred_thousand_that_come_and_go_leave_no_more_than_there_are() {
        let (world, mut kept) = (World::default(), Belongings::new(4096));
        for url in 0..100_000u32 {
            let member = (url % 500, url);
            if url >= 500 {
                world.gone((member.0, url - 500));
            }
            let number = world.serve(&mut kept, url, member).expect("room");
            assert!(number < 1000, "{number} at {url}");
        }
        assert!(kept.len() < 1000);
    }

    #[test]
    fn few_are_kept_and_found_again() {
        let (world, mut kept) = (World::default(), Belongings::new(4096));
        let numbers: Vec<_> = (0..FEW as u32).map(|url| world.serve(&mut kept, url, (url, 1))).collect();
        (0..FEW as u32).for_each(|url| world.gone((url, 1)));
        let again: Vec<_> = (0..FEW as u32).map(|url| world.serve(&mut kept, url, (url, 2))).collect();
        assert_eq!(numbers, again);
    }

    #[test]
    fn a_thing_that_is_in_use_stays_and_a_full_house_refuses() {
        let (world, mut kept) = (World::default(), Belongings::new(3));
        for url in 0..3 {
            world.used.borrow_mut().insert(url);
            assert_eq!(world.serve(&mut kept, url, (url, 1)), Some(url as usize));
            world.gone((url, 1));
        }
        assert_eq!(world.serve(&mut kept, 9, (9, 1)), None);
        world.used.borrow_mut().remove(&1);
        assert_eq!(world.serve(&mut kept, 9, (9, 1)), Some(1));
        assert_eq!(world.serve(&mut kept, 2, (2, 2)), Some(2));
    }

    #[test]
    fn one_that_serves_ever_new_members_remembers_few_of_them() {
        let (world, mut kept) = (World::default(), Belongings::new(9));
        for incarnation in 0..1000 {
            assert_eq!(world.serve(&mut kept, 7, (0, incarnation)), Some(0));
            world.gone((0, incarnation));
        }
        let entry = kept.entries[0].as_ref().expect("it is kept");
        assert!(entry.served.len() <= MANY_SERVED + 1);
    }

    #[test]
    fn a_member_that_is_served_by_another_thing_leaves_its_first_one_when_no_request_is_there() {
        let (world, mut kept) = (World::default(), Belongings::new(2));
        let (member, others) = ((0, 1), (1, 1));
        assert_eq!(world.serve(&mut kept, 0, member), Some(0));
        world.asked.borrow_mut().insert(member);
        assert_eq!(world.serve(&mut kept, 1, member), Some(1));
        kept.leave(0, member);
        assert_eq!(world.serve(&mut kept, 2, others), None, "a request may have it in its hand");
        world.asked.borrow_mut().clear();
        assert_eq!(world.serve(&mut kept, 2, others), Some(0));
        // And back, as a line may be changed back: the second one is kept for it.
        kept.leave(1, member);
        assert_eq!(world.serve(&mut kept, 1, member), Some(1));
        assert_eq!(world.serve(&mut kept, 3, (3, 1)), None);
    }

    proptest! {
        #[test]
        fn no_member_meets_anothers(steps in proptest::collection::vec((0..40u32, 0..6u32, 0..4u8), 1..400)) {
            let (world, mut kept) = (World::default(), Belongings::new(12));
            let mut numbers: HashMap<usize, u32> = HashMap::new();
            for (url, incarnation, what) in steps {
                let member = (url, incarnation);
                match what {
                    0 => world.gone(member),
                    1 => drop(world.used.borrow_mut().remove(&url)),
                    _ => {
                        if let Some(number) = world.serve(&mut kept, url, member) {
                            numbers.retain(|_, other| *other != url);
                            numbers.insert(number, url);
                            let entry = kept.entries[number].as_ref().expect("it is kept");
                            prop_assert_eq!(entry.thing, url);
                            if what == 3 {
                                world.used.borrow_mut().insert(url);
                            }
                        }
                    }
                }
                prop_assert!(kept.len() <= 12);
                prop_assert_eq!(kept.len(), kept.entries.iter().flatten().count());
            }
        }
    }
}
