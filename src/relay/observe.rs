// SPDX-License-Identifier: Apache-2.0
//! The end of an attempt counts: for the member's numbers, and for its state.

use std::sync::Arc;

use balance::api::Balancer;
use balance::engine::Now;
use balance::lifecycle::{self, Attempt};
use balance::member::Member;

use super::journey::{Ended, Journey, Turn};
use crate::httpd::events;
use crate::httpd::memory;

/// Counts it: requests and failures, response time, outlier detection.
pub fn attempt_ended(turn: Turn<'_>, journey: &Journey, (pool, member): (&Now, &Arc<Member>), ended: Ended) {
    let attempt = Attempt {
        member,
        outlier: &pool.settings().outlier,
        outcome: ended.outcome,
        excused: ended.excused,
        took_ms: journey.took_us() as f32 / 1e3,
        ended_ms: (journey.ended_us / 1000) as u32,
    };
    let members = || Some((turn.thread.balancer.membership(journey.pool?)?, memory::monotonic_ms()));
    if let Some(event) = lifecycle::attempt_ended(&turn.child.table, &attempt, members) {
        events::tell(&event.into());
    }
}
