// SPDX-License-Identifier: Apache-2.0
//! Waiting for a place when all members are at `max_inflight` (`queue=`). The order is kept in the
//! shared table, over all children; a thread that waits sleeps until it is called.

use balance::api::NoMember;
use balance::engine::Now;
use table::{WaitEnd, Wants};

use super::circumstances::RouteChooser;
use super::journey::{Journey, Serving};
use super::ticket::{InVain, Wait, place_is_free};
use crate::httpd::client::{self, Presence};
use crate::httpd::memory;
use crate::httpd::request::Request;
use crate::serve::child::Child;

/// How long a client may have nothing to send before it is asked whether it is there.
const PATIENCE_MS: u64 = 250;

/// The members of a pool with a queue that the request may want. None: it never waits.
fn wants(journey: &Journey, chooser: &RouteChooser<'_>, pool: &Now) -> Option<Wants> {
    chooser.wants(&journey.course, pool).map(|(pool, part)| Wants::new(pool.0, part))
}

/// Whether a request that has found a member may have it: it was called in the queue, or no request
/// before it in the queue may want the same.
pub fn may_go(child: &Child, journey: &Journey, chooser: &RouteChooser<'_>, pool: &Now) -> bool {
    if journey.wait.ticket.is_some() {
        return true;
    }
    let Some(wants) = wants(journey, chooser, pool) else { return true };
    let is_behind = child.table.has_queue(wants, memory::monotonic_ms());
    if is_behind && journey.races > 0 {
        // The place that this request raced for in vain may be free, and the queue has seen it
        // taken.
        place_is_free(child, wants.pool());
    }
    !is_behind
}

/// The refusal while requests in the queue come first.
pub fn nobody_is_free(pool: &Now) -> NoMember {
    let membership = pool.membership();
    NoMember::Full(membership.name.clone(), membership.members.len())
}

/// Whether waiting may help a request that has found no member: some that it might have had are
/// full.
pub fn would_help(journey: &Journey, nobody: &NoMember) -> bool {
    !journey.course.full.is_empty() || matches!(nobody, NoMember::Full(..))
}

/// Waits until it may look. False when the time is up, too many wait, or the client has gone: the
/// request has left the queue then.
pub fn wait_in_line(
    serving: Serving<'_>,
    journey: &mut Journey,
    chooser: &RouteChooser<'_>,
    pool: &Now,
) -> bool {
    let Some(wants) = wants(journey, chooser, pool) else {
        journey.wait.leave();
        return false;
    };
    journey.wait.in_vain = wait(serving, &mut journey.wait, wants, pool).err();
    let may_look = journey.wait.in_vain.is_none();
    if may_look {
        journey.races = 0;
        journey.course.looks_again();
    } else {
        journey.wait.leave();
    }
    may_look
}

fn wait(serving: Serving<'_>, wait: &mut Wait, wants: Wants, pool: &Now) -> Result<(), InVain> {
    let Serving { request, child, .. } = serving;
    let now_ms = memory::monotonic_ms();
    let queue_ms = pool.settings().set.queue_ms;
    // The clock has whole milliseconds: one more, so that none is missing.
    let until_ms = *wait.until_ms.get_or_insert(now_ms.saturating_add(queue_ms).saturating_add(1));
    if now_ms >= until_ms {
        return Err(InVain::TimeIsUp);
    }
    let before = wait.ticket.as_ref().and_then(|ticket| ticket.waiting());
    if let Some(waiting) = before {
        child.table.looked_in_vain(waiting, now_ms);
    } else {
        let waiting = child.room.join(&child.table, wants).ok_or(InVain::TooMany)?;
        let is_first = child.table.is_first(&waiting, now_ms);
        wait.begin(child, waiting, now_ms);
        if is_first {
            return Ok(());
        }
    }
    let Some(waiting) = wait.ticket.as_ref().and_then(|ticket| ticket.waiting()) else {
        return Err(InVain::TooMany);
    };
    let nudge_ms = until_ms.saturating_sub(queue_ms) + PATIENCE_MS;
    let nudged = &mut wait.nudged;
    let mut nobody = InVain::ClientGone;
    let is_pointless = |now_ms| {
        let found = find_nobody(request, child, now_ms >= nudge_ms, nudged);
        nobody = found.unwrap_or(nobody);
        found.is_some()
    };
    match child.table.wait_in_queue(waiting, until_ms, memory::monotonic_ms, is_pointless) {
        WaitEnd::Look => Ok(()),
        WaitEnd::TimeIsUp => Err(InVain::TimeIsUp),
        WaitEnd::Pointless => Err(nobody),
    }
}

/// Whether the client has gone. One that sends no more may wait for its answer still, and is nudged
/// once.
fn find_nobody(request: Request<'_>, child: &Child, may_nudge: bool, nudged: &mut bool) -> Option<InVain> {
    if child.room.is_closed() {
        return Some(InVain::Stopping);
    }
    match client::look(request) {
        Presence::Gone => Some(InVain::ClientGone),
        Presence::SendsNoMore if may_nudge && !*nudged => {
            *nudged = client::nudge(request);
            None
        }
        Presence::SendsNoMore | Presence::There => None,
    }
}
