// SPDX-License-Identifier: Apache-2.0
//! Metrics of pools.

use balance::counts::{Histogram, PoolCounts};
use balance::snapshot::PoolState;

use super::options::Extent;
use super::write::{Writer, labels, with};
use crate::Shown;
use crate::member::{STATES, state_word};

/// A metric's name, and what it says of a pool.
type Says = (&'static str, fn(&PoolState) -> u64);

type Pools<'a> = [(String, &'a PoolState)];

pub(super) fn write(view: &Shown<'_>, extent: Extent, to: &mut Writer) {
    let pools: Vec<_> = view.all.pools.iter().map(|pool| (labels(&[("pool", &pool.name)]), pool)).collect();
    if pools.is_empty() {
        return;
    }
    write_states(&pools, to);
    write_gauges(&pools, to);
    write_several(&pools, to, "pool_requests_total", ("result", |counts| counts.requests().to_vec()));
    write_several(&pools, to, "pool_retries_total", ("reason", |counts| counts.retries_by_reason().to_vec()));
    if extent.pool_histograms {
        write_histogram(&pools, to, "pool_request_duration_seconds", |counts| &counts.histogram);
        write_histogram(&pools, to, "pool_queue_wait_seconds", |counts| &counts.queue_histogram);
    }
    write_several(&pools, to, "pool_sessions_total", ("kind", |counts| counts.sessions.kinds().to_vec()));
}

fn write_states(pools: &Pools<'_>, to: &mut Writer) {
    if !to.begin("pool_members") {
        return;
    }
    for (labels, pool) in pools {
        for state in STATES {
            let count = pool.members.iter().filter(|member| member.state == state).count();
            to.count("pool_members", &with(labels, "state", state_word(state)), count as u64);
        }
    }
}

fn write_gauges(pools: &Pools<'_>, to: &mut Writer) {
    let gauges: [Says; 4] = [
        ("pool_usable_members", |pool| pool.usable as u64),
        ("pool_in_flight", |pool| u64::from(pool.inflight)),
        ("pool_queued", |pool| u64::from(pool.queued)),
        ("pool_panic", |pool| u64::from(pool.panic)),
    ];
    for (name, of) in gauges {
        if to.begin(name) {
            pools.iter().for_each(|(labels, pool)| to.count(name, labels, of(pool)));
        }
    }
}

/// Counters with one more label, and that label's values.
type Several = fn(&PoolCounts) -> Vec<(&'static str, u64)>;

fn write_several(pools: &Pools<'_>, to: &mut Writer, name: &str, (label, of): (&str, Several)) {
    if !to.begin(name) {
        return;
    }
    for (labels, pool) in pools {
        for (value, count) in of(&pool.counts) {
            to.count(name, &with(labels, label, value), count);
        }
    }
}

fn write_histogram(pools: &Pools<'_>, to: &mut Writer, name: &str, of: fn(&PoolCounts) -> &Histogram) {
    if to.begin(name) {
        pools.iter().for_each(|(labels, pool)| to.histogram(name, labels, of(&pool.counts)));
    }
}
