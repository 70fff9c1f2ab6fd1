// SPDX-License-Identifier: Apache-2.0
//! Metrics of members.

use balance::counts::MemberCounts;
use balance::snapshot::MemberState;

use super::options::Extent;
use super::write::{Writer, labels, with};
use crate::Shown;

/// A metric's name, and what it says of a thing.
type Says<T, N> = (&'static str, fn(&T) -> N);

type Members<'a> = [(String, &'a MemberState)];

pub(super) fn write(view: &Shown<'_>, extent: Extent, to: &mut Writer) {
    let pools = view.all.pools.iter();
    let members = pools.flat_map(|pool| {
        pool.members.iter().map(|one| (labels(&[("pool", &pool.name), ("member", &one.spec.name)]), one))
    });
    let members: Vec<_> = members.collect();
    if members.is_empty() {
        return;
    }
    write_gauges(&members, to);
    write_several(&members, to, "member_attempts_total", ("outcome", |of| of.attempts().to_vec()));
    write_several(&members, to, "member_responses_total", ("code", |of| of.classes().to_vec()));
    if extent.member_histograms && to.begin("member_attempt_duration_seconds") {
        for (labels, member) in &members {
            to.histogram("member_attempt_duration_seconds", labels, &member.counts.histogram);
        }
    }
    write_counters(&members, to);
    write_several(&members, to, "member_checks_total", ("result", |of| of.checks().to_vec()));
    write_times(&members, to);
}

fn write_gauges(members: &Members<'_>, to: &mut Writer) {
    let gauges: [Says<MemberState, f64>; 4] = [
        ("member_up", |member| f64::from(u8::from(member.usable))),
        ("member_weight", |member| f64::from(member.weights.ordered) / 100.0),
        ("member_weight_configured", |member| f64::from(member.weights.configured) / 100.0),
        ("member_in_flight", |member| f64::from(member.inflight)),
    ];
    for (name, of) in gauges {
        if to.begin(name) {
            members.iter().for_each(|(labels, member)| to.value(name, labels, of(member)));
        }
    }
}

fn write_counters(members: &Members<'_>, to: &mut Writer) {
    let counters: [Says<MemberCounts, u64>; 4] = [
        ("member_sent_bytes_total", |counts| counts.sent_bytes),
        ("member_received_bytes_total", |counts| counts.received_bytes),
        ("member_ejections_total", |counts| counts.ejections),
        ("member_transitions_total", |counts| counts.transitions),
    ];
    for (name, of) in counters {
        if to.begin(name) {
            members.iter().for_each(|(labels, member)| to.count(name, labels, of(&member.counts)));
        }
    }
}

/// The measured and noted times; members that have none have no sample.
fn write_times(members: &Members<'_>, to: &mut Writer) {
    let average = |member: &MemberState| {
        (member.latency.ewma_ms > 0.0).then(|| (f64::from(member.latency.ewma_ms) * 1e3).round() / 1e6)
    };
    let changed = |member: &MemberState| (member.since > 0).then_some(member.since as f64);
    let check = |member: &MemberState| member.last_check.as_ref().map(|last| last.took_us as f64 / 1e6);
    write_known(members, to, "member_latency_ewma_seconds", &average);
    write_known(members, to, "member_check_duration_seconds", &check);
    write_known(members, to, "member_state_changed_timestamp_seconds", &changed);
}

fn write_known(members: &Members<'_>, to: &mut Writer, name: &str, of: &dyn Fn(&MemberState) -> Option<f64>) {
    let mut begun = false;
    for (labels, member) in members {
        let Some(value) = of(member) else { continue };
        begun = begun || to.begin(name);
        to.value(name, labels, value);
    }
}

/// Counters with one more label, and that label's values.
type Several = fn(&MemberCounts) -> Vec<(&'static str, u64)>;

fn write_several(members: &Members<'_>, to: &mut Writer, name: &str, (label, of): (&str, Several)) {
    if !to.begin(name) {
        return;
    }
    for (labels, member) in members {
        for (value, count) in of(&member.counts) {
            to.count(name, &with(labels, label, value), count);
        }
    }
}
