//! Waiting for a place when all members are at `max_inflight` (`queue=`). The order is kept in the shared table, over all
//! children; a thread that waits sleeps until it is called.

use std::ffi::CStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use balance::api::NoMember;
use balance::engine::Now;
use balance::live::Slot;
use balance::settings::Method;
use table::{Table, Waiting, Wants};

use super::child::Child;
use super::record::{Decision, Record, Tried};
use super::sessions;
use crate::httpd::memory;
use crate::httpd::mpm;

const TIME_IS_UP: &CStr = c"queue timeout";
const TOO_MANY: &CStr = c"queue full";

/// How many may wait: at most half of the server's threads, and half of this child's, so that the rest goes on serving
/// what has a place.
pub struct Room {
    most: usize,
    most_here: u32,
    here: AtomicU32,
}

impl Room {
    /// As the MPM is configured.
    pub fn new() -> Self {
        let (children, threads) = (mpm::children(), mpm::threads());
        Room {
            most: (children.saturating_mul(threads) / 2).max(1) as usize,
            most_here: (threads / 2).max(1),
            here: AtomicU32::new(0),
        }
    }

    fn join(&self, table: &Table, wants: Wants) -> Option<Waiting> {
        let more = |here: u32| (here < self.most_here).then_some(here + 1);
        self.here.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let waiting = table.join_queue(wants, self.most);
        if waiting.is_none() {
            self.left();
        }
        waiting
    }

    fn left(&self) {
        self.here.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request's wait, or waits: the time allowed is for all of them.
#[derive(Default)]
pub struct Wait {
    until_ms: Option<u64>,
    waiting: Option<Waiting>,
    /// Why it ended without a place.
    pub in_vain: Option<&'static CStr>,
}

/// Whether a request that has found a member may have it: it has waited for its turn, or nobody who came before may want the same.
pub fn may_go(child: &Child, record: &mut Record, pool: &Now) -> bool {
    if record.wait.waiting.is_some() {
        return true;
    }
    let Some(wants) = wants_of(record, pool) else { return true };
    let is_behind = child.table.has_queue(wants, memory::monotonic_ms());
    if is_behind && record.races > 0 {
        // The place that it raced for in vain may be free, and whoever waits has seen it taken.
        place_is_free(child, wants.pool());
    }
    !is_behind
}

/// What is said while others come first.
pub fn nobody_is_free(pool: &Now) -> NoMember {
    let membership = pool.membership();
    NoMember::Full(membership.name.clone(), membership.members.len())
}

/// Why a wait was in vain, for the log.
pub fn explain(record: &Record) -> String {
    if record.wait.in_vain == Some(TOO_MANY) {
        return "all members are at max_inflight, and as many requests wait for a place as may".to_owned();
    }
    "all members were at max_inflight as long as queue= allows to wait".to_owned()
}

/// Whether waiting may help a request that has found nobody: some that it might have had are full.
pub fn would_help(record: &Record, nobody: &NoMember) -> bool {
    !record.full.is_empty() || matches!(nobody, NoMember::Full(..))
}

/// Waits for a turn to look. False when the time is up, or too many wait: the request has left the queue then.
pub fn wait_for_turn(child: &Child, record: &mut Record, pool: &Now) -> bool {
    let turn = wait(child, record, pool);
    if turn {
        record.full = Tried::default();
        record.races = 0;
        sessions::looks_again(record);
    } else {
        leave(child, record, false);
    }
    turn
}

fn wait(child: &Child, record: &mut Record, pool: &Now) -> bool {
    let Some(wants) = wants_of(record, pool) else { return false };
    let now_ms = memory::monotonic_ms();
    let wait = &mut record.wait;
    let until_ms = *wait.until_ms.get_or_insert(now_ms.saturating_add(pool.settings().set.queue_ms));
    if now_ms >= until_ms {
        wait.in_vain = Some(TIME_IS_UP);
        return false;
    }
    let waiting = match &wait.waiting {
        Some(waiting) => {
            child.table.looked_in_vain(waiting, now_ms);
            waiting
        }
        None => {
            let Some(waiting) = child.room.join(&child.table, wants) else {
                wait.in_vain = Some(TOO_MANY);
                return false;
            };
            let waiting = wait.waiting.insert(waiting);
            if child.table.is_first(waiting, now_ms) {
                return true;
            }
            waiting
        }
    };
    let turn = child.table.wait_in_queue(waiting, until_ms, memory::monotonic_ms);
    wait.in_vain = (!turn).then_some(TIME_IS_UP);
    turn
}

/// The request waits no more: it has a place, or has given up.
pub fn leave(child: &Child, record: &mut Record, has_place: bool) {
    if let Some(waiting) = record.wait.waiting.take() {
        child.table.leave_queue(waiting, has_place, memory::monotonic_ms());
        child.room.left();
    }
}

/// A place in a pool is free.
pub fn place_is_free(child: &Child, pool: u32) {
    child.table.call_queue(pool, memory::monotonic_ms);
}

/// What a request may want that was decided so. None: it never waits.
fn wants_of(record: &Record, pool: &Now) -> Option<Wants> {
    match &record.decision {
        Decision::Pool { pool: id, view, method, .. } => {
            let settings = pool.settings();
            if matches!(method.as_ref().unwrap_or(&settings.method), Method::Lua { .. }) {
                // Nobody knows whom the function will name: it stands in nobody's way for long.
                return Some(Wants::new(id.0, Some(std::ptr::from_ref(record).addr() as u64)));
            }
            // One whose session keeps it at its member waits for that one alone.
            let forced = settings.sticky.as_ref().is_some_and(|sticky| sticky.force);
            let route = if forced { sessions::route_of(record) } else { None };
            let narrowed = view.is_some() || !record.tried.is_empty() || route.is_some();
            Some(Wants::new(id.0, narrowed.then(|| hash(&(view, &*record.tried, route)))))
        }
        Decision::List(list) => {
            let (id, _) = list.first()?;
            let slots: Vec<Slot> = list.iter().map(|(_, member)| member.slot).collect();
            Some(Wants::new(id.0, Some(hash(&(slots, &*record.tried)))))
        }
        Decision::Target(_) | Decision::Nobody { .. } | Decision::Script { .. } => None,
    }
}

/// The same in all children: the hasher has fixed keys.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
