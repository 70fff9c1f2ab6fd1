// SPDX-License-Identifier: Apache-2.0
//! The parts that a module of another layout takes over.

use balance::live::Live;
use balance::status::Status;
use balance::store::{Store, Vitals};
use proptest::prelude::*;

use super::*;
use crate::foreign::Foreign;
use crate::layout::OUTLINE_WORDS;
use crate::outline::PLACE;
use crate::{Geometry, Origin};

fn foreign(table: &Table) -> Foreign {
    Foreign::over(table.map.words()).expect("a table has an outline")
}

#[test]
fn members_are_taken_up_by_name_with_what_was_changed() {
    let old = table();
    let list = [spec("a", 1, 100), spec("b", 2, 100)];
    let pool = old.define_from(Origin::Configuration, "app", &settings(), &list, 1).expect("room");
    let a = member(&old, pool, "a");
    let change = |table: &Table, member: &Member| {
        let drained = |status: Status| status.with_weight(700).with(Status::DRAINING | Status::CHECK_DOWN);
        table.update(member.slot, member.incarnation, &mut |status| drained(status)).expect("it is there");
    };
    change(&old, &a);
    old.update_health(a.slot, a.incarnation, |_| 5);
    old.add(pool, &spec("late", 3, 300)).expect("room");
    old.record(a.slot, a.incarnation, true, None);
    let new = Table::on_heap(Geometry { members: 48, pools: 6, chunks: 200, ..geometry() })
        .expect("a valid geometry")
        .with_identity(1, alive);
    assert_eq!(new.take_up(&foreign(&old)), Ok((3, 0)));
    new.check().expect("consistent");
    // The configuration says of a what it said, and of b another weight.
    let list = [spec("a", 1, 100), spec("b", 2, 500)];
    let pool = new.define_from(Origin::Configuration, "app", &settings(), &list, 2).expect("room");
    assert_eq!(names(&new, pool), ["a", "b", "late"]);
    let a = member(&new, pool, "a");
    let status = new.status(a.slot);
    assert_eq!(
        (status.weight(), status.has(Status::DRAINING), status.has(Status::CHECK_DOWN)),
        (700, true, true)
    );
    assert_eq!((new.health(a.slot), new.stats(a.slot).failures), (5, 1));
    assert_eq!(new.status(member(&new, pool, "b").slot).weight(), 500);
    assert_eq!(new.status(member(&new, pool, "late").slot).weight(), 300);
    new.check().expect("consistent");
}

#[test]
fn no_child_of_the_old_table_leads_any_more() {
    let old = table();
    old.set_generation(3);
    let foreign = foreign(&old);
    foreign.set_generation(2);
    assert_eq!(old.generation(), 3, "never back");
    foreign.set_generation(4);
    assert_eq!(old.generation(), 4);
}

#[test]
fn a_table_too_small_for_all_says_so() {
    let old = table();
    let list: Vec<MemberSpec> = (0..20).map(|n| spec(&format!("m{n}"), n + 1, 100)).collect();
    old.define("app", &settings(), &list, 1).expect("room");
    let new = Table::on_heap(Geometry { members: 4, ..geometry() }).expect("a valid geometry");
    assert!(new.take_up(&foreign(&old)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, ..ProptestConfig::default() })]
    #[test]
    fn a_damaged_outline_never_leads_out_of_the_memory(
        damage in proptest::collection::vec((1..OUTLINE_WORDS, prop_oneof![any::<u64>(), 0u64..64, Just(u64::MAX)]), 0..12),
        words in proptest::collection::vec((0usize..1_000_000, any::<u64>()), 0..50),
    ) {
        let old = table();
        old.define("app", &settings(), &[spec("a", 1, 100), spec("b", 2, 100)], 1).unwrap();
        let memory = old.map.words();
        let cells = memory.cells();
        for (at, word) in words {
            cells[(PLACE + OUTLINE_WORDS + at) % cells.len()].store(word, std::sync::atomic::Ordering::Relaxed);
        }
        for (at, word) in damage {
            cells[PLACE + at].store(word, std::sync::atomic::Ordering::Relaxed);
        }
        if let Some(foreign) = Foreign::over(old.map.words()) {
            foreign.set_generation(9);
            let _ = table().take_up(&foreign);
        }
    }
}
