// SPDX-License-Identifier: Apache-2.0
//! Changes of many members are one, though processes die, stop or change something else meanwhile.

use balance::api::ChangeError;
use balance::lifecycle::Deadlines;
use balance::live::Live;
use balance::member::MemberSpec;
use balance::order::{AdminState, Order};
use balance::snapshot::Extent;
use balance::status::Status;
use balance::steering;
use balance::steps::{Doing, MemberStep};
use balance::store::Store;

use super::*;
use crate::primitive::crash;

fn step(member: &str, what: Doing) -> MemberStep {
    MemberStep { pool: "app".into(), member: member.into(), what }
}

fn add(spec: MemberSpec) -> MemberStep {
    step(&spec.name.clone(), Doing::Add(Box::new(spec)))
}

fn order(note: &str) -> Option<Order> {
    Some(Order { note: Some(note.into()), admin: Some(AdminState::Drain), ..Order::default() })
}

fn run(table: &Table, steps: &[MemberStep]) -> Result<(), ChangeError> {
    let mut outcome = Ok(());
    let done = table.with_pen(&mut || {
        outcome = steering::deeds(table, steps).and_then(|deeds| table.carry_out(&deeds)).map(drop);
    });
    assert!(done, "nobody else has the pen for so long");
    outcome
}

/// A member: its name, port, weight, zone, whether it drains, and its note.
type Row = (String, u16, u32, Option<String>, bool, Option<String>);

/// Members with what can be seen of them, in a reading of the whole table.
fn seen(table: &Table) -> Vec<Row> {
    let all = table.snapshot(0, Extent::All);
    let app = all.pools.iter().find(|pool| &*pool.name == "app").expect("the pool");
    let line = |member: &balance::snapshot::MemberState| {
        let note = member.order.as_ref().and_then(|order| order.note.clone());
        let draining = member.why.iter().any(|cause| cause.flag == balance::snapshot::Flag::Draining);
        let spec = &member.spec;
        (spec.name.clone(), spec.url.port, member.weights.ordered, spec.zone.clone(), draining, note)
    };
    app.members.iter().map(line).collect()
}

/// A pool with three members, one of which has an order.
fn world() -> Table {
    DEAD.with_borrow_mut(HashSet::clear);
    let table = table();
    table.define("app", &settings(), &[spec("a", 1, 100), spec("b", 2, 100), spec("c", 3, 100)], 1).unwrap();
    run(&table, &[step("b", Doing::Order(order("first")))]).unwrap();
    table
}

#[test]
fn a_change_is_taken_into_a_larger_table_or_refused() {
    let old = world();
    let larger = table();
    std::thread::scope(|scope| {
        assert!(old.with_pen(&mut || {
            // The copy waits for the change that is being made.
            let copy = scope.spawn(|| larger.carry_over(&old));
            std::thread::sleep(std::time::Duration::from_millis(20));
            let steps = [step("a", Doing::Order(order("the last one")))];
            steering::deeds(&old, &steps).and_then(|deeds| old.carry_out(&deeds)).expect("a change");
            assert!(!copy.is_finished());
        }));
    });
    let note = |table: &Table| seen(table).into_iter().find(|member| member.0 == "a").and_then(|a| a.5);
    assert_eq!(note(&larger).as_deref(), Some("the last one"));
    assert!(old.is_superseded() && !larger.is_superseded());
    assert!(!old.with_pen(&mut || unreachable!("nobody changes it any more")));
    run(&larger, &[step("a", Doing::Order(order("another one")))]).expect("a change");
    // A table is read as before.
    assert_eq!(note(&old).as_deref(), Some("the last one"));
}

/// Everything that a change may have.
fn everything() -> Vec<MemberStep> {
    vec![
        step("a", Doing::Weigh(700)),
        step("a", Doing::Order(order("second"))),
        step("a", Doing::Switch(Status::DRAINING)),
        step("b", Doing::Order(None)),
        step("b", Doing::Line(Box::new(MemberSpec { zone: Some("eu".into()), ..spec("b", 2, 400) }))),
        step("c", Doing::Remove),
        add(spec("c", 9, 300)),
        add(spec("d", 4, 100)),
        step("d", Doing::Weigh(200)),
        step("d", Doing::Order(order("third"))),
        add(spec("e", 5, 100)),
        step("e", Doing::Remove),
    ]
}

fn after_everything() -> Vec<Row> {
    let line = |name: &str, port, weight, draining, note: Option<&str>| {
        let zone = (name == "b").then(|| "eu".to_owned());
        (name.to_owned(), port, weight, zone, draining, note.map(str::to_owned))
    };
    vec![
        line("a", 1, 700, true, Some("second")),
        line("b", 2, 400, false, None),
        line("c", 9, 300, false, None),
        line("d", 4, 200, false, Some("third")),
    ]
}

#[test]
fn all_steps_are_done() {
    let table = world();
    run(&table, &everything()).unwrap();
    assert_eq!(seen(&table), after_everything());
    table.check().expect("consistent");
    assert_eq!(table.status(member(&table, table.find_pool("app").unwrap(), "d").slot).weight(), 200);
}

/// Each epoch has all children make the pool ready anew.
#[test]
fn a_change_of_many_members_is_told_once() {
    let table = world();
    let pool = table.find_pool("app").unwrap();
    let words = || (table.version(pool), table.epoch(pool));
    let drain = |member| step(member, Doing::Switch(Status::DRAINING));
    let before = words();
    run(&table, &["a", "b", "c"].map(drain)).unwrap();
    assert_eq!(words(), (before.0, before.1 + 1), "states alone");
    let before = words();
    let orders = ["a", "b", "c"].map(|member| step(member, Doing::Order(order("later"))));
    let enable = ["a", "b", "c"].map(|member| step(member, Doing::Switch(0)));
    run(&table, &[orders, enable].concat()).unwrap();
    assert_eq!(words(), (before.0 + 1, before.1 + 1), "states and orders");
    let before = words();
    run(&table, &["a", "b"].map(|member| step(member, Doing::Remove))).unwrap();
    assert_eq!(words(), (before.0 + 1, before.1 + 1), "removals");
}

#[test]
fn members_whose_drain_is_over_go_as_one_change() {
    const NOW_S: u64 = 1_000_000;
    let table = world();
    let pool = table.find_pool("app").unwrap();
    run(&table, &[add(spec("d", 4, 100)), step("b", Doing::Order(None))]).unwrap();
    let gone = |end| Doing::Order(Some(Order { gone: Some(NOW_S + end), ..Order::default() }));
    for (member, end) in [("a", 30), ("b", 30), ("c", 30), ("d", 60)] {
        run(&table, &[step(member, gone(end))]).unwrap();
    }
    let mut deadlines = Deadlines::default();
    let look = |after| {
        let image = table.read_pool(pool).unwrap();
        // One is on its list again: its order is taken back behind the reading.
        if after == 30 {
            run(&table, &[step("b", Doing::Order(None))]).unwrap();
        }
        let before = table.version(pool);
        let told = deadlines.advance(&table, [&image.membership].into_iter(), NOW_S + after);
        let gone: Vec<String> = told.into_iter().map(|event| event.member).collect();
        (gone.join(" "), table.version(pool) - before)
    };
    let seen = [29, 30, 59, 60].map(look);
    assert_eq!(seen, [("", 0), ("a c", 1), ("", 0), ("d", 1)].map(|(gone, told)| (gone.to_owned(), told)));
    assert_eq!(members(&table, pool), [member(&table, pool, "b")]);
}

/// A reading by names is the reading of all, narrowed.
#[test]
fn members_are_read_by_their_names() {
    let table = world();
    let pool = table.find_pool("app").unwrap();
    let names = HashSet::from(["b", "nobody"]);
    let (name, found) = table.named(pool, &names).unwrap();
    assert_eq!((&*name, found), ("app", vec![member(&table, pool, "b")]));
    table.remove(pool, "b").unwrap();
    assert_eq!(table.named(pool, &names).unwrap().1, []);
    table.define("app", &settings(), &[], 2).unwrap();
    assert_eq!(table.named(pool, &HashSet::from(["a"])).unwrap().1, []);
}

#[test]
fn a_change_whose_author_dies_is_made_or_not_made() {
    let (mut made, mut steps) = (0, 0);
    loop {
        let table = world();
        let before = seen(&table);
        let author = table.clone().with_identity(70, alive);
        let done = crash::after(steps, || run(&author, &everything()));
        kill(70);
        // The next reader has to do with what the dead one has left, and may die of it as well.
        let heir = table.clone().with_identity(71, alive);
        let died = crash::after(steps % 11, || seen(&heir)).is_none();
        if died {
            kill(71);
        }
        let now = seen(&table);
        assert!(now == before || now == after_everything(), "died at step {steps}: {now:?}");
        made += u32::from(now != before);
        assert!(run(&table, &[step("b", Doing::Weigh(900))]).is_ok(), "the next change, step {steps}");
        assert_eq!(seen(&table)[1].2, 900);
        table.sweep();
        table.check().unwrap_or_else(|error| panic!("died at step {steps}: {error}"));
        if done.is_some() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 40 && made > 10 && made < steps, "{steps} steps, made after {made} of them");
}

#[test]
fn a_change_that_cannot_be_made_as_a_whole_is_not_begun() {
    let table = world();
    let (before, pool) = (seen(&table), table.find_pool("app").unwrap());
    let version = table.version(pool);
    let many: Vec<MemberStep> = (1..40).map(|at| add(spec(&format!("m{at}"), at, 100))).collect();
    assert_eq!(run(&table, &many), Err(ChangeError::Full { what: "member" }));
    let twice = [step("a", Doing::Weigh(5)), add(spec("b", 7, 100))];
    assert!(matches!(run(&table, &twice), Err(ChangeError::Duplicate { .. })));
    let unknown = [step("a", Doing::Weigh(5)), step("nobody", Doing::Remove)];
    assert!(matches!(run(&table, &unknown), Err(ChangeError::UnknownMember { .. })));
    assert_eq!((seen(&table), table.version(pool)), (before, version));
    table.check().expect("consistent");
}

#[test]
fn a_script_that_adds_the_same_name_meanwhile_makes_one_member() {
    let mut steps = 0;
    loop {
        let table = world();
        let pool = table.find_pool("app").unwrap();
        let slow = table.clone().with_identity(50, |_| true);
        let quick = table.clone().with_identity(51, |_| true);
        let change = [step("a", Doing::Weigh(700)), add(spec("d", 4, 100))];
        let (first, second, stopped) =
            crash::around(steps, || run(&slow, &change), || quick.add(pool, &spec("d", 8, 100)));
        assert!(first.is_ok() != second.is_ok(), "{steps}: {first:?} {second:?}");
        let weight = if first.is_ok() { 700 } else { 100 };
        assert_eq!(seen(&table)[0].2, weight, "all of it or nothing, step {steps}");
        assert_eq!(names(&table, pool), ["a", "b", "c", "d"], "step {steps}");
        table.sweep();
        table.check().expect("consistent");
        if !stopped {
            break;
        }
        steps += 1;
    }
    assert!(steps > 10);
}

#[test]
fn a_definition_that_changes_lines_meanwhile_keeps_what_is_ordered() {
    let mut steps = 0;
    loop {
        let table = world();
        let slow = table.clone().with_identity(50, |_| true);
        let quick = table.clone().with_identity(51, |_| true);
        let change = [step("a", Doing::Order(order("mine"))), step("b", Doing::Order(None))];
        let lines = [spec("a", 1, 400), spec("b", 2, 500), spec("c", 3, 100)];
        let (first, second, stopped) =
            crash::around(steps, || run(&slow, &change), || quick.define("app", &settings(), &lines, 2));
        first.expect("the change");
        second.expect("the definition");
        let now: Vec<_> = seen(&table).into_iter().map(|member| (member.2, member.5)).collect();
        assert_eq!(now, [(400, Some("mine".to_owned())), (500, None), (100, None)], "step {steps}");
        table.sweep();
        table.check().expect("consistent");
        if !stopped {
            break;
        }
        steps += 1;
    }
    assert!(steps > 10);
}

#[test]
fn readers_see_all_of_a_change_or_nothing() {
    let table = world();
    let weights = |table: &Table| -> Vec<u32> { seen(table).iter().map(|member| member.2).collect() };
    run(&table, &["a", "b", "c"].map(|name| step(name, Doing::Weigh(1)))).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for weight in 2..3000 {
                let steps = ["a", "b", "c"].map(|name| step(name, Doing::Weigh(weight)));
                run(&table, &steps).expect("changed");
            }
        });
        while !writer.is_finished() {
            let seen = weights(&table);
            assert!(seen.iter().all(|weight| *weight == seen[0]), "{seen:?}");
        }
    });
}

#[test]
fn changes_are_made_one_after_the_other() {
    let table = world();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert!(table.with_pen(&mut || {
                        let before = seen(&table)[0].2;
                        run_holding(&table, &[step("a", Doing::Weigh(before + 1))]);
                    }));
                }
            });
        }
    });
    assert_eq!(seen(&table)[0].2, 100 + 4 * 200);
    table.check().expect("consistent");
}

fn run_holding(table: &Table, steps: &[MemberStep]) {
    let deeds = steering::deeds(table, steps).expect("deeds");
    table.carry_out(&deeds).expect("carried out");
}

#[test]
fn the_pen_is_given_back_by_who_is_unwound() {
    let table = world();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        table.with_pen(&mut || std::panic::resume_unwind(Box::new(())));
    }));
    assert!(unwound.is_err());
    run(&table, &everything()).expect("the next change");
    table.check().expect("consistent");
}
