// SPDX-License-Identifier: Apache-2.0
//! A member's life: how checks, requests, orders and time change it. Each of these functions
//! changes the store and returns the events; its caller tells the log. Time is an argument, or the
//! store's own clock for what is noted.

use std::sync::Arc;

use crate::api::{Change, ChangeError, Membership};
use crate::counting::AttemptEnd;
use crate::event::{By, MemberEvent, What, Why, differences};
use crate::health::{AgentOrder, HealthState};
use crate::history::CheckReport;
use crate::latency;
use crate::member::Member;
use crate::order::AdminState;
use crate::outlier::OutlierState;
use crate::relay::Outcome;
use crate::settings::{CheckKind, HealthCheck, Outlier};
use crate::slow_start;
use crate::status::Status;
use crate::store::{PoolImage, Store, Vitals};
use crate::trouble::shown;

mod deadlines;
mod ejections;
mod looks;
mod ramps;

pub use self::deadlines::Deadlines;
pub use self::ejections::{EjectedMembers, expire};
pub use self::ramps::Ramps;

/// The flags that [`Change::Enable`] takes back.
const SWITCHED_OFF: u64 = AdminState::FLAGS;

/// A member, and the name of its pool.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The pool's name.
    pub pool: &'a Arc<str>,
    /// The member.
    pub member: &'a Member,
}

impl Subject<'_> {
    pub(crate) fn event(self, at: u64, what: What, why: Why, by: By) -> MemberEvent {
        MemberEvent { pool: self.pool.clone(), member: self.member.spec.name.clone(), at, what, why, by }
    }
}

/// The finding of one check.
#[derive(Debug, Clone, Copy, Default)]
pub struct Finding<'a> {
    /// It passed.
    pub ok: bool,
    /// In words, for people.
    pub why: &'a str,
    /// The agent's wishes.
    pub advice: AgentWords,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// When the next one begins: milliseconds of the store's monotonic clock, 0 where nobody knows.
    pub due_ms: u64,
}

/// An agent's wishes; a wish that it does not repeat stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentWords {
    /// The state.
    pub order: Option<AgentOrder>,
    /// Percent of the weight.
    pub percent: Option<u16>,
    /// Most requests at the same time, 0 for no limit.
    pub max_inflight: Option<u32>,
}

/// A check has ended.
pub fn check_ended(
    store: &impl Vitals,
    of: Subject<'_>,
    check: &HealthCheck,
    found: &Finding<'_>,
) -> Vec<MemberEvent> {
    ended(store, of, check, found, false)
}

/// A check has ended of a pool in which several servers decide together who is down
/// ([`crate::quorum`]): it is one voice among theirs.
pub fn check_voted(
    store: &impl Vitals,
    of: Subject<'_>,
    check: &HealthCheck,
    found: &Finding<'_>,
) -> Vec<MemberEvent> {
    ended(store, of, check, found, true)
}

fn ended(
    store: &impl Vitals,
    of: Subject<'_>,
    check: &HealthCheck,
    found: &Finding<'_>,
    is_vote: bool,
) -> Vec<MemberEvent> {
    let (slot, incarnation) = (of.member.slot, of.member.incarnation);
    let AgentWords { order, percent, max_inflight } = found.advice;
    let updated = store.update_health(slot, incarnation, |word| {
        let (state, _) = HealthState::from_bits(word).observe(found.ok, check);
        state.ordered(order, percent).limited(max_inflight).to_bits()
    });
    let Some((before, after)) = updated else { return Vec::new() };
    store.count_check(slot, incarnation, found.ok);
    let Finding { took_us, due_ms, .. } = *found;
    let report = CheckReport { at_s: store.now_s(), took_us, due_ms, detail: shown(found.why) };
    store.note_check(slot, incarnation, &report);
    let mut events = Vec::new();
    if (before ^ after) & HealthState::AGENT != 0 {
        let why = Why::Agent(found.why.to_owned());
        events.push(of.event(store.now_s(), What::Advice, why, By::Agent));
    }
    let mut flags = HealthState::from_bits(after).flags();
    if is_vote {
        flags = flags & !Status::CHECK_DOWN | store.status(slot).0 & Status::CHECK_DOWN;
    }
    events.extend(follow_checks(store, of, check, flags, found.why));
    events
}

/// Makes the status agree with the checks' own word. They are compared after every check, not only
/// when that word changes: the process that changed it last may have died before it changed the
/// status, and `initial=` may have been another one when the member came.
fn follow_checks(
    store: &impl Vitals,
    of: Subject<'_>,
    check: &HealthCheck,
    flags: u64,
    last: &str,
) -> Option<MemberEvent> {
    let member = of.member;
    if store.status(member.slot).0 & Status::CHECKS == flags {
        return None;
    }
    let slow_start_ms = store.slow_start_ms(member);
    let changed = store.update(member.slot, member.incarnation, &mut |status| {
        let now = status.without(Status::CHECKS).with(flags);
        let back = !status.serves_sessions() && now.serves_sessions();
        if back { slow_start::begin(now, slow_start_ms) } else { now }
    });
    let (before, after) = changed.ok()?;
    let why = match (before.has(Status::CHECK_DOWN), after.has(Status::CHECK_DOWN)) {
        (false, true) => Why::ChecksFailed { count: check.fall, last: last.to_owned() },
        (true, false) => Why::ChecksPassed { count: check.rise },
        _ => return None,
    };
    let what = What::State { old: before.state(), new: after.state() };
    Some(of.event(store.now_s(), what, why, By::Checks))
}

/// An attempt at a member, as it ended.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The member.
    pub member: &'a Member,
    /// The failures that count in its pool.
    pub outlier: &'a Outlier,
    /// How it ended.
    pub outcome: Outcome,
    /// The client may have brought a failure about.
    pub excused: bool,
    /// As what it counts in the member's numbers. None: it does not.
    pub counted: Option<&'a AttemptEnd>,
    /// How long it took, in milliseconds.
    pub took_ms: f32,
    /// When it ended: the low bits of the table's milliseconds.
    pub ended_ms: u32,
}

/// An attempt has ended: counts it, its time, and a failure that may eject the member. `pool` is
/// asked for the members and the time only then.
#[inline]
pub fn attempt_ended<P: AsRef<Membership>>(
    store: &impl Vitals,
    attempt: &Attempt<'_>,
    pool: impl FnOnce() -> Option<(P, u64)>,
) -> Option<MemberEvent> {
    let Attempt { member, outlier, outcome, .. } = *attempt;
    let (slot, incarnation) = (member.slot, member.incarnation);
    let answered = matches!(outcome, Outcome::Answered(_));
    let blame = !attempt.excused && outcome.is_the_members();
    store.record(slot, incarnation, blame && !answered, attempt.counted);
    if answered {
        let (took_ms, ended_ms) = (attempt.took_ms, attempt.ended_ms);
        store.sample_latency(slot, incarnation, |before| latency::fold(before, took_ms, ended_ms));
    }
    if !outlier.on || !blame {
        return None;
    }
    if outcome.is_among(&outlier.count) {
        let (pool, now_ms) = pool()?;
        return attempt_failed(store, attempt, pool.as_ref(), now_ms);
    }
    if store.outlier(slot) != 0 {
        store.update_outlier(slot, incarnation, |word| OutlierState::from_bits(word).succeeded().to_bits());
    }
    None
}

/// A failure that counts: maybe an ejection.
#[cold]
fn attempt_failed(
    store: &impl Vitals,
    attempt: &Attempt<'_>,
    pool: &Membership,
    now_ms: u64,
) -> Option<MemberEvent> {
    let Attempt { member, outlier, outcome, .. } = *attempt;
    if answered_meanwhile(store, attempt) {
        return None;
    }
    let for_ms = store.count_failure(&pool.members, member, outlier, now_ms)?;
    store.count_ejection(member.slot, member.incarnation);
    let status = store.status(member.slot);
    let (old, new) = (status.without(Status::EJECTED).state(), status.with(Status::EJECTED).state());
    let what = What::State { old, new };
    let why = Why::AttemptsFailed { count: outlier.failures, last: outcome, for_ms };
    Some(Subject { pool: &pool.name, member }.event(store.now_s(), what, why, By::Requests))
}

/// Whether another request was answered while this one got no answer: then the fault may be the
/// request's, and not the member's. A member that takes no connections is at fault whatever the
/// request is.
fn answered_meanwhile(store: &impl Vitals, attempt: &Attempt<'_>) -> bool {
    /// Another thread may note its answer a little after this attempt has ended.
    const LATE_MS: u32 = 1000;
    if !matches!(attempt.outcome, Outcome::Timeout | Outcome::Reset | Outcome::Broken) {
        return false;
    }
    let took_ms = attempt.took_ms as u32;
    let began_ms = attempt.ended_ms.wrapping_sub(took_ms);
    let last = store.latency(attempt.member.slot);
    let since = last.stamp_ms.wrapping_sub(began_ms);
    last.ewma_ms > 0.0 && (1..=took_ms.saturating_add(LATE_MS)).contains(&since)
}

/// Carries an order out. Returns what it has changed.
///
/// # Errors
/// The member was removed.
pub fn ordered(
    store: &impl Store,
    of: Subject<'_>,
    change: Change,
    by: &By,
) -> Result<Vec<MemberEvent>, ChangeError> {
    let slow_start_ms = store.slow_start_ms(of.member);
    let mut apply = |status| changed(status, change, slow_start_ms);
    if change == Change::Recount {
        store.recount(of.member.slot, of.member.incarnation);
    }
    let (before, after) = store.update(of.member.slot, of.member.incarnation, &mut apply)?;
    let at = store.now_s();
    let changes = differences(before, after).into_iter();
    Ok(changes.map(|what| of.event(at, what, Why::Order, by.clone())).collect())
}

/// The status word that an order makes of another; `slow_start_ms` is the member's.
pub fn changed(status: Status, change: Change, slow_start_ms: u64) -> Status {
    match change {
        Change::SetWeight(hundredths) => status.with_weight(hundredths),
        Change::Drain => status.with(Status::DRAINING),
        Change::Disable => status.with(Status::DISABLED),
        Change::Enable if status.has(SWITCHED_OFF) => {
            slow_start::begin(status.without(SWITCHED_OFF), slow_start_ms)
        }
        Change::Enable => status,
        Change::Switch(flags) => {
            let now = status.without(SWITCHED_OFF).with(flags & SWITCHED_OFF);
            let back = status.has(SWITCHED_OFF) && !now.has(SWITCHED_OFF);
            if back { slow_start::begin(now, slow_start_ms) } else { now }
        }
        Change::Recount if status.has(Status::EJECTED) => {
            slow_start::begin(status.without(Status::EJECTED), slow_start_ms)
        }
        Change::Recount => status,
    }
}

/// Members that no check has seen: down where checks start from `initial=down`; what earlier checks
/// said does not count where there are none any more.
pub fn forget_checks(store: &impl Vitals) -> Vec<MemberEvent> {
    let pools = store.pool_names().into_iter().filter_map(|name| store.read_pool(store.find_pool(&name)?));
    pools.flat_map(|image| forget_checks_of(store, &image)).collect()
}

/// [`forget_checks`] in a pool as it was read.
pub fn forget_checks_of(store: &impl Vitals, image: &PoolImage) -> Vec<MemberEvent> {
    let pool = &image.membership.name;
    let members = image.membership.members.iter().map(|member| Subject { pool, member });
    let Some(check) = &image.settings.health else {
        return members.filter_map(|of| forget(store, of, u64::MAX, Status::CHECKS)).collect();
    };
    let orders = Status::AGENT_DRAIN | Status::AGENT_MAINT;
    let has_agent = check.kind == CheckKind::Agent;
    members
        .flat_map(|of| {
            let forgotten = if has_agent { None } else { forget(store, of, HealthState::AGENT, orders) };
            let waits = store.health(of.member.slot) == 0 && !check.initial_up;
            let held = waits.then(|| change_flags(store, of, |status| status.with(Status::CHECK_DOWN)));
            [forgotten, held.flatten()].into_iter().flatten()
        })
        .collect()
}

/// Clears these bits of the health word, and these flags.
fn forget(store: &impl Vitals, of: Subject<'_>, bits: u64, flags: u64) -> Option<MemberEvent> {
    let (slot, incarnation) = (of.member.slot, of.member.incarnation);
    if store.health(slot) & bits != 0 {
        store.update_health(slot, incarnation, |word| word & !bits);
    }
    store.status(slot).has(flags).then(|| change_flags(store, of, |status| status.without(flags)))?
}

fn change_flags(
    store: &impl Vitals,
    of: Subject<'_>,
    mut change: impl FnMut(Status) -> Status,
) -> Option<MemberEvent> {
    let (before, after) = store.update(of.member.slot, of.member.incarnation, &mut change).ok()?;
    let (old, new) = (before.state(), after.state());
    (old != new).then(|| of.event(store.now_s(), What::State { old, new }, Why::Unchecked, By::Checks))
}
