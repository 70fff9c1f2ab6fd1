// SPDX-License-Identifier: Apache-2.0
//! The promises of lanes, children and rows in use.

use std::sync::atomic::Ordering::Relaxed;

use balance::live::Live;
use balance::store::{Store, Vitals};

use super::*;
use crate::{Lead, Needs};

#[test]
fn the_sum_is_over_all_children_and_a_dead_ones_share_comes_back() {
    for lane_bits in [8, 16] {
        let table = Table::on_heap(Geometry { lane_bits, ..geometry() }).unwrap().with_identity(1, alive);
        let pool = table.define("app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
        let a = member(&table, pool, "a");
        let children: Vec<_> = (0..9).map(|n| table.join(100 + n, 1).expect("a lane")).collect();
        assert!(table.join(200, 1).is_err());
        for (requests, child) in children.iter().enumerate() {
            for _ in 0..requests {
                assert!(table.begin(child, a.slot, a.incarnation));
            }
        }
        assert_eq!(table.inflight(a.slot), 36);
        table.end(&children[8], a.slot);
        assert_eq!(table.inflight(a.slot), 35);
        assert_eq!(table.reap(105), 5);
        assert_eq!(table.reap(105), 0);
        assert_eq!(table.leave(children[4]), 4);
        assert_eq!(table.leave(children[4]), 0);
        assert_eq!(table.inflight(a.slot), 26);
        kill(103);
        kill(107);
        assert_eq!(table.reap_dead(&alive), 10);
        assert_eq!(table.inflight(a.slot), 16);
        let next = table.join(300, 1).expect("a lane of a dead one");
        assert_eq!(table.leave(children[3]), 0, "an old handle does nothing to the lane's new owner");
        assert!(table.begin(&next, a.slot, a.incarnation));
        assert_eq!(table.inflight(a.slot), 17);
        table.check().expect("consistent");
        DEAD.with_borrow_mut(|dead| dead.clear());
    }
}

#[test]
fn a_child_is_done_with_a_member_when_it_is_gone_and_its_last_request_too() {
    let table = table();
    let pool = table.define("app", &settings(), &[spec("a", 1, 100), spec("b", 2, 100)], 1).unwrap();
    let (mine, other) = (table.join(100, 1).unwrap(), table.join(101, 1).unwrap());
    let a = member(&table, pool, "a");
    let is_done = |child| table.is_done_with(child, a.slot, a.incarnation);
    assert!(!is_done(&mine), "it is there");
    assert!(table.begin(&mine, a.slot, a.incarnation));
    assert!(table.begin(&other, a.slot, a.incarnation));
    table.remove(pool, "a").unwrap();
    assert!(!is_done(&mine) && !is_done(&other), "requests are there");
    table.end(&mine, a.slot);
    assert!(is_done(&mine), "whatever others do");
    assert!(!is_done(&other));
    table.end(&other, a.slot);
    table.sweep();
    assert!(is_done(&other));
    let next = table.add(pool, &spec("c", 3, 100)).unwrap();
    assert_eq!(next.slot, a.slot, "the row is another's");
    assert!(table.begin(&mine, next.slot, next.incarnation));
    assert!(is_done(&mine));
    assert!(!table.is_done_with(&mine, next.slot, next.incarnation));
    table.remove(pool, "c").unwrap();
    assert_eq!(table.leave(mine), 1);
    assert!(!table.is_done_with(&mine, next.slot, next.incarnation), "its lane says nothing any more");
}

#[test]
fn a_pid_that_is_used_again_starts_with_an_empty_lane() {
    let table = table();
    let pool = table.define("app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
    let a = member(&table, pool, "a");
    let first = table.join(100, 1).unwrap();
    assert!(table.begin(&first, a.slot, a.incarnation));
    table.lead(100, 1, 0, 1000, &alive);
    table.join(100, 2).unwrap();
    assert_eq!(table.inflight(a.slot), 0);
    assert_eq!(table.leader(), None);
    assert_eq!(table.children(), [(100, 2)]);
}

#[test]
fn a_removed_row_is_not_used_again_while_a_request_is_there() {
    let table = Table::on_heap(Geometry { members: 1, ..geometry() }).unwrap().with_identity(1, alive);
    let pool = table.define("app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
    let a = member(&table, pool, "a");
    let child = table.join(100, 1).unwrap();
    assert!(table.begin(&child, a.slot, a.incarnation));
    table.remove(pool, "a").unwrap();
    assert!(!table.begin(&child, a.slot, a.incarnation));
    assert!(!table.status(a.slot).usable());
    assert!(table.add(pool, &spec("b", 2, 100)).is_err());
    table.end(&child, a.slot);
    let b = table.add(pool, &spec("b", 2, 100)).expect("the row is idle");
    assert_eq!(b.slot, a.slot);
    assert_ne!(b.incarnation, a.incarnation);
    assert!(!table.begin(&child, a.slot, a.incarnation));
    assert_eq!(table.inflight(a.slot), 0);
    assert!(table.update(a.slot, a.incarnation, &mut |s| s).is_err());
    assert!(table.update_outlier(a.slot, a.incarnation, |w| w + 1).is_none());
}

#[test]
fn a_lane_that_is_still_being_emptied_is_not_given_away() {
    let table = table();
    let pool = table.define("app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
    let a = member(&table, pool, "a");
    let dead = table.join(100, 1).unwrap();
    assert!(table.begin(&dead, a.slot, a.incarnation));
    let slow = table.clone().with_identity(50, alive);
    let mut stopped_inside = 0;
    for steps in 0..40 {
        if crate::primitive::crash::after(steps, || slow.reap(100)).is_some() {
            break;
        }
        let other = table.clone().with_identity(51, alive);
        other.reap(100);
        assert_eq!(table.inflight(a.slot), 0);
        for pid in [101, 100] {
            let child = table.join(pid, 1).expect("another lane");
            let row = &table.map.children()[child.index() as usize];
            assert!(row.reapers.iter().all(|reaper| reaper.load(Relaxed) != 50), "taken from under a reaper");
            assert!(table.begin(&child, a.slot, a.incarnation));
            assert_eq!(table.inflight(a.slot), 1);
            if pid == 101 {
                table.leave(child);
            }
        }
        let reapers = table.map.children().iter().flat_map(|row| &row.reapers);
        stopped_inside = reapers.filter(|reaper| reaper.load(Relaxed) == 50).count();
    }
    assert!(stopped_inside > 0);
    kill(50);
    table.reap(100);
    let children: Vec<_> = (0..9).map(|n| table.join(200 + n, 1)).collect();
    assert!(children.iter().all(Result::is_ok), "a dead reaper's lanes are free");
}

#[test]
fn slots_out_of_range_are_nobody() {
    let table = table();
    let child = table.join(100, 1).unwrap();
    for slot in [24, 25, u32::MAX] {
        assert!(!table.begin(&child, slot, 0));
        table.end(&child, slot);
        assert_eq!(table.inflight(slot), 0);
        assert_eq!(table.status(slot), balance::status::Status(0));
        assert!(!table.is_current(slot, 0));
    }
}

#[test]
fn a_member_takes_at_most_768_bytes_with_64_children() {
    let geometry = Geometry::for_config(Needs { children: 32, extra_members: 1024, ..Needs::default() });
    assert_eq!(geometry.children, 64);
    assert!(geometry.bytes_per_member() <= 768, "{}", geometry.bytes_per_member());
    let bigger = Geometry { members: geometry.members + 1000, chunks: geometry.chunks + 3000, ..geometry };
    let each = (bigger.bytes() - geometry.bytes()).div_ceil(1000);
    assert!(each <= 768, "{each}");
    assert!(bigger.fits(&geometry) && !geometry.fits(&bigger));
}

#[test]
fn only_the_newest_generation_leads() {
    let table = table();
    table.set_generation(1);
    assert_eq!(table.lead(10, 1, 0, 2000, &alive), Lead::Taken);
    table.set_generation(2);
    table.set_generation(1);
    assert_eq!(table.lead(20, 2, 100, 2000, &alive), Lead::Other(10));
    assert_eq!(table.lead(10, 1, 200, 2000, &alive), Lead::Other(0));
    assert_eq!(table.lead(20, 2, 300, 2000, &alive), Lead::Taken);
    assert_eq!(table.leader(), Some(20));
    table.resign(20);
    assert_eq!(table.leader(), None);
}

#[test]
fn a_table_is_replaced_once_no_child_takes_connections() {
    DEAD.with_borrow_mut(HashSet::clear);
    let (table, larger) = (table(), table());
    let [first, second] = [(11, 1), (12, 2)].map(|(pid, generation)| table.join(pid, generation).unwrap());
    table.set_generation(2);
    assert!(!table.has_successor());
    table.announce_successor();
    assert!(table.has_successor() && !table.is_superseded(), "it counts while the other one is made");
    table.note_closed(&second);
    assert!(table.has_open_children(), "one of an earlier generation");
    table.note_closed(&first);
    assert!(!table.has_open_children());
    larger.carry_over(&table).expect("room");
    assert!(table.is_superseded() && !larger.has_successor());
    // The row's next child has connections of its own.
    table.leave(first);
    table.join(13, 2).unwrap();
    assert!(table.has_open_children());
}
