// SPDX-License-Identifier: Apache-2.0
//! Metrics of the sources of members.

use balance::snapshot::SourceState;

use super::write::{Writer, labels, with};
use crate::Shown;

pub(super) fn write(view: &Shown<'_>, to: &mut Writer) {
    let of = |source: &SourceState| labels(&[("pool", &source.pool), ("source", &source.settings.name)]);
    let sources: Vec<_> = view.all.sources.iter().map(|source| (of(source), source)).collect();
    if sources.is_empty() {
        return;
    }
    if to.begin("discovery_up") {
        for (labels, source) in &sources {
            let now = &source.note.standing;
            to.count("discovery_up", labels, u64::from(now.seen_ms > 0 && now.failing_ms == 0));
        }
    }
    let known = sources.iter().filter_map(|(labels, source)| {
        let seen_ms = Some(source.note.standing.seen_ms).filter(|ms| *ms > 0)?;
        Some((labels, view.on_calendar(seen_ms)?.0))
    });
    let known: Vec<_> = known.collect();
    if !known.is_empty() && to.begin("discovery_last_success_timestamp_seconds") {
        for (labels, at_s) in known {
            to.count("discovery_last_success_timestamp_seconds", labels, at_s);
        }
    }
    if to.begin("discovery_members") {
        for (labels, source) in &sources {
            to.count("discovery_members", labels, source.members as u64);
        }
    }
    if to.begin("discovery_updates_total") {
        for (labels, source) in &sources {
            for (result, count) in ["applied", "unchanged", "held", "failed"].iter().zip(source.updates) {
                to.count("discovery_updates_total", &with(labels, "result", result), count);
            }
        }
    }
}
