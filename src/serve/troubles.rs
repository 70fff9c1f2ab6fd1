// SPDX-License-Identifier: Apache-2.0
//! The last errors of scripts and children, kept in the table for those who ask.

use balance::trouble::Trouble;
use table::{Table, Whose};

use crate::httpd::memory;

fn keep(table: &Table, whose: Whose, number: u64, text: &str) {
    let error = Trouble::new(memory::epoch_s(), text);
    table.note_trouble(whose, number, &error, memory::monotonic_ms());
}

/// Why the sources with this stamp are refused. To be called by the process that judges them.
pub fn note_refused(table: &Table, row: u32, stamp: u64, text: &str) {
    keep(table, Whose::Save(row), stamp, text);
}

/// Why a call of a version failed, or why the version is not called any more.
pub fn note_failed(table: &Table, row: u32, version: u64, text: &str) {
    keep(table, Whose::Call(row), version, text);
}

/// An error of the child with this lane, which is this process.
pub fn note_own(table: &Table, lane: u32, text: &str) {
    keep(table, Whose::Child(lane), u64::from(memory::pid() as u32), text);
}
