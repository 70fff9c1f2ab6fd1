// SPDX-License-Identifier: Apache-2.0
//! Counts and differences of shadows.

use balance::shadow::{ShadowCounts, ShadowDifference, ShadowEnd};

use super::{geometry, table};
use crate::{Geometry, Table};

fn difference(number: u64) -> ShadowDifference {
    let words = [format!("/{number}"), format!("app/{number}"), "declined".to_owned()];
    let [path, decided, shadow] = words;
    ShadowDifference { at_s: number, path, decided, shadow }
}

#[test]
fn the_last_twenty_differences_of_each_row_are_kept_over_a_bigger_table() {
    let old = table();
    let [one, other] = [old.script_row(9), old.script_row(8)].map(|row| row.expect("a row"));
    for number in 1..=33 {
        old.note_difference(one, &difference(number), 5);
    }
    old.note_difference(other, &difference(99), 5);
    let last: Vec<ShadowDifference> = (14..=33).map(difference).collect();
    assert_eq!((old.differences(one, 5), old.differences(other, 5)), (last.clone(), vec![difference(99)]));
    for (end, times) in [(ShadowEnd::Agree, 3), (ShadowEnd::Differ, 2), (ShadowEnd::Failed, 1)] {
        (0..times).for_each(|_| old.count_shadow(one, end));
    }
    let new = Table::on_heap(Geometry { members: 48, scripts: 5, ..geometry() }).expect("a valid geometry");
    new.script_row(7).expect("a row");
    new.carry_over(&old).expect("room");
    let row = new.script_row(9).expect("a row");
    assert_eq!(new.differences(row, 5), last);
    assert_eq!(new.shadow_counts(row), ShadowCounts { agree: 3, differ: 2, failed: 1 });
    new.note_difference(row, &difference(34), 6);
    assert_eq!(new.differences(row, 6).last(), Some(&difference(34)));
}

#[test]
fn no_row_counts_beyond_the_table() {
    let table = table();
    for row in [2, u32::MAX] {
        table.count_shadow(row, ShadowEnd::Agree);
        table.note_difference(row, &difference(1), 5);
        assert_eq!(table.shadow_counts(row), ShadowCounts::default());
        assert!(table.differences(row, 5).is_empty());
    }
}
