// SPDX-License-Identifier: Apache-2.0
//! A table for terminals, one line a member, and the warnings before it.

use std::fmt::Write;

use balance::event::weight_text;
use balance::snapshot::{MemberState, PoolState};

use crate::Shown;
use crate::member::{admin, state_word};
use crate::time::Time;

const HEAD: [&str; 10] =
    ["POOL", "MEMBER", "STATE", "USABLE", "WEIGHT", "INFLIGHT", "REQUESTS", "FAILED", "SINCE", "WHY"];

/// The table.
pub fn table(view: &Shown<'_>) -> String {
    let members = view.all.pools.iter().flat_map(|pool| pool.members.iter().map(move |one| (pool, one)));
    let rows: Vec<[String; HEAD.len()]> = members.map(|(pool, member)| row(pool, member)).collect();
    let head = HEAD.map(str::to_owned);
    let mut widths = [0; HEAD.len()];
    for row in std::iter::once(&head).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for warning in view.warnings() {
        out.push_str(&format!("warning: {}\n", plain(&warning.message)));
    }
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Writing into a String cannot fail.
            let _ = match at {
                4..=7 => write!(line, "{cell:>width$}  "),
                _ => write!(line, "{cell:<width$}  "),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn row(pool: &PoolState, member: &MemberState) -> [String; HEAD.len()] {
    [
        plain(&pool.name),
        plain(&member.spec.name),
        state_word(member.state).to_owned(),
        if member.usable { "yes" } else { "no" }.to_owned(),
        weight_text(member.weights.ordered),
        member.inflight.to_string(),
        member.requests.to_string(),
        member.failures.to_string(),
        Time::noted(member.since).map_or_else(|| "-".to_owned(), |time| time.to_string()),
        why(member),
    ]
}

/// The flags, and the note of who has ordered them.
pub(crate) fn why(member: &MemberState) -> String {
    let flags: Vec<String> = member.why.iter().map(|cause| cause.flag.to_string()).collect();
    let note = member.order.as_ref().and_then(|order| order.note.as_deref());
    let order = note.map(|note| format!("{}: {}", admin(member).word(), plain(note)));
    let all: Vec<String> =
        [flags.join(","), order.unwrap_or_default()].into_iter().filter(|s| !s.is_empty()).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}

/// Without what a terminal would obey.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "?")
}
