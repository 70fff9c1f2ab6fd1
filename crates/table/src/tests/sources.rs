// SPDX-License-Identifier: Apache-2.0
//! Found members in the table, and what it says of their sources.

use balance::event::By;
use balance::guard::{SourceAsk, SourceStage, SourceStanding};
use balance::live::Live;
use balance::member::MemberSpec;
use balance::order::{AdminState, Order};
use balance::settings::{Discovery, PoolSettings, SourcePlace};
use balance::snapshot::Extent;
use balance::snapshot::SourceNote;
use balance::steering;
use balance::steps::{Doing, MemberStep};
use balance::store::Store;

use super::{geometry, members, settings, spec, table};
use crate::{Geometry, SourceUpdate, Table};

fn found(name: &str, weight: u32) -> MemberSpec {
    MemberSpec { discovered: Some("file-1".into()), ..spec(name, 9, weight) }
}

fn carry_out(table: &Table, steps: &[(&str, Doing)]) {
    let step = |(member, what): &(&str, Doing)| MemberStep {
        pool: "app".into(),
        member: (*member).to_owned(),
        what: what.clone(),
    };
    let steps: Vec<MemberStep> = steps.iter().map(step).collect();
    let deeds = steering::deeds(table, &steps).expect("deeds");
    let mut done = None;
    assert!(table.with_pen(&mut || done = Some(table.carry_out(&deeds))));
    let words = done.expect("a run").expect("room");
    assert!(!steering::events(&deeds, &words, 0, &By::Source("file-1".into())).is_empty());
}

fn note() -> SourceNote {
    let standing = SourceStanding {
        stage: SourceStage::HeldShrunk,
        seen_ms: 1,
        failing_ms: 2,
        failures: 3,
        held_ms: 4,
        held_seen: u32::MAX,
        listed: 6,
        taken_ms: u64::MAX,
    };
    SourceNote { standing, error: "line 2: é".into(), held: "a b".into(), gone: 7 }
}

#[test]
fn another_line_keeps_the_member_its_counts_and_what_was_ordered() {
    let table = table();
    let pool = table.define("app", &settings(), &[], 1).expect("a pool");
    carry_out(
        &table,
        &[("a", Doing::Add(Box::new(found("a", 100)))), ("b", Doing::Add(Box::new(found("b", 100))))],
    );
    let before = members(&table, pool);
    let order = Order { weight: Some(900), admin: Some(AdminState::Drain), ..Order::default() };
    let drain = Doing::Switch(AdminState::Drain.flags());
    carry_out(&table, &[("b", Doing::Weigh(900)), ("b", drain), ("b", Doing::Order(Some(order.clone())))]);
    let other =
        |name| Doing::Line(Box::new(MemberSpec { zone: Some("eu".into()), lbset: 2, ..found(name, 300) }));
    carry_out(&table, &[("a", other("a")), ("b", other("b"))]);
    let now = members(&table, pool);
    for (before, now) in before.iter().zip(&now) {
        assert_eq!((before.slot, before.incarnation), (now.slot, now.incarnation));
        assert_eq!((now.spec.zone.as_deref(), now.spec.weight), (Some("eu"), 300));
    }
    let status = |at: usize| table.status(now[at].slot);
    assert_eq!((status(0).weight(), status(0).lbset()), (300, 2));
    assert_eq!(status(1).weight(), 900, "an order outlives the line");
    assert_eq!(AdminState::of(status(1).0), AdminState::Drain);
    assert_eq!(table.order(now[1].slot), Some(order));
}

#[test]
fn definitions_leave_found_members_and_take_over_those_that_they_name() {
    for origin in [crate::Origin::Configuration, crate::Origin::Script] {
        let table = table();
        let define = |list: &[MemberSpec], version| {
            table.define_from(origin, "app", &settings(), list, version).expect("a pool")
        };
        let pool = define(&[], 1);
        carry_out(
            &table,
            &[("a", Doing::Add(Box::new(found("a", 100)))), ("b", Doing::Add(Box::new(found("b", 100))))],
        );
        define(&[spec("a", 9, 500)], 2);
        let now = members(&table, pool);
        let seen: Vec<_> = now.iter().map(|one| (&*one.spec.name, one.spec.discovered.as_deref())).collect();
        assert_eq!(seen, [("a", None), ("b", Some("file-1"))], "{origin:?}");
        define(&[], 3);
        let left: Vec<_> = members(&table, pool).iter().map(|one| one.spec.name.clone()).collect();
        assert_eq!(left, ["b"], "{origin:?}");
    }
}

#[test]
fn notes_of_a_source_are_read_back_and_carried_over() {
    let table = table();
    let discovery = vec![Discovery::of("file-1".into(), SourcePlace::File("/x".into()))];
    let with_source = PoolSettings { discovery, ..settings() };
    table.define("app", &with_source, &[], 1).expect("a pool");
    assert_eq!(
        table.snapshot(0, Extent::All).sources[0].note,
        SourceNote::default(),
        "nobody has looked yet"
    );
    assert_eq!(table.find_source("app", "file-1"), None);
    let row = table.source_row("App", "file-1").expect("room");
    assert_eq!(table.find_source("app", "file-1"), Some(row), "pools have no case");
    table.note_source(row, &note());
    table.count_source(row, SourceUpdate::Held);
    assert!(!table.is_source_answered(row, SourceAsk::Accept, table.ask_source(row, SourceAsk::Accept)));
    assert_eq!(
        (table.source_wish(row, SourceAsk::Accept), table.source_wish(row, SourceAsk::Refresh)),
        (Some(1), None)
    );
    table.answer_source(row, SourceAsk::Accept, 1);
    assert!(table.is_source_answered(row, SourceAsk::Accept, 1));
    let bigger = Table::on_heap(Geometry { pools: 9, ..geometry() }).expect("a table");
    bigger.carry_over(&table).expect("room");
    for table in [&table, &bigger] {
        let seen = &table.snapshot(0, Extent::All).sources[0];
        assert_eq!((&seen.note, seen.updates, &*seen.settings.name), (&note(), [0, 0, 1, 0], "file-1"));
    }
    let long = SourceNote { error: "é".repeat(900), held: "xyz ".repeat(300) + "xyz", ..note() };
    table.note_source(row, &long);
    let cut = table.source_note(row).expect("a note");
    assert!(long.error.starts_with(&cut.error) && long.held.starts_with(&cut.held));
    assert!(cut.error.len() > 400 && cut.held.len() > 400, "{cut:?}");
    assert!(cut.held.split(' ').all(|name| name == "xyz"), "no name is cut: {cut:?}");
}

#[test]
fn rows_of_sources_that_are_gone_are_others_again() {
    let table = table();
    let all: Vec<u32> = (0..4).map(|at| table.source_row("app", &format!("s{at}")).expect("room")).collect();
    assert_eq!(table.source_row("app", "one-more"), None);
    table.note_source(all[1], &note());
    table.retain_sources(&[("app".into(), "s3".into())]);
    assert_eq!(table.find_source("app", "s3"), Some(all[3]));
    let row = table.source_row("app", "one-more").expect("room");
    assert_eq!(table.source_note(row), None, "nothing of its predecessor's");
}
