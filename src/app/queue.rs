//! Waiting for a place when all members are at `max_inflight` (`queue=`). The order is kept in the shared table, over all
//! children; a thread that waits sleeps until it is called.

use std::ffi::CStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use balance::api::{NoMember, PoolId, View};
use balance::engine::Now;
use balance::live::Slot;
use table::{Table, Waiting, Wants};

use super::child::Child;
use super::record::{Decision, Record, Tried};
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
    /// What the request wants is kept for those who came before.
    behind: bool,
    /// Why it ended without a place.
    pub in_vain: Option<&'static CStr>,
}

/// Before a request looks for a place: refuses while others wait for what it may want, and it has not joined them.
pub fn keep_order(child: &Child, record: &mut Record, pool: &Now) -> Result<(), NoMember> {
    if pool.settings().set.queue_ms == 0 || record.wait.waiting.is_some() {
        return Ok(());
    }
    let Some(wants) = wants_of(record) else { return Ok(()) };
    record.wait.behind = child.table.has_queue(wants, memory::monotonic_ms());
    if record.wait.behind {
        let pool = pool.membership();
        return Err(NoMember::Full(pool.name.clone(), pool.members.len()));
    }
    Ok(())
}

/// Why a wait was in vain, for the log.
pub fn explain(record: &Record) -> String {
    if record.wait.in_vain == Some(TOO_MANY) {
        return "all members are at max_inflight, and as many requests wait for a place as may".to_owned();
    }
    "all members were at max_inflight as long as queue= allows to wait".to_owned()
}

/// After nobody was found: waits for a turn to look again. False when this would not help, and when the time is up.
pub fn wait_for_turn(child: &Child, record: &mut Record, nobody: &NoMember, queue_ms: u64) -> bool {
    let behind = std::mem::take(&mut record.wait.behind);
    let helps = behind || !record.full.is_empty() || matches!(nobody, NoMember::Full(..));
    if queue_ms == 0 || !helps || !wait(child, record, queue_ms) {
        leave(child, record);
        return false;
    }
    record.full = Tried::default();
    record.races = 0;
    true
}

fn wait(child: &Child, record: &mut Record, queue_ms: u64) -> bool {
    let Some(wants) = wants_of(record) else { return false };
    let now_ms = memory::monotonic_ms();
    let wait = &mut record.wait;
    let until_ms = *wait.until_ms.get_or_insert(now_ms.saturating_add(queue_ms));
    if now_ms >= until_ms {
        wait.in_vain = Some(TIME_IS_UP);
        return false;
    }
    if let Some(waiting) = &wait.waiting {
        child.table.pass_call_on(waiting, now_ms);
    } else {
        let Some(waiting) = child.room.join(&child.table, wants) else {
            wait.in_vain = Some(TOO_MANY);
            return false;
        };
        let first = child.table.is_first(&waiting, now_ms);
        wait.waiting = Some(waiting);
        if first {
            return true;
        }
    }
    let turn = wait
        .waiting
        .as_ref()
        .is_some_and(|waiting| child.table.wait_in_queue(waiting, until_ms, memory::monotonic_ms));
    wait.in_vain = (!turn).then_some(TIME_IS_UP);
    turn
}

/// The request waits no more: it has a place, or has given up.
pub fn leave(child: &Child, record: &mut Record) {
    if let Some(waiting) = record.wait.waiting.take() {
        child.table.leave_queue(waiting, memory::monotonic_ms());
        child.room.left();
    }
}

/// A place in a pool is free.
pub fn place_is_free(child: &Child, pool: PoolId) {
    child.table.call_queue(pool.0, memory::monotonic_ms);
}

/// What a request may want that was decided so.
pub fn wants_of(record: &Record) -> Option<Wants> {
    match &record.decision {
        Decision::Pool { pool, view, .. } => Some(wants(*pool, view.as_deref(), &record.tried)),
        Decision::List(list) => {
            let (pool, _) = list.first()?;
            let slots: Vec<Slot> = list.iter().map(|(_, member)| member.slot).collect();
            Some(Wants::new(pool.0, Some(hash(&(slots, &*record.tried)))))
        }
        Decision::Target(_) | Decision::Nobody { .. } | Decision::Script { .. } => None,
    }
}

fn wants(pool: PoolId, view: Option<&View>, tried: &[Slot]) -> Wants {
    let narrowed = (view.is_some() || !tried.is_empty()).then(|| hash(&(view, tried)));
    Wants::new(pool.0, narrowed)
}

/// The same in all children: the hasher has fixed keys.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
