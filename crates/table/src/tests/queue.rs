// SPDX-License-Identifier: Apache-2.0
//! The promises of the queue of requests that wait for a place.

use std::cell::Cell;
use std::thread;

use super::*;
use crate::{WaitEnd, Waiting, Wants};

const POOL: u32 = 0;
const ALL: fn() -> Wants = || Wants::new(POOL, None);

/// A table whose one pool has the row [`POOL`].
fn queue_of(pid: i32) -> Table {
    let table = table();
    let pool = table.define("app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
    assert_eq!(pool, PoolId(POOL));
    table.with_identity(pid, alive)
}

fn as_child(table: &Table, pid: i32) -> Table {
    table.clone().with_identity(pid, alive)
}

/// Whether the ticket was called: a wait that has no time.
fn called(table: &Table, waiting: &Waiting, now_ms: u64) -> bool {
    table.wait_in_queue(waiting, now_ms, || now_ms, |_| false) == WaitEnd::Look
}

#[test]
fn the_first_to_come_is_called_first_whatever_ticket_it_has() {
    let table = queue_of(100);
    let [a, b] = [(); 2].map(|()| table.join_queue(ALL(), 99).unwrap());
    assert!(table.is_first(&a, 0) && !table.is_first(&b, 0));
    table.leave_queue(a, true, 0);
    // This one has the ticket that is looked at first.
    let c = table.join_queue(ALL(), 99).unwrap();
    assert!(table.is_first(&b, 0) && !table.is_first(&c, 0));
    table.call_queue(POOL, || 0);
    assert!(called(&table, &b, 0) && !called(&table, &c, 0));
    table.call_queue(POOL, || 0);
    assert!(!called(&table, &c, 0), "who has answered its call without finding a place is still the first");
    assert!(called(&table, &b, 0));
}

#[test]
fn as_many_calls_as_places_go_to_as_many_requests() {
    let table = queue_of(100);
    let waiting = [(); 3].map(|()| table.join_queue(ALL(), 99).unwrap());
    table.call_queue(POOL, || 0);
    table.call_queue(POOL, || 0);
    assert_eq!(waiting.each_ref().map(|one| called(&table, one, 0)), [true, true, false]);
}

#[test]
fn a_waiter_that_leaves_with_a_call_hands_it_on() {
    let table = queue_of(100);
    let [a, b] = [(); 2].map(|()| table.join_queue(ALL(), 99).unwrap());
    table.call_queue(POOL, || 0);
    table.leave_queue(a, true, 0);
    assert!(called(&table, &b, 0));
    table.leave_queue(b, true, 0);
    assert_eq!(table.queue_length(POOL), 0);
}

#[test]
fn no_more_than_the_tickets_wait() {
    let table = queue_of(100);
    let mut held: Vec<Waiting> = (0..4).map(|_| table.join_queue(ALL(), 99).unwrap()).collect();
    assert!(table.join_queue(ALL(), 99).is_none());
    table.leave_queue(held.remove(2), true, 0);
    assert!(table.join_queue(ALL(), 2).is_none());
    assert!(table.join_queue(ALL(), 3).is_some());
}

#[test]
fn a_newcomer_sees_only_those_who_may_want_the_same() {
    let table = queue_of(100);
    let other = Wants::new(POOL + 1, None);
    let [east, west] = [1, 2].map(|view| Wants::new(POOL, Some(view)));
    assert!(!table.has_queue(ALL(), 0));
    let waiting = table.join_queue(east, 99).unwrap();
    assert!(table.has_queue(ALL(), 0) && table.has_queue(east, 0));
    assert!(!table.has_queue(west, 0) && !table.has_queue(other, 0));
    table.leave_queue(waiting, true, 0);
    assert!(!table.has_queue(ALL(), 0));
}

#[test]
fn a_call_that_one_has_no_use_for_goes_to_one_who_wants_something_else() {
    let table = queue_of(100);
    let [east, west] = [1, 2].map(|view| Wants::new(POOL, Some(view)));
    let [first, second] = [(); 2].map(|()| table.join_queue(east, 99).unwrap());
    let third = table.join_queue(west, 99).unwrap();
    table.call_queue(POOL, || 0);
    assert!(called(&table, &first, 0));
    table.looked_in_vain(&first, 0);
    assert!(!called(&table, &second, 0) && called(&table, &third, 0));
    table.looked_in_vain(&third, 0);
    assert!(!called(&table, &first, 0), "a call goes round in a circle");
}

#[test]
fn the_dead_are_passed_over_and_their_calls_go_on() {
    let table = queue_of(100);
    let _dead = as_child(&table, 101).join_queue(ALL(), 99).unwrap();
    let _dead_too = as_child(&table, 101).join_queue(ALL(), 99).unwrap();
    let waiting = table.join_queue(ALL(), 99).unwrap();
    table.call_queue(POOL, || 0);
    table.call_queue(POOL, || 0);
    assert!(!called(&table, &waiting, 0));
    kill(101);
    table.rouse_queues(None, false, 0);
    assert!(called(&table, &waiting, 0));
    assert!(table.is_first(&waiting, 0));
    assert_eq!(table.queue_length(POOL), 1);
}

#[test]
fn one_that_waits_finds_the_dead_itself() {
    let table = queue_of(100);
    let _dead = as_child(&table, 101).join_queue(ALL(), 99).unwrap();
    let waiting = table.join_queue(ALL(), 99).unwrap();
    kill(101);
    let clock = Cell::new(0);
    let tick = || {
        clock.set(clock.get() + 100);
        clock.get()
    };
    assert_eq!(table.wait_in_queue(&waiting, 2000, tick, |_| false), WaitEnd::Look);
    assert!(clock.get() <= 600, "{}", clock.get());
}

#[test]
fn one_that_is_stopped_holds_up_nobody_for_long() {
    let table = queue_of(100);
    let _stopped = [(); 2].map(|()| as_child(&table, 101).join_queue(ALL(), 99).unwrap());
    let waiting = table.join_queue(ALL(), 99).unwrap();
    assert!(!called(&table, &waiting, 0));
    // Nobody gives a place back; the waiter calls the stopped one itself, and then goes on without
    // it.
    let clock = Cell::new(0);
    let tick = || {
        clock.set(clock.get() + 50);
        clock.get()
    };
    assert_eq!(table.wait_in_queue(&waiting, 5000, tick, |_| false), WaitEnd::Look);
    assert!(clock.get() <= 1500, "{}", clock.get());
    // Waiters behind it go on at once, and so do newcomers.
    assert!(table.is_first(&waiting, clock.get()));
    table.leave_queue(waiting, true, clock.get());
    assert!(!table.has_queue(ALL(), clock.get()));
}

#[test]
fn a_called_waiter_that_is_slow_to_look_is_not_overtaken_before_it_counts_as_stopped() {
    let table = queue_of(100);
    let first = as_child(&table, 101).join_queue(ALL(), 99).unwrap();
    let second = table.join_queue(ALL(), 99).unwrap();
    table.call_queue(POOL, || 1000);
    let clock = Cell::new(1000);
    let tick = || {
        clock.set(clock.get() + 50);
        clock.get()
    };
    let turn = table.wait_in_queue(&second, 1450, tick, |_| false);
    assert_eq!(turn, WaitEnd::TimeIsUp, "overtook after {} ms", clock.get() - 1000);
    assert!(called(&table, &first, 1450));
}

#[test]
fn a_place_that_becomes_free_while_the_first_in_line_looks_round_is_for_it() {
    let table = queue_of(100);
    let [first, second] = [(); 2].map(|()| table.join_queue(ALL(), 99).unwrap());
    let clock = Cell::new(1000);
    let tick = || {
        clock.set(clock.get() + 300);
        clock.get()
    };
    // The second one looks round, and has the first one look for a place, should a call have been
    // lost.
    assert_eq!(table.wait_in_queue(&second, 1700, tick, |_| false), WaitEnd::TimeIsUp);
    table.call_queue(POOL, || 1800);
    assert!(!called(&table, &second, 1800), "two look for one place");
    // A second place is for the second one.
    table.call_queue(POOL, || 1800);
    assert!(called(&table, &first, 1800) && called(&table, &second, 1800));
}

#[test]
fn where_nobody_has_died_nobody_is_called() {
    let table = queue_of(100);
    let waiting = table.join_queue(ALL(), 99).unwrap();
    table.rouse_queues(None, false, 0);
    assert!(!called(&table, &waiting, 0));
    table.rouse_queues(None, true, 0);
    assert!(called(&table, &waiting, 0));
}

#[test]
fn a_wait_ends_in_time() {
    let table = queue_of(100);
    let _first = table.join_queue(ALL(), 99).unwrap();
    let waiting = table.join_queue(ALL(), 99).unwrap();
    let clock = Cell::new(0);
    let tick = || {
        clock.set(clock.get() + 1);
        clock.get()
    };
    assert_eq!(table.wait_in_queue(&waiting, 20, tick, |_| false), WaitEnd::TimeIsUp);
    assert_eq!(clock.get(), 20);
}

#[test]
fn one_whose_wait_is_pointless_gives_up_and_its_call_goes_on() {
    let table = queue_of(100);
    let [gone, next] = [(); 2].map(|()| table.join_queue(ALL(), 99).unwrap());
    table.call_queue(POOL, || 0);
    assert_eq!(table.wait_in_queue(&gone, 1000, || 0, |_| true), WaitEnd::Pointless);
    assert!(!called(&table, &next, 0));
    table.leave_queue(gone, false, 0);
    assert!(called(&table, &next, 0));
}

#[test]
fn whether_a_wait_is_pointless_is_asked_a_few_times_a_second() {
    let table = queue_of(100);
    let _first = table.join_queue(ALL(), 99).unwrap();
    let waiting = table.join_queue(ALL(), 99).unwrap();
    let (clock, asked) = (Cell::new(0), Cell::new(0));
    let tick = || {
        clock.set(clock.get() + 50);
        clock.get()
    };
    let is_pointless = |now_ms| {
        asked.set(asked.get() + 1);
        now_ms >= 400
    };
    assert_eq!(table.wait_in_queue(&waiting, 5000, tick, is_pointless), WaitEnd::Pointless);
    assert!(clock.get() <= 600 && asked.get() == 2, "{} {}", clock.get(), asked.get());
}

/// A waiter that has a place for a moment takes it from a count, so that two at once would be seen.
#[test]
fn threads_that_take_turns_all_come_to_their_turn() {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::time::Instant;

    let table = Table::on_heap(Geometry { tickets: 16, ..geometry() }).unwrap().with_identity(100, alive);
    table.define("app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
    let (free, began) = (AtomicU64::new(2), Instant::now());
    let now_ms = || began.elapsed().as_millis() as u64;
    let take = || free.fetch_update(SeqCst, SeqCst, |free| free.checked_sub(1)).is_ok();
    let give = || {
        free.fetch_add(1, SeqCst);
        table.call_queue(POOL, now_ms);
    };
    let one_turn = || {
        if !table.has_queue(ALL(), now_ms()) && take() {
            return;
        }
        let waiting = table.join_queue(ALL(), 99).expect("a ticket");
        let mut look = table.is_first(&waiting, now_ms());
        while !(look && take()) {
            if look {
                table.looked_in_vain(&waiting, now_ms());
            }
            look = table.wait_in_queue(&waiting, u64::MAX, now_ms, |_| false) == WaitEnd::Look;
        }
        table.leave_queue(waiting, true, now_ms());
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..if cfg!(miri) { 15 } else { 2000 } {
                    one_turn();
                    thread::yield_now();
                    give();
                }
            });
        }
    });
    assert_eq!((free.load(SeqCst), table.queue_length(POOL)), (2, 0));
}

#[test]
fn a_waiter_that_has_looked_in_vain_stands_only_in_the_way_of_those_who_want_the_same() {
    let table = queue_of(100);
    let east = Wants::new(POOL, Some(1));
    let narrow = table.join_queue(east, 99).unwrap();
    assert!(table.has_queue(ALL(), 0), "it has not looked yet");
    table.looked_in_vain(&narrow, 0);
    assert!(!table.has_queue(ALL(), 0) && table.has_queue(east, 0));
    table.call_queue(POOL, || 0);
    assert!(table.has_queue(ALL(), 0), "a place may be its");
    assert!(called(&table, &narrow, 0));
}

#[test]
fn a_second_place_is_not_forgotten_when_everybody_has_a_call() {
    let table = queue_of(100);
    let first = table.join_queue(ALL(), 99).unwrap();
    table.call_queue(POOL, || 0);
    table.call_queue(POOL, || 0);
    let second = table.join_queue(ALL(), 99).unwrap();
    assert!(called(&table, &first, 0) && !called(&table, &second, 0));
    table.leave_queue(first, true, 0);
    assert!(called(&table, &second, 0));
}

#[test]
fn a_waiter_that_leaves_in_vain_calls_the_next() {
    let table = queue_of(100);
    let [a, b] = [(); 2].map(|()| table.join_queue(ALL(), 99).unwrap());
    table.leave_queue(a, false, 0);
    assert!(called(&table, &b, 0));
}
