// SPDX-License-Identifier: Apache-2.0
//! The counts, and their fate.

use balance::api::PoolId;
use balance::counting::{AttemptEnd, CallEnd, Counters, Ending, RequestEnd, SessionEnd};
use balance::counts::{BOUNDS_US, MemberCounts, PoolCounts, ScriptCounts};
use balance::memory::MemoryStore;
use balance::status::Status;
use balance::store::{Store, Vitals};
use proptest::prelude::*;

use super::*;
use crate::foreign::Foreign;
use crate::layout::OUTLINE_WORDS;
use crate::outline::PLACE;
use crate::{Geometry, Origin};

fn attempt(ending: Ending, status: u16, took_us: u64) -> AttemptEnd {
    AttemptEnd { ending, answered: Some(status), took_us, sent: 10, received: 100 }
}

fn request(ending: Ending, took_us: u64) -> RequestEnd {
    RequestEnd { ending, took_us, waited_us: None, retries: [0; 3], session: None }
}

/// A table with a pool `app` of these members, all of whose words have counted something.
fn counted(list: &[MemberSpec]) -> (Table, PoolId) {
    let table = table();
    let pool = table.define_from(Origin::Configuration, "app", &settings(), list, 1).expect("room");
    for member in members(&table, pool) {
        count_all(&table, pool, &member);
    }
    (table, pool)
}

/// Everything that can be counted, each at least once.
fn count_all(store: &impl Vitals, pool: PoolId, member: &Member) {
    let (slot, incarnation) = (member.slot, member.incarnation);
    let times = BOUNDS_US.into_iter().chain([u64::from(u32::MAX)]);
    for (nth, took_us) in times.enumerate() {
        let ending = Ending::ALL[nth % Ending::ALL.len()];
        store.count_attempt(slot, incarnation, &attempt(ending, 100 * (1 + nth as u16 % 5), took_us));
        store.count_attempt(slot, incarnation, &attempt(Ending::Ok, 100 * (1 + nth as u16 % 5), took_us));
        let session = [SessionEnd::Kept, SessionEnd::Moved, SessionEnd::New, SessionEnd::Lost][nth % 4];
        let of_it = RequestEnd {
            waited_us: Some(took_us),
            retries: [1, nth as u32, 2],
            session: Some(session),
            ..request(ending, took_us)
        };
        store.count_request(pool, &of_it);
        store.count_check(slot, incarnation, nth % 3 == 0);
    }
    store.count_ejection(slot, incarnation);
    for flag in [Status::DRAINING, 0] {
        let change = |status: Status| status.without(Status::DRAINING).with(flag);
        store.update(slot, incarnation, &mut |status| change(status)).expect("it is there");
    }
}

fn of_member(counts: &MemberCounts) -> Vec<u64> {
    let MemberCounts { ok, connect, reset, timeout, status, aborted, responses, .. } = *counts;
    let MemberCounts { sent_bytes, received_bytes, histogram, ejections, .. } = *counts;
    let MemberCounts { transitions, checks_ok, checks_failed, .. } = *counts;
    let mut all = vec![ok, connect, reset, timeout, status, aborted, sent_bytes, received_bytes];
    all.extend([ejections, transitions, checks_ok, checks_failed, histogram.sum_us]);
    all.extend(responses);
    all.extend(histogram.buckets);
    all
}

fn of_pool(counts: &PoolCounts) -> Vec<u64> {
    let sessions = counts.sessions;
    let mut all = vec![sessions.kept, sessions.moved, sessions.new, sessions.lost];
    all.extend(counts.requests().map(|(_, count)| count));
    all.extend(counts.retries);
    for histogram in [counts.histogram, counts.queue_histogram] {
        all.push(histogram.sum_us);
        all.extend(histogram.buckets);
    }
    all
}

#[test]
fn each_count_has_a_word_of_its_own() {
    let (table, pool) = counted(&[spec("a", 1, 100)]);
    let a = member(&table, pool, "a");
    assert!(!of_member(&table.member_counts(a.slot)).contains(&0), "{:?}", table.member_counts(a.slot));
    assert!(!of_pool(&table.pool_counts(pool)).contains(&0), "{:?}", table.pool_counts(pool));
    let used = |words: &[crate::protocol::AtomicU64]| {
        words.iter().filter(|word| word.load(std::sync::atomic::Ordering::Relaxed) != 0).count()
    };
    let rows = (&table.map.member_counts()[a.slot as usize], &table.map.pool_counts()[pool.0 as usize]);
    assert_eq!(used(&rows.0.words), of_member(&table.member_counts(a.slot)).len());
    assert_eq!(used(&rows.1.words), of_pool(&table.pool_counts(pool)).len());
    let store = MemoryStore::new();
    let other = store.define("app", &settings(), &[spec("a", 1, 100)], 1).expect("room");
    let own = store.read_pool(other).expect("a pool").membership.members[0].clone();
    count_all(&store, other, &own);
    assert_eq!(table.member_counts(a.slot), store.member_counts(own.slot));
    assert_eq!(table.pool_counts(pool), store.pool_counts(other));
}

#[test]
fn attempts_requests_and_durations_are_as_many() {
    let (table, pool) = counted(&[spec("a", 1, 100)]);
    let counts = table.member_counts(member(&table, pool, "a").slot);
    let complete = counts.ok + counts.status;
    assert_eq!(counts.responses.iter().sum::<u64>(), complete, "a class for each complete answer");
    let counts = table.pool_counts(pool);
    let ended: u64 = counts.requests().iter().map(|(_, count)| count).sum();
    assert_eq!(counts.histogram.count(), ended);
}

#[test]
fn a_member_that_comes_again_counts_from_0() {
    let (table, pool) = counted(&[spec("a", 1, 100), spec("b", 2, 100)]);
    let kept = table.member_counts(member(&table, pool, "b").slot);
    let gone = member(&table, pool, "a");
    table.remove(pool, "a").expect("it is there");
    table.count_attempt(gone.slot, gone.incarnation, &attempt(Ending::Ok, 200, 1));
    table.add(pool, &spec("a", 1, 100)).expect("room");
    let again = member(&table, pool, "a");
    assert_eq!(again.slot, gone.slot, "the row is used again");
    assert_eq!(table.member_counts(again.slot), MemberCounts::default());
    table.count_attempt(gone.slot, gone.incarnation, &attempt(Ending::Ok, 200, 1));
    assert_eq!(table.member_counts(again.slot), MemberCounts::default(), "what was meant for the other one");
    assert_eq!(table.member_counts(member(&table, pool, "b").slot), kept);
}

#[test]
fn a_pool_that_comes_again_counts_from_0() {
    let (table, pool) = counted(&[spec("a", 1, 100)]);
    table.retain_pools(&[], Origin::Configuration);
    let again = table.define_from(Origin::Configuration, "app", &settings(), &[], 2).expect("room");
    assert_eq!(again, pool, "the row is used again");
    assert_eq!(table.pool_counts(again), PoolCounts::default());
}

#[test]
fn definitions_and_restarts_leave_counts_alone() {
    let (table, pool) = counted(&[spec("a", 1, 100), spec("b", 2, 100)]);
    let before = (table.member_counts(member(&table, pool, "a").slot), table.pool_counts(pool));
    let list = [spec("c", 3, 100), spec("a", 1, 900)];
    table.define_from(Origin::Configuration, "app", &settings(), &list, 2).expect("room");
    let a = member(&table, pool, "a");
    assert_eq!((table.member_counts(a.slot), table.pool_counts(pool)), before);
    let list = [MemberSpec { flags: Status::DRAINING, ..spec("a", 1, 900) }];
    table.define_from(Origin::Configuration, "app", &settings(), &list, 3).expect("room");
    assert_eq!(table.member_counts(a.slot).transitions, before.0.transitions + 1, "it drains now");
}

#[test]
fn a_bigger_table_takes_the_counts_over() {
    let (old, pool) = counted(&[spec("a", 1, 100), spec("b", 2, 100)]);
    let row = old.script_row(9).expect("a row");
    old.count_call(row, CallEnd::Ok, 2500);
    let before = (old.member_counts(member(&old, pool, "b").slot), old.pool_counts(pool));
    let new = Table::on_heap(Geometry { members: 48, pools: 6, ..geometry() }).expect("a valid geometry");
    // Other rows than before.
    new.define("first", &settings(), &[spec("x", 9, 100)], 1).expect("room");
    new.script_row(8).expect("a row");
    new.carry_over(&old).expect("room");
    let pool = new.find_pool("app").expect("the pool");
    let after = (new.member_counts(member(&new, pool, "b").slot), new.pool_counts(pool));
    assert_eq!(after, before);
    let counts = new.script_counts(new.script_row(9).expect("a row"));
    assert_eq!(counts, ScriptCounts { ok: 1, sum_us: 2, ..ScriptCounts::default() });
}

#[test]
fn a_table_of_another_layout_gives_its_counts() {
    let (old, pool) = counted(&[spec("a", 1, 100), spec("b", 2, 100)]);
    let before = (old.member_counts(member(&old, pool, "b").slot), old.pool_counts(pool));
    let foreign = Foreign::over(old.map.words()).expect("a table has an outline");
    let new = Table::on_heap(Geometry { members: 48, ..geometry() }).expect("a valid geometry");
    new.define("first", &settings(), &[spec("x", 9, 100)], 1).expect("room");
    new.take_up(&foreign).expect("room");
    let pool = new.find_pool("app").expect("the pool");
    assert_eq!((new.member_counts(member(&new, pool, "b").slot), new.pool_counts(pool)), before);
}

#[test]
fn a_table_that_knows_no_counts_gives_none() {
    let (old, _) = counted(&[spec("a", 1, 100)]);
    let memory = old.map.words();
    memory.cells()[PLACE + OUTLINE_WORDS - 1].store(0, std::sync::atomic::Ordering::SeqCst);
    let foreign = Foreign::over(old.map.words()).expect("a table has an outline");
    let new = table();
    assert_eq!(new.take_up(&foreign), Ok((1, 0)));
    let pool = new.find_pool("app").expect("the pool");
    let a = member(&new, pool, "a");
    assert_eq!(new.member_counts(a.slot), MemberCounts::default());
    assert_eq!(new.pool_counts(pool), PoolCounts::default());
    new.check().expect("consistent");
}

#[test]
fn a_handle_may_count_nothing() {
    let table = table().with_counts(false);
    let pool = table.define("app", &settings(), &[spec("a", 1, 100)], 1).expect("room");
    let a = member(&table, pool, "a");
    count_all(&table, pool, &a);
    table.count_call(table.script_row(9).expect("a row"), CallEnd::Error, 5);
    assert_eq!(table.member_counts(a.slot), MemberCounts::default());
    assert_eq!(table.pool_counts(pool), PoolCounts::default());
    assert_eq!(table.script_counts(table.script_row(9).expect("a row")), ScriptCounts::default());
}

#[test]
fn no_row_counts_beyond_the_table() {
    let table = table();
    for row in [4, 24, u32::MAX] {
        table.count_request(PoolId(row), &request(Ending::Ok, 1));
        table.count_attempt(row, 0, &attempt(Ending::Ok, 200, 1));
        table.count_call(row, CallEnd::Ok, 1);
        assert_eq!(table.pool_counts(PoolId(row)), PoolCounts::default());
        assert_eq!(table.script_counts(row), ScriptCounts::default());
    }
    assert_eq!(table.member_counts(24), MemberCounts::default());
}

#[test]
fn children_that_count_at_once_lose_nothing() {
    const EACH: u64 = if cfg!(miri) { 20 } else { 5_000 };
    let (table, pool) = (table(), "app");
    let pool = table.define(pool, &settings(), &[spec("a", 1, 100)], 1).expect("room");
    let a = member(&table, pool, "a");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for took_us in 0..EACH {
                    table.count_attempt(a.slot, a.incarnation, &attempt(Ending::Ok, 200, took_us));
                    table.count_request(pool, &request(Ending::Ok, took_us));
                }
            });
        }
    });
    let (counts, of_pool) = (table.member_counts(a.slot), table.pool_counts(pool));
    let sum_us = 4 * (EACH * (EACH - 1) / 2);
    assert_eq!((counts.ok, counts.responses[1], counts.sent_bytes), (4 * EACH, 4 * EACH, 40 * EACH));
    assert_eq!((counts.histogram.count(), counts.histogram.sum_us), (4 * EACH, sum_us));
    assert_eq!((of_pool.ok, of_pool.histogram.sum_us), (4 * EACH, sum_us));
}

fn an_attempt() -> impl Strategy<Value = AttemptEnd> {
    let ending = (0..Ending::ALL.len()).prop_map(|at| Ending::ALL[at]);
    let answered = proptest::option::of(0u16..1000);
    (ending, answered, 0u64..20_000_000, 0u64..1 << 40, 0u64..1 << 40).prop_map(
        |(ending, answered, took_us, sent, received)| AttemptEnd {
            ending,
            answered,
            took_us,
            sent,
            received,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 128 }, ..ProptestConfig::default() })]
    #[test]
    fn counts_only_grow_and_are_the_same_in_both_stores(attempts in proptest::collection::vec(an_attempt(), 1..30)) {
        let (table, store) = (table(), MemoryStore::new());
        let pool = table.define("app", &settings(), &[spec("a", 1, 100)], 1).expect("room");
        let other = store.define("app", &settings(), &[spec("a", 1, 100)], 1).expect("room");
        let (a, own) = (member(&table, pool, "a"), store.read_pool(other).expect("a pool").membership.members[0].clone());
        let mut before = of_member(&table.member_counts(a.slot));
        for attempt in attempts {
            table.count_attempt(a.slot, a.incarnation, &attempt);
            store.count_attempt(own.slot, own.incarnation, &attempt);
            let now = of_member(&table.member_counts(a.slot));
            prop_assert!(now.iter().zip(&before).all(|(now, before)| now >= before));
            before = now;
            prop_assert_eq!(table.member_counts(a.slot), store.member_counts(own.slot));
        }
    }
}
