// SPDX-License-Identifier: Apache-2.0
//! The promises of define, add, remove and update.

use balance::api::{ChangeError, PoolId};
use balance::live::Live;
use balance::settings::{Method, PoolSettings};
use balance::status::Status;
use balance::store::{Store, Vitals};

use super::*;
use crate::Origin;

fn define(table: &Table, version: u64, members: &[MemberSpec]) -> PoolId {
    table.define("app", &settings(), members, version).expect("room for all")
}

#[test]
fn a_definition_is_read_back_in_order() {
    let table = table();
    let pool = define(&table, 1, &[spec("b", 2, 100), spec("a", 1, 300), spec("c", 3, 100)]);
    assert_eq!(names(&table, pool), ["b", "a", "c"]);
    assert_eq!(member(&table, pool, "a").spec, spec("a", 1, 300));
    assert_eq!(table.status(member(&table, pool, "a").slot), Status::new(300, 0, 0));
    assert_eq!(table.find_pool("app"), Some(pool));
    assert_eq!(table.find_pool("other"), None);
    assert_eq!(table.pool_names(), ["app"]);
    define(&table, 2, &[spec("c", 3, 100), spec("b", 2, 100)]);
    assert_eq!(names(&table, pool), ["c", "b"]);
    table.check().expect("consistent");
}

#[test]
fn members_that_stay_keep_what_was_changed_while_running() {
    let table = table();
    let pool = define(&table, 1, &[spec("a", 1, 100), spec("b", 2, 100)]);
    let a = member(&table, pool, "a");
    table
        .update(a.slot, a.incarnation, &mut |s| {
            s.with_weight(700).with(Status::DRAINING | Status::CHECK_DOWN)
        })
        .expect("it is there");
    table.record(a.slot, a.incarnation, true, None);
    define(&table, 2, &[spec("a", 1, 100), spec("c", 3, 100)]);
    let status = table.status(a.slot);
    assert!(table.is_current(a.slot, a.incarnation));
    assert_eq!((status.weight(), status.has(Status::DRAINING)), (700, true));
    assert_eq!(table.stats(a.slot).failures, 1);
    define(&table, 3, &[spec("a", 1, 200)]);
    let status = table.status(a.slot);
    assert_eq!(status.weight(), 200, "the definition changed the weight");
    assert!(status.has(Status::DRAINING), "and the weight only");
    assert!(status.has(Status::CHECK_DOWN));
    define(&table, 4, &[MemberSpec { flags: Status::STANDBY, ..spec("a", 1, 200) }]);
    let status = table.status(a.slot);
    assert!(status.has(Status::STANDBY) && !status.has(Status::DRAINING) && status.has(Status::CHECK_DOWN));
    table.check().expect("consistent");
}

#[test]
fn another_url_is_another_member() {
    let table = table();
    let pool = define(&table, 1, &[spec("a", 1, 100)]);
    let old = member(&table, pool, "a");
    define(&table, 2, &[spec("a", 9, 100)]);
    let new = member(&table, pool, "a");
    assert_ne!((old.slot, old.incarnation), (new.slot, new.incarnation));
    assert!(!table.is_current(old.slot, old.incarnation));
    assert_eq!(new.spec.url.port, 9);
}

#[test]
fn older_and_repeated_definitions_change_nothing() {
    let table = table();
    let pool = define(&table, 5, &[spec("a", 1, 100)]);
    define(&table, 4, &[spec("b", 2, 100)]);
    assert_eq!(names(&table, pool), ["a"]);
    table.add(pool, &spec("x", 7, 100)).expect("room");
    let version = table.version(pool);
    define(&table, 5, &[spec("a", 1, 100)]);
    assert_eq!(names(&table, pool), ["a", "x"], "a child born later defines the same again");
    assert_eq!(table.version(pool), version);
    define(&table, 6, &[spec("a", 1, 100)]);
    assert_eq!(names(&table, pool), ["a"]);
}

fn configure(table: &Table, version: u64, members: &[MemberSpec]) -> PoolId {
    table.define_from(Origin::Configuration, "app", &settings(), members, version).expect("room for all")
}

#[test]
fn members_added_while_running_stay_in_a_pool_of_the_configurations_as_they_are() {
    let table = table();
    let pool = configure(&table, 1, &[spec("a", 1, 100), spec("b", 2, 100)]);
    for (name, port) in [("x", 7), ("y", 8), ("z", 9)] {
        table.add(pool, &spec(name, port, 100)).expect("room");
    }
    let y = member(&table, pool, "y");
    let change = &mut |s: Status| s.with_weight(700).with(Status::DRAINING | Status::CHECK_DOWN);
    table.update(y.slot, y.incarnation, change).expect("it is there");
    table.remove(pool, "x").expect("it is there");
    let version = table.version(pool);
    configure(&table, 2, &[spec("a", 1, 100), spec("b", 2, 100)]);
    assert_eq!(table.version(pool), version, "nothing has changed");
    configure(&table, 3, &[spec("c", 3, 100), spec("b", 2, 100)]);
    assert_eq!(names(&table, pool), ["c", "b", "y", "z"]);
    let status = table.status(y.slot);
    assert!(table.is_current(y.slot, y.incarnation));
    assert!(status.weight() == 700 && status.has(Status::DRAINING | Status::CHECK_DOWN));
    table.check().expect("consistent");
    // Into a bigger table, and there the same once more.
    let bigger =
        Table::on_heap(Geometry { members: 48, chunks: 200, ..geometry() }).expect("a valid geometry");
    let bigger = bigger.with_identity(1, alive);
    bigger.carry_over(&table).expect("room");
    let pool = configure(&bigger, 4, &[spec("c", 3, 100)]);
    assert_eq!(names(&bigger, pool), ["c", "y", "z"]);
    let status = bigger.status(member(&bigger, pool, "y").slot);
    assert!(status.weight() == 700 && status.has(Status::DRAINING | Status::CHECK_DOWN));
    bigger.check().expect("consistent");
}

#[test]
fn an_added_member_that_the_configuration_names_is_the_configurations() {
    let table = table();
    let pool = configure(&table, 1, &[spec("a", 1, 100)]);
    for (name, port) in [("x", 7), ("y", 8)] {
        table.add(pool, &spec(name, port, 100)).expect("room");
    }
    let x = member(&table, pool, "x");
    configure(&table, 2, &[spec("x", 7, 300), spec("y", 9, 100)]);
    assert_eq!(names(&table, pool), ["x", "y"]);
    assert!(table.is_current(x.slot, x.incarnation), "the same URL");
    assert_eq!(table.status(x.slot).weight(), 300);
    assert_eq!(member(&table, pool, "y").spec.url.port, 9);
    configure(&table, 3, &[spec("a", 1, 100)]);
    assert_eq!(names(&table, pool), ["a"], "it was the configuration's, so it goes with its line");
    table.check().expect("consistent");
}

#[test]
fn added_members_make_room_for_configured_ones_when_they_are_told_to() {
    let table = table();
    let many = |count: u16| (0..count).map(|n| spec(&format!("m{n}"), n + 1, 100)).collect::<Vec<_>>();
    let pool = configure(&table, 1, &many(4));
    for n in 0..10 {
        table.add(pool, &spec(&format!("x{n}"), 100 + n, 100)).expect("room");
    }
    let refused = table.define_from(Origin::Configuration, "app", &settings(), &many(20), 2);
    assert_eq!(refused, Err(ChangeError::Full { what: "member" }));
    assert_eq!(names(&table, pool).len(), 14, "nothing was changed");
    let removed = table.remove_added(&["app", "unknown"]);
    assert_eq!((removed.len(), removed[0].as_str()), (10, "app/x0"));
    configure(&table, 2, &many(20));
    assert_eq!(names(&table, pool).len(), 20);
    table.check().expect("consistent");
}

#[test]
fn every_change_grows_the_version_and_the_epoch() {
    let table = table();
    let pool = define(&table, 1, &[spec("a", 1, 100)]);
    let mut last = (table.version(pool), table.epoch(pool));
    let mut grown = |what: &str| {
        let now = (table.version(pool), table.epoch(pool));
        assert!(now.0 > last.0 && now.1 > last.1, "{what}");
        last = now;
    };
    define(&table, 2, &[spec("a", 1, 200)]);
    grown("weight");
    table
        .define("app", &PoolSettings { method: Method::Random, ..settings() }, &[spec("a", 1, 200)], 3)
        .unwrap();
    grown("settings");
    table.add(pool, &spec("b", 2, 100)).unwrap();
    grown("add");
    table.remove(pool, "b").unwrap();
    grown("remove");
    let a = member(&table, pool, "a");
    let (version, epoch) = (table.version(pool), table.epoch(pool));
    table.advance(table.cursor(pool));
    table.update(a.slot, a.incarnation, &mut |s| s.with_weight(5)).unwrap();
    assert_eq!((table.version(pool), table.epoch(pool)), (version, epoch + 1));
    assert_eq!(table.advance(table.cursor(pool)), 0, "the sequence starts again with other weights");
    table.update(a.slot, a.incarnation, &mut |s| s).unwrap();
    assert_eq!(table.epoch(pool), epoch + 1, "no change");
}

#[test]
fn add_and_remove_name_what_is_wrong() {
    let table = table();
    let pool = define(&table, 1, &[spec("a", 1, 100)]);
    let duplicate = ChangeError::Duplicate { pool: "app".into(), name: "a".into() };
    assert_eq!(table.add(pool, &spec("a", 2, 100)), Err(duplicate));
    let unknown = ChangeError::UnknownMember { pool: "app".into(), name: "z".into() };
    assert_eq!(table.remove(pool, "z"), Err(unknown));
    assert_eq!(table.add(PoolId(3), &spec("a", 1, 1)), Err(ChangeError::UnknownPool));
    assert_eq!(table.add(PoolId(u32::MAX), &spec("a", 1, 1)), Err(ChangeError::UnknownPool));
    assert_eq!(table.remove(PoolId(77), "a"), Err(ChangeError::UnknownPool));
    assert!(matches!(table.define("no blanks", &settings(), &[], 1), Err(ChangeError::Invalid(_))));
    let twice = [spec("a", 1, 100), spec("a", 2, 100)];
    assert!(matches!(table.define("app", &settings(), &twice, 9), Err(ChangeError::Duplicate { .. })));
    let huge = spec(&"n".repeat(40_000), 1, 100);
    assert!(matches!(table.add(pool, &huge), Err(ChangeError::Invalid(_))));
    table.check().expect("consistent");
}

#[test]
fn a_full_table_refuses_a_definition_whole_and_takes_it_when_there_is_room() {
    let table = table();
    let many = |count: u16| (0..count).map(|n| spec(&format!("m{n}"), n + 1, 100)).collect::<Vec<_>>();
    let pool = define(&table, 1, &many(20));
    assert_eq!(table.define("other", &settings(), &many(5), 1), Err(ChangeError::Full { what: "member" }));
    assert!(table.find_pool("other").is_some_and(|pool| names(&table, pool).is_empty()));
    define(&table, 2, &many(4));
    assert_eq!(names(&table, pool).len(), 4);
    let other = table.define("other", &settings(), &many(20), 1).expect("rows are used again");
    assert_eq!(names(&table, other).len(), 20);
    table.check().expect("consistent");
}

#[test]
fn texts_are_freed_with_their_members() {
    let table = table();
    let pool = define(&table, 1, &[]);
    for round in 0..if cfg!(miri) { 90 } else { 500 } {
        let name = format!("{round}-{}", "x".repeat(round % 58));
        table.add(pool, &spec(&name, 1, 100)).expect("chunks are used again");
        table.remove(pool, &name).expect("it was added");
    }
    table.check().expect("no chunk is lost");
}

#[test]
fn a_pool_that_goes_from_one_source_to_another_is_what_the_last_one_says() {
    let table = table();
    let [one, other] = [1_u64, 2].map(|mark| mark << balance::store::SOURCE_SHIFT);
    let pool = configure(&table, 20, &[spec("a", 1, 100)]);
    define(&table, one | 3, &[spec("b", 2, 100)]);
    assert_eq!(names(&table, pool), ["b"], "a script's first version after the configuration's twentieth");
    assert!(table.stale_pools(&[], Origin::Configuration).is_empty(), "it is the script's now");
    define(&table, one | 2, &[spec("x", 9, 100)]);
    assert_eq!(names(&table, pool), ["b"], "an older version of the same script says nothing");
    define(&table, other | 1, &[spec("c", 3, 100)]);
    assert_eq!(names(&table, pool), ["c"], "another script");
    configure(&table, 21, &[spec("d", 4, 100)]);
    assert_eq!(names(&table, pool), ["d"], "and back");
    configure(&table, 20, &[spec("x", 9, 100)]);
    assert_eq!(names(&table, pool), ["d"]);
    assert!(table.stale_pools(&[], Origin::Script).is_empty());
    table.check().expect("consistent");
}

#[test]
fn pools_that_a_configuration_drops_are_removed() {
    let table = table();
    let from = Origin::Configuration;
    table.define_from(from, "kept", &settings(), &[spec("a", 1, 100)], 1).unwrap();
    let gone = table.define_from(from, "gone", &settings(), &[spec("a", 1, 100)], 1).unwrap();
    table.define("scripted", &settings(), &[spec("a", 1, 100)], 1).unwrap();
    let version = table.version(gone);
    table.retain_pools(&["kept"], from);
    assert_eq!(table.pool_names(), ["kept", "scripted"]);
    assert!(table.read_pool(gone).is_none());
    let next = table.define("next", &settings(), &[], 1).unwrap();
    assert_eq!(next, gone, "the row is used again");
    assert!(table.version(next) > version, "and nobody takes a cached pool for it");
    table.check().expect("consistent");
}

#[test]
fn a_pool_that_is_to_go_stays_when_it_is_defined_again() {
    let table = table();
    let from = Origin::Configuration;
    for name in ["back", "gone"] {
        table.define_from(from, name, &settings(), &[spec("a", 1, 100)], 1).unwrap();
    }
    let stale = table.stale_pools(&[], from);
    assert_eq!(stale.len(), 2);
    table.define("back", &settings(), &[spec("a", 1, 100)], 2).unwrap();
    table.remove_stale(&stale);
    assert_eq!(table.pool_names(), ["back"]);
    table.define("gone", &settings(), &[], 1).unwrap();
    table.remove_stale(&stale);
    assert_eq!(table.pool_names(), ["back", "gone"], "another pool in the same row");
    table.check().expect("consistent");
}

#[test]
fn views_have_sequences_of_their_own_until_there_is_no_room() {
    let table = table();
    let pool = define(&table, 1, &[]);
    let cursors: Vec<_> = (0..8).map(|view| table.view_cursor(pool, view)).collect();
    let distinct: HashSet<_> = cursors.iter().copied().collect();
    assert_eq!(distinct.len(), 8);
    assert!(!distinct.contains(&table.cursor(pool)));
    assert_eq!(table.view_cursor(pool, 3), cursors[3]);
    assert!(distinct.contains(&table.view_cursor(pool, 99)), "shared when full");
    assert_eq!((table.advance(cursors[2]), table.advance(cursors[2]), table.advance(cursors[1])), (0, 1, 0));
    assert_eq!(table.advance(balance::live::CursorId(u32::MAX)), 0);
}

#[test]
fn a_bigger_table_takes_the_state_over() {
    let old = table();
    let pool = define(&old, 7, &[spec("a", 1, 100), spec("b", 2, 200)]);
    old.add(pool, &spec("x", 3, 100)).unwrap();
    let b = member(&old, pool, "b");
    old.update(b.slot, b.incarnation, &mut |s| s.with(Status::DRAINING).with_weight(900)).unwrap();
    old.update_health(b.slot, b.incarnation, |_| 42).unwrap();
    old.record(b.slot, b.incarnation, false, None);
    old.set_generation(3);
    let script = old.script_row(77).unwrap();
    assert!(old.claim_judgement(script, 5, 1, 0, &alive));
    old.publish_script(script, 1, 5, b"return 1").unwrap();

    let bigger = Geometry { members: 100, chunks: 400, pools: 9, children: 64, scripts: 5, ..geometry() };
    let new = Table::on_heap(bigger).unwrap().with_identity(1, alive);
    new.carry_over(&old).expect("room for all");
    new.check().expect("consistent");
    let pool = new.find_pool("app").expect("carried");
    assert_eq!(names(&new, pool), ["a", "b", "x"]);
    let b = member(&new, pool, "b");
    assert_eq!(new.status(b.slot), Status::new(900, 0, Status::DRAINING));
    assert_eq!((new.health(b.slot), new.stats(b.slot).requests), (42, 1));
    assert_eq!(new.generation(), 3);
    let script = new.script_row(77).unwrap();
    assert_eq!(new.read_script(script).map(|read| read.1), Some(b"return 1".to_vec()));
    assert!(!new.claim_judgement(script, 5, 2, 0, &alive), "judged already");
    define(&new, 7, &[spec("a", 1, 100), spec("b", 2, 200)]);
    assert_eq!(names(&new, pool), ["a", "b", "x"], "applied already");
    define(&new, 8, &[spec("b", 2, 300)]);
    assert_eq!(new.status(b.slot).weight(), 300);
    assert!(new.is_current(b.slot, b.incarnation));
}
