//! Waiting for a place when all members are at `max_inflight` (`queue=`). The order is kept in the shared table, over all
//! children; a thread that waits sleeps until it is called.

use std::ffi::CStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use balance::api::NoMember;
use balance::engine::Now;
use balance::live::Slot;
use balance::settings::Method;
use table::{Table, Turn, Waiting, Wants};

use super::child::Child;
use super::record::{Choice, Decision, Record, Tried};
use super::sessions;
use crate::httpd::client::{self, Client};
use crate::httpd::memory;
use crate::httpd::mpm;
use crate::httpd::request::Request;

/// How long a client may have nothing to send before it is asked whether it is there.
const PATIENCE_MS: u64 = 250;

/// Why a wait ended without a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InVain {
    /// As long as `queue=` allows.
    TimeIsUp,
    /// As many wait as may.
    TooMany,
    /// There is nobody to be answered.
    ClientGone,
    /// The child ends at once, and has closed its clients' connections.
    Stopping,
}

impl InVain {
    /// For `LB_REASON`.
    pub fn word(self) -> &'static CStr {
        match self {
            InVain::TimeIsUp => c"queue timeout",
            InVain::TooMany => c"queue full",
            InVain::ClientGone | InVain::Stopping => c"aborted",
        }
    }

    /// Whether nobody is left to be answered.
    pub fn is_nobody(self) -> bool {
        matches!(self, InVain::ClientGone | InVain::Stopping)
    }

    /// For the log.
    pub fn explain(self) -> &'static str {
        match self {
            InVain::TimeIsUp => "all members were at max_inflight as long as queue= allows to wait",
            InVain::TooMany => {
                "all members are at max_inflight, and as many requests wait for a place as may"
            }
            InVain::ClientGone => "its client has gone",
            InVain::Stopping => "this child ends at once",
        }
    }
}

/// How many may wait: at most half of the server's threads, and half of this child's, so that the rest goes on serving
/// what has a place.
pub struct Room {
    most: usize,
    most_here: u32,
    here: AtomicU32,
    is_closed: AtomicBool,
}

impl Room {
    /// As the MPM is configured.
    pub fn new() -> Self {
        let (children, threads) = (mpm::children(), mpm::threads());
        Room {
            most: (children.saturating_mul(threads) / 2).max(1) as usize,
            most_here: (threads / 2).max(1),
            here: AtomicU32::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Nobody waits here any more: who does gives up at its next look.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
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
    pub in_vain: Option<InVain>,
    nudged: bool,
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

/// Whether waiting may help a request that has found nobody: some that it might have had are full.
pub fn would_help(record: &Record, nobody: &NoMember) -> bool {
    !record.full.is_empty() || matches!(nobody, NoMember::Full(..))
}

/// Waits for a turn to look. False when the time is up, too many wait, or nobody is there to be answered: the request has left the
/// queue then.
pub fn wait_for_turn(request: Request<'_>, child: &Child, record: &mut Record, pool: &Now) -> bool {
    let Some(wants) = wants_of(record, pool) else {
        leave(child, record, false);
        return false;
    };
    record.wait.in_vain = wait(request, child, &mut record.wait, wants, pool).err();
    let turn = record.wait.in_vain.is_none();
    if turn {
        record.full = Tried::default();
        record.races = 0;
        sessions::looks_again(record);
    } else {
        leave(child, record, false);
    }
    turn
}

fn wait(
    request: Request<'_>,
    child: &Child,
    wait: &mut Wait,
    wants: Wants,
    pool: &Now,
) -> Result<(), InVain> {
    let now_ms = memory::monotonic_ms();
    let queue_ms = pool.settings().set.queue_ms;
    // The clock has whole milliseconds: one more, so that none is missing.
    let until_ms = *wait.until_ms.get_or_insert(now_ms.saturating_add(queue_ms).saturating_add(1));
    if now_ms >= until_ms {
        return Err(InVain::TimeIsUp);
    }
    let waiting = match &wait.waiting {
        Some(waiting) => {
            child.table.looked_in_vain(waiting, now_ms);
            waiting
        }
        None => {
            let waiting = child.room.join(&child.table, wants).ok_or(InVain::TooMany)?;
            let waiting = wait.waiting.insert(waiting);
            if child.table.is_first(waiting, now_ms) {
                return Ok(());
            }
            waiting
        }
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
        Turn::Look => Ok(()),
        Turn::TimeIsUp => Err(InVain::TimeIsUp),
        Turn::Pointless => Err(nobody),
    }
}

/// Whether nobody is there to be answered. A client that sends no more may wait for its answer; it is nudged, once.
fn find_nobody(request: Request<'_>, child: &Child, may_nudge: bool, nudged: &mut bool) -> Option<InVain> {
    if child.room.is_closed.load(Ordering::Relaxed) {
        return Some(InVain::Stopping);
    }
    match client::look(request) {
        Client::Gone => Some(InVain::ClientGone),
        Client::SendsNoMore if may_nudge && !*nudged => {
            *nudged = client::nudge(request);
            None
        }
        Client::SendsNoMore | Client::There => None,
    }
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
        Decision::Each { choices, .. } => {
            let name = |choice: &Choice| match choice {
                Choice::Member(pool, member) => hash(&(pool, member.slot)),
                Choice::Pool(pool, view) => hash(&(pool, view)),
            };
            let names: Vec<u64> = choices.iter().map(name).collect();
            Some(Wants::new(record.pool?.0, Some(hash(&(names, &*record.tried)))))
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
