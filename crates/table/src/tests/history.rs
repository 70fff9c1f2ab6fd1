// SPDX-License-Identifier: Apache-2.0
//! Histories beside a table: any process may read, and any may die.

use std::sync::Arc;

use balance::api::PoolId;
use balance::counting::{AttemptEnd, Counters, Ending, RequestEnd};
use balance::history::{CheckReport, HistorySample, RECENT};
use balance::member::MemberSpec;
use balance::store::{PoolImage, Store};

use super::{alive, geometry, settings, spec};
use crate::history::{FirstReading, History, Moment};
use crate::{Geometry, Table};

const MINUTE: u64 = 60_000;
/// A clock that does not begin at 0.
const BEGIN: u64 = 90 * MINUTE;

fn named(name: &str) -> MemberSpec {
    spec(name, 80, 100)
}

fn with_history(geometry: Geometry) -> Table {
    let table = Table::on_heap(geometry).expect("a valid geometry").with_identity(1, alive);
    table.with_history(History::on_heap(&geometry))
}

/// A table whose pool app has members a and b.
fn table() -> (Table, PoolId) {
    let table = with_history(geometry());
    let pool = table.define("app", &settings(), &[named("a"), named("b")], 1).expect("room");
    (table, pool)
}

fn images(table: &Table) -> Vec<Arc<PoolImage>> {
    let pools = table.pool_names().into_iter().filter_map(|name| table.read_pool(table.find_pool(&name)?));
    pools.map(Arc::new).collect()
}

fn moment(clock_ms: u64) -> Moment {
    Moment { clock_ms, epoch_ms: 1_795_953_600_000 + clock_ms }
}

/// A leader's turn.
fn look(table: &Table, clock_ms: u64) {
    let pools = images(table);
    table.note_pools(&pools, moment(clock_ms), FirstReading::Counts);
    table.note_members(&pools, moment(clock_ms), FirstReading::Counts);
}

fn request(table: &Table, pool: PoolId, ending: Ending, took_us: u64) {
    let end = RequestEnd { ending, took_us, waited_us: None, retries: [1, 0, 0], session: None };
    table.count_request(pool, &end);
}

fn attempt(table: &Table, member: usize, took_us: u64) {
    let member = images(table)[0].membership.members[member].clone();
    let end = AttemptEnd { ending: Ending::Ok, answered: Some(200), took_us, sent: 0, received: 0 };
    table.count_attempt(member.slot, member.incarnation, &end);
}

/// How many attempts of the last ten minutes a member has had.
fn recent(table: &Table, member: usize) -> u64 {
    let member = images(table)[0].membership.members[member].clone();
    let counts = table.member_counts(member.slot);
    table.member_recent(member.slot, member.incarnation, &counts).count()
}

fn samples(table: &Table, pool: PoolId) -> Vec<HistorySample> {
    table.pool_history(pool).expect("the pool").recent
}

#[test]
fn two_readings_differ_by_all_that_happened_between_them() {
    let (table, pool) = table();
    request(&table, pool, Ending::Ok, 1_000);
    look(&table, BEGIN);
    assert_eq!(samples(&table, pool), [], "a first reading tells of nothing");
    request(&table, pool, Ending::Timeout, 400_000);
    request(&table, pool, Ending::Aborted, 1_000);
    look(&table, BEGIN + 2_100);
    let all = samples(&table, pool);
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((one.histogram.count(), one.errors, one.retries), (3, 1, 3), "from the pool's beginning on");
    assert_eq!((one.span_ms, one.usable, one.inflight), (2_100, 2, 0));
    assert_eq!(one.at_ms, moment(BEGIN + 2_100).epoch_ms);
    look(&table, BEGIN + 2_200);
    assert_eq!(samples(&table, pool), all, "one reading in a step");
    look(&table, BEGIN + 4_000);
    let all = samples(&table, pool);
    assert_eq!((all.len(), all[1].histogram.count(), all[1].span_ms), (2, 0, 1_900));
}

#[test]
fn a_gap_is_one_long_sample_and_nothing_is_lost_in_it() {
    let (table, pool) = table();
    look(&table, BEGIN);
    look(&table, BEGIN + 2_000);
    (0..5).for_each(|_| request(&table, pool, Ending::Ok, 1_000));
    look(&table, BEGIN + 60_000);
    let all = samples(&table, pool);
    let seen: Vec<_> = all.iter().map(|one| (one.span_ms, one.histogram.count())).collect();
    assert_eq!(seen, [(2_000, 0), (58_000, 5)]);
}

#[test]
fn ten_minutes_are_kept_and_a_day_beside_them() {
    let (table, pool) = table();
    for step in 0..2_000 {
        request(&table, pool, Ending::Ok, 1_000);
        look(&table, BEGIN + step * RECENT.every_ms);
    }
    let history = table.pool_history(pool).expect("the pool");
    assert_eq!(history.recent.len(), RECENT.samples - 1);
    assert!(history.recent.iter().all(|one| one.span_ms == 2_000 && one.histogram.count() == 1));
    assert_eq!(history.day.len(), 13);
    assert!(history.day[1..].iter().all(|one| one.span_ms == 300_000 && one.histogram.count() == 150));
    let newest = history.recent.last().expect("samples").at_ms;
    assert_eq!(newest, moment(BEGIN + 1_999 * RECENT.every_ms).epoch_ms);
}

#[test]
fn a_calendar_that_is_set_back_makes_no_time_negative() {
    let (table, pool) = table();
    look(&table, BEGIN);
    let back = Moment { clock_ms: BEGIN + 2_000, epoch_ms: 1_000 };
    table.note_pools(&images(&table), back, FirstReading::Counts);
    assert_eq!(samples(&table, pool)[0].span_ms, 2_000);
}

#[test]
fn percentiles_are_those_of_the_last_ten_minutes() {
    let (table, pool) = table();
    attempt(&table, 0, 1_000);
    assert_eq!((recent(&table, 0), recent(&table, 1)), (1, 0), "before the first reading");
    look(&table, BEGIN);
    assert_eq!(recent(&table, 0), 1, "what came before the first reading is as young as the member");
    for minute in 1..9 {
        attempt(&table, 0, 1_000);
        look(&table, BEGIN + minute * MINUTE);
        assert_eq!(recent(&table, 0), minute + 1);
    }
    for minute in 9..30 {
        attempt(&table, 0, 1_000);
        look(&table, BEGIN + minute * MINUTE);
        assert_eq!(recent(&table, 0), if minute == 9 { 10 } else { 9 }, "minute {minute}");
    }
    attempt(&table, 0, 3_000_000);
    let member = images(&table)[0].membership.members[0].clone();
    let counts = table.member_counts(member.slot);
    let parts = table.member_recent(member.slot, member.incarnation, &counts);
    assert_eq!((parts.count(), parts.buckets[10]), (10, 1));
    request(&table, pool, Ending::Ok, 1_000);
    assert_eq!(table.pool_recent(pool, &table.pool_counts(pool)).count(), 1);
}

#[test]
fn a_member_that_comes_into_a_used_row_has_nothing_of_the_one_before() {
    let (table, pool) = table();
    (0..9).for_each(|_| attempt(&table, 1, 1_000));
    look(&table, BEGIN);
    let report = CheckReport { at_s: 7, detail: "status 200".into(), ..CheckReport::default() };
    let before = images(&table)[0].membership.members[1].clone();
    table.note_check(before.slot, before.incarnation, &report);
    assert_eq!(table.last_check(before.slot, before.incarnation), Some(report));
    table.remove(pool, "b").expect("it was there");
    table.add(pool, &named("c")).expect("room");
    let now = images(&table)[0].membership.members[1].clone();
    assert_eq!(now.slot, before.slot, "this test wants the same row");
    assert_eq!((recent(&table, 1), table.last_check(now.slot, now.incarnation)), (0, None));
    attempt(&table, 1, 1_000);
    look(&table, BEGIN + 2_000);
    assert_eq!(recent(&table, 1), 1);
}

#[test]
fn the_finding_of_a_check_is_kept_to_a_bound() {
    let (table, _) = table();
    let member = images(&table)[0].membership.members[0].clone();
    let kept = |detail: &str| {
        let report = CheckReport { at_s: 1, took_us: 2, due_ms: 3, detail: detail.to_owned() };
        table.note_check(member.slot, member.incarnation, &report);
        table.last_check(member.slot, member.incarnation).expect("a report").detail
    };
    assert_eq!(kept(""), "");
    assert_eq!(kept(&"x".repeat(96)), "x".repeat(96));
    assert_eq!(kept(&"x".repeat(97)), format!("{}…", "x".repeat(93)));
    assert_eq!(kept(&"ä".repeat(60)), format!("{}…", "ä".repeat(46)));
}

#[test]
fn a_bigger_table_takes_its_history_along() {
    let (old, pool) = table();
    (0..5).for_each(|_| request(&old, pool, Ending::Ok, 1_000));
    (0..4).for_each(|_| attempt(&old, 0, 1_000));
    let report = CheckReport { at_s: 7, detail: "refused".into(), ..CheckReport::default() };
    let member = images(&old)[0].membership.members[0].clone();
    old.note_check(member.slot, member.incarnation, &report);
    (0..3).for_each(|step| look(&old, BEGIN + step * 2_000));
    let new = with_history(Geometry { members: 64, pools: 9, ..geometry() });
    new.define("first", &settings(), &[named("z")], 1).expect("room");
    new.carry_over(&old).expect("room");
    let here = new.find_pool("app").expect("the pool");
    assert_eq!(new.pool_history(here), old.pool_history(pool));
    assert_eq!(new.pool_recent(here, &new.pool_counts(here)).count(), 5);
    let image = new.read_pool(here).expect("the pool");
    let member = &image.membership.members[0];
    assert_eq!(new.last_check(member.slot, member.incarnation), Some(report));
    let counts = new.member_counts(member.slot);
    assert_eq!(new.member_recent(member.slot, member.incarnation, &counts).count(), 4);
}

#[test]
fn counts_that_are_older_than_the_history_are_of_no_time() {
    let (old, pool) = table();
    (0..5).for_each(|_| request(&old, pool, Ending::Ok, 1_000));
    (0..4).for_each(|_| attempt(&old, 0, 1_000));
    let now = old.with_history(History::on_heap(&geometry()));
    let pools = images(&now);
    now.note_pools(&pools, moment(BEGIN), FirstReading::Old);
    now.note_members(&pools, moment(BEGIN), FirstReading::Old);
    assert_eq!((recent(&now, 0), now.pool_recent(pool, &now.pool_counts(pool)).count()), (0, 0));
    request(&now, pool, Ending::Ok, 1_000);
    look(&now, BEGIN + 2_000);
    assert_eq!(samples(&now, pool)[0].histogram.count(), 1);
}

#[test]
fn garbage_in_a_history_is_shown_as_something_and_harms_nobody() {
    let (table, pool) = table();
    let member = images(&table)[0].membership.members[0].clone();
    let history = table.history.clone().expect("a history");
    for word in [u64::MAX, 1, 1 << 63, 0x0101_0101_0101_0101] {
        history.fill_for_test(word);
        let _ = (table.pool_history(pool), table.last_check(member.slot, member.incarnation));
        let _ = recent(&table, 0);
        look(&table, BEGIN);
    }
}
