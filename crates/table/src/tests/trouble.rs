// SPDX-License-Identifier: Apache-2.0
//! Last errors of scripts and children.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use balance::counting::ReloadEnd;
use balance::trouble::Trouble;

use super::{alive, geometry, kill, table};
use crate::primitive::crash;
use crate::protocol::trouble::LATE_MS;
use crate::{Geometry, Table, Whose};

fn error(at_s: u64, text: &str) -> Trouble {
    Trouble { at_s, text: text.to_owned() }
}

fn of(pid: i32, table: &Table) -> Table {
    table.clone().with_identity(pid, alive)
}

#[test]
fn an_error_is_that_of_its_own_row_and_number() {
    let table = table();
    let all = [Whose::Save(0), Whose::Call(0), Whose::Save(1), Whose::Child(0), Whose::Child(1)];
    for (at, whose) in (1..).zip(all) {
        assert_eq!(table.trouble(whose, at), None);
        table.note_trouble(whose, at, &error(at, &format!("{whose:?}")), 5);
    }
    for (at, whose) in (1..).zip(all) {
        assert_eq!(table.trouble(whose, at), Some(error(at, &format!("{whose:?}"))));
        assert_eq!(table.trouble(whose, at + 1), None, "of another version");
    }
    for whose in [Whose::Save(u32::MAX), Whose::Call(1 << 20), Whose::Child(u32::MAX)] {
        table.note_trouble(whose, 1, &error(1, "x"), 5);
        assert_eq!(table.trouble(whose, 1), None, "there is no such row");
    }
}

#[test]
fn the_last_error_replaces_a_longer_one() {
    let table = table();
    let long = "ä".repeat(Trouble::MOST / 2);
    for text in [long.as_str(), "short", "", &long] {
        table.note_trouble(Whose::Call(0), 3, &error(9, text), 5);
        assert_eq!(table.trouble(Whose::Call(0), 3), Some(error(9, text)));
    }
}

#[test]
fn a_writer_that_dies_half_way_costs_one_error_and_no_later_one() {
    let mut steps = 0;
    loop {
        let table = table();
        let (clumsy, heir) = (of(10 + steps as i32, &table), of(9, &table));
        heir.note_trouble(Whose::Call(0), 1, &error(1, "before, and longer than eight"), 5);
        let after = error(2, "after, and longer than sixteen");
        let done = crash::after(steps, || clumsy.note_trouble(Whose::Call(0), 1, &after, 5)).is_some();
        let seen = heir.trouble(Whose::Call(0), 1).map(|error| error.at_s);
        assert!(matches!(seen, None | Some(1 | 2)), "{seen:?} after {steps} steps");
        kill(clumsy.identity());
        heir.note_trouble(Whose::Call(0), 1, &error(3, "the next"), 6);
        assert_eq!(heir.trouble(Whose::Call(0), 1), Some(error(3, "the next")), "after {steps} steps");
        if done {
            break;
        }
        steps += 1;
    }
    assert!(steps > 3);
}

#[test]
fn a_writer_that_is_stopped_holds_the_row_for_a_moment_only() {
    let table = table();
    let (slow, other) = (of(20, &table), of(21, &table));
    let late = 5 + u64::from(LATE_MS) + 1;
    let (_, _, was_stopped) = crash::around(
        2,
        || slow.note_trouble(Whose::Call(0), 1, &error(1, "slow, slow, slow, slow"), 5),
        || {
            other.note_trouble(Whose::Call(0), 1, &error(2, "left out"), 6);
            assert_eq!(other.trouble(Whose::Call(0), 1), None, "half written");
            other.note_trouble(Whose::Call(0), 1, &error(3, "taken over"), late);
            assert_eq!(other.trouble(Whose::Call(0), 1), Some(error(3, "taken over")));
        },
    );
    assert!(was_stopped);
    let seen = other.trouble(Whose::Call(0), 1);
    assert!(seen.is_none() || seen == Some(error(1, "slow, slow, slow, slow")), "whole or none: {seen:?}");
    other.note_trouble(Whose::Call(0), 1, &error(4, "later"), late + 1);
    assert_eq!(other.trouble(Whose::Call(0), 1), Some(error(4, "later")));
}

#[test]
fn readers_see_whole_errors_while_several_write() {
    let table = table();
    let is_over = AtomicBool::new(false);
    let rounds = if cfg!(miri) { 20 } else { 5_000 };
    thread::scope(|scope| {
        let writers = [1_u64, 2, 3].map(|at| {
            let table = of(at as i32, &table);
            scope.spawn(move || {
                for round in 0..rounds {
                    let text = at.to_string().repeat(1 + (round as usize * 37) % Trouble::MOST);
                    table.note_trouble(Whose::Call(0), 7, &error(at, &text), round);
                }
            })
        });
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !is_over.load(Ordering::Relaxed) {
                let Some(found) = table.trouble(Whose::Call(0), 7) else { continue };
                let digit = found.at_s.to_string();
                assert!(found.text.chars().all(|c| digit.starts_with(c)), "{found:?}");
                seen += 1;
            }
            seen
        });
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        is_over.store(true, Ordering::Relaxed);
        reader.join().expect("no panic");
    });
    assert!(table.trouble(Whose::Call(0), 7).is_some());
}

#[test]
fn a_bigger_table_takes_errors_and_reloads_over() {
    let old = table();
    let row = old.script_row(9).expect("a row");
    old.note_trouble(Whose::Save(row), 5, &error(1, "refused"), 5);
    old.note_trouble(Whose::Call(row), 2, &error(2, "failed"), 5);
    for ending in [ReloadEnd::Ok, ReloadEnd::Refused, ReloadEnd::Refused, ReloadEnd::Failed] {
        old.count_reload(row, ending);
    }
    let new = Table::on_heap(Geometry { members: 48, ..geometry() }).expect("a valid geometry");
    new.script_row(8).expect("a row");
    new.carry_over(&old).expect("room");
    let row = new.script_row(9).expect("a row");
    assert_eq!(new.trouble(Whose::Save(row), 5), Some(error(1, "refused")));
    assert_eq!(new.trouble(Whose::Call(row), 2), Some(error(2, "failed")));
    assert_eq!(new.script_counts(row).reloads, [1, 2, 1]);
}
