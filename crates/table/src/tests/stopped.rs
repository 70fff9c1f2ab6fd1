// SPDX-License-Identifier: Apache-2.0
//! A process that is stopped at any step and goes on much later does no harm, and nobody waits for
//! it.

use balance::live::Live;
use balance::status::Status;
use balance::store::Store;

use super::*;
use crate::primitive::crash::around;

/// Runs the check with the slow side stopped at each of its steps.
fn at_every_step(check: impl Fn(u32) -> bool) {
    let steps = (0..1000).take_while(|&steps| check(steps)).count();
    assert!(steps > 2, "only {steps} steps");
}

fn two(table: &Table) -> (Table, Table) {
    (table.clone().with_identity(50, |_| true), table.clone().with_identity(51, |_| true))
}

#[test]
fn an_older_definition_never_overwrites_a_newer_one() {
    let base = [spec("a", 1, 100), spec("b", 2, 100), spec("c", 3, 100)];
    let older = [spec("c", 3, 500), spec("a", 9, 100), spec("x", 7, 100), spec("y", 8, 100)];
    for newer in [
        vec![],
        base.to_vec(),
        vec![spec("b", 2, 300), spec("a", 1, 100), spec("x", 6, 100)],
        vec![spec("y", 8, 100), spec("x", 7, 700)],
    ] {
        at_every_step(|steps| {
            let table = table();
            let (slow, quick) = two(&table);
            let pool = table.define("app", &settings(), &base, 1).unwrap();
            let (_, _, stopped) = around(
                steps,
                || slow.define("app", &settings(), &older, 2).unwrap(),
                || quick.define("app", &settings(), &newer, 3).unwrap(),
            );
            table.sweep();
            table.check().expect("consistent");
            let found: Vec<_> = members(&table, pool).iter().map(|member| member.spec.clone()).collect();
            assert_eq!(found, newer, "stopped at step {steps}");
            for member in members(&table, pool) {
                assert_eq!(table.status(member.slot).weight(), member.spec.weight, "step {steps}");
            }
            stopped
        });
    }
}

#[test]
fn one_definition_by_two_processes_is_one() {
    let both = [spec("b", 2, 300), spec("x", 7, 100), spec("a", 1, 100)];
    at_every_step(|steps| {
        let table = table();
        let (slow, quick) = two(&table);
        let pool = table.define("app", &settings(), &[spec("a", 1, 100), spec("b", 2, 100)], 1).unwrap();
        let (_, _, stopped) = around(
            steps,
            || slow.define("app", &settings(), &both, 2).unwrap(),
            || {
                quick.define("app", &settings(), &both, 2).unwrap();
                quick.remove(pool, "x").unwrap();
                let b = member(&quick, pool, "b");
                quick.update(b.slot, b.incarnation, &mut |s| s.with_weight(900)).unwrap();
            },
        );
        table.check().expect("consistent");
        assert_eq!(names(&table, pool), ["b", "a"], "what was done afterwards stays, step {steps}");
        assert_eq!(table.status(member(&table, pool, "b").slot).weight(), 900, "step {steps}");
        stopped
    });
}

#[test]
fn two_adders_of_one_name_make_one_member() {
    at_every_step(|steps| {
        let table = table();
        let (slow, quick) = two(&table);
        let pool = table.define("app", &settings(), &[], 1).unwrap();
        let (first, second, stopped) =
            around(steps, || slow.add(pool, &spec("a", 1, 100)), || quick.add(pool, &spec("a", 2, 100)));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let winner = first.or(second).unwrap();
        assert_eq!(member(&table, pool, "a").spec, winner.spec);
        table.sweep();
        table.check().expect("consistent");
        stopped
    });
}

#[test]
fn two_makers_of_one_pool_make_one() {
    at_every_step(|steps| {
        let table = table();
        let (slow, quick) = two(&table);
        let define = |table: &Table| table.define("app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
        let (first, second, stopped) = around(steps, || define(&slow), || define(&quick));
        assert_eq!((first, table.pool_names().len()), (second, 1));
        assert_eq!(names(&table, first), ["a"]);
        table.sweep();
        table.check().expect("consistent");
        stopped
    });
}

#[test]
fn a_late_change_does_not_reach_the_rows_next_member() {
    at_every_step(|steps| {
        let table = Table::on_heap(Geometry { members: 1, ..geometry() }).unwrap().with_identity(1, alive);
        let (slow, quick) = two(&table);
        let pool = table.define("app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
        let (_, _, stopped) = around(
            steps,
            || slow.remove(pool, "a").is_ok(),
            || {
                let _ = quick.remove(pool, "a");
                let b = quick.add(pool, &spec("b", 2, 100)).expect("the row is free");
                quick.update(b.slot, b.incarnation, &mut |s| s.with(Status::DRAINING)).unwrap();
            },
        );
        assert_eq!(names(&table, pool), ["b"]);
        assert_eq!(member(&table, pool, "b").spec, spec("b", 2, 100));
        table.check().expect("consistent");
        stopped
    });
}

#[test]
fn a_late_update_does_not_reach_the_rows_next_member() {
    let mut step_reached = 0;
    for steps in 0..10 {
        let table = Table::on_heap(Geometry { members: 1, ..geometry() }).unwrap().with_identity(1, alive);
        let (slow, quick) = two(&table);
        let pool = table.define("app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
        let a = member(&table, pool, "a");
        let (updated, _, stopped) = around(
            steps,
            || slow.update(a.slot, a.incarnation, &mut |s| s.with(Status::DRAINING)).is_ok(),
            || {
                quick.remove(pool, "a").unwrap();
                quick.add(pool, &spec("b", 2, 100)).expect("the row is free");
            },
        );
        assert!(updated || steps == 0);
        assert_eq!(table.status(a.slot), Status::new(100, 0, 0), "step {steps}");
        step_reached += u32::from(stopped);
    }
    assert!(step_reached > 0);
}

#[test]
fn a_slow_reaper_and_a_slow_joiner_take_nothing_from_the_living() {
    at_every_step(|steps| {
        let table = table();
        let (slow, quick) = two(&table);
        let pool = table.define("app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
        let a = member(&table, pool, "a");
        let dead = table.join(100, 1).unwrap();
        assert!(table.begin(&dead, a.slot, a.incarnation));
        let (_, living, stopped) = around(
            steps,
            || {
                slow.reap_dead(&|pid| pid != 100);
                let child = slow.join(102, 1).unwrap();
                assert!(slow.begin(&child, a.slot, a.incarnation));
            },
            || {
                quick.reap_dead(&|pid| pid != 100);
                let child = quick.join(101, 1).expect("another lane");
                assert!(quick.begin(&child, a.slot, a.incarnation));
                child
            },
        );
        assert_eq!(table.inflight(a.slot), 2, "step {steps}");
        assert_eq!(table.leave(living), 1);
        assert_eq!(table.reap(102), 1);
        table.check().expect("consistent");
        stopped
    });
}

#[test]
fn a_pool_that_is_dropped_under_an_adder_takes_its_members_along() {
    at_every_step(|steps| {
        let table = table();
        let (slow, quick) = two(&table);
        let from = crate::Origin::Configuration;
        let pool = table.define_from(from, "app", &settings(), &[spec("a", 1, 100)], 1).unwrap();
        let (_, _, stopped) =
            around(steps, || slow.add(pool, &spec("b", 2, 100)), || quick.retain_pools(&[], from));
        assert!(table.pool_names().is_empty());
        assert!((0..24).all(|slot| !table.status(slot).has(Status::LIVE)), "step {steps}");
        table.sweep();
        table.check().expect("consistent");
        stopped
    });
}
